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


def resolve(model: str, language: str, seed: int) -> str:
    """The path or Hub id to load: names of BUILDERS are built on first use, an existing folder must be a checkpoint."""
    if model in BUILDERS:
        return str(BUILDERS[model](language, seed))
    if Path(model).is_dir() and not (Path(model) / "config.json").is_file():
        raise UserError(f"base.model {model} holds no config.json; expected a folder saved by transformers")
    return model
