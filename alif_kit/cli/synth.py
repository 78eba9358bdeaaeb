"""cli: `alif synth ...`, a look into the synthetic data of a run, judging it anew, finishing it. No logic of its own.

In: a run folder that `alif generate` has filled. Out: rows and counts in the terminal, the data set in data/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from alif_kit.core import Run, UserError, config
from alif_kit.platforms import machine

synth_app = typer.Typer(no_args_is_help=True, help="Look into, rebuild and finish the synthetic data of a run.")
RunOption = Annotated[Path | None, typer.Option("--run", help="Run folder that `alif generate` has filled.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Judge by another rule; may be repeated.")
]


def pair(change: str) -> tuple[str, str]:
    """Name and value of a `--set`."""
    name, equals, value = change.partition("=")
    if not equals:
        raise UserError(f"--set got {change!r}; expected FIELD=VALUE, for example teacher.model=gpt-4o-mini")
    return name.strip(), value.strip()


@synth_app.command("rebuild")
def synth_rebuild(run: RunOption = None, changes: SetOption = None) -> None:
    """Judge every paid answer again with today's filters: no request, no cost.

    `--set synth.novelty_threshold=0.6`, or synth.evaluation_sets or synth.held_out_share, judges by another rule from now on.
    """
    from alif_kit.synth import dataset
    from alif_kit.synth import generate as synth

    opened = Run.resume(run or machine.durable_folder() / "default")
    if changes:
        opened = opened.judge_anew(config.load(opened.file("config.json"), dict(pair(change) for change in changes)))
    funnel = synth.rebuild(opened)
    dataset.finish(opened)
    print_funnel(funnel)
    typer.echo(f"{funnel['accepted']} of {funnel['candidates']} candidates accepted, at no cost")


@synth_app.command("finish")
def synth_finish(
    run: RunOption = None,
    push: Annotated[str, typer.Option(metavar="OWNER/NAME", help="Send it to the Hub too, with the key named HF_TOKEN.")] = "",
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it there; private otherwise.")] = False,
) -> None:
    """The accepted examples, as reviewed, as a data set: train and held-out JSONL, Parquet and a card in data/."""
    from alif_kit.synth import dataset

    opened = Run.resume(run or machine.durable_folder() / "default")
    token = machine.secret("HF_TOKEN") if push else ""
    print_counts(opened, dataset.finish(opened))
    if push:
        typer.echo(f"sent, {'public' if public else 'private'}: {dataset.push(opened, push, token, private=not public)}")


@synth_app.command("dropped")
def synth_dropped(
    run: RunOption = None,
    reason: Annotated[str, typer.Option(help="Only this reason, as the funnel names it.")] = "",
    limit: Annotated[int, typer.Option(help="Rows to show.")] = 10,
) -> None:
    """Show candidates that were dropped, and why."""
    from alif_kit.core.records import read_jsonl

    opened = Run.resume(run or machine.durable_folder() / "default")
    rows = list(read_jsonl(opened.require("synth", "dropped.jsonl", stage="generate")))
    known = sorted({row["reason"] for row in rows})
    if reason and reason not in known:
        raise UserError(f"no row was dropped for {reason!r}; the reasons here are {', '.join(known)}")
    for row in [row for row in rows if reason in ("", row["reason"])][:limit]:
        typer.echo(f"--- {row['reason']} · {row['category']} · request {row['request']}, item {row['item']}\n{row['text']}")


def print_counts(run: Run, counts: dict[str, dict[str, int]]) -> None:
    trained, held = (sum(counts[side].values()) for side in ("train", "eval"))
    typer.echo(f"{trained} examples to train on, {held} held out: {run.file('data')}")


def print_funnel(funnel: dict[str, Any]) -> None:
    """What became of the candidates, a line and a bar each."""
    for reason, count in funnel["reasons"].items():
        share = count / funnel["candidates"]
        typer.echo(f"{reason:<22}{count:>8} {share:>7.1%}  {'█' * round(40 * share)}")
