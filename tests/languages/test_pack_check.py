"""pack check: the shipped packs are complete, each planted fault has a message of its own, a second language walks the whole path."""

import json
import re
import shutil

import pytest
from conftest import SMALL
from typer.testing import CliRunner

from alif_kit import pipeline
from alif_kit.cli import main
from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.records import CATEGORIES
from alif_kit.core.run import Run, latest_json
from alif_kit.languages import pack
from alif_kit.languages.check import check, needed
from alif_kit.languages.text import identify_language
from alif_kit.synth.demo.rehearsal import rehearse
from alif_kit.synth.filters import first_reason
from alif_kit.synth.parse import final_answer, infer_meta, parse, render
from alif_kit.synth.review import decisions

PACKS = sorted(path.parent.name for path in pack.LANGUAGES.glob("*/pack.toml"))


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(pack.LANGUAGES / "pnb", tmp_path / "pnb")


def lines(path):
    return path.read_text("utf-8").splitlines()


def change(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def rewrite(path, number, **values):
    """Put other values into one row of a JSONL file, `number` counted from 1."""
    rows = [json.loads(line) for line in lines(path)]
    rows[number - 1] |= values
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def test_urdu_and_punjabi_are_shipped():
    assert PACKS == ["pnb", "ur"]


@pytest.mark.parametrize("language", PACKS)
def test_a_shipped_pack_is_complete(language):
    assert check(pack.LANGUAGES / language) == []
    assert list(rehearse(language)) == []


def test_a_pack_lists_the_files_it_needs():
    assert len(needed("xx")) == 28
    assert {"pack.toml", "corpus/xx.jsonl", "corpus/en.jsonl", "seeds/qa.jsonl", "lexicon/speech.json"} <= set(needed("xx"))


@pytest.mark.parametrize("name", [n for n in needed("pnb") if n != "pack.toml"])
def test_each_missing_file_is_named(copy, name):
    (copy / name).unlink()
    assert check(copy)[0] == f"{name}: the file is missing; expected it in every pack"


def test_without_pack_toml_it_is_no_pack(copy):
    (copy / "pack.toml").unlink()
    with pytest.raises(UserError, match="holds no pack.toml; expected the folder of a language pack"):
        check(copy)
    (copy / "pack.toml").write_text("name = ", "utf-8")
    with pytest.raises(UserError, match="pack.toml: not TOML"):
        check(copy)


TEXT_FAULTS = [
    ("pack.toml", 'code = "pnb"', 'code = "pa"', "pack.toml: code is 'pa', but the folder is named 'pnb'"),
    ("pack.toml", 'direction = "rtl"', 'direction = "right"', "pack.toml: direction is 'right'; expected rtl or ltr"),
    ("pack.toml", 'reasoning_marker = "وچار:"', 'reasoning_marker = ""', "pack.toml: reasoning_marker is ''; expected text"),
    ("pack.toml", "qa = ", "questions = ", "pack.toml: [categories] has 'qa' wrong or not at all"),
    ("pack.toml", "media_requests", "requests", "pack.toml: [filters] media_requests is empty or missing"),
    ("pack.toml", "لࣇم", "لࣇمي", "pack.toml: alphabet has ي (U+064A), which text.normalize writes ی (U+06CC)"),
    ("topics.toml", '"کنک دی واڈھی", ', '"کنک دی واڈھی", "کنک دی واڈھی", ', "topics.toml: topics has 'کنک دی واڈھی' twice"),
    ("topics.toml", "registers = [", "styles = [", "topics.toml: registers has 0 entries; expected 8 or more"),
    ("topics.toml", "topics = [", "topics = ", "topics.toml: not TOML"),
    ("prompts/_frame.txt", "{{ count }}", "10", "prompts/generation.txt (output_format text): the variable count does not show"),
    ("prompts/_frame.txt", "{{ examples }}", "", "prompts/qa.txt (output_format json): the variable examples does not show"),
    ("prompts/_frame.txt", "({{ category }})", "", "prompts/ethics.txt (output_format text): the variable category does not show"),
    ("prompts/_frame.txt", '{{ topics | join("؛ ") }}', "", "the variable topics does not show; expected it in the prompt"),
    ("prompts/_frame.txt", "{{ count }}", "{{ number }}", "prompts/qa.txt: it cannot be rendered ('number' is undefined)"),
    ("prompts/evaluate_yes_no.txt", "{{ question }}", "", "prompts/evaluate_yes_no.txt: the variable question does not show"),
    ("seeds/qa.jsonl", '{"category"', '["category"', "seeds/qa.jsonl, line 1: not JSON"),
    ("seeds/qa.jsonl", '"category": "qa"', '"category": "ethics"', "seeds/qa.jsonl, line 1: category is 'ethics'; expected 'qa'"),
    (
        "seeds/qa.jsonl",
        '"category": "qa"',
        '"category": "faq"',
        "seeds/qa.jsonl, line 1: category is 'faq'; expected one of generation",
    ),
    ("seeds/qa.jsonl", '"instruction"', '"question"', "seeds/qa.jsonl, line 1: unknown key 'question'; SeedTask has"),
    (
        "seeds/qa.jsonl",
        "سیال وچ",
        "سيال وچ",
        "seeds/qa.jsonl, line 1: instruction has ي (U+064A), which text.normalize writes ی (U+06CC)",
    ),
    ("seeds/qa.jsonl", "کیوں نکلدی", "كیوں نکلدی", "instruction has ك (U+0643), which text.normalize writes ک (U+06A9)"),
    (
        "seeds/qa.jsonl",
        "سیال وچ",
        "ਸਿਆਲ وچ",
        "instruction has ਆ (U+0A06), ਲ (U+0A32), ਸ (U+0A38); expected letters of the pack's alphabet",
    ),
    ("seeds/qa.jsonl", "سیال وچ", "سیال  وچ", "seeds/qa.jsonl, line 1: instruction has spaces that text.normalize changes"),
    (
        "seeds/sentiment.jsonl",
        '"output": "مثبت"',
        '"output": "خوش"',
        "seeds/sentiment.jsonl, line 1: output 'خوش' is none of its labels",
    ),
    ("corpus/pnb.jsonl", '"held_out"', '"train"', "corpus/pnb.jsonl: 0 documents have the split held_out; expected 2 or more"),
    (
        "corpus/en.jsonl",
        '"train"',
        '"held_out"',
        "corpus/en.jsonl: 12 of 12 documents are held out; expected most of them to train",
    ),
    (
        "corpus/en.jsonl",
        '"split": "train"',
        '"split": "test"',
        "corpus/en.jsonl, line 1: split is 'test'; expected train or held_out",
    ),
    ("corpus/pnb.jsonl", '"language": "pnb"', '"language": "ur"', "corpus/pnb.jsonl, line 1: language is 'ur'; expected 'pnb'"),
    ("corpus/pnb.jsonl", "راوی پنجاب دے", "راوی پنجاب دﮯ", "corpus/pnb.jsonl, line 1: the text has ﮯ (U+FBAF)"),
    ("lexicon/qa.json", '"kinds"', '"sorts"', "lexicon/qa.json: 'kinds' is empty or missing"),
    ("lexicon/words.json", "{", "", "lexicon/words.json: not JSON"),
    ("lexicon/speech.json", '"count_line"', '"number_line"', "lexicon/speech.json: 'count_line' is empty or missing"),
    ("evaluation/knowledge.json", '"correct_key"', '"key"', "evaluation/knowledge.json, question 1: correct_key is missing"),
    ("evaluation/yes_no.jsonl", '"y02"', '"y01"', "evaluation/yes_no.jsonl, line 2: id 'y01' stands twice; expected it once"),
]


@pytest.mark.parametrize(("file", "old", "new", "message"), TEXT_FAULTS)
def test_a_planted_fault_is_caught_by_its_own_message(copy, file, old, new, message):
    change(copy / file, old, new)
    assert [found for found in check(copy) if message in found]


def test_a_seed_too_few_and_a_seed_twice_are_caught(copy):
    path = copy / "seeds/ethics.jsonl"
    path.write_text("\n".join(lines(path)[:4]) + "\n", "utf-8")
    assert check(copy) == ["seeds/ethics.jsonl: 4 seeds; expected 5 or more"]
    first = lines(path)[0]
    path.write_text("\n".join([*lines(path), first]) + "\n", "utf-8")
    twice = "seeds/ethics.jsonl, line 5: the same instruction and input as seeds/ethics.jsonl, line 1; expected a task of its own"
    assert check(copy) == [twice]


def test_a_translation_needs_its_two_languages(copy):
    rewrite(copy / "seeds/translation.jsonl", 2, meta={"asked_in": "en", "source": "ur", "target": "en"})
    (found,) = check(copy)
    assert found.startswith("seeds/translation.jsonl, line 2: meta is {") and found.endswith("asked_in, each pnb or en")


def test_held_out_text_must_not_be_in_training(copy):
    path = copy / "corpus/pnb.jsonl"
    rows = [json.loads(line) for line in lines(path)]
    held_out = next(number for number, row in enumerate(rows, 1) if row["split"] == "held_out")
    rewrite(path, held_out, text=rows[held_out - 1]["text"] + " " + " ".join(rows[0]["text"].split()[:8]))
    place = f"corpus/pnb.jsonl, line {held_out}: 8 words in a row stand in corpus/pnb.jsonl, line 1 too"
    assert check(copy) == [f"{place}; expected held-out text that training has not seen"]
    rewrite(path, held_out, text=rows[0]["text"])
    same = f"corpus/pnb.jsonl, line {held_out}: the same text as corpus/pnb.jsonl, line 1; expected each document once"
    assert check(copy) == [same]


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("prompts/evaluate_number.txt", "evaluation/word_problems.jsonl"),
        ("prompts/evaluate_yes_no.txt", "evaluation/yes_no.jsonl"),
        ("prompts/evaluate_choice.txt", "evaluation/knowledge.json"),
        ("evaluation/refusal_marks.toml", "evaluation/behaviour.jsonl"),
    ],
)
def test_a_question_set_needs_its_frame(copy, name, needs):
    (copy / name).unlink()
    assert check(copy) == [f"{name}: the file is missing; {needs} needs it"]


