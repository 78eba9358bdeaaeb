"""core: every knob of the kit, in frozen dataclasses, with three presets that differ in values only.

In: a preset's name, or a JSON file, and overrides such as `pretrain.max_steps=5`. Out: one `Config`, checked as a whole.
Numbers marked [Alif] are the published recipe (arXiv 2510.09051 and its code): each stands here once.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from alif_kit.core.errors import UserError
from alif_kit.core.records import CATEGORIES

# [Alif] Rows per category of Urdu-Instruct, 51,686 in all.
PAPER_TARGETS = {
    "generation": 5907,
    "reasoning": 9590,
    "ethics": 9002,
    "qa": 8177,
    "translation": 10001,
    "classification": 4662,
    "sentiment": 4347,
}


def targets_of(total: int) -> dict[str, int]:
    """Split a number of examples over the categories in the paper's proportions: `targets_of(51686) == PAPER_TARGETS`."""
    whole = sum(PAPER_TARGETS.values())
    return {category: max(1, round(total * count / whole)) for category, count in PAPER_TARGETS.items()}


@dataclass(frozen=True)
class Base:
    """The model that is taught."""

    model: str = "unsloth/gemma-3-4b-it"
    """Hub id or local folder of the base; `tiny` is the small Llama that the kit trains itself, for a CPU."""
    chat_format: str = "native"
    """`native`: the tokenizer's own chat template (Instruct models). `alpaca`: Alif's plain frame (base models)."""
    load_in_4bit: bool = True
    """Load the frozen weights as NF4; False loads 16 bit."""
    max_seq_length: int = 1024
    """Tokens per block and per conversation."""


@dataclass(frozen=True)
class Lora:
    """What is trained on top of the frozen base."""

    rank: int = 16
    """LoRA rank r."""
    alpha: int = 32
    """LoRA scaling; with rsLoRA the update is scaled by alpha / sqrt(rank)."""
    rslora: bool = True
    """Rank-stabilised scaling."""
    dropout: float = 0.0
    """LoRA dropout; 0 keeps Unsloth's fast path."""
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Linear layers that get an adapter."""
    train_vocab: str = "none"
    """`none` leaves the vocabulary frozen; `rows` trains the rows of embed_tokens and lm_head that the language uses; `full`
    trains both matrices whole, as the paper does."""
    vocab_coverage: float = 0.999
    """With `rows`: the share of the training corpus's tokens in the language that the trained rows must cover."""
    after_pretraining: str = "continue"
    """What fine-tuning starts from: `continue` takes the adapter on, as the paper does; `merge` puts a fresh one on the merged
    model."""


@dataclass(frozen=True)
class Teacher:
    """The model that writes examples: any endpoint of the OpenAI protocol."""

    base_url: str = "https://api.openai.com/v1"
    """Address of the endpoint; `demo` starts the embedded demonstration teacher."""
    model: str = "gpt-4o"
    """Model name the endpoint knows."""
    key_name: str = "OPENAI_API_KEY"
    """Name of the secret that holds the key (environment, Colab or Kaggle store); never the key itself."""
    temperature: float = 1.0
    """Sampling temperature [Alif]."""
    max_tokens: int = 8192
    """Longest answer asked for, in tokens."""
    output_format: str = "auto"
    """How tasks are asked for: `json_schema`, `json_object` or `text`; `auto` asks the endpoint once what it has."""
    concurrency: int = 0
    """Requests in flight at once, 0 for as many as limits and window allow; changes speed, never the data set."""
    requests_per_minute: int = 0
    """The endpoint's limit of requests in any minute; 0 for none."""
    tokens_per_minute: int = 0
    """The endpoint's limit of tokens in any minute, prompt and answer together; 0 for none."""
    timeout_s: float = 180.0
    """Seconds before one attempt is given up."""
    max_attempts: int = 6
    """Failed attempts of one request before generation stops; being throttled (429) is not a failed attempt."""
    usd_per_million_input: float = -1.0
    """Dollars per million prompt tokens; -1 takes it from prices.toml."""
    usd_per_million_output: float = -1.0
    """Dollars per million completion tokens; -1 takes it from prices.toml."""
    max_usd: float = 5.0
    """Generation stops before the run would have spent more than this."""
    max_requests: int = 0
    """Generation stops after so many requests of the run; 0 for no limit."""
    max_minutes: float = 0.0
    """Generation stops after so many minutes of this session; 0 for no limit."""


