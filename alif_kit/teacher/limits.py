"""teacher: what a run may use of a teacher: requests and tokens per minute, dollars, requests, minutes.

In: the teacher's settings, the tokens of each request, the endpoint's rate-limit headers. Out: a wait, or StoppedError before a
limit would be passed, counting what is in flight.
"""

from __future__ import annotations

import asyncio
import re
import time
import tomllib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from alif_kit.core import StoppedError, UserError
from alif_kit.core.config import Teacher

WINDOW_S = 61.0  # a minute, and a second for the way to the server: it counts arrivals, we count departures
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|$)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens."""

    input: float
    output: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Dollars of one request."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


@lru_cache
def price_table() -> dict[str, Any]:
    """The prices shipped with the kit, and their date."""
    return tomllib.loads((Path(__file__).parent / "prices.toml").read_text("utf-8"))


def price_of(teacher: Teacher) -> Price:
    """The configured price, else the table's. Raises UserError for a model neither knows: a guess of 0 would be no limit."""
    if teacher.usd_per_million_input >= 0 and teacher.usd_per_million_output >= 0:
        return Price(teacher.usd_per_million_input, teacher.usd_per_million_output)
    known = price_table()["models"]
    if teacher.model not in known:
        raise UserError(
            f"the price of teacher.model {teacher.model} is not known; set teacher.usd_per_million_input and "
            "teacher.usd_per_million_output (0 for a model of your own)"
        )
    return Price(known[teacher.model]["input"], known[teacher.model]["output"])


class Budget:
    """Dollars, requests and minutes used, and promised to requests in flight; what could pass a limit is not sent.

    `price` is the teacher's, times `factor` (the Batch API's half).
    """

    def __init__(self, teacher: Teacher, spent: float = 0.0, requests: int = 0, factor: float = 1.0) -> None:
        price = price_of(teacher)
        self._teacher, self.price = teacher, Price(price.input * factor, price.output * factor)
        self._started = time.monotonic()
        self.spent, self.reserved, self.requests = spent, 0.0, requests

    def reserve(self, prompt_tokens: int) -> float:
        """Promise the most a request can cost: its prompt and max_tokens out. Raises StoppedError at a limit."""
        t = self._teacher
        most = self.price.of(prompt_tokens, t.max_tokens)
        if self.spent + self.reserved + most > t.max_usd:
            raise StoppedError(
                f"the next request could cost ${most:.4f} and pass the budget: ${self.spent:.4f} spent, ${self.reserved:.4f} "
                f"in flight, teacher.max_usd {t.max_usd:.2f}; what is paid is saved, raise teacher.max_usd to go on"
            )
        if t.max_requests and self.requests >= t.max_requests:
            raise StoppedError(f"teacher.max_requests = {t.max_requests} are sent; what is paid is saved, raise it to go on")
        if t.max_minutes and time.monotonic() - self._started > 60 * t.max_minutes:
            raise StoppedError(f"teacher.max_minutes = {t.max_minutes:g} are over; what is paid is saved, run again to go on")
        self.reserved += most
        self.requests += 1
        return most

    def settle(self, promised: float, prompt_tokens: int, completion_tokens: int) -> None:
        """Replace a promise by what the request did cost (0 tokens: it failed)."""
        self.reserved -= promised
        self.spent += self.price.of(prompt_tokens, completion_tokens)


class RateLimiter:
    """Requests and tokens in any minute, at most the configured numbers (0: no limit). Unused tokens are given back."""

    def __init__(self, requests_per_minute: int = 0, tokens_per_minute: int = 0, window_s: float = WINDOW_S) -> None:
        self.requests_per_minute, self.tokens_per_minute, self.window_s = requests_per_minute, tokens_per_minute, window_s
        self._sent: deque[list[float]] = deque()  # [time, tokens]
        self._paused_until = 0.0
        self._turn = asyncio.Lock()

    async def acquire(self, tokens: int) -> list[float]:
        """Wait until a request of so many tokens fits, first come first served; returns the entry to `settle`."""
        if self.tokens_per_minute:
            tokens = min(tokens, self.tokens_per_minute)
        async with self._turn:
            while (wait := self._wait(tokens)) > 0:
                await asyncio.sleep(wait)
            entry = [time.monotonic(), float(tokens)]
            self._sent.append(entry)
            return entry

    def settle(self, entry: list[float], tokens: int) -> None:
        """Count what the request really used from now on."""
        entry[1] = float(tokens)

    def _wait(self, tokens: int) -> float:
        now = time.monotonic()
        while self._sent and self._sent[0][0] <= now - self.window_s:
            self._sent.popleft()
        waits = [self._paused_until - now]
        if self.requests_per_minute and len(self._sent) >= self.requests_per_minute:
            waits.append(self._sent[-self.requests_per_minute][0] + self.window_s - now)
        if self.tokens_per_minute and sum(e[1] for e in self._sent) + tokens > self.tokens_per_minute:
            waits.append(min(0.05, self._sent[0][0] + self.window_s - now) if self._sent else 0.0)
        return max(waits)

    def heed(self, headers: Mapping[str, str]) -> None:
        """Pause everything when the endpoint says that nothing is left: `x-ratelimit-remaining-requests: 0`, `-reset-: 6s`."""
        for kind in ("requests", "tokens"):
            if headers.get(f"x-ratelimit-remaining-{kind}") == "0":
                self._paused_until = time.monotonic() + seconds_of(headers.get(f"x-ratelimit-reset-{kind}", ""))


def seconds_of(duration: str) -> float:
    """`"1m30s" -> 90.0`, `"250ms" -> 0.25`, `"7" -> 7.0`; what cannot be read is 0."""
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(duration.strip()))
