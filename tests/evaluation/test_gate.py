"""The gate: worse fails, too little is undecided, and only evidence passes."""

import pytest

from alif_kit.core import config
from alif_kit.core.config import Gate
from alif_kit.evaluation import gate

NAMES = ("base", "finetune")


def measure(key, before, after, *, half=0.01, n=500, lower=False, kind="proportion"):
    """A measured figure whose difference has an interval of so much on both sides."""
    difference = after - before
    values = {
        name: {"value": v, "low": v - half, "high": v + half, "n": n, "unparsed": 0}
        for name, v in zip(NAMES, (before, after), strict=True)
    }
    paired = {"difference": difference, "low": difference - half, "high": difference + half, "p": 0.5, "n": n, "test": "mcnemar"}
    figure = {"key": key, "label": key, "group": "", "lower": lower, "kind": kind, "detectable": 0.03}
    return {**figure, "values": values, "paired": {"finetune": paired}}


def results(**changes):
    """A model exactly as good as its base on everything that is guarded, but for `changes`."""
    figures = {
        "knowledge_ur": measure("knowledge_ur", 0.4, 0.4),
        "urdu_mmlu_ur_letter.acc": measure("urdu_mmlu_ur_letter.acc", 0.4, 0.4),
        "bits_per_byte_en": measure("bits_per_byte_en", 1.0, 1.0, lower=True, kind="mean"),
        "unparsed": measure("unparsed", 0.05, 0.05, lower=True),
        "stops_by_itself": measure("stops_by_itself", 0.9, 0.9),
        "urdu_purity": measure("urdu_purity", 0.95, 0.95, kind="mean"),
        "safe_completion": measure("safe_completion", 0.8, 0.8),
        "over_refusal": measure("over_refusal", 0.1, 0.1, lower=True),
    }
    figures |= changes
    subjects = [{"name": name, "model": name} for name in NAMES]
    return {"suite": "quick", "subjects": subjects, "measures": [f for f in figures.values() if f], "retention": []}


def verdicts(found):
    return {f.measure: f.verdict for f in found}


def test_a_model_as_good_as_its_base_passes_on_enough_evidence():
    found = gate.judge(results(), Gate(), "ur")
    assert set(verdicts(found).values()) == {"pass"} and len(found) == 8
    assert gate.verdict_of(found) == "pass"


@pytest.mark.parametrize(
    "key, figure",
    [
        ("knowledge_ur", measure("knowledge_ur", 0.43, 0.32, half=0.03)),
        ("bits_per_byte_en", measure("bits_per_byte_en", 1.0, 1.05, lower=True, kind="mean")),
        ("unparsed", measure("unparsed", 0.0, 0.12, lower=True)),
        ("stops_by_itself", measure("stops_by_itself", 0.9, 0.6)),
        ("urdu_purity", measure("urdu_purity", 0.97, 0.90, kind="mean")),
        ("safe_completion", measure("safe_completion", 0.8, 0.6, half=0.05)),
        ("over_refusal", measure("over_refusal", 0.1, 0.3, half=0.05, lower=True)),
    ],
)
def test_each_guarded_measure_can_fail_alone(key, figure):
    found = gate.judge(results(**{key: figure}), Gate(), "ur")
    assert [f.measure for f in found if f.verdict == "fail"] == [key]
    assert gate.verdict_of(found) == "fail"
    assert "worse by" in next(f.sentence for f in found if f.verdict == "fail")


def test_a_loss_within_the_margin_passes_when_it_is_sure():
    found = gate.judge(results(stops_by_itself=measure("stops_by_itself", 0.9, 0.895, half=0.005)), Gate(), "ur")
    assert verdicts(found)["stops_by_itself"] == "pass"


def test_a_wide_interval_is_undecided_and_says_what_cannot_be_excluded():
    found = gate.judge(results(knowledge_ur=measure("knowledge_ur", 0.4, 0.4, half=0.08)), Gate(), "ur")
    assert verdicts(found)["knowledge_ur"] == "undecided" and gate.verdict_of(found) == "undecided"
    assert "a loss of up to 8.0% cannot be excluded, 2.0% allowed" in found[0].sentence


def test_a_large_loss_on_few_examples_is_undecided_unless_it_is_sure():
    unsure = measure("stops_by_itself", 0.9, 0.8, half=0.2, n=20)
    assert verdicts(gate.judge(results(stops_by_itself=unsure), Gate(), "ur"))["stops_by_itself"] == "undecided"
    sure = measure("stops_by_itself", 0.9, 0.1, half=0.2, n=20)
    assert verdicts(gate.judge(results(stops_by_itself=sure), Gate(), "ur"))["stops_by_itself"] == "fail"


def test_no_difference_on_few_examples_is_not_a_pass():
    few = measure("stops_by_itself", 0.9, 0.9, half=0.0, n=49)
    found = gate.judge(results(stops_by_itself=few), Gate(), "ur")
    assert verdicts(found)["stops_by_itself"] == "undecided"
    assert "too few examples to say, 50 needed" in next(f.sentence for f in found if f.measure == "stops_by_itself")


def test_what_was_not_measured_cannot_pass():
    found = gate.judge(results(safe_completion=None), Gate(), "ur")
    assert verdicts(found)["safe_completion"] == "undecided"
    assert "safe_completion was not measured" in [f.sentence for f in found if f.measure == "safe_completion"][0]


def test_better_is_never_a_failure():
    found = gate.judge(results(bits_per_byte_en=measure("bits_per_byte_en", 1.0, 0.8, lower=True, kind="mean")), Gate(), "ur")
    assert verdicts(found)["bits_per_byte_en"] == "pass"


def test_the_margin_of_bits_per_byte_is_a_share_of_the_base():
    worse = measure("bits_per_byte_en", 2.0, 2.03, half=0.005, lower=True, kind="mean")
    assert verdicts(gate.judge(results(bits_per_byte_en=worse), Gate(), "ur"))["bits_per_byte_en"] == "pass"
    assert verdicts(gate.judge(results(bits_per_byte_en=worse), Gate(retention=0.01), "ur"))["bits_per_byte_en"] == "fail"


def test_public_english_tasks_are_guarded_once_they_are_run():
    worse = {**results(), "retention": ["arc_easy.acc"]}
    worse["measures"].append(measure("arc_easy.acc", 0.7, 0.6, half=0.03))
    assert verdicts(gate.judge(worse, Gate(), "ur"))["arc_easy.acc"] == "fail"


def test_margins_are_refused_when_they_are_none():
    with pytest.raises(Exception, match="gate.knowledge is 2.0"):
        config.load("t4", {"gate.knowledge": 2})
