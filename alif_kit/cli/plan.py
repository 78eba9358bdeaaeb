"""cli: `alif plan`, what a run will take and buy before anything loads. The calls of training.budget, no logic.

In: a preset or config.json, a base, a card, hours. Out: a table or JSON; a UserError when it will not fit.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from alif_kit.core import Config, UserError
from alif_kit.core import config as configs
from alif_kit.planner import bases, budget, cards
from alif_kit.planner.bases import Shape
from alif_kit.platforms import machine

_HELP = {
    "preset": "`t4`, `quick`, `paper`, `smoke`, or a TOML or JSON file.",
    "base": "Hub id or local folder; default the preset's.",
    "gpu": "t4, p100, v100, l4, a10g, rtx3090, rtx4090, l40s, a100, a100-80 or h100; default what is here, else t4.",
    "hours": "Hours of training; default session.hours, else 12, the longest free session.",
    "words": "Urdu words of the corpus, to say which share of it the hours read.",
    "stage": "`pretrain` or `finetune`: whose batch, accumulation and optimiser count.",
    "price": "Dollars an hour of the card; default from gpus.toml.",
}


def plan(
    preset: Annotated[str, typer.Option("--preset", "--config", help=_HELP["preset"])] = "t4",
    base: Annotated[str | None, typer.Option(metavar="HUB_ID", help=_HELP["base"])] = None,
    gpu: Annotated[str | None, typer.Option(help=_HELP["gpu"])] = None,
    hours: Annotated[float | None, typer.Option(min=0.01, help=_HELP["hours"])] = None,
    rank: Annotated[int | None, typer.Option(help="LoRA rank.")] = None,
    batch: Annotated[int | None, typer.Option(help="Rows per step.")] = None,
    accumulation: Annotated[int | None, typer.Option(help="Steps per optimiser step.")] = None,
    length: Annotated[int | None, typer.Option(help="Tokens per row.")] = None,
    train_vocab: Annotated[str | None, typer.Option(help="`none`, `rows` or `full`.")] = None,
    load_in_16bit: Annotated[bool, typer.Option("--load-in-16bit", help="Frozen weights in 16 bit, not NF4.")] = False,
    optimiser: Annotated[str | None, typer.Option(help="Name known to transformers, for example adamw_8bit.")] = None,
    corpus_words: Annotated[int | None, typer.Option(min=1, help=_HELP["words"])] = None,
    stage: Annotated[str, typer.Option(help=_HELP["stage"])] = "pretrain",
    usd_per_hour: Annotated[float | None, typer.Option(min=0.0, help=_HELP["price"])] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Memory, disk, hours, Urdu words and dollars of a run, before anything loads; refuses what will not fit and says what would.

    Needs no GPU and no network for the bases it knows. Speeds are rough: ten real steps tell more, and the trainer compares them.
    """
    from alif_kit import pipeline

    if stage not in ("pretrain", "finetune"):
        raise UserError(f"--stage is {stage!r}; expected pretrain or finetune")
    changes = {
        "lora.rank": rank,
        "lora.train_vocab": train_vocab,
        "base.max_seq_length": length,
        "base.load_in_4bit": False if load_in_16bit else None,
        f"{stage}.batch_size": batch,
        f"{stage}.gradient_accumulation": accumulation,
        f"{stage}.optimiser": optimiser,
    }
    chosen, shape = _configure(preset, base, changes)
    card, reason = (cards.card(gpu), "") if gpu else cards.card_here(machine.detect().gpu)
    if usd_per_hour is not None:
        card = cards.priced(card, usd_per_hour)
    length_h = hours or chosen.session.hours or pipeline.HOURS
    found = budget.plan(chosen, card, shape, hours=length_h, corpus_words=corpus_words, stage=stage)
    budget.check(found, chosen, card, shape, stage)
    told = _told(found, shape, budget.recommend(chosen, card, shape, stage), [reason] if reason else [], card)
    typer.echo(json.dumps(told, ensure_ascii=False, indent=2)) if as_json else _print(told)


def _configure(preset: str, base: str | None, changes: dict[str, Any]) -> tuple[Config, Shape]:
    """The preset with the options on top; a base model without a chat template takes Alif's plain frame."""
    given = {name: value for name, value in changes.items() if value is not None}
    if base:
        shape = bases.find(base)
        frame = {} if shape.instruct else {"base.chat_format": "alpaca"}
        return configs.load(preset, frame | {"base.model": base} | given), shape
    chosen = configs.load(preset, given)
    return chosen, bases.find(chosen.base.model)


def _told(found: budget.Plan, shape: Shape, best: dict[str, Any] | None, notes: list[str], card: cards.Card) -> dict[str, Any]:
    values = found.to_dict()
    return values | {
        "licence": shape.licence,
        "gated": shape.gated,
        "chat": shape.chat,
        "end_of_turn": shape.end_of_turn,
        "recommended": best,
        "default_base": cards.recommend_base(card)[1],
        "notes": [*notes, *values["notes"]],
    }


def _print(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "plan", title=f"{told['base']} on {told['gpu']}, {told['hours']:g} hours", title_justify="left")
    for name, value in _rows(told):
        table.add_row(name, value)
    console = Console()
    console.print(table)
    for note in told["notes"]:
        console.print(f"- {note}", highlight=False, markup=False)


def _rows(told: dict[str, Any]) -> list[tuple[str, str]]:
    """The plan as names and sentences."""
    settings = ", ".join(f"{name} {value}" for name, value in told["settings"].items())
    parts = [(f"  {name}", f"{value:.2f} GiB") for name, value in told["parts"].items()]
    best = told["recommended"]
    most = (
        f"length {best['length']}, rank {best['rank']}, batch {best['batch']}: {best['peak_vram_gib']:.1f} GiB" if best else "none"
    )
    share = "unknown: give --corpus-words" if told["corpus_share"] is None else f"{told['corpus_share']:.1%}"
    usd = "unknown: give --usd-per-hour" if told["usd"] is None else f"${told['usd']:,.2f}"
    disk = ", ".join(f"{name} {size:.1f}" for name, size in told["disk_gib"].items())
    return [
        ("settings", settings),
        ("trained", f"{told['trainable_parameters']:,} parameters, {told['trainable_share']:.2%}"),
        (
            "peak GPU memory",
            f"{told['peak_vram_gib']:.2f} of {told['offered_gib']:.2f} GiB offered (90 % of {told['visible_gib']:.3f})",
        ),
        *parts,
        ("largest that fits", most),
        ("host memory", f"{told['host_ram_gib']:.1f} GiB"),
        ("disk, GiB", disk),
        ("speed, rough", f"{told['tokens_per_second']:,.0f} tokens/s, {told['urdu_words_per_hour']:,} Urdu words an hour"),
        ("steps", f"{told['steps']:,} of {told['tokens_per_step']:,} tokens"),
        ("share of the corpus", share),
        ("cost", usd),
        ("licence", f"{told['licence']}{', gated' if told['gated'] else ''}; chat template {told['chat']}"),
    ]
