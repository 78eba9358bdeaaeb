"""release: weights from elsewhere are looked at before anything loads them.

In: the folder of a model or of an adapter. Out: nothing, or UserError in one sentence: pickled weights, a shard that is missing
or cut off, a shard's name that leads out of the folder, an adapter made for another base.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from alif_kit.core.errors import UserError
from alif_kit.model import checkpoint

LAYER = re.compile(r"(.*layers\.)(\d+)\.(.+)$")
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def check_model(folder: Path) -> None:
    """A checkpoint of safetensors, whole. Raises UserError otherwise."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no config.json; expected the folder of a model that transformers saved")
    if not (folder / checkpoint.INDEX).is_file() and not (folder / checkpoint.SINGLE).is_file():
        found = next((p.name for pattern in PICKLED for p in sorted(folder.glob(pattern))), None)
        what = f"only {found}, which is pickled and could run code" if found else "no weights"
        raise UserError(f"{folder} holds {what}; expected model.safetensors or its shards")
    _check_whole(folder, checkpoint.headers(folder))


def check_tokenizer(folder: Path) -> None:
    """A tokenizer beside the weights, its files undamaged. Raises UserError otherwise."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise UserError(
            f"{folder} holds no tokenizer.json; expected the tokenizer that the model was trained with beside its weights"
        )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        checkpoint.read_json(folder / name)


def _check_whole(folder: Path, tensors: dict[str, checkpoint.Tensor]) -> None:
    """Layers that all have the same tensors, and the width that config.json says: transformers fills what is missing with noise."""
    layers: dict[tuple[str, str], set[str]] = {}
    for name in tensors:
        if found := LAYER.match(name):
            layers.setdefault((found[1], found[2]), set()).add(found[3])
    for (place, number), held in layers.items():
        others = [other for (at, n), other in layers.items() if at == place and n != number]
        lacking = set.intersection(*others) - held if others else set()
        if lacking and held <= set().union(*others):  # a layer of another kind has tensors of its own
            raise UserError(f"{folder} lacks the weight {place}{number}.{min(lacking)}; fetch or save it again")
    config = checkpoint.read_json(folder / "config.json")
    width = config.get("text_config", config).get("hidden_size")
    for name, tensor in tensors.items():
        if width and name.endswith("embed_tokens.weight") and tensor.shape[1] != width:
            raise UserError(
                f"{folder} has {name} {list(tensor.shape)} where its config.json says hidden_size {width}; fetch it again"
            )


def size(folder: Path) -> int:
    """Bytes of a model's weights; 0 for one on the Hub, whose size is not known before it is fetched."""
    return sum(p.stat().st_size for p in folder.glob("*.safetensors"))


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
    checkpoint.check_vocabulary(adapter, base.as_posix())
    found = checkpoint.header(weights)
    if (base / "config.json").is_file():
        _check_fit(adapter, found, checkpoint.read_json(base / "config.json"))


def _check_fit(adapter: Path, found: dict[str, checkpoint.Tensor], config: dict[str, Any]) -> None:
    """LoRA's A matrices are [rank, inputs], and attention takes the hidden size in; layers are numbered."""
    config = config.get("text_config", config)
    hidden, layers = config.get("hidden_size"), config.get("num_hidden_layers")
    for name, tensor in found.items():
        if hidden and "q_proj.lora_A" in name and (inputs := tensor.shape[1]) != hidden:
            raise UserError(f"{adapter} was made for a base with hidden size {inputs}, this one has {hidden}; name its own base")
    numbers = [int(part) for name in found for part in name.split(".") if part.isdigit()]
    if layers and numbers and max(numbers) + 1 != layers:
        raise UserError(f"{adapter} was made for a base of {max(numbers) + 1} layers, this one has {layers}; name its own base")