def test_a_pack_may_have_no_question_sets(copy):
    shutil.rmtree(copy / "evaluation")
    assert check(copy) == []


# The rehearsal


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("seeds/reasoning.jsonl", "وچار:\\nسارا ددھ", "سارا ددھ", "seeds/reasoning.jsonl, task 1: as a candidate it would be dropped as no_final_answer"),
        ("seeds/reasoning.jsonl", "= ۸۰ کلو", "= ۹۰ کلو", "seeds/reasoning.jsonl, task 1: as a candidate it would be dropped as wrong_arithmetic"),
        ("prompts/_frame.txt", "تعداد: {{ count }}", "{{ count }}", "prompts/generation.txt: the embedded teacher cannot read the request"),
        ("lexicon/reasoning.json", "{a} × {p} = {x} روپئے۔", "{a} × {p} = {y} روپئے۔", "lexicon/reasoning.json: some tasks of the embedded teacher are dropped (wrong_arithmetic"),
        ("lexicon/speech.json", "[جواب]", "[پرتاؤ]", "lexicon/generation.json: some tasks of the embedded teacher are dropped (malformed 80)"),
    ],
)  # fmt: skip
def test_what_only_a_rehearsal_shows(copy, file, old, new, message):
    change(copy / file, old, new)
    assert check(copy) == []
    assert [found for found in rehearse(str(copy)) if found.startswith(message)]


