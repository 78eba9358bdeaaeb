"""mixture: named sources and files become rows; what is left out is counted under its reason; the order is fixed."""

import json
import subprocess
import sys

import pytest
from letters import Letters

from alif_kit.core import config
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.core.records import SeedTask, write_jsonl
from alif_kit.core.run import Run
from alif_kit.training import conversations, mixture, show, trainer

TASKS = [SeedTask("qa", f"سوال {n}", f"جواب {n}") for n in range(6)]
ALPACA = {"base.chat_format": "alpaca"}


def task(instruction, output="ہاں", input=""):
    return {"instruction": instruction, "input": input, "output": output}


def run_with(tmp_path, sources, own=TASKS, held_out=(), **changes):
    """A run whose data is `own` and `held_out`, and whose mixture is `sources`."""
    run = Run.open(tmp_path / "run", config.load("smoke", {**ALPACA, "mixture.sources": sources, **changes}))
    write_jsonl(run.file("data", "train.jsonl"), own)
    write_jsonl(run.file("data", "eval.jsonl"), held_out)
    return run


def file_of(tmp_path, rows, name="other.jsonl"):
    write_jsonl(tmp_path / name, rows)
    return str(tmp_path / name)


def text_of(ids):
    return "".join(map(chr, ids)).replace("\1", "").replace("\2", "")


def test_own_rows_become_tokens_and_counts(tmp_path):
    rows, counts = mixture.finetuning_rows(run_with(tmp_path, {"own": 0}, TASKS[:1]), Letters())
    text = "\1### ہدایت:\nسوال 0\n\n### جواب:\nجواب 0\2"
    assert rows == [[ord(c) for c in text]]
    assert counts == {
        "rows": 1,
        "tokens": len(text),
        "too_long": [],
        "skipped": {},
        "sources": {
            "own": {
                "rows": 1,
                "rows_used": 1,
                "tokens": len(text),
                "passes": 1.0,
                "contaminated": {},
                "duplicate": 0,
                "control_text": 0,
                "malformed": 0,
                "too_long": [],
                "beyond_cap": 0,
                "category": "instructions",
                "language": "ur",
                "licence": "the terms of the run's teacher, see data/card.md",
                "url": "",
                "share": 1.0,
            }
        },
    }


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_a_local_file_of_any_kind_is_a_source(tmp_path, kind):
    import pyarrow
    from pyarrow import parquet

    rows = [task("ایک"), task("دو", input="مواد")]
    path = tmp_path / f"file.{kind}"
    if kind == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif kind == "json":
        path.write_text(json.dumps(rows), "utf-8")
    else:
        write_jsonl(path, rows)
    tokens, counts = mixture.finetuning_rows(run_with(tmp_path, {"own": 0, str(path): 0}, TASKS[:1]), Letters())
    assert "### ہدایت:\nدو\n\n### مواد:\nمواد\n\n### جواب:\nہاں" in map(text_of, tokens)
    assert counts["sources"][str(path)]["rows_used"] == 2 and counts["rows"] == 3


def test_a_conversation_keeps_its_turns_and_its_system_line(tmp_path):
    turns = [("system", "نرمی سے۔"), ("user", "سلام"), ("assistant", "وعلیکم"), ("user", "کیسے ہیں؟"), ("assistant", "ٹھیک")]
    path = file_of(tmp_path, [{"messages": [{"role": r, "content": c} for r, c in turns]}])
    rows, _ = mixture.finetuning_rows(run_with(tmp_path, {path: 0}, **{"mixture.system": "اور کوئی"}), Letters())
    expected = "نرمی سے۔\n\n### ہدایت:\nسلام\n\n### جواب:\nوعلیکم\n\n### ہدایت:\nکیسے ہیں؟\n\n### جواب:\nٹھیک"
    assert [text_of(ids) for ids in rows] == [expected]


