"""model: the folder that keeps what was built once, and how a finished build gets into it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def cache_folder() -> Path:
    """$ALIF_CACHE, or ~/.cache/alif_kit."""
    return Path(os.environ.get("ALIF_CACHE") or Path.home() / ".cache" / "alif_kit")


def publish(partial: Path, folder: Path) -> None:
    """Move a finished folder into place; another process may have been first."""
    try:
        partial.rename(folder)
    except OSError:
        if not (folder / "config.json").is_file():
            raise
        shutil.rmtree(partial)