# The command


def run_cli(*arguments):
    return CliRunner().invoke(main.app, ["pack", "check", *map(str, arguments)])


def test_what_is_no_folder_of_a_pack_is_said(tmp_path):
    (tmp_path / "README.md").touch()
    for place in (tmp_path / "nowhere", tmp_path / "README.md"):
        result = run_cli(place)
        assert isinstance(result.exception, UserError) and "is no folder; expected the folder of a language pack" in str(
            result.exception
        )


def test_the_command_takes_a_code_or_a_folder(copy):
    for place in ("pnb", copy):
        result = run_cli(place)
        assert result.exit_code == 0 and "Punjabi (pnb): complete" in result.stdout
        assert "26 documents, 5 of them held out" in result.stdout


def test_the_command_lists_findings_and_leaves_with_2(copy):
    (copy / "topics.toml").unlink()
    change(copy / "seeds/qa.jsonl", "سیال وچ مونہہ", "سيال وچ مونہہ")
    result = run_cli(copy)
    assert result.exit_code == 2
    first, second, last = result.stdout.splitlines()
    assert first == "topics.toml: the file is missing; expected it in every pack"
    assert second.startswith("seeds/qa.jsonl, line 1: instruction has ي (U+064A)") and last == "pnb: 2 findings"


def test_the_command_rehearses_a_pack_whose_files_are_sound(copy):
    change(copy / "seeds/reasoning.jsonl", "= ۸۰ کلو", "= ۹۰ کلو")
    result = run_cli(copy)
    assert result.exit_code == 2 and "wrong_arithmetic" in result.stdout and "pnb: 1 finding\n" in result.stdout


