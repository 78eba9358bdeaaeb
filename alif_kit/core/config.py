"""core: every knob of the kit, in frozen tables that pydantic checks; presets.toml has the presets, which differ in values only.

In: a preset's name, or a TOML or JSON file, and overrides such as `pretrain.max_steps=5`. Out: one `Config`, checked as a whole; a
bad value is one sentence that names its field. Type, range, choices and meaning stand at the field. Numbers marked [Alif] are the
published recipe (arXiv 2510.09051 and its code): each stands once.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from alif_kit.core.errors import UserError
from alif_kit.core.fields import (
    PAPER_TARGETS,
    Counts,
    Real,
    Steps,
    Targets,
    Texts,
    Whole,
    Words,
    between,
    rows_of,
    sentence,
    unknown,
)
from alif_kit.core.fields import targets_of as targets_of

CHECKED = ConfigDict(extra="forbid", use_attribute_docstrings=True, coerce_numbers_to_str=True)


@dataclass(frozen=True, config=CHECKED)
class Base:
    """The model that is taught."""

    model: str = "unsloth/gemma-3-4b-it"
    """Hub id or local folder of the base; `tiny` is the small Llama that the kit trains itself, for a CPU."""
    chat_format: Literal["native", "alpaca"] = "native"
    """`native`: the tokenizer's own chat template (Instruct models). `alpaca`: Alif's plain frame (base models)."""
    load_in_4bit: bool = True
    """Load the frozen weights as NF4; False loads 16 bit."""
    max_seq_length: Annotated[Whole, between(32, 131_072)] = 1024
    """Tokens per block and per conversation."""


@dataclass(frozen=True, config=CHECKED)
class Lora:
    """What is trained on top of the frozen base."""

    rank: Annotated[Whole, between(1, 1024)] = 16
    """LoRA rank r."""
    alpha: Annotated[Whole, between(1, 4096)] = 32
    """LoRA scaling; with rsLoRA the update is scaled by alpha / sqrt(rank)."""
    rslora: bool = True
    """Rank-stabilised scaling."""
    dropout: Annotated[Real, between(0, 0.9)] = 0.0
    """LoRA dropout; 0 keeps Unsloth's fast path."""
    target_modules: Words = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Linear layers that get an adapter."""
    train_vocab: Literal["none", "rows", "full"] = "none"
    """`none` leaves the vocabulary frozen; `rows` trains the rows of embed_tokens and lm_head that the language uses; `full`
    trains both matrices whole, as the paper does."""
    vocab_coverage: Annotated[Real, between(0.5, 1)] = 0.999
    """With `rows`: the share of the training corpus's tokens in the language that the trained rows must cover."""
    after_pretraining: Literal["continue", "merge"] = "continue"
    """What fine-tuning starts from: `continue` takes the adapter on, as the paper does; `merge` puts a fresh one on the merged
    model."""


