"""core: one progress bar for long work, in a terminal, a notebook or a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Update = Callable[..., None]


@contextmanager
def bar(label: str, total: int) -> Iterator[Update]:
    """Show a bar while the body runs; call the yielded function with what is done so far, a short note, and a better total."""
    if in_notebook():
        yield _page_bar(label, total)
        return
    if not sys.stderr.isatty():
        with _log_bar(label, total) as update:
            yield update
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn(f"{label:<12}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        task = progress.add_task(label, total=total, note="")
        yield lambda done, note="", total=total: progress.update(task, completed=done, note=note, total=total)


LOG_SECONDS = 30.0


@contextmanager
def _log_bar(label: str, total: int | None) -> Iterator[Update]:
    """For nohup, CI and pipes: a whole line every half a minute and one at the end, so that `tail` shows where the work is."""
    pace, spoke = _Pace(), time.monotonic()
    latest: tuple[int, int | None, str] = (0, total, "")

    def say() -> None:
        done, total, note = latest
        said = f"{label}: {pace.counted(done, total)}"
        print(f"{said}, {note}" if note else said, file=sys.stderr, flush=True)

    def update(done: int, note: str = "", total: int | None = total) -> None:
        nonlocal spoke, latest
        latest = done, total, note
        pace.counted(done, total)
        if time.monotonic() - spoke >= LOG_SECONDS:
            spoke = time.monotonic()
            say()

    try:
        yield update
    finally:
        say()


class _Pace:
    """How fast work goes since it first said how far it was: what an earlier session had done says nothing of this one."""

    def __init__(self) -> None:
        self.began, self.first = time.monotonic(), (0, 0.0)

    def counted(self, done: int, total: int | None) -> str:
        """`"3 of 12, 60 s, about 180 s to go"`."""
        now = time.monotonic()
        if done and not self.first[0]:
            self.first = done, now
        before, since = self.first
        known = total and before < done < total
        left = f", about {(now - since) / (done - before) * (total - done):,.0f} s to go" if known else ""
        return f"{done:,} of {total:,}, {now - self.began:,.0f} s{left}" if total else f"{done:,}, {now - self.began:,.0f} s"


def in_notebook() -> bool:
    """Whether a kernel runs this, whose reader sees HTML."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return bool(shell) and hasattr(shell, "kernel")


REDRAW_SECONDS = 0.5
LINES_SHOWN = 4


@dataclass
class _Slot:
    """Where the bars of one cell are drawn, the latest few below each other: an evaluation has dozens."""

    cell: int
    shown: Any
    lines: list[str] = field(default_factory=list)

    def draw(self) -> None:
        from IPython.display import HTML

        self.shown.update(HTML("<br>".join(self.lines[-LINES_SHOWN:])))


_slot: _Slot | None = None


def _slot_here() -> _Slot:
    """The slot of the cell that is running."""
    from IPython import get_ipython
    from IPython.display import HTML, display

    global _slot
    cell = get_ipython().execution_count
    if _slot is None or _slot.cell != cell:
        _slot = _Slot(cell, display(HTML(""), display_id=True))
    return _slot


def _page_bar(label: str, total: int | None) -> Update:
    """A line of HTML that is drawn again in its place, twice a second at most and at its end. A total of None is unknown."""
    slot, pace, drawn = _slot_here(), _Pace(), 0.0
    slot.lines.append("")
    number = len(slot.lines) - 1

    def update(done: int, note: str = "", total: int | None = total) -> None:
        nonlocal drawn
        now, counted = time.monotonic(), pace.counted(done, total)
        if now - drawn > REDRAW_SECONDS or done == total:
            drawn = now
            slot.lines[number] = _page_line(label, done, total, counted, note)
            slot.draw()

    update(0)
    return update


def _page_line(label: str, done: int, total: int | None, counted: str, note: str) -> str:
    from html import escape

    size = f'value="{done}" max="{total}"' if total else ""
    drawn = f'<code>{escape(label)}</code> <progress {size} style="width:14em"></progress>'
    return f"{drawn} {counted} {escape(note)}"
