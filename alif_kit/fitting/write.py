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
from alif_kit.fitting.vocabulary import Fitted
from alif_kit.model import checkpoint, places, sentencepiece
from alif_kit.model.checkpoint import Checkpoint

BESIDE = ("chat_template.jinja", "special_tokens_map.json", "*processor_config.json", "LICENSE*", "NOTICE*")
MATRICES = (places.EMBEDDINGS, places.HEAD)
ID, SEVERAL = ("token_id", "token_index"), ("token_id", "token_ids", "tokens")
"""How fields of a configuration end that hold the id of a token, or a list of them."""


def write(base: Checkpoint, fitted: Fitted, folder: Path) -> None:
    """The checkpoint with the fitted vocabulary. Raises UserError for a base whose vocabulary stands in other matrices too."""
    assert base.folder
    whole = next(t.shape[0] for name, t in base.tensors.items() if name.endswith(places.EMBEDDINGS))
    odd = [n for n, t in base.tensors.items() if t.shape and t.shape[0] == whole and not n.endswith(MATRICES)]
    if odd:
        raise UserError(f"base {base.name} has one row a piece in {odd[0]} too; expected embed_tokens and lm_head alone")
    _write_weights(base, fitted, folder)
    new = fitted.new_ids
    for name in ("config.json", "generation_config.json"):
        if (base.folder / name).is_file():
            write_json(folder / name, _renumbered(checkpoint.read_json(base.folder / name), new, len(fitted.rows)))
    _write_tokenizer(base.folder, fitted, new, folder)


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


def _renumbered(config: dict[str, Any], new: dict[int, int], rows: int) -> dict[str, Any]:
    """A configuration with the new ids and the new size; a token that is not kept has no id."""
    made = {}
    for key, value in config.items():
        if isinstance(value, dict):
            made[key] = _renumbered(value, new, rows)
        elif key == "vocab_size":
            made[key] = rows
        elif key.endswith(ID) and isinstance(value, int):
            made[key] = new.get(value)
        elif key.endswith(SEVERAL) and isinstance(value, list) and all(isinstance(v, int) for v in value):
            made[key] = [new[v] for v in value if v in new]
        else:
            made[key] = value
    return made


def _write_tokenizer(source: Path, fitted: Fitted, new: dict[int, int], folder: Path) -> None:
    for pattern in BESIDE:
        for path in filter(Path.is_file, source.glob(pattern)):
            shutil.copy(path, folder)
    (folder / "tokenizer.json").write_text(json.dumps(fitted.bpe.read, ensure_ascii=False), "utf-8")
    settings = checkpoint.read_json(source / "tokenizer_config.json")
    if known := settings.get("added_tokens_decoder"):
        settings["added_tokens_decoder"] = {str(new[int(i)]): token for i, token in known.items() if int(i) in new}
    write_json(folder / "tokenizer_config.json", settings)
    sentencepiece.write(folder)
