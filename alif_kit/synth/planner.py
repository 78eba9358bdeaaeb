"""synth: decides what to ask the teacher next, and composes the request.

In: what is folded in and what is in flight. Out: `Request`s: which category, what they show, the messages.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alif_kit.core import Config
from alif_kit.core.records import Example, stable_id
from alif_kit.languages import pack
from alif_kit.synth.fold import Fold
from alif_kit.synth.parse import render, schema

SPREAD = {"topics": 5, "registers": 2, "regions": 2}  # of the pack's lists, in each prompt


@dataclass(frozen=True)
class Request:
    """Request number `number`: what it asks for and what it shows."""

    number: int
    category: str
    count: int
    messages: list[dict[str, str]]
    seeds_shown: tuple[str, ...]
    machine_shown: tuple[str, ...]
    options: dict[str, Any]
    """What it asks of a server that has structured output."""

    @property
    def prompt_hash(self) -> str:
        return stable_id(self.messages)


class Planner:
    """Decides, from what is folded in and what is in flight, which category the next request asks for."""

    def __init__(self, config: Config, output_format: str = "text") -> None:
        self.config, self.output_format = config, output_format
        self.in_flight: list[Request] = []
        self.issued = 0

    def next(self, fold: Fold) -> Request | None:
        """The next request, or None while what is in flight should suffice."""
        if len(self.in_flight) >= self.config.synth.window:
            return None
        missing = {c: self._missing(c, fold) / t for c, t in self.config.synth.targets.items() if not fold.stalled(c)}
        category = max(missing, key=missing.get, default=None)
        if category is None or missing[category] <= 0:
            return None
        request = compose(self.config, self.issued, category, fold.by_category[category], self.output_format)
        self.in_flight.append(request)
        self.issued += 1
        return request

    def _missing(self, category: str, fold: Fold) -> float:
        coming = sum(r.count for r in self.in_flight if r.category == category) * fold.expected_yield(category)
        return self.config.synth.targets[category] - len(fold.by_category[category]) - coming


def compose(config: Config, number: int, category: str, made: list[Example], output_format: str = "text") -> Request:
    """Request `number`: 4 seeds and, once there are any, 2 of the category's machine examples, chosen by seed and number."""
    draw = random.Random(f"{config.seed}-{number}-{category}")
    synth = config.synth
    seeds = _sample(draw, pack.seeds(config.language)[category], synth.seeds_shown)
    machine = _sample(draw, made, synth.machine_shown)
    about = {name: _sample(draw, pack.topics(config.language)[name], count) for name, count in SPREAD.items()}
    about |= {"category": category, "category_name": pack.settings(config.language)["categories"][category]}
    about |= {"count": synth.tasks_per_call, "examples": render([*seeds, *machine])}
    form = "text" if output_format == "text" else "json"
    asked = {"json_schema": schema(category), "json_object": {"type": "json_object"}}.get(output_format)
    messages = [{"role": "system", "content": pack.prompt(config.language, "system")}]
    messages += [{"role": "user", "content": pack.prompt(config.language, category, **about, output_format=form)}]
    shown = tuple(s.id for s in seeds), tuple(m.id for m in machine)
    return Request(number, category, synth.tasks_per_call, messages, *shown, {"response_format": asked} if asked else {})


def _sample(draw: random.Random, items: Sequence[Any], count: int) -> list[Any]:
    return draw.sample(items, min(count, len(items)))
