"""report: the run as one self-contained page, report.html, and as a short table for the terminal.

In: the run folder's files, whichever are there. Out: HTML without outside resources; Urdu runs right to left. Teacher and
model text is escaped. Two runs of the same configuration differ in times only.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import Any

from alif_kit import __version__
from alif_kit.core.figures import ACCENT, FAINT, INK, SECOND, figure, svg
from alif_kit.core.records import Example, read_jsonl, write_atomic
from alif_kit.core.run import Run
from alif_kit.core.run import latest_json as latest_json  # for the lessons
from alif_kit.languages import pack
from alif_kit.languages.text import urdu_purity
from alif_kit.report import evaluation, release
from alif_kit.report.evaluation import SUBJECT_NAMES


def build(run: Run) -> Path:
    """Write report.html and return its path."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.tests["in_script"] = lambda text: urdu_purity(text) > 0.5
    page = environment.get_template("report.html.j2").render(**_content(run))
    path = run.file("report.html")
    write_atomic(path, page)
    return path


def _content(run: Run) -> dict[str, Any]:
    funnel = evaluation.json_at(run.file("synth", "funnel.json"))
    return {
        "run": run,
        "version": __version__,
        "language": run.config.language,
        "direction": pack.settings(run.config.language)["direction"],
        "funnel": funnel,
        "funnel_svg": funnel_plot(funnel) if funnel else "",
        "loss_svg": loss_plot(run),
        "mixture_svg": mixture_plot(run),
        "samples": sample_examples(run, 10),
        **_evaluation(run),
        "released": release.released(run),
        "ledger": stages(run),
        "totals": totals(run),
    }


def _evaluation(run: Run) -> dict[str, Any]:
    """What the page shows of evaluation; nothing before it has run."""
    results = evaluation.results_of(run)
    if not results:
        return {}
    return {
        "results": results,
        "subjects": [SUBJECT_NAMES.get(s["name"], s["name"]) for s in results["subjects"]],
        "comparison": evaluation.comparison(results),
        "headline": evaluation.headline(results, run.config.language),
        "difference_svg": evaluation.difference_plot(results),
        "published": evaluation.beside_published(results),
        "differing": evaluation.differing(run, 6),
        "unread": evaluation.unread(run, 8),
        "gate": evaluation.gate_of(run),
    }


def stages(run: Run) -> list[dict[str, Any]]:
    """One ledger line per stage: its last one, which counts all its work, with the seconds of all its sessions."""
    lines: dict[str, dict[str, Any]] = {}
    for line in run.ledger():
        before = lines.get(line["stage"], {"seconds": 0.0})["seconds"]
        lines[line["stage"]] = {**line, "seconds": before + line["seconds"]}
    return list(lines.values())


def totals(run: Run) -> dict[str, Any]:
    """Sums over the ledger, and the budget beside them."""
    lines = stages(run)
    sums = {name: sum(line[name] for line in lines) for name in ("seconds", "tokens_in", "tokens_out")}
    return sums | {"usd": sum(line["usd_api"] for line in lines), "budget": run.config.teacher.max_usd}


def sample_examples(run: Run, count: int) -> list[Example]:
    """A seeded sample of the training data, every category in it as far as `count` goes."""
    path = run.file("data", "train.jsonl")
    if not path.is_file():
        return []
    by_category: dict[str, list[Example]] = {}
    for example in read_jsonl(path, Example):
        by_category.setdefault(example.category, []).append(example)
    draw = random.Random(run.config.seed)
    rounds = zip_longest(*(draw.sample(rows, len(rows)) for rows in by_category.values()))
    return [example for one in rounds for example in one if example][:count]


def changed_pages(run: Run, count: int) -> str:
    """The first pages that cleaning mended, before and after side by side, as HTML; empty when none was."""
    path = run.file("pretrain", "corpus_samples.jsonl")
    samples = [row for row in read_jsonl(path) if not row["reason"]][:count] if path.is_file() else []
    style = "display:grid;grid-template-columns:1fr 1fr;gap:1em;white-space:pre-wrap;line-height:2.2"
    page = f'<div dir="rtl" lang="ur" style="{style}"><div>{{}}</div><div>{{}}</div></div><hr>'
    return "".join(escaped(page, row["before"], row["after"]) for row in samples)


def escaped(page: str, *texts: str) -> str:
    """A piece of HTML with texts put in its braces, each escaped: what a model wrote must not run in a browser."""
    from markupsafe import Markup

    return Markup(page).format(*texts)


def funnel_plot(funnel: dict[str, Any]) -> str:
    """Candidates by outcome, as SVG."""
    reasons = funnel["reasons"]
    drawing, axes = figure(8, 0.55 + 0.34 * len(reasons))
    names = list(reversed(reasons))
    bars = axes.barh(names, [reasons[n] for n in names], color=[ACCENT if n == "accepted" else FAINT for n in names])
    axes.bar_label(bars, padding=4, color=INK)
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])
    return svg(drawing)


def mixture_plot(run: Run) -> str:
    """Tokens of fine-tuning by source, as SVG; empty where one source is all."""
    from markupsafe import Markup

    from alif_kit.training.show import budget_plot

    counts = evaluation.json_at(run.file("finetune", "mixture.json"))
    return Markup(budget_plot(counts)) if counts and len(counts["sources"]) > 1 else ""


def loss_plot(run: Run) -> str:
    """Training loss by step of the stages that have metrics, as SVG."""
    curves = [(stage, list(_curve(run.file(stage, "metrics.csv")))) for stage in ("pretrain", "finetune")]
    curves = [(stage, points) for stage, points in curves if points]
    if not curves:
        return ""
    drawing, panels = figure(8, 2.9, columns=len(curves))
    for axes, (stage, points), colour in zip(panels, curves, (ACCENT, SECOND), strict=False):
        steps, losses = zip(*points, strict=True)
        axes.plot(steps, losses, color=colour, linewidth=0.8, alpha=0.4)
        smooth = list(accumulate(losses, lambda before, loss: 0.8 * before + 0.2 * loss))
        axes.plot(steps, smooth, color=colour, linewidth=2)
        if held_out := list(_curve(run.file(stage, "metrics.csv"), "eval_loss")):
            axes.plot(*zip(*held_out, strict=True), color=INK, linewidth=1.5, linestyle="--", label="held-out")
            axes.legend(frameon=False)
        axes.set_title({"pretrain": "continued pretraining", "finetune": "fine-tuning"}[stage], fontsize=10, loc="left")
        axes.set_xlabel("step")
        axes.set_ylabel("loss (nats per token)")
        axes.spines[["top", "right"]].set_visible(False)
    return svg(drawing)


def _curve(path: Path, column: str = "loss") -> Iterable[tuple[int, float]]:
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            yield from ((int(row["step"]), float(row[column])) for row in csv.DictReader(file) if row.get(column))
