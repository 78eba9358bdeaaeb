"""Preparing a corpus: speed and memory at two sizes, side by side, each in a process of its own.

    python bench/corpus.py [--sizes 10,200] [--folder DIR]

The corpora are synthetic: sentences of the pack's Urdu documents, an eighth of them with a word changed or made up, drawn into
documents of about 3.5 kB; in 100 documents 5 are near copies of earlier ones, 2 exact copies, 3 English, 3 tables, and a third
carry wiki markup and a list of references. `prepare` is cleaning, duplicates and writing; `rows` is blocks of tokens to disk with
a stand-in tokenizer (a number a word). MB are 10^6 bytes of the JSONL file; CPU seconds of one process; memory is the peak of the
resident set, and what of it came after the libraries were loaded. A corpus twenty times as large should not need much more.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MARKUP = "\n\nحوالہ جات\n[1] ایک کتاب، صفحہ ۱۲\n[2] دوسری کتاب\n\nبیرونی روابط\nسرکاری ویب سائٹ\n\nزمرہ:مضامین"
TABLE = "\n".join(f"سال {1900 + i} | {i * 37} | {i * 91} | {i * 7}" for i in range(90))


def sentences(draw: random.Random, language: str, variants: int) -> list[str]:
    """The pack's sentences over and over, an eighth of them with a word changed or made up."""
    from alif_kit.languages import pack

    mark = "۔" if language == "ur" else ". "
    texts = [d.text for d in pack.corpus("ur", language)]
    pool = [s.strip() + mark for text in texts for s in text.replace("\n", " ").split(mark) if len(s.split()) > 4]
    words = " ".join(pool).split()
    for sentence in draw.choices(pool, k=variants):
        changed = sentence.split()
        if draw.random() < 0.125:
            new = draw.choice(words) if draw.random() < 0.5 else "".join(draw.choices("ابپتٹجچدرسشکگلمنوہیے", k=6))
            changed[draw.randrange(len(changed))] = new
        pool.append(" ".join(changed))
    return pool


def page(draw: random.Random, urdu: list[str], english: list[str], earlier: list[str]) -> str:
    kind = draw.random()
    if earlier and kind < 0.07:
        copy = draw.choice(earlier)
        return copy if kind < 0.02 else copy + " " + draw.choice(urdu)
    if kind < 0.10:
        return " ".join(draw.sample(english, 30))
    if kind < 0.13:
        return TABLE + f"\n{draw.random()}"
    paragraphs = [" ".join(draw.sample(urdu, draw.randint(3, 9))) for _ in range(draw.randint(2, 5))]
    text = "\n\n".join(paragraphs)
    return text.replace("۔", "۔[1]", 2) + MARKUP if kind < 0.43 else text


def write(path: Path, megabytes: float) -> None:
    draw, earlier = random.Random(1), []
    urdu, english = sentences(draw, "ur", 30_000), sentences(draw, "en", 1_000)
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < megabytes * 1e6:
            text = page(draw, urdu, english, earlier)
            earlier = [*earlier[-50:], text]
            file.write(json.dumps({"title": f"صفحہ {draw.randrange(10**9)}", "text": text}, ensure_ascii=False) + "\n")


class Words:
    """A tokenizer in appearance: a number a word."""

    bos_token_id, eos_token_id = 1, 2

    def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[len(word) for word in text.split()] for text in texts]}


def measure(path: Path, folder: Path) -> dict[str, float]:
    """Seconds of CPU and MiB at the peak, of this process."""
    import datasketch  # noqa: F401
    import numpy  # noqa: F401
    from datasets import Dataset  # noqa: F401

    from alif_kit.core import config
    from alif_kit.core.run import Run
    from alif_kit.corpus import blocks

    run = Run.open(folder, config.load("smoke", {"corpus.source": str(path)}))
    loaded = peak()
    started = time.process_time()
    funnel = blocks.prepare(run)["train"]
    prepared, after_prepare = time.process_time(), peak()
    rows, _ = blocks.pretraining_rows(run, Words())
    return {
        "prepare": prepared - started,
        "rows": time.process_time() - prepared,
        "loaded": loaded,
        "prepare_peak": after_prepare,
        "peak": peak(),
        "documents": funnel["documents_read"],
        "kept": funnel["documents_train"],
        "row_count": len(rows),
        "dropped": funnel["dropped"],
    }


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(megabytes: float, folder: Path) -> dict[str, float]:
    path = folder / f"{megabytes:g}.jsonl"
    write(path, megabytes)
    command = [sys.executable, __file__, "--measure", str(path), "--folder", str(folder / f"run_{megabytes:g}")]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    return result | {"MB": path.stat().st_size / 1e6}


def show(results: list[dict[str, float]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("corpus", "documents", "kept", "prepare MB/s", "rows MB/s", "libraries MiB", "peak MiB", "above libraries MiB")
    for r in results:
        counts = (f"{r['documents']:,}", f"{r['kept']:,}")
        speeds = (f"{r['MB'] / r['prepare']:.2f}", f"{r['MB'] / r['rows']:.1f}")
        memory = (f"{r['loaded']:.0f}", f"{r['peak']:.0f}", f"{r['peak'] - r['loaded']:.0f}")
        table.add_row(f"{r['MB']:.0f} MB", *counts, *speeds, *memory)
    Console(width=120).print(table)
    small, large = results[0], results[-1]
    extra = (large["peak"] - small["peak"]) * 2**20 / max(1, large["documents"] - small["documents"])
    print(
        f"{large['MB'] / small['MB']:.0f} times the text: {large['prepare'] / small['prepare']:.1f} times the CPU time, "
        f"{large['peak'] / small['peak']:.2f} times the peak memory, {extra:.0f} bytes more a document"
    )
    print("dropped in the largest:", ", ".join(f"{k} {v:,}" for k, v in large["dropped"].items() if v))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,200", help="megabytes of the corpora")
    parser.add_argument("--folder", type=Path, help="where the corpora are written; a temporary folder unless given")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        show([in_a_process(size, folder) for size in map(float, args.sizes.split(","))])


if __name__ == "__main__":
    main()
