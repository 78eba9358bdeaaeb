"""bench: the benches run, count what they say they count, and re-enact the reference with the kit's own decisions. Nothing is timed."""

import sys
from pathlib import Path

import pytest
from conftest import PATIENCE

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import folding
import generation as bench
import limited_teacher

from alif_kit.languages import pack
from alif_kit.synth.novelty import NoveltyGate

TINY = ["--seconds", "600", "--requests", "2", "--requests-per-minute", "600", "--window", "1", "--latency", "0", "--sleep", "0"]


def small(*more):
    return bench.parser().parse_args(
        [*TINY, "--prompts", "14", "--slots", "4", "--fault-latency", "0", "--retry-after", "0.01", *more]
    )


def test_both_sides_run_and_accept(capsys):
    kit, loop = bench.throughput(small())
    for side in (kit, loop):
        assert side.attempts >= 2 and 0 < side.accepted <= 2 * bench.TASKS
        assert side.share > 0 and side.throttled == 0
    assert "accepted rows/min" in capsys.readouterr().out


def test_every_prompt_has_an_answer_and_every_attempt_is_counted(capsys):
    for result in bench.faults(small()):
        assert result["answers"] == result["answered"] == 14
        assert result["requests"] == 14 + result["rate_limited"] + result["errors"]
    assert "14 of 14" in capsys.readouterr().out


def test_folding_times_each_step_with_the_pool_full(capsys):
    bench.main(["folding", "--kept", "60", "--answers", "7", "--profile"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "60 rows kept" in printed and "of 140 rows were accepted" in printed and "fold.py" in printed


def test_the_kept_rows_of_folding_are_in_the_gate_and_in_the_pool():
    fold = folding.filled_fold(small("--kept", "45"))
    seeds = sum(map(len, pack.seeds("ur").values()))
    assert len(fold.pool) == 45 and len(fold.gate.payloads) + len(fold.gate.wholes) == seeds + 45


def test_the_server_admits_its_limit_and_no_more():
    with limited_teacher.LimitedTeacher(limited_teacher.Faults(), 3, PATIENCE) as teacher:
        assert [teacher.attempt()[0] for _ in range(5)] == ["", "", "", "rate_limit", "rate_limit"]
        assert len(teacher.admitted) == 3 and teacher.stats["requests"] == 5


@pytest.mark.parametrize(
    "admitted, share",
    [
        (
            [0, 0, 11, 11, 21, 21, 31],
            1.0,
        ),  # two a window of 10 s: windows begin at 0, 11, 21, 31; the two after the first take 20 s
        ([0, 1, 20, 21, 45], 0.4),  # the one whole window after the first takes 25 s
        ([0, 5, 10], 0.3),  # not one whole window after the first: 3 of the 10 requests that 50 s allow
    ],
)
def test_the_share_of_the_limit_is_taken_after_the_first_window(admitted, share):
    assert bench.share_of_limit(admitted, 2, 10.0, 50.0) == pytest.approx(share)


def test_the_paper_gate_decides_as_the_kit_does():
    ours, theirs = NoveltyGate(0.7), bench.PaperGate(0.7)
    decisions = []
    for task in limited_teacher.tasks_of(limited_teacher.answers(7, "decisions"))[::9] * 2:
        decisions.append(ours.judge(task))
        assert decisions[-1] == theirs.judge(task)
        if not decisions[-1][0]:
            ours.add(task)
            theirs.add(task)
    assert {reason for reason, _ in decisions} == {"", "not_novel"}
