"""progress: what a log without a terminal shows of long work."""

import pytest

from alif_kit.core import progress


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_without_a_terminal_a_line_comes_every_half_minute_and_at_the_end(clock, capsys):
    with progress.bar("pretrain", 0) as update:
        for step in range(1, 9):
            clock.now += 10
            update(step, f"loss {step / 2:.3f}, 65 tokens/s", 12)
    assert capsys.readouterr().err.splitlines() == [
        "pretrain: 3 of 12, 30 s, about 90 s to go, loss 1.500, 65 tokens/s",
        "pretrain: 6 of 12, 60 s, about 60 s to go, loss 3.000, 65 tokens/s",
        "pretrain: 8 of 12, 80 s, about 40 s to go, loss 4.000, 65 tokens/s",
    ]


def test_what_an_earlier_session_did_is_not_counted_as_fast_work(clock, capsys):
    with progress.bar("pretrain", 0) as update:
        for step in range(501, 504):
            clock.now += 15
            update(step, "", 1000)
    assert capsys.readouterr().err.splitlines() == [
        "pretrain: 502 of 1,000, 30 s, about 7,470 s to go",
        "pretrain: 503 of 1,000, 45 s, about 7,455 s to go",
    ]


def test_what_breaks_off_has_said_how_far_it_came(clock, capsys):
    with pytest.raises(RuntimeError), progress.bar("generate", None) as update:
        update(1200, "0.4 USD")
        clock.now += 7
        raise RuntimeError
    assert capsys.readouterr().err == "generate: 1,200, 7 s, 0.4 USD\n"
