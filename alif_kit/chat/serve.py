"""chat: an OpenAI-compatible endpoint from a server that exists already: llama.cpp's for a GGUF, vLLM's or transformers' for a
folder of weights.

In: a GGUF file or a model's folder. Out: the command line of its server, the address, the name to ask for.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alif_kit.chat.speakers import ENDPOINT_KEY, find_gguf, is_endpoint
from alif_kit.chat.speech import CONTEXT
from alif_kit.core.errors import UserError
from alif_kit.platforms import machine
from alif_kit.release import weights

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Plan:
    """A server to be started: its command line, the secrets it gets by its environment, what to ask it for."""

    server: str
    line: list[str]
    address: str
    name: str
    secrets: dict[str, str] = field(default_factory=dict)

    def curl(self) -> str:
        """A line to try it with; the key stands in it by its variable's name."""
        key = f' -H "Authorization: Bearer ${ENDPOINT_KEY}"' if self.secrets else ""
        ask = f'{{"model": "{self.name}", "messages": [{{"role": "user", "content": "السلام علیکم"}}]}}'
        return f"curl {self.address}/chat/completions -H 'Content-Type: application/json'{key} -d '{ask}'"


def plan(model: str, port: int, host: str = LOOPBACK[0]) -> Plan:
    """Which server, and how it is started. Raises UserError for a missing package, or a model that no server takes."""
    if is_endpoint(model):
        raise UserError(f"{model} is served already; `alif chat --model {model}` talks to it")
    path = Path(model)
    if (path / "adapter_config.json").is_file():
        raise UserError(f"{model} is an adapter, and servers take whole models; run `alif merge`, then serve release/merged")
    key, where = machine.find_secret(ENDPOINT_KEY), ["--host", host, "--port", str(port)]
    address = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}/v1"
    if file := find_gguf(path):
        return _llama(file, where, address, key)
    if path.is_dir():
        weights.check_model(path)
        weights.check_tokenizer(path)
    return (_vllm if find_spec("vllm") else _transformers)(model, where, address, key)


def _lacks(*packages: str) -> str:
    """The first of the packages that is not installed, or empty."""
    return next((name for name in packages if find_spec(name) is None), "")


def _llama(path: Path, where: list[str], address: str, key: str) -> Plan:
    if missing := _lacks("llama_cpp", "uvicorn", "fastapi", "sse_starlette"):
        raise UserError(f"serving a GGUF needs llama.cpp's server ({missing} is missing); run: pip install 'alif-kit[llama]'")
    line = [sys.executable, "-m", "llama_cpp.server", "--model", str(path), "--model_alias", path.stem, *where]
    line += ["--n_ctx", str(CONTEXT), "--n_gpu_layers", "-1", "--verbose", "false"]
    return Plan("llama.cpp", line, address, path.stem, {"API_KEY": key} if key else {})


def _vllm(model: str, where: list[str], address: str, key: str) -> Plan:
    name = Path(model).resolve().name if Path(model).is_dir() else model
    line = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", name, *where]
    return Plan("vLLM", line, address, name, {"VLLM_API_KEY": key} if key else {})


def _transformers(model: str, where: list[str], address: str, key: str) -> Plan:
    if missing := _lacks("uvicorn", "fastapi"):
        raise UserError(
            f"serving a folder needs vLLM, or transformers with {missing}; run: pip install vllm, or 'transformers[serving]'"
        )
    if key:
        raise UserError(f"`transformers serve` knows no key, but {ENDPOINT_KEY} is set; unset it, or install vLLM, which does")
    line = [sys.executable, "-m", "transformers.cli.transformers", "serve", model, *where]
    return Plan("transformers serve", line, address, model)


def run(found: Plan) -> Any:
    """Become the server: this process is replaced, so that its signals and its exit code are the server's own."""
    sys.stdout.flush()
    os.execve(found.line[0], found.line, os.environ | found.secrets)
