"""Merging: the same logits, whole files, sums that hold, and weights that are refused before anything loads them."""

import json
import os
import shutil
import struct

import pytest
from safetensors.torch import load_file, save_file

import alif_kit as ak
from alif_kit import pipeline
from alif_kit.cli import main
from alif_kit.core import config
from alif_kit.core.config import Base
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.core.run import Run
from alif_kit.model import checkpoint, without_hub
from alif_kit.release import logits, merge, weights


@pytest.fixture(scope="module")
def merged(merged_run):
    """The finished small run's adapter, with its trained vocabulary, merged."""
    return pipeline.merge(merged_run), merged_run.file("release", "merged")


def test_the_merged_model_gives_the_logits_of_base_and_adapter(merged):
    found, folder = merged
    assert found["logits_difference"] < 0.01 and found["same_top_token"] > 0.98 and found["trained_vocabulary"] is True
    assert found["logits_compared"] is True and found["n"] == logits.TOKENS == 1024 and "not_compared" not in found
    assert found["matrices"] == 44 / 2 + 1 and 0 < found["matrix_difference"] < found["matrix_tolerance"] == 2**-8
    assert json.loads((folder / "merge.json").read_text()) == found
    assert not folder.with_name("merged.partial").exists()


def test_it_is_an_ordinary_16_bit_model_that_answers_as_the_adapter_does(merged, finished):
    import torch

    from alif_kit.model import unsloth as seam

    folder, base = merged[1], finished.config.base
    seam.prepare()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plain, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert plain.dtype == torch.bfloat16 and tokenizer.chat_template
    adapter = seam.load(
        Base(base.model, base.chat_format, False, base.max_seq_length),
        without_hub.resolve("tiny", "ur", 3407),
        finished.file("finetune", "adapter"),
    )
    ids = tokenizer("یہ ایک جملہ ہے۔", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        ours, theirs = plain(input_ids=ids).logits.float(), adapter.model(input_ids=ids).logits.float()
    assert (ours - theirs).abs().max() < 0.02 * (theirs.max() - theirs.min())
    assert plain.generation_config.eos_token_id == tokenizer.eos_token_id


def test_sums_hold_and_tell_what_changed(merged, tmp_path):
    folder = shutil.copytree(merged[1], tmp_path / "merged")
    assert merge.wrong_sums(folder) == []
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert {line.split("  ")[1] for line in lines} >= {"model.safetensors", "config.json", "chat_template.jinja", "merge.json"}
    config_file = folder / "config.json"
    config_file.write_text(config_file.read_text() + " ")
    assert merge.wrong_sums(folder) == ["config.json"]


def test_a_finished_merge_is_kept(merged, merged_run, monkeypatch):
    monkeypatch.setattr(merge, "_in_own_process", lambda task: pytest.fail("merged again"))
    assert pipeline.merge(merged_run) == merged[0]


def task_of(run, folder):
    """What the process of a merge is given."""
    path, adapter = without_hub.resolve("tiny", "ur", 3407), run.file("finetune", "adapter")
    return {"base": vars(run.config.base), "path": path, "adapter": str(adapter), "folder": str(folder), "language": "ur"}


def again(run, folder):
    task = task_of(run, folder)
    return merge.merge(run.config.base, task["path"], run.file("finetune", "adapter"), folder, "ur")


def test_a_merge_that_differs_is_not_published(finished, tmp_path, monkeypatch):
    def damaged(task):
        raise StoppedError("the merged model differs from base and adapter")

    monkeypatch.setattr(merge, "_in_own_process", damaged)
    with pytest.raises(StoppedError, match="differs"):
        again(finished, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def spoil(path):
    """Make the last norm of a model a tenth larger."""
    tensors = load_file(path)
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * 1.1
    save_file(tensors, path.with_suffix(".new"), metadata={"format": "pt"})
    path.with_suffix(".new").rename(path)


def test_logits_that_differ_are_an_error(finished, merged, tmp_path):
    folder = shutil.copytree(merged[1], tmp_path / "merged")
    spoil(folder / "model.safetensors")
    said, task = [], task_of(finished, folder)
    with pytest.raises(StoppedError, match=r"differs from base and adapter: logits by \d+\.\d% of their spread \(10% allowed\)"):
        logits.compare(
            finished.config.base, task["path"], finished.file("finetune", "adapter"), folder, "ur", lambda *args: said.append(args)
        )
    pieces = len(said) // 2
    assert (
        pieces >= 8 and [args[0] for args in said] == list(range(1, 2 * pieces + 1)) and {args[2] for args in said} == {2 * pieces}
    )
    assert not (folder / logits.WAITING).exists()


def test_where_no_memory_holds_the_model_the_merge_says_that_its_logits_were_not_compared(finished, tmp_path, monkeypatch):
    import psutil

    task = task_of(finished, tmp_path / "merged")
    said, free = [], psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free._replace(available=1_510_000_000))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(logits, "_card_free", lambda: 1e9)
    merge._work(task, lambda *args: said.append(args))
    found = json.loads((tmp_path / "merged" / "merge.json").read_text())
    assert found["logits_compared"] is False and "logits_difference" not in found and found["matrices"] == 23
    assert found["not_compared"] == ("the whole model takes 1.5 GB of memory, and 1.5 are free, or 1.5 on the card, where 1.0 are")
    assert said[-1][0] == said[-1][2] and os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_a_card_that_holds_the_model_is_used_though_the_memory_does_not(finished, monkeypatch):
    import psutil

    base = checkpoint.look(without_hub.resolve("tiny", "ur", 3407))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 0})())
    monkeypatch.setattr(logits, "_card_free", lambda: 16e9)
    assert logits.why_not(base, finished.file("finetune", "adapter")) == "" and os.environ["CUDA_VISIBLE_DEVICES"] == "0"


