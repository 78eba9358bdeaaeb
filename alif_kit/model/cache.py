"""model: the folder that keeps what was built once, and how a build gets into it.

In: a name, and how to make what it stands for. Out: a folder that is whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """$ALIF_CACHE, or ~/.cache/alif_kit."""
    return Path(os.environ.get("ALIF_CACHE") or Path.home() / ".cache" / "alif_kit")


def built(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder of a checkpoint; when it is not there, `make` fills another, which is then moved into its place."""
    if not (folder / "config.json").is_file():
        partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        make(partial)
        try:
            partial.rename(folder)
        except OSError:  # another process was first
            if not (folder / "config.json").is_file():
                raise
            shutil.rmtree(partial)
    return folder
