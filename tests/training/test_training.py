"""training: no token lost, loss where it should be, checks that speak, and resuming that changes nothing."""

import csv
from pathlib import Path

import pytest

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.run import Run
from alif_kit.languages import pack
from alif_kit.model import tiny_base
from alif_kit.training import order, preflight, trainer


class Letters:
    """A tokenizer of one token a letter: BOS 1, EOS 2, pad 0."""

    bos_token_id, eos_token_id, pad_token_id = 1, 2, 0
    bos_token, eos_token, chat_template = "<s>", "</s>", None

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [ord(c) for c in text]}


@pytest.fixture(scope="session")
def tokenizer():
    trainer.seam.prepare()
    texts = [d.text for d in pack.corpus("ur", "en", "train") + pack.corpus("ur", "ur", "train")]
    return tiny_base.train_tokenizer(texts)


def test_the_tokenizer_round_trips_urdu_and_knows_its_ends(tokenizer):
    text = "“کیا” آپ — ۱۲۳ نئے؟ hello\u200cہاں 😀"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    preflight.check_tokenizer(tokenizer)


def small_run(path: Path) -> Run:
    """Eight steps of pretraining, a checkpoint every three."""
    settings = {"pretrain.max_steps": 8, "pretrain.save_steps": 3, "pretrain.batch_size": 2, "pretrain.warmup_steps": 2}
    return Run.open(path, config.load("smoke", settings))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = small_run(tmp_path_factory.mktemp("whole") / "r")
    trainer.pretrain(run)
    return run


def weights(run):
    return run.file("pretrain", "adapter", "adapter_model.safetensors").read_bytes()


def stop_at(monkeypatch, step, during_save=False):
    """Make training stop dead at a step, as a kill would: in a step, or half-way through saving."""
    from transformers import Trainer

    original = Trainer._save_checkpoint if during_save else Trainer.training_step

    def stopping(self, *args, **kwargs):
        if during_save:
            (Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}").mkdir(parents=True)
        if self.state.global_step == step:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, original.__name__, stopping)


@pytest.mark.parametrize("step, during_save", [(1, False), (4, False), (6, True)])
def test_stopped_and_resumed_equals_uninterrupted(uninterrupted, tmp_path, monkeypatch, step, during_save):
    run = small_run(tmp_path / "r")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, step, during_save)
        trainer.pretrain(run)
    assert not run.done("pretrain")
    trainer.pretrain(run)
    assert weights(run) == weights(uninterrupted)
    assert run.file("pretrain", "metrics.csv").read_text() == uninterrupted.file("pretrain", "metrics.csv").read_text()


def test_the_stage_leaves_its_files_and_is_not_repeated(uninterrupted):
    names = {path.name for path in uninterrupted.file("pretrain").iterdir()}
    assert {"adapter", "metrics.csv", "summary.json"} <= names and not any(n.startswith("checkpoint") for n in names)
    adapter = {path.name for path in uninterrupted.file("pretrain", "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= adapter
    before = weights(uninterrupted)
    assert trainer.pretrain(uninterrupted)["steps"] == 8
    assert weights(uninterrupted) == before and len(uninterrupted.ledger()) == 1


def test_the_embeddings_have_their_own_learning_rate(tmp_path):
    settings = config.load("smoke", {"pretrain.embedding_learning_rate": 1e-4})
    loaded = trainer.load_base(settings)
    trainer.seam.attach(loaded, settings)
    made = trainer._trainer(settings, settings.pretrain, loaded, order.as_data([[1, 5, 2]]), None, tmp_path)
    made.create_optimizer()
    rates = {group["lr"] for group in made.optimizer.param_groups}
    assert rates == {2e-3, 1e-4}
    assert preflight.check_trainable(loaded.model, "full")["trained_vocabulary_matrices"] == 2
    with pytest.raises(UserError, match="lora.train_vocab is none"):
        preflight.check_trainable(loaded.model, "none")


def test_metrics_have_every_step(uninterrupted):
    rows = list(csv.DictReader(uninterrupted.file("pretrain", "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(1, 9))
    assert float(rows[1]["learning_rate"]) > 0


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), (True, False)), ((8, 0), (False, True)), ((9, 0), (False, True))])
def test_precision_follows_the_card(monkeypatch, tmp_path, capability, expected):
    """On a card Unsloth replaces torch.cuda.is_bf16_supported by a function without arguments, so it is not asked."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    settings = config.load("t4")
    found = trainer._arguments(settings, settings.pretrain, tmp_path, torch.float16)
    assert found["padding_free"] is False
    assert (found["fp16"], found["bf16"]) == expected
