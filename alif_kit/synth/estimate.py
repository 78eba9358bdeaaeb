"""synth: what a generation run will cost, before it starts and again from what has been seen.

In: the configuration, the pack, and the journal if there is one. Out: expected requests, tokens, dollars and minutes, each with
the assumption it rests on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from alif_kit.core import Config, Run
from alif_kit.core.run import latest_json
from alif_kit.languages import pack
from alif_kit.synth import generate
from alif_kit.synth.fold import FIRST_YIELD
from alif_kit.synth.parse import render
from alif_kit.synth.planner import compose
from alif_kit.teacher.limits import price_of, price_table

# Before anything is seen. A token of a current multilingual vocabulary holds about 2.5 characters of Urdu; a task of the seeds'
# length is what a teacher writes; a request of 20 tasks takes a hosted model about a minute; 7 of 10 candidates pass.
CHARACTERS_PER_TOKEN = 2.5
SECONDS_PER_REQUEST = 60.0
UNLIMITED_IN_FLIGHT = 64
ASSUMED = (
    f"assumed: {FIRST_YIELD:.0%} of candidates accepted, {CHARACTERS_PER_TOKEN} characters of Urdu a token, tasks as "
    f"long as the seeds, {SECONDS_PER_REQUEST:.0f} s a request"
)


@dataclass(frozen=True)
class Estimate:
    """One estimate; `seen` is the number of answered requests it rests on (0: assumptions only)."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    usd: float
    usd_batch: float
    minutes: float
    acceptance: float
    seen: int
    basis: str

    def lines(self, max_usd: float) -> dict[str, str]:
        """The estimate as names and sentences, beside the budget."""
        rows = {"requests": f"{self.requests:,}", "tokens": f"{self.prompt_tokens:,} in, {self.completion_tokens:,} out"}
        batch = f"through the Batch API ${self.usd_batch:,.2f}"
        rows["cost"] = f"${self.usd:,.2f}, {batch} (budget of the run ${max_usd:,.2f})"
        rows |= {"time": f"{self.minutes:,.1f} minutes", "accepted": f"{self.acceptance:.0%} of candidates", "basis": self.basis}
        if self.usd > max_usd:
            rows["over budget"] = f"it would stop after about {max_usd / self.usd:.0%}; raise --max-usd or lower synth.targets"
        return rows


def estimate(config: Config, run: Run | None = None) -> Estimate:
    """What is still to be asked for, and what it should cost."""
    journal = generate.read_journal(run) if run else {}
    accepted = {}
    if journal:
        path = run.file("synth", "funnel.json")
        funnel = latest_json(path) if path.is_file() else generate.rebuild(run)
        accepted = {category: counts.get("accepted", 0) for category, counts in funnel["categories"].items()}
    asked = sum(row["count"] for row in journal.values())
    share = max(0.02, sum(accepted.values()) / asked) if asked else FIRST_YIELD
    per_call = config.synth.tasks_per_call
    requests = sum(math.ceil(max(0, t - accepted.get(c, 0)) / (per_call * share)) for c, t in config.synth.targets.items())
    prompt, completion, seconds = _means(config, journal)
    tokens = round(requests * prompt), round(requests * completion)
    usd = price_of(config.teacher).of(*tokens)
    minutes = _minutes(config, requests, prompt + completion, seconds)
    basis = f"{len(journal)} answered requests of this run" if journal else ASSUMED
    dollars = round(usd, 4), round(usd * price_table()["batch"], 4)
    return Estimate(requests, *tokens, *dollars, minutes, round(share, 3), len(journal), basis)


def _means(config: Config, journal: dict[int, dict[str, Any]]) -> tuple[float, float, float]:
    """Prompt tokens, completion tokens and seconds of one request: seen, or assumed from a prompt composed for real."""
    if journal:
        rows = journal.values()
        return tuple(sum(row[key] for row in rows) / len(rows) for key in ("prompt_tokens", "completion_tokens", "seconds"))
    targets = config.synth.targets
    prompts = sum(len(message["content"]) for category in targets for message in compose(config, 0, category, []).messages)
    seeds = [pack.seeds(config.language)[category] for category in targets]
    answers = sum(len(render(shown)) / len(shown) * config.synth.tasks_per_call for shown in seeds)
    return prompts / len(targets) / CHARACTERS_PER_TOKEN, answers / len(targets) / CHARACTERS_PER_TOKEN, SECONDS_PER_REQUEST


def _minutes(config: Config, requests: int, tokens: float, seconds: float) -> float:
    """The slowest of: latency over what may be in flight, requests a minute, tokens a minute."""
    teacher = config.teacher
    in_flight = min(teacher.concurrency or UNLIMITED_IN_FLIGHT, config.synth.window)
    waits = (requests * seconds / 60, requests, requests * tokens)
    limits = (in_flight, teacher.requests_per_minute, teacher.tokens_per_minute)
    return round(max(needed / limit for needed, limit in zip(waits, limits, strict=True) if limit), 2)
