"""Checkpoints on the Hub: looked at by their headers before the download, fetched without code, found again without a network."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest

from alif_kit.core.errors import StoppedError, UserError
from alif_kit.model import checkpoint

FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "modeling_own.py": b"raise SystemExit",
    "pytorch_model.bin": b"pickled",
    "consolidated.safetensors": b"the same weights once more",
    "onnx/model.onnx": b"another form",
}


class Hub:
    """A loopback Hub with one public model, `me/model`; `asked` lists each request with its range of bytes."""

    def __init__(self, files):
        self.files, self.asked, hub = files, [], self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.do_GET(body=False)

            def do_GET(self, body=True):
                path, span = self.path.split("?")[0], self.headers.get("Range")
                hub.asked.append((self.command, path, span))
                if path.startswith("/api/models/me/model/tree"):
                    rows = [{"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in hub.files.items()]
                    return self.answer(200, json.dumps(rows).encode(), body)
                if path.startswith("/api/models/me/model"):
                    said = {"id": "me/model", "sha": "a" * 40, "siblings": [{"rfilename": name} for name in hub.files]}
                    return self.answer(200, json.dumps(said).encode(), body)
                name = re.sub(r"^/me/model/resolve/[^/]+/", "", path)
                if name not in hub.files:
                    return self.answer(404, b"", body, {"X-Error-Code": "EntryNotFound" if "me/model" in path else "RepoNotFound"})
                data, code = hub.files[name], 200
                if span:
                    first, last = re.match(r"bytes=(\d+)-(\d*)", span).groups()
                    data, code = data[int(first) : int(last) + 1 if last else None], 206
                marks = {"ETag": f'"{abs(hash(name)):040x}"', "X-Repo-Commit": "a" * 40, "Content-Disposition": name}
                return self.answer(code, data, body, marks)

            def answer(self, code, data, body, headers=None):
                self.send_response(code)
                for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                    self.send_header(key, value)
                self.end_headers()
                if body:
                    self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    from huggingface_hub import constants

    server = Hub(dict(FILES))
    url = f"http://127.0.0.1:{server.server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("snapshot_download", "hf_hub_download", "try_to_load_from_cache"):
        whole = getattr(huggingface_hub, name)
        options = {"cache_dir": str(tmp_path / "cache")} | ({} if name.startswith("try") else {"endpoint": url})
        monkeypatch.setattr(
            huggingface_hub, name, lambda *args, whole=whole, options=options, **more: whole(*args, **options, **more)
        )
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    yield server
    server.server.shutdown()
    server.server.server_close()


def shard(path, **shapes):
    """The bytes of a file of bfloat16 zeros."""
    import torch

    entries = {name: checkpoint.Tensor(path.name, "BF16", shape) for name, shape in shapes.items()}
    checkpoint.write(path, entries, [torch.zeros(shape, dtype=torch.bfloat16) for shape in shapes.values()])
    return path.read_bytes()


def put_shards(hub, folder):
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    hub.files[names[0]] = shard(folder / names[0], big=(300_000, 8))
    hub.files[names[1]] = shard(folder / names[1], small=(3, 2))
    hub.files[checkpoint.INDEX] = json.dumps({"metadata": {}, "weight_map": {"big": names[0], "small": names[1]}}).encode()
    return names


def test_headers_come_first_and_then_weights_configuration_and_tokenizer_no_code(hub, tmp_path):
    names = put_shards(hub, tmp_path)
    found = checkpoint.look("me/model")
    assert found.tensors == {
        "big": checkpoint.Tensor(names[0], "BF16", (300_000, 8)),
        "small": checkpoint.Tensor(names[1], "BF16", (3, 2)),
    }
    assert (found.tensors["big"].size, found.folder, found.config) == (4_800_000, None, {"model_type": "llama"})
    whole = [path for command, path, span in hub.asked if command == "GET" and path.endswith(".safetensors") and not span]
    assert whole == []  # bytes of the header, and no more
    folder = checkpoint.fetch(found).folder
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert kept == {*names, checkpoint.INDEX, "config.json", "tokenizer.json", "chat_template.jinja"}


def test_a_model_that_was_fetched_is_found_without_the_network(hub, tmp_path):
    put_shards(hub, tmp_path)
    fetched = checkpoint.fetch(checkpoint.look("me/model"))
    hub.asked.clear()
    assert checkpoint.look("me/model") == fetched and hub.asked == []
    (fetched.folder / "tokenizer.json").unlink()  # as where another library has fetched what it needs itself
    assert (checkpoint.fetch(fetched).folder / "tokenizer.json").is_file()
    hub.server.shutdown()
    hub.server.server_close()
    assert checkpoint.fetch(checkpoint.look("me/model")) == fetched
    (fetched.folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be had from the Hub"):  # half a download is none
        checkpoint.look("me/model")


def test_a_download_that_breaks_off_says_so(hub, tmp_path):
    put_shards(hub, tmp_path)
    found = checkpoint.look("me/model")
    hub.server.shutdown()
    hub.server.server_close()
    with pytest.raises(StoppedError, match="fetching me/model stopped .* what has come is kept"):
        checkpoint.fetch(found)


def test_what_the_hub_has_not_is_said_in_a_sentence(hub):
    with pytest.raises(UserError, match="base me/model holds no safetensors on the Hub; pickled weights could run code"):
        checkpoint.look("me/model")
    with pytest.raises(UserError, match="base me/other .*Hub"):
        checkpoint.look("me/other")
    with pytest.raises(UserError, match="base not/a/name/at/all cannot be had from the Hub"):
        checkpoint.look("not/a/name/at/all")
    hub.server.shutdown()
    hub.server.server_close()
    with pytest.raises(UserError, match="base me/model cannot be had from the Hub"):
        checkpoint.look("me/model")
