"""Merging: the same logits, whole files, sums that hold, and weights that are refused before anything loads them."""

import json
import shutil
import struct

import pytest

from alif_kit import pipeline
from alif_kit.cli import main
from alif_kit.core import config
from alif_kit.core.config import Base
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.model import without_hub
from alif_kit.release import merge, weights


@pytest.fixture(scope="module")
def merged(merged_run):
    """The finished small run's adapter, with its trained vocabulary, merged."""
    return pipeline.merge(merged_run), merged_run.file("release", "merged")


def test_the_merged_model_gives_the_logits_of_base_and_adapter(merged):
    found, folder = merged
    assert found["largest_difference"] < 0.01 and found["same_top_token"] > 0.98 and found["trained_vocabulary"] is True
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


def test_a_merge_that_differs_is_not_published(finished, tmp_path, monkeypatch):
    def damaged(task):
        raise StoppedError("the merged model differs from base and adapter")

    monkeypatch.setattr(merge, "_in_own_process", damaged)
    with pytest.raises(StoppedError, match="differs"):
        merge.merge(
            finished.config.base, without_hub.resolve("tiny", "ur", 3407), finished.file("finetune", "adapter"), tmp_path / "merged"
        )
    assert not (tmp_path / "merged").exists()


def test_the_comparison_measures_range_and_likeliest_token():
    import torch

    a = torch.tensor([[0.0, 10.0], [10.0, 0.0]])
    b = torch.tensor([[0.0, 9.0], [4.0, 5.0]])
    found = merge._compare([a], [b])
    assert (found["largest_difference"], found["same_top_token"]) == (0.6, 0.5)


def test_too_little_disk_or_memory_is_said_before_anything_loads(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("U", (), {"free": 10**9})())
    with pytest.raises(UserError, match=r"needs 11.0 GB of disk .* 1.0 are free"):
        merge.check_room(tmp_path / "m", 10**10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("U", (), {"free": 10**15})())
    with pytest.raises(UserError, match=r"needs about 2,?200.0 GB of memory|GB of memory"):
        merge.check_room(tmp_path / "m", 10**12)


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
        (lambda f: tensors(model(f) / "model.safetensors", cut=3), "where its header says"),
        (lambda f: (model(f) / "model.safetensors").write_bytes(b"\xff" * 100), "cut off or no safetensors"),
        (lambda f: (model(f) / "model.safetensors").write_bytes(struct.pack("<Q", 4) + b"nope"), "no safetensors file"),
        (
            lambda f: (model(f) / weights.INDEX).write_text('{"weight_map": {"a": "model-00001.safetensors"}}'),
            "lacks the shard model-00001",
        ),
        (
            lambda f: (model(f) / weights.INDEX).write_text('{"weight_map": {"a": "../../x.safetensors"}}'),
            "leads out of its folder",
        ),
        (lambda f: (model(f) / weights.INDEX).write_text('{"weight_map": {"a": "/etc/x.safetensors"}}'), "leads out of its folder"),
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
    assert result.exit_code == 0 and "logits differ by at most" in result.output and "release" in result.output


def test_a_run_without_an_adapter_names_the_stage(tmp_path):
    from alif_kit.core.run import Run

    with pytest.raises(UserError, match="alif finetune"):
        pipeline.merge(Run.open(tmp_path / "r", config.load("smoke")))
