"""fitting: the checkpoint of a base with a fitted vocabulary, a tensor at a time.

In: a base in a folder, its fitted vocabulary. Out: the other weights as they are, the kept rows of embed_tokens and lm_head with
the new ones after them, the tokenizer in every form that the base has, ids renumbered wherever they stand.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from alif_kit.core.errors import UserError
from alif_kit.core.progress import bar
from alif_kit.core.records import write_json
from alif_kit.fitting import numbering
from alif_kit.fitting.vocabulary import Fitted
from alif_kit.model import checkpoint, places, sentencepiece
from alif_kit.model.checkpoint import Checkpoint

BESIDE = ("*.jinja", "LICENSE*", "NOTICE*")
MATRICES = (places.EMBEDDINGS, places.HEAD)


def write(base: Checkpoint, fitted: Fitted, folder: Path) -> None:
    """The checkpoint with the fitted vocabulary, all but its configuration."""
    assert base.folder
    _write_weights(base, fitted, folder)
    _write_tokenizer(base.folder, fitted, folder)


def configure(source: Path, fitted: Fitted, matrix: int, folder: Path) -> None:
    """The configurations, config.json last: without it no folder is taken for a model. `matrix`: rows that the base has."""
    found = {path.name: path for pattern in numbering.CONFIGS for path in sorted(source.glob(pattern))}
    for name in sorted(found, key="config.json".__eq__):
        read = checkpoint.read_json(found[name])
        write_json(folder / name, numbering.renumbered(read, fitted.new_ids, (matrix, len(fitted.rows))))


def rows(base: Checkpoint) -> int:
    """Rows of the base's vocabulary. Raises UserError where there is none, or where it stands in other matrices too."""
    found = next((t.shape[0] for name, t in base.tensors.items() if name.endswith(places.EMBEDDINGS)), 0)
    if not found:
        raise UserError(f"base {base.name} has no embed_tokens; expected a decoder such as Gemma, Llama, Qwen or Mistral")
    odd = [n for n, t in base.tensors.items() if t.shape and t.shape[0] == found and not n.endswith(MATRICES)]
    if odd:
        raise UserError(f"base {base.name} has one row a piece in {odd[0]} too; expected embed_tokens and lm_head alone")
    return found


def _write_weights(base: Checkpoint, fitted: Fitted, folder: Path) -> None:
    tensors = {
        name: replace(t, shape=(len(fitted.rows), *t.shape[1:])) if name.endswith(MATRICES) else t
        for name, t in base.tensors.items()
    }

    def made(name: str) -> Any:
        tensor = checkpoint.read(base.folder / base.tensors[name].file, name)
        return rows_of(tensor, fitted.rows) if name.endswith(MATRICES) else tensor

    with bar("fit", len(tensors)) as update:
        done = count(1)
        checkpoint.write_all(folder, tensors, made, lambda note: update(next(done), note))


def rows_of(matrix: Any, rows: list[list[int]]) -> Any:
    """The rows of the fitted matrix: of a new piece the mean of those that it takes the place of."""
    made = matrix[[row[0] for row in rows]]
    for number, row in enumerate(rows):
        if len(row) > 1:
            made[number] = matrix[row].float().mean(0).to(made.dtype)
    return made


def _write_tokenizer(source: Path, fitted: Fitted, folder: Path) -> None:
    for pattern in BESIDE:
        for path in filter(Path.is_file, source.glob(pattern)):
            shutil.copy(path, folder)
    (folder / "tokenizer.json").write_text(json.dumps(fitted.bpe.read, ensure_ascii=False), "utf-8")
    gone = {token["content"] for token in checkpoint.read_json(source / "tokenizer.json")["added_tokens"]} - fitted.bpe.ids.keys()
    for name in filter(lambda name: (source / name).is_file(), numbering.SETTINGS):
        write_json(folder / name, numbering.settings(checkpoint.read_json(source / name), fitted.new_ids, gone))
    sentencepiece.write(folder)
