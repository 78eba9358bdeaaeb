"""core: every knob of the kit. presets.toml has the presets, which differ in values only; tables.py says what each field may be.

In: a preset's name, or a TOML or JSON file, and overrides such as `pretrain.max_steps=5`. Out: one frozen `Config`, checked as a
whole by pydantic; a bad value is one sentence that names its field.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from alif_kit.core.errors import UserError
from alif_kit.core.fields import PAPER_TARGETS as PAPER_TARGETS
from alif_kit.core.fields import rows_of, sentence, unknown
from alif_kit.core.fields import targets_of as targets_of
from alif_kit.core.tables import CHECKED, Base, Corpus, Evaluation, Gate, Lora, Mixture, Optimisation, Session, Synth, Teacher


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
        if self.base.fit_rows % 64:
            raise ValueError(f"base.fit_rows is {self.base.fit_rows}; expected a multiple of 64")
        return self

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_PRESETS: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("presets.toml").read_text("utf-8"))
PRESETS = ("smoke", "cpu", "quick", "t4", "paper", "paper-t4")


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
    try:  # checked as a whole: of two changes that belong together, either may come first
        return TypeAdapter(Config).validate_python(values)
    except ValidationError as error:
        raise UserError(sentence(error.errors()[0], rows_of(Config()))) from None


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


def schema() -> dict[str, Any]:
    """The JSON schema of a configuration file, for an editor that checks it while it is being written."""
    return TypeAdapter(Config).json_schema()
