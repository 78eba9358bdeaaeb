"""cli: `alif evaluate` and `alif gate`.

In: a run, or any model and its base. Out: a table with intervals, evaluation/results.json and gate.json, an exit code for scripts.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from alif_kit.cli.options import PresetOption, RunOption, SetOption, open_run
from alif_kit.cli.synth import pair
from alif_kit.core.run import Run

EXIT_CODES = {"pass": 0, "fail": 1, "undecided": 3}
VERDICTS = {"pass": "not worse than its base", "fail": "worse than its base", "undecided": "not enough evidence"}

ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Measure this instead of the run: an adapter's folder, a model, a Hub id, `http…/v1#NAME`."),
]
AgainstOption = Annotated[
    str | None, typer.Option("--against", help="The base it must beat; left out, the base that the adapter's folder names.")
]
SuiteOption = Annotated[
    str | None, typer.Option("--suite", help="`quick` (no network), `full` (public sets too), `paper` (Urdu-Eval, with the judge).")
]
AlsoOption = Annotated[
    list[str] | None, typer.Option("--also", metavar="SET", help="One more set, e.g. `--also retention`; may be repeated.")
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(metavar="SET=PLACE", help="Read a set from elsewhere, e.g. `--data knowledge=urdu_mmlu.json`; may be repeated."),
]
LimitOption = Annotated[int | None, typer.Option("--limit", help="Examples of each set at most; 0 for all.")]
JudgeOption = Annotated[
    bool,
    typer.Option("--judge", help="Have the judge (`--set judge.model=…`) read what no parser can; its cost is said first."),
]


def evaluate(
    run: RunOption = None,
    preset: PresetOption = "auto",
    changes: SetOption = None,
    model: ModelOption = None,
    against: AgainstOption = None,
    suite: SuiteOption = None,
    also: AlsoOption = None,
    data: DataOption = None,
    limit: LimitOption = None,
    judge: JudgeOption = False,
) -> None:
    """The tuned model and its base on the same questions, with intervals and paired tests; resumes where it stopped.

    Without --model: the base of the run and what pretraining and fine-tuning made of it.
    """
    from alif_kit import pipeline

    settings = {"evaluation.suite": suite, "evaluation.also": ",".join(also or []) or None, "evaluation.max_examples": limit}
    settings |= {"evaluation.data": json.dumps(dict(map(pair, data))) if data else None}
    if model:
        settings |= {"base.model": against or _base_of(model)}
    given = [f"{name}={value}" for name, value in settings.items() if value is not None]
    opened = open_run(run, preset, [*given, *(changes or [])])
    if model:
        pipeline.compare(opened, model, judge=judge)
    else:
        pipeline.evaluate(opened, judge=judge)
    print_table(opened)
    print_verdict(opened)


def _base_of(model: str) -> str:
    from alif_kit.evaluation.subjects import weights_base

    return weights_base(model)


def gate(
    run: RunOption = None,
    preset: PresetOption = "auto",
    changes: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print gate.json.")] = False,
) -> None:
    """Is the tuned model worse than its base where it matters? Exit code 0: no; 1: yes, a line per cause; 3: not enough evidence.

    Guarded: native knowledge, English, answers that can be read, stopping, Urdu purity, safety. The margins are `gate.*`, e.g.
    `--set gate.retention=0.05`.
    """
    from alif_kit.evaluation import gate as gates

    opened = open_run(run, preset, changes)
    result = gates.check(opened)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        print_verdict(opened)
    raise typer.Exit(EXIT_CODES[result["verdict"]])


judge_app = typer.Typer(no_args_is_help=True, help="The judge: how far it can be trusted.")


@judge_app.command("agreement")
def agreement(
    sheet: Annotated[
        Path, typer.Argument(help="A sheet of `alif review export` with decisions, or a column `score` from 1 to 10.")
    ],
    run: RunOption = None,
    preset: PresetOption = "auto",
    changes: SetOption = None,
) -> None:
    """How far the judge agrees with people on a reviewed sheet: Cohen's kappa, Spearman's rank correlation. Costs what it asks."""
    from alif_kit.evaluation import judging

    found = judging.agreement(open_run(run, preset, changes), sheet)
    for name, value in found.items():
        typer.echo(f"{name:<20}{'undefined' if value is None else f'{value:.2f}' if isinstance(value, float) else value}")


def print_table(run: Run) -> None:
    """The main figures, as a table in the terminal; a narrow one leaves out intervals and the stages between."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from alif_kit.report.evaluation import results_of, short_table

    header, rows = short_table(run)
    console = Console()
    if console.width < 110:
        header, *rows = ((*row[:3], row[-2], re.sub(r" \(.*?\)", "", row[-1])) for row in (header, *rows))
    table = Table(*header, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for name, reason in ((results_of(run) or {}).get("missing") or {}).items():
        typer.echo(f"not measured: {name}: {reason}")


def print_verdict(run: Run) -> None:
    """The gate's verdict and a line per cause."""
    from alif_kit.report.evaluation import gate_of

    found = gate_of(run)
    if found is None:
        return
    typer.echo(f"gate: {found['verdict']}, {VERDICTS[found['verdict']]} ({found['tuned']} against {found['base']})")
    for finding in found["findings"]:
        if finding["verdict"] != "pass":
            typer.echo(f"  {finding['verdict']}: {finding['sentence']}")
