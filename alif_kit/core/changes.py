"""core: which settings a run that has begun may change, and which of them changed.

In: two configurations. Out: the first field on which they differ and may not, by its dotted name.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any

from alif_kit.core.config import Config
from alif_kit.core.tables import Evaluation, Gate, Teacher

# Fields a resumed run may change: they move speed and spending, never the result. What evaluation depends on may change as well:
# its rows carry the settings they were made with, and are made anew under others.
OPERATIONAL = {
    "teacher.concurrency",
    "teacher.requests_per_minute",
    "teacher.tokens_per_minute",
    "teacher.max_requests",
    "teacher.max_minutes",
    "teacher.timeout_s",
    "teacher.max_attempts",
    "teacher.max_usd",
    *(f"evaluation.{f.name}" for f in fields(Evaluation)),
    *(f"judge.{f.name}" for f in fields(Teacher)),
    *(f"gate.{f.name}" for f in fields(Gate)),
    "session.hours",
    "session.mirror",
    "session.trackers",
}
# Fields by which answers that are paid for may be judged again.
JUDGING = {"synth.novelty_threshold", "synth.evaluation_sets", "synth.held_out_share"}


def flatten(config: Config) -> dict[str, Any]:
    """Dotted names and plain values: `{"pretrain.max_steps": -1, ...}`."""
    flat: dict[str, Any] = {}
    for name, value in config.to_dict().items():
        flat |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def first_difference(old: Config, new: Config, besides: Collection[str] = ()) -> tuple[str, Any, Any] | None:
    """Name, old and new value of the first field that changes a run's result, or None when they agree."""
    before, after = flatten(old), flatten(new)
    for name, value in before.items():
        if name not in OPERATIONAL and name not in besides and value != after[name]:
            return name, value, after[name]
    return None
