"""synth: the accepted pool as a data set: training and held-out files, and a card written from the run's own numbers.

In: synth/pool.jsonl, synth/funnel.json. Out: data/train.jsonl, data/eval.jsonl, data/card.md. Novelty has already kept
near-duplicates out of the pool, so none can stand on both sides of the split.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from alif_kit.records import CATEGORIES, Example, read_jsonl, stable_id, write_atomic, write_jsonl
from alif_kit.run_folder import Run, latest_json


def finish(run: Run) -> dict[str, Any]:
    """Split the pool, write the three files, return counts by side and category."""
    pool = list(read_jsonl(run.require("synth", "pool.jsonl", stage="generate"), Example))
    train, held_out = split(pool, run.config.synth.held_out_share, run.config.seed)
    write_jsonl(run.file("data", "train.jsonl"), train)
    write_jsonl(run.file("data", "eval.jsonl"), held_out)
    counts = {"train": _count(train), "eval": _count(held_out)}
    write_atomic(run.file("data", "card.md"), card(run, counts))
    return counts


def split(pool: list[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Hold out `share` of every category, at least one of each that has two; which ones, content and seed decide."""
    held: set[str] = set()
    for category in CATEGORIES:
        ids = sorted((e.id for e in pool if e.category == category), key=lambda i: stable_id(seed, i))
        held |= set(ids[: max(1, round(len(ids) * share))] if len(ids) > 1 else ())
    return [e for e in pool if e.id not in held], [e for e in pool if e.id in held]


def _count(examples: list[Example]) -> dict[str, int]:
    counts = Counter(e.category for e in examples)
    return {c: counts[c] for c in CATEGORIES if counts[c]}


def card(run: Run, counts: dict[str, dict[str, int]]) -> str:
    """The data card, with the front matter that the Hugging Face Hub reads."""
    funnel = latest_json(run.file("synth", "funnel.json"))
    teacher = run.config.teacher
    rows = "\n".join(f"| {c} | {counts['train'].get(c, 0)} | {counts['eval'].get(c, 0)} |" for c in CATEGORIES)
    reasons = "\n".join(f"| {reason} | {count} |" for reason, count in funnel["reasons"].items())
    demo = (
        "\nThe teacher was the kit's embedded demonstration: it fills templates. The rows show the pipeline at work; they are no "
        "substitute for data from a real teacher.\n"
        if teacher.base_url == "demo"
        else ""
    )
    return f"""---
language: [ur, en]
license: cc-by-4.0
task_categories: [text-generation]
tags: [synthetic, instruction-tuning, urdu]
configs:
- config_name: default
  data_files:
  - {{split: train, path: train.jsonl}}
  - {{split: test, path: eval.jsonl}}
---
# Urdu instructions, run `{run.path.name}`

Made by alif_kit from hand-written seeds with the teacher `{teacher.model}`, temperature {teacher.temperature}.
{demo}
| category | train | held out |
|---|---|---|
{rows}

Of {funnel["candidates"]} candidates in {funnel["requests"]} requests, {funnel["accepted"]} were kept:

| outcome | candidates |
|---|---|
{reasons}

Each row carries its provenance: teacher, request, the seeds and machine examples that request had shown, novelty scores.
Not reviewed by people unless `provenance.review` says so. The terms of the teacher's provider may limit what models may be
trained on its answers: read them before you publish.
"""
