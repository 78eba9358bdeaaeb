"""training: what happens between steps: progress, metrics, whole checkpoints, the end of a session, losses that are no numbers.

In: transformers' events. Out: checkpoint markers, metrics.csv, a mirror that is up to date, a stop with a checkpoint, StoppedError.
"""

from __future__ import annotations

import csv
import io
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alif_kit.core import Run, StoppedError
from alif_kit.core.config import Optimisation
from alif_kit.core.progress import Update
from alif_kit.core.records import write_atomic, write_json
from alif_kit.planner.budget import Plan, compare
from alif_kit.platforms import mirror
from alif_kit.training import parallel
from alif_kit.training.preflight import check_embedding_rate

COLUMNS = ("step", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm")
SETTLING_STEPS = 5  # on fp16 the loss scaler may need so many before gradients are finite
MEASURED_STEPS = 10


class Watch:
    """The state of one session of a stage: when it must end, and why it did."""

    def __init__(self, run: Run, stage: str, planned: Plan | None = None) -> None:
        self.run, self.folder, self.planned = run, run.file(stage), planned
        self.opt: Optimisation = getattr(run.config, stage)
        self.tokens_per_step = 0.0
        self.reason = ""
        self.steps: list[float] = []  # seconds of each step of this session
        self.saving = 0.0  # seconds of the longest save
        self._deadline = session_start() + 3600 * run.config.session.hours if run.config.session.hours else math.inf
        self._mark = time.monotonic()

    def step_done(self) -> None:
        """Count a step; ask for the end when another one and a save would not fit into the session."""
        now = time.monotonic()
        self.steps.append(now - self._mark)
        self._mark = now
        if self.planned and len(self.steps) == MEASURED_STEPS + 1:
            self.plan_again()
        if time.time() + 2 * max(self.steps[-5:]) + 1.5 * self.saving > self._deadline:
            self.reason = self.reason or f"session.hours = {self.run.config.session.hours:g} are over"

    def plan_again(self) -> None:
        """Say how far the plan was off, from ten real steps, and keep both."""
        measured = {"tokens_per_second": self.tokens_per_second(), "peak_gib": peak_gib()}
        said = compare(self.planned, measured)
        write_json(self.folder / "plan.json", {"planned": self.planned.to_dict(), "measured": measured, "said": said})
        print(*said, sep="\n", file=sys.stderr)

    def saved(self, step: int, history: list[dict[str, Any]]) -> None:
        """A checkpoint is whole once its marker is written; then the mirror gets it. The first process does both."""
        if not parallel.is_main():
            return
        write_json(self.folder / f"checkpoint-{step}" / mirror.MARKER, {"step": step})
        write_metrics(self.folder, history)
        mirror.push(self.run)
        self.saving = max(self.saving, time.monotonic() - self._mark)

    def tokens_per_second(self) -> float:
        """Over this session's steps but the first, which compiles and warms up."""
        steps = self.steps[1:] or self.steps
        return self.tokens_per_step * len(steps) / sum(steps) if steps and sum(steps) else 0.0

    def note(self, loss: float) -> str:
        """What stands behind the bar."""
        parts = [f"loss {loss:.3f}", f"{self.tokens_per_second():,.0f} tokens/s"]
        if memory := peak_gib():
            parts.append(f"{memory:.1f} GiB")
        if self._deadline < math.inf:
            parts.append(f"session ends in {max(0.0, self._deadline - time.time()) / 60:.0f} min")
        return ", ".join(parts)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C end training after the step, with a checkpoint; a second one ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) or signal.SIG_DFL for number in (signal.SIGTERM, signal.SIGINT)}

        def ask(number: int, _: Any) -> None:
            self.reason = f"{signal.Signals(number).name} received"
            signal.signal(number, before[number])

        for number in before:
            signal.signal(number, ask)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def session_start() -> float:
    """Seconds since 1970 at which this process, in a notebook the kernel, began."""
    import psutil

    return psutil.Process().create_time()


def peak_gib() -> float:
    """Peak memory that torch has held on the card, 0 without one."""
    import torch

    return torch.cuda.max_memory_reserved() / 2**30 if torch.cuda.is_available() else 0.0


def make(watch: Watch, update: Update) -> Any:
    """The callback for transformers."""
    from transformers import TrainerCallback

    class StageCallback(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **_: Any) -> None:
            check_embedding_rate(model, optimizer, watch.opt.embedding_learning_rate)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch.step_done()
            if parallel.any_of(bool(watch.reason)):
                watch.reason = watch.reason or "another process was asked to stop"
                control.should_save = control.should_training_stop = True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch.saved(state.global_step, state.log_history)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            if "loss" in logs:
                refuse_no_number(logs, state.global_step, SETTLING_STEPS if args.fp16 else 0, watch.folder)
                update(state.global_step, watch.note(float(logs["loss"])), state.max_steps)

    return StageCallback()


def refuse_no_number(logs: dict[str, Any], step: int, settling: int, folder: Path) -> None:
    """StoppedError when the loss is NaN or infinite, or the gradient past the settling steps; the last good checkpoint stays."""
    bad = [name for name in ("loss", "grad_norm") if not math.isfinite(float(logs.get(name, 0.0)))]
    if bad and (step > settling or "loss" in bad):
        raise StoppedError(
            f"{bad[0]} is {logs[bad[0]]} at step {step}; the last good checkpoint in {folder} is kept: "
            "lower the learning rate in a new run, or look for a broken row in the data"
        )


def write_metrics(folder: Path, history: list[dict[str, Any]]) -> None:
    """metrics.csv: one row per step, losses in nats per token; the held-out loss stands in the step it was measured at."""
    rows = {line["step"]: {**line} for line in history if "loss" in line}
    for line in history:
        if "eval_loss" in line:
            rows.setdefault(line["step"], {"step": line["step"]})["eval_loss"] = line["eval_loss"]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[step] for step in sorted(rows))
    write_atomic(folder / "metrics.csv", text.getvalue())
