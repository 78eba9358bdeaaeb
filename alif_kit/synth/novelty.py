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

import numpy
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from alif_kit.core.records import SeedTask
from alif_kit.languages.text import comparison_tokens

PAYLOAD_TOKENS = 4
BATCH = 32
COMMON_COUNT, COMMON_SHARE = 256, 1 / 16
ROUNDING = 1e-9
UNKNOWN = "\0"
Element = str | tuple[str, int]


def rouge_l_f1(common: int, left: int, right: int) -> float:
    """F1 of an LCS of `common` tokens, in the float steps rouge_score takes, so that ties at the threshold fall alike."""
    if not left or not right or not common:
        return 0.0
    precision, recall = common / right, common / left
    return 2 * precision * recall / (precision + recall)


class NoveltyIndex:
    """Token sequences kept so far, searched by exact ROUGE-L F1 (threshold: F1 above it is not novel).

    A longest common subsequence is no longer than the multiset overlap, which is counted for all sequences at once. Only those
    whose overlap leaves room for a better score are compared token by token, so decisions are exact. A token's second
    occurrence in a sequence is an element of its own. An element's place is the list of the sequences that have it, or, once it
    is common, a byte for every sequence, 1 for those that have it. Each distinct token is one character, for rapidfuzz compares
    strings fastest.
    """

    def __init__(self, threshold: float = 0.7) -> None:
        self.threshold = threshold
        self._codes: dict[str, str] = {}
        self._texts: list[str] = []
        self._lengths = array("q")
        self._lists: dict[Element, array[int]] = {}
        self._flags: dict[Element, bytearray] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, tokens: list[str]) -> None:
        """Keep a sequence; its index is the number of those kept before."""
        for token in tokens:
            if token not in self._codes:
                code = len(self._codes) + 1
                self._codes[token] = chr(code if code < 0xD800 else code + 0x800)  # passing over the surrogates, which are none
        for element in _elements(tokens):
            self._place(element)
        self._texts.append(self._encode(tokens))
        self._lengths.append(len(tokens))

    def _place(self, element: Element) -> None:
        """Note that the sequence being added has the element."""
        if flags := self._flags.get(element):
            flags.extend(bytes(len(self) - len(flags)) + b"\1")
            return
        places = self._lists.setdefault(element, array("q"))
        places.append(len(self))
        if len(places) >= max(COMMON_COUNT, COMMON_SHARE * len(self)):
            self._flags[element] = flags = bytearray(len(self) + 1)
            for index in self._lists.pop(element):
                flags[index] = 1

    def best_match(self, tokens: list[str]) -> tuple[float, int]:
        """The highest F1 against any kept sequence and the lowest index that reaches it; (0.0, -1) when nothing matches."""
        shared = self._shared(tokens)
        most = shared.max(initial=0)
        if not most:
            return 0.0, -1
        text = self._encode(tokens)
        floor = self._exact(text, (shared == most).nonzero()[0][:BATCH]).max()
        indices, bounds = self._possible(shared, len(tokens), floor)
        if len(indices) > BATCH:
            promising = indices[bounds.argpartition(-BATCH)[-BATCH:]]
            indices = indices[bounds >= self._exact(text, promising).max() - ROUNDING]
        scores = self._exact(text, indices)
        best = scores.argmax()
        return float(scores[best]), int(indices[best])

    def is_novel(self, tokens: list[str]) -> bool:
        """Whether no kept sequence has an F1 above the threshold: `best_match(tokens)[0] <= threshold`, found faster."""
        indices, _ = self._possible(self._shared(tokens), len(tokens), self.threshold)
        batches = (indices[i : i + BATCH] for i in range(0, len(indices), BATCH))
        return not any((self._exact(self._encode(tokens), batch) > self.threshold).any() for batch in batches)

    def _encode(self, tokens: list[str]) -> str:
        return "".join([self._codes.get(token, UNKNOWN) for token in tokens])

    def _shared(self, tokens: list[str]) -> Any:
        """The multiset overlap with each kept sequence: [len(self)], unsigned and no wider than needed, to stay in the cache."""
        elements = _elements(tokens)
        shared = numpy.zeros(len(self), numpy.min_scalar_type(len(tokens)))
        listed = b"".join([self._lists[element] for element in elements if element in self._lists])
        numpy.add.at(shared, numpy.frombuffer(listed, numpy.int64), shared.dtype.type(1))
        for flags in filter(None, map(self._flags.get, elements)):
            part = shared[: len(flags)]
            numpy.add(part, numpy.frombuffer(flags, numpy.uint8), out=part)
        return shared

    def _possible(self, shared: Any, length: int, floor: float) -> tuple[Any, Any]:
        """Indices, ascending, of the kept sequences whose F1 may reach `floor`, and an upper bound of each but for `ROUNDING`.

        `length` tokens reach it with the fewest in common against a subsequence of their own: F1 = 2 * common / (length + common).
        """
        least = math.ceil(floor * length / (2 - floor) - ROUNDING)
        indices = (shared >= max(1, least)).nonzero()[0]
        bounds = 2.0 * shared[indices] / (numpy.frombuffer(self._lengths, numpy.int64)[indices] + length)
        reaching = bounds >= floor - ROUNDING
        return indices[reaching], bounds[reaching]

    def _exact(self, text: str, indices: Any) -> Any:
        """Exact F1 against the kept sequences at these indices, none of them empty, in the float steps of `rouge_l_f1`."""
        common = cdist([text], [self._texts[i] for i in indices.tolist()], scorer=LCSseq.similarity)[0]
        precision, recall = common / len(text), common / numpy.frombuffer(self._lengths, numpy.int64)[indices]
        return 2 * precision * recall / numpy.maximum(precision + recall, 5e-324)


def _elements(tokens: list[str]) -> list[Element]:
    """Tokens, from the second occurrence on with its number: `["a", "b", "a"] -> ["a", "b", ("a", 2)]`."""
    if len(set(tokens)) == len(tokens):
        return tokens
    seen: dict[str, int] = {}
    elements: list[Element] = []
    for token in tokens:
        seen[token] = count = seen.get(token, 0) + 1
        elements.append(token if count == 1 else (token, count))
    return elements


def compared(task: SeedTask) -> tuple[bool, list[str]]:
    """Whether a task is judged by its input alone, its payload, and the tokens it is judged by."""
    payload = comparison_tokens(task.input)
    is_payload = len(payload) >= PAYLOAD_TOKENS
    return is_payload, payload if is_payload else comparison_tokens(task.instruction) + payload


class NoveltyGate:
    """The rule of the module's docstring: one index of payloads, one of whole tasks."""

    def __init__(self, threshold: float) -> None:
        self.payloads, self.wholes = NoveltyIndex(threshold), NoveltyIndex(threshold)

    def judge(self, task: SeedTask) -> tuple[str, dict[str, float]]:
        """The reason to drop the task (`not_novel`), or the empty string, and the nearest score."""
        index, tokens = self._place(task)
        score, _ = index.best_match(tokens)
        return ("not_novel" if score > index.threshold else ""), {"nearest_rouge_l": round(score, 4)}

    def add(self, task: SeedTask) -> None:
        index, tokens = self._place(task)
        index.add(tokens)

    def _place(self, task: SeedTask) -> tuple[NoveltyIndex, list[str]]:
        is_payload, tokens = compared(task)
        return self.payloads if is_payload else self.wholes, tokens