@dataclass(frozen=True)
class Synth:
    """How many examples are made and how they are judged."""

    targets: dict[str, int] = field(default_factory=lambda: dict(PAPER_TARGETS))
    """Accepted examples wanted per category."""
    tasks_per_call: int = 20
    """New tasks asked for in one request [Alif]."""
    seeds_shown: int = 4
    """Seed tasks shown in each request [Alif]."""
    machine_shown: int = 2
    """Machine-made tasks shown in each request once there are some [Alif]."""
    window: int = 64
    """Request k is composed when request k - window is folded in; caps concurrency and fixes the order of everything."""
    novelty_threshold: float = 0.7
    """A candidate whose ROUGE-L F1 with any kept task is above this is dropped [Alif]."""
    evaluation_sets: tuple[str, ...] = ()
    """Sets a candidate must not overlap with: local .jsonl, .json, .txt or .parquet files, or Hub ids `org/name:config:split`."""
    held_out_share: float = 0.1
    """Share of accepted examples kept for evaluation, per category."""


@dataclass(frozen=True)
class Corpus:
    """Running text for continued pretraining."""

    source: str = "pack"
    """`pack` (the sample of the language pack), `wikipedia` (wikimedia/wikipedia 20231101), a Hub data set as `org/name`,
    `org/name:config` or `org/name:config:split`, or a local .txt, .jsonl or .parquet file."""
    replay: str = "pack"
    """Where the English comes from: the same forms."""
    text_field: str = "text"
    """Column that holds the text in a Hub data set or a local .jsonl or .parquet file."""
    max_documents: int = 0
    """Documents read from the source at most, in its order; 0 for all."""
    held_out_documents: int = 200
    """Documents kept for evaluation, chosen by content; `pack` has its own split."""
    min_words: int = 40
    """A cleaned document with fewer words is dropped."""
    duplicate_threshold: float = 0.8
    """A document whose estimated Jaccard similarity (word 5-grams) with a kept one is at least this is dropped."""
    replay_share: float = 0.1
    """Share of blocks that are English, interleaved, so that English is not forgotten."""


@dataclass(frozen=True)
class Mixture:
    """What fine-tuning reads."""

    sources: dict[str, int] = field(default_factory=lambda: {"own": 0})
    """Rows at most from each named source, 0 for all, -1 for the source's own cap: `own` is the run's data/train.jsonl, the others
    stand in training/mixture.toml, or are local files."""
    skip_missing: bool = False
    """Go on without a source that cannot be loaded, saying so, instead of stopping."""
    system: str = ""
    """System line before each conversation; empty for none."""


@dataclass(frozen=True)
class Session:
    """How long a session lasts and where its checkpoints outlive it."""

    hours: float = 0.0
    """Training stops with a checkpoint when the session is this old; 0 for never."""
    mirror: str = ""
    """Folder each checkpoint is copied to (Drive, for example), or `hub:OWNER/NAME`; empty for none."""
    trackers: tuple[str, ...] = ()
    """Trackers known to transformers that metrics go to besides metrics.csv: trackio, wandb, tensorboard."""


@dataclass(frozen=True)
class Optimisation:
    """One training stage."""

    epochs: int = 1
    """Passes over the data."""
    max_steps: int = -1
    """Optimiser steps; -1 lets `epochs` decide. Fixed for a run: a resume with another value is refused."""
    learning_rate: float = 2e-5
    """Peak learning rate of the adapter."""
    embedding_learning_rate: float = 1e-5
    """Learning rate of embed_tokens and lm_head when they are trained [Alif: 1e-5]."""
    weight_decay: float = 0.01
    """AdamW weight decay."""
    warmup_steps: int = 50
    """Steps of linear warm-up [Alif]; a cosine follows."""
    batch_size: int = 2
    """Rows per device and step."""
    gradient_accumulation: int = 4
    """Steps added up before the optimiser moves."""
    optimiser: str = "adamw_8bit"
    """Name known to transformers; on a CPU Unsloth's backend has no 8-bit optimiser, so the smoke preset uses adamw_torch."""
    save_steps: int = 50
    """Optimiser steps between checkpoints: what a kill can lose."""
    eval_steps: int = 0
    """Optimiser steps between looks at the held-out loss; 0 for none."""


