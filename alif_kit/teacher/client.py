"""teacher: the client every teacher and judge is reached through, over the OpenAI chat protocol.

In: messages. Out: `Reply`, with text, finish reason and tokens. It keeps requests in flight within the limits of limits.py,
tries again what can get better (429, 5xx, timeouts, dropped connections, answers that are none) with jittered backoff or as
Retry-After says, fails at once on what cannot (400, 401, 403, 404), and stops altogether after many failures in a row.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from alif_kit.core import StoppedError, UserError
from alif_kit.core.config import Teacher
from alif_kit.core.errors import first_line
from alif_kit.teacher.limits import Budget, RateLimiter, seconds_of

Value = TypeVar("Value")

AUTO_CONCURRENCY = 512  # the window of generation, or the limits, hold it lower
LONGEST_WAIT_S = 120.0

_ADVICE = {
    400: "the endpoint refused the request; check teacher.model and teacher.max_tokens",
    401: "the endpoint refused the key; check the secret named by teacher.key_name",
    403: "the key may not use this model; check the account's rights and teacher.model",
    404: "the endpoint does not know this model or path; check teacher.model and teacher.base_url",
}
_PROBE_SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
_PROBES = {
    "json_schema": {"type": "json_schema", "json_schema": {"name": "probe", "strict": True, "schema": _PROBE_SCHEMA}},
    "json_object": {"type": "json_object"},
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


class ChatClient:
    """Async chat client of one endpoint: `async with ChatClient(teacher, key) as client: await client.chat(messages)`.

    `spent` and `requests` are what earlier sessions of the run have used.
    """

    def __init__(self, teacher: Teacher, key: str = "", *, base_url: str = "", spent: float = 0.0, requests: int = 0) -> None:
        from openai import AsyncOpenAI

        self.teacher, self._key = teacher, key
        url = base_url or teacher.base_url
        self._openai = AsyncOpenAI(api_key=key or "none", base_url=url, max_retries=0, timeout=teacher.timeout_s)
        self._create = self._openai.chat.completions.with_raw_response.create  # loads the library now, not inside a limit's window
        self._slots = asyncio.Semaphore(teacher.concurrency or AUTO_CONCURRENCY)
        self._failures_in_a_row = 0
        self._stopped: Exception | None = None
        self._refused_options: set[str] = set()
        self.limiter = RateLimiter(teacher.requests_per_minute, teacher.tokens_per_minute)
        self.budget = Budget(teacher, spent, requests)  # whose clock starts here

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._openai.close()

    def stop(self, reason: Exception | None = None) -> None:
        """Send nothing more; what is in flight may end."""
        self._stopped = self._stopped or reason or StoppedError("the client was stopped; what is paid is saved")

    async def chat(self, messages: list[dict[str, str]], **options: Any) -> Reply:
        """One answer. Raises StoppedError at a limit or when the endpoint stays unusable, UserError on 400, 401, 403, 404."""
        async with self._slots:
            most, used = tokens_at_most(messages), (0, 0)
            try:
                self._check()
                promised = self.budget.reserve(most)
                try:
                    reply = await self._with_retries(messages, options, most)
                    used = reply.prompt_tokens, reply.completion_tokens
                    return reply
                finally:
                    self.budget.settle(promised, *used)
            except (StoppedError, UserError) as error:
                self.stop(error)
                raise

    def _check(self) -> None:
        if self._stopped:
            raise self._stopped

    async def probe_format(self) -> str:
        """The best structured output this endpoint has: `json_schema`, `json_object` or `text`. Costs one or two tiny requests.

        Some servers answer an unknown format with 400, some with 500, some with plain text: only JSON that comes back counts.
        """
        messages = [{"role": "user", "content": 'Answer with this JSON object and nothing else: {"ok": true}'}]
        for mode, response_format in _PROBES.items():
            for _ in range(self.teacher.max_attempts):
                try:
                    reply = await self._once(messages, {"response_format": response_format, "max_tokens": 64}, time.monotonic())
                    if isinstance(json.loads(reply.text), dict):
                        return mode
                    break
                except Exception as error:
                    if _status(error) in (401, 403, 404):
                        self._wait_before_retry(error, 0, 0)
                    if _status(error) != 429:
                        break
                    await asyncio.sleep(self._wait_before_retry(error, 0, 1))
        return "text"

    async def _with_retries(self, messages: list[dict[str, str]], options: dict[str, Any], prompt_tokens: int) -> Reply:
        started, attempt, throttled = time.monotonic(), 0, 0
        while True:
            entry = await self.limiter.acquire(prompt_tokens + self.teacher.max_tokens)
            try:
                self._check()  # here and not before: a stop must reach those who waited for their turn
                reply = await self._once(messages, options, started)
            except Exception as error:
                self.limiter.settle(entry, 0)
                self._check()
                if self._drop_option(error, options):
                    continue
                is_throttled = _status(error) == 429
                attempt, throttled = attempt + (not is_throttled), throttled + is_throttled
                await asyncio.sleep(self._wait_before_retry(error, attempt, throttled))
            else:
                self.limiter.settle(entry, reply.prompt_tokens + reply.completion_tokens)
                self._failures_in_a_row = 0
                return reply

    async def _once(self, messages: list[dict[str, str]], options: dict[str, Any], started: float) -> Reply:
        request = body(self.teacher, messages, options)
        kept = {name: value for name, value in request.items() if name not in self._refused_options}
        if "max_tokens" in self._refused_options:
            kept["extra_body"] = {"max_completion_tokens": request["max_tokens"]}  # older libraries do not know the name
        raw = await self._create(**kept)
        self.limiter.heed(raw.headers)
        return reply_of(raw.parse(), time.monotonic() - started)

    def _drop_option(self, error: Exception, options: dict[str, Any]) -> bool:
        """Whether a 400 names an optional parameter this endpoint does not take; it is left out from now on.

        `max_tokens` becomes `max_completion_tokens`, which newer models of OpenAI want instead.
        """
        said = str(error) if _status(error) == 400 else ""
        renamed = ["max_tokens"] if "max_completion_tokens" in said else []
        named = [name for name in (*renamed, "temperature", *options) if name in said and name not in self._refused_options]
        self._refused_options.update(named[:1])
        return bool(named)

    def _wait_before_retry(self, error: Exception, attempt: int, throttled: int) -> float:
        """Seconds to wait, or raise when waiting cannot help."""
        from openai import APIConnectionError

        status = _status(error)
        if status in _ADVICE:
            raise UserError(f"teacher answered {status}: {_ADVICE[status]} ({first_line(error, self._key)})") from None
        passes = status >= 500 or status in (408, 409, 425, 429) if status else isinstance(error, APIConnectionError | ValueError)
        if not passes:
            raise error
        if str(getattr(error, "code", "")) == "insufficient_quota":
            raise StoppedError("the teacher's account has no quota left; what is paid is saved, top up and run again") from None
        self._failures_in_a_row += 1
        most = 5 * self.teacher.max_attempts
        if attempt >= self.teacher.max_attempts or self._failures_in_a_row >= most:
            tries = f"in {attempt} attempts" if attempt >= self.teacher.max_attempts else f"{most} times in a row"
            said = f"the teacher did not answer {tries} ({first_line(error, self._key)}); what is paid is saved, run again"
            raise StoppedError(said) from None
        headers = getattr(getattr(error, "response", None), "headers", {})
        asked = min(LONGEST_WAIT_S, seconds_of(headers.get("retry-after", "")))
        tries = throttled if status == 429 else attempt
        return asked or random.uniform(0.5, 1.0) * min(30.0, 0.25 * 2 ** min(tries, 10))


def tokens_at_most(messages: list[dict[str, str]]) -> int:
    """Tokens of a prompt, as many as it can have: each has at least one byte."""
    return sum(len(m["content"].encode("utf-8")) for m in messages)


def body(teacher: Teacher, messages: list[dict[str, str]], options: dict[str, Any]) -> dict[str, Any]:
    """What is sent; `options` stand above the teacher's settings."""
    settings = {"model": teacher.model, "temperature": teacher.temperature, "max_tokens": teacher.max_tokens}
    return {**settings, "messages": messages, **options}


def reply_of(answer: Any, seconds: float) -> Reply:
    """The library's `ChatCompletion` as a reply. Raises ValueError where the endpoint said 200 and sent none."""
    choices, usage = getattr(answer, "choices", None), getattr(answer, "usage", None)
    text = getattr(getattr(choices[0], "message", None), "content", None) if choices else None
    if text is None:
        raise ValueError(f"an answer without text ({type(answer).__name__})")
    tokens = (getattr(usage, name, 0) or 0 for name in ("prompt_tokens", "completion_tokens"))
    finish, model = getattr(choices[0], "finish_reason", None) or "stop", getattr(answer, "model", None) or ""
    return Reply(text, finish, *tokens, model, round(seconds, 3))


def _status(error: Exception) -> int | None:
    return getattr(error, "status_code", None)


def run_async(work: Coroutine[Any, Any, Value]) -> Value:
    """Run a coroutine from anywhere: also inside a notebook, whose event loop is already running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    return ThreadPoolExecutor(1).submit(asyncio.run, work).result()
