"""What quantisation costs Gemma 3 270M, on this machine: `alif quant-study` of a real model without a hub.

    python bench/quant_study.py [--limit 16] [--forms 16bit,8bit,nf4,q8_0,q5_k_m,q4_k_m] [--out FOLDER]

The base itself stands for a merged model. Needs llama.cpp (`pip install 'alif-kit[llama]'`) for the GGUF forms; without it they are
named as missing. The model is small, no assistant, and the examples are few: the table shows what the study measures, not what
quantisation does to a model of 4 or 8 billion parameters.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from alif_kit import pipeline
from alif_kit.core import config
from alif_kit.core.records import write_atomic
from alif_kit.core.run import Run
from alif_kit.model import gemma
from alif_kit.quantisation import study
from alif_kit.release.merge import write_sums

NOTE = (
    "Gemma 3 270M itself (not a model of this kit), as `alif base gemma-270m` makes it, measured by "
    "`python bench/quant_study.py --limit {limit}` on {threads} cores ({device}) in {minutes:.1f} minutes. Intervals are 95 %, and "
    "after them comes the paired difference to 16 bit, starred where its interval excludes zero. The weights came from a "
    "4-bit file, the model is no assistant and the examples are few: it shows the method."
)


def main(argv: list[str] | None = None) -> dict[str, object]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--limit", type=int, default=16, help="examples of each set")
    options.add_argument("--forms", default=",".join(study.FORMS), help="forms, comma between")
    options.add_argument("--out", type=Path, help="write quant_study.md and quant_study.svg there")
    asked = options.parse_args(argv)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="quant-study-") as folder:
        run = merged_base(Path(folder))
        results = pipeline.quant_study(run, asked.forms.split(","), asked.limit)
        page = markdown(results, asked.limit, (time.perf_counter() - started) / 60)
        print(page)
        if asked.out:
            write_atomic(asked.out / "quant_study.md", page)
            shutil.copy(run.file("release", "quant_study", "plot.svg"), asked.out / "quant_study.svg")
    return results


def merged_base(folder: Path) -> Run:
    """A run whose merged model is the base."""
    changes = {"base.model": "gemma-270m", "base.load_in_4bit": False}
    run = Run.open(folder / "gemma-270m", config.load("smoke", changes))
    merged = run.file("release", "merged")
    shutil.copytree(gemma.build(), merged)
    write_sums(merged)
    return run


def markdown(results: dict[str, object], limit: int, minutes: float) -> str:
    header, rows = study.table(results, "ur")
    lines = [header, ["---"] * len(header), *rows]
    first = results["forms"][0]
    note = NOTE.format(limit=limit, threads=first["threads"], device=first["device"], minutes=minutes)
    missing = [f"Not measured: {form}: {reason}" for form, reason in results["missing"].items()]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return "\n\n".join(["# A quantisation study", note, table, results["advice"], *missing]) + "\n"


if __name__ == "__main__":
    main()
