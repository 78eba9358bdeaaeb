"""limits: no minute with more requests or tokens than allowed, as counted where they arrive; prices that are known."""

import asyncio
import time
from dataclasses import replace

import pytest
from conftest import completion

from alif_kit.core.config import Teacher
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.teacher.client import ChatClient, run_async
from alif_kit.teacher.limits import Budget, RateLimiter, price_of, seconds_of

TEACHER = Teacher(model="alif-demo-teacher", max_tokens=50, max_usd=1.0)


def most_in_a_window(moments, weights, window):
    """The largest sum of weights in any window, by moving one over the sorted moments."""
    best = start = total = 0
    for end, moment in enumerate(moments):
        total += weights[end]
        while moment - moments[start] >= window:
            total -= weights[start]
            start += 1
        best = max(best, total)
    return best


def drive(limiter, count, tokens):
    """Send `count` requests through a limiter; returns when each one left."""

    async def one():
        entry = await limiter.acquire(tokens)
        limiter.settle(entry, tokens)
        return entry[0]

    async def all_of_them():
        return sorted(await asyncio.gather(*(one() for _ in range(count))))

    return run_async(all_of_them())


def test_requests_in_any_window_stay_within_the_limit():
    moments = drive(RateLimiter(requests_per_minute=5, window_s=0.3), 22, 0)
    assert most_in_a_window(moments, [1] * 22, 0.3) == 5
    assert moments[-1] - moments[0] >= 4 * 0.3 - 0.01


def test_tokens_in_any_window_stay_within_the_limit():
    moments = drive(RateLimiter(tokens_per_minute=100, window_s=0.3), 10, 30)
    assert most_in_a_window(moments, [30] * 10, 0.3) == 90


def test_unused_tokens_are_given_back(monkeypatch):
    async def work():
        limiter = RateLimiter(tokens_per_minute=100, window_s=3600.0)
        for _ in range(8):
            limiter.settle(await limiter.acquire(60), 5)

    monkeypatch.setattr(asyncio, "sleep", lambda seconds: pytest.fail(f"waited {seconds} s"))
    run_async(work())


def test_a_request_larger_than_the_limit_still_goes_alone():
    assert len(drive(RateLimiter(tokens_per_minute=10, window_s=0.1), 2, 1000)) == 2


MINUTE = 3.0  # a shortened one


class Noting(RateLimiter):
    """A limiter that keeps when each request left."""

    def __init__(self, **limits):
        super().__init__(window_s=MINUTE, **limits)
        self.left = []

    async def acquire(self, tokens):
        entry = await super().acquire(tokens)
        self.left.append(entry[0])
        return entry


def arrivals(endpoint, count, **limits):
    """Through the client and a socket: when requests left, when they came, and the part of a minute that the way has left over."""
    message = [{"role": "user", "content": "سلام"}]

    async def work():
        async with ChatClient(TEACHER, base_url=endpoint.base_url) as client:
            await client.chat(message)
            client.limiter = Noting(**limits)
            await asyncio.gather(*(client.chat(message) for _ in range(count)))
            return client.limiter.left

    left = run_async(work())
    came = sorted(r["time"] for r in endpoint.requests[1:])
    longest = max(there - here for here, there in zip(left, came, strict=True))
    return left, came, min(1.0, MINUTE - longest)  # a busy machine may be slow on the way; what is left over must hold


def test_the_server_counts_no_more_than_the_limit(endpoint):
    """Arrivals, not departures."""
    endpoint.before_answer = lambda: time.sleep(0.05)
    _, came, window = arrivals(endpoint, 20, requests_per_minute=8)
    assert window <= 0 or most_in_a_window(came, [1] * 20, window) <= 8


def test_the_server_counts_no_more_tokens_than_the_limit(endpoint):
    """Each answer has used 15 tokens; before it came, 58 were kept free for it."""
    left, came, window = arrivals(endpoint, 12, tokens_per_minute=100)
    assert window <= 0 or most_in_a_window(came, [15] * 12, window) <= 100
    assert 15 < most_in_a_window(left, [15] * 12, MINUTE) <= 100


