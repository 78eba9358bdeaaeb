"""training: what is checked before the first step, each with a message that says what was found, expected, and to change.

In: the card, the tokenizer, the rows a trainer will see (`input_ids`, `labels`), its model and optimiser, the folder. Out: a few
figures to print, or UserError.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from alif_kit.core import UserError
from alif_kit.model.chat_format import check_template
from alif_kit.model.places import refuse_quantised
from alif_kit.model.unsloth import VOCAB_MODULES
from alif_kit.planner.memory import GIB
from alif_kit.platforms.machine import OLDEST, Gpu

IGNORED = -100

Rows = Iterable[dict[str, list[int]]]
"""`input_ids` and `labels` of each; read once, one at a time."""


ON_A_CPU = ("smoke", "cpu")


def check_gpu(gpu: Gpu | None, preset: str) -> str:
    """A warning to print, or "" when the card will do. Raises UserError for a card that today's torch has left behind."""
    if gpu is None and preset in ON_A_CPU:
        return ""
    if gpu is None:
        return f"no CUDA card was found and the preset is {preset}; a CPU is for `smoke` and `cpu`: training takes weeks, use a T4"
    if gpu.capability < OLDEST:
        found = ".".join(map(str, gpu.capability))
        raise UserError(
            f"{gpu.name} has compute capability {found}; today's torch expects 7.0 or later: on Kaggle choose Settings, "
            "Accelerator, GPU T4 x2; elsewhere a T4 or newer"
        )
    return ""


def check_tokenizer(tokenizer: Any) -> None:
    """EOS must exist and padding must not be EOS: else the model never learns to stop."""
    if tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no EOS token; answers could not end: choose another base")
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise UserError("the pad token is missing or equals EOS, which would mask EOS from the loss; set another pad_token")


def check_mergeable(path: str, *, must: bool) -> None:
    """A base that nothing merges into is refused where the run will merge, and named where it may: hours are left to change it.

    `path`: its folder or Hub id. `must`: whether the run merges by itself (lora.after_pretraining). Raises UserError.
    """
    from transformers import PretrainedConfig

    with contextlib.suppress(OSError):  # loading it says what is wrong
        try:
            refuse_quantised(path, PretrainedConfig.get_config_dict(path)[0])
        except UserError as error:
            if must:
                raise
            print(f"before `alif merge`: {error}", file=sys.stderr)


def check_frame(tokenizer: Any, chat_format: str) -> None:
    """Raises UserError where the base's template teaches other texts than it asks for (chat_format.check_template)."""
    if chat_format == "native":
        check_template(tokenizer)


def check_rows(rows: Rows, tokenizer: Any, *, ends_with_eos: bool, length: int = 0, ends: Collection[int] = ()) -> dict[str, Any]:
    """One BOS per row at most, some label left to learn, nothing too long, and EOS where an answer ends.

    `ends_with_eos`: every row must have EOS, or another of `ends` (`chat_format.answer_ends`), under the loss. `length`: the
    longest a row may be, 0 for any. Returns the share of labels under the loss and the longest row in tokens.
    """
    ends = {tokenizer.eos_token_id, *ends}
    total = learnt = longest = 0
    too_long: list[int] = []
    for number, row in enumerate(rows):
        ids, kept = row["input_ids"], [label for label in row["labels"] if label != IGNORED]
        _check_row(number, ids, kept, tokenizer, ends if ends_with_eos else set(kept))
        if length and len(ids) > length:
            too_long.append(number)
        total, learnt, longest = total + len(ids), learnt + len(kept), max(longest, len(ids))
    if not total:
        raise UserError("there is no row to train on; expected at least one: check corpus.source or mixture.sources")
    if too_long:
        some = ", ".join(map(str, too_long[:10])) + (", …" if len(too_long) > 10 else "")
        raise UserError(
            f"{len(too_long)} rows are longer than {length} tokens, the longest {longest} (rows {some}), and would be cut; raise "
            "base.max_seq_length or leave them out"
        )
    return {"loss_share": round(learnt / total, 4), "longest_row": longest}


