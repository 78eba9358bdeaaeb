"""report: self-contained, escaped, right to left, and honest about what moved."""

import re
from dataclasses import replace

from alif_kit.core import config
from alif_kit.core.records import Example, Provenance, write_json, write_jsonl
from alif_kit.core.run import Run
from alif_kit.report import evaluation
from alif_kit.report import page as report


def measure(key, label, values, *, lower=True, low=-0.5, high=-0.3, kind="mean"):
    """A figure of three stages whose last differs from the first by an interval."""
    stages = dict(zip(("base", "pretrain", "finetune"), values, strict=True))
    figures = {name: {"value": v, "low": v - 0.1, "high": v + 0.1, "n": 20, "unparsed": 1} for name, v in stages.items()}
    paired = {"difference": values[2] - values[0], "low": low, "high": high, "p": 0.01, "n": 20, "test": "t"}
    figure = {"key": key, "label": label, "group": "", "lower": lower, "kind": kind, "detectable": 0.05}
    return {**figure, "values": figures, "paired": {"finetune": paired}}


def results(*measures):
    return {"subjects": [{"name": n, "model": n} for n in ("base", "pretrain", "finetune")], "measures": list(measures)}


def test_the_table_has_n_intervals_and_says_better_or_worse_only_when_it_is_sure():
    urdu = measure("bits_per_byte_ur", "Urdu bits per byte", (2.0, 1.5, 1.6))
    english = measure("bits_per_byte_en", "English bits per byte", (1.0, 1.1, 1.2), low=0.1, high=0.3)
    unsure = measure("stops_by_itself", "stops", (0.5, 0.5, 0.6), lower=False, low=-0.1, high=0.3, kind="proportion")
    rows = {r["key"]: r for r in evaluation.comparison(results(urdu, english, unsure))}
    found = rows["bits_per_byte_ur"]
    assert (found["n"], found["values"], found["change"]) == (20, ["2.000", "1.500", "1.600"], "-0.400 (-0.500 to -0.300)")
    assert found["intervals"][0] == "1.900 to 2.100" and found["unparsed"] == 1 and found["p"] == "0.010"
    assert (found["better"], rows["bits_per_byte_en"]["better"], rows["stops_by_itself"]["better"]) == (True, False, None)
    assert rows["stops_by_itself"]["change"] == "+10.0% (-10.0% to +30.0%)"


def test_the_headline_says_which_way_it_fell():
    english = measure("bits_per_byte_en", "English", (1.0, 1.0, 1.0))
    fell = results(measure("bits_per_byte_ur", "Urdu", (2.0, 1.5, 1.6)), english)
    assert "fell from 2.000 to 1.500 (25%)" in evaluation.headline(fell, "ur")
    rose = results(measure("bits_per_byte_ur", "Urdu", (2.0, 2.5, 1.6)), english)
    assert "rose from 2.000 to 2.500" in evaluation.headline(rose, "ur")
    assert evaluation.headline(results(english), "ur") == ""


def test_the_plot_of_differences_turns_what_should_be_low():
    worse = measure("empty", "empty answers", (0.0, 0.0, 0.2), low=0.1, high=0.3, kind="proportion")
    page = evaluation.difference_plot(results(worse))
    assert page.startswith("<svg") and "empty answers" in page and "#b45309" in page
    assert evaluation.difference_plot(results()) == ""


def test_the_page_needs_nothing_from_outside(finished):
    page = finished.file("report.html").read_text()
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', page) == []
    assert page.count("<svg") == 3 and "<script" not in page
    assert 'dir="rtl"' in page and "Noto Nastaliq Urdu" in page
    assert page.count('class="why"') == 10 and "$0.00" in page
    assert str(finished.path.parent) not in page


def test_teacher_text_is_escaped(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    example = Example("qa", "<script>alert(1)</script> سوال", "جواب", provenance=Provenance("t", 0, 1, "h"))
    write_jsonl(run.file("data", "train.jsonl"), [example])
    page = report.build(run).read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_a_run_without_results_still_has_a_page(tmp_path):
    page = report.build(Run.open(tmp_path / "r", config.load("smoke"))).read_text()
    assert "Ledger" in page and "on the same questions" not in page


def test_building_twice_gives_the_same_page(finished):
    first = report.build(finished).read_text()
    assert report.build(finished).read_text() == first


def test_the_sample_shows_every_category(finished):
    sample = report.sample_examples(finished, 10)
    assert len(sample) == 10 and len({e.category for e in sample}) == 7
    assert replace(sample[0]) == sample[0]


def test_a_stopped_stage_counts_its_seconds_only(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    for status in ("stopped", "done"):
        try:
            with run.stage("generate") as facts:
                facts |= {"tokens_in": 10, "usd_api": 0.5}
                if status == "stopped":
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            assert status == "stopped"
    assert len(report.stages(run)) == 1
    assert (report.totals(run)["tokens_in"], report.totals(run)["usd"]) == (10, 0.5)


def test_a_mixture_of_several_sources_is_plotted(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    entry = {"rows": 2, "rows_used": 2, "tokens": 30, "share": 0.5}
    write_json(run.file("finetune", "mixture.json"), {"sources": {"own": entry}})
    assert report.mixture_plot(run) == ""
    write_json(run.file("finetune", "mixture.json"), {"sources": {"own": entry, "<b>": entry}})
    page = report.build(run).read_text()
    assert "What fine-tuning read" in page and "&lt;b&gt;" in page and "<b>:" not in page
