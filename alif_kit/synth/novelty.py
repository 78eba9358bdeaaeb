"""synth: decides whether a task is new, exactly as ROUGE-L F1 over the whole global pool would.

In: comparison tokens. Out: keep or drop, with the score and the place of the nearest kept task.

What is compared. Many good tasks share a template and differ in what they are about ("translate this sentence: ..."), so
template and payload are compared apart. A task with an input of four tokens or more is judged by that input alone, against
the inputs kept before: a used template with a new payload survives, a used payload under a new template does not. A task
without one is judged by instruction and input together, against everything of that kind.
"""

from __future__ import annotations

from typing import Any

from alif_kit.records import SeedTask
from alif_kit.text import comparison_tokens

PAYLOAD_TOKENS = 4


def rouge_l_f1(common: int, left: int, right: int) -> float:
    """F1 of an LCS of `common` tokens, in the float steps rouge_score takes, so that ties at the threshold fall alike."""
    if not left or not right or not common:
        return 0.0
    precision, recall = common / right, common / left
    return 2 * precision * recall / (precision + recall)


class NoveltyIndex:
    """Token sequences kept so far, searched by exact ROUGE-L F1 (threshold: F1 above it is not novel)."""

    def __init__(self, threshold: float = 0.7) -> None:
        self.threshold = threshold
        self._kept: list[list[str]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, tokens: list[str]) -> None:
        self._kept.append(list(tokens))

    def best_match(self, tokens: list[str]) -> tuple[float, int]:
        """The highest F1 against any kept sequence and the lowest index that reaches it; (0.0, -1) when nothing matches."""
        from rapidfuzz.distance import LCSseq

        best, where = 0.0, -1
        for index, kept in enumerate(self._kept):
            if rouge_l_f1(min(len(tokens), len(kept)), len(kept), len(tokens)) > best:
                f1 = rouge_l_f1(LCSseq.similarity(kept, tokens), len(kept), len(tokens))
                if f1 > best:
                    best, where = f1, index
        return best, where

    def is_novel(self, tokens: list[str]) -> bool:
        return self.best_match(tokens)[0] <= self.threshold


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
