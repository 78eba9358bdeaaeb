"""cli: `alif evaluate`, `alif gate` and `alif judge agreement`.

In: a run, or any model and its base. Out: a table with intervals, evaluation/results.json and gate.json, an exit code for scripts.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option, Typer, echo

import alif_kit as ak
from alif_kit.cli.options import PresetOption, RunOption, SetOption, given, open_run, pairs, print_table

EXIT_CODES = {"pass": 0, "fail": 1, "undecided": 3}
VERDICTS = {"pass": "not worse than its base", "fail": "worse than its base", "undecided": "not enough evidence"}
_HELP = {
    "model": "Measure this instead of the run: an adapter's folder, a model, a Hub id, `http…/v1#NAME`.",
    "against": "The base it must beat; left out, the base that the adapter's folder names.",
    "suite": "`quick` (no network), `full` (public sets too), `paper` (Urdu-Eval, with the judge).",
    "also": "One more set, e.g. `--also retention`; may be repeated.",
    "data": "Read a set from elsewhere, e.g. `--data knowledge=urdu_mmlu.json`; may be repeated.",
    "judge": "Have the judge (`--set judge.model=…`) read what no parser can; its cost is said first.",
}


def evaluate(
    run: RunOption = None,
    preset: PresetOption = "auto",
    changes: SetOption = None,
    model: Annotated[str | None, Option("--model", help=_HELP["model"])] = None,
    against: Annotated[str | None, Option("--against", help=_HELP["against"])] = None,
    suite: Annotated[str | None, Option("--suite", help=_HELP["suite"])] = None,
    also: Annotated[list[str] | None, Option("--also", metavar="SET", help=_HELP["also"])] = None,
    data: Annotated[list[str] | None, Option(metavar="SET=PLACE", help=_HELP["data"])] = None,
    limit: Annotated[int | None, Option("--limit", help="Examples of each set at most; 0 for all.")] = None,
    judge: Annotated[bool, Option("--judge", help=_HELP["judge"])] = False,
) -> None:
    """The tuned model and its base on the same questions, with intervals and paired tests; resumes where it stopped.

    Without --model: the base of the run and what pretraining and fine-tuning made of it.
    """
    from alif_kit import pipeline
    from alif_kit.evaluation.subjects import weights_base

    settings = {
        "evaluation.suite": suite,
        "evaluation.also": ",".join(also or []) or None,
        "evaluation.max_examples": limit,
        "evaluation.data": json.dumps(pairs(data)) if data else None,
        "base.model": (against or weights_base(model)) if model else None,
    }
    opened = open_run(run, preset, [*given(settings), *(changes or [])])
    if model:
        pipeline.compare(opened, model, judge=judge)
    else:
        ak.evaluate(opened, judge=judge)
    print_results(opened)


def gate(
    run: RunOption = None,
    preset: PresetOption = "auto",
    changes: SetOption = None,
    as_json: Annotated[bool, Option("--json", help="Print gate.json.")] = False,
) -> None:
    """Is the tuned model worse than its base where it matters? Exit code 0: no; 1: yes, a line per cause; 3: not enough evidence.

    Guarded: native knowledge, English, answers that can be read, stopping, Urdu purity, safety. The margins are `gate.*`, e.g.
    `--set gate.retention=0.05`.
    """
    opened = open_run(run, preset, changes, new=False)
    result = ak.gate(opened)
    if as_json:
        echo(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        _print_verdict(opened)
    raise Exit(EXIT_CODES[result["verdict"]])


judge_app = Typer(no_args_is_help=True, help="The judge: how far it can be trusted.")


@judge_app.command("agreement")
def agreement(
    sheet: Annotated[Path, Argument(help="A sheet of `alif review export` with decisions, or a column `score` from 1 to 10.")],
    run: RunOption = None,
    preset: PresetOption = "auto",
    changes: SetOption = None,
) -> None:
    """How far the judge agrees with people on a reviewed sheet: Cohen's kappa, Spearman's rank correlation. Costs what it asks."""
    from alif_kit.evaluation import judging

    found = judging.agreement(open_run(run, preset, changes), sheet)
    for name, value in found.items():
        echo(f"{name:<20}{'undefined' if value is None else f'{value:.2f}' if isinstance(value, float) else value}")


def print_results(run: ak.Run) -> None:
    """The main figures, as a table in the terminal; a narrow one leaves out intervals and the stages between. Then the verdict."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console

    from alif_kit.report.evaluation import results_of, short_table

    header, rows = short_table(run)
    if Console().width < 110:
        header, *rows = ((*row[:3], row[-2], re.sub(r" \(.*?\)", "", row[-1])) for row in (header, *rows))
    print_table(header, rows, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, reason in ((results_of(run) or {}).get("missing") or {}).items():
        echo(f"not measured: {name}: {reason}")
    _print_verdict(run)


def _print_verdict(run: ak.Run) -> None:
    """The gate's verdict and a line per cause."""
    from alif_kit.report.evaluation import gate_of

    found = gate_of(run)
    if found is None:
        return
    echo(f"gate: {found['verdict']}, {VERDICTS[found['verdict']]} ({found['tuned']} against {found['base']})")
    for finding in found["findings"]:
        if finding["verdict"] != "pass":
            echo(f"  {finding['verdict']}: {finding['sentence']}")
