"""Generation at speed: the kit's path beside the paper's loop, a teacher that fails, and what folding answers in costs.

    python bench/generation.py [throughput | faults | folding | all] [--seconds 60] [--requests-per-minute 500] [--profile] ...

In: nothing; the teacher is the embedded one, in a process of its own, so that its CPU time is not counted as ours. Out: a table
for each part, and a sentence on what it shows.

throughput  The kit's `generate` against the paper's loop re-enacted: one request at a time, a second of sleep after each, and for
            each candidate a new process pool that fills the table of the longest common subsequence, in pure Python, against
            every kept task. Both ask the same teacher (500 ms latency, 2 % of the attempts 500 or dropped, a limit of requests in
            any sliding window with 429 and Retry-After beyond it) and both accept by the kit's parser, filters and novelty rule.
            The loop is spared what would end it: a failed call, which kills the paper's run, is passed over. Its pool starts
            empty, where it is fastest (bench/novelty.py shows the comparison at 50,000: under one candidate a second). To save
            time the server's minute is shortened to `--window` seconds, and the limiter's 61 s in the same proportion.
faults      400 prompts, 50 in flight, 0.2 s latency, 429 to 40 % and 500 to 5 % of the attempts. Measured elsewhere on the same
            setup, not by this file: distilabel 1.5.3 63.4 s and 350 of 400 answers, curator 0.1.31 29.4 s and 398.
folding     Parse, filters and novelty in one process when 50,000 rows are kept, against what 2,000 requests a minute of 20 tasks
            need. The kept rows are composed tasks with every second word changed. `--profile` says where the time goes.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import openai
from folding import folding
from limited_teacher import TASKS, UNLIMITED, Server, place, row_of, settings, show, warm
from novelty import lcs_length
from rich.table import Table

from alif_kit.core.config import Config
from alif_kit.core.errors import StoppedError
from alif_kit.core.records import CATEGORIES, SeedTask
from alif_kit.core.run import Run
from alif_kit.languages import pack
from alif_kit.synth import generate
from alif_kit.synth import planner as planning
from alif_kit.synth.demo.teacher import Faults
from alif_kit.synth.fold import Fold
from alif_kit.synth.novelty import rouge_l_f1
from alif_kit.teacher import client
from alif_kit.teacher.client import ChatClient
from alif_kit.teacher.limits import WINDOW_S, RateLimiter

# throughput


class Meter:
    """Rows accepted, seconds, and CPU seconds until the last answer was folded in; a progress callback of `generate`."""

    def __init__(self) -> None:
        self._started, self._cpu = time.monotonic(), cpu_seconds()
        self.accepted, self.wall, self.cpu = 0, 0.0, 0.0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    def __call__(self, fold: Fold) -> None:
        self.accepted, self.wall, self.cpu = len(fold.pool), self.elapsed, cpu_seconds() - self._cpu


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended: the pools of the paper's loop, not the server."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@dataclass
class Rates:
    """One side of the comparison. Attempts are what the server admitted, the failed ones too."""

    accepted: int
    attempts: int
    wall: float
    cpu: float
    share: float
    throttled: int

    @property
    def yielded(self) -> float:
        return self.accepted / max(1, self.attempts)


def limit_of(args: argparse.Namespace) -> int:
    """Requests the server takes in a shortened minute."""
    return max(1, round(args.requests_per_minute * args.window / 60))


def limited_server(args: argparse.Namespace) -> Server:
    faults = Faults(server_error=0.01, drop=0.01, latency_s=args.latency, retry_after_s=1.0)
    return Server(faults, limit_of(args), args.window)


def share_of_limit(admitted: list[float], limit: int, window_s: float, wall: float) -> float:
    """Requests sent over requests allowed, in whole windows after the first; over the wall time when there are not two."""
    windows = (len(admitted) - 1) // limit - 1
    if windows < 1:
        return len(admitted) * window_s / (limit * wall)
    return windows * window_s / (admitted[(windows + 1) * limit] - admitted[limit])


def rates(args: argparse.Namespace, meter: Meter, server: Server) -> Rates:
    stats = server.stats()
    share = share_of_limit(stats["admitted"], limit_of(args), args.window, meter.wall)
    return Rates(meter.accepted, len(stats["admitted"]), meter.wall, meter.cpu, share, stats["rate_limited"])


def ours(args: argparse.Namespace) -> Rates:
    """The kit's `generate` in a fresh run folder until its `max_minutes` or `max_requests` stop it."""
    with limited_server(args) as server, tempfile.TemporaryDirectory() as folder:
        limit = {"requests_per_minute": limit_of(args), "max_minutes": args.seconds / 60, "max_requests": args.requests}
        run = Run.open(Path(folder) / "run", settings(args, server.url, **limit))
        meter = Meter()
        limiter = partial(RateLimiter, window_s=WINDOW_S * args.window / 60)
        try:
            with patch.object(client, "RateLimiter", limiter):
                generate.generate(run, on_progress=meter)
        except StoppedError as stop:
            if "max_minutes" not in str(stop) and "max_requests" not in str(stop):
                raise
        return rates(args, meter, server)


