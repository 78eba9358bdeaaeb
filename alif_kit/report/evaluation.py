"""report: what evaluation found, for a page and for the terminal.

In: evaluation/results.json, gate.json and the rows. Out: a table with intervals, a plot of differences, published numbers beside
ours, the examples on which tuned and base differ most, in both directions, and the answers that nothing could read.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from alif_kit.core.figures import ACCENT, INK, SECOND, figure, svg
from alif_kit.core.records import read_jsonl
from alif_kit.core.run import Run, latest_json
from alif_kit.languages import pack

SUBJECT_NAMES = {"base": "base", "pretrain": "after pretraining", "finetune": "after fine-tuning", "model": "model"}
# What the terminal shows; the page shows everything.
SHORT = (
    "bits_per_byte_{language}",
    "bits_per_byte_en",
    "response_loss",
    "exact_match",
    "word_problems",
    "yes_no",
    "knowledge_{language}",
    "knowledge_en",
    "stops_by_itself",
    "urdu_purity",
    "over_refusal",
    "safe_completion",
    "unparsed",
)


def json_at(path: Path) -> Any:
    """The value of a JSON file that another stage writes, None before it has."""
    return latest_json(path) if path.is_file() else None


def results_of(run: Run) -> dict[str, Any] | None:
    """What `alif evaluate` found, or None."""
    return json_at(run.file("evaluation", "results.json"))


def gate_of(run: Run) -> dict[str, Any] | None:
    """The gate's verdict and findings, or None."""
    return json_at(run.file("evaluation", "gate.json"))


def comparison(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table: label, n, a printed value and interval per subject, the change against the base and whether it is sure."""
    names = [s["name"] for s in results["subjects"]]
    return [_row(measure, names) for measure in results["measures"]]


def _row(measure: dict[str, Any], names: list[str]) -> dict[str, Any]:
    values = [measure["values"].get(name) for name in names]
    paired = measure["paired"].get(names[-1])
    sure = paired is not None and (paired["low"] > 0 or paired["high"] < 0)
    better = (paired["difference"] < 0) == measure["lower"] if sure else None
    last = values[-1] or next(v for v in values if v)
    return {
        "key": measure["key"],
        "label": measure["label"],
        "lower": measure["lower"],
        "n": last["n"],
        "unparsed": last["unparsed"],
        "values": [printed(measure, v["value"]) if v else "–" for v in values],
        "intervals": [_interval(measure, v) for v in values],
        "change": _change(measure, paired),
        "p": _p(paired),
        "better": better,
        "detectable": printed(measure, measure["detectable"]) if measure["detectable"] is not None else "–",
    }


def printed(measure: dict[str, Any], value: float) -> str:
    """A value in the measure's own shape: a percentage, or three decimals."""
    if measure["kind"] in ("proportion", "macro_f1"):
        return f"{value:.1%}"
    return f"{value:.1f}" if measure["kind"] == "translation" else f"{value:.3f}"


def _interval(measure: dict[str, Any], value: dict[str, Any] | None) -> str:
    if not value or value["low"] is None:
        return ""
    return f"{printed(measure, value['low'])} to {printed(measure, value['high'])}"


def _p(paired: dict[str, Any] | None) -> str:
    if paired is None:
        return "–"
    return f"{paired['p']:.3f}" if paired["p"] >= 0.001 else "<0.001"


def _change(measure: dict[str, Any], paired: dict[str, Any] | None) -> str:
    if paired is None:
        return "–"
    low, high = (_signed(measure, paired[name]) for name in ("low", "high"))
    return f"{_signed(measure, paired['difference'])} ({low} to {high})"


def _signed(measure: dict[str, Any], value: float) -> str:
    return ("+" if value > 0 else "") + printed(measure, value)


def short_table(run: Run) -> tuple[list[str], list[tuple[str, ...]]]:
    """Header and rows for the terminal: measure, n, a value per subject, the change, starred where its 95 % interval excludes
    zero; empty before evaluation."""
    results = results_of(run)
    if not results:
        return [], []
    wanted = [key.format(language=run.config.language) for key in SHORT]
    rows = [row for row in comparison(results) if row["key"] in wanted or row["key"].startswith("judge_")]
    header = ["measure", "n", *(SUBJECT_NAMES.get(s["name"], s["name"]) for s in results["subjects"]), "change, * sure"]
    return header, [(r["label"], f"{r['n']:,}", *r["values"], r["change"] + ("" if r["better"] is None else " *")) for r in rows]


def headline(results: dict[str, Any], language: str) -> str:
    """One sentence on what pretraining did to held-out text, whichever way it fell; empty where it was not measured."""
    by_key = {m["key"]: m["values"] for m in results["measures"]}
    urdu, english = by_key.get(f"bits_per_byte_{language}", {}), by_key.get("bits_per_byte_en", {})
    if not {"base", "pretrain"} <= urdu.keys() & english.keys():
        return ""
    before, after = urdu["base"]["value"], urdu["pretrain"]["value"]
    moved, name = "fell" if after < before else "rose", pack.settings(language)["name"]
    return (
        f"On {urdu['base']['n']} held-out documents, {name} bits per byte {moved} from {before:.3f} to {after:.3f} "
        f"({abs(after - before) / before:.0%}) in continued pretraining; English moved by "
        f"{english['pretrain']['value'] - english['base']['value']:+.3f}."
    )


def difference_plot(results: dict[str, Any]) -> str:
    """Differences to the base with their 95 % intervals, in points, as SVG: right of the line is better. Empty without a pair."""
    tuned = results["subjects"][-1]["name"]
    shares = [m for m in results["measures"] if m["kind"] == "proportion" and m["key"] != "always_a"]
    found = [(m, m["paired"][tuned]) for m in shares if tuned in m["paired"]]
    if not found:
        return ""
    drawing, axes = figure(8, 0.9 + 0.3 * len(found))
    for place, (measure, paired) in enumerate(reversed(found)):
        sign = -100 if measure["lower"] else 100
        low, high = sorted((sign * paired["low"], sign * paired["high"]))
        colour = ACCENT if low > 0 else SECOND if high < 0 else INK
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot([sign * paired["difference"]], [place], "o", color=colour, markersize=5)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(found)), [m["label"] for m, _ in reversed(found)])
    axes.set_xlabel("points better (right) or worse (left) than the base, 95 % interval")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return svg(drawing)


