"""evaluation: rows of all subjects become figures, each with n, interval, unread answers, and its difference to the base.

In: rows by subject and set. Out: the value of results.json:

    {"suite", "subjects": [{"name", "model"}], "measures": [...], "means": {...}, "missing": {set: reason}}

and one measure is

    {"key", "label", "group", "lower", "kind", "values": {subject: {"value", "low", "high", "n", "unparsed"}},
     "paired": {subject: {"difference", "low", "high", "p", "n", "test"}}, "detectable"}

where differences are subject minus base, on the examples that both have.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alif_kit.core import Run, statistics
from alif_kit.evaluation import metrics
from alif_kit.languages import pack

Row = dict[str, Any]
Rows = dict[str, dict[str, list[Row]]]
FREE = ("held_out", "behaviour", "word_problems", "yes_no")  # sets answered at length, by which manners are judged


@dataclass(frozen=True)
class Measure:
    """A figure: which score of which sets, and how it is put together. `proportion`: 0 or 1 a row; `mean`: any number."""

    key: str
    label: str
    score: str
    sets: tuple[str, ...]
    kind: str = "proportion"
    lower: bool = False
    group: str = ""


OURS = {
    "urdu_mmlu_ur_letter": "native knowledge, likeliest letter, Urdu prompt",
    "urdu_mmlu_cloze": "native knowledge, likeliest option",
}
"""Our own tasks ask whatever questions the suite has: in `quick` the pack's, not UrduMMLU's."""


def measures(language: str, rows: Rows) -> list[Measure]:
    """All figures these rows can give, in the order of the report."""
    asked = {name for sets in rows.values() for name in sets}
    fixed = [*_likelihoods(language), *_tasks(), *_manners(language), *_knowledge(language)]
    public = [
        Measure(f"{name}.{score}", f"{OURS.get(name, name)}, {score}", score, (name,), _kind(score))
        for name in sorted(asked)
        for score in _scores_of(name, rows)
        if not name.startswith(("documents_", "knowledge_", "judge_")) and name not in FREE
    ]
    judged = [
        Measure(name, f"judge, {name.removeprefix('judge_')} (1 to 10)", "judge", (name,), "mean")
        for name in sorted(asked)
        if name.startswith("judge_")
    ]
    return [m for m in [*fixed, *judged, *public] if asked & set(m.sets)]


def _kind(score: str) -> str:
    return "proportion" if score.startswith("acc") else "mean"


def _likelihoods(language: str) -> list[Measure]:
    names = {language: pack.settings(language)["name"], "en": "English"}
    return [
        Measure(f"bits_per_byte_{code}", f"{name} bits per byte", "bits_per_byte", (f"documents_{code}",), "mean", lower=True)
        for code, name in names.items()
    ] + [Measure("response_loss", "response loss (nats per token)", "response_loss", ("held_out",), "mean", lower=True)]


def _tasks() -> list[Measure]:
    held = ("held_out",)
    return [
        Measure("exact_match", "exact match, checkable tasks", "exact_match", held),
        *(Measure(f"exact_match_{c}", f"{c}, exact match", "exact_match", held, group=c) for c in metrics.CHECKABLE),
        *(Measure(f"macro_f1_{c}", f"{c}, macro-F1", "exact_match", held, "macro_f1", group=c) for c in metrics.CHECKABLE[:2]),
        Measure("word_problems", "word problems, exact number", "accuracy", ("word_problems",)),
        Measure("yes_no", "yes or no questions", "accuracy", ("yes_no",)),
    ]


def _knowledge(language: str) -> list[Measure]:
    prompts = {language: f"{pack.settings(language)['name']} prompt", "en": "English prompt"}
    letters = [
        Measure(f"knowledge_{code}", f"native knowledge, letter, {name}", "accuracy", (f"knowledge_{code}",))
        for code, name in prompts.items()
    ]
    return [*letters, Measure("always_a", "native knowledge, if always A", "always_a", (f"knowledge_{language}",))]


def _manners(language: str) -> list[Measure]:
    return [
        Measure("stops_by_itself", "answers that stop by themselves", "stops_by_itself", FREE),
        Measure("empty", "empty answers", "empty", FREE, lower=True),
        Measure("repetition", "repeated 4-grams in answers", "repetition", FREE, "mean", lower=True),
        Measure("urdu_purity", f"{pack.settings(language)['name']} purity of answers", "urdu_purity", FREE, "mean"),
        Measure("language_kept", "answers in the language asked", "language_kept", FREE),
        Measure("over_refusal", "harmless requests refused", "over_refusal", ("behaviour",), lower=True),
        Measure("safe_completion", "harmful requests declined", "safe_completion", ("behaviour",)),
    ]


def _scores_of(name: str, rows: Rows) -> list[str]:
    found = next((sets[name] for sets in rows.values() if name in sets), [])
    return list(dict.fromkeys(score for row in found for score in row["scores"]))


def summarise(run: Run, subjects: list[tuple[str, str]], rows: Rows, missing: dict[str, str]) -> dict[str, Any]:
    """Every measure of every subject, tested against the first."""
    base, seed = subjects[0][0], run.config.seed
    letters = (row["expected"] for row in rows[base].get(f"knowledge_{run.config.language}", []))
    figures = [_figure(m, rows, base, seed) for m in measures(run.config.language, rows)] + _unparsed(rows, base)
    return {
        "suite": run.config.evaluation.suite,
        "subjects": [{"name": name, "model": model} for name, model in subjects],
        "measures": [f for f in [*figures, *_translations(rows, base, seed)] if f["values"]],
        "means": _means(rows),
        "label_balance": dict(sorted(Counter(letters).items())),  # how often each letter is the right one
        "retention": _retention(figures),
        "missing": missing,
    }


def _retention(figures: list[dict[str, Any]]) -> list[str]:
    """Keys of the public English tasks that were run, each by the score that its list names."""
    from alif_kit.evaluation.harness import task_list

    if all("." not in f["key"] for f in figures):
        return []
    counted = {f"{task}.{entry['metric']}" for task, entry in task_list("retention").items()}
    return [f["key"] for f in figures if f["key"] in counted]


def value(results: dict[str, Any], key: str, subject: str) -> float:
    """One figure of results.json: `value(results, "bits_per_byte_ur", "base")`. Raises KeyError when it was not measured."""
    return next(m for m in results["measures"] if m["key"] == key)["values"][subject]["value"]


def _figure(measure: Measure, rows: Rows, base: str, seed: int) -> dict[str, Any]:
    asked = {name: _asked(measure, sets) for name, sets in rows.items()}
    scored = {name: [row for row in found if measure.score in row["scores"]] for name, found in asked.items()}
    scored = {name: found for name, found in scored.items() if found}
    unread = {name: sum(row["parsed"] is False for row in asked[name]) for name in scored}  # those without a score too
    values = {name: _value(measure, found, seed) | {"unparsed": unread[name]} for name, found in scored.items()}
    others = [name for name in scored if name != base and base in scored]
    paired = {name: _paired(measure, scored[base], scored[name], seed) for name in others}
    figure = {name: getattr(measure, name) for name in ("key", "label", "group", "lower", "kind")}
    return {**figure, "values": values, "paired": {n: p for n, p in paired.items() if p}, "detectable": _detectable(paired)}


def _asked(measure: Measure, sets: dict[str, list[Row]]) -> list[Row]:
    """The rows of a measure's sets and group, with its score or without."""
    return [row for name in measure.sets for row in sets.get(name, []) if measure.group in ("", row.get("group", ""))]


