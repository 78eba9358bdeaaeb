"""The gate and GGUF on real weights: a tuned gemma-270m against itself, against itself with noise in its weights, and without its frame."""

import json
import shutil

import pytest

from alif_kit import pipeline
from alif_kit.core import config
from alif_kit.core.run import Run

pytestmark = pytest.mark.slow

# Enough examples for large losses to be sure, few enough for a CPU.
SETTINGS = {
    "base.load_in_4bit": False,
    "base.max_seq_length": 1024,
    "evaluation.max_examples": 8,
    "evaluation.max_new_tokens": 16,
    "evaluation.batch_size": 8,
    "gate.min_examples": 8,
    "gate.min_documents": 8,
}


@pytest.fixture(scope="module")
def base(tuned_gemma):
    return tuned_gemma.file("release", "merged")


@pytest.fixture(scope="module")
def evaluated(base, tmp_path_factory):
    """One run folder: what was asked of the base is not asked again for the next model."""
    path = tmp_path_factory.mktemp("gate") / "run"

    def evaluate(model):
        run = Run.open(path, config.load("smoke", {**SETTINGS, "base.model": str(base)}))
        results = pipeline.compare(run, str(model))
        return results, json.loads(run.file("evaluation", "gate.json").read_text())

    return evaluate


def copied(base, folder):
    shutil.copytree(base, folder)
    return folder


def verdicts(gate):
    return {f["measure"]: f["verdict"] for f in gate["findings"]}


def test_a_model_against_itself_is_not_worse_and_no_test_finds_anything(evaluated, base, tmp_path):
    results, gate = evaluated(copied(base, tmp_path / "copy"))
    pairs = [m["paired"]["model"] for m in results["measures"] if m["paired"]]
    assert len(pairs) > 12 and all(p["difference"] == 0 and p["p"] == 1.0 for p in pairs)
    assert gate["verdict"] != "fail" and set(verdicts(gate).values()) <= {"pass", "undecided"}


def test_noise_in_the_weights_fails_for_what_it_breaks(evaluated, base, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copied(base, tmp_path / "noisy")
    weights = load_file(folder / "model.safetensors")
    import torch

    torch.manual_seed(0)
    noisy = {name: (w.float() + 0.6 * w.float().std() * torch.randn_like(w.float())).to(w.dtype) for name, w in weights.items()}
    save_file(noisy, folder / "model.safetensors", metadata={"format": "pt"})
    _, gate = evaluated(folder)
    assert gate["verdict"] == "fail" and verdicts(gate)["bits_per_byte_en"] == "fail"
    assert any("English bits per byte" in f["sentence"] and "worse by" in f["sentence"] for f in gate["findings"])


def test_a_lost_frame_fails_for_what_it_breaks(evaluated, base, tmp_path):
    """Neither a template nor a list of what ends an answer: the model says its end of turn and nobody hears it."""
    folder = copied(base, tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()
    (folder / "generation_config.json").unlink()
    results, gate = evaluated(folder)
    found, stops = verdicts(gate), next(m for m in results["measures"] if m["key"] == "stops_by_itself")
    assert stops["values"]["base"]["value"] > 0.8
    assert gate["verdict"] == "fail" and found["stops_by_itself"] == "fail"
    assert found["bits_per_byte_en"] == "pass"  # running text has no frame to lose


def test_as_gguf_it_answers_and_ends_as_the_merged_model_does(tuned_gemma):
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed: it comes with the extra `llama`")
    found = {path.name: about for path, about in pipeline.gguf(tuned_gemma, ["q8_0", "q4_k_m"]).items()}
    assert list(found) == ["gemma-q8_0.gguf", "gemma-q4_k_m.gguf"]
    assert tuned_gemma.file("release", "gguf", "Modelfile").is_file() and not list(tuned_gemma.file("release").rglob("*.tmp*"))
    for about in found.values():
        assert about["architecture"] == "gemma3" and about["state"] == "right" and about["n"] == 10
        assert about["same_tokens"] == about["texts"] > 200
    assert found["gemma-q8_0.gguf"]["agreed"] > 0.5 and found["gemma-q8_0.gguf"]["same_answers"] >= 3
    assert found["gemma-q4_k_m.gguf"]["bytes"] < found["gemma-q8_0.gguf"]["bytes"]