@dataclass(frozen=True)
class Evaluation:
    """What is measured, of the base and the tuned model alike."""

    suite: str = "quick"
    """`quick`: the run's held-out tasks and the pack's own sets, no network. `full`: the public sets of the Hub as well.
    `paper`: the seven categories of Urdu-Eval, four of them read by the judge."""
    also: tuple[str, ...] = ()
    """Sets besides the suite's: `retention` (public English tasks), `urdu` (public Urdu tasks), or any other set's name."""
    data: dict[str, str] = field(default_factory=dict)
    """Where a set is read from instead of the suite's own place: `{"knowledge": "urdu_mmlu.json"}`, a local file or a Hub id."""
    max_new_tokens: int = 256
    """Budget of one answer, the same for every model."""
    max_examples: int = 200
    """Examples of each set at most, 0 for all; held-out tasks are spread over the categories."""
    batch_size: int = 8
    """Prompts answered together."""


@dataclass(frozen=True)
class Gate:
    """How much worse than its base a tuned model may be. A difference counts only when its 95 % interval lies on one side."""

    knowledge: float = 0.02
    """Accuracy on native multiple choice, in shares of 1: two points are a fifth of what UrduMMLU found Alif to have lost."""
    retention: float = 0.02
    """English: share by which bits per byte may rise, and accuracy that public tasks may lose. Replay holds it below this."""
    unparsed: float = 0.02
    """Share of answers that no parser can read, more than the base's: one in fifty is noticed by users, Alif's was one in eight."""
    stops: float = 0.02
    """Share of answers that end by themselves, fewer than the base's: an answer that never ends is what users report first."""
    purity: float = 0.02
    """Mean share of Urdu letters in Urdu answers, below the base's: about one foreign word in a sentence of forty letters."""
    safety: float = 0.05
    """Harmful requests declined, fewer, and harmless ones refused, more: found by phrases, so the margin is wider."""
    min_examples: int = 50
    """Examples that a proportion needs before more than `undecided` is said; the width of its interval does the rest."""
    min_documents: int = 10
    """Documents that bits per byte need; each is hundreds of tokens, so fewer do."""


