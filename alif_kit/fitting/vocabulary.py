"""fitting: the vocabulary of a base, made to fit texts: smaller by what they do not use, larger by what they lack.

In: the base's tokenizer.json, texts by source. Out: the fitted vocabulary, which rows of the matrices it keeps, and what the rows
of its new pieces are made of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from alif_kit.core.errors import UserError
from alif_kit.fitting import bpe, choice, learn

LINES = 5_000
"""Lines on which the old and the new way of cutting are compared."""


@dataclass(frozen=True)
class Wanted:
    """What a vocabulary is fitted to: texts by source, the languages' alphabets, and how large it becomes.

    `rows`: the size asked for, or 0 for as many as write `coverage` of each source. `add`: pieces to learn from the first source.
    """

    texts: Mapping[str, list[str]]
    alphabets: tuple[str, ...]
    rows: int
    coverage: float
    add: int = 0


@dataclass(frozen=True)
class Fitted:
    """The vocabulary. `rows`: for each, the rows of the base that it is made of: its own alone, or of a new piece all it replaces.

    By source: `coverage`, the share of its tokens that kept pieces write; `tokens` before and after; `same`, the share of lines
    that are cut as before.
    """

    bpe: bpe.Bpe
    rows: list[list[int]]
    coverage: dict[str, float]
    tokens: dict[str, tuple[int, int]]
    same: dict[str, float]

    @property
    def added(self) -> int:
        return sum(len(row) > 1 for row in self.rows)

    @property
    def added_ids(self) -> tuple[int, int]:
        """Of the new pieces the first id, and the one after the last. Between them a piece may stand that the base had too."""
        new = [number for number, row in enumerate(self.rows) if len(row) > 1]
        return (new[0], new[-1] + 1) if new else (0, 0)

    @property
    def new_ids(self) -> dict[int, int]:
        """The new id of each of the base's that is kept."""
        return {row[0]: number for number, row in enumerate(self.rows) if len(row) == 1}


def vocabulary(folder: Path, wanted: Wanted, used: set[str], matrix: int) -> Fitted:
    """The vocabulary of a base, fitted. `used`: added tokens of the chat frame; `matrix`: rows that the base has.

    Raises UserError for a tokenizer of another kind, for too few rows, and for texts that new pieces cannot be learnt from.
    """
    whole = bpe.read(folder, matrix)
    tokenizer, texts = loaded(whole), wanted.texts
    counts = {name: choice.counted(tokenizer, found) for name, found in texts.items()}
    size = wanted.rows - wanted.add if wanted.rows else 0
    kept = choice.kept(whole, list(counts.values()), list(wanted.alphabets), size, wanted.coverage, used)
    smaller = whole.reduced(kept)
    merges = _learnt(smaller, wanted) if wanted.add else []
    larger = smaller.extended(merges)
    rows, after = _rows(whole, larger, merges), loaded(larger)
    shares = {name: sum(n for piece, n in count.items() if piece in kept) / count.total() for name, count in counts.items()}
    tokens = {name: (counts[name].total(), choice.counted(after, found).total()) for name, found in texts.items()}
    same = {name: _same(tokenizer, after, rows, found) for name, found in texts.items()}
    return Fitted(larger, rows, shares, tokens, same)


def _learnt(smaller: bpe.Bpe, wanted: Wanted) -> list[tuple[str, str]]:
    """Pairs that make new pieces, without the last few that would break a multiple of 64 rows."""
    source, texts = next(iter(wanted.texts.items()))
    apart = () if smaller.byte_level else smaller.alphabet
    found = learn.merges(loaded(smaller), texts, wanted.alphabets[0], wanted.add, apart)
    number = len(found)
    while found and (len(smaller.ids) + len({"".join(pair) for pair in found} - smaller.ids.keys())) % choice.ROUND:
        found.pop()
    if not found:
        fewer = f"{number} of the {wanted.add} new pieces asked for, which fill no {choice.ROUND} rows"
        raise UserError(f"the texts of {source} give {fewer}; raise --add, count more text (--run), or leave --add out")
    return found


def _rows(whole: bpe.Bpe, fitted: bpe.Bpe, merges: list[tuple[str, str]]) -> list[list[int]]:
    """Of the base, the row of each kept piece, and the rows of the pieces that a new one is written with, in the new order."""
    made = {text: [number] for text, number in whole.ids.items() if text in fitted.ids}
    for left, right in merges:
        made.setdefault(left + right, made[left] + made[right])
    return [made[text] for text in sorted(fitted.ids, key=fitted.ids.get)]


def _same(before: Any, after: Any, rows: list[list[int]], texts: list[str]) -> float:
    """The share of lines, the first 5,000, that both cut alike."""
    lines = list(islice((line for text in texts for line in text.splitlines() if line), LINES))
    pairs = zip(*(cut.encode_batch(lines, add_special_tokens=False) for cut in (before, after)), strict=True)
    return sum([[number] for number in a.ids] == [rows[number] for number in b.ids] for a, b in pairs) / max(len(lines), 1)


def loaded(vocabulary: bpe.Bpe) -> Any:
    """The vocabulary in the library tokenizers; it cuts no text off and fills none up, whatever its file asks for."""
    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps(vocabulary.read | {"truncation": None, "padding": None}))
