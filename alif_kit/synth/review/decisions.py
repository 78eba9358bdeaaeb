"""synth: people's judgement of the examples: what to look at, what a person said of it, the pool as reviewed.

In: synth/pool.jsonl, a filled sheet (sheet.py) or one decision of the page (page.py). Out: a sheet; synth/review.jsonl, a row per
judgement with the original beside the edit, which only grows, so that page and sheet may be used at the same time; the pool with
what was rejected gone and edits made; kappa.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from rapidfuzz.distance import Indel
from rapidfuzz.process import extract

from alif_kit.core import Run, UserError
from alif_kit.core.records import CATEGORIES, AppendOnly, Example, SeedTask, by_category, read_jsonl, to_dict
from alif_kit.languages import pack
from alif_kit.languages.text import comparison_tokens, plain_numbers
from alif_kit.synth.filters import first_reason, own_texts
from alif_kit.synth.novelty import NoveltyGate, compared
from alif_kit.synth.parse import LABELLED, infer_meta
from alif_kit.synth.review import sheet
from alif_kit.synth.review.sheet import DECISIONS, cells, changes, new_text, stratified

Row = dict[str, Any]
NEAR, EXTREME, PURITY = 0.1, 0.02, 0.95
_RESULT = re.compile(r"=\s*(-?\d+(?:\.\d+)?)")


def flags(example: Example, threshold: float, limits: dict[str, tuple[int, int]], language: str = "ur") -> tuple[str, ...]:
    """Why a person should look at an example that passed every filter; empty when nothing stands out.

    `near_duplicate`: its novelty score is within 0.1 of `threshold` (ROUGE-L F1, 0-1). `odd_length`: the words of its output lie
    outside `limits` of its category (`output_limits`). `mixed_script`: under 95% letters of the pack's `language` in a part of it.
    `answer_not_last`: two equations or more, and the answer is not the last one's value. `label_unnamed`: in no text of the task.
    """
    shortest, longest = limits[example.category]
    raised = {
        "near_duplicate": threshold - example.provenance.scores.get("nearest_rouge_l", 0.0) <= NEAR + 1e-9,
        "odd_length": not shortest <= len(example.output.split()) <= longest,
        "mixed_script": any(pack.purity(text, language) < PURITY for text in own_texts(example, language)),
        "answer_not_last": _answer_not_last(example),
        "label_unnamed": any(label not in example.instruction + example.input for label in example.labels),
    }
    return tuple(name for name, found in raised.items() if found)


def output_limits(pool: list[Example]) -> dict[str, tuple[int, int]]:
    """Per category, the words of output that all but the shortest 2% have at least and all but the longest 2% at most."""
    words = {c: sorted(len(e.output.split()) for e in members) for c, members in by_category(pool).items() if members}
    # Ranks, not interpolated percentiles: in a category of under 50 nobody is extreme by being the shortest.
    return {c: (n[int(len(n) * EXTREME)], n[-1 - int(len(n) * EXTREME)]) for c, n in words.items()}


def _answer_not_last(example: Example) -> bool:
    results = _RESULT.findall(plain_numbers(example.output))
    said = [float(token) for token in comparison_tokens(example.meta.get("answer", "")) if re.fullmatch(r"-?\d+(\.\d+)?", token)]
    return len(results) > 1 and bool(said) and float(results[-1]) not in said


def pool_flags(run: Run, pool: list[Example]) -> dict[str, tuple[str, ...]]:
    """`flags` of every example of a run's pool, by id."""
    limits = output_limits(pool)
    return {e.id: flags(e, run.config.synth.novelty_threshold, limits, run.config.language) for e in pool}


