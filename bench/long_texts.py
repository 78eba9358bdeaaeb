"""Bits per byte of a long Urdu text, read in windows: BOS at the head of each, as the kit has it, or of the first alone.

    python bench/long_texts.py [--tokens 1800] [--windows 256,512,1024] [--out FILE.json]

gemma-270m on the beginning of the pack's documents. The last row reads the text at once.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from alif_kit.core.config import Base
from alif_kit.core.records import write_json
from alif_kit.evaluation.generate import piece_nll, text_ids, windowed_nll
from alif_kit.languages import pack
from alif_kit.model import gemma
from alif_kit.model import unsloth as seam


def first_alone(ids: list[int], window: int, nats: Any) -> float:
    """The sum where later windows are `window` tokens of the text, half of them context, and no BOS."""
    total, done = nats(ids[:window], 0), window
    while done < len(ids):
        piece = ids[done - window // 2 : done - window // 2 + window]
        total += nats(piece, window // 2 - 1)
        done += len(piece) - window // 2
    return total


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tokens", type=int, default=1800, help="length of the text")
    options.add_argument("--windows", default="256,512,1024", help="tokens of a window, comma between")
    options.add_argument("--out", type=Path, help="write the figures as JSON")
    args = options.parse_args(argv)
    base = gemma.build()
    loaded = seam.load(Base(str(base), load_in_4bit=False, max_seq_length=8192), base)
    whole = "\n\n".join(document.text for document in pack.corpus("ur", "ur", "train"))
    ids = text_ids(loaded.tokenizer, whole)[: args.tokens + 1]
    size = len(loaded.tokenizer.decode(ids[1:]).encode("utf-8")) * math.log(2)
    nats, grid, lines = partial(piece_nll, loaded.model), Table("window", "BOS in each", "in the first alone"), []
    for window in (*map(int, args.windows.split(",")), len(ids)):
        found = [how(ids, window, nats) / size for how in (windowed_nll, first_alone)]
        lines.append({"window": window, "each": round(found[0], 4), "first": round(found[1], 4)})
        grid.add_row(f"{window:,}", *(f"{value:.4f}" for value in found))
    Console().print(grid)
    if args.out:
        write_json(args.out, {"tokens": len(ids) - 1, "rows": lines})
    return lines


if __name__ == "__main__":
    main()
