"""model: where each tensor of an adapter goes in its base, decided by names and shapes before anything is fetched or written.

In: the headers of a base and of a LoRA adapter. Out: the tensors of the merged model, and what is made of which.

The names of the tensors are those of the file, which are not always those in memory, after which peft names an adapter's: what the
two have in common finds the place (`layers.3.self_attn.q_proj`), never in a tower that sees.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alif_kit.core.errors import UserError
from alif_kit.model import unsloth as seam
from alif_kit.model.checkpoint import FLOATS, Checkpoint, Tensor, header, read_json

WEIGHTS = "adapter_model.safetensors"
A, B, ROWS, WHOLE = "lora_A", "lora_B", "rows", "whole"
SUFFIXES = {".lora_A.weight": A, ".lora_B.weight": B, f".token_adapter.{seam.ROW_WEIGHT}": ROWS}
TAIL = re.compile(r"(?:^|\.)((?:layers\.\d+|embed_tokens|lm_head)\..+)$")
EMBEDDINGS, HEAD = "embed_tokens.weight", "lm_head.weight"
COPIED = ".base_layer.weight"
"""peft saves the base's own lm_head beside LoRA on it."""
OTHERWISE = ("use_dora", "alpha_pattern", "fan_in_fan_out", "layer_replication", "alora_invocation_tokens", "use_qalora")
"""Settings of peft under which an adapter is more than `scale · B · A`."""
STRIDE = 1024
"""Rows of a matrix that are held in 32 bit at a time."""


@dataclass(frozen=True)
class Change:
    """What is made of a tensor of the base: `source`, with what the adapter has for it by kind (A and B, rows or the whole)."""

    source: str
    parts: dict[str, str]
    scale: float = 0.0
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Everything that is written: each tensor by its name and target file; `changes` of those that are not the base's own."""

    dtype: str
    tensors: dict[str, Tensor]
    changes: dict[str, Change]
    unties: bool

    @property
    def size(self) -> int:
        """Bytes of the merged weights."""
        return sum(tensor.size for tensor in self.tensors.values())


def plan(base: Checkpoint, adapter: Path) -> Plan:
    """Where each tensor of the adapter goes. Raises UserError for one that has no place in the base, or more than one."""
    settings, held = read_json(adapter / "adapter_config.json"), header(adapter / WEIGHTS)
    held = {name: tensor for name, tensor in held.items() if not name.endswith(COPIED)}
    refuse_quantised(base.name, base.config)
    _refuse(settings)
    tensors, head = _own_head(base)
    place = _finder({name for name in (*tensors, head) if name and not re.match(seam.VISION, name)})
    parts: dict[str, dict[str, str]] = {}
    for name in held:
        target, kind = place(name)
        if kind in parts.setdefault(target, {}):
            raise UserError(f"{adapter} has two tensors for {target} of the base, {parts[target][kind]} and {name}")
        parts[target][kind] = name
    embeddings = _only(tensors, EMBEDDINGS)
    if head and head not in parts and WHOLE in parts.get(embeddings or "", {}):
        parts[head] = {}  # peft trains a copy of the matrix, and the head stays what it was
    changes = {}
    for target, found in parts.items():
        source = embeddings if target == head else target
        changes[target] = _change(source, tensors[source], {kind: (name, held[name]) for kind, name in found.items()}, settings)
    dtype = "F16" if max(tensors.values(), key=lambda tensor: tensor.count).kind == "F16" else "BF16"
    written = tensors | ({head: tensors[embeddings]} if head in parts else {})
    written = {name: replace(tensor, kind=dtype) if tensor.kind in FLOATS else tensor for name, tensor in written.items()}
    return Plan(dtype, written, changes, head in parts)


def refuse_quantised(name: str, config: dict[str, Any]) -> None:
    """Raises UserError for a base that nothing can be merged into."""
    if config.get("quantization_config"):
        kind = config["quantization_config"].get("quant_method", "quantised")
        raise UserError(f"base {name} is quantised already ({kind}), and nothing merges into that; name the same model in 16 bit")


def _refuse(settings: dict[str, Any]) -> None:
    if settings.get("peft_type") != "LORA":
        raise UserError(f"the adapter is of the kind {settings.get('peft_type')}; expected LORA")
    if odd := next((name for name in OTHERWISE if settings.get(name)), None):
        raise UserError(f"the adapter was trained with {odd} = {settings[odd]}; expected plain LoRA, with or without rslora")
    if settings.get("init_lora_weights") not in (None, True, False, "gaussian", "orthogonal", "eva"):
        odd = settings["init_lora_weights"]
        raise UserError(f"the adapter began with init_lora_weights = {odd}, which changes the base too; expected plain LoRA")


def _only(tensors: dict[str, Tensor], tail: str) -> str | None:
    """The language model's tensor that ends so."""
    found = [name for name in tensors if f".{name}".endswith(f".{tail}") and not re.match(seam.VISION, name)]
    return found[0] if len(found) == 1 else None


