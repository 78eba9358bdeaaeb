"""training: the two stages, continued pretraining and fine-tuning, through Unsloth's trainer, resumable at any step.

In: the run's configuration, the corpus or data/train.jsonl and what is mixed with it. Out: pretrain/ and finetune/, each with
checkpoints while it runs, metrics.csv, and adapter/ at its end. Fine-tuning continues the adapter of pretraining, as in the
paper, or starts a fresh one on the merged model (lora.after_pretraining).

A checkpoint counts only once a marker beside it is written: a kill in the middle of saving leaves one that is thrown away.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alif_kit.core import Config, Run, StoppedError, UserError
from alif_kit.core.config import Optimisation
from alif_kit.core.errors import first_line
from alif_kit.core.progress import bar
from alif_kit.core.records import write_json
from alif_kit.core.run import latest_json
from alif_kit.corpus import blocks
from alif_kit.fitting.make import base_path
from alif_kit.model import checkpoint, merging
from alif_kit.model import unsloth as seam
from alif_kit.model.chat_format import answer_ends, response_markers
from alif_kit.planner import bases, budget
from alif_kit.planner.cards import card_here
from alif_kit.platforms import mirror
from alif_kit.platforms.machine import detect
from alif_kit.training import callback, conversations, mixture, parallel, preflight, show, vocabulary
from alif_kit.training.callback import Watch
from alif_kit.training.order import as_data, in_order


def pretrain(run: Run) -> dict[str, Any]:
    """Continued pretraining on running text. Returns the stage's summary; a finished stage is not repeated.

    Raises StoppedError when the session ends first: the same call goes on, here or where the mirror is.
    """
    if summary := _finished(run, "pretrain"):
        return summary
    _announce_missing(run)
    planned = plan_here(run.config, "pretrain")
    seam.prepare()
    with parallel.main_first():
        path = base_path(run.config)
    preflight.check_mergeable(path, must=run.config.lora.after_pretraining == "merge")
    bases.check_new_rows(path, len(checkpoint.new_rows(path)), run.config.lora.train_vocab)
    with _stage(run, "pretrain") as facts:
        loaded = load_base(run.config, path)
        vocabulary.check_same(run, "pretrain", path)
        with parallel.main_first():
            data, counts = blocks.pretraining_rows(run, loaded.tokenizer)
            held_out = blocks.held_out_rows(run, loaded.tokenizer) if run.config.pretrain.eval_steps else None
        _attach(run, loaded)
        return _train(Watch(run, "pretrain", planned), loaded, data, held_out, counts, facts)


def _announce_missing(run: Run) -> None:
    """Say which source of the fine-tuning after this stage is certain to be missing: hours are left to bring it."""
    try:
        missing = conversations.check(run)
    except UserError as error:
        print(f"before fine-tuning: {error}", file=sys.stderr)
    else:
        for name in missing:
            print(f"fine-tuning will go on without {name}, as mixture.skip_missing asks", file=sys.stderr)


def finetune(run: Run) -> dict[str, Any]:
    """Fine-tuning on data/train.jsonl and the mixture, loss on the answers only, after pretraining."""
    if summary := _finished(run, "finetune"):
        return summary
    run.require("data", "train.jsonl", stage="generate")
    adapter = run.require("pretrain", "adapter", stage="pretrain")
    planned = plan_here(run.config, "finetune")
    with _stage(run, "finetune") as facts:
        with parallel.main_first():
            path = base_path(run.config)
        checkpoint.check_vocabulary(adapter, path)
        vocabulary.check_same(run, "finetune", path)
        if run.config.lora.after_pretraining == "merge":
            with parallel.main_first():
                merged = merged_base(run, path)
            loaded = load_base(run.config, merged)
            _attach(run, loaded)
        else:
            loaded = load_base(run.config, path)
            seam.continue_adapter(loaded, run.config, adapter)
        rows, counts = mixture.finetuning_rows(run, loaded.tokenizer)
        if parallel.is_main():
            write_json(run.file("finetune", "mixture.json"), counts)
        held_out = mixture.held_out_rows(run, loaded.tokenizer) if run.config.finetune.eval_steps else None
        return _train(Watch(run, "finetune", planned), loaded, as_data(rows), held_out and as_data(held_out), counts, facts)


def _finished(run: Run, stage: str) -> dict[str, Any] | None:
    """The stage's summary if it has finished, here or where the mirror is; the same in every process, also while one is writing."""
    with parallel.main_first():
        if parallel.is_main():
            mirror.restore(run)
    done = run.done(stage)
    parallel.wait()
    return latest_json(run.file(stage, "summary.json")) if done else None


