"""What folding answers in costs: the third part of generation.py, which says what it measures."""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import time
from collections.abc import Callable
from typing import Any

from limited_teacher import TASKS, answers, place, settings, show, tasks_of, warm
from rich.table import Table

from alif_kit.synth import filters
from alif_kit.synth import planner as planning
from alif_kit.synth.fold import Fold
from alif_kit.synth.parse import parse

NEEDED = 2000 / 60


def filled_fold(args: argparse.Namespace) -> Fold:
    """A fold with `args.kept` kept rows: composed tasks, each in ten versions with every second word changed."""
    fold, draw = Fold(settings(args, "demo")), random.Random(0)
    bases = tasks_of(answers(-(-args.kept // (10 * TASKS)), "kept"))
    placed = [place(task) for task in bases]
    words = sorted({token for _, tokens in placed for token in tokens})
    for number in range(args.kept):
        index, tokens = placed[number % len(placed)]
        getattr(fold.gate, index).add([draw.choice(words) if draw.random() < 0.5 else token for token in tokens])
        fold.pool.append(bases[number % len(bases)])
    return fold


def timed(work: Callable[[Any], Any], items: list[Any]) -> float:
    """CPU seconds of this process."""
    started = time.process_time()
    for item in items:
        work(item)
    return time.process_time() - started


def steps(fold: Fold, rows: list[dict[str, Any]]) -> dict[str, float]:
    """CPU seconds of each step over the rows; the last two are the real paths that `generate` takes."""
    tasks = tasks_of(rows)
    sound = [task for task in tasks if not filters.first_reason(task)]
    draws = [(row["request"], row["category"]) for row in rows]
    return {
        "parse": timed(lambda row: parse(row["response"], "stop", row["category"]), rows),
        "filters": timed(filters.first_reason, tasks),
        "novelty": timed(fold.gate.judge, sound),
        "all of folding (Fold.add)": timed(fold.add, rows),
        "composing the next request": timed(
            lambda draw: planning.compose(fold.config, *draw, fold.by_category.get(draw[1], [])), draws
        ),
    }


def folding(args: argparse.Namespace) -> dict[str, float]:
    warm(args)
    fold, rows = filled_fold(args), answers(args.answers, "new")
    seconds = steps(fold, rows)
    table = Table("step", "ms/request", "requests/s", "rows/s", "of what is needed", title=f"{args.kept:,} rows kept, one core")
    for name, spent in seconds.items():
        rate = len(rows) / spent
        numbers = (f"{1000 / rate:.1f}", f"{rate:,.1f}", f"{rate * TASKS:,.0f}", f"{rate / NEEDED:.2f} x")
        table.add_row(name, *numbers)
    rate = len(rows) / seconds["all of folding (Fold.add)"]
    verdict = "keeps up with" if rate >= NEEDED else "falls short of"
    show(
        table,
        f"Folding answers in {verdict} 2,000 requests a minute of {TASKS} tasks ({NEEDED:.1f} requests/s, {NEEDED * TASKS:.0f} "
        f"rows/s); {fold.funnel()['accepted']:,} of {len(rows) * TASKS:,} rows were accepted.",
    )
    if args.profile:
        profile(fold, answers(args.answers, "profiled"))
    return seconds


def profile(fold: Fold, rows: list[dict[str, Any]]) -> None:
    profiler = cProfile.Profile()
    profiler.runcall(lambda: [fold.add(row) for row in rows])
    statistics = pstats.Stats(profiler).strip_dirs()
    statistics.sort_stats("cumulative").print_stats(30)
    statistics.sort_stats("tottime").print_stats(15)
