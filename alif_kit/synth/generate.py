"""synth: asks the teacher for tasks until every category has its target; each paid answer is journalled before it is read.

In: seeds and prompts of the pack, the teacher. Out: synth/journal.jsonl (the truth, append-only), and, derived from it
alone, synth/pool.jsonl (accepted), synth/dropped.jsonl (with reasons) and synth/funnel.json (counts).

Request k is composed from the pool as it stands after request k - window has been folded in, and answers are folded in the
order of their requests. So seed and answers decide the data set byte for byte, whatever the concurrency, and a run that was
killed goes on as if it had not been: what the journal holds is not asked again.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from alif_kit import pack
from alif_kit.batch import BatchClient
from alif_kit.client import ChatClient, Reply, run_async
from alif_kit.config import Config
from alif_kit.contamination import EvaluationSets
from alif_kit.errors import StoppedError
from alif_kit.records import AppendOnly, Example, Provenance, read_jsonl, stable_id, write_json, write_jsonl
from alif_kit.run_folder import Run, latest_json
from alif_kit.synth import filters
from alif_kit.synth.novelty import NoveltyGate
from alif_kit.synth.parse import Parsed, parse, render, schema

STALL_REQUESTS = 6
STALL_YIELD = 0.05
FIRST_YIELD = 0.7

Progress = Callable[["Fold"], None]


@dataclass(frozen=True)
class Request:
    """Request number `number`: what it asks for and what it shows."""

    number: int
    category: str
    count: int
    messages: list[dict[str, str]]
    seeds_shown: tuple[str, ...]
    machine_shown: tuple[str, ...]
    output_format: str = "text"

    @property
    def options(self) -> dict[str, Any]:
        """What the request asks of a server that has structured output."""
        if self.output_format == "json_schema":
            return {"response_format": schema(self.category)}
        return {"response_format": {"type": "json_object"}} if self.output_format == "json_object" else {}

    @property
    def prompt_hash(self) -> str:
        return stable_id(self.messages)


@dataclass
class Fold:
    """The state that answers are folded into, in request order: the pool, what was dropped, and the counts."""

    config: Config
    pool: list[Example] = field(default_factory=list)
    by_category: dict[str, list[Example]] = field(default_factory=dict)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    accepted: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    recent: dict[str, list[float]] = field(default_factory=dict)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    folded: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0

    def __post_init__(self) -> None:
        self.gate = NoveltyGate(self.config.synth.novelty_threshold)
        self.evaluation_sets = EvaluationSets(self.config.synth.evaluation_sets)
        for tasks in pack.seeds(self.config.language).values():
            for seed in tasks:
                self.gate.add(seed)

    def add(self, row: dict[str, Any]) -> None:
        """Fold in one journal row."""
        category, before = row["category"], self.accepted[row["category"]]
        for parsed in parse(row["response"], row["finish_reason"], category):
            self._judge(parsed, row)
        self.asked[category] += row["count"]
        self.recent.setdefault(category, []).append((self.accepted[category] - before) / row["count"])
        self.folded += 1
        self.tokens_in += row["prompt_tokens"]
        self.tokens_out += row["completion_tokens"]
        self.usd += row["usd"]

    def _judge(self, parsed: Parsed, row: dict[str, Any]) -> None:
        category = row["category"]
        reason = parsed.problem or filters.first_reason(parsed.task)
        scores: dict[str, float] = {}
        if not reason and self.evaluation_sets.overlap(parsed.task.instruction, parsed.task.input, parsed.task.output):
            reason = "contaminated"
        if not reason:
            reason, scores = self.gate.judge(parsed.task)
        if not reason and self.accepted[category] >= self.config.synth.targets[category]:
            reason = "over_target"
        self.reasons.setdefault(category, Counter())[reason or "accepted"] += 1
        if reason:
            text = parsed.raw if parsed.task is None else render([parsed.task])
            self.dropped.append(
                {"request": row["request"], "item": parsed.item, "category": category, "reason": reason, "text": text}
            )
        else:
            self._accept(parsed, row, scores)

    def _accept(self, parsed: Parsed, row: dict[str, Any], scores: dict[str, float]) -> None:
        provenance = Provenance(
            teacher=row["model"],
            request=row["request"],
            item=parsed.item,
            prompt_hash=row["prompt_hash"],
            seeds_shown=tuple(row["seeds_shown"]),
            machine_shown=tuple(row["machine_shown"]),
            scores=scores,
        )
        task = parsed.task
        example = Example(task.category, task.instruction, task.output, task.input, task.labels, task.meta, provenance)
        self.gate.add(example)
        self.pool.append(example)
        self.by_category.setdefault(task.category, []).append(example)
        self.accepted[task.category] += 1

    def expected_yield(self, category: str) -> float:
        """Accepted per asked so far, between the first guess and what was seen."""
        return (self.accepted[category] + 10 * FIRST_YIELD) / (self.asked[category] + 10)

    def stalled(self, category: str) -> bool:
        recent = self.recent.get(category, [])[-STALL_REQUESTS:]
        return len(recent) == STALL_REQUESTS and sum(recent) / STALL_REQUESTS < STALL_YIELD

    def funnel(self) -> dict[str, Any]:
        """Counts by category and reason; every parsed item is in exactly one place."""
        total: Counter[str] = Counter()
        for counts in self.reasons.values():
            total.update(counts)
        return {
            "requests": self.folded,
            "candidates": sum(total.values()),
            "accepted": total["accepted"],
            "reasons": dict(sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))),
            "categories": {c: dict(sorted(counts.items())) for c, counts in sorted(self.reasons.items())},
            "targets": self.config.synth.targets,
        }


class Planner:
    """Decides, from what is folded in and what is in flight, which category the next request asks for."""

    def __init__(self, config: Config, output_format: str = "text") -> None:
        self.config, self.output_format = config, output_format
        self.in_flight: list[Request] = []
        self.issued = 0

    def next(self, fold: Fold) -> Request | None:
        """The next request, or None while what is in flight should suffice."""
        if len(self.in_flight) >= self.config.synth.window:
            return None
        missing = {c: self._missing(c, fold) / t for c, t in self.config.synth.targets.items() if not fold.stalled(c)}
        category = max(missing, key=missing.get, default=None)
        if category is None or missing[category] <= 0:
            return None
        request = compose(self.config, self.issued, category, fold.by_category.get(category, []), self.output_format)
        self.in_flight.append(request)
        self.issued += 1
        return request

    def _missing(self, category: str, fold: Fold) -> float:
        coming = sum(r.count for r in self.in_flight if r.category == category) * fold.expected_yield(category)
        return self.config.synth.targets[category] - fold.accepted[category] - coming


def compose(config: Config, number: int, category: str, made: list[Example], output_format: str = "text") -> Request:
    """Request `number`: 4 seeds and, once there are any, 2 of the category's machine examples, chosen by seed and number."""
    draw = random.Random(f"{config.seed}-{number}-{category}")
    synth = config.synth
    seeds = _sample(draw, pack.seeds(config.language)[category], synth.seeds_shown)
    machine = _sample(draw, made, synth.machine_shown)
    lists = pack.topics(config.language)
    prompt = pack.prompt(
        config.language,
        category,
        category=category,
        category_name=pack.settings(config.language)["categories"][category],
        count=synth.tasks_per_call,
        examples=render([*seeds, *machine]),
        topics=_sample(draw, lists["topics"], 5),
        registers=_sample(draw, lists["registers"], 2),
        regions=_sample(draw, lists["regions"], 2),
        output_format="text" if output_format == "text" else "json",
    )
    system = pack.prompt(config.language, "system")
    messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
    shown = tuple(s.id for s in seeds), tuple(m.id for m in machine)
    return Request(number, category, synth.tasks_per_call, messages, *shown, output_format)


