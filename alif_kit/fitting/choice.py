"""fitting: which pieces of a vocabulary a base needs for its languages.

In: a vocabulary, texts of each language, how many rows or what share of the texts. Out: the pieces to keep.

Always kept are the pieces of single bytes, the added tokens (but for reserved ones: `<unused17>`, `<|reserved_special_token_5|>`),
and single characters that are no letter of another script. Then pieces come in the order of how much of some source they cover, a
source being a language's texts or code, each with all that merging builds on the way to it. Rows that are left over go to the
earliest pieces in the alphabets of the languages, then to the earliest of all: the earlier a piece, the more frequent in what the
base was trained on.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

from alif_kit.core.errors import UserError
from alif_kit.fitting.bpe import Bpe

ROUND = 64
"""Rows come in multiples of it, which matrix products like."""
FAMILY = 50
"""Added tokens that differ in their number only are reserved ones from so many on."""


def counted(tokenizer: Any, texts: Iterable[str]) -> Counter[str]:
    """How often each piece stands in the texts. `tokenizer`: of the library tokenizers."""
    found: Counter[str] = Counter()
    for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False):
        found.update(encoding.tokens)
    return found


def scripts(letters: Iterable[str]) -> set[str]:
    """`"ابپ" → {"ARABIC"}`, by the first word of each letter's name in Unicode."""
    return {_script(letter) for letter in letters if letter.isalpha()}


@cache
def _script(letter: str) -> str:
    return unicodedata.name(letter, "NONE").split()[0]


def within(text: str, known: set[str]) -> bool:
    """Whether all letters are of these scripts; marks, digits, signs and emoji always are."""
    return all(_script(c) in known for c in text if c.isalpha())


def reserved(added: Iterable[str]) -> set[str]:
    """Added tokens that stand in a row of many, alike but for a number."""
    families: dict[str, list[str]] = {}
    for text in added:
        families.setdefault(re.sub(r"\d+", "#", text), []).append(text)
    return {text for family in families.values() if len(family) >= FAMILY for text in family}


def required(bpe: Bpe, used: set[str], known: set[str]) -> set[str]:
    """What is kept whatever the texts are. `used`: added tokens that are needed although they look reserved."""
    single = {piece for piece in bpe.ids if (text := bpe.text(piece)) and len(text.strip() or " ") == 1 and within(text, known)}
    return set(bpe.alphabet) | (set(bpe.added) - reserved(bpe.added)) | (used & bpe.ids.keys()) | _closed(bpe, single)


def _closed(bpe: Bpe, pieces: Iterable[str]) -> set[str]:
    return set().union(*(bpe.built(piece) & bpe.ids.keys() for piece in pieces))


def kept(bpe: Bpe, counts: list[Counter[str]], alphabets: list[str], rows: int, coverage: float, used: set[str]) -> set[str]:
    """The pieces to keep: `rows` of them, or, where it is 0, as many as write `coverage` of each source, up to a multiple of 64.

    Raises UserError where the rows do not hold what is always needed, or are more than there are pieces for.
    """
    found = required(bpe, used, scripts("".join(alphabets)))
    if rows and len(found) > rows:
        raise UserError(f"fitting to {rows:,} rows leaves no room: {len(found):,} are special pieces, bytes and single characters")
    for piece, place in places(counts).items():
        new = _closed(bpe, [piece]) - found
        if len(found) + len(new) > rows if rows else place >= coverage:
            break
        found |= new
    found = _filled(bpe, found, alphabets, rows or -(-len(found) // ROUND) * ROUND)
    if len(found) < rows:
        raise UserError(
            f"fitting to {rows:,} rows is more than the base has: {len(found):,} of its pieces can be kept; expected fewer"
        )
    return found


def places(counts: list[Counter[str]]) -> dict[str, float]:
    """Pieces in order, each with the share of a source that more frequent ones cover: of the source in which it comes first.

    `[{a: 3, b: 1}, {b: 2}] → {a: 0.0, b: 0.0}`; of the first source alone b would come at 0.75.
    """
    found: dict[str, float] = {}
    for count in counts:
        seen, total = 0, count.total()
        for piece, number in sorted(count.items(), key=lambda pair: (-pair[1], pair[0])):
            found[piece] = min(found.get(piece, 1.0), seen / total)
            seen += number
    return dict(sorted(found.items(), key=lambda pair: (pair[1], pair[0])))


def _filled(bpe: Bpe, found: set[str], alphabets: list[str], rows: int) -> set[str]:
    """As many rows as asked for, with pieces spelt in one of the alphabets, the first alphabet's first, then with any; the earliest
    first.
    """
    for alphabet in (*map(frozenset, alphabets), None):
        for piece in sorted(bpe.ids.keys() - found - bpe.added, key=bpe.ids.get):
            if len(found) == rows:
                return found
            letters = {c for c in bpe.text(piece) or "" if c.isalpha()}
            fits = alphabet is None or (letters and letters <= alphabet)
            if fits and len(found) + len(new := _closed(bpe, [piece]) - found) <= rows:
                found |= new
    return found
