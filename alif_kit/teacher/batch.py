"""teacher: the same `chat` through the OpenAI Batch API, at half the price and within a day.

In: messages, as for client.ChatClient. Out: `Reply`s, when their batch is done. What is asked for together goes into one batch;
its requests are saved before it is submitted, its id as soon as it has one, so the program may be closed for a day and started
again: the same requests find their batch. Requests that failed, or whose batch expired, are submitted once more, then it stops.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from alif_kit.core import StoppedError, UserError
from alif_kit.core.config import Teacher
from alif_kit.core.records import dumps, stable_id, write_json
from alif_kit.teacher.client import ChatClient, Reply, body, reply_of, tokens_at_most
from alif_kit.teacher.limits import Budget, price_table

GATHER_S = 0.3
LONGEST_POLL_S = 60.0
OVER = {"completed", "failed", "expired", "cancelled"}
MOST_SUBMISSIONS = 2
HOW = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}


class BatchClient(ChatClient):
    """`async with BatchClient(teacher, key, folder) as client: await client.chat(messages)`; state is kept in `folder`.

    `used` as for ChatClient: `base_url`, `spent`, `requests`.
    """

    def __init__(self, teacher: Teacher, key: str, folder: Path, *, poll_s: float = 5.0, **used: Any) -> None:
        super().__init__(teacher, key, **used)
        self.folder, self._poll_s = folder, poll_s
        self.budget = Budget(teacher, self.budget.spent, self.budget.requests, factor=price_table()["batch"])
        self._openai = self._openai.with_options(max_retries=2)
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._bodies: dict[str, dict[str, Any]] = {}
        self._promises: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._gathering: asyncio.Task[None] | None = None

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await super().__aexit__(*exc)

    def stop(self, reason: Exception | None = None) -> None:
        """Wait for nothing more; batches under way stay at the endpoint and are found again by the next start."""
        super().stop(reason or StoppedError("stopped; batches under way are found again by the next start"))
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._stopped)

    async def probe_format(self) -> str:
        """The Batch API takes JSON schemas wherever it exists."""
        return "json_schema"

    async def chat(self, messages: list[dict[str, str]], **options: Any) -> Reply:
        """One answer, when its batch is done. Raises StoppedError at a limit or when a request failed twice."""
        self._check()
        request = body(self.teacher, messages, options)
        name = stable_id(request)
        if name not in self._waiting:
            self._promises[name] = self.budget.reserve(tokens_at_most(messages))
            self._bodies[name] = request
            self._waiting[name] = asyncio.get_running_loop().create_future()
        if self._gathering is None or self._gathering.done():
            self._gathering = self._start(self._gather())
        return await asyncio.shield(self._waiting[name])

    def _start(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guard(self, work: Any) -> None:
        """An error of the endpoint or of a batch ends every wait with a sentence."""
        from openai import APIError, APIStatusError

        try:
            await work
        except APIStatusError as error:
            self.stop(UserError(f"the endpoint answered {error.status_code} to the Batch API; does teacher.base_url have one?"))
        except (APIError, OSError, json.JSONDecodeError) as error:
            self.stop(StoppedError(f"the Batch API cannot be reached ({type(error).__name__}); run again to go on"))
        except StoppedError as error:
            self.stop(error)

    async def _gather(self) -> None:
        """Wait until no more requests come in, then hand them to the batches they are in, the rest to a new one."""
        known = -1
        while known != len(self._bodies):
            known = len(self._bodies)
            await asyncio.sleep(GATHER_S)
        fresh, self._bodies = self._bodies, {}
        for path in sorted(self.folder.glob("batch_*.json")):
            state = json.loads(path.read_text("utf-8"))
            mine = {name: fresh.pop(name) for name in state["names"] if name in fresh}
            if mine:
                self._start(self._follow(await self._created(state), mine))
        if fresh:
            self._start(self._follow(await self._submit(fresh, submission=1), fresh))

    async def _submit(self, bodies: dict[str, dict[str, Any]], submission: int) -> dict[str, Any]:
        lines = [{"custom_id": name, "method": "POST", "url": HOW["endpoint"], "body": sent} for name, sent in bodies.items()]
        text = "".join(dumps(line) + "\n" for line in lines)
        file = await self._openai.files.create(file=("requests.jsonl", io.BytesIO(text.encode("utf-8"))), purpose="batch")
        state = self._save({"file": file.id, "id": "", "submission": submission, "names": list(bodies)})
        return self._save(state, (await self._openai.batches.create(input_file_id=file.id, **HOW)).id)

    async def _created(self, state: dict[str, Any]) -> dict[str, Any]:
        """A state whose batch exists: a kill between creating a batch and saving its id must not pay for it twice."""
        if state["id"]:
            return state
        async for batch in self._openai.batches.list(limit=100):
            if batch.input_file_id == state["file"]:
                return self._save(state, batch.id)
        return self._save(state, (await self._openai.batches.create(input_file_id=state["file"], **HOW)).id)

    def _save(self, state: dict[str, Any], batch: str = "") -> dict[str, Any]:
        write_json(self.folder / f"batch_{state['file']}.json", state | {"id": batch})
        return state | {"id": batch}

    async def _follow(self, state: dict[str, Any], bodies: dict[str, dict[str, Any]]) -> None:
        """Poll a batch to its end, hand out its answers, submit what failed once more."""
        wait = self._poll_s
        while (batch := await self._openai.batches.retrieve(state["id"])).status not in OVER:
            await asyncio.sleep(wait)
            wait = min(LONGEST_POLL_S, wait * 1.5)
        for name, reply in (await self._answers(batch)).items():
            if bodies.pop(name, None):
                self.budget.settle(self._promises.pop(name), reply.prompt_tokens, reply.completion_tokens)
                if not self._waiting[name].done():
                    self._waiting[name].set_result(reply)
        (self.folder / f"batch_{state['file']}.json").unlink(missing_ok=True)
        if bodies and state["submission"] >= MOST_SUBMISSIONS:
            raise StoppedError(
                f"{len(bodies)} requests failed in {MOST_SUBMISSIONS} batches (the last one {batch.status}); "
                "what is paid is saved, run again"
            )
        if bodies:
            await self._follow(await self._submit(bodies, state["submission"] + 1), bodies)

    async def _answers(self, batch: Any) -> dict[str, Reply]:
        """Replies by name, of requests that did not fail; a batch may be over, even completed, without an output file."""
        from openai.types.chat import ChatCompletion

        if not batch.output_file_id:
            return {}
        lines, now, found = (await self._openai.files.content(batch.output_file_id)).content.splitlines(), time.time(), {}
        for row in map(json.loads, filter(None, lines)):
            response = row.get("response") or {}
            answer = response.get("body") or {}
            if response.get("status_code") == 200:
                with suppress(ValueError):  # an answer that is none
                    reply = reply_of(ChatCompletion.construct(**answer), max(0.0, now - answer.get("created", now)))
                    found[row["custom_id"]] = reply
        return found