def test_the_system_line_of_the_configuration_opens_every_row(tmp_path):
    run = run_with(tmp_path, {"own": 0}, held_out=TASKS[:1], **{"mixture.system": "اردو میں۔"})
    rows, _ = mixture.finetuning_rows(run, Letters())
    held_out = mixture.held_out_rows(run, Letters())
    assert all(text_of(ids).startswith("اردو میں۔\n\n### ہدایت:\nسوال") for ids in rows + held_out) and len(held_out) == 1


@pytest.mark.parametrize(
    "row",
    [
        ["not", "an", "object"],
        task(""),
        task("سوال", output="  "),
        task("سوال", output=5),
        {"messages": []},
        {"messages": "سلام"},
        {"messages": [{"role": "user", "content": "سلام"}]},
        {"messages": [{"role": "assistant", "content": "سلام"}, {"role": "user", "content": "سلام"}]},
        {"messages": [{"role": "system", "content": "x"}]},
        {"messages": [{"role": "user", "content": "سلام"}, {"role": "assistant", "content": ""}]},
        {"messages": [{"role": "user", "content": "سلام"}, {"role": "tool", "content": "x"}]},
    ],
)
def test_what_is_no_conversation_is_none(row):
    assert conversations.conversation_of(row) is None


def test_null_material_is_no_material():
    row = conversations.conversation_of({"instruction": " سلام ", "input": None, "output": "جی"})
    assert row.messages == ({"role": "user", "content": "سلام"}, {"role": "assistant", "content": "جی"})


def test_every_row_left_out_is_counted_under_its_reason(tmp_path):
    exam = tmp_path / "exam.txt"
    exam.write_text("پاکستان کا قومی پھول کون سا ہے؟\n", "utf-8")
    held_out = [SeedTask("qa", "لاہور کس دریا کے کنارے آباد ہے؟", "راوی")]
    long = task("لفظ " * 100)
    rows = [
        task("ایک"),
        task("سوال 0", "جواب 0"),  # own has it
        task("ایک"),  # twice in this file
        task("پاکستان کا قومی پھول کون سا ہے؟"),
        task("لاہور کس دریا کے کنارے آباد ہے"),  # punctuation does not save it
        task("دو</s>"),
        task("تین ### جواب: دیں"),
        long,
        task(""),
    ]
    path = file_of(tmp_path, rows)
    run = run_with(tmp_path, {"own": 0, path: 0}, held_out=held_out, **{"synth.evaluation_sets": (str(exam),)})
    tokens, counts = mixture.finetuning_rows(run, Letters())
    found = counts["sources"][path]
    assert found["contaminated"] == {"data/eval.jsonl": 1, str(exam): 1}
    assert (found["rows"], found["rows_used"], found["duplicate"]) == (9, 1, 2)
    assert (found["control_text"], found["malformed"], found["beyond_cap"]) == (2, 1, 0)
    assert found["too_long"] == counts["too_long"] == [conversations.conversation_of(long).id]
    assert len(tokens) == counts["rows"] == 7


def test_the_wording_of_a_held_out_task_may_recur_with_other_material(tmp_path):
    wording = "درج ذیل جملے کا لہجہ مثبت، منفی، غیر جانبدار یا ملا جلا میں سے ایک لفظ میں بتائیں"
    held_out = [SeedTask("sentiment", wording, "مثبت", "آج کا دن بہت اچھا گزرا")]
    own = [
        SeedTask("sentiment", wording, "منفی", "بس پھر دیر سے آئی"),
        SeedTask("sentiment", wording, "مثبت", "آج کا دن بہت اچھا گزرا"),
    ]
    _, counts = mixture.finetuning_rows(run_with(tmp_path, {"own": 0}, own, held_out), Letters())
    assert (counts["rows"], counts["sources"]["own"]["contaminated"]) == (1, {"data/eval.jsonl": 1})


