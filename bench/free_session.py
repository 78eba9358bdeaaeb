"""What a free session buys: the planner's figures for some bases on a T4, as the Markdown table of the README.

    python bench/free_session.py

Memory follows formulas checked against public peaks and an H100 made to look like a T4. Speeds are inferred from 150 to 300 tokens
a second of an 8B model on a T4, not measured on one; Gemma's is a range, as it may have to run in float32 there.
"""

from __future__ import annotations

from alif_kit.core import config
from alif_kit.planner import bases, budget, cards

BASES = (
    "unsloth/gemma-3-1b-it",
    "unsloth/gemma-3-4b-it",
    "unsloth/Qwen3-4B-Instruct-2507",
    "unsloth/Meta-Llama-3.1-8B-Instruct",
)
SHORT, LONG = 4.0, 11.0
"""Hours: an evening in Colab, and a session that Colab or Kaggle lets run to its end, less time to save."""


def table() -> str:
    """One row per base: planned peak, Urdu words an hour and in two lengths of session, dollars."""
    card = cards.card("t4")
    sessions = f"in {SHORT:g} hours | in {LONG:g} hours"
    rows = [
        f"| base (4 bit, rank 16) | memory, of {card.visible_gib} GiB | tokens an Urdu word | "
        f"Urdu words read in an hour | {sessions} | cost |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in BASES:
        shape, settings = bases.find(name), config.load("t4", {"base.model": name})
        plan = budget.plan(settings, card, shape, hours=LONG)
        words = [millions(plan, hours, decimals) for hours, decimals in ((1, 2), (SHORT, 1), (LONG, 1))]
        rows.append(
            f"| {name.removeprefix('unsloth/')} | {plan.peak_vram_gib:.1f} GiB | {shape.fertility:.2f} | {' | '.join(words)} | "
            f"${plan.usd or 0:.2f} |"
        )
    return "\n".join(rows)


def millions(plan: budget.Plan, hours: float, decimals: int) -> str:
    """Urdu words in so many hours."""
    return f"{cards.between(plan.urdu_words_per_hour * hours / 1e6, plan.slowest, f'.{decimals}f')} million"


if __name__ == "__main__":
    print(table())
