"""The gate on real weights: SmolLM2 against itself, against itself with noise in its weights, and without its chat template."""

import json
import shutil

import pytest

from alif_kit import pipeline
from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.run import Run
from alif_kit.model import smollm2

pytestmark = pytest.mark.slow

# Enough examples for large losses to be sure, few enough for a CPU; English bits per byte and stopping are where a small model is good.
SETTINGS = {
    "base.load_in_4bit": False,
    "base.max_seq_length": 2048,
    "evaluation.max_examples": 14,
    "evaluation.max_new_tokens": 24,
    "evaluation.batch_size": 14,
    "gate.min_examples": 14,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    try:
        smollm2.gguf_file()
    except UserError as reason:
        pytest.skip(str(reason))
    return smollm2.build()


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


def test_a_lost_chat_template_fails_for_what_it_breaks(evaluated, base, tmp_path):
    folder = copied(base, tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()
    _, gate = evaluated(folder)
    found = verdicts(gate)
    assert gate["verdict"] == "fail" and found["unparsed"] == "fail"
    assert found["bits_per_byte_en"] == "pass"  # running text has no template to lose