def test_a_cap_takes_what_survives_and_the_rest_is_counted(tmp_path):
    path = file_of(tmp_path, [task("سوال 0", "جواب 0"), *(task(f"نیا {n}") for n in range(9))])
    _, counts = mixture.finetuning_rows(run_with(tmp_path, {"own": 2, path: 4}, TASKS), Letters())
    own, other = counts["sources"]["own"], counts["sources"][path]
    assert (own["rows_used"], own["beyond_cap"], other["rows_used"]) == (2, 4, 4)
    assert other["beyond_cap"] == 10 - 4 - other["duplicate"]
    assert own["share"] + other["share"] == pytest.approx(1, abs=1e-3)
    assert own["tokens"] + other["tokens"] == counts["tokens"]


ORDER = """
import sys
sys.path[:0] = ["tests", "tests/training"]
from pathlib import Path
from test_mixture import *
rows, _ = mixture.finetuning_rows(Run.resume(sys.argv[1]), Letters())
print([text_of(ids)[-1] for ids in rows])
"""


def test_the_order_is_the_seed_s_and_the_same_in_every_process(tmp_path, pytestconfig):
    run = run_with(tmp_path, {"own": 0}, [SeedTask("qa", f"سوال {n}", str(n)) for n in range(8)])
    rows, _ = mixture.finetuning_rows(run, Letters())
    order = [text_of(ids)[-1] for ids in rows]
    assert order == ["7", "6", "0", "3", "5", "2", "1", "4"]
    command = [sys.executable, "-c", ORDER, str(run.path)]
    assert subprocess.run(command, capture_output=True, text=True, cwd=pytestconfig.rootpath).stdout.strip() == str(order)
    write_jsonl(run.file("data", "train.jsonl"), [SeedTask("qa", f"سوال {n}", str(n)) for n in reversed(range(8))])
    assert mixture.finetuning_rows(run, Letters())[0] == rows


def test_weight_is_passes(monkeypatch):
    used = [("a", [1]), ("b", [2]), ("c", [3]), ("d", [4])]
    assert [ids for _, ids in mixture._repeated(used, 1.5)] == [[1], [2], [3], [4], [1], [2]]
    assert mixture._repeated(used, 0.5) == used[:2] and mixture._repeated(used, 1.0) == used
    assert len({place for place, _ in mixture._repeated(used, 2.0)}) == 8


def test_a_missing_source_stops_or_is_named(tmp_path, capsys):
    sources = {"own": 0, "nowhere.jsonl": 0, "uls_wsd": 0}
    with pytest.raises(UserError, match="nowhere.jsonl, which is not there"):
        mixture.finetuning_rows(run_with(tmp_path / "strict", sources), Letters())
    run = run_with(tmp_path / "lenient", sources, **{"mixture.skip_missing": True})
    rows, counts = mixture.finetuning_rows(run, Letters())
    assert len(rows) == 6 and list(counts["skipped"]) == ["nowhere.jsonl", "uls_wsd"] and list(counts["sources"]) == ["own"]
    assert "no public address" in counts["skipped"]["uls_wsd"]
    assert "fine-tuning goes on without nowhere.jsonl" in capsys.readouterr().err
    assert conversations.check(run) == ["nowhere.jsonl", "uls_wsd"]


@pytest.mark.parametrize(
    "sources, words",
    [
        ({"orca": 0}, "mixture.sources names 'orca'; expected one of own, seeds, urdu_instruct"),
        ({"uls_wsd": 0}, "uls_wsd has no public address"),
    ],
)
def test_a_source_that_cannot_be_is_said_before_any_stage(tmp_path, sources, words):
    with pytest.raises(UserError, match=words):
        conversations.check(run_with(tmp_path, sources))


