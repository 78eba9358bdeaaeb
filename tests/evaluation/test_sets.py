"""What is asked: the pack's own sets are sound, other files are read, and what cannot be had is said."""

import json
import re
from collections import Counter
from fractions import Fraction

import pytest

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.records import Example, write_jsonl
from alif_kit.core.run import Run
from alif_kit.evaluation import extract, judge, scoring, sets
from alif_kit.evaluation.tasks import utils
from alif_kit.languages import pack
from alif_kit.languages.text import normalize, urdu_purity

FOLDER = pack.folder("ur") / "evaluation"
KNOWLEDGE = json.loads((FOLDER / "knowledge.json").read_text("utf-8"))


def lines(name):
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()]


def make_run(tmp_path, **changes):
    run = Run.open(tmp_path / "run", config.load("smoke", changes))
    write_jsonl(run.file("data", "eval.jsonl"), [Example("qa", f"سوال {i}؟", "جواب") for i in range(3)])
    return run


# The pack's sets


def texts():
    for row in KNOWLEDGE:
        yield from [row["question"], *row["options"].values()]
    for name in ("word_problems", "yes_no", "behaviour"):
        for row in lines(name):
            yield from (
                value for key, value in row.items() if isinstance(value, str) and key in ("question", "prompt", "why", "answer")
            )


def test_every_text_follows_the_policy_of_the_pack():
    assert [text for text in texts() if normalize(text) != text] == []


def test_urdu_questions_are_in_urdu():
    asked = [r["question"] for r in [*KNOWLEDGE, *lines("word_problems"), *lines("yes_no")]]
    asked += [r["prompt"] for r in lines("behaviour") if r["language"] == "ur" and not r["prompt"].isascii()]
    assert [text for text in asked if urdu_purity(text) < 0.95] == []


def test_the_multiple_choice_has_one_right_key_and_balanced_letters():
    assert len(KNOWLEDGE) >= 100 and len({r["question"] for r in KNOWLEDGE}) == len({r["id"] for r in KNOWLEDGE}) == len(KNOWLEDGE)
    for row in KNOWLEDGE:
        assert row["correct_key"] in row["options"] and 3 <= len(row["options"]) <= 5
        assert len(set(row["options"].values())) == len(row["options"])
    keys = Counter(r["correct_key"] for r in KNOWLEDGE)
    assert max(keys.values()) <= 0.3 * len(KNOWLEDGE)
    shuffled = utils.label_balance(map(utils.prepare, KNOWLEDGE))
    assert max(shuffled[letter] for letter in "ABCD") <= 0.35 * len(KNOWLEDGE)
    assert len({r["domain"] for r in KNOWLEDGE}) >= 6


def test_the_worked_steps_of_every_word_problem_add_up():
    rows = lines("word_problems")
    assert len(rows) >= 40
    for row in rows:
        final = extract.number(row["answer"])
        steps = row["answer"].split("####")[0].strip().splitlines()
        for step in steps:
            left, right = step.rsplit("=", 1)
            plain = extract.to_western_digits(left).replace("٫", ".").replace("×", "*").replace("÷", "/")
            assert re.fullmatch(r"[0-9.+\-*/() ]+", plain), step
            assert abs(eval(plain) - float(extract.number(right))) < 1e-6, step  # digits and signs only, as just checked
        assert final == extract.number(steps[-1].rsplit("=", 1)[1]) and isinstance(final, Fraction)


def test_yes_and_no_are_balanced_and_have_a_reason():
    rows = lines("yes_no")
    assert len(rows) >= 50 and sum(r["answer"] for r in rows) * 2 == len(rows) and all(r["why"] for r in rows)


def test_behaviour_has_enough_of_every_kind_in_both_languages():
    counts = Counter((r["kind"], r["language"]) for r in lines("behaviour"))
    assert counts["harmless", "ur"] + counts["harmless", "en"] >= 50 and counts["harmful", "ur"] + counts["harmful", "en"] >= 50
    assert all(counts[kind, "en"] >= 7 for kind in ("ordinary", "harmless", "harmful"))
    assert all(r["topic"] for r in lines("behaviour") if r["kind"] == "harmful")


def test_no_question_reads_as_a_refusal():
    assert [r["prompt"] for r in lines("behaviour") if scoring.refuses(r["prompt"], "ur")] == []


def test_every_rubric_is_whole_and_in_both_languages():
    assert judge.categories("ur") == ["generation", "qa", "ethics", "reasoning"]
    for category in judge.categories("ur"):
        rubric = judge.rubrics("ur")[category]
        assert len(rubric["criteria"]) == 3
        assert all(urdu_purity(c["ur"]) > 0.95 and urdu_purity(c["en"]) == 0 for c in rubric["criteria"].values())
    assert {"1", "10"} <= set(judge.rubrics("ur")["anchors"])


# Multiple choice made ready

ROW = {
    "id": 7,
    "question": "\u200fکون\u202c سا  شہر؟",
    "options": {"A": "لاہور", "B": "کراچی", "C": "پشاور", "D": "کوئٹہ"},
    "correct_key": "C",
}


