"""report: self-contained, escaped, right to left, and honest about what moved."""

import re
from dataclasses import replace

from alif_kit import config, report
from alif_kit.records import Example, Provenance, write_json, write_jsonl
from alif_kit.run_folder import Run


def results(**changes):
    stage = {
        "bits_per_byte_ur": 2.0,
        "documents_ur": 20,
        "bits_per_byte_en": 1.0,
        "documents_en": 10,
        "response_loss": 3.0,
        "tasks": 42,
        "exact_match": None,
        "checkable": 0,
        "stops_by_itself": 0.5,
        "urdu_purity": 0.9,
        "urdu_answers": 40,
    }
    return {
        "base": stage,
        "pretrain": {**stage, "bits_per_byte_ur": 1.5},
        "finetune": {**stage, "bits_per_byte_ur": 1.6, **changes},
    }


def test_the_table_has_n_and_says_better_or_worse():
    rows = {r["label"]: r for r in report.comparison(results(bits_per_byte_en=1.2), "ur")}
    urdu, english = rows["Urdu bits per byte"], rows["English bits per byte"]
    assert (urdu["n"], urdu["values"], urdu["change"], urdu["better"]) == (20, ["2.000", "1.500", "1.600"], "-0.400", True)
    assert (english["change"], english["better"]) == ("+0.200", False)
    assert rows["exact match, checkable tasks"]["values"] == ["–", "–", "–"]
    assert rows["answers that stop by themselves"]["better"] is None


def test_the_headline_says_which_way_it_fell():
    assert "fell from 2.000 to 1.500 (25%)" in report.headline(results(), "ur")
    worse = results()
    worse["pretrain"]["bits_per_byte_ur"] = 2.5
    assert "rose from 2.000 to 2.500" in report.headline(worse, "ur")


def test_the_page_needs_nothing_from_outside(finished):
    page = finished.file("report.html").read_text()
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', page) == []
    assert page.count("<svg") == 2 and "<script" not in page
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
    assert "Ledger" in page and "Before and after" not in page


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
