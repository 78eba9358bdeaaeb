"""synth: folds answers in, one after another, in the order of their requests: parse, filter, judge novelty, count.

In: rows of the journal. Out: the pool, the dropped with their reasons, the counts. A pure function of the rows, so that a data set
can be judged again at no cost.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from alif_kit.core import Config
from alif_kit.core.records import Example, Provenance, from_dict
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
    by_category: dict[str, list[Example]] = field(default_factory=lambda: defaultdict(list))
    dropped: list[dict[str, Any]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    recent: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    reasons: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    used: Counter[str] = field(default_factory=lambda: Counter(prompt_tokens=0, completion_tokens=0, usd=0.0))
    folded: int = 0

    def __post_init__(self) -> None:
        self.gate = NoveltyGate(self.config.synth.novelty_threshold)
        self.evaluation_sets = EvaluationSets(self.config.synth.evaluation_sets)
        for seed in chain(*pack.seeds(self.config.language).values()):
            self.gate.add(seed)

    def add(self, row: dict[str, Any]) -> None:
        """Fold in one journal row."""
        category, before = row["category"], len(self.pool)
        for parsed in parse(row["response"], row["finish_reason"], category, self.config.language):
            self._judge(parsed, row)
        self.asked[category] += row["count"]
        self.recent[category].append((len(self.pool) - before) / row["count"])
        self.folded += 1
        self.used.update({name: row[name] for name in ("prompt_tokens", "completion_tokens", "usd")})

    def _judge(self, parsed: Parsed, row: dict[str, Any]) -> None:
        category = row["category"]
        reason = parsed.problem or filters.first_reason(parsed.task, self.config.language)
        scores: dict[str, float] = {}
        if not reason and self.evaluation_sets.overlap(parsed.task.instruction, parsed.task.input, parsed.task.output):
            reason = "contaminated"
        if not reason:
            reason, scores = self.gate.judge(parsed.task)
        if not reason and len(self.by_category[category]) >= self.config.synth.targets[category]:
            reason = "over_target"
        self.reasons[category][reason or "accepted"] += 1
        if reason:
            what = {"category": category, "reason": reason, "text": render([parsed.task]) if parsed.task else parsed.raw}
            self.dropped.append({"request": row["request"], "item": parsed.item, **what})
        else:
            self._accept(parsed, row, scores)

    def _accept(self, parsed: Parsed, row: dict[str, Any], scores: dict[str, float]) -> None:
        of_row = {name: row[name] for name in ("request", "prompt_hash", "seeds_shown", "machine_shown")}
        provenance = from_dict(Provenance, {**of_row, "teacher": row["model"], "item": parsed.item, "scores": scores})
        example = Example(**vars(parsed.task), provenance=provenance)
        self.gate.add(example)
        self.pool.append(example)
        self.by_category[example.category].append(example)

    def expected_yield(self, category: str) -> float:
        """Accepted per asked so far, between the first guess and what was seen."""
        return (len(self.by_category[category]) + 10 * FIRST_YIELD) / (self.asked[category] + 10)

    def stalled(self, category: str) -> bool:
        recent = self.recent[category][-STALL_REQUESTS:]
        return len(recent) == STALL_REQUESTS and sum(recent) / STALL_REQUESTS < STALL_YIELD

    def funnel(self) -> dict[str, Any]:
        """Counts by category and reason; every parsed item is in exactly one place."""
        total = sum(self.reasons.values(), Counter())
        return {
            "requests": self.folded,
            "candidates": sum(total.values()),
            "accepted": total["accepted"],
            "reasons": dict(sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))),
            "categories": {c: dict(sorted(counts.items())) for c, counts in sorted(self.reasons.items())},
            "targets": self.config.synth.targets,
        }