class Child:
    """A process that says `lines`, leaves `about` as merge.json, and ends with `code`."""

    def __init__(self, folder, code, errors="", about=None, lines=()):
        self.folder, self.code, self.errors, self.about, self.stdout = folder, code, errors, about, lines

    def __call__(self, command, stdout, stderr, text, encoding):
        stderr.write(self.errors)
        if self.about is not None:
            (self.folder / logits.WAITING).mkdir(parents=True)
            (self.folder / "merge.json").write_text(json.dumps(self.about))
        return self

    def wait(self):
        return self.code


@pytest.mark.parametrize(
    "code, errors, kind, said",
    [
        (2, "noise\nalif: merging needs 3.0 GB of disk\nmore", UserError, "^merging needs 3.0 GB of disk$"),
        (1, "alif: the merged model differs", StoppedError, "^the merged model differs$"),
        (1, "Traceback\nValueError: odd", StoppedError, "^merging stopped: ValueError: odd$"),
        (-9, "", StoppedError, "merging stopped: the process was killed, most likely for want of memory"),
    ],
)
def test_what_ends_the_process_is_said_as_what_it_is(tmp_path, monkeypatch, code, errors, kind, said):
    monkeypatch.setattr(merge.subprocess, "Popen", Child(tmp_path / "m", code, errors))
    with pytest.raises(kind, match=said):
        merge._in_own_process({"folder": str(tmp_path / "m")})


def test_a_process_killed_while_it_compares_leaves_the_merge_and_the_reason(tmp_path, monkeypatch):
    folder = tmp_path / "m"
    monkeypatch.setattr(merge.subprocess, "Popen", Child(folder, -9, about={"matrices": 23, "not_compared": "stopped before"}))
    merge._in_own_process({"folder": str(folder)})
    assert json.loads((folder / "merge.json").read_text()) == {"matrices": 23, "not_compared": merge.KILLED}
    assert not (folder / logits.WAITING).exists()


def test_a_comparison_that_fails_leaves_the_merge_and_the_reason(tmp_path, monkeypatch):
    folder = tmp_path / "m"
    child = Child(
        folder, 1, "Traceback\nRuntimeError: CUBLAS_STATUS_ALLOC_FAILED", about={"matrices": 23, "not_compared": "stopped before"}
    )
    monkeypatch.setattr(merge.subprocess, "Popen", child)
    merge._in_own_process({"folder": str(folder)})
    found = json.loads((folder / "merge.json").read_text())
    assert found == {"matrices": 23, "not_compared": "RuntimeError: CUBLAS_STATUS_ALLOC_FAILED"}
    monkeypatch.setattr(merge.subprocess, "Popen", Child(tmp_path / "n", 1, "alif: the merged model differs", about={}))
    with pytest.raises(StoppedError, match="differs"):
        merge._in_own_process({"folder": str(tmp_path / "n")})


def test_progress_of_the_process_is_shown_here(tmp_path, monkeypatch):
    from contextlib import contextmanager

    shown = []

    @contextmanager
    def bar(label, total):
        yield lambda done, note="", total=0: shown.append((label, done, note, total))

    monkeypatch.setattr(merge, "bar", bar)
    lines = ["a library's own line\n", 'alif-progress [3, "model.safetensors", 9]\n']
    monkeypatch.setattr(merge.subprocess, "Popen", Child(tmp_path, 0, lines=lines))
    merge._in_own_process({"folder": str(tmp_path)})
    assert shown == [("merge", 3, "model.safetensors", 9)]


