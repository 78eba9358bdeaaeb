"""synth: folds answers in, one after another, in the order of their requests: parse, filter, judge novelty, count.

In: rows of the journal. Out: the pool, the dropped with their reasons, the counts. A pure function of the rows, so that a data set
can be judged again at no cost.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from alif_kit.core.config import Config
from alif_kit.core.records import Example, Provenance
from alif_kit.languages import pack
from alif_kit.languages.contamination import EvaluationSets
from alif_kit.synth import filters
from alif_kit.synth.novelty import NoveltyGate
from alif_kit.synth.parse import Parsed, parse, render

STALL_REQUESTS = 6
STALL_YIELD = 0.05
FIRST_YIELD = 0.7


@dataclass
class Fold:
    """The state that answers are folded into, in request order: the pool, what was dropped, and the counts."""

    config: Config
    pool: list[Example] = field(default_factory=list)
    by_category: dict[str, list[Example]] = field(default_factory=dict)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    accepted: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    recent: dict[str, list[float]] = field(default_factory=dict)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    folded: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0

    def __post_init__(self) -> None:
        self.gate = NoveltyGate(self.config.synth.novelty_threshold)
        self.evaluation_sets = EvaluationSets(self.config.synth.evaluation_sets)
        for tasks in pack.seeds(self.config.language).values():
            for seed in tasks:
                self.gate.add(seed)

    def add(self, row: dict[str, Any]) -> None:
        """Fold in one journal row."""
        category, before = row["category"], self.accepted[row["category"]]
        for parsed in parse(row["response"], row["finish_reason"], category, self.config.language):
            self._judge(parsed, row)
        self.asked[category] += row["count"]
        self.recent.setdefault(category, []).append((self.accepted[category] - before) / row["count"])
        self.folded += 1
        self.tokens_in += row["prompt_tokens"]
        self.tokens_out += row["completion_tokens"]
        self.usd += row["usd"]

    def _judge(self, parsed: Parsed, row: dict[str, Any]) -> None:
        category = row["category"]
        reason = parsed.problem or filters.first_reason(parsed.task, self.config.language)
        scores: dict[str, float] = {}
        if not reason and self.evaluation_sets.overlap(parsed.task.instruction, parsed.task.input, parsed.task.output):
            reason = "contaminated"
        if not reason:
            reason, scores = self.gate.judge(parsed.task)
        if not reason and self.accepted[category] >= self.config.synth.targets[category]:
            reason = "over_target"
        self.reasons.setdefault(category, Counter())[reason or "accepted"] += 1
        if reason:
            text = parsed.raw if parsed.task is None else render([parsed.task])
            self.dropped.append(
                {"request": row["request"], "item": parsed.item, "category": category, "reason": reason, "text": text}
            )
        else:
            self._accept(parsed, row, scores)

    def _accept(self, parsed: Parsed, row: dict[str, Any], scores: dict[str, float]) -> None:
        provenance = Provenance(
            teacher=row["model"],
            request=row["request"],
            item=parsed.item,
            prompt_hash=row["prompt_hash"],
            seeds_shown=tuple(row["seeds_shown"]),
            machine_shown=tuple(row["machine_shown"]),
            scores=scores,
        )
        task = parsed.task
        example = Example(task.category, task.instruction, task.output, task.input, task.labels, task.meta, provenance)
        self.gate.add(example)
        self.pool.append(example)
        self.by_category.setdefault(task.category, []).append(example)
        self.accepted[task.category] += 1

    def expected_yield(self, category: str) -> float:
        """Accepted per asked so far, between the first guess and what was seen."""
        return (self.accepted[category] + 10 * FIRST_YIELD) / (self.asked[category] + 10)

    def stalled(self, category: str) -> bool:
        recent = self.recent.get(category, [])[-STALL_REQUESTS:]
        return len(recent) == STALL_REQUESTS and sum(recent) / STALL_REQUESTS < STALL_YIELD

    def funnel(self) -> dict[str, Any]:
        """Counts by category and reason; every parsed item is in exactly one place."""
        total: Counter[str] = Counter()
        for counts in self.reasons.values():
            total.update(counts)
        return {
            "requests": self.folded,
            "candidates": sum(total.values()),
            "accepted": total["accepted"],
            "reasons": dict(sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))),
            "categories": {c: dict(sorted(counts.items())) for c, counts in sorted(self.reasons.items())},
            "targets": self.config.synth.targets,
        }
