"""notebook: what happens before a lesson begins: where we are, what the run has, what to switch.

In: the parameters cell. Out: a banner, and the run, opened or gone on with; `catch_up` makes what earlier lessons left out. A
mistake that a person can mend shows one sentence instead of a traceback.
"""

from __future__ import annotations

import os
import sys
import warnings
from html import escape
from pathlib import Path
from typing import Any

from alif_kit import pipeline
from alif_kit.core import Run, StoppedError, UserError, config
from alif_kit.notebook import display, session
from alif_kit.platforms import machine
from alif_kit.platforms.machine import Facts


def start(
    mode: str, run_dir: str, hours: float = 0.0, changes: dict[str, Any] | None = None, *, drive: bool = False, on_gpu: str = "t4"
) -> Run:
    """Show where we are and open the run of this notebook, or go on with it.

    `mode`: a preset, or `auto` for `on_gpu` where a card is and `smoke` where none is; a run that exists keeps its own.
    `run_dir`: a name under the platform's durable folder, or a path. `hours`: 0 takes the platform's own limit. `changes`: settings
    by dotted name; None leaves a setting as it is. Raises UserError where the card, the folder or a setting will not do.
    """
    _short_errors()
    warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm's; the kit has bars of its own
    told = [_one_card()]
    facts = machine.detect()
    machine.refuse(facts)
    told.append(session.mount_drive() if drive else _offer_drive(facts))
    folder = folder_of(run_dir)
    told.append(session.continue_from_input(folder))
    given = {name: value for name, value in (changes or {}).items() if value is not None}
    source, why = _source(mode, folder, facts, on_gpu)
    run = Run.open(folder, config.load(source, {"session.hours": hours or session.session_hours(), **given}))
    display.show(_banner(run, facts, why, [line for line in told if line]))
    return run


def _one_card() -> str:
    """Leave torch the first of several cards: a kernel trains on one. It has to be said before torch is imported."""
    if "CUDA_VISIBLE_DEVICES" in os.environ or "torch" in sys.modules or (count := len(machine.query_gpus())) < 2:
        return ""
    os.environ["CUDA_VISIBLE_DEVICES"] = "0"
    return f"{count} cards are here and this notebook uses the first; `alif pretrain --gpus {count}` in a terminal uses all"


def _offer_drive(facts: Facts) -> str:
    if facts.platform != "colab" or machine.drive_mounted():
        return ""
    return "runs lie on this session's disk and are lost with it; switch on KEEP_ON_DRIVE to be asked for Google Drive"


def folder_of(run_dir: str) -> Path:
    """A path as it is; a bare name in the folder that outlives the session."""
    path = Path(run_dir)
    return path if len(path.parts) > 1 else machine.durable_folder() / path


def _source(mode: str, folder: Path, facts: Facts, on_gpu: str) -> tuple[str, str]:
    """Preset or saved configuration to start from, and why."""
    saved = folder / "config.json"
    if saved.is_file() and mode in ("auto", config.load(saved).preset):
        return str(saved), "as this run was started"
    if mode != "auto":
        return mode, "as you asked"
    preset, why = machine.pick_preset(facts)
    return (on_gpu if preset == "t4" else preset), why


STAGES = ("generate", "pretrain", "finetune", "evaluate")


def _banner(run: Run, facts: Facts, why: str, told: list[str]) -> str:
    hours = run.config.session.hours
    done = [stage for stage in STAGES if run.done(stage)]
    base, fitted = run.config.base.model, run.config.base.fit_rows
    base += f" fitted to {fitted:,} rows" if fitted else ""
    rows = [
        ("where", f"{facts.platform}: {facts.reason}"),
        ("size", f"{run.config.preset} ({why}); base {base}; teacher {run.config.teacher.model}"),
        ("run folder", f"{run.path}: " + (f"has {', '.join(done)}; goes on from there" if done else "new")),
        ("session", f"training stops with a checkpoint after {hours:g} hours" if hours else "no time limit"),
        *(("note", line) for line in told),
        *(("please", line) for line in facts.advice),
    ]
    cells = "".join(f"<tr><th style='text-align:left'>{k}</th><td style='text-align:left'>{escape(v)}</td></tr>" for k, v in rows)
    return f"<table style='border-inline-start:4px solid #0f766e'>{cells}</table>"


def catch_up(run: Run, before: str) -> None:
    """Make what the stages before `before` have left out, as far as it is free. Raises UserError where it would cost money."""
    paid = run.config.teacher.base_url != "demo" and not run.done("generate")
    if before != "generate" and paid:
        raise UserError(
            f"{run.path} has no data yet, and its teacher {run.config.teacher.model} is not free; run notebook 01 in it first"
        )
    for stage in STAGES[: STAGES.index(before)] if before in STAGES else STAGES:
        if not run.done(stage):
            print(f"{stage} has not been done in {run.path}: doing it now")
            getattr(pipeline, stage)(run)


def _short_errors() -> None:
    """A mistake that a person can mend shows its sentence, not the way through the code; the cell still counts as failed."""
    from IPython import get_ipython

    if shell := get_ipython():
        shell.set_custom_exc((UserError, StoppedError), _one_sentence)


def _one_sentence(shell: Any, kind: type, error: BaseException, trace: Any, tb_offset: int | None = None) -> list[str]:
    lines = [f"\x1b[31m{kind.__name__}\x1b[0m: {error}"]
    shell._showtraceback(kind, error, lines)
    return lines
