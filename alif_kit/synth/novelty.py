"""synth: decides whether a task is new, exactly as ROUGE-L F1 over the whole global pool would.

In: comparison tokens. Out: keep or drop, with the score and the place of the nearest kept task.

What is compared. Many good tasks share a template and differ in what they are about ("translate this sentence: ..."), so
template and payload are compared apart. A task with an input of four tokens or more is judged by that input alone, against
the inputs kept before: a used template with a new payload survives, a used payload under a new template does not. A task
without one is judged by instruction and input together, against everything of that kind.
"""

from __future__ import annotations

import math
from array import array
from typing import Any

from alif_kit.records import SeedTask
from alif_kit.text import comparison_tokens

PAYLOAD_TOKENS = 4
BATCH = 64
SKIPPED_SHARE = 0.5
UNKNOWN = "\0"


def rouge_l_f1(common: int, left: int, right: int) -> float:
    """F1 of an LCS of `common` tokens, in the float steps rouge_score takes, so that ties at the threshold fall alike."""
    if not left or not right or not common:
        return 0.0
    precision, recall = common / right, common / left
    return 2 * precision * recall / (precision + recall)


class NoveltyIndex:
    """Token sequences kept so far, searched by exact ROUGE-L F1 (threshold: F1 above it is not novel).

    A longest common subsequence is no longer than the multiset overlap, which postings count for all sequences at once. Only
    those whose overlap leaves room for a better score are compared token by token, so decisions are exact. A token's second
    occurrence in a sequence is an element of its own; each distinct token is one character, for rapidfuzz compares strings
    fastest.
    """

    def __init__(self, threshold: float = 0.7) -> None:
        self.threshold = threshold
        self._codes: dict[str, str] = {}
        self._texts: list[str] = []
        self._lengths = array("q")
        self._postings: dict[tuple[str, int], array[int]] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, tokens: list[str]) -> None:
        """Keep a sequence; its index is the number of those kept before."""
        for token in tokens:
            self._codes.setdefault(token, _character(len(self._codes)))
        text = self._encode(tokens)
        for element in _elements(text):
            self._postings.setdefault(element, array("q")).append(len(self._texts))
        self._texts.append(text)
        self._lengths.append(len(tokens))

    def _encode(self, tokens: list[str]) -> str:
        return "".join(self._codes.get(token, UNKNOWN) for token in tokens)

    def best_match(self, tokens: list[str]) -> tuple[float, int]:
        """The highest F1 against any kept sequence and the lowest index that reaches it; (0.0, -1) when nothing matches."""
        import numpy

        text = self._encode(tokens)
        found = sorted(self._found(text), key=len)
        if not found:
            return 0.0, -1
        # A first good score from those that share the most rare elements leaves little to compare in full.
        rare = self._overlap(found[: max(1, len(found) // 2)])
        first = numpy.flatnonzero(rare == rare.max())[:BATCH]
        floor = float(self._exact(text, first).max())
        indices, bounds = self._possible(text, found, floor)
        order = numpy.argsort(-bounds, kind="stable")
        best, where = 0.0, -1
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            if bounds[part[0]] < best:
                break
            scores = self._exact(text, indices[part])
            top = float(scores.max())
            lowest = int(indices[part][scores == top].min())
            if top > best or (top == best > 0 and lowest < where):
                best, where = top, lowest
        return best, where

    def is_novel(self, tokens: list[str]) -> bool:
        """Whether no kept sequence has an F1 above the threshold: `best_match(tokens)[0] <= threshold`, found faster."""
        text = self._encode(tokens)
        indices, bounds = self._possible(text, sorted(self._found(text), key=len), self.threshold)
        indices = indices[bounds > self.threshold]
        return not any((self._exact(text, indices[i : i + BATCH]) > self.threshold).any() for i in range(0, len(indices), BATCH))

    def _possible(self, text: str, found: list[array[int]], floor: float) -> tuple[Any, Any]:
        """Indices of kept sequences whose F1 may reach `floor`, and an upper bound of each. `found` is rarest first.

        To reach it, floor * n / (2 - floor) of the n elements must be shared. So the commonest few need no counting: who
        shares too little of the others cannot reach it even with all of those.
        """
        import numpy

        least = math.floor(floor * len(text) / (2 - floor) + 1e-9)
        skipped = max(0, min(round(least * SKIPPED_SHARE), len(found) - 1))
        counted = self._overlap(found[: len(found) - skipped])
        indices = numpy.flatnonzero(counted >= max(1, least - skipped))
        bounds = self._f1(counted[indices] + skipped, indices, len(text))
        return indices[bounds >= floor], bounds[bounds >= floor]

    def _found(self, text: str) -> list[array[int]]:
        """The postings of the text's elements, as far as there are any."""
        return [postings for element in _elements(text) if (postings := self._postings.get(element))]

    def _overlap(self, postings: list[array[int]]) -> Any:
        """Shared elements with every kept sequence: shape [len(self)]."""
        import numpy

        if not postings:
            return numpy.zeros(len(self), dtype=numpy.int64)
        ids = numpy.concatenate([numpy.frombuffer(p, dtype=numpy.int64) for p in postings])
        return numpy.bincount(ids, minlength=len(self))

    def _f1(self, common: Any, indices: Any, length: int) -> Any:
        """`rouge_l_f1` for many kept sequences at once; common is at least 1, float steps as there."""
        import numpy

        lengths = numpy.frombuffer(self._lengths, dtype=numpy.int64)[indices] if len(indices) else numpy.zeros(0)
        precision, recall = common / length, common / numpy.maximum(lengths, 1)
        return 2 * precision * recall / numpy.maximum(precision + recall, 5e-324)

    def _exact(self, text: str, indices: Any) -> Any:
        """Exact F1 against the kept sequences at these indices."""
        from rapidfuzz.distance import LCSseq
        from rapidfuzz.process import cdist

        common = cdist([text], [self._texts[i] for i in indices], scorer=LCSseq.similarity)[0]
        return self._f1(common.astype(float), indices, len(text))


def _character(number: int) -> str:
    """A character for token `number`, passing over the surrogates, which are none."""
    code = number + 1 if number + 1 < 0xD800 else number + 0x801
    return chr(code)


def _elements(text: str) -> list[tuple[str, int]]:
    """Characters with their count so far: `"aba" -> [("a", 1), ("b", 1), ("a", 2)]`. Unknown tokens can match nothing."""
    seen: dict[str, int] = {}
    elements = []
    for character in text:
        seen[character] = seen.get(character, 0) + 1
        elements.append((character, seen[character]))
    return elements


class NoveltyGate:
    """The rule of the module's docstring: one index of payloads, one of whole tasks."""

    def __init__(self, threshold: float) -> None:
        self.payloads, self.wholes = NoveltyIndex(threshold), NoveltyIndex(threshold)

    def judge(self, task: SeedTask) -> tuple[str, dict[str, Any]]:
        """The reason to drop the task (`not_novel`), or the empty string, and the nearest score."""
        index, tokens = self._place(task)
        score, _ = index.best_match(tokens)
        return ("not_novel" if score > index.threshold else ""), {"nearest_rouge_l": round(score, 4)}

    def add(self, task: SeedTask) -> None:
        index, tokens = self._place(task)
        index.add(tokens)

    def _place(self, task: SeedTask) -> tuple[NoveltyIndex, list[str]]:
        payload = comparison_tokens(task.input)
        if len(payload) >= PAYLOAD_TOKENS:
            return self.payloads, payload
        return self.wholes, comparison_tokens(task.instruction) + payload