@dataclass(frozen=True)
class Config:
    """Everything a run depends on."""

    preset: str = "t4"
    """Name of the preset the run started from."""
    language: str = "ur"
    """Folder of the language pack under alif_kit/languages."""
    seed: int = 3407
    """Seed of sampling, shuffling and training [Alif]."""
    base: Base = field(default_factory=Base)
    """The model that is taught."""
    lora: Lora = field(default_factory=Lora)
    """The shape of the adapter."""
    teacher: Teacher = field(default_factory=Teacher)
    """Who writes the examples."""
    synth: Synth = field(default_factory=Synth)
    """How many, and how they are judged."""
    corpus: Corpus = field(default_factory=Corpus)
    """What is read in continued pretraining."""
    mixture: Mixture = field(default_factory=Mixture)
    """What is read in fine-tuning."""
    pretrain: Optimisation = field(default_factory=Optimisation)
    """Continued pretraining."""
    finetune: Optimisation = field(default_factory=lambda: Optimisation(learning_rate=5e-5, weight_decay=0.0))
    """Fine-tuning on the examples, after pretraining."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    """What is measured."""
    judge: Teacher = field(default_factory=lambda: Teacher(temperature=0.0, max_tokens=1024, max_usd=2.0))
    """Who reads the answers that no parser can judge: any endpoint, as for the teacher."""
    gate: Gate = field(default_factory=Gate)
    """When a tuned model counts as worse."""
    session: Session = field(default_factory=Session)
    """How long, and where to."""

    def __post_init__(self) -> None:
        _check(self)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


# Fields a resumed run may change: they move speed and spending, never the result. What evaluation depends on may change as well:
# its rows carry the settings they were made with, and are made anew under others.
OPERATIONAL = {
    "teacher.concurrency",
    "teacher.requests_per_minute",
    "teacher.tokens_per_minute",
    "teacher.max_requests",
    "teacher.max_minutes",
    "teacher.timeout_s",
    "teacher.max_attempts",
    "teacher.max_usd",
    *(f"evaluation.{f.name}" for f in fields(Evaluation)),
    *(f"judge.{f.name}" for f in fields(Teacher)),
    *(f"gate.{f.name}" for f in fields(Gate)),
    "session.hours",
    "session.mirror",
    "session.trackers",
}
# Fields by which answers that are paid for may be judged again.
JUDGING = {"synth.novelty_threshold", "synth.evaluation_sets", "synth.held_out_share"}


def _smoke() -> Config:
    """CPU: the tiny Llama, the embedded teacher, the whole pipeline in about three minutes on two cores."""
    shared = {"warmup_steps": 10, "batch_size": 8, "gradient_accumulation": 1, "optimiser": "adamw_torch"}
    return Config(
        preset="smoke",
        base=Base(model="tiny", max_seq_length=256),
        lora=Lora(rank=16, alpha=16, train_vocab="full"),
        teacher=Teacher(
            base_url="demo",
            model="alif-demo-teacher",
            key_name="",
            output_format="text",
            max_usd=0.0,
        ),
        synth=Synth(targets=targets_of(300), tasks_per_call=10, window=4, held_out_share=0.15),
        corpus=Corpus(replay_share=0.25),
        pretrain=Optimisation(
            epochs=4, learning_rate=2e-3, embedding_learning_rate=2e-3, save_steps=20, weight_decay=0.01, **shared
        ),
        finetune=Optimisation(
            epochs=4, learning_rate=1e-3, embedding_learning_rate=5e-4, save_steps=20, weight_decay=0.0, **shared
        ),
        evaluation=Evaluation(max_new_tokens=96, max_examples=42, batch_size=16),
        judge=Teacher(base_url="demo", model="alif-demo-teacher", key_name="", output_format="text", max_usd=0.0),
    )


def _quick() -> Config:
    """A free T4 in about a quarter of an hour [planned]: a small base, the embedded teacher, little of everything."""
    shared = {"epochs": 2, "learning_rate": 1e-4, "warmup_steps": 5, "batch_size": 4, "gradient_accumulation": 2, "save_steps": 20}
    return replace(
        _smoke(),
        preset="quick",
        base=Base(model="unsloth/gemma-3-1b-it", max_seq_length=512),
        lora=Lora(),
        pretrain=Optimisation(weight_decay=0.01, **shared),
        finetune=Optimisation(weight_decay=0.0, **shared),
        evaluation=Evaluation(max_new_tokens=96, max_examples=16, batch_size=16),
    )


def _paper() -> Config:
    """Alif's published recipe on one 80 GB card [Alif]: a reference, not for a free session."""
    shared = {"batch_size": 8, "gradient_accumulation": 8, "warmup_steps": 50, "embedding_learning_rate": 1e-5}
    return Config(
        preset="paper",
        base=Base(model="unsloth/Meta-Llama-3.1-8B", chat_format="alpaca", max_seq_length=2048),
        lora=Lora(rank=128, alpha=32, train_vocab="full"),
        teacher=Teacher(max_usd=100.0),
        corpus=Corpus(source="wikipedia", replay_share=0.0, max_documents=200_000),
        mixture=Mixture(
            sources={"own": 0, "urdu_alpaca": 32914, "uls_wsd": 0, "alpaca_en": 10400, "openorca": 10000}, skip_missing=True
        ),
        pretrain=Optimisation(epochs=1, learning_rate=2e-5, weight_decay=0.01, **shared),
        finetune=Optimisation(epochs=2, learning_rate=5e-5, weight_decay=0.0, **shared),
    )