def beside_published(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The published tables (published.toml) that one of our measures belongs to, our rows on top of theirs."""
    by_key = {m["key"]: m for m in results["measures"]}
    tables = []
    for table in tomllib.loads(Path(__file__).with_name("published.toml").read_text("utf-8")).values():
        keys, rows = table["ours"], table["rows"].items()
        if any(key in by_key for key in keys):
            ours = [(s["model"], [_in_their_unit(by_key.get(key), s["name"], key) for key in keys]) for s in results["subjects"]]
            theirs = [(name, [f"{v:,.2f}" if isinstance(v, float) else f"{v:,}" for v in row]) for name, row in rows]
            tables.append({**table, "ours": ours, "theirs": theirs})
    return tables


def _in_their_unit(measure: dict[str, Any] | None, subject: str, key: str) -> str:
    """Percent; a judge's 1 to 10 as 0 to 100."""
    if not measure or subject not in measure["values"]:
        return "–"
    value = measure["values"][subject]["value"]
    return f"{(value - 1) / 9 * 100:.1f}" if key.startswith("judge_") else f"{100 * value:.1f}"


def differing(run: Run, count: int) -> dict[str, list[dict[str, Any]]]:
    """Examples on which the tuned model and the base differ most: `better` and `worse`, at most `count` each."""
    results = results_of(run)
    if not results or len(results["subjects"]) < 2:
        return {"better": [], "worse": []}
    base, tuned = (answers(run, results["subjects"][i]["name"]) for i in (0, -1))
    pairs = [(row, tuned[key]) for key, row in base.items() if key in tuned]
    both = [{**after, "base_answer": before["answer"], "gain": _gain(before, after)} for before, after in pairs]
    ranked = sorted(both, key=lambda row: -abs(row["gain"]))
    return {
        "better": [row for row in ranked if row["gain"] > 0][:count],
        "worse": [row for row in ranked if row["gain"] < 0][:count],
    }


# What an answer says counts most, how it says it a tenth of that; what should be low counts against it.
WEIGHTS = {"exact_match": 1.0, "accuracy": 1.0, "safe_completion": 1.0, "stops_by_itself": 0.1, "language_kept": 0.1}
WEIGHTS |= {"urdu_purity": 0.1, "over_refusal": -1.0, "empty": -0.1, "repetition": -0.1}


def _gain(base: dict[str, Any], tuned: dict[str, Any]) -> float:
    """How much better the tuned answer is."""
    return sum(w * (tuned["scores"].get(name, 0.0) - base["scores"].get(name, 0.0)) for name, w in WEIGHTS.items())


def answers(run: Run, subject: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Every answered row of a subject, by set and id."""
    paths = sorted(run.file("evaluation", subject).glob("*.jsonl"))
    rows = (row for path in paths if ".partial" not in path.name for row in read_jsonl(path))
    return {(row["set"], row["id"]): row for row in rows if "answer" in row and "prompt" in row}


def unread(run: Run, count: int) -> list[dict[str, Any]]:
    """The tuned model's answers that no parser could read, at most `count`."""
    results = results_of(run)
    if not results:
        return []
    rows = answers(run, results["subjects"][-1]["name"]).values()
    return [row for row in rows if row.get("parsed") is False][:count]