@pytest.mark.parametrize(
    "lenient, said",
    [
        (False, "before fine-tuning: mixture.sources names nowhere.jsonl, which is not there"),
        (True, "fine-tuning will go on without nowhere.jsonl, as mixture.skip_missing asks"),
    ],
)
def test_pretraining_says_what_fine_tuning_will_miss_and_goes_on(tmp_path, capsys, monkeypatch, lenient, said):
    def begin(config, stage):
        raise StoppedError("begun")

    monkeypatch.setattr(trainer, "plan_here", begin)
    run = run_with(tmp_path, {"own": 0, "nowhere.jsonl": 0}, **{"mixture.skip_missing": lenient})
    with pytest.raises(StoppedError, match="begun"):
        trainer.pretrain(run)
    assert said in capsys.readouterr().err


def test_columns_that_are_not_there_are_named(tmp_path):
    path = file_of(tmp_path, [{"prompt": "سلام", "output": "جی"}])
    with pytest.raises(UserError, match="has the columns prompt, output; expected instruction and output, or messages"):
        mixture.finetuning_rows(run_with(tmp_path, {path: 0}), Letters())


def test_files_that_hold_no_rows_are_said(tmp_path):
    for text, words in (('{"a": 1}', "JSON dict; expected a list"), ("[", "is not JSON"), ('["a"]', "a str as its first row")):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(UserError, match=words):
            list(conversations.read(conversations.find(str(tmp_path / "bad.json")), run_with(tmp_path, {"own": 0})))


def test_nothing_to_train_on_says_what_to_change(tmp_path):
    long = [SeedTask("qa", "سوال", "لفظ " * 500)]
    with pytest.raises(UserError, match="base.max_seq_length = 256 tokens, 1 are longer; raise it"):
        mixture.finetuning_rows(run_with(tmp_path / "a", {"own": 0}, long), Letters())
    with pytest.raises(UserError, match="give no conversation to train on"):
        mixture.finetuning_rows(run_with(tmp_path / "b", {"own": 0}, []), Letters())


