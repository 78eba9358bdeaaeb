"""model: an adapter becomes part of its base on the CPU, a tensor at a time: memory holds the largest matrix, never the model.

In: a base in 16 or 32 bit, a LoRA adapter, with or without trained vocabulary. Out: a folder with the base's own shards in 16 bit,
its image tower untouched; config.json, generation_config.json with every token that ends an answer, tokenizer, chat template, and
what a base that sees needs to be loaded. Each changed matrix is read back and held against base and adapter.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from alif_kit.core.errors import StoppedError
from alif_kit.core.progress import Update
from alif_kit.core.records import write_json
from alif_kit.model import sentencepiece
from alif_kit.model import unsloth as seam
from alif_kit.model.chat_format import answer_ends
from alif_kit.model.checkpoint import FIT, Checkpoint, check_room, fetch, read, read_json, write_all
from alif_kit.model.places import ROWS, WEIGHTS, WHOLE, A, B, Change, Plan, plan, strides

KEPT = (FIT, "tokenizer.model", "*processor_config.json", "LICENSE*", "NOTICE*")
"""Files of the base that stay with what is made of it: transformers saves the first no more, and terms ask for the last."""
PROBES = 256
"""Random inputs that a merged matrix is tried on."""
TYPES = {"F16": "float16", "BF16": "bfloat16"}
TOLERANCES = {"F16": 2**-11, "BF16": 2**-8}
"""What rounding to the nearest moves a number by at most, as a share of it."""


@dataclass(frozen=True)
class Sources:
    """Where base and adapter are read, a tensor at a time."""

    base: Checkpoint
    adapter: Path

    @property
    def folder(self) -> Path:
        """The base's."""
        assert self.base.folder
        return self.base.folder

    def original(self, name: str) -> Any:
        return read(self.folder / self.base.tensors[name].file, name)

    def trained(self, change: Change, kind: str) -> Any:
        return read(self.adapter / WEIGHTS, change.parts[kind])


def merge(base: Checkpoint, adapter: Path, folder: Path, chat_format: str, update: Update, spare: int = 0) -> dict[str, Any]:
    """Write the merged model into `folder`. Returns how many matrices were changed, and by how much the worst is off.

    `spare`: bytes of disk that the caller needs besides. Raises UserError, before anything is fetched or written, for an adapter or
    a base that cannot be merged so and where disk or memory will not do; StoppedError for a matrix that is not what it should be.
    """
    check_room(base, folder, plan(base, adapter).size + spare)
    sources = Sources(fetch(base), adapter)
    todo = plan(sources.base, adapter)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    worst = _write_weights(todo, sources, folder, update)
    write_json(folder / "config.json", _config(base.config, todo))
    _write_tokenizer(sources, folder, chat_format)
    return {"matrices": len(todo.changes), "matrix_difference": round(worst, 6), "matrix_tolerance": TOLERANCES[todo.dtype]}


def _write_weights(todo: Plan, sources: Sources, folder: Path, update: Update) -> float:
    """The base's files with what is new in them; returns by how much the worst matrix is off."""
    total, counted, worst = len(todo.tensors) + len(todo.changes), count(1), 0.0
    write_all(folder, todo.tensors, lambda name: _tensor(todo, name, sources), lambda note: update(next(counted), note, total))
    for name, change in sorted(todo.changes.items()):
        off = difference(read(folder / todo.tensors[name].file, name), change, sources)
        if not off <= TOLERANCES[todo.dtype]:
            allowed = f"where rounding allows {TOLERANCES[todo.dtype]:.2%}"
            raise StoppedError(f"the merged {name} is {off:.2%} off base and adapter, {allowed}; nothing was published")
        worst = max(worst, off)
        update(next(counted), "compared", total)
    return worst