@contextlib.contextmanager
def _stage(run: Run, name: str) -> Iterator[dict[str, Any]]:
    """The ledger's line, one whatever the number of processes, and the mirror after it."""
    with run.stage(name) if parallel.is_main() else contextlib.nullcontext({}) as facts:
        yield facts
    if parallel.is_main():
        mirror.push(run)
    parallel.wait()


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` when the block is left without an error."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    yield partial
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def load_base(config: Config, path: str = "") -> seam.Loaded:
    """The base, ready for an adapter."""
    seam.prepare()
    with parallel.main_first():
        path = path or base_path(config)
    return seam.load(config.base, path)


def merged_base(run: Run, path: str) -> str:
    """The base with what pretraining learnt, merged once in 16 bit: what a fresh adapter stands on."""
    folder = run.file("pretrain", "merged")
    if not (folder / "config.json").is_file():
        with _whole(folder) as partial, bar("merge", 0) as update:
            merging.merge(checkpoint.look(path), run.file("pretrain", "adapter"), partial, run.config.base.chat_format, update)
    return str(folder)


def plan_here(config: Config, stage: str) -> budget.Plan | None:
    """What the planner says of this stage on the card that is here; None on a CPU. Raises UserError when it will not fit."""
    gpu = detect().gpu
    if warning := preflight.check_gpu(gpu, config.preset):
        print(warning, file=sys.stderr)
    if gpu is None:
        return None
    card, shape = card_here(gpu)[0], bases.find(config.base.model)
    planned = budget.plan(config, card, shape, stage=stage, hours=config.session.hours or 12.0)
    budget.check(planned, config, card, shape, stage)
    if parallel.is_main():
        needs = f"{planned.peak_vram_gib:.1f} of {planned.offered_gib:.1f} GiB"
        print(f"{stage}: {needs}, about {planned.speed} (rough); `alif plan` has the rest", file=sys.stderr)
    return planned


def _attach(run: Run, loaded: seam.Loaded) -> None:
    """A fresh adapter; where rows of the vocabulary are trained, those that the language uses."""
    rows, lora = None, run.config.lora
    if lora.train_vocab == "rows":
        size = loaded.model.get_input_embeddings().weight.shape[0]
        rows = vocabulary.trained_rows(run, loaded.tokenizer, base_path(run.config), size)
    seam.attach(loaded, run.config, rows)


def _train(
    watch: Watch, loaded: seam.Loaded, data: Any, held_out: Any, counts: dict[str, Any], facts: dict[str, Any]
) -> dict[str, Any]:
    """One stage on rows of token ids (datasets with the column input_ids), to its adapter and summary."""
    config, folder = watch.run.config, watch.folder
    opt = parallel.divided(watch.opt, folder.name, parallel.world_size())
    preflight.check_tokenizer(loaded.tokenizer)
    trainer = _trainer(config, opt, loaded, data, held_out, folder)
    if folder.name == "finetune":
        preflight.check_frame(loaded.tokenizer, config.base.chat_format)
        trainer = seam.mask_prompts(trainer, *response_markers(loaded.tokenizer, config.base.chat_format))
    checks = _preflight(trainer, loaded, watch)
    if parallel.is_main():
        show.first_example(trainer.train_dataset[0], loaded.tokenizer, folder.name, counts)
    watch.tokens_per_step = counts["tokens"] * watch.opt.batch_size * watch.opt.gradient_accumulation / len(data)
    with parallel.main_first():
        resumed = last_checkpoint(folder)
    _run_trainer(trainer, watch, resumed)
    return _leave(watch, loaded, trainer.state, {**counts, **checks}, facts)


def _leave(watch: Watch, loaded: seam.Loaded, state: Any, found: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """Adapter, metrics and summary of a finished stage, by the first process; the checkpoints go."""
    folder, config = watch.folder, watch.run.config
    short = {name: value for name, value in found.items() if not isinstance(value, dict)}
    losses = [line["loss"] for line in state.log_history if "loss" in line]
    summary = {**short, "steps": state.global_step, "final_loss": round(losses[-1], 4)}
    if not parallel.is_main():
        return summary
    with _whole(folder / "adapter") as partial:
        seam.save(loaded, partial)
        if fitted := checkpoint.beside(base_path(config), checkpoint.FIT):
            write_json(partial / checkpoint.FIT, fitted)
    callback.write_metrics(folder, state.log_history)
    facts |= {"device": loaded.device, "tokens_in": round(watch.tokens_per_step * state.global_step)}
    write_json(folder / "summary.json", summary)
    for path in folder.glob("checkpoint-*"):
        (path / mirror.MARKER).unlink(missing_ok=True)  # first, so that a kill in the middle leaves none that looks whole
        shutil.rmtree(path)
    return summary


def _preflight(trainer: Any, loaded: seam.Loaded, watch: Watch) -> dict[str, Any]:
    """All checks on what the trainer will see; a few figures to print."""
    config, answers = watch.run.config, watch.folder.name == "finetune"
    rows = ({"input_ids": row["input_ids"], "labels": row.get("labels", row["input_ids"])} for row in trainer.train_dataset)
    ends = answer_ends(loaded.tokenizer, config.base.chat_format) if answers else ()
    checks = preflight.check_rows(rows, loaded.tokenizer, ends_with_eos=answers, length=config.base.max_seq_length, ends=ends)
    checks |= preflight.check_trainable(loaded.model, config.lora.train_vocab, config.lora.target_modules)
    checkpoint = 12 * checks["trainable_parameters"]  # float32 weights and two moments of Adam
    preflight.check_disk(watch.folder, 3 * checkpoint)
    preflight.check_memory(checkpoint)
    return checks


def _run_trainer(trainer: Any, watch: Watch, resumed: Path | None) -> None:
    """Train from a checkpoint or the start. Raises StoppedError when the session ended first, with the checkpoint saved."""
    import torch

    shown = bar(watch.folder.name, 0) if parallel.is_main() else contextlib.nullcontext(lambda *_: None)
    with shown as update, watch.signals():
        trainer.add_callback(callback.make(watch, update))
        try:
            trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        except torch.OutOfMemoryError as error:
            raise StoppedError(_memory_advice(watch, error)) from None
    if watch.reason and trainer.state.global_step < trainer.state.max_steps:
        step, last = trainer.state.global_step, trainer.state.max_steps
        raise StoppedError(f"{watch.folder.name} stopped at step {step} of {last}: {watch.reason}; saved, run again to go on")


def _memory_advice(watch: Watch, error: Exception) -> str:
    """What was planned by part, and the settings that need less."""
    stage, opt = watch.folder.name, watch.opt
    half = max(1, opt.batch_size // 2)
    steps = opt.gradient_accumulation * opt.batch_size // half
    parts = ", ".join(f"{name} {gib:.1f}" for name, gib in watch.planned.parts.items()) if watch.planned else "not planned on a CPU"
    said = first_line(error)[:120]
    return (
        f"the GPU is out of memory ({said}; planned GiB: {parts}); the last checkpoint in {watch.folder} is kept. In a new run set "
        f"{stage}.batch_size={half} and {stage}.gradient_accumulation={steps}, or a smaller base.max_seq_length; "
        "`alif plan` says what fits"
    )


def _trainer(config: Config, opt: Optimisation, loaded: seam.Loaded, data: Any, held_out: Any, folder: Path) -> Any:
    from transformers import PrinterCallback

    trainer_class, arguments_class = seam.trainer_classes()
    arguments = arguments_class(**_arguments(config, opt, folder, seam.precision(loaded.model)))
    data = {"train_dataset": in_order(data, opt, config.seed), "eval_dataset": held_out}
    trainer = trainer_class(model=loaded.model, processing_class=loaded.tokenizer, args=arguments, **data)
    seam.train_in_float32(loaded.model)
    if config.lora.train_vocab == "rows":
        seam.rows_at_their_own_rate(trainer, opt.embedding_learning_rate)
    trainer.remove_callback(PrinterCallback)  # the progress bar says it better
    return trainer


def _arguments(config: Config, opt: Optimisation, folder: Path, precision: Any) -> dict[str, Any]:
    import torch

    on_gpu = torch.cuda.is_available()
    # A T4 only emulates bfloat16; a CPU that does has its base in float32.
    bf16 = torch.cuda.get_device_capability()[0] >= 8 if on_gpu else precision is torch.bfloat16
    lengths = {"max_length": config.base.max_seq_length, "packing": False, "dataset_kwargs": {"skip_prepare_dataset": True}}
    lengths["padding_free"] = False  # left open, Unsloth switches it on by itself on some cards, and batches differ from here
    # The rows of all epochs stand in the data, each epoch in an order of its own.
    steps = {"num_train_epochs": 1, "train_sampling_strategy": "sequential", "max_steps": opt.max_steps, "seed": config.seed}
    batches = {"per_device_train_batch_size": opt.batch_size, "gradient_accumulation_steps": opt.gradient_accumulation}
    embedding_rate = opt.embedding_learning_rate if config.lora.train_vocab == "full" else None
    rates = {"learning_rate": opt.learning_rate, "embedding_learning_rate": embedding_rate, "weight_decay": opt.weight_decay}
    schedule = {"optim": opt.optimiser, "warmup_steps": opt.warmup_steps, "lr_scheduler_type": "cosine"}
    # A CPU has memory for the activations, and recomputing them takes a third of the time.
    card = {"fp16": on_gpu and not bf16, "bf16": bf16, "gradient_checkpointing": on_gpu}
    saved = {"output_dir": str(folder), "save_steps": opt.save_steps, "save_total_limit": 2}
    judged = {"eval_strategy": "steps" if opt.eval_steps else "no", "eval_steps": opt.eval_steps or None}
    judged |= {"per_device_eval_batch_size": opt.batch_size, "prediction_loss_only": True}
    said = {"logging_steps": 1, "report_to": list(config.session.trackers), "disable_tqdm": True}
    return {**lengths, **steps, **batches, **rates, **schedule, **card, **saved, **judged, **said}


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; half-written ones are removed."""
    for path in folder.glob("checkpoint-*"):
        if not (path / mirror.MARKER).is_file():
            shutil.rmtree(path)
    return max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), default=None)