def test_the_comparison_measures_spread_and_likeliest_token():
    import torch

    a = torch.tensor([[0.0, 10.0], [10.0, 0.0]])
    b = torch.tensor([[0.0, 9.0], [4.0, 5.0]])
    counted = []
    found = logits.differences([(a.half(), a.argmax(-1)), (a, a.argmax(-1))], [b, a], lambda: counted.append(1))
    assert found == {"logits_difference": 0.556776, "same_top_token": 0.75, "tolerance": 0.1, "n": 4} and len(counted) == 2
    nothing = torch.full((2, 2), float("nan"))
    found = logits.differences([(a, a.argmax(-1)), (nothing, a.argmax(-1))], [a, a], lambda: None)
    assert not found["logits_difference"] <= logits.TOLERANCE


def test_too_little_disk_or_memory_is_said_before_anything_loads(tmp_path, monkeypatch):
    import psutil

    largest = checkpoint.Tensor("model.safetensors", "BF16", (1000, 1_000_000))
    base = checkpoint.Checkpoint("b", tmp_path, {}, {"a": largest, "b": checkpoint.Tensor("model.safetensors", "BF16", (1000,))})
    free = {"disk": 10**9, "memory": 10**10}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("U", (), {"free": free["disk"]})())
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": free["memory"]})())
    with pytest.raises(UserError, match=r"needs 11.0 GB of disk .* 1.0 are free"):
        checkpoint.check_room(base, tmp_path / "m", 10**10)
    free["disk"] = 12 * 10**9
    checkpoint.check_room(base, tmp_path / "m", 10**10)
    on_hub = checkpoint.Checkpoint("me/b", None, {}, base.tensors)
    with pytest.raises(UserError, match=r"needs 13.0 GB of disk .* 12.0 are free"):  # the download lies on the same disk
        checkpoint.check_room(on_hub, tmp_path / "m", 10**10)
    free["memory"] = 9 * 10**9
    with pytest.raises(UserError, match=r"needs about 9.5 GB of memory, 9.0 are free"):
        checkpoint.check_room(base, tmp_path / "m", 10**10)


def test_what_is_made_of_a_merge_is_made_of_the_adapter_that_the_run_has_now(merged_run, tmp_path, monkeypatch):
    folder = shutil.copytree(merged_run.path, tmp_path / "run") / "release" / "merged"
    run, asked = Run.resume(tmp_path / "run"), []
    monkeypatch.setattr(pipeline, "merge", asked.append)
    assert pipeline._merged(run) == folder and len(asked) == 1  # `merge` itself keeps what is of this adapter
    about = json.loads((folder / "merge.json").read_text())
    assert about["adapter"] == "finetune/adapter"
    (folder / "merge.json").write_text(json.dumps(about | {"adapter": "../other/adapter"}))
    pipeline._merged(run)
    assert len(asked) == 2  # its sums are wrong now
    merge.write_sums(folder)
    pipeline._merged(run)
    assert len(asked) == 2  # an adapter from elsewhere, as somebody wanted it
    shutil.rmtree(run.file("finetune", "adapter"))
    (folder / "merge.json").write_text(json.dumps(about))
    merge.write_sums(folder)
    pipeline._merged(run)
    assert len(asked) == 2  # its own, and nothing is left to make it anew of
    (folder / "model.safetensors").write_bytes(b"damaged")
    pipeline._merged(run)
    assert len(asked) == 3


# Weights from elsewhere


def tensors(path, shape=(2, 2), name="x", cut=0):
    size = 2 * shape[0] * shape[1]
    header = json.dumps({name: {"dtype": "F16", "shape": list(shape), "data_offsets": [0, size]}}).encode()
    data = struct.pack("<Q", len(header)) + header + bytes(size)
    path.write_bytes(data[: len(data) - cut])


def model(folder, **more):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"hidden_size": 8, "num_hidden_layers": 1, **more}))
    return folder