def test_nothing_left_means_a_pause(endpoint):
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "600ms"}
    endpoint.queue = [(200, headers, completion())]

    async def work():
        async with ChatClient(TEACHER, base_url=endpoint.base_url) as client:
            for _ in range(2):
                await client.chat([{"role": "user", "content": "سلام"}])

    run_async(work())
    first, second = (r["time"] for r in endpoint.requests)
    assert second - first >= 0.55


@pytest.mark.parametrize("text, seconds", [("1m30s", 90), ("250ms", 0.25), ("6s", 6), ("7", 7), ("2h", 7200), ("soon", 0), ("", 0)])
def test_durations_are_read(text, seconds):
    assert seconds_of(text) == seconds


def test_prices_come_from_the_table_or_the_configuration():
    assert price_of(replace(TEACHER, model="gpt-4o")).of(1_000_000, 1_000_000) == 12.5
    assert price_of(replace(TEACHER, model="mine", usd_per_million_input=1.0, usd_per_million_output=2.0)).of(1_000_000, 0) == 1.0
    with pytest.raises(UserError, match="the price of teacher.model mine is not known"):
        price_of(replace(TEACHER, model="mine"))


def test_requests_and_minutes_have_limits():
    budget = Budget(replace(TEACHER, max_requests=3), requests=2)
    budget.reserve(10)
    with pytest.raises(StoppedError, match="teacher.max_requests = 3"):
        budget.reserve(10)
    late = Budget(replace(TEACHER, max_minutes=0.5))
    late._started -= 31
    with pytest.raises(StoppedError, match=r"teacher.max_minutes = 0\.5 are over"):
        late.reserve(10)


def test_many_failures_in_a_row_stop_everything(endpoint):
    endpoint.queue = [(429, {"Retry-After": "0.01"}, {})] * 500
    teacher = replace(TEACHER, max_attempts=2, concurrency=4)

    async def work():
        async with ChatClient(teacher, base_url=endpoint.base_url) as client:
            chats = (client.chat([{"role": "user", "content": "سلام"}]) for _ in range(20))
            return await asyncio.gather(*chats, return_exceptions=True)

    outcomes = run_async(work())
    assert all(isinstance(o, StoppedError) for o in outcomes)
    assert 10 <= len(endpoint.requests) <= 14 and "10 times in a row" in str(outcomes[0])


def test_a_parameter_that_a_400_names_is_left_out_from_then_on(endpoint):
    endpoint.queue = [(400, {}, {"error": {"message": "Unsupported parameter: 'temperature'"}})]

    async def work():
        async with ChatClient(TEACHER, base_url=endpoint.base_url) as client:
            for _ in range(2):
                await client.chat([{"role": "user", "content": "سلام"}])

    run_async(work())
    assert ["temperature" in r["body"] for r in endpoint.requests] == [True, False, False]


def test_a_model_that_wants_max_completion_tokens_gets_it(endpoint):
    message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    endpoint.queue = [(400, {}, {"error": {"message": message}})]

    async def work():
        async with ChatClient(TEACHER, base_url=endpoint.base_url) as client:
            await client.chat([{"role": "user", "content": "سلام"}])

    run_async(work())
    first, second = (r["body"] for r in endpoint.requests)
    assert first["max_tokens"] == second["max_completion_tokens"] == 50 and "max_tokens" not in second


@pytest.mark.parametrize(
    "answers, mode",
    [
        ([(200, {}, completion('{"ok": true}'))], "json_schema"),
        ([400, (200, {}, completion('{"ok": true}'))], "json_object"),
        ([500, (200, {}, completion('{"ok": true}'))], "json_object"),
        ([(200, {}, completion("جی ہاں")), 400], "text"),
        ([(429, {"Retry-After": "0.01"}, {}), (200, {}, completion('{"ok": true}'))], "json_schema"),
    ],
)
def test_structured_output_is_probed(endpoint, answers, mode):
    endpoint.queue = answers

    async def work():
        async with ChatClient(TEACHER, base_url=endpoint.base_url) as client:
            return await client.probe_format()

    assert run_async(work()) == mode