# What each card says its columns are, one row.
HUB_ROWS = {
    "large-traversaal/urdu-instruct": {"instruction": "سلام", "input": "", "output": "جی"},
    "Xhaheen/Alpaca_urdu_2024_1": {"input": "تین رنگ بتائیں", "output": "سرخ، سبز، نیلا", "answer_lengths": None},
    "CohereForAI/aya_collection": {"id": 1, "inputs": "خبر کا زمرہ؟", "targets": "کھیل", "language": "urd"},
    "tatsu-lab/alpaca": {"instruction": "Name a colour.", "input": "", "output": "Red.", "text": "Below is an instruction"},
    "Open-Orca/OpenOrca": {"id": "niv.1", "system_prompt": "Be brief.", "question": "2+2?", "response": "4"},
}


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for datasets.load_dataset that knows HUB_ROWS and records its calls."""
    calls = []

    def load_dataset(path, name=None, *, split, streaming=False):
        calls.append((path, name, split, streaming))
        if path not in HUB_ROWS:
            raise ConnectionError(f"Couldn't reach '{path}' on the Hub\nsecond line")
        return iter([HUB_ROWS[path]] * 3) if streaming else [HUB_ROWS[path]]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    return calls


def test_the_named_sources_of_the_hub_have_their_cards_columns(tmp_path, hub):
    names = {"urdu_instruct": 0, "urdu_alpaca": 0, "urdu_news": 0, "alpaca_en": 0, "openorca": 0}
    rows, counts = mixture.finetuning_rows(run_with(tmp_path, names), Letters())
    assert hub == [
        ("large-traversaal/urdu-instruct", None, "train", False),
        ("Xhaheen/Alpaca_urdu_2024_1", None, "train", False),
        ("CohereForAI/aya_collection", "templated_urdu_news_category", "train", True),
        ("tatsu-lab/alpaca", None, "train", False),
        ("Open-Orca/OpenOrca", None, "train", True),
    ]
    assert sorted(map(text_of, rows)) == sorted(
        [
            "### ہدایت:\nسلام\n\n### جواب:\nجی",
            "### ہدایت:\nتین رنگ بتائیں\n\n### جواب:\nسرخ، سبز، نیلا",
            "### ہدایت:\nخبر کا زمرہ؟\n\n### جواب:\nکھیل",
            "### ہدایت:\nName a colour.\n\n### جواب:\nRed.",
            "Be brief.\n\n### ہدایت:\n2+2?\n\n### جواب:\n4",
        ]
    )
    assert counts["sources"]["openorca"]["licence"] == "mit" and counts["sources"]["openorca"]["duplicate"] == 2


def test_a_set_named_by_its_hub_id_and_one_the_hub_does_not_give(tmp_path, hub):
    mixture.finetuning_rows(run_with(tmp_path, {"tatsu-lab/alpaca:default:test": 0}), Letters())
    assert hub == [("tatsu-lab/alpaca", "default", "test", False)]
    with pytest.raises(UserError, match=r"no/where cannot be loaded from no/where \(Couldn't reach 'no/where' on the Hub\)"):
        list(conversations.read(conversations.find("no/where"), run_with(tmp_path / "b", {"own": 0})))


def test_minus_one_is_the_source_s_own_cap(tmp_path, hub, monkeypatch):
    entry = {**conversations.table()["sources"]["alpaca_en"], "cap": 1}
    monkeypatch.setitem(conversations.table()["sources"], "alpaca_en", entry)
    rows = [task(f"n{n}") for n in range(3)]
    monkeypatch.setattr("datasets.load_dataset", lambda *args, **options: rows)
    run = Run(tmp_path, config.Config(base=config.Base(chat_format="alpaca"), mixture=config.Mixture(sources={"alpaca_en": -1})))
    _, counts = mixture.finetuning_rows(run, Letters())
    assert (counts["rows"], counts["sources"]["alpaca_en"]["beyond_cap"]) == (1, 2)


def test_the_papers_mixture_is_105_thousand_rows():
    paper = conversations.table()["mixtures"]["paper"]
    assert paper == {"own": 0, "urdu_alpaca": 32914, "uls_wsd": 0, "alpaca_en": 10400, "openorca": 10000}
    assert sum(paper.values()) + sum(config.PAPER_TARGETS.values()) == 105_000
    assert set(paper) <= set(conversations.known())


def test_every_source_of_the_table_has_its_card(pytestconfig):
    for name, source in conversations.known().items():
        assert source.licence and source.about, name
        if name not in conversations.OF_RUN:
            card = (pytestconfig.rootpath / "data_cards" / f"{name}.md").read_text("utf-8")
            assert card.startswith("---\n") and source.url in card, name


def test_the_masked_example_and_its_two_renderings():
    class Decoding(Letters):
        def decode(self, ids, skip_special_tokens=True):
            return "".join({1: "<s>", 2: "</s>"}.get(i, chr(i)) for i in ids)

    ids = [1, ord("ن"), ord("ی"), ord("ک"), ord("<"), ord("b"), 2]
    pieces = show.masked_example(ids, [-100, -100, -100, -100, ord("<"), ord("b"), 2], Decoding())
    assert pieces == [("<s>نیک", False), ("<b</s>", True)]
    text = show.to_terminal(pieces)
    assert text.plain == "<s>نیک<b</s>" and [str(span.style) for span in text.spans] == ["dim", "bold green"]
    page = show.to_html([("نیک سوال", False), ("<b>hi</b>", True)])
    assert 'dir="rtl" lang="ur" title="masked' in page and 'dir="auto" title="learnt' in page
    assert "&lt;b&gt;hi&lt;/b&gt;" in page and "<b>" not in page


def test_the_budget_plot_shows_every_source():
    entry = {"tokens": 300, "share": 0.75, "rows_used": 3, "rows": 4}
    svg = show.budget_plot({"sources": {"own": entry, "a<b": {**entry, "tokens": 100, "share": 0.25}}})
    assert "300 tokens, 75.0%, 3 of 4 rows" in svg and 'width="300.0"' in svg and 'width="100.0"' in svg and "a&lt;b" in svg
    assert show.budget_plot({"sources": {}}) == ""
