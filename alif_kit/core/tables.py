"""core: the tables of the configuration, one for each part of the kit. Type, range, choices and meaning stand at the field.

Numbers marked [Alif] are the published recipe (arXiv 2510.09051 and its code): each stands once.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from alif_kit.core.fields import PAPER_TARGETS, Counts, Steps, Targets, Texts, Words, between

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
    max_seq_length: Annotated[int, between(32, 131_072)] = 1024
    """Tokens per block and per conversation."""
    fit_rows: Annotated[int, between(0, 262_144)] = 0
    """Rows of the vocabulary that the base is fitted to first, as `alif fit` does, for the language and English; a multiple of 64,
    0 for the base as it is."""


@dataclass(frozen=True, config=CHECKED)
class Lora:
    """What is trained on top of the frozen base."""

    rank: Annotated[int, between(1, 1024)] = 16
    """LoRA rank r."""
    alpha: Annotated[int, between(1, 4096)] = 32
    """LoRA scaling; with rsLoRA the update is scaled by alpha / sqrt(rank)."""
    rslora: bool = True
    """Rank-stabilised scaling."""
    dropout: Annotated[float, between(0, 0.9)] = 0.0
    """LoRA dropout; 0 keeps Unsloth's fast path."""
    target_modules: Words = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Linear layers that get an adapter."""
    train_vocab: Literal["none", "rows", "full"] = "none"
    """`none` leaves the vocabulary frozen; `rows` trains the rows of embed_tokens and lm_head that the language uses; `full`
    trains both matrices whole, as the paper does."""
    vocab_coverage: Annotated[float, between(0.5, 1)] = 0.999
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
    temperature: Annotated[float, between(0, 2)] = 1.0
    """Sampling temperature [Alif]."""
    max_tokens: Annotated[int, between(1, 1_000_000)] = 8192
    """Longest answer asked for, in tokens."""
    output_format: Literal["auto", "json_schema", "json_object", "text"] = "auto"
    """How tasks are asked for: `json_schema`, `json_object` or `text`; `auto` asks the endpoint once what it has."""
    concurrency: Annotated[int, between(0, 512)] = 0
    """Requests in flight at once, 0 for as many as limits and window allow; changes speed, never the data set."""
    requests_per_minute: Annotated[int, between(0, 1_000_000)] = 0
    """The endpoint's limit of requests in any minute; 0 for none."""
    tokens_per_minute: Annotated[int, between(0, 1_000_000_000)] = 0
    """The endpoint's limit of tokens in any minute, prompt and answer together; 0 for none."""
    timeout_s: Annotated[float, between(0.1, 3600)] = 180.0
    """Seconds before one attempt is given up."""
    max_attempts: Annotated[int, between(1, 50)] = 6
    """Failed attempts of one request before generation stops; being throttled (429) is not a failed attempt."""
    usd_per_million_input: Annotated[float, between(-1, 1e6)] = -1.0
    """Dollars per million prompt tokens; -1 takes it from prices.toml."""
    usd_per_million_output: Annotated[float, between(-1, 1e6)] = -1.0
    """Dollars per million completion tokens; -1 takes it from prices.toml."""
    max_usd: Annotated[float, between(0, 1e6)] = 5.0
    """Generation stops before the run would have spent more than this."""
    max_requests: Annotated[int, between(0, 10_000_000)] = 0
    """Generation stops after so many requests of the run; 0 for no limit."""
    max_minutes: Annotated[float, between(0, 1e6)] = 0.0
    """Generation stops after so many minutes of this session; 0 for no limit."""


@dataclass(frozen=True, config=CHECKED)
class Synth:
    """How many examples are made and how they are judged."""

    targets: Targets = field(default_factory=lambda: dict(PAPER_TARGETS))
    """Accepted examples wanted per category."""
    tasks_per_call: Annotated[int, between(1, 100)] = 20
    """New tasks asked for in one request [Alif]."""
    seeds_shown: Annotated[int, between(1, 20)] = 4
    """Seed tasks shown in each request [Alif]."""
    machine_shown: Annotated[int, between(0, 20)] = 2
    """Machine-made tasks shown in each request once there are some [Alif]."""
    window: Annotated[int, between(1, 512)] = 64
    """Request k is composed when request k - window is folded in; caps concurrency and fixes the order of everything."""
    novelty_threshold: Annotated[float, between(0, 1)] = 0.7
    """A candidate whose ROUGE-L F1 with any kept task is above this is dropped [Alif]."""
    evaluation_sets: Words = ()
    """Sets a candidate must not overlap with: local .jsonl, .json, .txt or .parquet files, or Hub ids `org/name:config:split`."""
    held_out_share: Annotated[float, between(0.01, 0.5)] = 0.1
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
    max_documents: Annotated[int, between(0, 1_000_000_000)] = 0
    """Documents read from the source at most, in its order; 0 for all."""
    held_out_documents: Annotated[int, between(1, 1_000_000)] = 200
    """Documents kept for evaluation, chosen by content; `pack` has its own split."""
    min_words: Annotated[int, between(1, 100_000)] = 40
    """A cleaned document with fewer words is dropped."""
    duplicate_threshold: Annotated[float, between(0.1, 1)] = 0.8
    """A document whose estimated Jaccard similarity (word 5-grams) with a kept one is at least this is dropped."""
    replay_share: Annotated[float, between(0, 0.9)] = 0.1
    """Share of blocks that are English, interleaved, so that English is not forgotten."""


