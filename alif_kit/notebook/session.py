"""notebook: where a notebook's run lives between two sessions of a free machine.

In: Colab's Drive, or the outputs of earlier versions that Kaggle attaches under /kaggle/input. Out: a run folder that outlives the
session, a copy of the run that has most done, and one sentence on what was done or why not. What is in the run folder already is
never lost: it is replaced only by a run that holds all of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from alif_kit.core import UserError
from alif_kit.notebook import continuation
from alif_kit.platforms import machine

KAGGLE_INPUT = Path("/kaggle/input")
HOURS = {"kaggle": 11.5, "colab": 11.0}
"""A session's 12 hours less a margin to save; Colab ends some sessions early."""


def session_hours() -> float:
    """Hours from the start of the kernel after which training must stop with a checkpoint; 0 for no limit."""
    return HOURS.get(machine.name(), 0.0)


def mount_drive() -> str:
    """On Colab, ask for Google Drive; returns one sentence on where runs go now, the empty string elsewhere."""
    if machine.name() != "colab":
        return ""
    if machine.drive_mounted():
        return f"Google Drive is mounted: runs are kept in {machine.durable_folder()}."
    try:
        from google.colab import drive

        drive.mount(str(machine.DRIVE.parent), force_remount=False)
    except Exception as error:  # the store has errors of its own, and a refusal is one of them
        return f"{_refusal(error)}; {_lost()}"
    if machine.drive_mounted():
        return f"Google Drive is mounted now: runs are kept in {machine.durable_folder()}."
    return f"Google Drive was mounted, but {machine.DRIVE} is not there; {_lost()}"


def _lost() -> str:
    here = f"runs go to {machine.durable_folder().absolute()} on this session's disk and are lost when it ends"
    return f"{here}; to keep them, run this cell again and allow access."


def _refusal(error: Exception) -> str:
    """Why Drive is not there, by what Colab's own code says."""
    kind, text = type(error).__name__, str(error).lower()
    if isinstance(error, ImportError):
        return "This session has no google.colab.drive"
    if "timeout" in text or "timed out" in text or "timeout" in kind.lower():
        return f"Google Drive did not answer in time ({kind})"
    if "already contain files" in text:
        return f"Google Drive could not be mounted, because {machine.DRIVE.parent} holds files of this session (move them away)"
    if "credential" in text or "oauth" in text or kind == "MessageError":
        return f"Access to Google Drive was not given ({kind})"
    return f"Google Drive could not be mounted ({kind})"


def continue_from_input(run_folder: Path) -> str:
    """On Kaggle, copy the attached run of the same name that has most done, when `run_folder` has none or is behind it.

    Returns one sentence, or the empty string where there is nothing to say. Raises UserError when the copy does not fit: going on
    without it would do, and pay for, the same work again.
    """
    if machine.name() != "kaggle":
        return ""
    try:
        _tidy(run_folder)
        return _continue(run_folder)
    except OSError as error:
        _tidy(run_folder)
        why = error.strerror or type(error).__name__
        raise UserError(
            f"the attached run {run_folder.name} could not be copied to {run_folder} ({why}), so nothing was changed; "
            "free some space there, or detach the input to begin anew, and run this cell again"
        ) from None


def _continue(run_folder: Path) -> str:
    found = list(_attached(run_folder.name))
    runs = [folder for folder in found if continuation.is_run(folder)]
    here = continuation.progress(run_folder)
    if not runs:
        cut = f"{found[0]} was left alone: its config.json is not that of a run, or was cut short." if found else ""
        return cut if here == (0, 0, 0) else ""
    best = max(runs, key=lambda folder: (*continuation.progress(folder), continuation.age(folder)))
    if here >= continuation.progress(best) and continuation.is_run(run_folder):
        return ""
    if own := continuation.own_work(run_folder, best):
        return (
            f"{best} has more done ({continuation.said(best)}), but {run_folder} holds {own}, which is not in it, so nothing was "
            f"copied; to go on from the attached run, rename {run_folder} and run this cell again."
        )
    behind = " in place of an older state of it" if run_folder.exists() else ""
    links = _take(best, run_folder)
    left_out = f"; links in it were left out: {links}" if links else ""
    return f"This run goes on from {best}, which has {continuation.said(best)}: copied to {run_folder}{behind}{left_out}."


def _attached(name: str) -> Iterator[Path]:
    """Folders of that name with config.json, at any depth; links are not followed, and no run is searched inside a run."""
    for place, folders, files in os.walk(KAGGLE_INPUT):
        named, config = Path(place).name == name, Path(place) / "config.json"
        if "config.json" in files and named and not config.is_symlink():
            yield Path(place)
        if "config.json" in files and (named or "ledger.jsonl" in files):
            folders.clear()


def _take(source: Path, run_folder: Path) -> int:
    """Copy a run beside its place and rename it, so that it is there whole or not at all; returns the number of links left out."""
    partial, before = _beside(run_folder)
    _check_disk(run_folder, source)
    partial.mkdir(parents=True)
    links = 0
    for path in source.rglob("*"):
        there = partial / path.relative_to(source)
        if path.is_symlink():
            links += 1
        elif path.is_dir():
            there.mkdir()
        else:  # the content and its time, not the mode: inputs are read-only
            shutil.copyfile(path, there)
            os.utime(there, (path.stat().st_atime, path.stat().st_mtime))
    if run_folder.exists():
        run_folder.rename(before)
    partial.rename(run_folder)
    shutil.rmtree(before, ignore_errors=True)
    return links


def _check_disk(run_folder: Path, source: Path) -> None:
    needed = sum(path.stat().st_size for path in continuation.files(source)) / 2**30
    place = next(path for path in run_folder.absolute().parents if path.exists())
    free = shutil.disk_usage(place).free / 2**30
    if needed > free:
        raise UserError(
            f"{source} needs {needed:.2f} GiB, {place} has {free:.2f} GiB free, so the run cannot go on from it here; "
            f"delete what you do not need in {place}, or detach the input to begin anew"
        )


def _beside(run_folder: Path) -> list[Path]:
    """Where the copy of a run grows, and where the run that it replaces waits."""
    return [run_folder.with_name(f"{run_folder.name}.{what}") for what in ("partial", "replaced")]


def _tidy(run_folder: Path) -> None:
    """What a kill in the middle of a copy has left: a half copy goes, a run that was moved aside comes back."""
    partial, before = _beside(run_folder)
    shutil.rmtree(partial, ignore_errors=True)
    if before.exists() and not run_folder.exists():
        before.rename(run_folder)
    shutil.rmtree(before, ignore_errors=True)
