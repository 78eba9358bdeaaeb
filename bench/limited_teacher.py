"""A teacher with a limit in a process of its own, what the benches of generation ask it, and its answers as rows."""

from __future__ import annotations

import argparse
import multiprocessing
import random
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from alif_kit.core import config
from alif_kit.core.config import Config
from alif_kit.core.records import CATEGORIES, SeedTask
from alif_kit.languages.text import comparison_tokens
from alif_kit.synth.demo import compose
from alif_kit.synth.demo.teacher import DemoTeacher, Faults
from alif_kit.synth.fold import Fold
from alif_kit.synth.novelty import PAYLOAD_TOKENS
from alif_kit.synth.parse import parse

TASKS = 20
UNLIMITED = 10_000_000
CONSOLE = Console(width=120)


class LimitedTeacher(DemoTeacher):
    """The demonstration teacher with a limit: 429 to a request when `limit` were admitted in the last `window_s` seconds."""

    def __init__(self, faults: Faults, limit: int = UNLIMITED, window_s: float = 60.0) -> None:
        super().__init__(faults=faults)
        self.limit, self.window_s = limit, window_s
        self.admitted: list[float] = []

    def attempt(self) -> tuple[str, float]:
        with self._lock:
            now = time.monotonic()
            full = len(self.admitted) >= self.limit and self.admitted[-self.limit] > now - self.window_s
            if not full:
                self.admitted.append(now)
        if full:
            self.count(requests=1)
            return "rate_limit", 0.0
        return super().attempt()


def serve(pipe: Any, *settings: Any) -> None:
    """The server's process: sends the address, then the counters each time it is asked."""
    with LimitedTeacher(*settings) as teacher:
        pipe.send(teacher.base_url)
        while pipe.recv() == "stats":
            pipe.send({**teacher.stats, "admitted": teacher.admitted})


class Server:
    """A LimitedTeacher in another process: `with Server(faults, limit, window_s) as server: server.url, server.stats()`."""

    def __init__(self, *settings: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=serve, args=(there, *settings), daemon=True)
        self._process.start()
        there.close()
        self.url = self._pipe.recv()

    def stats(self) -> dict[str, Any]:
        self._pipe.send("stats")
        return self._pipe.recv()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pipe.send("stop")
        self._process.join()


def settings(args: argparse.Namespace, url: str, **teacher: Any) -> Config:
    """The smoke preset with the paper's 20 tasks a request, and targets that are not reached."""
    changes = {
        "synth.targets": dict.fromkeys(CATEGORIES, UNLIMITED),
        "synth.tasks_per_call": TASKS,
        "synth.window": args.in_flight,
        "teacher.base_url": url,
        "teacher.timeout_s": 30.0,
    }
    return config.load("smoke", changes | {f"teacher.{name}": value for name, value in teacher.items()})


def row_of(number: int, category: str, text: str, prompt_hash: str = "") -> dict[str, Any]:
    facts = {"request": number, "category": category, "count": TASKS, "response": text, "prompt_hash": prompt_hash}
    sources = {"seeds_shown": (), "machine_shown": (), "model": "teacher", "finish_reason": "stop"}
    return facts | sources | {"prompt_tokens": 0, "completion_tokens": 0, "usd": 0.0}


def answers(count: int, seed: str) -> list[dict[str, Any]]:
    """Journal rows of `count` answers of the demonstration teacher."""
    turns = ((n, CATEGORIES[n % len(CATEGORIES)]) for n in range(count))
    return [row_of(n, c, compose.write_answer(c, TASKS, random.Random(f"{seed}-{n}"), "", False, "ur")) for n, c in turns]


def tasks_of(rows: list[dict[str, Any]]) -> list[SeedTask]:
    items = (item for row in rows for item in parse(row["response"], "stop", row["category"]))
    return [item.task for item in items if item.task]


def place(task: SeedTask) -> tuple[str, list[str]]:
    """The index of NoveltyGate that a task belongs to, and its tokens there."""
    payload = comparison_tokens(task.input)
    if len(payload) >= PAYLOAD_TOKENS:
        return "payloads", payload
    return "wholes", comparison_tokens(task.instruction) + payload


def warm(args: argparse.Namespace) -> None:
    """Load libraries, pack and model of language identification."""
    fold = Fold(settings(args, "demo"))
    for row in answers(len(CATEGORIES), "warm"):
        fold.add(row)


def show(table: Table, sentence: str) -> None:
    CONSOLE.print(table)
    CONSOLE.print(sentence + "\n")
