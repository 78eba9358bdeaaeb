"""First floor: the client every teacher and judge is reached through, over the OpenAI chat protocol.

In: messages. Out: `Reply`, with text, finish reason and tokens. It keeps a number of requests in flight, retries what can
get better (429 with Retry-After, 5xx, timeouts, dropped connections) with jittered backoff, fails at once on what cannot
(400, 401, 403, 404), and stops before a budget would be passed, counting what is still in flight.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from alif_kit.config import Teacher
from alif_kit.errors import StoppedError, UserError

Value = TypeVar("Value")

_ADVICE = {
    400: "the endpoint refused the request; check teacher.model and teacher.max_tokens",
    401: "the endpoint refused the key; check the secret named by teacher.key_name",
    403: "the key may not use this model; check the account's rights and teacher.model",
    404: "the endpoint does not know this model or path; check teacher.model and teacher.base_url",
}


@dataclass(frozen=True)
class Reply:
    """One answer of the teacher. Tokens are the endpoint's own count; seconds include retries."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    model: str
    seconds: float


class Budget:
    """Dollars spent and dollars promised to requests in flight; a request that could pass `max_usd` is not sent."""

    def __init__(self, teacher: Teacher, spent: float = 0.0) -> None:
        self._teacher = teacher
        self.spent = spent
        self.reserved = 0.0

    def price(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Dollars of one request."""
        t = self._teacher
        return (prompt_tokens * t.usd_per_million_input + completion_tokens * t.usd_per_million_output) / 1e6

    def reserve(self, messages: list[dict[str, str]]) -> float:
        """Promise the most this request can cost: a token for each byte of the prompt, and max_tokens out."""
        prompt_bytes = sum(len(m["content"].encode("utf-8")) for m in messages)
        most = self.price(prompt_bytes, self._teacher.max_tokens)
        if self.spent + self.reserved + most > self._teacher.max_usd:
            raise StoppedError(
                f"the next request could cost ${most:.4f} and pass the budget: ${self.spent:.4f} spent, ${self.reserved:.4f} "
                f"in flight, teacher.max_usd {self._teacher.max_usd:.2f}; raise teacher.max_usd to go on"
            )
        self.reserved += most
        return most

    def settle(self, promised: float, reply: Reply | None) -> None:
        """Replace the promise by what the request did cost."""
        self.reserved -= promised
        if reply is not None:
            self.spent += self.price(reply.prompt_tokens, reply.completion_tokens)


class ChatClient:
    """Async chat client of one endpoint. Use as `async with ChatClient(teacher, key) as client`."""

    def __init__(self, teacher: Teacher, key: str = "", *, base_url: str = "", spent: float = 0.0) -> None:
        from openai import AsyncOpenAI

        self.teacher = teacher
        self.budget = Budget(teacher, spent)
        self._key = key
        self._slots = asyncio.Semaphore(teacher.concurrency)
        self._openai = AsyncOpenAI(
            api_key=key or "none",
            base_url=base_url or teacher.base_url,
            max_retries=0,
            timeout=teacher.timeout_s,
        )

    async def __aenter__(self) -> ChatClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._openai.close()

    async def chat(self, messages: list[dict[str, str]], **options: Any) -> Reply:
        """One answer. Raises StoppedError when the endpoint stays unusable or the budget is spent, UserError on 4xx."""
        async with self._slots:
            promised = self.budget.reserve(messages)
            reply = None
            try:
                reply = await self._with_retries(messages, options)
            finally:
                self.budget.settle(promised, reply)
            return reply

    async def _with_retries(self, messages: list[dict[str, str]], options: dict[str, Any]) -> Reply:
        started = time.monotonic()
        for attempt in range(1, self.teacher.max_attempts + 1):
            try:
                answer = await self._openai.chat.completions.create(
                    model=self.teacher.model,
                    messages=messages,
                    temperature=self.teacher.temperature,
                    max_tokens=self.teacher.max_tokens,
                    **options,
                )
                return _reply(answer, time.monotonic() - started)
            except Exception as error:
                wait = self._wait_before_retry(error, attempt)
                await asyncio.sleep(wait)
        raise AssertionError("unreachable: the last attempt raises")

    def _wait_before_retry(self, error: Exception, attempt: int) -> float:
        """Seconds to wait, or raise when waiting cannot help."""
        status = getattr(error, "status_code", None)
        if status in _ADVICE:
            raise UserError(f"teacher answered {status}: {_ADVICE[status]} ({self._clean(error)})") from None
        if not _is_passing(error, status):
            raise error
        if _code(error) == "insufficient_quota":
            raise StoppedError("the teacher's account has no quota left; what is paid is saved, top up and run again") from None
        if attempt == self.teacher.max_attempts:
            raise StoppedError(
                f"the teacher did not answer in {attempt} attempts ({self._clean(error)}); what is paid is saved, run again"
            ) from None
        return _retry_after(error) or random.uniform(0.5, 1.0) * min(30.0, 0.25 * 2**attempt)

    def _clean(self, error: Exception) -> str:
        """The error's first line without the key."""
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        return (text.replace(self._key, "<key>") if self._key else text)[:200]


class _BadAnswer(Exception):
    """The endpoint said 200 but did not send a chat completion."""


def _reply(answer: Any, seconds: float) -> Reply:
    choices = getattr(answer, "choices", None)
    if not choices or choices[0].message.content is None:
        raise _BadAnswer(f"an answer without text ({type(answer).__name__})")
    usage = answer.usage
    return Reply(
        text=choices[0].message.content,
        finish_reason=choices[0].finish_reason or "stop",
        prompt_tokens=getattr(usage, "prompt_tokens", 0) or 0,
        completion_tokens=getattr(usage, "completion_tokens", 0) or 0,
        model=answer.model or "",
        seconds=round(seconds, 3),
    )


def _is_passing(error: Exception, status: int | None) -> bool:
    import json

    from openai import APIConnectionError

    if status is not None:
        return status in (408, 409, 425, 429) or status >= 500
    return isinstance(error, APIConnectionError | _BadAnswer | json.JSONDecodeError)


def _code(error: Exception) -> str:
    return str(getattr(error, "code", "") or "")


def _retry_after(error: Exception) -> float:
    """Seconds from the Retry-After header, 0 when there is none or it is not a number."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        return max(0.0, min(120.0, float(headers.get("retry-after", 0))))
    except ValueError:
        return 0.0


def run_async(work: Coroutine[Any, Any, Value]) -> Value:
    """Run a coroutine from anywhere: also inside a notebook, whose event loop is already running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    outcome: dict[str, Any] = {}

    def target() -> None:
        try:
            outcome["value"] = asyncio.run(work)
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]
