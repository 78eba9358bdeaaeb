"""bench: the evaluation bench runs in small, compares like with like, and prints equal numbers. Nothing is timed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import evaluation as bench


def test_both_ways_give_the_same_numbers_side_by_side(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["evaluation.py", "--base", "tiny", "--questions", "2", "--answers", "2", "--tokens", "3"])
    bench.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if "a second" in line]
    assert len(lines) == 3 and lines[2].endswith("2 of 2 the same")
    assert all(float(line.split()[-2]) < 1e-4 for line in lines[:2])


def test_questions_have_four_options():
    assert all(len(q["options"]) == 4 for q in bench.four_options("", 20))
