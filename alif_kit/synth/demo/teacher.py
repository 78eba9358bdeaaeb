"""synth: the embedded teacher, a loopback server of the OpenAI chat protocol for demonstrations and tests.

In: POST /v1/chat/completions whose last user message holds the lines `قسم: ... (<category>)` and `تعداد: <n>`; GET
/v1/models and /stats. Out: n tasks that compose.py makes from the language pack, as text or, on request, JSON; or a
fault that was ordered.

It is a demonstration and no substitute for a real teacher: it fills hand-written templates and knows nothing. An answer
depends on model, messages and seed alone, so the same request gets the same answer at any time and any concurrency.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from typing import Any

from alif_kit.core.records import CATEGORIES
from alif_kit.synth.demo.compose import lexicon, write_answer

MODEL = "alif-demo-teacher"
MOST_TASKS = 100
MOST_BYTES = 8 << 20
SLOW_S = 1.0
COUNTERS = ("requests", "answered", "rate_limited", "errors", "dropped", "prompt_tokens", "completion_tokens")


@dataclass(frozen=True)
class Faults:
    """Shares (0-1) of requests that go wrong.

    rate_limit, server_error, drop and slow (a second late) strike an attempt, so that a retry may pass. truncated,
    malformed, refusing, wrong_language and duplicates are decided by the request: asked again, it fails the same way.
    """

    rate_limit: float = 0.0
    server_error: float = 0.0
    drop: float = 0.0
    slow: float = 0.0
    truncated: float = 0.0
    malformed: float = 0.0
    refusing: float = 0.0
    wrong_language: float = 0.0
    duplicates: float = 0.0
    retry_after_s: float = 0.05
    latency_s: float = 0.0
    seed: int = 0

    TRANSPORT = ("rate_limit", "server_error", "drop")
    CONTENT = ("truncated", "malformed", "refusing", "wrong_language", "duplicates")

    def __post_init__(self) -> None:
        for names in (self.TRANSPORT, self.CONTENT, ("slow",)):
            shares = [getattr(self, n) for n in names]
            if not (min(shares) >= 0 and sum(shares) <= 1):  # so that NaN is refused too
                raise ValueError(f"{' + '.join(names)} is not between 0 and 1; each is a share of the requests")
        if not (self.retry_after_s >= 0 and self.latency_s >= 0):
            raise ValueError("retry_after_s or latency_s is below 0; both are seconds")

    def draw(self, names: tuple[str, ...], rng: random.Random) -> str:
        """At most one of the named faults, each with its own probability."""
        point, ends = rng.random(), accumulate(getattr(self, name) for name in names)
        return next((name for name, end in zip(names, ends, strict=True) if point < end), "")


class BadRequest(Exception):
    """What a client has to change; answered with HTTP 400 (or `status`) and an OpenAI error body, and counted."""

    def __init__(self, message: str, code: str, status: int = 400, kind: str = "invalid_request_error", counter: str = "errors"):
        super().__init__(message)
        self.code, self.status, self.counter = code, status, counter
        self.body = {"error": {"message": message, "type": kind, "code": code}}


ORDERED = {  # faults of an attempt that are answered
    "rate_limit": ("too many requests; see Retry-After", "rate_limit_exceeded", 429, "rate_limit_error", "rate_limited"),
    "server_error": ("a fault the server was told to have", "server_error", 500, "server_error"),
}


def answer(request: Any, faults: Faults = Faults(), pack: str = "ur") -> dict[str, Any]:
    """The completion body for a request body. Raises BadRequest when the request is not one for tasks."""
    messages = _messages(request)
    category, count = _asked(messages[-1], pack)
    key = json.dumps([request.get("model"), messages, request.get("seed")], ensure_ascii=False, sort_keys=True)
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    fault = faults.draw(faults.CONTENT, random.Random(f"{digest}-fault"))
    form = request.get("response_format")
    as_json = isinstance(form, dict) and form.get("type") in ("json_schema", "json_object")
    text = write_answer(category, count, random.Random(digest), fault, as_json, pack)
    return _body(digest, messages, text, "length" if fault == "truncated" else "stop")


def _messages(request: Any) -> list[str]:
    """Contents of the messages, the last user message last."""
    messages = request.get("messages") if isinstance(request, dict) else None
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise BadRequest("`messages` is missing; expected a list of objects with role and content", "invalid_messages")
    if request.get("stream"):
        raise BadRequest("this server does not stream; leave `stream` out", "unsupported_parameter")
    users = [m for m in messages if m.get("role") == "user"]
    if not users or not all(isinstance(m.get("content"), str) for m in messages):
        raise BadRequest("expected at least one user message, and every content as text", "invalid_messages")
    return [m["content"] for m in messages if m is not users[-1]] + [users[-1]["content"]]


def _asked(prompt: str, pack: str) -> tuple[str, int]:
    """Category and count named in the prompt; the last such lines count, for earlier ones may stand in examples."""
    speech = lexicon(pack, "speech")
    lines = re.findall(rf"^\s*{speech['category_line']}.*\(\s*([^()\s]+)\s*\)\s*$", prompt, re.MULTILINE)
    if not lines:
        asked = f"a line `{speech['category_line']} <name> (<category>)`"
        raise BadRequest(f"this server composes tasks and cannot chat; expected {asked}", "no_category")
    if lines[-1] not in CATEGORIES:
        raise BadRequest(f"category is {lines[-1]!r}; expected one of {', '.join(CATEGORIES)}", "unknown_category")
    count = (re.findall(rf"^\s*{speech['count_line']}\s*(-?\d+)", prompt, re.MULTILINE) or ["missing"])[-1]
    if count == "missing" or not 1 <= int(count) <= MOST_TASKS:
        message = f"`{speech['count_line']}` is {count}; expected a number from 1 to {MOST_TASKS}"
        raise BadRequest(message, "invalid_count")
    return lines[-1], int(count)


def _body(digest: str, messages: list[str], text: str, finish: str) -> dict[str, Any]:
    asked, said = sum(len(m.split()) for m in messages), len(text.split())
    return {
        "id": f"chatcmpl-{digest[:24]}",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
    }


class DemoTeacher(ThreadingHTTPServer):
    """The server in a thread: `with DemoTeacher() as t: t.base_url`. On 127.0.0.1 only; port 0 takes a free one."""

    request_queue_size = 128

    def __init__(self, port: int = 0, faults: Faults = Faults(), pack: str = "ur") -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.faults, self.pack = faults, pack
        self._counts, self._lock = Counter(dict.fromkeys(COUNTERS, 0)), threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def stats(self) -> dict[str, int]:
        """Counts so far; tokens are words."""
        with self._lock:
            return dict(self._counts)

    def __enter__(self) -> DemoTeacher:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def count(self, **more: int) -> int:
        """Add to the counters; returns the number of requests so far."""
        with self._lock:
            self._counts.update(more)
            return self._counts["requests"]

    def attempt(self) -> tuple[str, float]:
        """The transport fault of one more attempt, and the seconds to wait before answering it."""
        faults, rng = self.faults, random.Random(f"{self.faults.seed}-{self.count(requests=1)}")
        fault = faults.draw(faults.TRANSPORT, rng)
        return fault, faults.latency_s + SLOW_S * (rng.random() < faults.slow)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: DemoTeacher
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def do_GET(self) -> None:
        description = lexicon(self.server.pack, "speech")["description"]
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "alif_kit", "description": description}
        models = {"object": "list", "data": [model]}
        pages = {"/v1/models": models, f"/v1/models/{MODEL}": model, "/stats": self.server.stats}
        missing = BadRequest(f"there is no {self.path}; expected {', '.join(pages)}", "not_found", 404)
        self._send(*((200, pages[self.path]) if self.path in pages else (404, missing.body)))

    def do_POST(self) -> None:
        fault, wait = self.server.attempt()
        try:
            request = self._read()
            time.sleep(wait)
            if fault in ORDERED:
                raise BadRequest(*ORDERED[fault])
            if fault:
                self.server.count(dropped=1)
                self.close_connection = True
                return
            body = answer(request, self.server.faults, self.server.pack)
            self.server.count(answered=1, **{key: body["usage"][key] for key in ("prompt_tokens", "completion_tokens")})
            self._send(200, body)
        except BadRequest as error:
            self.server.count(**{error.counter: 1})
            wait = {"Retry-After": f"{self.server.faults.retry_after_s:g}"} if error.status == 429 else {}
            self._send(error.status, error.body, wait)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _read(self) -> Any:
        """The body as a JSON value."""
        if self.path != "/v1/chat/completions":
            self.close_connection = True
            raise BadRequest(f"there is no {self.path}; expected /v1/chat/completions", "not_found", 404)
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MOST_BYTES:
            self.close_connection = True
            raise BadRequest(f"Content-Length is {length!r}; expected at most {MOST_BYTES} bytes", "invalid_length")
        try:
            return json.loads(self.rfile.read(int(length)))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise BadRequest(f"the body is not JSON ({type(error).__name__})", "invalid_json") from None

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        self.send_response(status)
        sizes = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(data))}
        for name, value in (sizes | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Silent: the counters say what happened."""


def serve_forever(port: int = 8008, faults: Faults = Faults(), pack: str = "ur") -> None:
    """Serve until Ctrl-C; prints the address first."""
    teacher = DemoTeacher(port, faults, pack)
    print(f"{MODEL} at {teacher.base_url} (a demonstration; Ctrl-C stops it)", flush=True)
    try:
        teacher.serve_forever()
    except KeyboardInterrupt:
        print("stopped")
    finally:
        teacher.server_close()
