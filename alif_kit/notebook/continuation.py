"""notebook: which of two copies of a run has more done, and whether the other holds anything that this one lacks.

In: run folders as they lie on a disk, also half-written ones. Out: what is finished, a measure to compare by, and the first file
that would be lost. Nothing is written here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alif_kit.platforms.mirror import MARKER

REMADE = (".json", ".csv", ".html", ".md", ".arrow", ".parquet", "pool.jsonl", "dropped.jsonl")
"""Ends of names of files that sum up others and are written anew: it is enough that the other run has its own."""
TRAINED = ("pretrain", "finetune")


def is_run(folder: Path) -> bool:
    """A model has a config.json, too; a run's has these tables. Its ledger may be missing: the first stage was cut off."""
    return {"preset", "base", "session"} <= set(_config(folder))


def _config(folder: Path) -> dict[str, Any]:
    return _parsed(_text(folder / "config.json"))


def _text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace") if path.is_file() else ""


def _parsed(text: str) -> dict[str, Any]:
    """The JSON object of a text; an empty one where it is torn or anything else."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def progress(folder: Path) -> tuple[int, int, int]:
    """Stages done; steps of whole checkpoints (a finished stage keeps none); bytes of journals, which only grow."""
    steps = [whole_step(folder / stage) for stage in TRAINED]
    journals = sum(path.stat().st_size for path in files(folder) if path.suffix == ".jsonl")
    return len(done(folder)), sum(steps), journals


def done(folder: Path) -> list[str]:
    """Stages with a line `done` in the ledger, in their order; a torn last line counts for nothing."""
    rows = map(_parsed, _text(folder / "ledger.jsonl").splitlines())
    return list(dict.fromkeys(str(row.get("stage")) for row in rows if row.get("status") == "done"))


def whole_step(stage: Path) -> int:
    """Step of the newest checkpoint that was written to its end; 0 where there is none."""
    steps = [path.parent.name.split("-")[1] for path in stage.glob(f"checkpoint-*/{MARKER}")]
    return max((int(step) for step in steps if step.isdigit()), default=0)


def age(folder: Path) -> float:
    """When a run last finished or left a stage, in seconds since 1970; when it was opened, before that."""
    path = folder / "ledger.jsonl"
    return (path if path.is_file() else folder / "config.json").stat().st_mtime


def said(folder: Path) -> str:
    """What a run has, in words: `finished generate and a checkpoint at step 40`."""
    stages, step = done(folder), max(whole_step(folder / stage) for stage in TRAINED)
    finished = f"finished {', '.join(stages)}" if stages else "finished no stage yet"
    return finished + (f" and a checkpoint at step {step}" if step else "")


def files(folder: Path) -> list[Path]:
    """Regular files, links left out and not followed."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def own_work(mine: Path, other: Path) -> str:
    """The first file of `mine` whose content `other` does not hold; empty when nothing would be lost with `mine`."""
    names = sorted(path.relative_to(mine) for path in files(mine))
    if names == [Path("config.json")]:
        return ""  # settings alone: Run.open compares them with those of the copy
    return next((name.as_posix() for name in names if not _held(name, mine, other)), "")


def _held(name: Path, mine: Path, other: Path) -> bool:
    if name == Path("config.json"):
        return _config(mine) == _config(other)
    if len(name.parts) > 2 and name.parts[1].startswith("checkpoint-"):
        return _past(mine / name.parts[0] / name.parts[1], other / name.parts[0])
    there = other / name
    if name.name.endswith(".partial.jsonl") and not there.exists():
        return there.with_name(name.name.replace(".partial", "")).is_file()  # the set is finished there
    return there.is_file() and not there.is_symlink() and (name.name.endswith(REMADE) or _begins_with(there, mine / name))


def _past(checkpoint: Path, stage: Path) -> bool:
    """Whether a stage has left this checkpoint behind; a half-written one is thrown away by training, too."""
    if not (checkpoint / MARKER).is_file() or stage.name in done(stage.parent):
        return True
    step = checkpoint.name.split("-")[1]
    return step.isdigit() and whole_step(stage) >= int(step)


def _begins_with(whole: Path, part: Path) -> bool:
    """Whether a file begins with all of another one, as a journal does with its own earlier state."""
    with whole.open("rb") as a, part.open("rb") as b:
        while block := b.read(1 << 20):
            if a.read(len(block)) != block:
                return False
    return True
