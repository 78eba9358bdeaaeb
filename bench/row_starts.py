"""How new pieces should begin: their rows as the mean of those that they replace, as the first's, or as the last's; same training.

    python bench/row_starts.py --model FOLDER [--starts mean,first,last] [--add 2000] [--steps 30] [--quick] [--out FILE.json]

For each start `alif fit` of the base with so many new pieces, then continued pretraining on the pack's Urdu with English replay,
the rows of the pieces that it uses trained (lora.train_vocab=rows). Bits per byte of the texts of real_weights.py, at once and
afterwards. `mean+first` is a start of the embeddings and one of the head: a base without a head of its own is given one, and
`mean+mean` is what to hold it against. `whole` is the base as it is, trained alike.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import real_weights
from rich.console import Console
from rich.table import Table

from alif_kit.core.records import read_json, write_json
from alif_kit.fitting import make, write
from alif_kit.model import checkpoint
from alif_kit.model import unsloth as seam

STARTS = {"mean": lambda parts: parts.mean(0), "first": lambda parts: parts[0], "last": lambda parts: parts[-1]}


def begun(matrix: Any, rows: list[list[int]], start: str) -> Any:
    """As `write.rows_of`, with another start."""
    made = matrix[[row[0] for row in rows]]
    for number, row in enumerate(rows):
        if len(row) > 1:
            made[number] = STARTS[start](matrix[row].float()).to(made.dtype)
    return made


def untied(model: Path, folder: Path) -> Path:
    """The same model with its head as a matrix of its own."""
    tensors = checkpoint.headers(model)
    name = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    shutil.copytree(model, folder / "base", ignore=shutil.ignore_patterns("*.safetensors*"))
    wanted, source = tensors | {"lm_head.weight": tensors[name]}, {"lm_head.weight": name}
    read = partial(checkpoint.read, model / tensors[name].file)  # of one file, as small models are
    checkpoint.write_all(folder / "base", wanted, lambda of: read(source.get(of, of)), lambda _: None)
    config = read_json(model / "config.json")
    write_json(folder / "base" / "config.json", config | {"tie_word_embeddings": False})
    return folder / "base"


def one(start: str, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A base fitted, begun so, measured, trained and measured again, here."""
    seam.prepare()
    ways = start.split("+")
    base = untied(Path(args.model), folder) if len(ways) > 1 else Path(args.model)
    args.train_vocab = "rows"
    line: dict[str, Any] = {"start": start}
    if start != "whole":
        order = iter(reversed(ways))  # lm_head is written before model.embed_tokens
        with mock.patch.object(write, "rows_of", lambda matrix, rows: begun(matrix, rows, next(order))):
            about = make.fit(str(base), ["ur", "en"], folder / "fitted", rows=args.rows, coverage=1.0, add=args.add, more={})
        base, line["added"] = folder / "fitted", about["added"]
    args.model = str(base)
    changes = {"corpus__replay_share": real_weights.REPLAY, "pretrain__max_steps": args.steps, "lora__vocab_coverage": 1.0}
    config = real_weights.settings(args, **changes, base__max_seq_length=args.length)
    texts = real_weights.held_out_texts(args.bytes)
    line["before"] = real_weights.measure(seam.load(config.base, base), texts)
    run, _ = real_weights.pretrained(folder / "run", config)
    return line | {"after": real_weights.measure(seam.load(config.base, base, run.file("pretrain", "adapter")), texts)}


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", required=True, help="a local checkpoint that spells Urdu in crumbs")
    options.add_argument("--starts", default="mean,first,last,mean+mean,mean+first", help="starts, comma between")
    for name, number in {"rows": 16384, "add": 2000, "steps": 30, "length": 128, "bytes": 3_000}.items():
        options.add_argument(f"--{name}", type=int, default=number)
    options.add_argument("--quick", action="store_true", help="a few steps and bytes, to see that it runs")
    options.add_argument("--out", type=Path, help="write the figures as JSON")
    return options


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    args = parser().parse_args(argv)
    if args.quick:
        args.steps, args.bytes = 2, 600
    lines = []
    for start in args.starts.split(","):
        with tempfile.TemporaryDirectory(prefix="row-starts-") as folder:
            lines.append(one(start, argparse.Namespace(**vars(args)), Path(folder)))
        seam.give_back()
        print(json.dumps(lines[-1], ensure_ascii=False), flush=True)
    grid = Table("start", *lines[0]["before"], title="bits per byte, at once → after training")
    for line in lines:
        grid.add_row(line["start"], *(f"{line['before'][text]:.3f} → {line['after'][text]:.3f}" for text in line["before"]))
    Console(width=120).print(grid)
    if args.out:
        write_json(args.out, {"steps": args.steps, "starts": lines})
    return lines


if __name__ == "__main__":
    main()
