"""estimate: the figures by hand, and again from what a run has seen."""

import pytest

from alif_kit.core import config
from alif_kit.core.records import AppendOnly, write_json
from alif_kit.core.run import Run
from alif_kit.synth import estimate

SETTINGS = {
    "synth.targets": {"qa": 140, "ethics": 70},
    "synth.tasks_per_call": 20,
    "teacher.model": "gpt-4o",
    "teacher.max_usd": 1.0,
}


def made(**more):
    return config.load("t4", {**SETTINGS, **more})


def test_before_anything_is_seen_seven_of_ten_are_accepted():
    found = estimate.estimate(made())
    assert found.requests == 140 / (20 * 0.7) + 70 / (20 * 0.7) == 15
    assert found.seen == 0 and found.basis.startswith("assumed: 70%")
    usd = (found.prompt_tokens * 2.5 + found.completion_tokens * 10) / 1e6
    assert found.usd == pytest.approx(usd, abs=1e-4) and found.usd_batch == pytest.approx(usd / 2, abs=1e-4)


@pytest.mark.parametrize(
    "limits, minutes",
    [
        ({}, 15 * 60 / 64 / 60),  # a minute a request, 64 at once
        ({"teacher.concurrency": 1}, 15.0),
        ({"teacher.concurrency": 1, "synth.window": 3}, 15.0),
        ({"synth.window": 3}, 5.0),
        ({"teacher.requests_per_minute": 2}, 7.5),
    ],
)
def test_time_is_the_slowest_of_latency_and_limits(limits, minutes):
    assert estimate.estimate(made(**limits)).minutes == pytest.approx(minutes, abs=0.01)


def test_tokens_a_minute_count_both_ways():
    found = estimate.estimate(made(**{"teacher.tokens_per_minute": 1000}))
    assert found.minutes == pytest.approx((found.prompt_tokens + found.completion_tokens) / 1000, rel=0.01)


def test_after_some_requests_it_rests_on_what_was_seen(tmp_path):
    run = Run.open(tmp_path / "r", made())
    row = {"category": "qa", "count": 20, "prompt_tokens": 1000, "completion_tokens": 3000, "seconds": 30.0}
    with AppendOnly(run.file("synth", "journal.jsonl")) as journal:
        for number in range(4):
            journal.append({"request": number, **row})
    write_json(run.file("synth", "funnel.json"), {"categories": {"qa": {"accepted": 40, "not_novel": 40}}})
    found = estimate.estimate(run.config, run)
    assert (found.seen, found.acceptance) == (4, 0.5)
    assert found.requests == 100 / (20 * 0.5) + 70 / (20 * 0.5) == 17
    assert (found.prompt_tokens, found.completion_tokens) == (17_000, 51_000)
    assert found.minutes == pytest.approx(17 * 30 / 64 / 60, abs=0.01)
    assert found.basis == "4 answered requests of this run"


def test_what_the_budget_will_not_reach_is_said():
    found = estimate.estimate(made())
    assert "over budget" not in found.lines(found.usd + 0.01)
    assert found.lines(found.usd / 4)["over budget"].startswith("it would stop after about 25%")
