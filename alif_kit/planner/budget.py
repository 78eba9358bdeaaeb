"""planner: memory, disk, hours, Urdu words and dollars of a run, before anything loads. No torch.

In: the configuration, a `Card`, a base's `Shape`. Out: `Plan`; a UserError with the nearest thing that fits, or the largest
settings that do; after ten real steps, `compare` says how far off the plan was. The formulas stand in memory.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from alif_kit.core import Config, UserError
from alif_kit.core.config import Optimisation
from alif_kit.planner import memory
from alif_kit.planner.bases import Shape, check_new_rows, fertility, known_bases
from alif_kit.planner.cards import Card, between
from alif_kit.planner.memory import CONTEXT, GIB
from alif_kit.platforms import machine

SAFE_SHARE = 0.9  # of the visible memory is offered; the rest is for the plan's own error
VOCAB_STEPS = ("full", "rows", "none")
LENGTHS, RANKS, BATCHES = (2048, 1024, 512), (128, 64, 32, 16, 8), (8, 4, 2, 1)  # up to the paper's values


@dataclass(frozen=True)
class Plan:
    """What a run will need and buy. Memory in GiB; `parts` add up to `peak_vram_gib`.

    Speeds are rough. `slowest` is below 1 where only a range can be given: the speed and what goes with it (Urdu words, steps, the
    corpus's share) are the high end, and `slowest` times that the low one (cards.Card.slowest).
    """

    base: str
    gpu: str
    settings: dict[str, Any]
    trainable_parameters: int
    trainable_share: float
    parts: dict[str, float]
    peak_vram_gib: float
    visible_gib: float
    offered_gib: float
    fits: bool
    host_ram_gib: float
    disk_gib: dict[str, float]
    tokens_per_second: float
    slowest: float
    fertility: float
    urdu_words_per_hour: float
    hours: float
    tokens_per_step: int
    steps: int
    corpus_share: float | None
    usd: float | None
    notes: list[str]

    to_dict = asdict

    @property
    def speed(self) -> str:
        """Speed and Urdu words an hour, in words."""
        words = between(self.urdu_words_per_hour, self.slowest)
        return f"{between(self.tokens_per_second, self.slowest)} tokens/s, {words} Urdu words an hour"

    @property
    def reserved_gib(self) -> float:
        """The part of the peak that torch.cuda.max_memory_reserved sees: all but the CUDA context."""
        return self.peak_vram_gib - CONTEXT


def plan(
    config: Config,
    gpu: Card,
    base: Shape,
    *,
    hours: float = 12.0,
    corpus_words: int | None = None,
    stage: str = "pretrain",
    vocab_modules: tuple[str, ...] | None = None,
) -> Plan:
    """The plan of one training stage (`pretrain` or `finetune`); it does not refuse, see `check`.

    `corpus_words` gives the share of the corpus; `vocab_modules` names matrices trained whole or in rows, where not all are.
    """
    opt: Optimisation = getattr(config, stage)
    whole, base = base, base.fitted(config.base.fit_rows)
    trained = memory.trained_weights(config, base, vocab_modules)
    parts = {name: round(value / GIB, 3) for name, value in memory.parts_of(config, opt, gpu, base, trained).items()}
    peak, count = round(sum(parts.values()), 3), sum(trained.values())
    copies = base.matrix * len(memory.whole_matrices(config, trained))
    settings = {"rank": config.lora.rank, "batch": opt.batch_size, "accumulation": opt.gradient_accumulation}
    settings |= {"length": config.base.max_seq_length, "train_vocab": config.lora.train_vocab}
    settings |= {"load_in_4bit": config.base.load_in_4bit, "optimiser": opt.optimiser}
    settings |= {"fit_rows": config.base.fit_rows} if config.base.fit_rows else {}
    return Plan(
        base=base.name,
        gpu=gpu.name,
        settings=settings,
        trainable_parameters=count,
        # peft's own count: adapters and copies come on top of the base's parameters
        trainable_share=round(count / (base.total + trained["adapters"] + copies), 4),
        parts=parts,
        peak_vram_gib=peak,
        visible_gib=gpu.visible_gib,
        offered_gib=round(SAFE_SHARE * gpu.visible_gib, 3),
        fits=peak <= SAFE_SHARE * gpu.visible_gib,
        host_ram_gib=memory.host_ram(config, opt, base),
        disk_gib=memory.disk(config, opt, base, trained) | _fitting_disk(config, whole, base),
        **_bought(config, opt, gpu, base, hours, corpus_words),
        notes=list(_notes(config, opt, gpu, base)),
    )


def _fitting_disk(config: Config, whole: Shape, base: Shape) -> dict[str, float]:
    """GiB of what base.fit_rows reads and writes, both in 16 bit."""
    sizes = {"base": 2 * whole.total, "fitted base": 2 * base.total} if config.base.fit_rows else {}
    return {name: round(size / GIB, 2) for name, size in sizes.items()}


def _bought(config: Config, opt: Optimisation, gpu: Card, base: Shape, hours: float, corpus_words: int | None) -> dict[str, Any]:
    """What the hours buy; of the tokens read, the replay share is English."""
    speed, (per_word, _) = gpu.tokens_per_second(base), fertility(base)
    words = 3600 * speed / per_word * (1 - _replay(config, opt))
    step = opt.batch_size * opt.gradient_accumulation * config.base.max_seq_length
    return {
        "tokens_per_second": round(speed, 1),
        "slowest": round(gpu.slowest(base), 3),
        "fertility": per_word,
        "urdu_words_per_hour": round(words),
        "hours": hours,
        "tokens_per_step": step,
        "steps": int(speed * 3600 * hours / step),
        "corpus_share": round(words * hours / corpus_words, 4) if corpus_words else None,
        "usd": None if gpu.usd_per_hour is None else round(gpu.usd_per_hour * hours, 2),
    }


def _replay(config: Config, opt: Optimisation) -> float:
    """The share of English in what continued pretraining reads; fine-tuning replays none."""
    return config.corpus.replay_share if opt is config.pretrain else 0.0


def _notes(config: Config, opt: Optimisation, gpu: Card, base: Shape) -> Iterator[str]:
    """What a reader should know about the numbers: how they come about, and which of them are guesses."""
    tokens = opt.batch_size * config.base.max_seq_length
    size = 2 * tokens * base.hidden / 2**20
    if rows := config.base.fit_rows:
        yield f"the vocabulary is fitted to {rows:,} rows first, as `alif fit` does"
    if memory.offloads(base, tokens):
        yield f"activations: Unsloth's checkpointing moves {base.layers - 1} hidden states of {size:.0f} MiB to host RAM"
    else:
        yield f"activations: {base.layers} hidden states of {size:.1f} MiB stay on the card, too small to be moved to host RAM"
    if base.vision:
        yield f"the image tower, {base.vision / 1e9:.2f}B parameters, is loaded in 16 bit and not trained"
    if base.float32_on_fp16 and not gpu.bf16:
        yield f"hidden states are float32: {base.name} overflows in float16 and {gpu.name} has no bfloat16"
    if config.lora.train_vocab == "rows":
        yield f"trained rows: at most {memory.urdu_rows(base):,}, the entries with a letter of the Arabic block"
    per_word, source = fertility(base)
    yield f"{per_word:g} tokens a word: {source}"
    if replay := _replay(config, opt):
        yield f"Urdu words: {replay:.0%} of what is read is English and not counted"
    if gpu.slowest(base) < 1:
        yield f"speed is a range: {base.name} may run in float32 on {gpu.name}, or partly in float16; ten real steps tell which"
    yield "speed is rough: inferred from 150 to 300 tokens/s of an 8B model on a T4 and the cards' published TFLOPS"
    if gpu.usd_per_hour:
        yield f"price of {machine.gpu_table()['price_date']}, ${gpu.usd_per_hour:.2f} an hour, as third parties list it"


def _with(
    config: Config, stage: str, *, length: int, rank: int, batch: int, train_vocab: str = "", load_in_4bit: bool = False
) -> Config:
    base = replace(config.base, max_seq_length=length, load_in_4bit=load_in_4bit or config.base.load_in_4bit)
    lora = replace(config.lora, rank=rank, train_vocab=train_vocab or config.lora.train_vocab)
    return replace(config, base=base, lora=lora, **{stage: replace(getattr(config, stage), batch_size=batch)})


def recommend(config: Config, gpu: Card, base: Shape, stage: str = "pretrain") -> dict[str, Any] | None:
    """The largest length, then rank, then batch, up to the paper's 2048, 128 and 8, that fits in 90 % of the card, or None."""
    for length, rank, batch in itertools.product(LENGTHS, RANKS, BATCHES):
        found = plan(_with(config, stage, length=length, rank=rank, batch=batch), gpu, base, stage=stage)
        if found.fits:
            return {"length": length, "rank": rank, "batch": batch, "peak_vram_gib": found.peak_vram_gib}
    return None


def check(found: Plan, config: Config, gpu: Card, base: Shape, stage: str = "pretrain") -> None:
    """Raise UserError when the plan does not fit: what it needs, what the card offers, the nearest thing that fits.

    And when new pieces of the base would not be trained.
    """
    check_new_rows(base.name, base.new_rows, config.lora.train_vocab)
    if found.fits:
        return
    if near := nearest(config, gpu, base, stage):
        changes, need = near
        what = ", ".join(f"{name} {value}" for name, value in changes.items())
        advice = f"the nearest that fits is {what}, at {need:.1f} GiB"
    else:
        smallest = _with(Config(), "pretrain", length=512, rank=8, batch=1)
        able = [other for other in known_bases().values() if other.instruct and plan(smallest, gpu, other).fits]
        largest = max(able, key=lambda other: other.total).name if able else "none of bases.toml"
        advice = f"no smaller setting of it fits; the largest base that does is {largest}"
    raise UserError(
        f"{base.name} with rank {config.lora.rank}, batch {found.settings['batch']}, length {found.settings['length']} and "
        f"train_vocab {config.lora.train_vocab} needs {found.peak_vram_gib:.1f} GiB, and {gpu.name} offers "
        f"{found.offered_gib:.1f} (90 % of {gpu.visible_gib:.3f}); {advice}"
    )


def nearest(config: Config, gpu: Card, base: Shape, stage: str = "pretrain") -> tuple[dict[str, Any], float] | None:
    """The fewest steps down that fit, and their peak in GiB: a step halves batch (1), length (1.5) or rank (2), trains less
    of the vocabulary (2 each), or loads in 4 bit (2); the numbers are what a step costs. None when nothing fits."""
    steps = VOCAB_STEPS[:-1] if base.new_rows else VOCAB_STEPS
    axes: dict[str, tuple[float, Sequence[Any]]] = {
        "batch": (1, _halves(getattr(config, stage).batch_size, 1)),
        "length": (1.5, _halves(config.base.max_seq_length, 256)),
        "rank": (2, _halves(config.lora.rank, 8)),
        "train_vocab": (2, steps[steps.index(config.lora.train_vocab) :]),
        "load_in_4bit": (2, (True,) if config.base.load_in_4bit else (False, True)),
    }
    priced = ([(cost * step, value) for step, value in enumerate(values)] for cost, values in axes.values())
    for way in sorted(itertools.product(*priced), key=lambda way: sum(cost for cost, _ in way)):
        chosen = dict(zip(axes, (value for _, value in way), strict=True))
        found = plan(_with(config, stage, **chosen), gpu, base, stage=stage)
        if found.fits:
            return {name: value for name, value in chosen.items() if value != axes[name][1][0]}, found.peak_vram_gib
    return None


def _halves(value: int, least: int) -> list[int]:
    """The value, its half and so on, down to `least`."""
    return [value, *(half for n in range(1, value.bit_length()) if (half := value >> n) >= least)]


def compare(planned: Plan, measured: dict[str, float]) -> list[str]:
    """Sentences on how far the plan was off, and what the session buys at the measured speed.

    `measured` may hold `tokens_per_second` and `peak_gib` (torch.cuda.max_memory_reserved), after about ten real steps.
    """
    said, speed, peak = [], measured.get("tokens_per_second"), measured.get("peak_gib")
    if speed:
        steps = int(speed * 3600 * planned.hours / planned.tokens_per_step)
        needed = planned.steps * planned.tokens_per_step / speed / 3600
        said.append(
            f"speed: {speed:,.0f} tokens/s measured, {between(planned.tokens_per_second, planned.slowest)} planned "
            f"({speed / planned.tokens_per_second - 1:+.0%}); {planned.hours:g} hours buy {steps:,} steps instead of "
            f"{planned.steps:,}, and {planned.steps:,} would take {needed:.1f} hours"
        )
    if peak:
        left = planned.offered_gib - peak - CONTEXT
        above = f"{-left:.1f} GiB above what is safe, lower the batch size or the length"
        said.append(
            f"memory: {peak:.2f} GiB reserved, {planned.reserved_gib:.2f} planned ({peak / planned.reserved_gib - 1:+.0%}); "
            f"{f'{left:.1f} GiB are left' if left >= 0 else above} of the {planned.offered_gib:.1f} GiB offered"
        )
    return said
