"""cli: `alif plan`, what a run will take and buy before anything loads. The calls of planner, no logic.

In: a preset, a file or a run's config.json, a base, a card, hours. Out: a table or JSON; a UserError when it will not fit.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option, echo

import alif_kit as ak
from alif_kit.cli.options import NAMED, print_table
from alif_kit.core import UserError
from alif_kit.platforms import machine

if TYPE_CHECKING:
    from alif_kit.core import Config
    from alif_kit.planner.bases import Shape
    from alif_kit.planner.cards import Card

_HELP = {
    "gpu": "t4, p100, v100, l4, a10g, rtx3090, rtx4090, l40s, a100, a100-80 or h100; default what is here, else t4.",
    "hours": "Hours of training; default session.hours, else 12, the longest free session.",
    "words": "Urdu words of the corpus, to say which share of it the hours read.",
}


def plan(
    preset: Annotated[str, Option("--preset", "--config", help=NAMED)] = "t4",
    base: Annotated[str | None, Option(metavar="HUB_ID", help="Hub id or local folder; default the preset's.")] = None,
    gpu: Annotated[str | None, Option(help=_HELP["gpu"])] = None,
    hours: Annotated[float | None, Option(min=0.01, help=_HELP["hours"])] = None,
    rank: Annotated[int | None, Option(help="LoRA rank.")] = None,
    batch: Annotated[int | None, Option(help="Rows per step.")] = None,
    accumulation: Annotated[int | None, Option(help="Steps per optimiser step.")] = None,
    length: Annotated[int | None, Option(help="Tokens per row.")] = None,
    train_vocab: Annotated[str | None, Option(help="`none`, `rows` or `full`.")] = None,
    load_in_16bit: Annotated[bool, Option("--load-in-16bit", help="Frozen weights in 16 bit, not NF4.")] = False,
    optimiser: Annotated[str | None, Option(help="Name known to transformers, for example adamw_8bit.")] = None,
    corpus_words: Annotated[int | None, Option(min=1, help=_HELP["words"])] = None,
    stage: Annotated[str, Option(help="`pretrain` or `finetune`: whose batch, accumulation and optimiser count.")] = "pretrain",
    usd_per_hour: Annotated[float | None, Option(min=0.0, help="Dollars an hour of the card; default from gpus.toml.")] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """Memory, disk, hours, Urdu words and dollars of a run, before anything loads; refuses what will not fit and says what would.

    Needs no GPU and no network for the bases it knows. Speeds are rough: ten real steps tell more, and the trainer compares them.
    """
    from alif_kit import pipeline
    from alif_kit.planner import budget, cards

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
        card = replace(card, usd_per_hour=usd_per_hour)
    length_h = hours or chosen.session.hours or pipeline.HOURS
    found = budget.plan(chosen, card, shape, hours=length_h, corpus_words=corpus_words, stage=stage)
    budget.check(found, chosen, card, shape, stage)
    told = found.to_dict() | _beside(chosen, card, shape, stage)
    told["notes"] = [reason] * bool(reason) + told["notes"]
    if as_json:
        echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    console = print_table(("what", "plan"), _rows(told, found.speed), f"{told['base']} on {told['gpu']}, {told['hours']:g} hours")
    for note in told["notes"]:
        console.print(f"- {note}", highlight=False, markup=False)


def _configure(preset: str, base: str | None, changes: dict[str, Any]) -> tuple[Config, Shape]:
    """The preset with the options on top; a base model without a chat template takes Alif's plain frame."""
    from alif_kit.planner import bases

    asked = bases.find(base) if base else None
    changes |= {"base.model": base, "base.chat_format": "alpaca" if asked and not asked.instruct else None}
    chosen = ak.load_config(preset, {name: value for name, value in changes.items() if value is not None})
    return chosen, asked or bases.find(chosen.base.model)


def _beside(chosen: Config, card: Card, shape: Shape, stage: str) -> dict[str, Any]:
    """What is said beside the plan: the base's terms and chat format, the largest that fits, the card's own base."""
    from alif_kit.planner import budget, cards

    of_base = {name: getattr(shape, name) for name in ("licence", "gated", "chat", "end_of_turn")}
    best = budget.recommend(chosen, card, shape, stage)
    return {**of_base, "recommended": best, "default_base": cards.recommend_base(card)[1]}


def _rows(told: dict[str, Any], speed: str) -> list[tuple[str, str]]:
    """The plan as names and sentences."""
    from alif_kit.planner.cards import between

    best, share, usd, slowest = told["recommended"], told["corpus_share"], told["usd"], told["slowest"]
    most = (
        f"length {best['length']}, rank {best['rank']}, batch {best['batch']}: {best['peak_vram_gib']:.1f} GiB" if best else "none"
    )
    offered = f"{told['offered_gib']:.2f} GiB offered (90 % of {told['visible_gib']:.3f})"
    return [
        ("settings", ", ".join(f"{name} {value}" for name, value in told["settings"].items())),
        ("trained", f"{told['trainable_parameters']:,} parameters, {told['trainable_share']:.2%}"),
        ("peak GPU memory", f"{told['peak_vram_gib']:.2f} of {offered}"),
        *((f"  {name}", f"{value:.2f} GiB") for name, value in told["parts"].items()),
        ("largest that fits", most),
        ("host memory", f"{told['host_ram_gib']:.1f} GiB"),
        ("disk, GiB", ", ".join(f"{name} {size:.1f}" for name, size in told["disk_gib"].items())),
        ("speed, rough", speed),
        ("steps", f"{between(told['steps'], slowest)} of {told['tokens_per_step']:,} tokens"),
        ("share of the corpus", "unknown: give --corpus-words" if share is None else between(share, slowest, ".1%")),
        ("cost", "unknown: give --usd-per-hour" if usd is None else f"${usd:,.2f}"),
        ("licence", f"{told['licence']}{', gated' if told['gated'] else ''}; chat template {told['chat']}"),
    ]
