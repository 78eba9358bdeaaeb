"""fitting: pieces that a vocabulary lacks, learnt from texts of the language.

In: a vocabulary that spells the language in crumbs, and texts. Out: pairs of its pieces to merge, most frequent first.

The texts are written in the vocabulary's own pieces, each as one character, and the library tokenizers goes on merging from there,
so what it learns comes after all merges that the base knows. Only words of the language's letters take part: no other text is cut
otherwise than before.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from typing import Any

FIRST = 0xF0000
"""Of the private planes of Unicode, where the pieces stand as characters while pairs are learnt."""
SHORTEST = 2
"""Times that a pair has to occur."""


def merges(tokenizer: Any, texts: Iterable[str], alphabet: str, number: int, apart: Collection[str] = ()) -> list[tuple[str, str]]:
    """`number` pairs at most, in order. `tokenizer`: the same vocabulary in the library tokenizers.

    `apart`: pieces that take part in no pair, as SentencePiece's for bytes, which write a byte only where they stand by themselves.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    characters: dict[str, str] = {}
    lines = [" ".join(_written(pieces, characters) for pieces in _words(tokenizer, text, alphabet, apart)) for text in texts]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    options = {"vocab_size": len(characters) + number, "initial_alphabet": [*characters.values()], "min_frequency": SHORTEST}
    learner.train_from_iterator(lines, trainers.BpeTrainer(**options, show_progress=False))
    piece = {character: text for text, character in characters.items()}
    found = json.loads(learner.to_str())["model"]["merges"]
    return [tuple("".join(piece[c] for c in part) for part in pair) for pair in found]


def _words(tokenizer: Any, text: str, letters: str, apart: Collection[str]) -> Iterator[list[str]]:
    """The pieces of each word that is spelt in these letters, between those that stay apart, as often as it stands in the text."""
    words = Counter(re.findall(f" ?[{re.escape(letters)}]+", text))
    for word, times in words.items():
        pieces = tokenizer.encode(word, add_special_tokens=False).tokens
        yield from [list(run) for alone, run in groupby(pieces, apart.__contains__) if not alone] * times


def _written(pieces: list[str], characters: dict[str, str]) -> str:
    return "".join(characters.setdefault(piece, chr(FIRST + len(characters))) for piece in pieces)