def _tensor(todo: Plan, name: str, sources: Sources) -> Any:
    import torch

    dtype = getattr(torch, TYPES[todo.dtype])
    if change := todo.changes.get(name):
        return merged(sources.original(change.source), change, sources, dtype)
    tensor = sources.original(name)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def merged(weight: Any, change: Change, sources: Sources, dtype: Any) -> Any:
    """A matrix of the base with what the adapter has for it: computed in 32 bit, a stride of rows at a time, and rounded once."""
    import torch

    if WHOLE in change.parts:
        return sources.trained(change, WHOLE).to(dtype)
    made = weight.to(dtype, copy=True)
    if ROWS in change.parts:
        made[list(change.rows)] = sources.trained(change, ROWS).to(dtype)
    if A in change.parts:
        a, b = (sources.trained(change, kind).to(torch.float32) for kind in (A, B))
        for at in strides(len(weight)):
            made[at] = (weight[at].to(torch.float32) + change.scale * (b[at] @ a)).to(dtype)
    return made


def difference(made: Any, change: Change, sources: Sources) -> float:
    """By how much a merged matrix M is off: the root mean square of what differs, as a share of that of what is expected.

    LoRA is tried on random inputs x, where x·Mᵀ is to be x·Wᵀ + s·(x·Aᵀ)·Bᵀ; other changes are compared number by number.
    """
    import torch

    weight, off, expected = sources.original(change.source), 0.0, 0.0
    place = torch.full((len(weight),), -1)
    if A in change.parts:
        probes = torch.randn(PROBES, weight.shape[1], generator=torch.Generator().manual_seed(0))
        a, b = (sources.trained(change, kind).float() for kind in (A, B))
        turned = change.scale * (probes @ a.T)
    elif change.parts:
        new = sources.trained(change, WHOLE if WHOLE in change.parts else ROWS)
        place[list(change.rows) or slice(None)] = torch.arange(len(new))
    for at in strides(len(weight)):
        wanted, got, ours = weight[at].float(), made[at].float(), place[at] >= 0
        if A in change.parts:
            wanted, got = probes @ wanted.T + turned @ b[at].T, probes @ got.T
        elif ours.any():
            wanted[ours] = new[place[at][ours]].float()
        off += float((got - wanted).double().square().sum())
        expected += float(wanted.double().square().sum())
    return math.sqrt(off / expected) if expected else math.sqrt(off)


def _config(config: dict[str, Any], todo: Plan) -> dict[str, Any]:
    """The base's config.json with the type of the weights, and with a head that is no longer tied where it has its own matrix."""
    made = {key: dict(value) if isinstance(value, dict) else value for key, value in config.items()}
    for key, part in [("", made), *made.items()]:
        if isinstance(part, dict) and (part is made or part.keys() & {"dtype", "torch_dtype"}):
            part.pop("torch_dtype", None)
            part["dtype"] = TYPES[todo.dtype]
        if todo.unties and key in ("", "text_config"):
            part["tie_word_embeddings"] = False
    return made


def _write_tokenizer(sources: Sources, folder: Path, chat_format: str) -> None:
    """Tokenizer and chat template as the training saved them beside the adapter, else the base's; where answers end; and what a
    base that sees needs to read images. Without the token that closes a turn, a merged model talks on for ever.
    """
    seam.prepare()
    from transformers import AutoTokenizer

    beside = (sources.adapter / "tokenizer_config.json").is_file()
    tokenizer = AutoTokenizer.from_pretrained(sources.adapter if beside else sources.folder, trust_remote_code=False)
    tokenizer.save_pretrained(folder)
    for pattern in KEPT:
        for path in filter(Path.is_file, sources.folder.glob(pattern)):
            shutil.copy(path, folder)
    sentencepiece.write(folder)
    config = sources.base.config
    text = config.get("text_config") or {}
    told = {key: config.get(key, text.get(key)) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    said = {key: value for key, value in told.items() if value is not None} | read_json(sources.folder / "generation_config.json")
    known = said.get("eos_token_id")
    ends = answer_ends(tokenizer, chat_format) | set(known if isinstance(known, list) else [known]) - {None}
    write_json(folder / "generation_config.json", said | {"eos_token_id": sorted(ends) if len(ends) > 1 else next(iter(ends))})
