"""mixture: the seeds of the language pack are a source like any other, kept apart from everything that is held out."""

from dataclasses import replace

import pytest
from letters import Letters

from alif_kit.core import config
from alif_kit.core.records import SeedTask, write_jsonl
from alif_kit.core.run import Run
from alif_kit.languages import pack
from alif_kit.training import conversations, mixture

LONG = {"base.chat_format": "alpaca", "base.max_seq_length": 4096}
OWN = [SeedTask("qa", "کیا یہ قطار بیج ہے؟", "نہیں")]


def seeds(language="ur"):
    return [task for tasks in pack.seeds(language).values() for task in tasks]


def counts_of(tmp_path, sources, own=OWN, held_out=(), **changes):
    """Rows and the counts of `seeds` in a run whose data is `own` and `held_out`."""
    run = Run.open(tmp_path / "run", config.load("smoke", {**LONG, "mixture.sources": sources, **changes}))
    write_jsonl(run.file("data", "train.jsonl"), own)
    write_jsonl(run.file("data", "eval.jsonl"), held_out)
    rows, counts = mixture.finetuning_rows(run, Letters())
    return ["".join(map(chr, ids)).strip("\1\2") for ids in rows], counts["sources"]["seeds"]


def test_every_seed_is_used_as_the_run_s_own_rows_are_and_its_licence_is_named(tmp_path):
    rows, found = counts_of(tmp_path, {"own": 0, "seeds": 0})
    (tmp_path / "again").mkdir()
    as_own, _ = counts_of(tmp_path / "again", {"own": 0, "seeds": 0}, own=seeds())
    assert len(seeds()) == found["rows"] == found["rows_used"] == len(rows) - 1 > 200
    assert set(as_own) == {row for row in rows if OWN[0].instruction not in row}
    assert {key: found[key] for key in ("category", "language", "licence", "url")} == {
        "category": "instructions",
        "language": "ur",
        "licence": "cc-by-4.0",
        "url": "https://creativecommons.org/licenses/by/4.0/",
    }


def test_seeds_need_nothing_but_the_pack_and_take_a_cap(tmp_path):
    rows, found = counts_of(tmp_path, {"seeds": 5}, own=())
    assert (len(rows), found["rows_used"], found["beyond_cap"], found["share"]) == (5, 5, len(seeds()) - 5, 1.0)
    run = Run.open(tmp_path / "new", config.load("smoke", {"mixture.sources": {"seeds": 0}}))
    assert conversations.check(run) == [] and not run.file("data").exists()
    assert len({row.id for row in conversations.read(conversations.find("seeds"), run)}) == len(seeds())


def test_a_seed_in_an_evaluation_set_or_held_out_is_left_out(tmp_path):
    exam, (first, second, third, fourth) = tmp_path / "exam.txt", pack.seeds("ur")["qa"][:4]
    exam.write_text(first.instruction + "\n", "utf-8")
    held_out = [
        replace(second, output="کچھ اور"),  # the seed's question with another answer
        SeedTask("generation", "اس جواب پر ایک کہانی لکھیں", "ایک کہانی", input=third.output),  # its answer as material
        SeedTask("qa", "کیا " + " ".join(fourth.output.split()[:15]), "جی"),  # the first words of its answer in a question
    ]
    rows, found = counts_of(tmp_path, {"seeds": 0}, held_out=held_out, **{"synth.evaluation_sets": (str(exam),)})
    assert found["contaminated"] == {"data/eval.jsonl": 3, str(exam): 1}
    assert not any(task.instruction in row for row in rows for task in (first, second, third, fourth))
    assert len(rows) == len(seeds()) - 4


def test_a_translation_seed_turned_round_and_held_out_is_contaminated(tmp_path):
    seed = next(task for task in pack.seeds("ur")["translation"] if len(task.input.split()) >= 5)
    back = SeedTask("translation", "ترجمہ کیجیے", seed.input, input=seed.output)
    _, found = counts_of(tmp_path, {"seeds": 0}, held_out=[back])
    assert found["contaminated"] == {"data/eval.jsonl": 1}


@pytest.mark.parametrize("sources, name", [({"own": 0, "seeds": 0}, "seeds"), ({"seeds": 0, "own": 0}, "own")])
def test_a_seed_that_is_in_the_own_data_counts_once(tmp_path, sources, name):
    run = Run.open(tmp_path / "run", config.load("smoke", {**LONG, "mixture.sources": sources}))
    write_jsonl(run.file("data", "train.jsonl"), [*OWN, *seeds()[:3]])
    rows, counts = mixture.finetuning_rows(run, Letters())
    assert counts["sources"][name]["duplicate"] == 3 and len(rows) == counts["rows"] == len(seeds()) + 1


def test_another_language_has_its_own_seeds(tmp_path):
    rows, found = counts_of(tmp_path, {"own": 0, "seeds": 0}, language="pnb")
    assert (found["rows_used"], found["language"], found["licence"]) == (len(seeds("pnb")), "pnb", "cc-by-4.0")
    assert all(any(task.instruction in row for row in rows) for task in seeds("pnb"))
    assert not any(task.instruction in row for row in rows for task in seeds("ur"))


def test_a_pack_that_states_no_licence_has_none(monkeypatch):
    settings = pack.settings("pnb")
    monkeypatch.setattr(pack, "settings", lambda language: {k: v for k, v in settings.items() if not k.startswith("licence")})
    source = conversations.of_run("seeds", config.load("smoke", {"language": "pnb"}))
    assert (source.licence, source.url, source.language) == ("not stated", "", "pnb")


def test_the_packs_of_the_kit_have_the_licence_that_the_table_states():
    for path in pack.LANGUAGES.glob("*/pack.toml"):
        assert pack.settings(path.parent.name)["licence"] == conversations.find("seeds").licence


def test_only_the_real_demonstration_trains_on_seeds():
    assert [name for name in config.PRESETS if "seeds" in config.load(name).mixture.sources] == ["cpu"]
