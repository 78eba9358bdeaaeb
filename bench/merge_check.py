"""By how much the logits of a merged model differ from those of base and adapter, where the merge is right and where it is not.

    python bench/merge_check.py [--seeds 3] [--quick] [--out FILE.json]

Random adapters of rank 16 on every linear of gemma-270m, at two sizes; each merged right and compared as `alif merge` does; then
held against a merge of the adapter at half its scale, of the adapter without one layer, and against the base alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from alif_kit.core import config as configuration
from alif_kit.core.config import Base
from alif_kit.core.records import write_json
from alif_kit.model import checkpoint, gemma, merging
from alif_kit.model import unsloth as seam
from alif_kit.release import logits

SIZES = (0.003, 0.01)
"""Of the numbers of B; a fine-tuned adapter of this base had 0.002 (root mean square)."""
LAYER = "layers.9."


def adapter(base: Path, folder: Path, seed: int, size: float) -> dict[str, Any]:
    """A random adapter in `folder`; returns its tensors."""
    import torch
    from safetensors.torch import load_file, save_file

    named = {"base.model": str(base), "base.load_in_4bit": False, "lora.rank": 16, "lora.train_vocab": "none"}
    settings = configuration.load("smoke", named)
    fresh = seam.load(settings.base, base)
    seam.attach(fresh, settings)
    seam.save(fresh, folder)
    seam.give_back()
    dice, path = torch.Generator().manual_seed(seed), folder / "adapter_model.safetensors"
    tensors = dict(sorted(load_file(path).items()))
    for name, tensor in tensors.items():
        signs = torch.randint(0, 2, tensor.shape, generator=dice) * 2 - 1
        tensors[name] = (signs * size).to(tensor.dtype) if "lora_B" in name else tensor
    save_file(tensors, path, metadata={"format": "pt"})
    return tensors


def logits_with(base: Base, path: str, on: Path | None = None) -> list[tuple[Any, Any]]:
    """Logits and likeliest tokens of a model, as they wait for the other's."""
    loaded = seam.load(base, path, on)
    found = [(row.half(), row.argmax(-1)) for row in logits.logits_of(loaded, logits._pieces(loaded.tokenizer, "ur", logits.PIECE))]
    del loaded
    seam.give_back()
    return found


def compared(seed: int, size: float, folder: Path) -> dict[str, Any]:
    """The differences of each kind of merge from base and adapter."""
    from safetensors.torch import save_file

    base = gemma.build()
    right, wrong = folder / "adapter", folder / "wrong"
    tensors = adapter(base, right, seed, size)
    settings = Base(str(base), load_in_4bit=False, max_seq_length=logits.PIECE)
    before = logits_with(settings, str(base), right)

    def off(after: list[tuple[Any, Any]]) -> dict[str, float]:
        found = logits.differences(before, (row.float() for row, _ in after), lambda: None)
        return {name: found[name] for name in ("logits_difference", "same_top_token")}

    def merge(change: Callable[[str, Any], Any]) -> dict[str, float]:
        shutil.rmtree(wrong, ignore_errors=True)
        shutil.copytree(right, wrong)
        changed = {name: change(name, tensor).contiguous() for name, tensor in tensors.items()}
        save_file(changed, wrong / "adapter_model.safetensors", metadata={"format": "pt"})
        merging.merge(checkpoint.look(str(base)), wrong, folder / "merged", "native", lambda *_: None)
        return off(logits_with(settings, str(folder / "merged")))

    kinds = {"right": merge(lambda name, tensor: tensor)}
    kinds["half its scale"] = merge(lambda name, tensor: tensor / 2 if "lora_B" in name else tensor)
    kinds["without a layer"] = merge(lambda name, tensor: tensor * 0 if LAYER in name and "lora_B" in name else tensor)
    kinds["the base alone"] = off(logits_with(settings, str(base)))
    return {"seed": seed, "size": size, **kinds}


def table(lines: list[dict[str, Any]]) -> Table:
    grid = Table("seed", "size of B", *list(lines[0])[2:], title="difference as a share of the spread, same likeliest token")
    for line in lines:
        cells = (f"{100 * of['logits_difference']:.1f} %, {100 * of['same_top_token']:.1f} %" for of in list(line.values())[2:])
        grid.add_row(str(line["seed"]), f"{line['size']:g}", *cells)
    return grid


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=3, help="random adapters of each size")
    options.add_argument("--quick", action="store_true", help="one adapter, to see that it runs")
    options.add_argument("--out", type=Path, help="write the figures as JSON")
    args = options.parse_args(argv)
    wanted = [(seed, size) for seed in range(args.seeds) for size in SIZES][: 1 if args.quick else None]
    seam.prepare()
    lines = []
    for seed, size in wanted:
        with tempfile.TemporaryDirectory(prefix="merge-check-") as folder:
            lines.append(compared(seed, size, Path(folder)))
        print(json.dumps(lines[-1]), flush=True)
    Console(width=150).print(table(lines))
    if args.out:
        write_json(args.out, lines)
    return lines


if __name__ == "__main__":
    main()