def test_a_question_is_cleaned_and_its_options_keep_their_truth():
    question = utils.prepare(ROW)
    assert question["question"] == "کون سا شہر؟"
    assert question["options"][question["answer"]] == "پشاور" and sorted(question["options"]) == sorted(ROW["options"].values())
    assert utils.prepare(ROW) == question


def test_the_order_depends_on_the_id():
    orders = {tuple(utils.prepare({**ROW, "id": i})["options"]) for i in range(30)}
    assert len(orders) > 10


@pytest.mark.parametrize("last", ["ان میں سے کوئی نہیں", "مندرجہ بالا تمام", "دونوں", "All of the above", "الف اور ب"])
def test_options_that_speak_of_the_others_keep_their_place(last):
    options = {"A": "لاہور", "B": "کراچی", "C": "پشاور", "D": last}
    assert all(utils.prepare({**ROW, "id": i, "options": options})["options"][3] == last for i in range(20))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_two_to_five_options_and_missing_ones_as_a_loader_leaves_them(count):
    options = {key: f"شہر {key}" if i < count else None for i, key in enumerate("ABCDE")}
    question = utils.prepare({**ROW, "options": options, "correct_key": "B"})
    assert question["letters"] == "ABCDE"[:count] and question["options"][question["answer"]] == "شہر B"


def test_both_prompts_list_the_same_options():
    question = utils.prepare(ROW)
    urdu, english = utils.prompt(question, "ur"), utils.prompt(question, "en")
    assert [line for line in urdu.splitlines() if ") " in line] == [line for line in english.splitlines() if ") " in line]
    assert "صحیح جواب" in urdu and "correct answer" in english


# Gathering


def test_the_quick_suite_needs_no_network(tmp_path):
    works, missing = sets.gather(make_run(tmp_path))
    names = [w.name for w in works]
    assert names[:3] == ["documents_ur", "documents_en", "held_out"] and {
        "knowledge_ur",
        "knowledge_en",
        "word_problems",
        "yes_no",
    } <= set(names)
    assert {"urdu_mmlu_cloze", "urdu_mmlu_ur_letter", "behaviour"} <= set(names) and missing == {}


def test_a_file_takes_the_place_of_a_set(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps([{**ROW, "id": i} for i in range(9)], ensure_ascii=False), "utf-8")
    works, _ = sets.gather(make_run(tmp_path, **{"evaluation.data": {"knowledge": str(path)}, "evaluation.max_examples": 4}))
    assert [len(w.items) for w in works if w.name == "knowledge_ur"] == [4]


@pytest.mark.parametrize(
    "data, said",
    [
        ({"knowledge": "absent.json"}, "absent.json is not there"),
        ({"nonsense": "x.json"}, "names the set 'nonsense'; expected one of documents"),
    ],
)
def test_a_named_place_that_cannot_be_read_is_an_error(tmp_path, data, said):
    with pytest.raises(UserError, match=said):
        sets.gather(make_run(tmp_path, **{"evaluation.data": data}))


def test_a_bad_question_is_named(tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps([{**ROW, "correct_key": "E"}]), "utf-8")
    with pytest.raises(UserError, match="question 7: correct_key 'E' is none of its options"):
        sets.gather(make_run(tmp_path, **{"evaluation.data": {"knowledge": str(path)}}))


def test_what_the_hub_does_not_give_is_missing_with_its_reason(tmp_path, monkeypatch):
    def refuse(name):
        raise UserError(f"the evaluation set {name} cannot be loaded: offline")

    monkeypatch.setattr(sets, "rows_of", refuse)
    _, missing = sets.gather(make_run(tmp_path, **{"evaluation.suite": "paper"}))
    assert "large-traversaal/urdu-instruct cannot be loaded" in missing["held_out"]


def test_gsm8k_rows_and_urdu_instruct_rows_are_read(tmp_path):
    gsm, instruct = tmp_path / "gsm.jsonl", tmp_path / "instruct.jsonl"
    write_jsonl(gsm, [{"question": "دو اور دو؟", "answer": "2 + 2 = 4 #### 4"}])
    write_jsonl(instruct, [{"category": "QA", "instruction": "سوال؟", "input": "", "response": "جواب"}])
    run = make_run(tmp_path, **{"evaluation.data": {"word_problems": str(gsm), "held_out": str(instruct)}})
    by_name = {w.name: w for w in sets.gather(run)[0]}
    assert by_name["word_problems"].items[0].expected == "4" and "دو اور دو؟" in by_name["word_problems"].items[0].prompt
    assert by_name["held_out"].items[0].group == "qa"


def test_evenly_keeps_the_whole_length():
    assert sets.evenly(list(range(10)), 5) == [0, 2, 4, 6, 8] and sets.evenly([1, 2], 5) == [1, 2] == sets.evenly([1, 2], 0)


def test_a_fingerprint_changes_with_what_is_asked(tmp_path):
    a, b = (sets.gather(make_run(tmp_path / str(n), **{"evaluation.max_examples": n}))[0] for n in (3, 4))
    assert {w.name: w.fingerprint() for w in a}["yes_no"] != {w.name: w.fingerprint() for w in b}["yes_no"]
    other = sets.gather(make_run(tmp_path / "other", **{"evaluation.max_examples": 3, "evaluation.batch_size": 1}))[0]
    assert [w.fingerprint() for w in a] == [w.fingerprint() for w in other]