@dataclass(frozen=True, config=CHECKED)
class Teacher:
    """The model that writes examples: any endpoint of the OpenAI protocol."""

    base_url: str = "https://api.openai.com/v1"
    """Address of the endpoint; `demo` starts the embedded demonstration teacher."""
    model: str = "gpt-4o"
    """Model name the endpoint knows."""
    key_name: str = "OPENAI_API_KEY"
    """Name of the secret that holds the key (environment, Colab or Kaggle store); never the key itself."""
    temperature: Annotated[Real, between(0, 2)] = 1.0
    """Sampling temperature [Alif]."""
    max_tokens: Annotated[Whole, between(16, 1_000_000)] = 8192
    """Longest answer asked for, in tokens."""
    output_format: Literal["auto", "json_schema", "json_object", "text"] = "auto"
    """How tasks are asked for: `json_schema`, `json_object` or `text`; `auto` asks the endpoint once what it has."""
    concurrency: Annotated[Whole, between(0, 512)] = 0
    """Requests in flight at once, 0 for as many as limits and window allow; changes speed, never the data set."""
    requests_per_minute: Annotated[Whole, between(0, 1_000_000)] = 0
    """The endpoint's limit of requests in any minute; 0 for none."""
    tokens_per_minute: Annotated[Whole, between(0, 1_000_000_000)] = 0
    """The endpoint's limit of tokens in any minute, prompt and answer together; 0 for none."""
    timeout_s: Annotated[Real, between(0.1, 3600)] = 180.0
    """Seconds before one attempt is given up."""
    max_attempts: Annotated[Whole, between(1, 50)] = 6
    """Failed attempts of one request before generation stops; being throttled (429) is not a failed attempt."""
    usd_per_million_input: Annotated[Real, between(-1, 1000)] = -1.0
    """Dollars per million prompt tokens; -1 takes it from prices.toml."""
    usd_per_million_output: Annotated[Real, between(-1, 1000)] = -1.0
    """Dollars per million completion tokens; -1 takes it from prices.toml."""
    max_usd: Annotated[Real, between(0, 1e6)] = 5.0
    """Generation stops before the run would have spent more than this."""
    max_requests: Annotated[Whole, between(0, 10_000_000)] = 0
    """Generation stops after so many requests of the run; 0 for no limit."""
    max_minutes: Annotated[Real, between(0, 1e6)] = 0.0
    """Generation stops after so many minutes of this session; 0 for no limit."""


@dataclass(frozen=True, config=CHECKED)
class Synth:
    """How many examples are made and how they are judged."""

    targets: Targets = field(default_factory=lambda: dict(PAPER_TARGETS))
    """Accepted examples wanted per category."""
    tasks_per_call: Annotated[Whole, between(1, 100)] = 20
    """New tasks asked for in one request [Alif]."""
    seeds_shown: Annotated[Whole, between(1, 20)] = 4
    """Seed tasks shown in each request [Alif]."""
    machine_shown: Annotated[Whole, between(0, 20)] = 2
    """Machine-made tasks shown in each request once there are some [Alif]."""
    window: Annotated[Whole, between(1, 512)] = 64
    """Request k is composed when request k - window is folded in; caps concurrency and fixes the order of everything."""
    novelty_threshold: Annotated[Real, between(0, 1)] = 0.7
    """A candidate whose ROUGE-L F1 with any kept task is above this is dropped [Alif]."""
    evaluation_sets: Words = ()
    """Sets a candidate must not overlap with: local .jsonl, .json, .txt or .parquet files, or Hub ids `org/name:config:split`."""
    held_out_share: Annotated[Real, between(0.01, 0.5)] = 0.1
    """Share of accepted examples kept for evaluation, per category."""


@dataclass(frozen=True, config=CHECKED)
class Corpus:
    """Running text for continued pretraining."""

    source: str = "pack"
    """`pack` (the sample of the language pack), `wikipedia` (wikimedia/wikipedia 20231101), a Hub data set as `org/name`,
    `org/name:config` or `org/name:config:split`, or a local .txt, .jsonl or .parquet file."""
    replay: str = "pack"
    """Where the English comes from: the same forms."""
    text_field: str = "text"
    """Column that holds the text in a Hub data set or a local .jsonl or .parquet file."""
    max_documents: Annotated[Whole, between(0, 1_000_000_000)] = 0
    """Documents read from the source at most, in its order; 0 for all."""
    held_out_documents: Annotated[Whole, between(1, 1_000_000)] = 200
    """Documents kept for evaluation, chosen by content; `pack` has its own split."""
    min_words: Annotated[Whole, between(1, 100_000)] = 40
    """A cleaned document with fewer words is dropped."""
    duplicate_threshold: Annotated[Real, between(0.1, 1)] = 0.8
    """A document whose estimated Jaccard similarity (word 5-grams) with a kept one is at least this is dropped."""
    replay_share: Annotated[Real, between(0, 0.9)] = 0.1
    """Share of blocks that are English, interleaved, so that English is not forgotten."""


