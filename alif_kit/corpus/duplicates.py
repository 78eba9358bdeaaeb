"""corpus: near duplicates among documents, found in memory that a notebook has.

In: texts. Out: for each whether one like it was kept before. MinHash (datasketch) of the 5-grams of words; 64 values of 16 bits
a document. Bands of values point to documents, and only a document that shares a band is compared: the share of equal values
estimates the Jaccard similarity. 200,000 documents take 119 MiB at their peak, at a threshold of 0.8; datasketch's own index
(MinHashLSH) would take some 800.
"""

from __future__ import annotations

import hashlib
import re
import string
from array import array
from functools import lru_cache
from typing import Any

import numpy as np

SHINGLE = 5
PERMUTATIONS = 64
RECALL = 0.98  # of the pairs exactly at the threshold, so many share a band
_BASE = np.uint64(0x9E3779B97F4A7C15)
_MARKS = re.compile("[\u0610-\u061a\u064b-\u065f\u0670\u200c\u200d]")
EDGES = string.punctuation + "۔،؟؛٪«»“”‘’…–—•"


@lru_cache(maxsize=200_000)
def _hash(word: str) -> int:
    """64 bits a word, the same on every machine; spellings that differ in marks, case or punctuation share them."""
    folded = _MARKS.sub("", word.strip(EDGES)).lower()
    return int.from_bytes(hashlib.blake2b(folded.encode("utf-8", "replace"), digest_size=8).digest(), "little")


@lru_cache(maxsize=4)  # asked for by several checks running, and by the signature
def words(text: str) -> tuple[str, ...]:
    """The text between spaces."""
    return tuple(text.split())


def runs(text: str) -> int:
    """How many runs of five words a text has, repeats included: nine words have 5, fewer than six 1."""
    return max(1, len(words(text)) - SHINGLE + 1)


@lru_cache(maxsize=2)
def shingles(text: str) -> np.ndarray:
    """Hashes (uint64) of the distinct runs of five words, and of the whole of a shorter text."""
    hashes = np.fromiter(map(_hash, words(text)), np.uint64)
    size = min(SHINGLE, len(hashes))
    mixed = np.zeros(len(hashes) - size + 1, np.uint64)
    for place in range(size):
        mixed = mixed * _BASE + hashes[place : len(hashes) - size + 1 + place]
    return np.unique(mixed)


@lru_cache
def _sketch() -> Any:
    from datasketch import MinHash

    return MinHash(PERMUTATIONS, seed=1, hashfunc=int, scheme="affine32")


def signature(text: str) -> np.ndarray:
    """64 MinHash values, the low 16 bits of each: enough to tell chance agreement (1 in 65,536) from likeness."""
    sketch = _sketch()
    sketch.clear()
    sketch.update_batch((shingles(text) >> np.uint64(32)).tolist())
    return sketch.hashvalues.astype(np.uint16)


class Signatures:
    """Signatures by number, in one array that grows in place."""

    def __init__(self) -> None:
        self._values = array("H")

    def __getitem__(self, number: int) -> np.ndarray:
        return np.frombuffer(self._values, np.uint16, PERMUTATIONS, number * PERMUTATIONS * self._values.itemsize)

    def add(self, text: str) -> None:
        self._values.frombytes(signature(text).tobytes())


class NearDuplicates:
    """The kept documents, each a number in `signatures`, by their bands: sorted arrays (12 bytes a band), a table of the newest."""

    NEWEST = 1 << 16

    def __init__(self, signatures: Signatures, threshold: float) -> None:
        self._signatures, self._threshold = signatures, threshold
        shape = PERMUTATIONS // band_rows(threshold), band_rows(threshold)
        self._mixers = np.random.RandomState(1).randint(1, 2**62, shape).astype(np.uint64) * np.uint64(2) + np.uint64(1)
        self._keys, self._owners = np.array([2**64 - 1], np.uint64), np.zeros(1, np.uint32)  # every band has a place before this
        self._new: dict[int, int] = {}

    def find(self, number: int) -> int | None:
        """A kept document whose estimated similarity with document `number` is at least the threshold, or None."""
        mine = self._signatures[number]
        bands = self._bands(mine)
        places = np.searchsorted(self._keys, bands)
        owners = set(self._owners[places[self._keys[places] == bands]].tolist())
        owners |= {self._new[band] for band in bands.tolist() if band in self._new}
        least = self._threshold * PERMUTATIONS
        return next((o for o in sorted(owners) if np.count_nonzero(self._signatures[o] == mine) >= least), None)

    def add(self, number: int) -> None:
        """Keep document `number`, as the owner of the bands that have none."""
        for band in self._bands(self._signatures[number]).tolist():
            self._new.setdefault(band, number)
        if len(self._new) >= self.NEWEST:
            self._merge()

    def _merge(self) -> None:
        keys = np.fromiter(self._new, np.uint64)
        order = np.argsort(keys)
        keys, owners = keys[order], np.fromiter(self._new.values(), np.uint32)[order]
        places = np.searchsorted(self._keys, keys)
        new = self._keys[places] != keys
        self._keys = np.insert(self._keys, places[new], keys[new])
        self._owners = np.insert(self._owners, places[new], owners[new])
        self._new.clear()

    def _bands(self, values: np.ndarray) -> np.ndarray:
        """One 64-bit number a band; a band's own mixers keep it apart from the same values in another."""
        used = values[: self._mixers.size].reshape(self._mixers.shape).astype(np.uint64)
        mixed = ((used + np.uint64(1)) * self._mixers).sum(axis=1, dtype=np.uint64)
        return (mixed ^ (mixed >> np.uint64(29))) * _BASE


def band_rows(threshold: float) -> int:
    """Values in a band: as many as still bring `RECALL` of the pairs at the threshold together: `0.8 -> 5` (12 bands)."""
    good = [r for r in range(1, PERMUTATIONS + 1) if 1 - (1 - threshold**r) ** (PERMUTATIONS // r) >= RECALL]
    return max(good, default=1)
