"""synth: asks the teacher for tasks until every category has its target; each paid answer is journalled before it is read.

In: seeds and prompts of the pack, the teacher. Out: synth/journal.jsonl (the truth, append-only), and, derived from it
alone, synth/pool.jsonl (accepted), synth/dropped.jsonl (with reasons) and synth/funnel.json (counts).

Request k is composed from the pool as it stands after request k - window has been folded in, and answers are folded in the
order of their requests. So seed and answers decide the data set byte for byte, whatever the concurrency, and a run that was
killed goes on as if it had not been: what the journal holds is not asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from alif_kit.core import Run, StoppedError
from alif_kit.core.records import AppendOnly, read_jsonl, write_json, write_jsonl
from alif_kit.core.run import latest_json
from alif_kit.synth.demo.teacher import DemoTeacher
from alif_kit.synth.fold import STALL_REQUESTS, STALL_YIELD, Fold
from alif_kit.synth.planner import Planner, Request
from alif_kit.teacher.batch import BatchClient
from alif_kit.teacher.client import ChatClient, run_async


def generate(run: Run, key: str = "", *, batch: bool = False, on_progress: Callable[[Fold], None] | None = None) -> dict[str, Any]:
    """Run the stage in a run folder and return its funnel; resumes from the journal. `batch` asks through the Batch API.

    Raises StoppedError when the teacher, the budget or a stalled category ends it early (what is paid is in the journal),
    UserError when the endpoint refuses the request.
    """
    teacher = run.config.teacher
    server = DemoTeacher(pack=run.config.language) if teacher.base_url == "demo" else nullcontext(teacher)
    with server as asked, run.stage("generate") as facts:
        fold = Fold(run.config)
        try:
            run_async(_generate(run, fold, key, asked.base_url, batch, on_progress))
        finally:
            facts |= {"tokens_in": fold.used["prompt_tokens"], "tokens_out": fold.used["completion_tokens"]}
            facts["usd_api"] = round(fold.used["usd"], 6)
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


async def _generate(run: Run, fold: Fold, key: str, url: str, batch: bool, on_progress: Callable[[Fold], None] | None) -> None:
    answered = read_journal(run)
    used = {"base_url": url, "spent": sum(row["usd"] for row in answered.values()), "requests": len(answered)}
    teacher = run.config.teacher
    client = BatchClient(teacher, key, run.file("synth", "batch"), **used) if batch else ChatClient(teacher, key, **used)
    async with client:
        planner, waiting = Planner(run.config, await _output_format(run, client)), {}
        with AppendOnly(run.file("synth", "journal.jsonl")) as journal:
            try:
                while True:
                    while request := planner.next(fold):
                        asking = _ask(client, journal, request, answered.get(request.number))
                        waiting[request.number] = asyncio.create_task(asking)
                    if not planner.in_flight:
                        return
                    fold.add(await waiting.pop(planner.in_flight[0].number))
                    planner.in_flight.pop(0)
                    if on_progress:
                        on_progress(fold)
            finally:
                client.stop()
                # Requests in flight may end, so that what is paid for is journalled.
                await asyncio.gather(*waiting.values(), return_exceptions=True)


async def _output_format(run: Run, client: ChatClient) -> str:
    """The configured format, or the one found when the run first met its teacher."""
    if run.config.teacher.output_format != "auto":
        return run.config.teacher.output_format
    path = run.file("synth", "endpoint.json")
    if not path.is_file():
        write_json(path, {"output_format": await client.probe_format()})
    return latest_json(path)["output_format"]


async def _ask(client: ChatClient, journal: AppendOnly, request: Request, known: dict[str, Any] | None) -> dict[str, Any]:
    """The `known` row, or ask, journal, then return the row: a kill after the answer arrived costs nothing."""
    if known:
        return known
    reply = await client.chat(request.messages, **request.options)
    asked = {name: getattr(request, name) for name in ("category", "count", "prompt_hash", "seeds_shown", "machine_shown")}
    said = {"model": reply.model, "response": reply.text, "finish_reason": reply.finish_reason}
    tokens = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
    cost = {"usd": client.budget.price.of(*tokens.values()), "seconds": reply.seconds}
    row = {"request": request.number, **asked, **said, **tokens, **cost}
    await asyncio.to_thread(journal.append, row)  # fsync takes milliseconds in which others may answer
    return row


def _refuse_stall(fold: Fold) -> None:
    for category, target in fold.config.synth.targets.items():
        if (accepted := len(fold.by_category[category])) < target:
            why = ", ".join(f"{reason} {count}" for reason, count in fold.reasons[category].most_common(2))
            raise StoppedError(
                f"{category} stopped at {accepted} of {target}: the last {STALL_REQUESTS} requests yielded under "
                f"{STALL_YIELD:.0%} ({why}); read synth/dropped.jsonl, then change the teacher or lower the target"
            )
