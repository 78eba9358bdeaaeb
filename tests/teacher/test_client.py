"""client: what is retried and what is not, the money stop, secrets, running inside an event loop."""

import asyncio
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import PATIENCE, completion

from alif_kit.core.config import Teacher
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.teacher.client import ChatClient, run_async

MESSAGES = [{"role": "user", "content": "سلام"}]
KEY = "sk-canary-1234567890"
TEACHER = Teacher(max_attempts=4, timeout_s=PATIENCE, max_usd=1.0, max_tokens=100)


def ask(endpoint, teacher=TEACHER, times=1):
    async def work():
        async with ChatClient(teacher, KEY, base_url=endpoint.base_url) as client:
            replies = await asyncio.gather(*(client.chat(MESSAGES) for _ in range(times)), return_exceptions=True)
            return replies, client.budget

    return run_async(work())


def one(endpoint, teacher=TEACHER):
    (reply,), _ = ask(endpoint, teacher)
    if isinstance(reply, BaseException):
        raise reply
    return reply


def test_an_answer_with_its_tokens(endpoint):
    endpoint.queue = [(200, {}, completion("وعلیکم السلام", "length", 7, 3))]
    reply = one(endpoint)
    assert (reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens) == ("وعلیکم السلام", "length", 7, 3)
    assert endpoint.requests[0]["body"]["temperature"] == 1.0


@pytest.mark.parametrize(
    "trouble",
    [
        500,
        503,
        408,
        429,
        None,
        (200, {}, "{"),
        (200, {"Content-Type": "text/html"}, "<html>busy</html>"),
        (200, {}, {"choices": []}),
    ],
    ids=["500", "503", "408", "429", "dropped", "cut json", "html", "no choices"],
)
def test_what_passes_is_tried_again(endpoint, trouble):
    endpoint.queue = [trouble]
    assert one(endpoint).text == "ٹھیک ہے"
    assert len(endpoint.requests) == 2


def test_retry_after_is_honoured(endpoint):
    endpoint.queue = [(429, {"Retry-After": "1"}, {"error": {"message": "slow down"}})]
    one(endpoint)
    first, second = (r["time"] for r in endpoint.requests)
    assert second - first >= 1.0


@pytest.mark.parametrize("status, words", [(400, "max_tokens"), (401, "key_name"), (403, "rights"), (404, "teacher.model")])
def test_what_cannot_get_better_is_said_at_once(endpoint, status, words):
    endpoint.queue = [(status, {}, {"error": {"message": f"bad key {KEY}"}})]
    with pytest.raises(UserError) as caught:
        one(endpoint)
    assert len(endpoint.requests) == 1
    assert words in str(caught.value) and KEY not in str(caught.value)


def test_an_endpoint_that_stays_down_stops_with_a_sentence(endpoint):
    endpoint.queue = [500] * 9
    with pytest.raises(StoppedError, match="4 attempts.*what is paid is saved"):
        one(endpoint)
    assert len(endpoint.requests) == 4


def test_an_empty_account_is_not_tried_again(endpoint):
    endpoint.queue = [(429, {}, {"error": {"message": "quota", "code": "insufficient_quota"}})]
    with pytest.raises(StoppedError, match="no quota left"):
        one(endpoint)
    assert len(endpoint.requests) == 1


def test_no_more_in_flight_than_asked(endpoint):
    endpoint.before_answer = threading.Barrier(3, timeout=PATIENCE).wait  # an answer comes once three are asked for
    replies, _ = ask(endpoint, replace(TEACHER, concurrency=3), times=12)
    assert len(replies) == 12 and endpoint.most_active == 3


def test_the_budget_stops_before_it_is_passed(endpoint):
    answers = (200, {}, completion(prompt_tokens=8, completion_tokens=100))
    endpoint.queue = [answers] * 20
    teacher = replace(TEACHER, usd_per_million_input=0.0, usd_per_million_output=1000.0, max_usd=0.35)
    replies, budget = ask(endpoint, teacher, times=10)
    stops = [r for r in replies if isinstance(r, StoppedError)]
    assert len(endpoint.requests) == 3 and len(stops) == 7
    assert budget.spent == pytest.approx(0.3) and budget.reserved == pytest.approx(0)
    assert "raise teacher.max_usd" in str(stops[0])


def test_a_slow_endpoint_times_out_and_is_tried_again(endpoint):
    over = threading.Event()
    endpoint.before_answer = lambda: over.wait(PATIENCE)
    with pytest.raises(StoppedError, match=r"in 2 attempts \(Request timed out"):
        one(endpoint, replace(TEACHER, timeout_s=0.1, max_attempts=2))
    assert len(endpoint.requests) <= 2
    over.set()


def test_it_runs_inside_a_running_event_loop(endpoint):
    async def notebook():
        return one(endpoint).text

    assert asyncio.run(notebook()) == "ٹھیک ہے"


def test_run_async_hands_on_errors_from_inside_a_loop():
    async def fails():
        raise UserError("as it is")

    async def notebook():
        return run_async(fails())

    with pytest.raises(UserError, match="as it is"):
        asyncio.run(notebook())


def test_no_answer_is_lost_when_four_of_ten_are_throttled():
    from alif_kit.synth.demo.teacher import DemoTeacher, Faults

    prompts = [f"کام نمبر {n}\nقسم: سوال جواب (qa)\nتعداد: 1" for n in range(400)]
    teacher = replace(TEACHER, model="alif-demo-teacher", concurrency=50, max_attempts=10)

    async def work(url):
        async with ChatClient(teacher, KEY, base_url=url) as client:
            return await asyncio.gather(*(client.chat([{"role": "user", "content": prompt}]) for prompt in prompts))

    with DemoTeacher(faults=Faults(rate_limit=0.4, server_error=0.05, retry_after_s=0.01)) as server:
        replies = run_async(work(server.base_url))
        assert len(replies) == 400 and server.stats["answered"] == 400 and server.stats["rate_limited"] > 100


OLDEST = ("openai==1.40.0", "httpx<0.28")  # httpx: 1.40 hands it an argument that 0.28 took away


@pytest.mark.slow
def test_the_same_tests_pass_on_the_oldest_library_that_is_allowed(tmp_path):
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tmp_path), *OLDEST]
    if subprocess.run(install, capture_output=True).returncode:
        pytest.skip(f"{OLDEST[0]} could not be installed here")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    version = subprocess.run(
        [sys.executable, "-c", "import openai; print(openai.VERSION)"], env=environment, capture_output=True, text=True
    )
    assert version.stdout.strip() == "1.40.0"
    running = {}  # at once: most of their time is waiting
    for name in ("client", "limits", "batch"):
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-m",
            "not slow",
            Path(__file__).with_name(f"test_{name}.py"),
        ]
        with (tmp_path / f"{name}.log").open("w") as log:
            running[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    ended = {name: process.wait() for name, process in running.items()}
    for name, code in ended.items():
        assert code == 0, (tmp_path / f"{name}.log").read_text("utf-8")[-3000:]
