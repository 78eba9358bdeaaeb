"""What training the vocabulary buys and costs: lora.train_vocab none, rows and full, on the same weights and the same rows.

    python bench/vocab_rows.py [--steps 40] [--modes none,rows,full] [--coverage 0.999] [--quick] [--out FILE.json]

Continued pretraining of gemma-270m on the pack's Urdu with English replay, once for each setting, each in a process of its own.
Bits per byte of the texts of real_weights.py, none of which is trained on; trainable parameters; the process's peak memory (RSS)
and its CPU time, loading included, against `none`'s. Gemma's head is its embedding: `rows` trains one set of rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import real_weights
from rich.console import Console
from rich.table import Table

from alif_kit.core.records import write_json
from alif_kit.model import unsloth as seam


def one(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One setting trained and measured, here."""
    seam.prepare()
    args.train_vocab = args.modes
    changes = {"corpus__replay_share": real_weights.REPLAY, "pretrain__max_steps": args.steps}
    config = real_weights.settings(args, **changes, lora__vocab_coverage=args.coverage)
    started = time.process_time()
    run, summary = real_weights.pretrained(folder / args.modes, config)
    spent = {"cpu_seconds": round(time.process_time() - started, 1), "peak_mib": peak_mib()}
    texts = real_weights.held_out_texts(args.bytes)
    line = real_weights.row(args.modes, run, "pretrain", summary, texts) | spent
    adapter = run.file("pretrain", "adapter", "adapter_model.safetensors").stat().st_size
    return line | {"adapter_mib": round(adapter / 2**20, 1), "bytes": {name: real_weights.size(t) for name, t in texts.items()}}


def peak_mib() -> int:
    """The largest resident set of this process so far, in MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def in_a_process(mode: str, args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="vocab-rows-") as folder:
        options = ["--steps", args.steps, "--coverage", args.coverage, "--bytes", args.bytes, "--model", args.model]
        command = [sys.executable, __file__, "--modes", mode, "--work", folder, *map(str, options)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        result = Path(folder) / "result.json"
        if not result.is_file():
            raise SystemExit(f"train_vocab={mode} failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        return json.loads(result.read_text("utf-8"))


def base(args: argparse.Namespace) -> dict[str, Any]:
    """The untrained weights' line."""
    args.train_vocab = "none"
    return real_weights.base_row(args, real_weights.held_out_texts(args.bytes))


def table(first: dict[str, Any], lines: list[dict[str, Any]]) -> Table:
    heads = [f"{name}\n{count:,} bytes" for name, count in lines[0]["bytes"].items()]
    grid = Table("train_vocab", *heads, "trainable", "adapter MiB", "peak MiB", "CPU time", title="bits per byte")
    start = first["bits_per_byte"]
    grid.add_row("base", *(f"{value:.3f}" for value in start.values()), "0")
    for line in lines:
        cells = (f"{value:.3f} ({value / start[name] - 1:+.1%})" for name, value in line["bits_per_byte"].items())
        ratio = line["cpu_seconds"] / lines[0]["cpu_seconds"]
        costs = (f"{line['trainable_parameters']:,}", f"{line['adapter_mib']:.0f}", f"{line['peak_mib']:,}", f"{ratio:.2f}x")
        grid.add_row(line["model"], *cells, *costs)
    return grid


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=40, help="optimiser steps of each setting")
    options.add_argument("--modes", default="none,rows,full", help="settings, comma between; times are against the first")
    options.add_argument("--coverage", type=float, default=0.999, help="lora.vocab_coverage of rows")
    options.add_argument("--bytes", type=int, default=6_000, help="measured bytes of each text, about")
    options.add_argument("--quick", action="store_true", help="a few steps and bytes, to see that it runs")
    options.add_argument("--model", default="", help="another local checkpoint instead of gemma-270m")
    options.add_argument("--out", type=Path, help="write the figures as JSON")
    options.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return options


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    args = parser().parse_args(argv)
    if args.quick:
        args.steps, args.bytes = 6, 1_500
    if args.work:
        write_json(args.work / "result.json", one(args, args.work))
        return []
    seam.prepare()
    lines = [in_a_process(mode, args) for mode in args.modes.split(",")]
    first = base(args)
    Console(width=170).print(table(first, lines))
    if args.out:
        write_json(args.out, {"steps": args.steps, "coverage": args.coverage, "base": first, "modes": lines})
    return lines


if __name__ == "__main__":
    main()