def _own_head(base: Checkpoint) -> tuple[dict[str, Tensor], str | None]:
    """The base's tensors, and the name that a head tied to the embeddings gets once it is a matrix of its own.

    A tied head that the file holds once more is left out: it follows the embeddings again when the model is loaded.
    """
    embeddings, head = _only(base.tensors, EMBEDDINGS), _only(base.tensors, HEAD)
    if head is None and embeddings:
        before = re.sub(r"(^|\.)model\.(language_model\.)?$", r"\1", embeddings.removesuffix(EMBEDDINGS))
        return base.tensors, before + HEAD
    if head is None or embeddings is None or not _is_copy(base, embeddings, head):
        return base.tensors, None
    return {name: tensor for name, tensor in base.tensors.items() if name != head}, head


def _is_copy(base: Checkpoint, embeddings: str, head: str) -> bool:
    """Whether a head that the configuration ties is the embeddings, number by number, as transformers asks too."""
    if base.folder is None or base.tensors[embeddings].shape != base.tensors[head].shape:
        return False
    seam.prepare()
    from safetensors import safe_open
    from transformers import AutoConfig

    if not AutoConfig.from_pretrained(base.folder, trust_remote_code=False).tie_word_embeddings:
        return False
    files = (base.folder / base.tensors[name].file for name in (embeddings, head))
    with safe_open(next(files), "pt") as one, safe_open(next(files), "pt") as other:
        left, right = one.get_slice(embeddings), other.get_slice(head)
        return all(bool((left[at] == right[at]).all()) for at in strides(base.tensors[head].shape[0]))


def _finder(names: set[str]) -> Callable[[str], tuple[str, str]]:
    """Of an adapter's name of a tensor the base's, and the kind: the very name, else the only one with the same tail.

    `base_model.model.model.layers.0.mlp.up_proj.lora_A.weight` → `language_model.model.layers.0.mlp.up_proj.weight`, `lora_A`
    """
    tails: dict[str, list[str]] = {}
    for name in names:
        if found := TAIL.search(name):
            tails.setdefault(found[1], []).append(name)

    def place(name: str) -> tuple[str, str]:
        if ".lora_embedding_" in name:
            raise UserError(
                f"the adapter has LoRA on the embeddings ({name}), which nothing merges; train their rows or all of them"
            )
        wanted, kind = name.removeprefix("base_model.model."), WHOLE
        for suffix, of in SUFFIXES.items():
            if wanted.endswith(suffix):
                wanted, kind = f"{wanted.removesuffix(suffix)}.weight", of
        tail = None if re.match(seam.VISION, wanted) else TAIL.search(wanted)
        found = [wanted] if wanted in names else tails.get(tail[1], []) if tail else []
        if len(found) != 1:
            raise UserError(f"the adapter's {name} has {len(found) or 'no'} places in the base; name the adapter's own base")
        return found[0], kind

    return place


def _change(source: str, tensor: Tensor, parts: dict[str, tuple[str, Tensor]], settings: dict[str, Any]) -> Change:
    """The change of a tensor, its shapes compared: A [r, in], B [out, r] for a matrix [out, in]."""
    shapes = {kind: part.shape for kind, (_, part) in parts.items()}
    names = {kind: name for kind, (name, _) in parts.items()}
    scale, rows, fits = 0.0, (), tensor.kind in FLOATS
    if set(shapes) == {A, B}:
        rank = shapes[A][0]
        scale = settings["lora_alpha"] / (math.sqrt(rank) if settings.get("use_rslora") else rank)
        fits &= shapes[A] == (rank, tensor.shape[-1]) and shapes[B] == (tensor.shape[0], rank)
    elif set(shapes) == {ROWS}:
        rows = _indices(names[ROWS], settings.get("trainable_token_indices") or [])
        fits &= shapes[ROWS] == (len(rows), *tensor.shape[1:]) and max(rows, default=0) < tensor.shape[0]
    else:
        fits &= not shapes or shapes == {WHOLE: tensor.shape}
    if not fits:
        said = ", ".join(f"{kind} {list(shape)}" for kind, shape in shapes.items())
        raise UserError(f"the adapter has {said} for {source} {list(tensor.shape)} ({tensor.kind}); name the adapter's own base")
    return Change(source, names, scale, rows)


def _indices(name: str, indices: dict[str, list[int]] | list[int]) -> tuple[int, ...]:
    """The rows of the vocabulary that a tensor of the adapter holds."""
    if isinstance(indices, list):
        return tuple(indices)
    module = name.split(".token_adapter.")[0]
    return tuple(next(rows for key, rows in indices.items() if f".{module}".endswith(f".{key}")))


def strides(rows: int) -> Iterator[slice]:
    """A matrix's rows, STRIDE at a time."""
    return (slice(start, start + STRIDE) for start in range(0, rows, STRIDE))