def test_whole_safetensors_are_taken(tmp_path):
    tensors(model(tmp_path / "m") / "model.safetensors")
    weights.check_model(tmp_path / "m")


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda f: None, "no config.json"),
        (lambda f: model(f), "holds no weights"),
        (lambda f: (model(f) / "pytorch_model.bin").write_bytes(b"x"), "only pytorch_model.bin, which is pickled"),
        (lambda f: tensors(model(f) / "model.safetensors", cut=3), "cut off or no safetensors file"),
        (lambda f: (model(f) / "model.safetensors").write_bytes(b"\xff" * 100), "cut off or no safetensors"),
        (lambda f: (model(f) / "model.safetensors").write_bytes(struct.pack("<Q", 4) + b"nope"), "no safetensors file"),
        (
            lambda f: (model(f) / checkpoint.INDEX).write_text('{"weight_map": {"a": "model-00001.safetensors"}}'),
            "holds no model-00001.safetensors; expected a whole checkpoint",
        ),
        (
            lambda f: (model(f) / checkpoint.INDEX).write_text('{"weight_map": {"a": "../../x.safetensors"}}'),
            "leads out of its folder",
        ),
        (
            lambda f: (model(f) / checkpoint.INDEX).write_text('{"weight_map": {"a": "/etc/x.safetensors"}}'),
            "leads out of its folder",
        ),
    ],
)
def test_weights_that_must_not_be_used_are_refused_in_a_sentence(tmp_path, make, said):
    folder = tmp_path / "m"
    folder.mkdir()
    make(folder)
    with pytest.raises(UserError, match=said) as error:
        weights.check_model(folder)
    assert "\n" not in str(error.value)


def adapter(folder, shape=(4, 8), layer=0, pickled=False):
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    if pickled:
        (folder / "adapter_model.bin").write_bytes(b"x")
    else:
        tensors(
            folder / "adapter_model.safetensors", shape, f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_A.weight"
        )
    return folder


def test_an_adapter_must_fit_its_base(tmp_path):
    base = model(tmp_path / "base")
    weights.check_adapter(adapter(tmp_path / "good"), base)
    with pytest.raises(UserError, match="hidden size 16, this one has 8"):
        weights.check_adapter(adapter(tmp_path / "wide", (4, 16)), base)
    with pytest.raises(UserError, match="a base of 4 layers, this one has 1"):
        weights.check_adapter(adapter(tmp_path / "deep", layer=3), base)
    with pytest.raises(UserError, match="pickled"):
        weights.check_adapter(adapter(tmp_path / "pickled", pickled=True), base)
    with pytest.raises(UserError, match="no adapter_config.json"):
        weights.check_adapter(base, base)


def test_the_command_line(merged, merged_run):
    from typer.testing import CliRunner

    result = CliRunner().invoke(main.app, ["merge", "--run", str(merged_run.path)])
    assert result.exit_code == 0 and "logits of 1,024 tokens differ by 0" in result.output and "release" in result.output
    assert "23 matrices are base and adapter but for 0." in result.output


def test_the_command_line_says_what_was_not_compared(merged_run, monkeypatch):
    from typer.testing import CliRunner

    found = {"matrices": 23, "matrix_difference": 0.00156, "matrix_tolerance": 2**-8, "ends": 2, "not_compared": "no memory"}
    monkeypatch.setattr(ak, "merge", lambda run, adapter: found)
    said = CliRunner().invoke(main.app, ["merge", "--run", str(merged_run.path)]).output
    assert "logits of the whole model were not compared: no memory" in said and "answers end at 2" in said
    assert "23 matrices are base and adapter but for 0.16% (rounding to 16 bit allows 0.39%)" in said


def test_a_run_without_an_adapter_names_the_stage(tmp_path):

    with pytest.raises(UserError, match="alif finetune"):
        pipeline.merge(Run.open(tmp_path / "r", config.load("smoke")))


def whole_model(folder, **config):
    """Three layers of two tensors, and embeddings of width 4."""
    from safetensors.torch import save_file as save
    from torch import zeros

    folder.mkdir()
    names = [f"model.layers.{n}.{part}.weight" for n in range(3) for part in ("mlp.up_proj", "input_layernorm")]
    save({"model.embed_tokens.weight": zeros(8, 4)} | {name: zeros(4) for name in names}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"hidden_size": 4} | config))
    return folder


def without(folder, name):
    held = load_file(folder / "model.safetensors")
    save_file({key: tensor for key, tensor in held.items() if key != name}, folder / "model.safetensors")


def test_weights_that_transformers_would_fill_with_noise_are_refused(tmp_path):
    weights.check_model(whole_model(tmp_path / "whole"))
    with pytest.raises(UserError, match=r"has model.embed_tokens.weight \[8, 4\] where its config.json says hidden_size 6"):
        weights.check_model(whole_model(tmp_path / "wide", hidden_size=6))
    folder = whole_model(tmp_path / "m")
    without(folder, "model.layers.1.mlp.up_proj.weight")
    with pytest.raises(UserError, match=r"lacks the weight model.layers.1.mlp.up_proj.weight"):
        weights.check_model(folder)


def test_a_tokenizer_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no tokenizer.json; expected the tokenizer that the model was trained with"):
        weights.check_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    weights.check_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer_config.json is no JSON \(.*\); it was cut off or changed"):
        weights.check_tokenizer(tmp_path)
