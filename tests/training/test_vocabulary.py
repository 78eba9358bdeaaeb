"""vocabulary rows: only those a language uses are trained, they survive saving, resuming and merging, at their own rate."""

import json
import shutil

import pytest

from alif_kit.core import config
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.core.run import Run
from alif_kit.model import checkpoint, merging, tiny_base
from alif_kit.model import unsloth as model
from alif_kit.synth.demo.teacher import DemoTeacher
from alif_kit.training import preflight, trainer

STEPS = {"pretrain.max_steps": 5, "pretrain.save_steps": 2, "pretrain.batch_size": 2, "pretrain.warmup_steps": 1}
ROWS = {"lora.train_vocab": "rows", "lora.vocab_coverage": 0.9}


def small(path, **changes):
    return Run.open(path, config.load("smoke", {**STEPS, **changes}))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    run = small(tmp_path_factory.mktemp("rows") / "r", **ROWS)
    trainer.pretrain(run)
    return run


def weights(run):
    from safetensors.torch import load_file

    return load_file(run.file("pretrain/adapter/adapter_model.safetensors"))


def logits(loaded, text="پاکستان کے شمال میں"):
    import torch

    ids = torch.tensor([loaded.tokenizer(text)["input_ids"]], device=loaded.device)
    with torch.no_grad():
        return loaded.model(input_ids=ids).logits.float()


def test_only_the_rows_in_use_are_trained(rows):
    chosen = json.loads(rows.file("pretrain/adapter/adapter_config.json").read_text())["trainable_token_indices"]
    assert set(chosen) == {"embed_tokens", "lm_head"}
    trained = {name: tensor for name, tensor in weights(rows).items() if "lora_" not in name}
    assert len(trained) == 2
    assert all(tensor.shape[0] == len(chosen["embed_tokens"]) < 3072 for tensor in trained.values())
    summary = json.loads(rows.file("pretrain/summary.json").read_text())
    lora = sum(t.numel() for name, t in weights(rows).items() if "lora_" in name)
    assert summary["trainable_parameters"] == lora + sum(t.numel() for t in trained.values())


def test_interrupted_rows_equal_uninterrupted_ones(rows, tmp_path):
    run = small(tmp_path / "r", **ROWS, **{"session.hours": 1e-9})
    with pytest.raises(StoppedError):
        trainer.pretrain(run)
    run = small(tmp_path / "r", **ROWS)
    trainer.pretrain(run)
    names = ("pretrain/adapter/adapter_model.safetensors", "pretrain/metrics.csv")
    assert [run.file(n).read_bytes() for n in names] == [rows.file(n).read_bytes() for n in names]


@pytest.mark.parametrize(
    "changes", [ROWS, {"lora.train_vocab": "full"}, {"lora.train_vocab": "none"}], ids=["rows", "full", "none"]
)
def test_the_merged_model_says_what_the_adapter_says(rows, tmp_path, monkeypatch, changes):
    from dataclasses import replace

    monkeypatch.setattr(model, "bfloat16_products", lambda: False)  # merged weights are bfloat16; here alike on every CPU
    run = rows if changes is ROWS else small(tmp_path / "r", **changes)
    trainer.pretrain(run)
    path = trainer.base_path(run.config)
    sixteen = replace(run.config.base, load_in_4bit=False)
    adapted = logits(model.load(sixteen, path, run.file("pretrain", "adapter")))
    merging.merge(checkpoint.look(path), run.file("pretrain", "adapter"), tmp_path / "merged", "native", lambda *said: None)
    merged = logits(model.load(sixteen, tmp_path / "merged"))
    base = logits(model.load(sixteen, path))
    assert (adapted - merged).abs().max() < 0.02 < 5 * (adapted - merged).abs().max() < (adapted - base).abs().max()


def test_fine_tuning_takes_the_rows_on(rows):
    loaded = trainer.load_base(rows.config)
    model.continue_adapter(loaded, rows.config, rows.file("pretrain", "adapter"))
    named = dict(loaded.model.named_parameters())
    saved = {name: tensor for name, tensor in weights(rows).items() if "lora_" not in name}
    for name, tensor in saved.items():
        own = next(p for n, p in named.items() if name.split(".token_adapter")[0].split(".")[-1] in n and model.ROW_WEIGHT in n)
        assert own.requires_grad and (own.detach().float() - tensor.float()).abs().max() == 0


def test_a_fresh_adapter_on_the_merged_model(tmp_path):
    targets = {"synth.targets": {"qa": 8}, "finetune.max_steps": 2, "finetune.batch_size": 2, "lora.after_pretraining": "merge"}
    with DemoTeacher():
        from alif_kit import pipeline

        run = small(tmp_path / "r", **targets, **{"evaluation.max_examples": 1, "evaluation.max_new_tokens": 4})
        pipeline.walk(run)
    assert run.file("pretrain", "merged", "config.json").is_file() and run.file("report.html").is_file()
    from alif_kit.evaluation import summary

    results = json.loads(run.file("evaluation", "results.json").read_text())
    assert summary.value(results, "bits_per_byte_ur", "pretrain") != summary.value(results, "bits_per_byte_ur", "finetune")


def test_a_quantised_base_is_refused_before_the_hours_that_a_merge_would_throw_away(tmp_path):
    base = shutil.copytree(trainer.base_path(config.load("smoke")), tmp_path / "base")
    said = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(said | {"quantization_config": {"quant_method": "bitsandbytes"}}))
    run = small(tmp_path / "r", **{"base.model": str(base), "lora.after_pretraining": "merge"})
    with pytest.raises(UserError, match=r"is quantised already \(bitsandbytes\), .* name the same model in 16 bit"):
        trainer.pretrain(run)
    assert not run.file("pretrain").exists()


def test_a_quantised_base_that_nothing_merges_yet_is_named_before_training(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"model_type": "llama", "quantization_config": {"quant_method": "bitsandbytes"}}')
    preflight.check_mergeable(str(tmp_path), must=False)
    said = capsys.readouterr().err
    assert said.startswith("before `alif merge`: base ") and "is quantised already (bitsandbytes), and nothing merges" in said
    with pytest.raises(UserError, match="is quantised already"):
        preflight.check_mergeable(str(tmp_path), must=True)
    preflight.check_mergeable(trainer.base_path(config.load("smoke")), must=True)
    preflight.check_mergeable(str(tmp_path / "nowhere"), must=True)
    assert capsys.readouterr().err == ""


def test_rows_are_trained_where_unsloth_froze_them(rows, monkeypatch):
    """On a card its get_peft_model freezes whatever is no LoRA matrix; here that is done to it on the CPU."""
    unsloth = model.prepare()
    attach = unsloth.FastLanguageModel.get_peft_model

    def freezing(*args, **options):
        made = attach(*args, **options)
        for name, parameter in made.named_parameters():
            parameter.requires_grad_("lora_" in name)
        return made

    monkeypatch.setattr(unsloth.FastLanguageModel, "get_peft_model", staticmethod(freezing))
    loaded = model.load(rows.config.base, tiny_base.build("ur", rows.config.seed))
    model.attach(loaded, rows.config, [5, 6, 7])
    trained = [name for name, parameter in loaded.model.named_parameters() if parameter.requires_grad]
    assert any("trainable_tokens_delta" in name for name in trained) and any("lora_A" in name for name in trained)
