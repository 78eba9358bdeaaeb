"""cli: `alif synth ...`, a look into the synthetic data of a run, judging it anew, finishing it. No logic of its own.

In: a run folder that `alif generate` has filled. Out: rows and counts in the terminal, the data set in data/.
"""

from __future__ import annotations

from typing import Annotated, Any

from typer import Option, Typer, echo

import alif_kit as ak
from alif_kit.cli.options import FilledRunOption, pairs, resume_run
from alif_kit.core import UserError
from alif_kit.platforms import machine

synth_app = Typer(no_args_is_help=True, help="Look into, rebuild and finish the synthetic data of a run.")
RuleOption = Annotated[list[str] | None, Option("--set", metavar="FIELD=VALUE", help="Judge by another rule; may be repeated.")]


@synth_app.command("rebuild")
def synth_rebuild(run: FilledRunOption = None, changes: RuleOption = None) -> None:
    """Judge every paid answer again with today's filters: no request, no cost.

    `--set synth.novelty_threshold=0.6`, or synth.evaluation_sets or synth.held_out_share, judges by another rule from now on.
    """
    from alif_kit.synth import dataset, generate

    opened = resume_run(run)
    if changes:
        opened = opened.judge_anew(ak.load_config(opened.file("config.json"), pairs(changes)))
    funnel = generate.rebuild(opened)
    dataset.finish(opened)
    print_funnel(funnel)
    echo(f"{funnel['accepted']} of {funnel['candidates']} candidates accepted, at no cost")


@synth_app.command("finish")
def synth_finish(
    run: FilledRunOption = None,
    push: Annotated[str, Option(metavar="OWNER/NAME", help="Send it to the Hub too, with the key named HF_TOKEN.")] = "",
    public: Annotated[bool, Option("--public", help="Let everybody see it there; private otherwise.")] = False,
) -> None:
    """The accepted examples, as reviewed, as a data set: train and held-out JSONL, Parquet and a card in data/."""
    from alif_kit.synth import dataset

    opened = resume_run(run)
    token = machine.secret("HF_TOKEN") if push else ""
    print_counts(opened, dataset.finish(opened))
    if push:
        echo(f"sent, {'public' if public else 'private'}: {dataset.push(opened, push, token, private=not public)}")


@synth_app.command("dropped")
def synth_dropped(
    run: FilledRunOption = None,
    reason: Annotated[str, Option(help="Only this reason, as the funnel names it.")] = "",
    limit: Annotated[int, Option(help="Rows to show.")] = 10,
) -> None:
    """Show candidates that were dropped, and why."""
    from alif_kit.core.records import read_jsonl

    opened = resume_run(run)
    rows = list(read_jsonl(opened.require("synth", "dropped.jsonl", stage="generate")))
    known = sorted({row["reason"] for row in rows})
    if reason and reason not in known:
        raise UserError(f"no row was dropped for {reason!r}; the reasons here are {', '.join(known)}")
    for row in [row for row in rows if reason in ("", row["reason"])][:limit]:
        echo(f"--- {row['reason']} · {row['category']} · request {row['request']}, item {row['item']}\n{row['text']}")


def print_counts(run: ak.Run, counts: dict[str, dict[str, int]]) -> None:
    trained, held = (sum(counts[side].values()) for side in ("train", "eval"))
    echo(f"{trained} examples to train on, {held} held out: {run.file('data')}")


def print_funnel(funnel: dict[str, Any]) -> None:
    """What became of the candidates, a line and a bar each."""
    for reason, count in funnel["reasons"].items():
        share = count / funnel["candidates"]
        echo(f"{reason:<22}{count:>8} {share:>7.1%}  {'█' * round(40 * share)}")
