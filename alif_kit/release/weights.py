"""release: weights from elsewhere are looked at before anything loads them.

In: the folder of a model or of an adapter. Out: nothing, or UserError in one sentence: pickled weights, a shard that is missing
or cut off, a shard's name that leads out of the folder, an adapter made for another base.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from alif_kit.core.errors import UserError

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
INDEX = "model.safetensors.index.json"


def check_model(folder: Path) -> None:
    """A checkpoint of safetensors, whole. Raises UserError otherwise."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no config.json; expected the folder of a model that transformers saved")
    shards = _shards(folder)
    if not shards:
        found = next((p.name for pattern in PICKLED for p in sorted(folder.glob(pattern))), None)
        what = f"only {found}, which is pickled and could run code" if found else "no weights"
        raise UserError(f"{folder} holds {what}; expected model.safetensors or its shards")
    for shard in shards:
        if not shard.is_file():
            raise UserError(f"{folder} lacks the shard {shard.name} that its index names; fetch it again")
        shapes(shard)


def size(folder: Path) -> int:
    """Bytes of a model's weights; 0 for one on the Hub, whose size is not known before it is fetched."""
    return sum(p.stat().st_size for p in folder.glob("*.safetensors"))


def _shards(folder: Path) -> list[Path]:
    index = folder / INDEX
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    for name in names:
        if Path(name).name != name or name.startswith("."):
            raise UserError(f"{index} names the shard {name!r}, which leads out of its folder; do not use these weights")
    return [folder / name for name in names]


def shapes(path: Path) -> dict[str, list[int]]:
    """The tensors of a safetensors file and their shapes, without loading one.

    Raises UserError for a file that is not as long as its own header says, or is something else.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if length + 8 > size:
            raise UserError(f"{path} is cut off or no safetensors file; fetch or save it again")
        try:
            tensors = {name: entry for name, entry in json.loads(file.read(length)).items() if name != "__metadata__"}
        except ValueError:
            raise UserError(f"{path} is no safetensors file; expected one that transformers or peft saved") from None
    end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    if 8 + length + end != size:
        raise UserError(f"{path} has {size:,} bytes where its header says {8 + length + end:,}; fetch or save it again")
    return {name: entry["shape"] for name, entry in tensors.items()}


def check_adapter(adapter: Path, base: Path) -> None:
    """An adapter of safetensors whose shapes fit the base.

    Raises UserError otherwise; a base on the Hub is compared once loaded.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise UserError(f"{adapter} holds no adapter_config.json; expected the adapter folder of a finished stage")
    weights = adapter / "adapter_model.safetensors"
    if not weights.is_file():
        pickled = "; adapter_model.bin is pickled and could run code" if (adapter / "adapter_model.bin").is_file() else ""
        raise UserError(f"{adapter} holds no adapter_model.safetensors{pickled}")
    found = shapes(weights)
    if (base / "config.json").is_file():
        _check_fit(adapter, found, json.loads((base / "config.json").read_text("utf-8")))


def _check_fit(adapter: Path, found: dict[str, list[int]], config: dict[str, Any]) -> None:
    """LoRA's A matrices are [rank, inputs], and attention takes the hidden size in; layers are numbered."""
    config = config.get("text_config", config)
    hidden, layers = config.get("hidden_size"), config.get("num_hidden_layers")
    for name, shape in found.items():
        if hidden and "q_proj.lora_A" in name and shape[1] != hidden:
            raise UserError(f"{adapter} was made for a base with hidden size {shape[1]}, this one has {hidden}; name its own base")
    numbers = [int(part) for name in found for part in name.split(".") if part.isdigit()]
    if layers and numbers and max(numbers) + 1 != layers:
        raise UserError(f"{adapter} was made for a base of {max(numbers) + 1} layers, this one has {layers}; name its own base")
