"""batch: one round through a local server of /v1/files and /v1/batches, closed and reopened, with what can go wrong."""

import asyncio
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import PATIENCE, completion

from alif_kit.core.config import Teacher
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.teacher.batch import BatchClient
from alif_kit.teacher.client import run_async

TEACHER = Teacher(model="gpt-4o", max_tokens=50, max_usd=1.0)


class BatchServer:
    """Files and batches in memory. `plan` holds, per batch, how it ends: a status and the names of requests that fail."""

    def __init__(self):
        self.files, self.batches, self.plan, self.polls_needed = {}, {}, [], 1
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                data = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/files":
                    body = next(part for part in data.split(b"\r\n\r\n") if b'"custom_id"' in part)
                    self.send({"id": server.store(body.split(b"\r\n--")[0]), "object": "file"})
                else:
                    self.send(server.create(json.loads(data)))

            def do_GET(self):
                parts = self.path.split("/")
                if self.path.startswith("/v1/batches?"):
                    self.send(
                        {"object": "list", "data": [server.view(n, "in_progress") for n in server.batches], "has_more": False}
                    )
                elif parts[2] == "files":
                    self.send_bytes(server.files[parts[3]])
                else:
                    self.send(server.poll(parts[3]))

            def send(self, value):
                self.send_bytes(json.dumps(value).encode())

            def send_bytes(self, data):
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def store(self, data):
        name = f"file-{len(self.files)}"
        self.files[name] = data
        return name

    def create(self, request):
        name = f"b{len(self.batches)}"
        plan = self.plan[len(self.batches)] if len(self.batches) < len(self.plan) else ("completed", lambda text: False)
        self.batches[name] = {"input": request["input_file_id"], "plan": plan, "polls": 0}
        return self.view(name, "validating")

    def poll(self, name):
        batch = self.batches[name]
        batch["polls"] += 1
        if batch["polls"] <= self.polls_needed:
            return self.view(name, "in_progress")
        status, fails = batch["plan"]
        output = None
        if fails is not None:
            lines = [json.loads(line) for line in self.files[batch["input"]].splitlines() if line.strip()]
            output = self.store("".join(json.dumps(self.answer(line, fails)) + "\n" for line in lines).encode())
        return self.view(name, status, output)

    def is_polled(self):
        return any(batch["polls"] for batch in self.batches.values())

    @staticmethod
    def answer(line, fails):
        text = line["body"]["messages"][-1]["content"]
        status = 500 if fails(text) else 200
        return {"id": "r", "custom_id": line["custom_id"], "response": {"status_code": status, "body": completion(f"جواب {text}")}}

    def view(self, name, status, output=None):
        batch = self.batches[name]
        fixed = {"object": "batch", "endpoint": "/v1/chat/completions", "completion_window": "24h", "created_at": 0}
        return {"id": name, "status": status, "input_file_id": batch["input"], "output_file_id": output, **fixed}


@pytest.fixture
def server():
    running = BatchServer()
    yield running
    running.server.shutdown()
    running.server.server_close()


class ClosedError(Exception):
    """The program was closed."""


def ask(server, folder, texts, teacher=TEACHER, closed_when=None):
    """Ask all texts through one client; returns replies or errors, and the budget. `closed_when`: raises ClosedError once it is so."""

    async def close():
        while not closed_when():
            await asyncio.sleep(0.01)
        raise ClosedError

    async def work():
        async with BatchClient(teacher, "key", folder, base_url=server.base_url, poll_s=0.02) as client:
            chats = (client.chat([{"role": "user", "content": text}]) for text in texts)
            outcomes = asyncio.gather(*chats, return_exceptions=True)
            if closed_when:
                await asyncio.gather(outcomes, close())
            return await asyncio.wait_for(outcomes, PATIENCE), client.budget

    return run_async(work())


def test_what_is_asked_together_goes_in_one_batch_at_half_the_price(server, tmp_path):
    replies, budget = ask(server, tmp_path, ["ایک", "دو", "تین"])
    assert [r.text for r in replies] == ["جواب ایک", "جواب دو", "جواب تین"]
    assert len(server.batches) == 1
    assert budget.spent == pytest.approx(3 * 0.5 * (10 * 2.5 + 5 * 10) / 1e6) and budget.reserved == pytest.approx(0)
    assert list(tmp_path.iterdir()) == []


def test_closed_while_waiting_and_opened_again_it_finds_its_batch(server, tmp_path):
    server.polls_needed = 1000
    with pytest.raises(ClosedError):
        ask(server, tmp_path, ["ایک", "دو"], closed_when=server.is_polled)
    assert len(list(tmp_path.glob("batch_*.json"))) == 1
    server.polls_needed = 0
    replies, _ = ask(server, tmp_path, ["ایک", "دو"])
    assert [r.text for r in replies] == ["جواب ایک", "جواب دو"] and len(server.batches) == 1


def test_killed_between_creating_a_batch_and_saving_its_id_it_finds_it(server, tmp_path):
    server.polls_needed = 1000
    with pytest.raises(ClosedError):
        ask(server, tmp_path, ["ایک"], closed_when=server.is_polled)
    [path] = tmp_path.glob("batch_*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "id": ""}))
    server.polls_needed = 0
    replies, _ = ask(server, tmp_path, ["ایک"])
    assert replies[0].text == "جواب ایک" and len(server.batches) == 1


def test_partial_failures_are_submitted_once_more(server, tmp_path):
    server.plan = [("completed", lambda text: text == "دو")]
    replies, _ = ask(server, tmp_path, ["ایک", "دو"])
    assert [r.text for r in replies] == ["جواب ایک", "جواب دو"] and len(server.batches) == 2


@pytest.mark.parametrize("status", ["expired", "completed", "failed"])
def test_a_batch_without_an_output_file_is_submitted_once_more(server, tmp_path, status):
    server.plan = [(status, None)]
    replies, _ = ask(server, tmp_path, ["ایک"])
    assert replies[0].text == "جواب ایک" and len(server.batches) == 2


def test_an_expired_batch_keeps_what_it_had(server, tmp_path):
    server.plan = [("expired", lambda text: text == "دو"), ("expired", None)]
    replies, _ = ask(server, tmp_path, ["ایک", "دو"])
    assert replies[0].text == "جواب ایک"
    assert isinstance(replies[1], StoppedError) and "1 requests failed in 2 batches" in str(replies[1])


def test_the_budget_holds_for_batches(server, tmp_path):
    outcomes, _ = ask(server, tmp_path, [str(i) for i in range(9)], replace(TEACHER, max_usd=0.0013))
    assert sum(isinstance(o, StoppedError) for o in outcomes) > 0
    assert "teacher.max_usd" in str(next(o for o in outcomes if isinstance(o, StoppedError)))


def test_an_endpoint_without_batches_is_a_sentence(endpoint, tmp_path):
    endpoint.queue = [404] * 5
    outcomes, _ = ask(endpoint, tmp_path, ["ایک"])
    assert isinstance(outcomes[0], UserError) and "404 to the Batch API" in str(outcomes[0])
