"""hub: what goes where is known before anything is sent, the licence's files go along, a cut upload goes on, no token is told."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import ModelCard
from test_cards import FAILED, UNDECIDED, gate, made
from typer.testing import CliRunner

from alif_kit import pipeline
from alif_kit.cli import main
from alif_kit.cli import release as release_cli
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.release import hub, merge

TOKEN = "hf_canary"
MERGED = {"README.md", "SHA256SUMS", "NOTICE", "config.json", "merge.json", "model.safetensors"}
ADAPTER = {"README.md", "SHA256SUMS", "NOTICE", "adapter_config.json", "adapter_model.safetensors"}
GGUF = {"README.md", "SHA256SUMS", "NOTICE", "Modelfile", "urdu-q8_0.gguf", "urdu-q8_0.json"}


def plan(run, to="me/urdu", what=(), **options):
    return hub.plan(run, to, list(what), pipeline.card_facts(run), **options)


class Hub:
    """The Hub's API as far as repositories of models need it: creating, metadata checks, LFS objects, commits.

    Weights go through LFS, everything else in the commit. `refuse`: (a part of a path, a status) to answer with, the token in it.
    """

    def __init__(self):
        self.repositories, self.objects, self.uploads, self.commits, self.refuse, hub = {}, {}, [], [], None, self
        self.heavy = (".safetensors", ".gguf")

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if hub.refuse and hub.refuse[0] in self.path:
                    return self.send(hub.refuse[1], {"error": f"not for {self.headers.get('Authorization')}"})
                return self.send(*hub.answer(self.command, self.path, data))

            do_GET = do_POST = do_PUT = do_HEAD = answer

            def send(self, status, value):
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, method, path, data):
        if path == "/api/repos/create":
            return self.create(json.loads(data))
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path.startswith("/objects/"):
            self.uploads.append(path.split("/")[-1])
            self.objects[path.split("/")[-1]] = data
            return 200, {}
        owner, name = re.match(r"/(?:api/models/)?([^/]+)/([^/.]+)", path).groups()
        there = self.repositories[f"{owner}/{name}"]
        if path.endswith("/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": [self.lfs(o) for o in json.loads(data)["objects"]]}
        if "/preupload/" in path:
            return 200, {"files": [self.mode(f["path"], there) for f in json.loads(data)["files"]]}
        if "/commit/" in path:
            return self.commit(f"{owner}/{name}", [json.loads(line) for line in data.splitlines()])
        return 200, {"id": f"{owner}/{name}", "private": there["private"], "sha": "0" * 40, "siblings": []}

    def create(self, asked):
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        if name in self.repositories:
            return 409, {"error": "it is there already", "url": f"{self.url}/{name}"}
        private = asked.get("private") is True or asked.get("visibility") == "private"
        self.repositories[name] = {"private": private, "files": {}}
        return 200, {"url": f"{self.url}/{name}", "name": name}

    def lfs(self, wanted):
        there = wanted["oid"] in self.objects
        return wanted | ({} if there else {"actions": {"upload": {"href": f"{self.url}/objects/{wanted['oid']}"}}})

    def mode(self, path, there):
        mode = "lfs" if path.endswith(self.heavy) else "regular"
        known = there["files"].get(path)
        oid = hashlib.sha256(known).hexdigest() if known and mode == "lfs" else git_oid(known) if known else None
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid}

    def commit(self, repository, lines):
        files, brought = self.repositories[repository]["files"], []
        for line in lines:
            entry = line["value"]
            if line["key"] == "file":
                files[entry["path"]] = base64.b64decode(entry["content"])
            elif line["key"] == "lfsFile":
                files[entry["path"]] = self.objects[entry["oid"]]
            brought += [entry["path"]] if "path" in entry else []
        self.commits.append((repository, sorted(brought)))
        return 200, {"commitUrl": f"{self.url}/{repository}/commit/{'0' * 40}", "commitOid": "0" * 40, "success": True}


def git_oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture
def server(monkeypatch):
    import huggingface_hub

    server, real = Hub(), huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)  # Xet speaks to a store of its own, not to this one
    monkeypatch.setattr(huggingface_hub.utils._http.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda token: real(endpoint=server.url, token=token))
    yield server
    server.server.shutdown()
    server.server.server_close()


# Before anything is sent


def test_the_plan_is_one_repository_per_kind(tmp_path):
    repositories = plan(made(tmp_path / "r"))
    assert [(r.id, r.kind, set(r.files)) for r in repositories] == [
        ("me/urdu", "merged", MERGED),
        ("me/urdu-LoRA", "adapter", ADAPTER),
        ("me/urdu-GGUF", "gguf", GGUF),
    ]
    assert repositories[2].sizes()["urdu-q8_0.gguf"] == 1_500_000
    assert [r.id for r in plan(made(tmp_path / "r2"), "my-org/urdu", ["gguf"])] == ["my-org/urdu-GGUF"]


def test_no_path_of_this_machine_goes_along(tmp_path):
    for repository in plan(made(tmp_path / "r")):
        texts = [f if isinstance(f, str) else f.read_bytes().decode("utf-8", "ignore") for f in repository.files.values()]
        assert not any("/home/someone" in text or str(tmp_path) in text for text in texts)
    merged, adapter, _ = plan(made(tmp_path / "r2"))
    assert json.loads(adapter.files["adapter_config.json"]) == {"base_model_name_or_path": "unsloth/gemma-3-4b-it", "r": 16}
    assert json.loads(merged.files["merge.json"])["base"] == "unsloth/gemma-3-4b-it"


def test_the_sums_are_those_of_the_files_that_are_sent(tmp_path):
    for repository in plan(made(tmp_path / "r")):
        sums = dict(reversed(line.split("  ")) for line in repository.files["SHA256SUMS"].splitlines())
        contents = {n: f.encode() if isinstance(f, str) else f.read_bytes() for n, f in repository.files.items()}
        expected = {n: hashlib.sha256(c).hexdigest() for n, c in contents.items() if n not in ("README.md", "SHA256SUMS")}
        assert sums == expected


def test_what_came_with_the_base_goes_to_every_repository(tmp_path):
    run = made(tmp_path / "r")
    for name, text in (("LICENSE.html", "terms"), ("NOTICE", "Gemma is provided.\nThe weights were converted from 4 bits.\n")):
        run.file("release", "merged", name).write_text(text)
    merge.write_sums(run.file("release", "merged"))
    facts = pipeline.card_facts(run)
    assert hub.agreements_lacking(run, facts["terms"]) == []
    for repository in plan(run):
        assert repository.files["LICENSE.html"].read_text() == "terms"
        assert repository.files["NOTICE"].endswith(
            "converted from 4 bits.\nThe weights in this repository were modified by training.\n"
        )


def test_licence_files_go_along(tmp_path):
    run = made(tmp_path / "r", {"base.model": "unsloth/Llama-3.2-3B-Instruct", "teacher.model": "gemma3:12b"})
    with pytest.raises(UserError, match="wants a copy of itself .* save https://www.llama.com/llama3_2/license/ as LICENSE in"):
        plan(run, "me/Llama-urdu", public=True)
    run.file("release", "LICENSE").write_text("agreement")
    with pytest.raises(UserError, match="Gemma Terms of Use wants .* as LICENSE-teacher"):
        plan(run, "me/Llama-urdu", public=True)
    run.file("release", "LICENSE-teacher").write_text("agreement")
    for repository in plan(run, "me/Llama-urdu", public=True):
        assert {"LICENSE", "LICENSE-teacher"} <= set(repository.files)
        assert repository.files["NOTICE"].splitlines() == [
            "Llama 3.2 is licensed under the Llama 3.2 Community License, Copyright © Meta Platforms, Inc. All Rights Reserved.",
            "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms.",
            "The weights in this repository were modified by training.",
        ]


def test_an_apache_base_needs_no_notice(tmp_path):
    assert all("NOTICE" not in r.files for r in plan(made(tmp_path / "r", {"base.model": "unsloth/Qwen3-8B"}), public=True))


@pytest.mark.parametrize(
    "to, what, said",
    [
        ("urdu", [], "--to expects OWNER/NAME"),
        ("me/urdu/x", [], "--to expects OWNER/NAME"),
        ("me/اردو", [], "--to expects OWNER/NAME"),
        ("me/urdu", ["adapters"], "--what names 'adapters'; expected some of merged, adapter, gguf"),
    ],
)
def test_what_is_no_name_or_no_kind_is_said(tmp_path, to, what, said):
    with pytest.raises(UserError, match=said):
        plan(made(tmp_path / "r"), to, what)


def test_a_name_that_breaks_llamas_term_is_refused_with_one_that_does_not(tmp_path):
    run = made(tmp_path / "r", {"base.model": "unsloth/Meta-Llama-3.1-8B-Instruct"})
    with pytest.raises(UserError, match=r"to begin with 'Llama': use --to me/Llama-urdu$"):
        plan(run, "me/urdu")
    assert [r.id for r in plan(run, "me/Llama-urdu")] == ["me/Llama-urdu", "me/Llama-urdu-LoRA", "me/Llama-urdu-GGUF"]


def test_what_is_not_there_names_the_command(tmp_path):
    run = made(tmp_path / "r")
    run.file("release", "gguf", "urdu-q8_0.gguf").unlink()
    assert [r.kind for r in plan(run)] == ["merged", "adapter"]
    with pytest.raises(UserError, match="has no gguf to publish; run `alif gguf` first"):
        plan(run, what=["gguf"])
    stands_on_a_merge = made(tmp_path / "m", {"lora.after_pretraining": "merge"})
    with pytest.raises(UserError, match="stands on the merge of pretraining"):
        plan(stands_on_a_merge, what=["adapter"])


def test_half_made_files_stay_at_home(tmp_path):
    run = made(tmp_path / "r")
    for name in ("urdu-q4.f16.tmp.gguf", "urdu-q4_k_m.partial"):
        run.file("release", "gguf", name).write_bytes(b"half")
    assert set(plan(run, what=["gguf"])[0].files) == GGUF


def test_damaged_weights_are_not_published(tmp_path):
    run = made(tmp_path / "r")
    merged = run.file("release", "merged", "model.safetensors")
    merged.write_bytes(merged.read_bytes()[:-1] + b"\x01")
    with pytest.raises(UserError, match="model.safetensors is not what SHA256SUMS says"):
        plan(run)
    adapter = run.file("finetune", "adapter", "adapter_model.safetensors")
    adapter.write_bytes(adapter.read_bytes()[:-3])
    with pytest.raises(UserError, match="cut off or no safetensors file"):
        plan(run, what=["adapter"])


# Sending


def test_everything_arrives_whole_and_private(tmp_path, server):
    run = made(tmp_path / "r")
    repositories = plan(run)
    assert hub.send(repositories, TOKEN) == {
        f"{server.url}/me/urdu": True,
        f"{server.url}/me/urdu-LoRA": True,
        f"{server.url}/me/urdu-GGUF": True,
    }
    there = server.repositories
    assert {name: set(r["files"]) for name, r in there.items()} == {
        "me/urdu": MERGED,
        "me/urdu-LoRA": ADAPTER,
        "me/urdu-GGUF": GGUF,
    }
    assert there["me/urdu"]["files"]["model.safetensors"] == run.file("release", "merged", "model.safetensors").read_bytes()
    assert there["me/urdu-GGUF"]["files"]["urdu-q8_0.gguf"] == run.file("release", "gguf", "urdu-q8_0.gguf").read_bytes()
    card = ModelCard(there["me/urdu-GGUF"]["files"]["README.md"].decode())
    assert (card.data.base_model, card.data.base_model_relation) == ("me/urdu", "quantized")
    assert server.commits[:2] == [("me/urdu", ["model.safetensors"]), ("me/urdu", sorted(MERGED - {"model.safetensors"}))]


def test_the_librarys_streamed_upload_brings_the_same(tmp_path, server, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    server.heavy = (".none",)  # nothing that would go to Xet's own store
    repositories = plan(made(tmp_path / "r"))
    hub.send(repositories, TOKEN)
    assert {name: set(r["files"]) for name, r in server.repositories.items()} == {r.id: set(r.files) for r in repositories}
    server.commits = []
    hub.send(repositories, TOKEN)
    assert server.commits == []


def test_a_cut_upload_says_what_arrived_and_goes_on(tmp_path, server):
    run = made(tmp_path / "r")
    server.refuse = ("me/urdu-LoRA.git", 403)
    with pytest.raises(StoppedError) as caught:
        hub.send(plan(run), TOKEN)
    said = str(caught.value)
    assert (
        said.startswith("sending me/urdu-LoRA stopped: 403 not for Bearer <token>; ")
        and "run the same command again to go on from there" in said
    )
    assert "arrived so far: model.safetensors in me/urdu, the card and what belongs to the weights in me/urdu;" in said
    server.refuse, before, server.commits = None, list(server.uploads), []
    hub.send(plan(run), TOKEN)
    assert server.uploads[: len(before)] == before and len(server.uploads) == len(before) + 2  # adapter and GGUF; no file twice
    assert {name for name, _ in server.commits} == {"me/urdu-LoRA", "me/urdu-GGUF"}  # what is there brings no new commit


def test_a_network_that_goes_away_is_a_sentence(tmp_path, server):
    repositories = plan(made(tmp_path / "r"))
    server.server.shutdown()
    server.server.server_close()
    with pytest.raises(StoppedError, match="sending me/urdu stopped: .*arrived so far: nothing; run the same command again"):
        hub.send(repositories, TOKEN)


@pytest.mark.parametrize("where", ["/api/repos/create", "/preupload/", ".git/info/lfs", "/commit/", "/objects/", "/validate-yaml"])
@pytest.mark.parametrize("status", [401, 403, 500])
def test_the_token_is_in_no_error(tmp_path, server, where, status):
    server.refuse = (where, status)
    with pytest.raises(StoppedError) as caught:
        hub.send(plan(made(tmp_path / "r")), TOKEN)
    assert TOKEN not in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__  # nor in a traceback


def test_a_public_repository_of_that_name_gets_nothing_unasked(tmp_path, server):
    repositories = plan(made(tmp_path / "r", {"base.model": "unsloth/Qwen3-8B"}))
    hub.send(repositories[:1], TOKEN, private=False)
    assert server.repositories["me/urdu"]["private"] is False
    server.repositories["me/urdu"]["files"].clear()
    with pytest.raises(UserError, match="me/urdu is there and public; add --public"):
        hub.send(repositories, TOKEN)
    assert server.repositories["me/urdu"]["files"] == {}


# The command


def push(run, *options):
    return CliRunner().invoke(main.app, ["push", "--run", str(run.path), *options])


def test_a_dry_run_needs_neither_token_nor_network(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("socket.socket.connect", lambda *a: pytest.fail("the network was used"))
    result = push(made(tmp_path / "r"), "--to", "me/urdu", "--dry-run")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "me/urdu-GGUF (private), gguf: 6 files, 1.5 MB" in lines and "      1.5 MB  urdu-q8_0.gguf" in lines
    assert "dry run: nothing was sent" in lines


@pytest.mark.parametrize(
    "verdict, cause",
    [
        (gate("fail", [FAILED]), "worse by 9.0%"),
        (gate("undecided", [UNDECIDED]), "too few examples"),
        (gate(tuned="other"), "the gate judged other"),
        (None, "no gate has judged this run"),
    ],
)
def test_without_a_pass_nothing_is_published_unless_told(tmp_path, server, monkeypatch, verdict, cause):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    run = made(tmp_path / "r", verdict=verdict)
    if verdict is None:
        run.file("evaluation", "gate.json").unlink()
    result = push(run, "--to", "me/urdu")
    assert isinstance(result.exception, UserError) and result.exception.exit_code == 2
    assert cause in str(result.exception) and "--no-gate" in str(result.exception) and server.repositories == {}
    result = push(run, "--to", "me/urdu", "--no-gate", "--what", "adapter")
    assert result.exit_code == 0 and f"sent, private: {server.url}/me/urdu-LoRA" in result.output
    card = server.repositories["me/urdu-LoRA"]["files"]["README.md"].decode()
    assert "> **It has not passed the regression gate.**" in card and cause in card
    assert TOKEN not in result.output


def test_pushing_without_a_token_says_where_to_put_it(tmp_path, monkeypatch, server):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    result = push(made(tmp_path / "r"), "--to", "me/urdu")
    assert "the secret HF_TOKEN was not found" in str(result.exception) and server.repositories == {}


def test_a_private_one_that_was_there_stays_private_and_is_said_to(tmp_path, monkeypatch, server):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    run = made(tmp_path / "r", {"base.model": "unsloth/Qwen3-8B"})
    assert "sent, private" in push(run, "--to", "me/urdu", "--what", "gguf").output
    result = push(run, "--to", "me/urdu", "--what", "gguf", "--public")
    assert "sent, private" in result.output and "make it public in its settings" in result.output


@pytest.mark.parametrize("size, shown", [(583, "583 B"), (1_500, "1.5 kB"), (1_540_000, "1.5 MB"), (16_100_000_000, "16.1 GB")])
def test_sizes(size, shown):
    assert release_cli.readable(size) == shown
