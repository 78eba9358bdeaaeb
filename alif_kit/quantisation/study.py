"""quantisation: what quantisation costs this model: every form measured on the same examples, beside its 16-bit weights.

In: a run with merged weights. Out: release/quant_study/: a JSON per form (measure.py), results.json with intervals and paired
differences to 16 bit, plot.svg, and one sentence of advice.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from alif_kit.core import Run, StoppedError, UserError
from alif_kit.core.figures import ACCENT, FAINT, INK, figure, svg
from alif_kit.core.records import stable_id, write_atomic, write_json
from alif_kit.core.run import latest_json
from alif_kit.evaluation.summary import difference, estimate
from alif_kit.platforms import machine
from alif_kit.quantisation.engines import WINDOW
from alif_kit.quantisation.measure import BITS, READ
from alif_kit.release import gguf, read_back

FORMS = (*BITS, "q8_0", "q5_k_m", "q4_k_m")
SHARES = ("choice", "numbers")


def study(run: Run, forms: list[str], limit: int) -> dict[str, Any]:
    """Measure the forms, those of an earlier call excepted; returns what results.json holds. 16 bit is always among them.

    A form that cannot be had here (no llama.cpp, a tokenizer that the converter does not know) is named with the reason. Raises
    UserError for an unknown form, StoppedError when the 16-bit weights cannot be measured.
    """
    unknown = sorted(set(forms) - {*BITS, *gguf.QUANTS})
    if unknown:
        raise UserError(f"--forms names {unknown[0]!r}; expected some of {', '.join((*BITS, *gguf.QUANTS))}")
    found: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    for form in dict.fromkeys(["16bit", *forms]):
        try:
            found[form] = _measured(run, form, limit)
        except (UserError, StoppedError) as error:
            if form == "16bit":
                raise
            missing[form] = str(error)
    results = {"limit": limit, "forms": [_summary(run, one, found["16bit"]) for one in found.values()], "missing": missing}
    results["advice"] = advice(results["forms"], run.config.language, run.config.gate.retention)
    write_json(run.file("release", "quant_study", "results.json"), results)
    write_atomic(run.file("release", "quant_study", "plot.svg"), plot(results["forms"], run.config.language))
    return results


def _measured(run: Run, form: str, limit: int) -> dict[str, Any]:
    merged, out = run.file("release", "merged"), run.file("release", "quant_study", f"{form}.json")
    mark = stable_id((merged / "SHA256SUMS").read_text("utf-8"), form, limit, WINDOW, READ, run.config.evaluation.data)
    if out.is_file() and (before := latest_json(out)).get("mark") == mark:
        return before
    path = merged
    if form not in BITS:
        gguf.need_llama(f"measuring {form}")
        (path,) = gguf.make(merged, [form], run.file("release", "gguf"), run.path.name, machine.scratch_folder())
        if faults := read_back.inspected(path, merged, run.config.base, read_back.sample_texts(run.config.language))["faults"]:
            raise StoppedError(f"{path.name} is not the merged model's: {'; '.join(faults)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "alif_kit.quantisation.measure", str(run.path), form, str(path), str(limit), str(out)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise StoppedError(f"measuring {form} stopped with exit code {done.returncode}; what it said stands above")
    found = latest_json(out) | {"mark": mark}
    write_json(out, found)
    return found


def _summary(run: Run, form: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Figures of a form, each with its interval and its paired difference to 16 bit."""
    measures = {}
    for name, rows in form["scores"].items():
        pairs = [(a[1], b[1], a[2]) for a, b in zip(whole["scores"][name], rows, strict=True)]
        measures[name] = _measure(name, pairs, form["form"] == whole["form"], run.config.seed)
    return {key: value for key, value in form.items() if key not in ("scores", "mark")} | {"measures": measures}


def _measure(name: str, pairs: list[tuple[float, float, float]], is_whole: bool, seed: int) -> dict[str, Any]:
    before, after, weights = (list(column) for column in zip(*pairs, strict=True))
    kind = "proportion" if name in SHARES else "mean"
    paired = None if is_whole else vars(difference(kind, before, after, weights, seed))
    return vars(estimate(kind, after, weights, seed)) | {"paired": paired}