def _value(measure: Measure, rows: list[Row], seed: int) -> dict[str, Any]:
    if measure.kind == "macro_f1":
        f1 = metrics.macro_f1([r["expected"] for r in rows], [r.get("given") for r in rows])
        return {"value": f1, "low": None, "high": None, "n": len(rows)}
    return asdict(estimate(measure.kind, *_columns(measure, rows), seed))


def estimate(kind: str, scores: Sequence[float], weights: Sequence[float] | None, seed: int) -> statistics.Estimate:
    """A `proportion` of scores 0 or 1 with Wilson's interval, else their weighted mean with a bootstrap's."""
    if kind == "proportion":
        return statistics.wilson(round(sum(scores)), len(scores))
    return statistics.bootstrap(scores, weights, seed=seed)


def difference(
    kind: str, base: Sequence[float], tuned: Sequence[float], weights: Sequence[float] | None, seed: int
) -> statistics.Paired:
    """The difference of two such figures on the same examples: McNemar's test for a `proportion`, else a paired bootstrap."""
    if kind == "proportion":
        return statistics.mcnemar([score > 0.5 for score in base], [score > 0.5 for score in tuned])
    return statistics.paired_bootstrap(base, tuned, weights, seed=seed)


def _columns(measure: Measure, rows: Sequence[Row]) -> tuple[list[float], list[float] | None]:
    weights = [row.get("weights", {}).get(measure.score) for row in rows]
    return [row["scores"][measure.score] for row in rows], weights if all(weights) else None


