"""model: bases.toml, what is known of the bases that people ask for: shape, licence, tokens per Urdu word, each with its source."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any


@lru_cache
def read() -> dict[str, Any]:
    """A table per base by Hub id, and what the planner shares among them."""
    return tomllib.loads(Path(__file__).with_name("bases.toml").read_text("utf-8"))
