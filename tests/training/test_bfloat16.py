"""On a CPU with bfloat16 products a base that is published so stays so; what is trained is float32, and resuming changes nothing."""

import pytest
import torch
from test_training import stop_at, weights

from alif_kit.core import config
from alif_kit.core.run import Run
from alif_kit.evaluation.generate import answer_all, text_nll
from alif_kit.model import tiny_base
from alif_kit.model import unsloth as seam
from alif_kit.training import trainer


@pytest.fixture(scope="module")
def published_in_bfloat16(tmp_path_factory):
    """The demonstration's toy, its weights in bfloat16, as bases of the Hub have them."""
    seam.prepare()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, toy = tmp_path_factory.mktemp("base"), tiny_base.build("ur", 3407)
    AutoModelForCausalLM.from_pretrained(toy, dtype=torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(toy).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("products, dtype", [(True, torch.bfloat16), (False, torch.float32)])
def test_the_base_is_kept_in_what_the_cpu_multiplies(published_in_bfloat16, monkeypatch, products, dtype):
    monkeypatch.setattr(seam, "bfloat16_products", lambda: products)
    settings = config.load("smoke", {"base.model": str(published_in_bfloat16)})
    loaded = trainer.load_base(settings)
    assert loaded.model.dtype is dtype
    assert trainer.load_base(config.load("smoke")).model.dtype is torch.float32


def small_run(path, base, train_vocab):
    named = {"base.model": str(base), "lora.train_vocab": train_vocab}
    steps = {"pretrain.max_steps": 4, "pretrain.save_steps": 2, "pretrain.batch_size": 2, "pretrain.warmup_steps": 1}
    return Run.open(path, config.load("smoke", named | steps))


@pytest.mark.parametrize("train_vocab", ["none", "rows", "full"])
def test_resumed_equals_uninterrupted(published_in_bfloat16, tmp_path, monkeypatch, train_vocab):
    from safetensors.torch import load_file

    monkeypatch.setattr(seam, "bfloat16_products", lambda: True)
    whole, run = (small_run(tmp_path / name, published_in_bfloat16, train_vocab) for name in ("whole", "resumed"))
    trainer.pretrain(whole)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 3)
        trainer.pretrain(run)
    trainer.pretrain(run)
    assert weights(run) == weights(whole)
    assert run.file("pretrain", "metrics.csv").read_text() == whole.file("pretrain", "metrics.csv").read_text()
    kinds = {tensor.dtype for tensor in load_file(run.file("pretrain", "adapter", "adapter_model.safetensors")).values()}
    assert kinds == {torch.float32}
    answers_and_likelihoods_come_from(run)


def answers_and_likelihoods_come_from(run):
    """What is trained is float32 beside a base in bfloat16: neither a plain `generate` nor a forward pass may trip over it."""
    loaded = seam.load(run.config.base, run.config.base.model, run.file("pretrain", "adapter"))
    assert loaded.model.dtype is torch.bfloat16
    assert answer_all(loaded, ["پاکستان", "The river"], 4, 2)[1].tokens > 0
    assert 0 < text_nll(loaded, "دریا کے کنارے ایک گاؤں آباد تھا۔", 64) < 400
