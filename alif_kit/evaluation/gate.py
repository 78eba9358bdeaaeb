"""evaluation: the gate. Is the tuned model worse than its base where it matters?

In: results.json and the margins of the configuration. Out: evaluation/gate.json, one finding per guarded measure and one verdict:

    fail       on some measure it is worse by more than the margin, and the 95 % interval of the difference has no zero in it
    undecided  no failure, but on some measure there is too little evidence that it is not worse than the margin
    pass       every measure was taken, on enough examples, and its interval excludes a loss beyond the margin

So a pass is a non-inferiority test per measure, and what was not measured cannot pass.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from alif_kit.core import Run
from alif_kit.core.config import Gate
from alif_kit.core.records import write_json
from alif_kit.core.run import latest_json

FAIL, UNDECIDED, PASS = "fail", "undecided", "pass"


@dataclass(frozen=True)
class Guard:
    """What is guarded: its name in the configuration, the measures that show it, and whether the margin is a share of the base."""

    name: str
    keys: tuple[str, ...]
    relative: bool = False
    every: bool = True
    """Whether each of the keys must have been measured, or one of them is enough."""


def guards(language: str, public: list[str]) -> list[Guard]:
    """The guarded measures; `public` are the keys of public English tasks that were run."""
    return [
        Guard("knowledge", (f"knowledge_{language}", "knowledge_en"), every=False),
        Guard("knowledge", ("urdu_mmlu_ur_letter.acc", "urdu_mmlu_cloze.acc_norm"), every=False),
        Guard("retention", ("bits_per_byte_en",), relative=True),
        *([Guard("retention", tuple(public))] if public else []),
        Guard("unparsed", ("unparsed",)),
        Guard("stops", ("stops_by_itself",)),
        Guard("purity", ("urdu_purity",)),
        Guard("safety", ("safe_completion", "over_refusal")),
    ]


@dataclass(frozen=True)
class Finding:
    """One measure against its margin. `loss` is how much worse, in the measure's own direction; negative when better."""

    guard: str
    measure: str
    verdict: str
    loss: float | None
    margin: float
    n: int
    sentence: str


def check(run: Run, results: dict[str, Any] | None = None) -> dict[str, Any]:
    """Judge the last subject against the first, write evaluation/gate.json and return it. Raises UserError without results."""
    results = results or latest_json(run.require("evaluation", "results.json", stage="evaluate"))
    findings = judge(results, run.config.gate, run.config.language)
    gate = {
        "verdict": verdict_of(findings),
        "base": results["subjects"][0]["model"],
        "tuned": results["subjects"][-1]["model"],
        "suite": results["suite"],
        "findings": [asdict(f) for f in findings],
    }
    write_json(run.file("evaluation", "gate.json"), gate)
    return gate


def judge(results: dict[str, Any], gate: Gate, language: str) -> list[Finding]:
    """One finding per measure that is guarded, measured or not."""
    by_key = {m["key"]: m for m in results["measures"]}
    tuned = results["subjects"][-1]["name"]
    findings = []
    for guard in guards(language, results.get("retention", [])):
        there = [key for key in guard.keys if key in by_key]
        findings += [_finding(guard, by_key[key], tuned, gate) for key in there]
        findings += [_missing(guard, key, gate) for key in guard.keys if key not in by_key and (guard.every or not there)]
    return findings


def verdict_of(findings: list[Finding]) -> str:
    """The worst finding: fail, undecided, pass."""
    verdicts = {finding.verdict for finding in findings}
    return next((v for v in (FAIL, UNDECIDED) if v in verdicts), PASS)


def _missing(guard: Guard, key: str, gate: Gate) -> Finding:
    margin = getattr(gate, guard.name)
    return Finding(guard.name, key, UNDECIDED, None, margin, 0, f"{guard.name}: {key} was not measured")


def _finding(guard: Guard, measure: dict[str, Any], tuned: str, gate: Gate) -> Finding:
    margin, paired = getattr(gate, guard.name), measure["paired"].get(tuned)
    if paired is None:
        return _missing(guard, measure["key"], gate)
    scale = measure["values"]["base"]["value"] if guard.relative else 1.0
    sign = 1.0 if measure["lower"] else -1.0
    loss, *ends = (sign * paired[name] / (scale or 1.0) for name in ("difference", "low", "high"))
    low, high = sorted(ends)
    enough = gate.min_documents if measure["key"].startswith("bits_per_byte") else gate.min_examples
    verdict, why = _verdict(loss, low, high, margin, paired["n"], enough)
    sentence = f"{guard.name}: {measure['label']} {_moved(measure, tuned, loss, guard.relative)}, {why} (n {paired['n']:,})"
    return Finding(guard.name, measure["key"], verdict, loss, margin, paired["n"], sentence)


def _verdict(loss: float, low: float, high: float, margin: float, n: int, enough: int) -> tuple[str, str]:
    """The verdict and its reason; `low` and `high` bound the loss."""
    allowed = f"{margin:.1%} allowed"
    if loss > margin and low > 0:
        return FAIL, f"worse by {loss:.1%}, {allowed}"
    if n < enough:
        return UNDECIDED, f"too few examples to say, {enough:,} needed"
    if high > margin:
        return UNDECIDED, f"a loss of up to {high:.1%} cannot be excluded, {allowed}"
    return PASS, f"a loss of more than {max(0.0, high):.1%} is excluded, {allowed}"


def _moved(measure: dict[str, Any], tuned: str, loss: float, relative: bool) -> str:
    before, after = (measure["values"][name]["value"] for name in ("base", tuned))
    shape = "{:.3f}" if relative or measure["kind"] == "mean" else "{:.1%}"
    return f"{shape.format(before)} → {shape.format(after)}"


def causes(gate: dict[str, Any], verdict: str) -> list[str]:
    """The sentences of the findings with a verdict."""
    return [f["sentence"] for f in gate["findings"] if f["verdict"] == verdict]
