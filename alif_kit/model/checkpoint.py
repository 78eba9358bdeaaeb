"""model: a checkpoint of safetensors as it lies on disk or on the Hub, tensor by tensor, without loading a model.

In: a folder or a Hub id. Out: what its headers say, before anything large is fetched; single tensors; files written as they come.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alif_kit.core import records
from alif_kit.core.errors import StoppedError, UserError, first_line
from alif_kit.core.records import write_json
from alif_kit.platforms import machine

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
FIT = "fit.json"
"""What stands beside a base whose vocabulary was fitted (fitting/), and beside adapters on it."""
SIZES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of an element by safetensors' name of its kind."""
FLOATS = ("F64", "F32", "F16", "BF16")
LIBRARIES = 1.5e9
"""Bytes of memory that torch, transformers and Unsloth take by themselves, about."""
BESIDES = ("*.json", "*.jinja", "tokenizer.model", "LICENSE*", "NOTICE*")


@dataclass(frozen=True)
class Tensor:
    """The file that holds a tensor, and what its header says of it."""

    file: str
    kind: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * SIZES[self.kind]


@dataclass(frozen=True)
class Checkpoint:
    """A model's config.json and headers; `folder` is None for one that is still to be fetched from the Hub."""

    name: str
    folder: Path | None
    config: dict[str, Any]
    tensors: dict[str, Tensor]