class PaperGate:
    """The kit's novelty rule at the paper's cost: a new process pool for each candidate, and every kept task gets its table."""

    def __init__(self, threshold: float, tasks: Iterable[SeedTask] = ()) -> None:
        self.threshold = threshold
        self.kept = [place(task) for task in tasks]

    def judge(self, task: SeedTask) -> tuple[str, dict[str, Any]]:
        index, tokens = place(task)
        with multiprocessing.Pool() as pool:
            scores = pool.map(partial(rouge_l, tokens), [kept for _, kept in self.kept])
        best = max((score for score, (where, _) in zip(scores, self.kept, strict=True) if where == index), default=0.0)
        return ("not_novel" if best > self.threshold else ""), {"nearest_rouge_l": round(best, 4)}

    def add(self, task: SeedTask) -> None:
        self.kept.append(place(task))


def rouge_l(candidate: list[str], kept: list[str]) -> float:
    return rouge_l_f1(lcs_length(candidate, kept), len(candidate), len(kept))


def paper(args: argparse.Namespace) -> Rates:
    """The paper's loop for as long, and to the end of its last request."""
    with limited_server(args) as server:
        settled = settings(replace_args(args, in_flight=1), server.url)
        fold, planner = Fold(settled), planning.Planner(settled)
        fold.gate = PaperGate(settled.synth.novelty_threshold, sum(pack.seeds(settled.language).values(), ()))
        meter = Meter()
        with openai.OpenAI(api_key="none", base_url=server.url, max_retries=0) as endpoint:
            while meter.elapsed < args.seconds and planner.issued < (args.requests or UNLIMITED):
                with suppress(openai.OpenAIError):
                    fold.add(ask(endpoint, settled, planner.next(fold)))
                planner.in_flight.clear()
                time.sleep(args.sleep)
                meter(fold)
        return rates(args, meter, server)


def ask(endpoint: openai.OpenAI, settled: Config, request: planning.Request) -> dict[str, Any]:
    """One answer, as a journal row."""
    teacher = settled.teacher
    reply = endpoint.chat.completions.create(
        model=teacher.model, messages=request.messages, temperature=teacher.temperature, max_tokens=teacher.max_tokens
    )
    return row_of(request.number, request.category, reply.choices[0].message.content, request.prompt_hash)


def replace_args(args: argparse.Namespace, **changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(args), **changes})


def throughput(args: argparse.Namespace) -> tuple[Rates, Rates]:
    warm(args)
    kit, loop = ours(args), paper(args)
    table = Table("", "kit", "paper's loop", "ratio", title=f"{args.requests_per_minute} requests a minute allowed")
    for name, of in (
        ("requests/min", lambda r: r.share * args.requests_per_minute),
        ("accepted rows/min", lambda r: r.share * args.requests_per_minute * r.yielded),
    ):
        table.add_row(name, f"{of(kit):,.0f}", f"{of(loop):,.1f}", f"{of(kit) / max(of(loop), 1e-9):,.0f} x")
    for name, of in (
        ("accepted of asked", lambda r: f"{r.yielded / TASKS:.0%}"),
        ("share of the limit", lambda r: f"{r.share:.1%}"),
        ("429s at the server", lambda r: str(r.throttled)),
        ("CPU share of one core", lambda r: f"{r.cpu / r.wall:.0%}"),
    ):
        table.add_row(name, of(kit), of(loop), "")
    show(
        table,
        f"The kit holds {kit.share:.1%} of what the server allows (the target is 95 %), where the paper's loop does one thing "
        f"at a time; {kit.wall:.0f} s and {loop.wall:.0f} s measured, the server's minute shortened to {args.window:g} s and its "
        f"limit to {limit_of(args)}, the limiter's {WINDOW_S:g} s in proportion, the kit's rates taken in whole windows after the "
        "first. The demonstration teacher repeats itself the more it is asked, which costs the kit accepted rows and not the loop.",
    )
    return kit, loop


