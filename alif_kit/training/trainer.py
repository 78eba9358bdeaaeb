"""training: the two stages, continued pretraining and fine-tuning, through Unsloth's trainer, resumable at any step.

In: the run's configuration, the pack's corpus or data/train.jsonl. Out: pretrain/ and finetune/, each with checkpoints
while it runs, metrics.csv, and adapter/ at its end. Fine-tuning continues the adapter of pretraining, as in the paper.

A checkpoint counts only once a marker beside it is written: a kill in the middle of saving leaves one that is thrown away.
"""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import Any

from alif_kit import model as seam
from alif_kit.chat_format import response_markers
from alif_kit.config import Config, Optimisation
from alif_kit.progress import Update, bar
from alif_kit.records import write_atomic, write_json
from alif_kit.run_folder import Run
from alif_kit.training import corpus, mixture, preflight, tiny_base

MARKER = "complete.json"
COLUMNS = ("step", "epoch", "loss", "learning_rate", "grad_norm")


def pretrain(run: Run) -> dict[str, Any]:
    """Continued pretraining on running text. Returns the stage's summary; a finished stage is not repeated."""
    if run.done("pretrain"):
        return _summary(run, "pretrain")
    with run.stage("pretrain") as facts:
        loaded = load_base(run.config)
        seam.attach(loaded, run.config)
        rows, counts = corpus.pretraining_rows(run.config, loaded.tokenizer)
        return _train(run, "pretrain", run.config.pretrain, loaded, rows, counts, facts)


def finetune(run: Run) -> dict[str, Any]:
    """Fine-tuning on data/train.jsonl, loss on the answers only, continuing the pretrained adapter."""
    if run.done("finetune"):
        return _summary(run, "finetune")
    data = run.require("data", "train.jsonl", stage="generate")
    adapter = run.require("pretrain", "adapter", stage="pretrain")
    with run.stage("finetune") as facts:
        loaded = load_base(run.config)
        seam.continue_adapter(loaded, run.config, adapter)
        rows, counts = mixture.finetuning_rows(run.config, loaded.tokenizer, data)
        return _train(run, "finetune", run.config.finetune, loaded, rows, counts, facts)


def load_base(config: Config) -> seam.Loaded:
    """The configured base, built or found, ready for an adapter."""
    seam.prepare()
    path = tiny_base.resolve(config.base.model, config.language, config.seed)
    return seam.load(config.base, path)


def _train(
    run: Run,
    stage: str,
    opt: Optimisation,
    loaded: seam.Loaded,
    rows: list[list[int]],
    counts: dict[str, Any],
    facts: dict[str, Any],
) -> dict[str, Any]:
    folder = run.file(stage)
    preflight.check_tokenizer(loaded.tokenizer)
    trainer = _trainer(run.config, opt, loaded, rows, folder)
    if stage == "finetune":
        trainer = seam.mask_prompts(trainer, *response_markers(loaded.tokenizer, run.config.base.chat_format))
    checks = preflight.check_rows(list(trainer.train_dataset), loaded.tokenizer, ends_with_eos=stage == "finetune")
    checks |= preflight.check_trainable(loaded.model, run.config.lora.train_vocab)
    resumed = last_checkpoint(folder)
    with bar(stage, 0) as update:
        trainer.add_callback(_callback(folder, update))
        outcome = trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    _save_adapter(loaded, folder)
    _write_metrics(folder, trainer.state.log_history)
    summary = {
        **counts,
        **checks,
        "steps": trainer.state.global_step,
        "final_loss": _last_loss(trainer.state.log_history),
    }
    write_json(folder / "summary.json", summary)
    facts |= {"device": loaded.device, "tokens_in": round(counts["tokens"] * outcome.metrics["epoch"])}
    _remove_checkpoints(folder)
    return summary


def _trainer(config: Config, opt: Optimisation, loaded: seam.Loaded, rows: list[list[int]], folder: Path) -> Any:
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback

    trainer_class, arguments_class = seam.trainer_classes()
    on_gpu = torch.cuda.is_available()
    bf16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    arguments = arguments_class(
        output_dir=str(folder),
        num_train_epochs=opt.epochs,
        max_steps=opt.max_steps,
        learning_rate=opt.learning_rate,
        embedding_learning_rate=opt.embedding_learning_rate if config.lora.train_vocab != "none" else None,
        weight_decay=opt.weight_decay,
        warmup_steps=opt.warmup_steps,
        lr_scheduler_type="cosine",
        per_device_train_batch_size=opt.batch_size,
        gradient_accumulation_steps=opt.gradient_accumulation,
        optim=opt.optimiser,
        fp16=on_gpu and not bf16,
        bf16=bf16,
        logging_steps=1,
        save_steps=opt.save_steps,
        save_total_limit=2,
        seed=config.seed,
        report_to=[],
        disable_tqdm=True,
        packing=False,
        max_length=config.base.max_seq_length,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    data = Dataset.from_dict({"input_ids": rows, "labels": rows})
    trainer = trainer_class(model=loaded.model, processing_class=loaded.tokenizer, train_dataset=data, args=arguments)
    seam.train_in_float32(loaded.model)
    trainer.remove_callback(PrinterCallback)  # the progress bar says it better
    return trainer


def _callback(folder: Path, update: Update) -> Any:
    """Marks whole checkpoints, keeps metrics.csv up to date, moves the progress bar."""
    from transformers import TrainerCallback

    class StageCallback(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            write_json(folder / f"checkpoint-{state.global_step}" / MARKER, {"step": state.global_step})
            _write_metrics(folder, state.log_history)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            if "loss" in logs:
                update(state.global_step, f"loss {float(logs['loss']):.3f}", state.max_steps)

    return StageCallback()


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; half-written ones are removed."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        if (path / MARKER).is_file():
            whole.append(path)
        else:
            shutil.rmtree(path)
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def _remove_checkpoints(folder: Path) -> None:
    for path in folder.glob("checkpoint-*"):
        shutil.rmtree(path)


def _save_adapter(loaded: seam.Loaded, folder: Path) -> None:
    partial = folder / "adapter.partial"
    shutil.rmtree(partial, ignore_errors=True)
    seam.save_adapter(loaded, partial)
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    partial.rename(folder / "adapter")


def _write_metrics(folder: Path, history: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(line for line in history if "loss" in line)
    write_atomic(folder / "metrics.csv", text.getvalue())


def _last_loss(history: list[dict[str, Any]]) -> float:
    losses = [line["loss"] for line in history if "loss" in line]
    return round(losses[-1], 4)


def _summary(run: Run, stage: str) -> dict[str, Any]:
    import json

    return json.loads(run.file(stage, "summary.json").read_text("utf-8"))