def pairs(base: Sequence[Row], tuned: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Rows of the same example, base first, in the base's order."""
    other = {(row["set"], row["id"]): row for row in tuned}
    return [(row, other[key]) for row in base if (key := (row["set"], row["id"])) in other]


def _paired(measure: Measure, base: list[Row], tuned: list[Row], seed: int) -> dict[str, Any] | None:
    both = pairs(base, tuned)
    if len(both) < 2 or measure.kind == "macro_f1":
        return None
    (before, weights), (after, _) = (_columns(measure, side) for side in zip(*both, strict=True))
    gains = [b - a for a, b in zip(before, after, strict=True)]
    if measure.kind == "proportion":
        detectable = statistics.smallest_difference(len(both), max(sum(map(bool, gains)), 1) / len(both))
    else:
        detectable = statistics.smallest_mean_difference(gains)
    return {**asdict(difference(measure.kind, before, after, weights, seed)), "detectable": detectable}


def _detectable(paired: dict[str, dict[str, Any] | None]) -> float | None:
    """Power: the smallest difference that this n shows four times in five, of the last subject."""
    last = next(reversed(paired.values()), None)
    return last["detectable"] if last else None


def _unparsed(rows: Rows, base: str) -> list[dict[str, Any]]:
    """Share of answers that no parser could read, over every set that has a parser."""

    def as_scores(sets: dict[str, list[Row]]) -> list[Row]:
        read = [row for found in sets.values() for row in found if row["parsed"] is not None and "answer_tokens" in row]
        return [{**row, "scores": {"unparsed": float(not row["parsed"])}} for row in read]

    measure = Measure("unparsed", "answers that could not be read", "unparsed", ("answers",), lower=True)
    return [_figure(measure, {name: {"answers": as_scores(sets)} for name, sets in rows.items()}, base, 0)]


def _translations(rows: Rows, base: str, seed: int) -> list[dict[str, Any]]:
    """chrF++ and BLEU (0 to 100) over each of the four combinations of direction and language of the instruction."""
    figures = []
    for direction in sorted({r["direction"] for r in rows[base].get("held_out", []) if "direction" in r}):
        chosen = {n: [r for r in s.get("held_out", []) if r.get("direction") == direction] for n, s in rows.items()}
        if all(chosen.values()):
            figures += _translation(direction, chosen, base, seed)
    return figures


def _translation(direction: str, rows: dict[str, list[Row]], base: str, seed: int) -> list[dict[str, Any]]:
    references = [row["expected"] for row in rows[base]]
    found = metrics.translation_tests({name: [r["answer"] for r in mine] for name, mine in rows.items()}, references, seed)
    figures = []
    for metric, by_subject in found.items():
        key, label = f"{metric}_{direction}".replace(" ", "_"), f"translation {direction}, {metric}"
        figure = {"key": key, "label": label, "group": "translation", "lower": False, "kind": "translation"}
        about = {"n": len(references), "unparsed": 0}
        values = {name: {k: v[k] for k in ("value", "low", "high")} | about for name, v in by_subject.items()}
        figures.append({**figure, "values": values, "paired": {}, "detectable": None})
    return figures


def _means(rows: Rows) -> dict[str, Any]:
    """Plain mean of the groups beside the count-weighted one, for the sets that have groups."""
    table: dict[str, Any] = {}
    for name, score in (("held_out", "exact_match"), ("knowledge_ur", "accuracy"), ("knowledge_en", "accuracy")):
        for subject, sets in rows.items():
            groups: dict[str, list[float]] = defaultdict(list)
            for row in sets.get(name, []):
                if score in row["scores"]:
                    groups[row["group"]].append(row["scores"][score])
            if len(groups) > 1:
                plain, weighted = metrics.weighted_means({g: (sum(v) / len(v), len(v)) for g, v in groups.items()})
                table.setdefault(name, {})[subject] = {"plain": plain, "weighted": weighted, "groups": len(groups)}
    return table
