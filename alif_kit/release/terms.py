"""release: what the licences of base and teacher ask of whoever passes the model on.

In: terms.toml, the licences in bases.toml, the run's configuration. Out: `Terms`, the licence first that the weights stand under.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from alif_kit.core import UserError
from alif_kit.model import base_table


@dataclass(frozen=True)
class Terms:
    """One licence, and whose; the fields of terms.toml. An unknown one has the Hub's id `other` and no url."""

    model: str
    licence: str = "unknown"
    id: str = "other"
    url: str = ""
    policy: str = ""
    shown: str = ""
    prefix: str = ""
    notice: str = ""
    copy: bool = False
    outputs: bool = False


@lru_cache
def _table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("terms.toml").read_text("utf-8"))


def of(model: str) -> Terms:
    """The terms of a model by its Hub id, alias or the name an endpoint knows it under."""
    table = _table()
    families = (f["licence"] for f in table["families"] if re.search(f["match"], model.lower()))
    listed = base_table.read().get(model, {})
    licence = listed["licence"] if "licence" in listed else next(families, "unknown")
    return Terms(public_name(model), licence, **table.get(licence, {}))


def owed(base: str, teacher: str) -> list[Terms]:
    """The base's terms, then the teacher's where they reach models that learnt from its answers."""
    first, second = of(base), of(teacher)
    return [first, second] if second.outputs and second.licence != first.licence else [first]


def is_repository(name: str) -> bool:
    """Whether the Hub could have a repository of this name: OWNER/NAME, both as it writes them."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def hub_id(model: str) -> str:
    """The Hub's id of a base; empty for a local folder and for the toy, which are not there."""
    model = _table()["built"].get(model, model)
    return model if is_repository(model) and not Path(model).exists() else ""


def public_name(model: str) -> str:
    """What strangers may call a model: its Hub id, or the last part of a local path."""
    return hub_id(model) or Path(model).name


def wanted_name(name: str, terms: list[Terms]) -> str:
    """The name itself where every licence allows it, else one that does: `urdu-8b` → `Llama-urdu-8b`."""
    for one in terms:
        if one.prefix and not re.sub("[-_.]", " ", name).startswith(one.prefix):
            rest = re.sub(r"(?i)^(meta[-_])?llama[-_]?", "", name)
            name = f"{one.prefix.replace(' ', '-')}-{rest}"
    return name


def refuse_name(repository: str, terms: list[Terms]) -> None:
    """Raises UserError for the name of a repository that a licence does not allow, with one that it does."""
    owner, name = repository.split("/")
    wanted = wanted_name(name, terms)
    if wanted != name:
        asks = next(one for one in terms if one.prefix)
        raise UserError(
            f"--to got {repository!r}; the {asks.licence} of {asks.model} wants the model's name to begin with "
            f"{asks.prefix!r}: use --to {owner}/{wanted}"
        )
