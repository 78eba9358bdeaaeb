"""Shared by the tests: a scripted endpoint, one small finished run, a browser, and how long a busy machine may take."""

import contextlib
import json
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import HealthCheck, settings

PATIENCE = 300.0
"""Seconds after which what never comes fails a test. Nothing that works is as slow, so no verdict hangs on the machine's speed."""

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def completion(text="ٹھیک ہے", finish="stop", prompt_tokens=10, completion_tokens=5):
    """The body of a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "scripted", "choices": [choice], "usage": usage}


class Endpoint:
    """A loopback server of the chat protocol that gives queued answers, then plain ones.

    A queued answer is a status, or (status, headers, body); body is text or a JSON value; `None` closes the connection.
    `before_answer` is called between a request and its answer, outside of any lock.
    """

    def __init__(self):
        self.queue, self.requests, self.before_answer = [], [], lambda: None
        self.active = self.most_active = 0
        self._lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                data = self.rfile.read(int(self.headers["Content-Length"]))
                body = json.loads(data) if data.startswith(b"{") else data
                with endpoint._lock:
                    endpoint.requests.append({"body": body, "headers": dict(self.headers), "time": time.monotonic()})
                    endpoint.active += 1
                    endpoint.most_active = max(endpoint.most_active, endpoint.active)
                    answer = endpoint.queue.pop(0) if endpoint.queue else (200, {}, completion())
                endpoint.before_answer()
                with endpoint._lock:
                    endpoint.active -= 1
                with contextlib.suppress(ConnectionError):  # a client that has given up
                    self.answer(answer)

            def answer(self, answer):
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, body = answer if isinstance(answer, tuple) else (answer, {}, {"error": {"message": "scripted"}})
                data = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def endpoint():
    server = Endpoint()
    yield server
    server.close()


SMALL = {
    "synth.targets": {"generation": 4, "reasoning": 6, "ethics": 5, "qa": 5, "translation": 6, "classification": 4, "sentiment": 4},
    "synth.held_out_share": 0.3,
    "pretrain.max_steps": 16,
    "pretrain.save_steps": 4,
    "finetune.max_steps": 8,
    "finetune.save_steps": 4,
    "evaluation.max_new_tokens": 12,
    "evaluation.max_examples": 7,
}


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The whole pipeline once, in small: the real teacher over a socket, the real trainers, the real evaluation."""
    from alif_kit import pipeline
    from alif_kit.core import config
    from alif_kit.core.run import Run

    run = Run.open(tmp_path_factory.mktemp("finished") / "small", config.load("smoke", SMALL))
    pipeline.walk(run)
    return run


@pytest.fixture(scope="session")
def merged_run(finished, tmp_path_factory):
    """The finished run in a folder of its own, with its adapter merged."""
    from alif_kit import pipeline
    from alif_kit.core.run import Run

    run = Run.resume(shutil.copytree(finished.path, tmp_path_factory.mktemp("merged") / "small"))
    pipeline.merge(run)
    return run


@pytest.fixture(scope="session")
def gemma_packages():
    """A test that asks for this, or for one of the next three, is skipped where gemma-270m's packages are not installed."""
    from alif_kit.core.errors import UserError
    from alif_kit.model import gemma

    try:
        gemma.parts()
    except UserError as reason:
        pytest.skip(str(reason))
    return gemma


@pytest.fixture(scope="session")
def gemma_base(gemma_packages):
    """The folder of gemma-270m, real weights."""
    return gemma_packages.build()


SHORT_ANSWERS = (
    ("پاکستان کا دارالحکومت کون سا شہر ہے؟", "اسلام آباد"),
    ("دو اور تین کتنے ہوتے ہیں؟", "5"),
    ("ہفتے میں کتنے دن ہوتے ہیں؟", "7"),
    ("کیا سورج مشرق سے نکلتا ہے؟", "ہاں"),
    ("کیا مچھلی درخت پر رہتی ہے؟", "نہیں"),
    ("سوال: پاکستان کا قومی پھول کون سا ہے؟\nA) گلاب\nB) چنبیلی", "B"),
    ("What is the capital of France?", "Paris"),
    ("ایک شعر سنائیے۔", "مجھے یاد نہیں"),
)


@pytest.fixture(scope="session")
def tuned_gemma(gemma_base, tmp_path_factory):
    """A run of gemma-270m that has learnt to answer in a word and to end its turn, merged: real weights that stop by themselves."""
    from alif_kit import pipeline
    from alif_kit.core import config
    from alif_kit.core.records import SeedTask, write_jsonl
    from alif_kit.core.run import Run

    settings = {"base.model": "gemma-270m", "base.load_in_4bit": False, "base.max_seq_length": 256, "lora.train_vocab": "none"}
    settings |= {"pretrain.max_steps": 1, "pretrain.batch_size": 1, "pretrain.learning_rate": 1e-5}
    settings |= {"finetune.max_steps": 12, "finetune.batch_size": 4, "finetune.warmup_steps": 0}
    run = Run.open(tmp_path_factory.mktemp("tuned") / "gemma", config.load("smoke", settings))
    write_jsonl(run.file("data", "train.jsonl"), [SeedTask("qa", asked, answer) for asked, answer in SHORT_ANSWERS])
    pipeline.pretrain(run)
    pipeline.finetune(run)
    pipeline.merge(run)
    return run


@pytest.fixture(scope="session")
def gemma_gguf(gemma_packages, tmp_path_factory):
    """The file that gemma-270m is read from, for llama.cpp."""
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed: it comes with the extra `llama`")
    path = tmp_path_factory.mktemp("gguf") / "gemma-3-270m-q4_k_m.gguf"
    gemma_packages.assemble(path)
    return path


def patient(make):
    """A context or a page that waits as long as it takes, as `make` makes it."""

    def made(**options):
        found = make(**options)
        found.set_default_timeout(1000 * PATIENCE)
        return found

    return made


@pytest.fixture
def browser():
    """Chromium, headless, that gives nothing up early; a test that asks for it is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    sync_api.expect.set_options(timeout=1000 * PATIENCE)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=1000 * PATIENCE)
        browser.new_context, browser.new_page = patient(browser.new_context), patient(browser.new_page)
        yield browser
        browser.close()