def look(path: str) -> Checkpoint:
    """What a folder, or a model on the Hub, holds. Raises UserError where there is none, or none of safetensors."""
    folder = Path(path) if Path(path).is_dir() else _cached(path)
    found = _on_hub(path) if folder is None else Checkpoint(path, folder, read_json(folder / "config.json"), headers(folder))
    if odd := next((tensor.kind for tensor in found.tensors.values() if tensor.kind not in SIZES), None):
        raise UserError(f"base {path} holds weights of the kind {odd}; name the same model in 16 bit")
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a checkpoint; empty where it has none."""
    return records.read_json(path) if path.is_file() else {}


def beside(path: str, name: str) -> dict[str, Any]:
    """A JSON file of a folder, or of a model on the Hub; empty where it has none, and where the Hub cannot be asked."""
    if Path(path).is_dir():
        return read_json(Path(path) / name)
    from httpx import HTTPError
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    with contextlib.suppress(OSError, HTTPError, HFValidationError):
        return read_json(Path(hf_hub_download(path, name, token=machine.find_secret("HF_TOKEN") or None)))
    return {}


def new_rows(path: str) -> range:
    """Ids of the pieces that `alif fit --add` gave a base and that nothing has trained; those of a merged model have been."""
    if not (said := beside(path, FIT).get("added_ids")) or beside(path, "merge.json"):
        return range(0)
    return range(*said)


def check_vocabulary(adapter: Path, base: str) -> None:
    """Raises UserError where an adapter was trained on another fitted vocabulary than the base has, which shapes do not show."""
    fitted = read_json(adapter / FIT)
    if (fitted or (Path(base) / "config.json").is_file()) and fitted != beside(base, FIT):
        raise UserError(f"{adapter} was trained on another vocabulary than {base} has ({FIT}); name its own base")


def header(path: Path) -> dict[str, Tensor]:
    """The tensors of one file. Raises UserError where it is damaged or something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 a safe_open is no dict
            return {name: Tensor(path.name, part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except SafetensorError as error:
        raise UserError(f"{path} is cut off or no safetensors file ({first_line(error)}); fetch or save it again") from None


def headers(folder: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint. Raises UserError where a file is missing, damaged or outside the folder."""
    _check_names(_files(folder), str(folder))
    if missing := next((name for name in _files(folder) if not (folder / name).is_file()), None):
        raise UserError(f"base {folder} holds no {missing}; expected a whole checkpoint of safetensors")
    return {name: tensor for file in _files(folder) for name, tensor in header(folder / file).items()}


def read(path: Path, name: str) -> Any:
    """One tensor. The file is closed again, so that what it took of memory goes with the tensor."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return file.get_tensor(name)


def write(path: Path, entries: dict[str, Tensor], tensors: Iterable[Any]) -> None:
    """A safetensors file of tensors that come in the order of `entries`, each written before the next is made."""
    import torch

    said: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, entry in entries.items():
        said[name] = {"dtype": entry.kind, "shape": list(entry.shape), "data_offsets": [end, end + entry.size]}
        end += entry.size
    raw = json.dumps(said).encode("utf-8")
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for tensor in tensors:
            file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())


def write_all(folder: Path, tensors: dict[str, Tensor], made: Callable[[str], Any], update: Callable[[str], None]) -> None:
    """The files of a checkpoint, and the index where there is more than one. `made`: a tensor by its name."""
    files = sorted({tensor.file for tensor in tensors.values()})
    for file in files:
        # The widest numbers come first, so that each tensor begins at a multiple of its width.
        names = sorted((n for n, t in tensors.items() if t.file == file), key=lambda n: (-SIZES[tensors[n].kind], n))
        write(folder / file, {name: tensors[name] for name in names}, _each(names, made, lambda note=file: update(note)))
    if files != [SINGLE]:
        size, shards = sum(t.size for t in tensors.values()), {name: t.file for name, t in sorted(tensors.items())}
        write_json(folder / INDEX, {"metadata": {"total_size": size}, "weight_map": shards})


def _each(names: Iterable[str], made: Callable[[str], Any], step: Callable[[], None]) -> Iterator[Any]:
    for name in names:
        yield made(name)
        step()


def _files(folder: Path) -> list[str]:
    """The files of a checkpoint's weights: those of its index, else the single one."""
    return sorted(set(read_json(folder / INDEX).get("weight_map", {}).values())) or [SINGLE]


def _check_names(files: Iterable[str], name: str) -> None:
    if odd := next((file for file in files if Path(file).name != file or file.startswith(".")), None):
        raise UserError(f"base {name} names the shard {odd!r}, which leads out of its folder; do not use these weights")


def _cached(name: str) -> Path | None:
    """Where an earlier download of a whole model lies."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
    folder = Path(config).parent if isinstance(config, str) else None
    return folder if folder and all((folder / file).is_file() for file in _files(folder)) else None


def _on_hub(name: str) -> Checkpoint:
    """Of a model on the Hub, by the first bytes of its files."""
    from httpx import HTTPError
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import NotASafetensorsRepoError

    token = machine.find_secret("HF_TOKEN") or None
    try:
        found = HfApi(token=token).get_safetensors_metadata(name)
        config = read_json(Path(hf_hub_download(name, "config.json", token=token)))
    except NotASafetensorsRepoError:
        raise UserError(f"base {name} holds no safetensors on the Hub; pickled weights could run code and are not taken") from None
    except (OSError, ValueError, HTTPError) as error:
        advice = "give a local folder, or check name, network, the model's terms and HF_TOKEN"
        raise UserError(f"base {name} cannot be had from the Hub ({first_line(error)}); {advice}") from None
    _check_names(found.files_metadata, name)
    tensors = {
        tensor: Tensor(file, entry.dtype, tuple(entry.shape))
        for file, held in found.files_metadata.items()
        for tensor, entry in held.tensors.items()
    }
    return Checkpoint(name, None, config, tensors)


def fetch(base: Checkpoint) -> Checkpoint:
    """The checkpoint with a folder; from the Hub comes what is not here of weights, configuration and tokenizer, no code.

    An earlier download may lack small files that loading a model does not ask for, such as a processor's. Raises StoppedError.
    """
    if base.folder and base.folder == Path(base.name):
        return base
    from httpx import HTTPError
    from huggingface_hub import snapshot_download

    files = sorted({tensor.file for tensor in base.tensors.values()})
    options = {"revision": base.folder.name if base.folder else None, "token": machine.find_secret("HF_TOKEN") or None}
    try:
        folder, why = Path(snapshot_download(base.name, allow_patterns=[*files, *BESIDES], **options)), "the Hub was out of reach"
    except (OSError, HTTPError) as error:
        folder, why = base.folder, first_line(error)
    if folder is None or not all((folder / file).is_file() for file in files):  # without a network it hands out what it has
        raise StoppedError(f"fetching {base.name} stopped ({why}); what has come is kept, run it again")
    return replace(base, folder=folder)


def check_room(base: Checkpoint, folder: Path, size: float) -> None:
    """Disk for `size` bytes at `folder` and for the download, memory for the largest tensor. Raises UserError otherwise."""
    import psutil

    largest, weights = (worst(tensor.size for tensor in base.tensors.values()) for worst in (max, sum))
    folder.parent.mkdir(parents=True, exist_ok=True)
    needs = {folder.parent: 1.1 * size}
    if base.folder is None:
        from huggingface_hub.constants import HF_HUB_CACHE

        cache = next(place for place in (Path(HF_HUB_CACHE), *Path(HF_HUB_CACHE).parents) if place.is_dir())
        together = cache.stat().st_dev == folder.parent.stat().st_dev
        needs = {folder.parent: 1.1 * size + weights} if together else {**needs, cache: 1.0 * weights}
    for place, bytes_needed in needs.items():
        if (free := shutil.disk_usage(place).free) < bytes_needed:
            raise UserError(f"merging needs {bytes_needed / 1e9:.1f} GB of disk at {place}, {free / 1e9:.1f} are free; make room")
    # The matrix as it is and as it will be, and what the adapter has in its place, in 32 bit.
    memory, free = LIBRARIES + 4 * largest, psutil.virtual_memory().available
    if free < memory:
        raise UserError(f"merging needs about {memory / 1e9:.1f} GB of memory, {free / 1e9:.1f} are free; close other programs")