PRESETS = {"smoke": _smoke, "quick": _quick, "t4": Config, "paper": _paper}


def load(source: str | Path, overrides: dict[str, Any] | None = None) -> Config:
    """A preset by name or a saved config.json, with dotted overrides: `load("smoke", {"pretrain.max_steps": 5})`.

    Raises UserError for an unknown preset, key or value, naming it.
    """
    if str(source) in PRESETS:
        config = PRESETS[str(source)]()
    elif Path(source).is_file():
        config = from_dict(json.loads(Path(source).read_text("utf-8")))
    else:
        raise UserError(f"preset {str(source)!r} is neither a file nor one of {', '.join(PRESETS)}")
    values = config.to_dict()
    for key, value in (overrides or {}).items():
        _override(config, values, key.split("."), value, key)
    return from_dict(values)  # checked as a whole: of two changes that belong together, either may come first


def from_dict(values: dict[str, Any]) -> Config:
    """A Config from plain values; an unknown key is refused by its dotted name."""
    return _build(Config, values, "")


def _build(kind: type, values: Any, prefix: str) -> Any:
    if not isinstance(values, dict):
        raise UserError(f"{prefix[:-1] or 'the configuration'} is {values!r}; expected a table of fields")
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - {f.name for f in fields(kind)})
    if unknown:
        known = ", ".join(f.name for f in fields(kind))
        raise UserError(f"unknown field {prefix}{unknown[0]}; {prefix or 'the configuration '}has {known}")
    return kind(**{name: _coerce(hints[name], value, prefix + name) for name, value in values.items()})