def _sample(draw: random.Random, items: Sequence[Any], count: int) -> list[Any]:
    return draw.sample(items, min(count, len(items)))


def generate(run: Run, key: str = "", *, batch: bool = False, on_progress: Progress | None = None) -> dict[str, Any]:
    """Run the stage in a run folder and return its funnel; resumes from the journal. `batch` asks through the Batch API.

    Raises StoppedError when the teacher, the budget or a stalled category ends it early (what is paid is in the journal),
    UserError when the endpoint refuses the request.
    """
    config = run.config
    if config.teacher.base_url == "demo":
        from alif_kit.synth.demo_teacher import DemoTeacher

        server: Any = DemoTeacher()
    else:
        server = nullcontext()
    with server as demo, run.stage("generate") as facts:
        url = demo.base_url if demo else config.teacher.base_url
        fold = Fold(config)
        try:
            run_async(_generate(run, fold, key, url, batch, on_progress))
        finally:
            facts |= {"tokens_in": fold.tokens_in, "tokens_out": fold.tokens_out, "usd_api": round(fold.usd, 6)}
            funnel = write_derived(run, fold)
        _refuse_stall(fold)
    return funnel


def rebuild(run: Run) -> dict[str, Any]:
    """Make pool, dropped rows and funnel again from the journal alone: no request, no cost."""
    fold = Fold(run.config)
    for row in sorted(read_journal(run).values(), key=lambda row: row["request"]):
        fold.add(row)
    return write_derived(run, fold)