@dataclass(frozen=True, config=CHECKED)
class Mixture:
    """What fine-tuning reads."""

    sources: Counts = field(default_factory=lambda: {"own": 0})
    """Rows at most from each named source, 0 for all, -1 for the source's own cap: `own` is the run's data/train.jsonl, the others
    stand in training/mixture.toml, or are local files."""
    skip_missing: bool = False
    """Go on without a source that cannot be loaded, saying so, instead of stopping."""
    system: str = ""
    """System line before each conversation; empty for none."""


@dataclass(frozen=True, config=CHECKED)
class Session:
    """How long a session lasts and where its checkpoints outlive it."""

    hours: Annotated[Real, between(0, 1000)] = 0.0
    """Training stops with a checkpoint when the session is this old; 0 for never."""
    mirror: str = ""
    """Folder each checkpoint is copied to (Drive, for example), or `hub:OWNER/NAME`; empty for none."""
    trackers: Words = ()
    """Trackers known to transformers that metrics go to besides metrics.csv: trackio, wandb, tensorboard."""


@dataclass(frozen=True, config=CHECKED)
class Optimisation:
    """One training stage."""

    epochs: Annotated[Whole, between(1, 100)] = 1
    """Passes over the data."""
    max_steps: Steps = -1
    """Optimiser steps; -1 lets `epochs` decide. Fixed for a run: a resume with another value is refused."""
    learning_rate: Annotated[Real, between(1e-8, 1)] = 2e-5
    """Peak learning rate of the adapter."""
    embedding_learning_rate: Annotated[Real, between(1e-8, 1)] = 1e-5
    """Learning rate of embed_tokens and lm_head when they are trained [Alif: 1e-5]."""
    weight_decay: Annotated[Real, between(0, 1)] = 0.01
    """AdamW weight decay."""
    warmup_steps: Annotated[Whole, between(0, 100_000)] = 50
    """Steps of linear warm-up [Alif]; a cosine follows."""
    batch_size: Annotated[Whole, between(1, 1024)] = 2
    """Rows per device and step."""
    gradient_accumulation: Annotated[Whole, between(1, 1024)] = 4
    """Steps added up before the optimiser moves."""
    optimiser: str = "adamw_8bit"
    """Name known to transformers; on a CPU Unsloth's backend has no 8-bit optimiser, so the smoke preset uses adamw_torch."""
    save_steps: Annotated[Whole, between(1, 100_000)] = 50
    """Optimiser steps between checkpoints: what a kill can lose."""
    eval_steps: Annotated[Whole, between(0, 100_000)] = 0
    """Optimiser steps between looks at the held-out loss; 0 for none."""


@dataclass(frozen=True, config=CHECKED)
class Evaluation:
    """What is measured, of the base and the tuned model alike."""

    suite: Literal["quick", "full", "paper"] = "quick"
    """`quick`: the run's held-out tasks and the pack's own sets, no network. `full`: the public sets of the Hub as well.
    `paper`: the seven categories of Urdu-Eval, four of them read by the judge."""
    also: Words = ()
    """Sets besides the suite's: `retention` (public English tasks), `urdu` (public Urdu tasks), or any other set's name."""
    data: Texts = field(default_factory=dict)
    """Where a set is read from instead of the suite's own place: `{"knowledge": "urdu_mmlu.json"}`, a local file or a Hub id."""
    max_new_tokens: Annotated[Whole, between(1, 8192)] = 256
    """Budget of one answer, the same for every model."""
    max_examples: Annotated[Whole, between(0, 100_000)] = 200
    """Examples of each set at most, 0 for all; held-out tasks are spread over the categories."""
    batch_size: Annotated[Whole, between(1, 1024)] = 8
    """Prompts answered together."""