class Neighbours:
    """Nearest examples of a pool by ROUGE-L F1, compared as novelty does: payload with payload, whole task with whole task."""

    def __init__(self, pool: Iterable[Example], threshold: float) -> None:
        self.pool, self.threshold = {e.id: e for e in pool}, threshold

    @cached_property
    def _tokens(self) -> dict[str, list[str]]:
        return {key: _compared(example) for key, example in self.pool.items()}

    def nearest(self, task: SeedTask, besides: str, count: int = 3) -> list[tuple[float, Example]]:
        """(F1, example) of the `count` examples nearest to a task, best first, leaving out the one with id `besides`."""
        # 1 - (insertions + deletions) / (both lengths) is 2 LCS / (both lengths), the F1 of ROUGE-L.
        found = extract(_compared(task), self._tokens, scorer=Indel.normalized_similarity, limit=count + 1)
        return [(score, self.pool[key]) for _, score, key in found if key != besides and score > 0][:count]

    def too_near(self, original: Example, revised: Example) -> str:
        """`not_novel`, or the empty string: the gate's word on the rest of the pool, unless what it compares is unchanged."""
        gate = NoveltyGate(self.threshold)
        if _compared(original) != _compared(revised):
            for _, example in self.nearest(revised, original.id):  # the others are further away and cannot change it
                gate.add(example)
        return gate.judge(revised)[0]


def _compared(task: SeedTask) -> list[str]:
    """The tokens that novelty looks at; a payload's are marked, so that they never meet those of a whole task."""
    is_payload, tokens = compared(task)
    return [f"payload {token}" for token in tokens] if is_payload else tokens


def read_pool(run: Run) -> list[Example]:
    """The accepted examples. Raises UserError when `alif generate` has not run."""
    return list(read_jsonl(run.require("synth", "pool.jsonl", stage="generate"), Example))


def export(run: Run, path: Path, count: int | None, seed: int = 0, category: str = "", flagged: bool = False) -> int:
    """Write a sheet and return how many examples are in it: a stratified sample of `count`, or with None all there are.

    `seed`: the same takes the same sample. `category`: only this one; empty for all. `flagged`: only those with a flag. Raises
    UserError when nothing is left to show, and as `sheet.write` does.
    """
    pool = read_pool(run)
    raised = pool_flags(run, pool)
    pool = [e for e in pool if category in ("", e.category) and (raised[e.id] or not flagged)]
    if not pool:
        state = "flagged" if flagged else "in the pool"
        raise UserError(f"no example of {category or 'any category'} is {state}; the categories are {', '.join(CATEGORIES)}")
    chosen = pool if count is None else stratified(pool, count, seed)
    sheet.write(path, [cells(e, raised[e.id]) for e in chosen])
    return len(chosen)


def take(run: Run, path: Path) -> dict[str, int]:
    """Read a filled sheet into synth/review.jsonl; a row that cannot be taken refuses the sheet whole.

    Returns counts by decision, and `unchanged`: rows that repeat what their reviewer said last. Those are not taken again, so
    bringing a sheet in twice does not outvote whoever judged in between, and one that was cut off can be brought in again.
    """
    others, new = Neighbours(read_pool(run), run.config.synth.novelty_threshold), {}
    for number, row in enumerate(sheet.read(path), 2):
        try:
            if judged := _from_row(row, others, run.config.language):
                if (key := (judged["id"], judged["reviewer"])) in new:
                    raise UserError(f"{key[1]} has judged this example in a row above already; keep one of the two")
                new[key] = judged
        except UserError as error:
            raise UserError(f"{path}, row {number}: {error}") from None
    said = {(row["id"], row["reviewer"]): row for row in read(run)}
    fresh = [row for key, row in new.items() if any(row[k] != said.get(key, {}).get(k) for k in ("decision", "edit", "note"))]
    write(run, fresh)
    counts = Counter(row["decision"] for row in fresh)
    return {**{decision: counts[decision] for decision in DECISIONS}, "unchanged": len(new) - len(fresh)}


def _from_row(row: dict[str, str], others: Neighbours, language: str) -> Row | None:
    """The judgement in a row; None where the reviewer has not decided yet."""
    new = new_text(row)
    if not row["decision"].strip() and not new:
        return None
    if row["id"] not in others.pool:
        raise UserError(f"id {row['id']!r} is not in this run's pool; export the sheet from the run you import it to")
    original = others.pool[row["id"]]
    if changed := list(changes(original, row)):
        raise UserError(f"{changed[0]} was changed in its own column; write the change into new_{changed[0]} and put it back")
    return judgement(original, row["decision"], row["reviewer"], row["note"], new, others, language)