def read_journal(run: Run) -> dict[int, dict[str, Any]]:
    path = run.file("synth", "journal.jsonl")
    return {row["request"]: row for row in read_jsonl(path)} if path.is_file() else {}


def write_derived(run: Run, fold: Fold) -> dict[str, Any]:
    funnel = fold.funnel()
    write_jsonl(run.file("synth", "pool.jsonl"), fold.pool)
    write_jsonl(run.file("synth", "dropped.jsonl"), fold.dropped)
    write_json(run.file("synth", "funnel.json"), funnel)
    return funnel


async def _generate(run: Run, fold: Fold, key: str, url: str, batch: bool, on_progress: Progress | None) -> None:
    answered = read_journal(run)
    used = {"base_url": url, "spent": sum(row["usd"] for row in answered.values()), "requests": len(answered)}
    teacher = run.config.teacher
    async with (
        BatchClient(teacher, key, run.file("synth", "batch"), **used) if batch else ChatClient(teacher, key, **used) as client
    ):
        planner, waiting = Planner(run.config, await _output_format(run, client)), {}
        with AppendOnly(run.file("synth", "journal.jsonl")) as journal:
            try:
                while True:
                    while request := planner.next(fold):
                        known = answered.get(request.number)
                        waiting[request.number] = _known(known) if known else asyncio.create_task(_ask(client, journal, request))
                    if not planner.in_flight:
                        return
                    first = planner.in_flight[0]
                    fold.add(await waiting.pop(first.number))
                    planner.in_flight.pop(0)
                    if on_progress:
                        on_progress(fold)
            finally:
                client.stop()
                await _finish(waiting)


async def _output_format(run: Run, client: ChatClient | BatchClient) -> str:
    """The configured format, or the one found when the run first met its teacher."""
    if run.config.teacher.output_format != "auto":
        return run.config.teacher.output_format
    path = run.file("synth", "endpoint.json")
    if not path.is_file():
        write_json(path, {"output_format": await client.probe_format()})
    return latest_json(path)["output_format"]


def _known(row: dict[str, Any]) -> Awaitable[dict[str, Any]]:
    answer = asyncio.get_running_loop().create_future()
    answer.set_result(row)
    return answer


async def _finish(waiting: dict[int, Awaitable[Any]]) -> None:
    """Let requests in flight end, so that what is paid for is journalled."""
    await asyncio.gather(*waiting.values(), return_exceptions=True)


async def _ask(client: ChatClient | BatchClient, journal: AppendOnly, request: Request) -> dict[str, Any]:
    """Ask, journal, then return the row: a kill after the answer arrived costs nothing."""
    reply: Reply = await client.chat(request.messages, **request.options)
    row = {
        "request": request.number,
        "category": request.category,
        "count": request.count,
        "prompt_hash": request.prompt_hash,
        "seeds_shown": request.seeds_shown,
        "machine_shown": request.machine_shown,
        "model": reply.model,
        "response": reply.text,
        "finish_reason": reply.finish_reason,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "usd": client.budget.price.of(reply.prompt_tokens, reply.completion_tokens),
        "seconds": reply.seconds,
    }
    await asyncio.to_thread(journal.append, row)  # fsync takes milliseconds in which others may answer
    return row


def _refuse_stall(fold: Fold) -> None:
    short = [c for c, t in fold.config.synth.targets.items() if fold.accepted[c] < t]
    if short:
        category = short[0]
        worst = fold.reasons[category].most_common(2)
        why = ", ".join(f"{reason} {count}" for reason, count in worst)
        raise StoppedError(
            f"{category} stopped at {fold.accepted[category]} of {fold.config.synth.targets[category]}: the last {STALL_REQUESTS} "
            f"requests yielded under {STALL_YIELD:.0%} ({why}); read synth/dropped.jsonl, "
            "then change the teacher or lower the target"
        )
