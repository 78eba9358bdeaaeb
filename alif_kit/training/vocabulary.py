"""training: which rows of the vocabulary a language uses, so that only those need be trained.

In: a tokenizer and texts of the language. Out: token ids. On a T4 the two vocabulary matrices are what does not fit: Llama-3.1's
have 525 million parameters each and are kept in float32 when trained, while Urdu text uses a few thousand of their 128,256 rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from alif_kit.core import Run, UserError
from alif_kit.core.records import write_json
from alif_kit.corpus import blocks
from alif_kit.model import checkpoint
from alif_kit.model.chat_format import frame_ids
from alif_kit.training import parallel


def rows_in_use(tokenizer: Any, texts: Iterable[str], coverage: float, frame: Iterable[int] = (), size: int = 10**9) -> list[int]:
    """Ids of the fewest tokens that make up `coverage` of the texts' tokens, of all special tokens and of the frame, in order.

    `size`: rows of the matrix; Gemma-3's tokenizer lists one token beyond it, `<image_soft_token>`.

    Counts `aaab`, one letter a token, coverage 0.75: the row of `a` alone.
    """
    counts: Counter[int] = Counter()
    for text in texts:
        counts.update(tokenizer(text, add_special_tokens=False)["input_ids"])
    wanted, seen, rows = coverage * counts.total(), 0, {*tokenizer.all_special_ids, *frame}
    for token, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        if seen >= wanted:
            break
        rows.add(token)
        seen += count
    return sorted(row for row in rows if row < size)


def trained_rows(run: Run, tokenizer: Any, path: str, size: int) -> list[int]:
    """The rows to train of a run's base in `path`: those in use, and all that `alif fit --add` made, used often or not."""
    frame = {*frame_ids(tokenizer, run.config.base.chat_format), blocks.document_end(tokenizer), *checkpoint.new_rows(path)}
    return rows_in_use(tokenizer, blocks.training_texts(run), run.config.lora.vocab_coverage, frame, size)


def check_same(run: Run, stage: str, path: str) -> None:
    """Note a fitted base's vocabulary beside the checkpoints of a stage, whose shapes do not tell it from another of that size.

    Raises UserError where the stage was begun on another one.
    """
    noted, found = run.file(stage, checkpoint.FIT), checkpoint.beside(path, checkpoint.FIT)
    if noted.is_file() and checkpoint.read_json(noted) != found:
        raise UserError(
            f"{noted} says that this stage was begun on another vocabulary than {path} has; go on with the Python and the alif_kit "
            "that began it, or in a new --run folder"
        )
    if found and parallel.is_main():
        write_json(noted, found)