def judgement(
    original: Example,
    decision: str,
    reviewer: str,
    note: str = "",
    new: Row | None = None,
    others: Neighbours | None = None,
    language: str = "ur",
) -> Row:
    """One row of review.jsonl. `new` maps PARTS to text as the reviewer left it, labels with commas between them.

    Raises UserError for an unknown decision, no reviewer, new text under another decision than edit, and for an edit that changes
    nothing, that a filter would drop (named), or whose new question is too near to one of `others` (`not_novel`).
    """
    decision, edit = decision.strip().lower(), changes(original, new or {})
    if decision not in DECISIONS:
        raise UserError(f"decision is {decision!r}; expected accept, edit or reject")
    if not reviewer.strip():
        raise UserError("reviewer is empty; write a name or initials")
    if decision == "edit" and not edit:
        raise UserError("decision is edit, but no text is new; write the new text, or decide accept")
    if decision != "edit" and edit:
        raise UserError(f"decision is {decision}, but {', '.join(edit)} has new text; decide edit, or take the new text out")
    revised = revise(original, edit, language) if edit else original
    if edit and (reason := first_reason(revised, language) or (others.too_near(original, revised) if others else "")):
        raise UserError(f"the edited example does not pass the filter {reason}; correct the new text, or decide reject")
    said = {"id": original.id, "decision": decision, "reviewer": reviewer.strip(), "note": note.strip()}
    return {**said, "original": to_dict(original), "edit": edit or None}


def revise(original: Example, edit: Row, language: str = "ur") -> Example:
    """The original with an edit's parts, its meta read off the new text as `parse` reads it. Raises UserError for no task."""
    revised = replace(original, **edit)
    if (revised.category in LABELLED) != bool(revised.labels):
        raise UserError(f"{revised.category} has labels {list(revised.labels)}; only {' and '.join(LABELLED)} have labels")
    return replace(revised, meta=infer_meta(revised, language))


def read(run: Run) -> list[Row]:
    """All judgements of a run in the order they were made."""
    path = run.file("synth", "review.jsonl")
    return list(read_jsonl(path)) if path.is_file() else []


def write(run: Run, judgements: Iterable[Row]) -> None:
    """Add judgements to a run's, each on disk before the next; what others write meanwhile stays."""
    with AppendOnly(run.file("synth", "review.jsonl")) as journal:
        for row in judgements:
            journal.append(row)


def apply(pool: Iterable[Example], judgements: Iterable[Row], language: str = "ur") -> list[Example]:
    """The pool as reviewed: rejected ones gone, edits made, `provenance.review` set. The last word on an example counts."""
    last, kept = {row["id"]: row for row in judgements}, []
    for example in (e for e in pool if last.get(e.id, {}).get("decision") != "reject"):
        revised = example
        if said := last.get(example.id):
            revised = revise(example, said["edit"], language) if said["edit"] else example
            revised = replace(revised, provenance=replace(example.provenance, review="edited" if said["edit"] else "accepted"))
        kept.append(revised)
    return kept


def agreement(judgements: Iterable[Row]) -> dict[str, Row]:
    """Cohen's kappa of each pair of reviewers over the examples both judged, each by their last word.

    `{"ali, sara": {"n": 20, "kappa": 0.61}}`; kappa is None with no example in common, or when both always say the same one thing.
    """
    said: dict[str, dict[str, str]] = defaultdict(dict)
    for row in judgements:
        said[row["reviewer"]][row["id"]] = row["decision"]
    pairs = {}
    for (left, lefts), (right, rights) in combinations(sorted(said.items()), 2):
        both = lefts.keys() & rights.keys()
        kappa = cohen_kappa([lefts[key] for key in both], [rights[key] for key in both]) if both else None
        pairs[f"{left}, {right}"] = {"n": len(both), "kappa": kappa}
    return pairs


def cohen_kappa(left: list[str], right: list[str]) -> float | None:
    """(observed - expected) / (1 - expected) agreement (Cohen 1960); None when both always say the same one thing."""
    n = len(left)
    observed = sum(a == b for a, b in zip(left, right, strict=True)) / n
    expected = sum(left.count(label) * right.count(label) for label in set(left) | set(right)) / n**2
    return None if expected == 1 else round((observed - expected) / (1 - expected), 4)