@dataclass(frozen=True, config=CHECKED)
class Gate:
    """How much worse than its base a tuned model may be. A difference counts only when its 95 % interval lies on one side."""

    knowledge: Annotated[Real, between(0, 1)] = 0.02
    """Accuracy on native multiple choice, in shares of 1: two points are a fifth of what UrduMMLU found Alif to have lost."""
    retention: Annotated[Real, between(0, 1)] = 0.02
    """English: share by which bits per byte may rise, and accuracy that public tasks may lose. Replay holds it below this."""
    unparsed: Annotated[Real, between(0, 1)] = 0.02
    """Share of answers that no parser can read, more than the base's: one in fifty is noticed by users, Alif's was one in eight."""
    stops: Annotated[Real, between(0, 1)] = 0.02
    """Share of answers that end by themselves, fewer than the base's: an answer that never ends is what users report first."""
    purity: Annotated[Real, between(0, 1)] = 0.02
    """Mean share of Urdu letters in Urdu answers, below the base's: about one foreign word in a sentence of forty letters."""
    safety: Annotated[Real, between(0, 1)] = 0.05
    """Harmful requests declined, fewer, and harmless ones refused, more: found by phrases, so the margin is wider."""
    min_examples: Annotated[Whole, between(1, 1_000_000)] = 50
    """Examples that a proportion needs before more than `undecided` is said; the width of its interval does the rest."""
    min_documents: Annotated[Whole, between(1, 1_000_000)] = 10
    """Documents that bits per byte need; each is hundreds of tokens, so fewer do."""


@dataclass(frozen=True, config=CHECKED)
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

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        if self.base.chat_format == "native" and self.base.model.endswith("Meta-Llama-3.1-8B"):
            raise ValueError(
                "base.chat_format is native, but Meta-Llama-3.1-8B is a base model without trained chat tokens; use alpaca"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_PRESETS: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("presets.toml").read_text("utf-8"))
PRESETS = ("smoke", "quick", "t4", "paper")


def load(source: str | Path, overrides: dict[str, Any] | None = None) -> Config:
    """A preset by name or a TOML or JSON file, with dotted overrides: `load("smoke", {"pretrain.max_steps": 5})`.

    What a file leaves out is as in the preset that it names, or in `t4`. Raises UserError for an unknown preset, a file that
    cannot be read, an unknown key or a bad value, naming it.
    """
    values = _preset(str(source)) if str(source) in PRESETS else _read(Path(source))
    for name, value in (overrides or {}).items():
        table, _, last = name.rpartition(".")
        within = values.get(table) if table else values
        if not isinstance(within, dict):
            raise UserError(unknown(name, rows_of(Config())))
        within[last] = value
    return from_dict(values)  # checked as a whole: of two changes that belong together, either may come first


def _preset(name: str) -> dict[str, Any]:
    other = {**_PRESETS[name], "preset": name}
    return _over(_preset(other.pop("from")) if "from" in other else Config().to_dict(), other)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"preset {str(path)!r} is neither a file nor one of {', '.join(PRESETS)}")
    kind, parse = ("TOML", tomllib.loads) if path.suffix == ".toml" else ("JSON", json.loads)
    try:
        given = parse(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not {kind}: {error}; mend it, or name a preset") from None
    if not isinstance(given, dict):
        raise UserError(f"{path} holds {given!r}; expected a table of fields")
    named = given.get("preset")
    return _over(_preset(named if named in PRESETS else "t4"), given)


def _over(values: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Values with others in their place, table by table."""
    both = {name for name in values if isinstance(values[name], dict) and isinstance(others.get(name), dict)}
    return values | {name: values[name] | value if name in both else value for name, value in others.items()}


def from_dict(values: dict[str, Any]) -> Config:
    """A Config from plain values. Raises UserError, naming the field, for an unknown key or a bad value."""
    try:
        return _checker().validate_python(values)
    except ValidationError as error:
        raise UserError(sentence(error.errors()[0], rows_of(Config()))) from None


@lru_cache
def _checker() -> TypeAdapter[Config]:
    return TypeAdapter(Config)


def schema() -> dict[str, Any]:
    """The JSON schema of a configuration file, for an editor that checks it while it is being written."""
    return _checker().json_schema()