def _check_row(number: int, ids: list[int], kept: list[int], tokenizer: Any, ends: set[int]) -> None:
    """`kept` are the labels under the loss, of which one must be in `ends`."""
    bos = tokenizer.bos_token_id
    if bos is not None and bos != tokenizer.eos_token_id and (ids.count(bos) != 1 or ids[0] != bos):
        raise UserError(f"row {number} has {ids.count(bos)} BOS tokens; expected exactly one, at its start")
    if not kept:
        raise UserError(f"row {number} has no label under the loss; the answer marker was not found: check base.chat_format")
    if ends.isdisjoint(kept):
        raise UserError(f"row {number} has no EOS under the loss; the model would not learn to stop: check the chat template")


def check_trainable(model: Any, train_vocab: str, target_modules: Collection[str] = ()) -> dict[str, int]:
    """The adapter on every target module, and the vocabulary as far as asked for, must be trainable; nothing else by accident.

    `rows` trains peft's `trainable_tokens_delta`, a few rows beside the frozen matrix; `full` the matrices themselves.
    """
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    adapters = [name for name in trained if "lora_" in name]
    if not adapters:
        raise UserError("no LoRA weight is trainable; check lora.target_modules against the base's layer names")
    if absent := [module for module in target_modules if not any(f".{module}." in name for name in adapters)]:
        raise UserError(f"{absent[0]} has no trainable LoRA weight; check lora.target_modules against the base's layer names")
    vocabulary = vocabulary_parameters(trained)
    found = "none" if not vocabulary else "rows" if all("trainable_tokens" in name for name in vocabulary) else "full"
    if found != train_vocab:
        raise UserError(
            f"lora.train_vocab is {train_vocab}, but of the vocabulary {found} is trainable ({len(vocabulary)} matrices)"
        )
    return {"trainable_parameters": sum(trained.values()), "trained_vocabulary_matrices": len(vocabulary)}


def vocabulary_parameters(names: Iterable[str]) -> list[str]:
    """Those that belong to embed_tokens or lm_head and are no LoRA matrices."""
    return [name for name in names if any(part in name.split(".") for part in VOCAB_MODULES) and "lora_" not in name]


def check_embedding_rate(model: Any, optimiser: Any, embedding_learning_rate: float) -> None:
    """Trained vocabulary weights must stand in groups of the optimiser by themselves, with a learning rate of their own."""
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    vocabulary = set(vocabulary_parameters(names.values()))
    for group in optimiser.param_groups:
        rate = group.get("initial_lr", group["lr"])  # a schedule's warm-up starts `lr` at 0
        inside = {names[id(p)] for p in group["params"] if id(p) in names}
        if inside & vocabulary and (inside - vocabulary or rate != embedding_learning_rate):
            others = f"with {len(inside - vocabulary)} other weights in its group"
            raise UserError(
                f"{sorted(inside & vocabulary)[0]} would learn at {rate:g}, {others}; expected {embedding_learning_rate:g} and a "
                "group of its own: pass embedding_learning_rate to the trainer"
            )


def check_disk(folder: Path, needed: int) -> int:
    """Free bytes where `folder` is or will be. Raises UserError when checkpoints of `needed` bytes would not fit."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise UserError(
            f"{place} has {free / GIB:.1f} GiB free, the checkpoints need {needed / GIB:.1f}; free some space, put --run on "
            "another disk, or lower lora.rank or lora.train_vocab"
        )
    return free


def check_memory(needed: int) -> int:
    """Bytes of host memory that can be had. Raises UserError when saving `needed` bytes would be killed for want of them."""
    import psutil

    free = psutil.virtual_memory().available
    if free < needed:
        raise UserError(
            f"{free / GIB:.1f} GiB of host memory are free, saving a checkpoint needs {needed / GIB:.1f}; close other notebooks, "
            "or lower lora.rank or lora.train_vocab"
        )
    return free
