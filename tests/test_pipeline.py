"""The walk from seeds to report: the files it leaves, what its numbers say, and that a kill changes nothing."""

import json
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import SMALL

from alif_kit import pipeline
from alif_kit.core import config
from alif_kit.core.run import Run
from alif_kit.evaluation import summary

CONTRACT = (
    "config.json",
    "ledger.jsonl",
    "synth/journal.jsonl",
    "synth/pool.jsonl",
    "synth/dropped.jsonl",
    "synth/funnel.json",
    "data/train.jsonl",
    "data/eval.jsonl",
    "data/card.md",
    "pretrain/metrics.csv",
    "pretrain/adapter/adapter_model.safetensors",
    "finetune/metrics.csv",
    "finetune/adapter/adapter_model.safetensors",
    "evaluation/results.json",
    "evaluation/gate.json",
    "evaluation/base/held_out.jsonl",
    "evaluation/pretrain/knowledge_ur.jsonl",
    "evaluation/finetune/behaviour.jsonl",
    "report.html",
)
# What two runs of one configuration must share, byte for byte.
EQUAL = tuple(name for name in CONTRACT if name not in ("config.json", "ledger.jsonl", "synth/journal.jsonl", "report.html"))


def test_the_run_folder_holds_the_contracts_files(finished):
    assert [name for name in CONTRACT if not finished.file(name).is_file()] == []


def test_pretraining_lowers_urdu_bits_per_byte_on_held_out_documents(finished):
    results = json.loads(finished.file("evaluation/results.json").read_text())
    base, read = (summary.value(results, "bits_per_byte_ur", name) for name in ("base", "pretrain"))
    assert read < 0.9 * base


def test_fine_tuning_lowers_the_loss_of_held_out_answers(finished):
    results = json.loads(finished.file("evaluation/results.json").read_text())
    losses = [summary.value(results, "response_loss", name) for name in ("finetune", "pretrain", "base")]
    assert losses == sorted(losses) and losses[0] < losses[1] < losses[2]


def test_each_stage_answers_the_same_tasks(finished):
    ids = [
        [json.loads(line)["id"] for line in finished.file(f"evaluation/{s}/held_out.jsonl").open()]
        for s in ("base", "pretrain", "finetune")
    ]
    assert ids[0] == ids[1] == ids[2] and len(ids[0]) == 7


def test_the_ledger_has_each_stage_once_and_no_dollars(finished):
    lines = finished.ledger()
    assert [line["stage"] for line in lines] == ["generate", "pretrain", "finetune", "evaluate"]
    assert {line["status"] for line in lines} == {"done"} and sum(line["usd_api"] for line in lines) == 0
    assert all(line["tokens_in"] + line["tokens_out"] > 0 for line in lines)


def test_a_finished_run_is_not_repeated(finished):
    before = {name: finished.file(name).stat().st_mtime_ns for name in CONTRACT if "report" not in name and "data" not in name}
    pipeline.walk(finished)
    assert {name: finished.file(name).stat().st_mtime_ns for name in before} == before


SCRIPT = "import sys; from alif_kit import pipeline; from alif_kit.core.run import Run; pipeline.walk(Run.resume(sys.argv[1]))"


def without_times(page):
    """The report without what may differ: seconds, minutes and the run's name."""
    page = re.sub(r"<title>.*?</title>|<h1>.*?</h1>", "", page)
    return re.sub(r'<b>[\d.]+ min</b>|<td class="n">[\d.]+</td>(?=<td class="n">\$)', "", page)


def kill_and_resume(finished, tmp_path, moments):
    """SIGKILL the walk at these shares of the finished run's time, then let it finish."""
    run = Run.open(tmp_path / "small", config.load("smoke", SMALL))
    command = [sys.executable, "-c", SCRIPT, str(run.path)]
    whole = sum(line["seconds"] for line in finished.ledger())
    for share in moments:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(6 + share * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = subprocess.run(command, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr[-3000:]
    return run


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_equals_uninterrupted(finished, tmp_path):
    run = kill_and_resume(finished, tmp_path, sorted(random.Random(4).uniform(0, 0.6) for _ in range(4)))
    differing = [name for name in EQUAL if run.file(name).read_bytes() != finished.file(name).read_bytes()]
    assert differing == []
    pages = [without_times(r.file("report.html").read_text()) for r in (run, finished)]
    assert pages[0] == pages[1]
