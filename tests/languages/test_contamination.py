"""contamination: a shared run of 13 tokens or the same short text, in any kind of file, and nothing else."""

import json

import pytest

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.run import Run
from alif_kit.languages.contamination import EvaluationSets, texts_of
from alif_kit.synth import generate
from alif_kit.synth.demo.teacher import DemoTeacher

LONG = "دریائے سندھ تبت سے نکل کر لداخ اور گلگت سے گزرتا ہوا پنجاب کے میدانوں میں آتا اور آخر کار بحیرۂ عرب میں گرتا ہے۔"
SHORT = "پاکستان کا قومی پھول کون سا ہے؟"


@pytest.fixture
def sets(tmp_path):
    path = tmp_path / "exam.jsonl"
    rows = [{"question": LONG, "options": {"A": "چنبیلی", "B": "گلاب"}}, {"question": SHORT}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return EvaluationSets([str(path)])


@pytest.mark.parametrize(
    "text, found",
    [
        (LONG, True),
        ("سنیے: " + " ".join(LONG.split()[2:17]) + " اور پھر کچھ اور ہوا", True),  # 15 words of it, inside another text
        (" ".join(LONG.split()[:12]), False),  # 12 words, one too few
        ("پاکستان کا قومی پھول کون سا ہے", True),  # punctuation does not matter
        ("پاکستان کا قومی پھول کون سا ہے اور کیوں", False),
        ("چنبیلی", False),  # too short to mean anything
    ],
)
def test_thirteen_tokens_or_the_whole_of_a_short_text(sets, text, found):
    assert bool(sets.overlap("ہدایت", text)) is found


def test_no_sets_means_no_overlap():
    assert EvaluationSets().overlap(LONG) == ""


def test_every_kind_of_file_is_read(tmp_path):
    import pyarrow
    from pyarrow import parquet

    (tmp_path / "a.json").write_text(json.dumps([{"q": {"text": SHORT}, "n": 3}], ensure_ascii=False))
    (tmp_path / "a.txt").write_text(SHORT + "\n")
    parquet.write_table(pyarrow.table({"q": [SHORT]}), tmp_path / "a.parquet")
    for name in ("a.json", "a.txt", "a.parquet"):
        assert list(texts_of(str(tmp_path / name))) == [SHORT]


@pytest.mark.parametrize(
    "source, words", [("missing.jsonl", "is not there"), ("exam.csv", "expected a .jsonl"), ("exam", "expected a .jsonl")]
)
def test_what_is_no_set_is_a_sentence(source, words):
    with pytest.raises(UserError, match=words):
        EvaluationSets([source])


def test_a_candidate_that_overlaps_is_dropped_with_its_reason(tmp_path):
    targets = {"synth.targets": {"qa": 4}}
    with DemoTeacher() as teacher:
        first = Run.open(tmp_path / "first", config.load("smoke", {**targets, "teacher.base_url": teacher.base_url}))
        generate.generate(first)
        exam = tmp_path / "exam.txt"
        kept = [json.loads(line) for line in first.file("synth/pool.jsonl").open()]
        exam.write_text(kept[0]["output"])
        changes = {**targets, "teacher.base_url": teacher.base_url, "synth.evaluation_sets": (str(exam),)}
        second = Run.open(tmp_path / "second", config.load("smoke", changes))
        funnel = generate.generate(second)
    assert funnel["reasons"]["contaminated"] >= 1
    assert kept[0]["id"] not in second.file("synth/pool.jsonl").read_text()
