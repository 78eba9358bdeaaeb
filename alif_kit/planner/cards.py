"""planner: the GPUs there are to plan for, and what an hour on one buys in Urdu words. No torch.

In: gpus.toml, what nvidia-smi found, a base's shape. Out: `Card`, rough tokens per second, the base recommended for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from alif_kit.core import UserError
from alif_kit.planner.bases import Shape, fertility, known_bases
from alif_kit.platforms import machine

SMALLEST_GOOD_BASE = 3e9  # parameters; a 1B model reads more Urdu an hour than any, and answers worse
FLOAT32_UTILISATION = 0.3  # of the 32-bit figure, as of the 16-bit one of every card that nobody has timed


@dataclass(frozen=True)
class Card:
    """A GPU: `visible_gib` as torch reports it, published dense 16-bit tensor TFLOPS, dollars an hour (None: not known)."""

    name: str
    visible_gib: float
    bf16: bool
    tflops: float
    utilisation: float
    float32_tflops: float = 0.0
    match: str = ""
    usd_per_hour: float | None = None
    refused: str = ""
    instead: str = ""

    def tokens_per_second(self, base: Shape) -> float:
        """TFLOPS x utilisation / (6 x weights in matrix products), rough.

        6 operations per weight and token: forward 2, the forward again under gradient checkpointing 2, gradient of the input 2.
        Frozen weights need no gradient of their own; the adapters' is left out. The high end where `slowest` is below 1.
        """
        return self.tflops * 1e12 * self.utilisation / (6 * (base.linear_parameters + base.matrix))

    def slowest(self, base: Shape) -> float:
        """The low end of the speed as a share of `tokens_per_second`; 1 where one speed is planned.

        Gemma-3 has float32 hidden states on a card without bfloat16. A matrix product that Unsloth hands float16 runs on the tensor
        cores, as any other family's; one that it does not runs in plain float32, on a T4 at 8.1 TFLOPS instead of 65. How many of
        them are which has not been measured, so both ends are given: 1, and 8.1 x 0.3 of 65 x 0.156, which is 0.24. In public T4
        notebooks gemma-3-4b (Unsloth 2025.3) took 978 s for 240 rows of a data set and Llama-3.2-3B 478 s for 480 of its rows: 0.3
        of the speed for the operations that a row takes.
        """
        if self.bf16 or not base.float32_on_fp16 or not self.float32_tflops:
            return 1.0
        return min(1.0, self.float32_tflops * FLOAT32_UTILISATION / (self.tflops * self.utilisation))


def between(high: float, slowest: float, form: str = ",.0f") -> str:
    """A figure that goes with the speed, as a range where the speed is one. `between(436, 0.24) == "105 to 436"`"""
    return f"{high:{form}}" if slowest == 1 else f"{slowest * high:{form}} to {high:{form}}"


def known_cards() -> dict[str, Card]:
    """The cards of gpus.toml by short name."""
    return {name: Card(name=name, **row) for name, row in machine.gpu_table().items() if isinstance(row, dict)}


def card(name: str) -> Card:
    """A card by short name. Raises UserError for one that is not known, or that today's torch cannot use."""
    if name.lower() not in known_cards():
        raise UserError(f"--gpu is {name!r}; expected one of {', '.join(known_cards())}")
    return _usable(known_cards()[name.lower()])


def _usable(found: Card) -> Card:
    if found.refused:
        raise UserError(f"{found.name} cannot be used: {found.refused}; {found.instead}")
    return found


def card_here(gpu: machine.Gpu | None) -> tuple[Card, str]:
    """The card for what `platforms.machine.detect` found, and a reason; without a GPU, a free T4."""
    t4 = known_cards()["t4"]
    if gpu is None:
        return t4, "no GPU here: planned for a free T4"
    if alike := [c for c in known_cards().values() if c.match in gpu.name]:
        return _usable(min(alike, key=lambda c: abs(c.visible_gib - gpu.vram_gib))), f"{gpu.name} is here"
    reason = f"{gpu.name} is here but not in gpus.toml: the T4's speed is assumed, and that torch sees 97 % of the memory"
    return Card(gpu.name, round(0.97 * gpu.vram_gib, 3), gpu.bf16, t4.tflops, t4.utilisation, t4.float32_tflops), reason


def words_per_hour(base: Shape, on: Card) -> float:
    """Words an hour of nothing but Urdu: tokens per second x 3600 / fertility, rough; the high end of a range."""
    return 3600 * on.tokens_per_second(base) / fertility(base)[0]


def recommend_base(on: Card) -> tuple[str, str]:
    """The Instruct base of at least 3B parameters without a gate that reads the most Urdu words an hour, and why."""
    able = [b for b in known_bases().values() if b.instruct and not b.gated and b.total >= SMALLEST_GOOD_BASE and b.fertility]
    best, second = sorted(able, key=lambda b: -words_per_hour(b, on))[:2]
    first, other = (between(words_per_hour(b, on) / 1e6, on.slowest(b), ".2f") for b in (best, second))
    reason = (
        f"{best.name}: of the {len(able)} Instruct bases with 3B parameters or more that need no licence click it reads the most "
        f"Urdu an hour on a {on.name}, about {first} million words ({best.fertility} tokens a word) against {other} of "
        f"{second.name} ({second.fertility}); smaller bases read more and know less"
    )
    return best.name, reason
