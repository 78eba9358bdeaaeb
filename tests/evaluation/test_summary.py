"""From rows to figures: values, intervals, unread answers, paired differences, on rows worked by hand."""

import pytest

from alif_kit.core import config
from alif_kit.core.run import Run
from alif_kit.evaluation import summary


def row(name, set_, parsed=None, *, group="", weights=None, **scores):
    found = {"id": str(name), "set": set_, "group": group, "parsed": parsed, "scores": scores, "answer_tokens": 1, "answer": "x"}
    return found | ({"weights": weights} if weights else {})


@pytest.fixture
def run(tmp_path):
    return Run.open(tmp_path / "r", config.load("smoke"))


def results(run, rows):
    names = [(name, name) for name in rows]
    return summary.summarise(run, names, rows, {"mgsm": "no network"})


def of(found, key):
    return next(m for m in found["measures"] if m["key"] == key)


def test_a_share_has_n_interval_unread_and_a_paired_test(run):
    base = [row(i, "word_problems", i != 3, accuracy=float(i < 2)) for i in range(10)]
    tuned = [row(i, "word_problems", True, accuracy=float(i < 6)) for i in range(10)]
    found = results(run, {"base": {"word_problems": base}, "model": {"word_problems": tuned}})
    figure = of(found, "word_problems")
    assert figure["values"]["base"] | {"low": 0, "high": 0} == {"value": 0.2, "low": 0, "high": 0, "n": 10, "unparsed": 1}
    assert figure["paired"]["model"]["difference"] == pytest.approx(0.4)
    assert figure["paired"]["model"]["p"] == pytest.approx(2 * 0.5**4)
    assert of(found, "unparsed")["values"]["base"]["value"] == pytest.approx(0.1)
    assert found["missing"] == {"mgsm": "no network"}


def test_bits_per_byte_is_weighted_by_bytes(run):
    rows = [
        row(1, "documents_ur", bits_per_byte=1.0, weights={"bits_per_byte": 300}),
        row(2, "documents_ur", bits_per_byte=3.0, weights={"bits_per_byte": 100}),
    ]
    found = results(run, {"base": {"documents_ur": rows}})
    assert summary.value(found, "bits_per_byte_ur", "base") == 1.5
    assert of(found, "bits_per_byte_ur")["paired"] == {}


def test_pairs_are_the_examples_that_both_have(run):
    base = [row(i, "yes_no", True, accuracy=1.0) for i in range(4)]
    tuned = [row(i, "yes_no", True, accuracy=0.0) for i in range(2, 6)]
    found = of(results(run, {"base": {"yes_no": base}, "model": {"yes_no": tuned}}), "yes_no")
    assert found["paired"]["model"]["n"] == 2 and found["paired"]["model"]["difference"] == -1.0


def test_a_measure_of_a_group_rests_on_that_group(run):
    rows = [row(i, "held_out", True, group="sentiment" if i < 3 else "reasoning", exact_match=float(i < 3)) for i in range(5)]
    for r in rows:
        r |= {"expected": "مثبت", "given": "مثبت"}
    found = results(run, {"base": {"held_out": rows}})
    assert of(found, "exact_match")["values"]["base"]["value"] == 0.6
    assert of(found, "exact_match_sentiment")["values"]["base"]["n"] == 3
    assert of(found, "macro_f1_sentiment")["values"]["base"]["value"] == 1.0
    assert found["means"]["held_out"]["base"] == {"plain": 0.5, "weighted": 0.6, "groups": 2}


def test_unread_judgements_are_counted_and_never_a_score(run):
    rows = [row(1, "judge_qa", True, group="qa", judge=8.0), row(2, "judge_qa", False, group="qa")]
    figure = of(results(run, {"base": {"judge_qa": rows}}), "judge_qa")["values"]["base"]
    assert (figure["value"], figure["n"], figure["unparsed"]) == (8.0, 1, 1)


def test_each_direction_of_translation_has_its_own_figures(run):
    rows = []
    for i, direction in enumerate(("en-ur asked in ur", "ur-en asked in ur")):
        for n in range(3):
            answer = {"answer": f"ایک دو تین چار {n}", "expected": f"ایک دو تین چار {n}", "direction": direction}
            rows.append(row(f"{i}{n}", "held_out", None, group="translation") | answer)
    found = results(run, {"base": {"held_out": rows}})
    assert of(found, "chrf++_en-ur_asked_in_ur")["values"]["base"]["value"] == pytest.approx(100)
    assert of(found, "bleu_ur-en_asked_in_ur")["values"]["base"]["n"] == 3


def test_public_tasks_are_figures_by_their_own_names(run):
    rows = [row(i, "xnli_ur", acc=float(i % 2)) for i in range(4)]
    found = results(run, {"base": {"xnli_ur": rows}, "model": {"xnli_ur": rows}})
    assert of(found, "xnli_ur.acc")["values"]["model"]["value"] == 0.5 and found["retention"] == []
    english = results(
        run, {"base": {"arc_easy": [row(1, "arc_easy", acc=1.0, acc_norm=0.0), row(2, "arc_easy", acc=1.0, acc_norm=1.0)]}}
    )
    assert english["retention"] == ["arc_easy.acc_norm"]


def test_the_balance_of_right_letters_is_kept(run):
    rows = [row(i, "knowledge_ur", True, accuracy=1.0, always_a=float(i == 0)) | {"expected": "ABB"[i]} for i in range(3)]
    found = results(run, {"base": {"knowledge_ur": rows}})
    assert found["label_balance"] == {"A": 1, "B": 2}
    assert of(found, "always_a")["values"]["base"]["value"] == pytest.approx(1 / 3)


def test_labels_name_the_language_of_the_pack():
    rows = {"base": {"documents_pnb": [{"scores": {"bits_per_byte": 1.0}}], "behaviour": [{"scores": {"urdu_purity": 1.0}}]}}
    labels = [m.label for m in summary.measures("pnb", rows)]
    assert "Punjabi bits per byte" in labels and "Punjabi purity of answers" in labels and not [x for x in labels if "Urdu" in x]