# faults


def faults(args: argparse.Namespace) -> list[dict[str, float]]:
    table = Table("Retry-After", "seconds", "answers", "attempts", "429s", "500s", title="40 % of attempts 429, 5 % 500")
    results = [faults_once(args, wait) for wait in map(float, args.retry_after.split(","))]
    for r in results:
        counts = (str(r[name]) for name in ("requests", "rate_limited", "errors"))
        table.add_row(f"{r['retry_after']:g} s", f"{r['seconds']:.1f}", f"{r['answers']} of {args.prompts}", *counts)
    show(
        table,
        f"At worst {min(r['answers'] for r in results)} of {args.prompts} prompts have their answer, after at most "
        f"{max(r['seconds'] for r in results):.1f} s, {args.slots} in flight (the target: all, in under 15 s; measured elsewhere "
        "on the same setup: distilabel 1.5.3 63.4 s and 350 of 400, curator 0.1.31 29.4 s and 398 of 400).",
    )
    return results


def faults_once(args: argparse.Namespace, retry_after_s: float) -> dict[str, float]:
    """Seconds, answers and the server's counts for one Retry-After."""
    with Server(Faults(rate_limit=0.4, server_error=0.05, latency_s=args.fault_latency, retry_after_s=retry_after_s)) as server:
        settled = settings(args, server.url, concurrency=args.slots)
        prompts = [planning.compose(settled, n, CATEGORIES[n % 7], []).messages for n in range(args.prompts)]
        started = time.monotonic()
        replies = asyncio.run(ask_all(settled, prompts))
        seconds = time.monotonic() - started
        answers = sum(isinstance(reply, client.Reply) for reply in replies)
        return {"retry_after": retry_after_s, "seconds": seconds, "answers": answers, **server.stats()}


async def ask_all(settled: Config, prompts: list[list[dict[str, str]]]) -> list[Any]:
    async with ChatClient(settled.teacher) as chat:
        return await asyncio.gather(*(chat.chat(messages) for messages in prompts), return_exceptions=True)


PARTS = {"throughput": throughput, "faults": faults, "folding": folding}


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("part", nargs="?", default="all", choices=("all", *PARTS), help="what to measure")
    options.add_argument("--seconds", type=float, default=60, help="throughput: how long each side runs")
    options.add_argument("--requests", type=int, default=0, help="throughput: most requests of each side; 0 for no limit")
    options.add_argument("--requests-per-minute", type=int, default=500, help="throughput: the server's limit")
    options.add_argument("--window", type=float, default=15, help="throughput: seconds of the server's shortened minute")
    options.add_argument("--latency", type=float, default=0.5, help="throughput: seconds before an answer")
    options.add_argument("--in-flight", type=int, default=64, help="throughput: the run's window")
    options.add_argument("--sleep", type=float, default=1.0, help="throughput: the loop's sleep after each call")
    options.add_argument("--prompts", type=int, default=400, help="faults: prompts asked")
    options.add_argument("--slots", type=int, default=50, help="faults: requests in flight")
    options.add_argument("--fault-latency", type=float, default=0.2, help="faults: seconds before an answer")
    options.add_argument("--retry-after", default="0.05,1", help="faults: seconds of Retry-After, a row each")
    options.add_argument("--kept", type=int, default=50_000, help="folding: rows kept before")
    options.add_argument("--answers", type=int, default=210, help="folding: answers folded in")
    options.add_argument("--profile", action="store_true", help="folding: also print where the time goes")
    return options


def main(arguments: list[str] | None = None) -> None:
    args = parser().parse_args(arguments)
    for name in PARTS if args.part == "all" else [args.part]:
        PARTS[name](args)


if __name__ == "__main__":
    main()
