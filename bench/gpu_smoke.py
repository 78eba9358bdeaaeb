"""Every stage of the kit in small on the card that is here, by the paths of a T4: `python bench/gpu_t4.py --smoke`.

    for from in "" "--no-index --find-links=.whl"; do
      python3 -m pip install -q $from -r requirements.txt 'torchao>=0.16.0' 'lm-eval==0.4.13' &&
      python3 -m pip install -q $from --no-deps unsloth==2026.10.9 unsloth_zoo==2026.10.9 && break
    done; PYTHONPATH=. python3 bench/gpu_t4.py --smoke --out "${OUT:-.}/smoke.json"

That runs it in a copy of the repository, with pip where it has an index and else from wheels that lie in `.whl`. It needs a CUDA
build of torch with triton, requirements.txt, Unsloth's two packages, torchao (peft asks for it beside a CUDA torch), pillow for the
image processor, and lm-eval for the row `evaluate`, which is left out without it. No torchvision, no network, no model hub.

The base is a random Gemma3ForConditionalGeneration with a real Gemma3Processor beside it, as gemma-3-4b-it has: on a card Unsloth
then hands out the processor and not the tokenizer (unsloth#2213), runs in float32 for want of bfloat16, and names the layers under
`language_model`. The tokenizer is a small BPE of the pack's texts with Gemma's special tokens and turns.

A row per stage: ok or failed with the first line of its error, seconds, what was found. Stages share a process, as they do in a
notebook; one that fails ends it, and those that do not need it run on in a new one. Without CUDA all runs on the CPU, which proves
the bench and nothing else. The last row is the true shape: three steps of gemma-3-4b as `--case` measures it, planned and measured.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gpu_t4
from gpu_stages import STAGES, Facts, LeftOut, need
from rich.console import Console
from rich.table import Table

from alif_kit.core.errors import first_line
from alif_kit.core.records import write_json
from alif_kit.platforms import machine

HOLDS = 10.0
"""GiB of a card that takes the true shape with room for what the plan does not know."""


def work(names: list[str], scratch: Path) -> None:
    """The stages by name, a row of JSON each; the first that fails ends this process, as a card may not be fit for use after it."""
    import torch

    if torch.cuda.is_available():
        gpu_t4.pretend_t4(torch)
    for name in names:
        row = row_of(name, lambda name=name: STAGES[name][0](scratch))
        print("\n" + json.dumps(row, ensure_ascii=False, default=str), flush=True)  # a line of its own, whatever libraries wrote
        if "failed" in row:
            sys.exit(1)


def row_of(name: str, stage: Callable[[], Facts]) -> Facts:
    """`{"stage": name, "found": …, "seconds": 1.5}`, or `failed` with the first line of the error, or `left out`."""
    began, row = time.monotonic(), {"stage": name}
    try:
        row |= {"found": stage()}
    except LeftOut as why:
        row |= {"left out": str(why)}
    except Exception as error:  # whatever a library raises on a card that nobody has tried
        row |= {"failed": f"{type(error).__name__}: {first_line(error)}"[:300]}
    return row | {"seconds": round(time.monotonic() - began, 1)}


def run_all(scratch: Path) -> Iterator[Facts]:
    """A row per stage; one that takes up the work of another that failed has failed too."""
    waiting, lost = list(STAGES), set()
    while waiting:
        for name in list(waiting):
            if missing := [other for other in STAGES[name][1] if other in lost]:
                waiting.remove(name)
                lost.add(name)
                yield {"stage": name, "failed": f"not run: it takes up the work of {missing[0]}", "seconds": 0.0}
        for row in in_a_process(list(waiting), scratch) if waiting else ():
            waiting.remove(row["stage"])
            lost |= {row["stage"]} if "failed" in row else set()
            yield row


def in_a_process(names: list[str], scratch: Path) -> Iterator[Facts]:
    """The rows of a process as they come, and one for the stage that it died in."""
    command = [sys.executable, gpu_t4.__file__, "--smoke", "--case", ",".join(names), "--scratch", str(scratch)]
    rows, log = [], scratch / "errors.txt"
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as child,
    ):
        for line in child.stdout:
            if line.startswith('{"stage"'):
                rows.append(json.loads(line))
                yield rows[-1]
    if len(rows) < len(names) and not any("failed" in row for row in rows):
        last = (log.read_text("utf-8").strip().splitlines() or [""])[-1]
        yield {"stage": names[len(rows)], "failed": f"the process ended with {child.returncode}: {last}"[:300], "seconds": 0.0}


def true_shape(scratch: Path) -> Facts:
    """Three steps of gemma-3-4b in a process of their own, where the card can hold it; a toy without one."""
    gpu = machine.detect().gpu
    if gpu and gpu.vram_gib < HOLDS:
        raise LeftOut(f"{gpu.name} has {gpu.vram_gib:.1f} GiB; expected {HOLDS:g}")
    folder = scratch / "shape"
    folder.mkdir()
    result = gpu_t4.in_a_process("unsloth/gemma-3-4b-it" if gpu else gpu_t4.TOY.name, "none", 3, str(folder))
    need("failed" not in result, str(result.get("failed")))
    return result


def table(rows: list[Facts]) -> Table:
    grid = Table("stage", "", "seconds", "found")
    for row in rows:
        verdict = "failed" if "failed" in row else "left out" if "left out" in row else "ok"
        found = row.get("failed") or row.get("left out") or ", ".join(f"{name} {value}" for name, value in row["found"].items())
        grid.add_row(row["stage"], verdict, f"{row['seconds']:.0f}", found)
    return grid


def main(scratch: Path, out: Path | None) -> list[Facts]:
    """All rows, printed and written as they come, and as a table."""
    import torch

    cuda, rows = torch.cuda.is_available(), []
    device = torch.cuda.get_device_name(0) if cuda else "CPU"
    for row in itertools.chain(run_all(scratch), [None]):
        rows.append(row or row_of("true shape", lambda: true_shape(scratch)))
        print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
        if out:
            write_json(out, {"gpu": cuda, "device": device, "torch": torch.__version__, "rows": rows})
    Console(width=150).print(table(rows), markup=False)
    failed = sum("failed" in row for row in rows)
    print(f"{device} by the paths of a T4: {failed} of {len(rows)} rows failed" if cuda else gpu_t4.NOT_RUN)
    return rows
