"""model: the bases that the kit builds itself, by name, so that a run needs no model hub.

In: `base.model` of the configuration. Out: a folder to load, built on first use; a Hub id or a folder of one's own as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alif_kit.core import UserError
from alif_kit.model import gemma, tiny_base

BUILDERS: dict[str, Callable[[str, int], Path]] = {
    "tiny": tiny_base.build,
    "gemma-270m": lambda language, seed: gemma.build(),
}
"""By the name that `base.model` and `alif base` take: language and seed to the checkpoint's folder."""


def check_place(model: str) -> None:
    """Raises UserError for a file, and for a path where nothing is: neither is a base, nor a Hub id."""
    path = Path(model)
    if path.is_file():
        raise UserError(f"base {model} is a file; expected a folder that transformers saved, or a Hub id")
    if not path.exists() and (path.is_absolute() or model.startswith((".", "~"))):
        raise UserError(f"base {model} is not there; expected a folder that transformers saved, or a Hub id")


def resolve(model: str, language: str, seed: int) -> str:
    """The path or Hub id to load: names of BUILDERS are built on first use, an existing folder must be a checkpoint."""
    if model in BUILDERS:
        return str(BUILDERS[model](language, seed))
    check_place(model)
    if Path(model).is_dir() and not (Path(model) / "config.json").is_file():
        raise UserError(f"base.model {model} holds no config.json; expected a folder saved by transformers")
    return model
