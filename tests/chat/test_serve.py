"""serve: the command line of a server that exists already, and two of them really started."""

import contextlib
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from conftest import PATIENCE

from alif_kit.chat import serve
from alif_kit.core.errors import UserError

ALIF = [sys.executable, "-m", "alif_kit.cli"]


@pytest.fixture
def installed(monkeypatch):
    """Say which packages are there."""

    def say(*names):
        monkeypatch.setattr(serve, "find_spec", lambda name: object() if name in names else None)

    monkeypatch.delenv(serve.ENDPOINT_KEY, raising=False)
    return say


@pytest.fixture
def folder(tmp_path):
    """A model's folder as far as it is looked at before its server is: config and an empty, whole safetensors file."""
    path = tmp_path / "merged"
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "tokenizer.json").write_text("{}")
    (path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return path


def test_a_gguf_is_served_by_llama_cpp(tmp_path, installed, monkeypatch):
    installed("llama_cpp", "uvicorn", "fastapi", "sse_starlette")
    path = tmp_path / "urdu-q8_0.gguf"
    path.touch()
    for named in (path, tmp_path):
        found = serve.plan(str(named), 8001)
        assert found.line[1:7] == ["-m", "llama_cpp.server", "--model", str(path), "--model_alias", "urdu-q8_0"]
        assert found.line[found.line.index("--host") + 1] == "127.0.0.1" and found.address == "http://127.0.0.1:8001/v1"
    monkeypatch.setenv(serve.ENDPOINT_KEY, "a-secret")
    found = serve.plan(str(path), 8001, "0.0.0.0")
    assert found.secrets == {"API_KEY": "a-secret"} and found.address == "http://127.0.0.1:8001/v1"
    assert "a-secret" not in " ".join(found.line) + found.curl() and "Bearer $ALIF_ENDPOINT_KEY" in found.curl()


def test_a_folder_is_served_by_vllm_where_it_is_else_by_transformers(folder, installed, monkeypatch):
    installed("vllm")
    found = serve.plan(str(folder), 8002)
    assert (found.server, found.name) == ("vLLM", "merged")
    assert found.line[1:7] == ["-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--served-model-name", "merged"]
    installed("uvicorn", "fastapi")
    found = serve.plan(str(folder), 8002)
    assert (found.server, found.name) == ("transformers serve", str(folder))
    assert found.line[1:] == ["-m", "transformers.cli.transformers", "serve", str(folder), "--host", "127.0.0.1", "--port", "8002"]
    monkeypatch.setenv(serve.ENDPOINT_KEY, "a-secret")
    with pytest.raises(UserError, match="knows no key, but ALIF_ENDPOINT_KEY is set"):
        serve.plan(str(folder), 8002)


def test_what_no_server_takes_is_one_sentence(folder, tmp_path, installed):
    installed()
    with pytest.raises(UserError, match=r"fastapi is missing|uvicorn is missing|llama_cpp is missing"):
        (tmp_path / "x.gguf").touch()
        serve.plan(str(tmp_path / "x.gguf"), 8003)
    with pytest.raises(UserError, match="needs vLLM, or transformers with uvicorn; run: pip install"):
        serve.plan(str(folder), 8003)
    with pytest.raises(UserError, match="is served already; `alif chat --model http://127.0.0.1:1/v1#m` talks to it"):
        serve.plan("http://127.0.0.1:1/v1#m", 8003)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="is an adapter, and servers take whole models; run `alif merge`"):
        serve.plan(str(folder), 8003)
    (folder / "adapter_config.json").unlink()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickled and could run code"):
        serve.plan(str(folder), 8003)


def free_port():
    """A port that is free and that no program gets by asking for any: those begin higher."""
    import socket

    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(20_000, 30_000)))
            return probe.getsockname()[1]


def ask(address, name, process, key=""):
    """One answer of a server that is still starting."""
    body = {"model": name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    while process.poll() is None:
        try:
            request = urllib.request.Request(f"{address}/chat/completions", json.dumps(body).encode(), headers)
            return json.load(urllib.request.urlopen(request, timeout=PATIENCE))
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(1)
    raise AssertionError("the server did not come up, it ended")


def served(words, log, key=""):
    """`alif serve` in a process of its own, and what it printed first. Its words go to a file: a pipe nobody reads would stop it."""
    environment = {name: value for name, value in os.environ.items() if name != serve.ENDPOINT_KEY}
    environment |= {serve.ENDPOINT_KEY: key} if key else {}
    with log.open("w") as file:
        process = subprocess.Popen([*ALIF, "serve", *words], stdout=file, stderr=subprocess.STDOUT, env=environment)
    while log.read_text("utf-8").count("\n") < 3 and process.poll() is None:
        time.sleep(0.2)
    return process, log.read_text("utf-8").splitlines()[:3]


def end(process):
    """Interrupt it, as Ctrl-C does: the server took the command's place, so it is the server that hears it."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(PATIENCE)
    finally:
        process.kill()


@pytest.mark.slow
def test_a_gguf_is_really_served_and_asks_for_its_key(gemma_gguf, tmp_path):
    pytest.importorskip("llama_cpp.server.app", reason="llama.cpp's server is not installed: it comes with the extra `llama`")
    port, path = free_port(), gemma_gguf
    process, printed = served(["--model", str(path), "--port", str(port)], tmp_path / "log", key="a-long-secret")
    try:
        assert printed[0] == f"llama.cpp: http://127.0.0.1:{port}/v1" and printed[1].startswith("try it: curl http://127.0.0.1")
        assert "a-long-secret" not in "".join(printed)
        answer = ask(f"http://127.0.0.1:{port}/v1", path.stem, process, key="a-long-secret")
        assert answer["choices"][0]["message"]["role"] == "assistant" and answer["model"] == path.stem
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(f"http://127.0.0.1:{port}/v1", path.stem, process)
    finally:
        end(process)


@pytest.mark.slow
def test_a_runs_merged_model_is_really_served_and_the_printed_lines_work(merged_run, tmp_path):
    pytest.importorskip("fastapi", reason="fastapi is not installed: it comes with the extra `review`")
    port = free_port()
    process, printed = served(["--run", str(merged_run.path), "--port", str(port)], tmp_path / "log")
    try:
        name = str(merged_run.file("release", "merged"))
        assert printed[2] == f"talk to it: alif chat --model http://127.0.0.1:{port}/v1#{name}"
        ask(f"http://127.0.0.1:{port}/v1", name, process)
        curl = shlex.split(printed[1].removeprefix("try it: "))
        assert curl[0] == "curl" and json.loads(curl[-1])["model"] == name
        chat = [*ALIF, "chat", "--model", re.sub(".*--model ", "", printed[2]), "--max-tokens", "16", "--preset", "smoke"]
        shown = subprocess.run(chat, input="سلام\n", capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE)
        assert shown.returncode == 0 and "tokens/s" in shown.stdout, shown.stderr
    finally:
        end(process)
