"""training: running text as rows of tokens for continued pretraining.

In: documents of the language and of English (replay). Out: rows of at most `length` token ids. Documents follow one another,
each ended by EOS, and are cut where a row is full, so no token is lost; each row opens with BOS where the tokenizer has one.

    documents "ab", "c" and length 4, one letter a token:   [BOS a b EOS] [BOS c EOS]
"""

from __future__ import annotations

import random
from typing import Any

from alif_kit import pack
from alif_kit.config import Config
from alif_kit.records import Document


def page_text(document: Document) -> str:
    """Title, blank line, text."""
    return f"{document.title}\n\n{document.text}" if document.title else document.text


def blocks(documents: list[Document], tokenizer: Any, length: int) -> list[list[int]]:
    """Rows of token ids; all tokens of all documents are in them, in order."""
    eos, bos = tokenizer.eos_token_id, tokenizer.bos_token_id
    stream = [t for d in documents for t in [*tokenizer(page_text(d), add_special_tokens=False)["input_ids"], eos]]
    head = [] if bos is None else [bos]
    step = length - len(head)
    return [head + stream[start : start + step] for start in range(0, len(stream), step)]


def interleave(rows: list[list[int]], replay: list[list[int]], share: float, seed: int) -> list[list[int]]:
    """Spread replay rows among the others so that they are `share` of all, as far as there are enough of them."""
    wanted = min(len(replay), round(len(rows) * share / (1 - share)))
    chosen = random.Random(seed).sample(replay, wanted)
    placed = [((i + 0.5) / len(rows), row) for i, row in enumerate(rows)]
    placed += [((i + 0.5) / max(1, wanted), row) for i, row in enumerate(chosen)]
    return [row for _, row in sorted(placed, key=lambda pair: pair[0])]


def pretraining_rows(config: Config, tokenizer: Any) -> tuple[list[list[int]], dict[str, int]]:
    """The rows of the stage, and the counts of what went in."""
    length, language = config.base.max_seq_length, config.language
    rows = blocks(pack.corpus(language, language, "train"), tokenizer, length)
    replay = blocks(pack.corpus(language, "en", "train"), tokenizer, length)
    mixed = interleave(rows, replay, config.corpus.replay_share, config.seed)
    counts = {"rows": len(mixed), "replay_rows": len(mixed) - len(rows), "tokens": sum(map(len, mixed))}
    return mixed, counts