@dataclass(frozen=True, config=CHECKED)
class Mixture:
    """What fine-tuning reads."""

    sources: Counts = field(default_factory=lambda: {"own": 0})
    """Rows at most from each named source, 0 for all, -1 for the source's own cap: `own` is the run's data/train.jsonl, `seeds` the
    hand-written tasks of its language pack, the others stand in training/mixture.toml, or are local files."""
    skip_missing: bool = False
    """Go on without a source that cannot be loaded, saying so, instead of stopping."""
    system: str = ""
    """System line before each conversation; empty for none."""


@dataclass(frozen=True, config=CHECKED)
class Session:
    """How long a session lasts and where its checkpoints outlive it."""

    hours: Annotated[float, between(0, 1000)] = 0.0
    """Training stops with a checkpoint when the session is this old; 0 for never."""
    mirror: str = ""
    """Folder each checkpoint is copied to (Drive, for example), or `hub:OWNER/NAME`; empty for none."""
    trackers: Words = ()
    """Trackers known to transformers that metrics go to besides metrics.csv: trackio, wandb, tensorboard."""


@dataclass(frozen=True, config=CHECKED)
class Optimisation:
    """One training stage."""

    epochs: Annotated[int, between(1, 100)] = 1
    """Passes over the data."""
    max_steps: Steps = -1
    """Optimiser steps; -1 lets `epochs` decide. Fixed for a run: a resume with another value is refused."""
    learning_rate: Annotated[float, between(1e-8, 1)] = 2e-5
    """Peak learning rate of the adapter."""
    embedding_learning_rate: Annotated[float, between(1e-8, 1)] = 1e-5
    """Learning rate of embed_tokens and lm_head when they are trained [Alif: 1e-5]."""
    weight_decay: Annotated[float, between(0, 1)] = 0.01
    """AdamW weight decay."""
    warmup_steps: Annotated[int, between(0, 100_000)] = 50
    """Steps of linear warm-up [Alif]; a cosine follows."""
    batch_size: Annotated[int, between(1, 1024)] = 2
    """Rows per device and step."""
    gradient_accumulation: Annotated[int, between(1, 1024)] = 4
    """Steps added up before the optimiser moves."""
    optimiser: str = "adamw_8bit"
    """Name known to transformers; on a CPU Unsloth's backend has no 8-bit optimiser, so the smoke preset uses adamw_torch."""
    save_steps: Annotated[int, between(1, 100_000)] = 50
    """Optimiser steps between checkpoints: what a kill can lose."""
    eval_steps: Annotated[int, between(0, 100_000)] = 0
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
    max_new_tokens: Annotated[int, between(1, 8192)] = 256
    """Budget of one answer, the same for every model."""
    max_examples: Annotated[int, between(0, 100_000)] = 200
    """Examples of each set at most, 0 for all; held-out tasks are spread over the categories."""
    batch_size: Annotated[int, between(1, 1024)] = 8
    """Prompts answered together."""


@dataclass(frozen=True, config=CHECKED)
class Gate:
    """How much worse than its base a tuned model may be. A difference counts only when its 95 % interval lies on one side."""

    knowledge: Annotated[float, between(0, 1)] = 0.02
    """Accuracy on native multiple choice, in shares of 1: two points are a fifth of what UrduMMLU found Alif to have lost."""
    retention: Annotated[float, between(0, 1)] = 0.02
    """English: share by which bits per byte may rise, and accuracy that public tasks may lose. Replay holds it below this."""
    unparsed: Annotated[float, between(0, 1)] = 0.02
    """Share of answers that no parser can read, more than the base's: one in fifty is noticed by users, Alif's was one in eight."""
    stops: Annotated[float, between(0, 1)] = 0.02
    """Share of answers that end by themselves, fewer than the base's: an answer that never ends is what users report first."""
    purity: Annotated[float, between(0, 1)] = 0.02
    """Mean share of Urdu letters in Urdu answers, below the base's: about one foreign word in a sentence of forty letters."""
    safety: Annotated[float, between(0, 1)] = 0.05
    """Harmful requests declined, fewer, and harmless ones refused, more: found by phrases, so the margin is wider."""
    min_examples: Annotated[int, between(1, 1_000_000)] = 50
    """Examples that a proportion needs before more than `undecided` is said; the width of its interval does the rest."""
    min_documents: Annotated[int, between(1, 1_000_000)] = 10
    """Documents that bits per byte need; each is hundreds of tokens, so fewer do."""
