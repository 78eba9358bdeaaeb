"""synth: asks the teacher for tasks until every category has its target; each paid answer is journalled before it is read.

In: seeds and prompts of the pack, the teacher. Out: synth/journal.jsonl (the truth, append-only), and, derived from it
alone, synth/pool.jsonl (accepted), synth/dropped.jsonl (with reasons) and synth/funnel.json (counts).

Request k is composed from the pool as it stands after request k - window has been folded in, and answers are folded in the
order of their requests. So seed and answers decide the data set byte for byte, whatever the concurrency, and a run that was
killed goes on as if it had not been: what the journal holds is not asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

from alif_kit.core import Run, StoppedError
from alif_kit.core.records import AppendOnly, read_jsonl, write_json, write_jsonl
from alif_kit.core.run import latest_json
from alif_kit.synth.fold import STALL_REQUESTS, STALL_YIELD, Fold
from alif_kit.synth.planner import Planner, Request
from alif_kit.teacher.batch import BatchClient
from alif_kit.teacher.client import ChatClient, Reply, run_async

Progress = Callable[[Fold], None]


def generate(run: Run, key: str = "", *, batch: bool = False, on_progress: Progress | None = None) -> dict[str, Any]:
    """Run the stage in a run folder and return its funnel; resumes from the journal. `batch` asks through the Batch API.

    Raises StoppedError when the teacher, the budget or a stalled category ends it early (what is paid is in the journal),
    UserError when the endpoint refuses the request.
    """
    config = run.config
    if config.teacher.base_url == "demo":
        from alif_kit.synth.demo.teacher import DemoTeacher

        server: Any = DemoTeacher(pack=config.language)
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
