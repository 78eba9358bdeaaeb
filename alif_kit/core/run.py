"""core: the run folder. Every stage reads and writes files here and leaves a line in the ledger.

In: a folder and a configuration. Out: `Run`, with the paths of its files, the stages already done, and
`ledger.jsonl` (one line per stage: tokens, seconds, device, dollars); which settings a run that has begun may change.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alif_kit.core import config as configuration
from alif_kit.core.config import Config
from alif_kit.core.errors import UserError
from alif_kit.core.records import AppendOnly, read_json, read_jsonl, write_json

BELONGS = {
    "teacher": "synth",
    "synth": "synth",
    "corpus": "pretrain",
    "pretrain": "pretrain",
    "mixture": "finetune",
    "finetune": "finetune",
}
"""Tables of the configuration that one stage alone depends on, and the folder that the stage makes when it begins."""
# Fields, or whole tables, that a resumed run may change: they move speed and spending, never the result. What evaluation depends
# on may change as well: its rows carry the settings they were made with, and are made anew under others.
OPERATIONAL = {
    "teacher.concurrency",
    "teacher.requests_per_minute",
    "teacher.tokens_per_minute",
    "teacher.max_requests",
    "teacher.max_minutes",
    "teacher.timeout_s",
    "teacher.max_attempts",
    "teacher.max_usd",
} | {"evaluation", "judge", "gate", "session"}
# Fields by which answers that are paid for may be judged again.
JUDGING = {"synth.novelty_threshold", "synth.evaluation_sets", "synth.held_out_share"}


@dataclass(frozen=True)
class Run:
    """One run: its folder and the configuration it was started with."""

    path: Path
    config: Config

    @classmethod
    def open(cls, path: str | Path, config: Config) -> Run:
        """Start a run, or go on with it. The settings of a stage may change until it begins.

        Raises UserError, naming the field, for any other change of the configuration.
        """
        path = Path(path)
        saved = path / "config.json"
        if saved.is_file():
            old = configuration.load(saved)
            open_still = {n for n in flatten(old) if (of := BELONGS.get(n.split(".")[0])) and not (path / of).exists()}
            changed = first_difference(old, config, besides=open_still)
            if changed:
                name, old, new = changed
                raise UserError(
                    f"{path} was started with {name} = {old!r}, now it is {new!r}; put it back, "
                    "or give the new settings a new --run folder"
                )
        elif path.is_dir() and any(path.iterdir()):
            raise UserError(f"{path} is not empty and holds no config.json; choose a new --run folder")
        write_json(saved, config.to_dict())
        return cls(path, config)

    @classmethod
    def resume(cls, path: str | Path) -> Run:
        """Open an existing run with the configuration it carries."""
        saved = Path(path) / "config.json"
        if not saved.is_file():
            raise UserError(
                f"{path} holds no config.json; expected the folder of a run that `alif generate` or `alif demo` started"
            )
        return cls(Path(path), configuration.load(saved))

    def judge_anew(self, config: Config) -> Run:
        """The same run with other rules of judging the answers it has paid for. Raises UserError for any other change."""
        changed = first_difference(self.config, config, besides=JUDGING)
        if changed:
            rules = ", ".join(sorted(JUDGING))
            raise UserError(f"{changed[0]} cannot change in a run that has begun; of its answers, only {rules} can be set anew")
        write_json(self.file("config.json"), config.to_dict())
        return Run(self.path, config)

    def file(self, *parts: str) -> Path:
        return self.path.joinpath(*parts)

    def require(self, *parts: str, stage: str) -> Path:
        """A file an earlier stage writes; a missing one names the stage to run."""
        path = self.file(*parts)
        if not path.exists():
            raise UserError(f"{path} is missing; run `alif {stage} --run {self.path}` first")
        return path

    def ledger(self) -> list[dict[str, Any]]:
        path = self.file("ledger.jsonl")
        return list(read_jsonl(path)) if path.is_file() else []

    def done(self, stage: str) -> bool:
        """Whether the stage has finished in this folder."""
        return any(line["stage"] == stage and line["status"] == "done" for line in self.ledger())

    @contextmanager
    def stage(self, name: str, device: str = "cpu") -> Iterator[dict[str, Any]]:
        """Time a stage and write its ledger line; what the body puts in the yielded dictionary goes into the line."""
        facts: dict[str, Any] = {"tokens_in": 0, "tokens_out": 0, "usd_api": 0.0, "device": device}
        started, status = time.time(), "stopped"
        try:
            yield facts
            status = "done"
        finally:
            line = {"stage": name, "status": status, "seconds": round(time.time() - started, 3), **facts}
            with AppendOnly(self.file("ledger.jsonl")) as ledger:
                ledger.append(line)


def latest_json(path: Path) -> Any:
    """The value of a JSON file another stage wrote."""
    return read_json(path)


def flatten(config: Config) -> dict[str, Any]:
    """Dotted names and plain values: `{"pretrain.max_steps": -1, ...}`."""
    flat: dict[str, Any] = {}
    for name, value in config.to_dict().items():
        flat |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def first_difference(old: Config, new: Config, besides: Collection[str] = ()) -> tuple[str, Any, Any] | None:
    """Name, old and new value of the first field that changes a run's result, or None when they agree."""
    before, after = flatten(old), flatten(new)
    for name, value in before.items():
        if OPERATIONAL.isdisjoint((name, name.partition(".")[0])) and name not in besides and value != after[name]:
            return name, value, after[name]
    return None