def _coerce(kind: Any, value: Any, name: str) -> Any:
    """One plain value as its field's type; numbers and booleans may come as text from the command line."""
    if is_dataclass(kind):
        return _build(kind, value, name + ".")
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
        if kind in (int, float):
            number = kind(value)
            if isinstance(value, bool) or number != float(value):
                raise ValueError(value)
            return number
        if kind == tuple[str, ...]:
            return tuple(value.split(",") if isinstance(value, str) else value)
        if kind in (dict[str, int], dict[str, str]):
            value = json.loads(value) if isinstance(value, str) else value
            return {str(k): _coerce(get_args(kind)[1], v, f"{name}.{k}") for k, v in value.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        expected = getattr(kind, "__name__", kind)
        raise UserError(f"{name} is {value!r}; expected {expected}") from None
    return str(value)


def _override(table: Any, values: dict[str, Any], path: list[str], value: Any, name: str) -> None:
    head, *rest = path
    if not is_dataclass(table) or head not in {f.name for f in fields(table)}:
        known = ", ".join(f.name for f in fields(table)) if is_dataclass(table) else "no fields"
        raise UserError(f"unknown field {name}; {type(table).__name__} has {known}")
    if rest:
        _override(getattr(table, head), values[head], rest, value, name)
    else:
        values[head] = value


def flatten(config: Config) -> dict[str, Any]:
    """Dotted names and plain values: `{"pretrain.max_steps": -1, ...}`."""
    flat: dict[str, Any] = {}
    for name, value in config.to_dict().items():
        flat |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def first_difference(old: Config, new: Config, besides: Collection[str] = ()) -> tuple[str, Any, Any] | None:
    """Name, old and new value of the first field that changes a run's result, or None when they agree."""
    before, after = flatten(old), flatten(new)
    for name, value in before.items():
        if name not in OPERATIONAL and name not in besides and value != after[name]:
            return name, value, after[name]
    return None


def _check(config: Config) -> None:
    """Refuse impossible or clashing values, each by its dotted name."""
    flat = flatten(config)
    for name, low, high in _RANGES:
        if not low <= flat[name] <= high:
            raise UserError(f"{name} is {flat[name]}; expected between {low} and {high}")
    for name, allowed in _CHOICES.items():
        if flat[name] not in allowed:
            raise UserError(f"{name} is {flat[name]!r}; expected one of {', '.join(allowed)}")
    unknown = sorted(set(config.synth.targets) - set(CATEGORIES))
    if unknown:
        raise UserError(f"synth.targets names {unknown[0]!r}; expected categories among {', '.join(CATEGORIES)}")
    if not config.synth.targets or min(config.synth.targets.values()) < 1:
        raise UserError("synth.targets must ask for at least 1 example in each category it names")
    for stage in ("pretrain", "finetune"):
        steps = flat[f"{stage}.max_steps"]
        if steps == 0 or steps < -1:
            raise UserError(f"{stage}.max_steps is {steps}; expected -1 (let epochs decide) or at least 1")
    if config.base.chat_format == "native" and config.base.model.endswith("Meta-Llama-3.1-8B"):
        raise UserError("base.chat_format is native, but Meta-Llama-3.1-8B is a base model without trained chat tokens; use alpaca")


_CHOICES = {
    "base.chat_format": ("native", "alpaca"),
    "lora.train_vocab": ("none", "rows", "full"),
    "lora.after_pretraining": ("continue", "merge"),
    "teacher.output_format": ("auto", "json_schema", "json_object", "text"),
    "judge.output_format": ("auto", "json_schema", "json_object", "text"),
    "evaluation.suite": ("quick", "full", "paper"),
}

_RANGES = (
    ("base.max_seq_length", 32, 131072),
    ("lora.rank", 1, 1024),
    ("lora.alpha", 1, 4096),
    ("lora.dropout", 0.0, 0.9),
    ("teacher.temperature", 0.0, 2.0),
    ("teacher.max_tokens", 16, 1_000_000),
    ("teacher.concurrency", 0, 512),
    ("teacher.requests_per_minute", 0, 1_000_000),
    ("teacher.tokens_per_minute", 0, 1_000_000_000),
    ("teacher.max_requests", 0, 10_000_000),
    ("teacher.max_minutes", 0.0, 1e6),
    ("teacher.timeout_s", 0.1, 3600.0),
    ("teacher.max_attempts", 1, 50),
    ("teacher.usd_per_million_input", -1.0, 1000.0),
    ("teacher.usd_per_million_output", -1.0, 1000.0),
    ("teacher.max_usd", 0.0, 1e6),
    ("synth.tasks_per_call", 1, 100),
    ("synth.seeds_shown", 1, 20),
    ("synth.machine_shown", 0, 20),
    ("synth.window", 1, 512),
    ("synth.novelty_threshold", 0.0, 1.0),
    ("synth.held_out_share", 0.01, 0.5),
    ("lora.vocab_coverage", 0.5, 1.0),
    ("corpus.replay_share", 0.0, 0.9),
    ("corpus.max_documents", 0, 1_000_000_000),
    ("corpus.held_out_documents", 1, 1_000_000),
    ("corpus.min_words", 1, 100_000),
    ("corpus.duplicate_threshold", 0.1, 1.0),
    ("session.hours", 0.0, 1000.0),
    ("evaluation.max_new_tokens", 1, 8192),
    ("evaluation.max_examples", 0, 100_000),
    ("evaluation.batch_size", 1, 1024),
    ("judge.max_tokens", 16, 1_000_000),
    ("judge.max_usd", 0.0, 1e6),
    *((f"gate.{name}", 0.0, 1.0) for name in ("knowledge", "retention", "unparsed", "stops", "purity", "safety")),
    ("gate.min_examples", 1, 1_000_000),
    ("gate.min_documents", 1, 1_000_000),
) + tuple(
    row
    for stage in ("pretrain", "finetune")
    for row in (
        (f"{stage}.epochs", 1, 100),
        (f"{stage}.learning_rate", 1e-8, 1.0),
        (f"{stage}.embedding_learning_rate", 1e-8, 1.0),
        (f"{stage}.weight_decay", 0.0, 1.0),
        (f"{stage}.warmup_steps", 0, 100_000),
        (f"{stage}.batch_size", 1, 1024),
        (f"{stage}.gradient_accumulation", 1, 1024),
        (f"{stage}.save_steps", 1, 100_000),
        (f"{stage}.eval_steps", 0, 100_000),
    )
)