def test_an_unknown_code_names_the_packs_there_are():
    assert str(run_cli("xx").exception) == "language is 'xx'; expected one of pnb, ur"


# A second language in code that Urdu came first to


def test_parser_and_filters_go_by_the_pack():
    sum_ = pack.seeds("pnb")["reasoning"][0]
    assert sum_.output.startswith("وچار:") and first_reason(sum_, "pnb") == ""
    assert first_reason(sum_, "ur") == "wrong_language"
    assert final_answer("وچار:\nجواب: ۵ روپئے", "pnb") == "۵ روپئے"
    (urdu,) = parse(render([pack.seeds("ur")["qa"][0]]), "stop", "qa", "pnb")
    assert first_reason(urdu.task, "pnb") == "wrong_language"


def test_a_translation_is_between_the_pack_and_english():
    task = pack.seeds("pnb")["translation"][0]
    assert infer_meta(task, "pnb") == {"asked_in": "pnb", "source": "en", "target": "pnb"}
    assert infer_meta(task, "ur")["target"] == "ur"  # the two share an alphabet: the language is the run's


def test_purity_goes_by_the_alphabet_of_the_pack():
    assert pack.purity("پاݨی", "pnb") == 1.0 and pack.purity("پاݨی", "ur") == 0.75


def test_a_pack_s_own_words_help_to_identify_its_language():
    assert identify_language("کرایہ کنا بنے گا؟ حساب لا کے دسو۔") == "pnb"
    assert {identify_language(d.text) for d in pack.corpus("pnb", "pnb")} == {"pnb"}


def test_reviewers_of_punjabi_get_punjabi_filters(tmp_path):
    run = Run.open(tmp_path / "run", config.load("smoke", {"language": "pnb", "synth.targets": {"reasoning": 2, "translation": 4}}))
    pipeline.generate(run)
    pool = decisions.read_pool(run)
    assert {p.meta["source"] for p in pool if p.category == "translation"} == {"pnb", "en"}
    assert "mixed_script" not in {flag for flags in decisions.pool_flags(run, pool).values() for flag in flags}
    example = next(p for p in pool if p.category == "reasoning")
    new = {"instruction": f"{example.instruction} جواب سوچ کے دیو۔"}
    row = decisions.judgement(example, "edit", "a", new=new, language="pnb")
    decisions.write(run, [row])
    pipeline.generate(run)
    card = run.file("data", "card.md").read_text("utf-8")
    assert "language: [pnb, en]" in card and "# Punjabi instructions" in card and "edited 1" in card


@pytest.mark.slow
def test_a_second_language_walks_from_data_to_the_report(tmp_path):
    run = Run.open(tmp_path / "second", config.load("smoke", SMALL | {"language": "pnb"}))
    page = pipeline.walk(run).read_text("utf-8")
    assert [line["stage"] for line in run.ledger()] == ["generate", "pretrain", "finetune", "evaluate"]
    assert latest_json(run.file("synth", "funnel.json"))["accepted"] == 34
    measures = {m["key"]: m["values"] for m in latest_json(run.file("evaluation", "results.json"))["measures"]}
    punjabi = measures["bits_per_byte_pnb"]
    assert punjabi["pretrain"]["value"] < 0.9 * punjabi["base"]["value"]
    assert {"knowledge_pnb", "knowledge_en", "word_problems", "yes_no", "safe_completion"} <= measures.keys()
    assert re.search(r'lang="pnb" dir="rtl">[^<]*\bدی\b', page)


def test_every_category_has_five_seeds_in_punjabi():
    assert {c: len(seeds) for c, seeds in pack.seeds("pnb").items()} == dict.fromkeys(CATEGORIES, 5)