def advice(forms: list[dict[str, Any]], language: str, allowed: float) -> str:
    """One sentence: the smallest form whose bits per byte rise by no more than `allowed`, a share, and what it costs.

    A form that is surely worse at multiple choice is not advised.
    """
    key = f"documents_{language}"
    whole = forms[0]
    for form in sorted(forms[1:], key=lambda f: f["bytes"]):
        rise = form["measures"][key]["value"] / whole["measures"][key]["value"] - 1
        choice = form["measures"].get("choice")
        worse = choice is not None and choice["paired"]["high"] < 0
        if form["bytes"] < whole["bytes"] and rise <= allowed and not worse:
            return _praise(form, whole, rise, allowed, choice)
    return f"No smaller form keeps bits per byte within {allowed:.0%} of 16 bit: serve the 16-bit weights."


def _praise(form: dict[str, Any], whole: dict[str, Any], rise: float, allowed: float, choice: dict[str, Any] | None) -> str:
    faster = form["generation_tokens_per_second"] / whole["generation_tokens_per_second"]
    said = (
        f"{form['form']} is the smallest form that keeps the text likelihood: {form['bytes'] / whole['bytes']:.0%} of the 16-bit "
        f"size, bits per byte {rise:+.1%} ({allowed:.0%} allowed), {faster:.1f} times its tokens a second here"
    )
    if choice is None:
        return said + "."
    seen = f"{100 * choice['paired']['difference']:+.1f} points of multiple choice on {choice['n']} questions"
    return f"{said}; {seen} (95 % interval {100 * choice['paired']['low']:+.1f} to {100 * choice['paired']['high']:+.1f})."


def table(results: dict[str, Any], language: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows, for the terminal, Markdown and the report."""
    names = {f"documents_{language}": f"{language} bits/byte", "documents_en": "en bits/byte"}
    names |= {"choice": "multiple choice", "numbers": "exact number"}
    shown = [name for name in names if any(name in form["measures"] for form in results["forms"])]
    header = ["form", "MB on disk", "MiB memory", "prompt tokens/s", "answer tokens/s", *(names[name] for name in shown)]
    return header, [
        [
            form["form"],
            f"{form['bytes'] / 1e6:,.0f}",
            f"{form['memory_mib']:,.0f}",
            f"{form['prompt_tokens_per_second']:,.0f}",
            f"{form['generation_tokens_per_second']:,.1f}",
            *(_cell(name, form["measures"].get(name)) for name in shown),
        ]
        for form in results["forms"]
    ]


def _cell(name: str, measure: dict[str, Any] | None) -> str:
    """A value with its interval, and the difference to 16 bit, starred where its interval excludes zero."""
    if measure is None:
        return "–"
    kind, scale = ("{:.0f}%", 100) if name in SHARES else ("{:.3f}", 1)
    value, low, high = (kind.format(scale * measure[key]) for key in ("value", "low", "high"))
    paired = measure["paired"]
    if paired is None:
        return f"{value} ({low} to {high})"
    sure = "*" if paired["low"] > 0 or paired["high"] < 0 else ""
    step = ("{:+.0f}" if name in SHARES else "{:+.3f}").format(scale * paired["difference"])
    return f"{value} ({low} to {high}) {step}{sure}"


def plot(forms: list[dict[str, Any]], language: str) -> str:
    """Bits per byte against megabytes, the mark's area by tokens a second, as SVG: down and left is better."""
    drawing, axes = figure(7, 4)
    fastest = max(form["generation_tokens_per_second"] for form in forms)
    for place, form in enumerate(sorted(forms, key=lambda f: f["bytes"])):
        measure, size = form["measures"][f"documents_{language}"], form["bytes"] / 1e6
        area = 60 + 540 * form["generation_tokens_per_second"] / fastest
        axes.plot([size, size], [measure["low"], measure["high"]], color=FAINT, linewidth=2, zorder=1)
        axes.scatter([size], [measure["value"]], s=area, color=ACCENT, alpha=0.75, edgecolors=INK, zorder=2)
        beside = (0, (16, -26)[place % 2])  # forms of like size would write over each other
        axes.annotate(form["form"], (size, measure["value"]), xytext=beside, textcoords="offset points", ha="center")
    axes.set_xlabel("size on disk, MB (the larger the mark, the more tokens a second)")
    axes.set_ylabel(f"{language} bits per byte, 95 % interval")
    axes.margins(0.15)
    axes.spines[["top", "right"]].set_visible(False)
    return svg(drawing)
