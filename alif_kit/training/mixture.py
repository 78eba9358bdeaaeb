"""training: the accepted examples as rows of tokens for fine-tuning, loss on the answers only.

In: data/train.jsonl. Out: rows of token ids; a row longer than the limit is listed and left out, never cut in silence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alif_kit.chat_format import training_text
from alif_kit.config import Config
from alif_kit.errors import UserError
from alif_kit.records import Example, read_jsonl


def finetuning_rows(config: Config, tokenizer: Any, path: Path) -> tuple[list[list[int]], dict[str, Any]]:
    """Token ids of every example that fits, and the counts; ids of the longer ones are in `too_long`."""
    rows, too_long = [], []
    for example in read_jsonl(path, Example):
        text = training_text(example, tokenizer, config.base.chat_format)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) > config.base.max_seq_length:
            too_long.append(example.id)
        else:
            rows.append(ids)
    if not rows:
        raise UserError(f"{path} has no example within base.max_seq_length = {config.base.max_seq_length} tokens; raise it")
    return rows, {"rows": len(rows), "too_long": too_long, "tokens": sum(map(len, rows))}
