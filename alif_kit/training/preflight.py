"""training: what is checked before the first step, each with a message that says what to change.

In: the rows a trainer will see (`input_ids`, `labels`) and its model. Out: a few figures to print, or UserError.
"""

from __future__ import annotations

from typing import Any

from alif_kit.errors import UserError

IGNORED = -100


def check_tokenizer(tokenizer: Any) -> None:
    """EOS must exist and padding must not be EOS: else the model never learns to stop."""
    if tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no EOS token; answers could not end: choose another base")
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise UserError("the pad token is missing or equals EOS, which would mask EOS from the loss; set another pad_token")


def check_rows(rows: list[dict[str, list[int]]], tokenizer: Any, *, ends_with_eos: bool) -> dict[str, float]:
    """One BOS per row at most, EOS where a row must end with it, and some label left to learn.

    Returns the share of labels under the loss and the longest row in tokens.
    """
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    for number, row in enumerate(rows):
        ids, labels = row["input_ids"], row["labels"]
        if bos is not None and bos != eos and (ids.count(bos) != 1 or ids[0] != bos):
            raise UserError(f"row {number} has {ids.count(bos)} BOS tokens; expected exactly one, at its start")
        if all(label == IGNORED for label in labels):
            raise UserError(f"row {number} has no label under the loss; the answer marker was not found: check base.chat_format")
        if ends_with_eos and eos not in [i for i, label in zip(ids, labels, strict=True) if label != IGNORED]:
            raise UserError(f"row {number} has no EOS under the loss; the model would not learn to stop")
    total = sum(len(row["labels"]) for row in rows)
    learnt = sum(label != IGNORED for row in rows for label in row["labels"])
    return {"loss_share": round(learnt / total, 4), "longest_row": max(len(row["input_ids"]) for row in rows)}


def check_trainable(model: Any, train_vocab: str) -> dict[str, int]:
    """The adapter, and the vocabulary if asked for, must be trainable; nothing is trained by accident."""
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    vocabulary = [name for name in names if "embed_tokens" in name or "lm_head" in name]
    if not any("lora_" in name for name in names):
        raise UserError("no LoRA weight is trainable; check lora.target_modules against the base's layer names")
    if bool(vocabulary) != (train_vocab == "full"):
        raise UserError(f"lora.train_vocab is {train_vocab}, but {len(vocabulary)} vocabulary matrices are trainable")
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {"trainable_parameters": trainable, "trained_vocabulary_matrices": len(vocabulary)}
