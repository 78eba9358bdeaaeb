"""core: the three record types of the kit and the JSONL files they live in.

In: rows of JSONL, from people, packs and teachers. Out: `Document`, `SeedTask`, `Example`, and files that survive a kill.
Ids come from content, so the same text has the same id in every run and on every machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from alif_kit.core.errors import UserError

CATEGORIES = ("generation", "reasoning", "ethics", "qa", "translation", "classification", "sentiment")


def stable_id(*parts: Any) -> str:
    """16 hex digits of the SHA-256 of the parts' canonical JSON: `stable_id("a", "") == stable_id("a", "")`."""
    canonical = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]


@dataclass(frozen=True)
class Document:
    """A page of running text for continued pretraining or bits per byte."""

    text: str
    title: str = ""
    topic: str = ""
    language: str = ""
    split: str = "train"

    def __post_init__(self) -> None:
        _require_text(self, "text")
        if self.split not in ("train", "held_out"):
            raise UserError(f"split is {self.split!r}; expected train or held_out")

    @property
    def id(self) -> str:
        return stable_id(self.title, self.text)


@dataclass(frozen=True)
class SeedTask:
    """A hand-written task of one of the seven categories, shown to the teacher as an example."""

    category: str
    instruction: str
    output: str
    input: str = ""
    labels: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.category not in CATEGORIES:
            raise UserError(f"category is {self.category!r}; expected one of {', '.join(CATEGORIES)}")
        _require_text(self, "instruction", "output")
        if not isinstance(self.input, str):
            raise UserError(f"input is {type(self.input).__name__}; expected text (empty when there is none)")
        object.__setattr__(self, "labels", tuple(self.labels))

    @property
    def id(self) -> str:
        return stable_id(self.category, self.instruction, self.input, self.output)


@dataclass(frozen=True)
class Provenance:
    """Where an example came from: which request of which teacher, and what that request had shown."""

    teacher: str
    request: int
    item: int
    prompt_hash: str
    seeds_shown: tuple[str, ...] = ()
    machine_shown: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    review: str = "unreviewed"


@dataclass(frozen=True)
class Example(SeedTask):
    """A task the teacher made, with its provenance. In a translation, meta holds `source`, `target`, `asked_in`."""

    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.provenance, dict):
            object.__setattr__(self, "provenance", from_dict(Provenance, self.provenance))


def by_category(tasks: Sequence[Any]) -> dict[str, list[Any]]:
    """The tasks or examples of each of the seven categories, as they come."""
    return {category: [task for task in tasks if task.category == category] for category in CATEGORIES}


def _require_text(record: Any, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{name} is {value!r}; expected text")


Record = TypeVar("Record")


def from_dict(kind: type[Record], row: dict[str, Any]) -> Record:
    """Build a record from a JSON row; an unknown or missing key is named. A stored `id` is accepted and ignored."""
    if not isinstance(row, dict):
        raise UserError(f"the row is {type(row).__name__}; expected a JSON object")
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(row) - known - {"id"})
    if unknown:
        raise UserError(f"unknown key {unknown[0]!r}; {kind.__name__} has {', '.join(sorted(known))}")
    row = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items() if k != "id"}
    try:
        return kind(**row)
    except TypeError as error:
        raise UserError(f"{kind.__name__}: {str(error).split('() ')[-1]}") from None


def to_dict(record: Any) -> dict[str, Any]:
    """The JSON row of a record, its id first."""
    row = asdict(record)
    return {"id": record.id, **row} if hasattr(record, "id") else row


def dumps(row: Any) -> str:
    """A row, or a record, as a line of a file without its end."""
    return json.dumps(row if isinstance(row, dict) else to_dict(row), ensure_ascii=False)


def read_jsonl(path: Path, kind: type[Record] = dict) -> Iterator[Record]:
    """Rows of a JSONL file, as dictionaries or records.

    Raises UserError naming file and line of a bad row. A torn last line (no newline, not JSON) is left out: it is what a
    kill in the middle of an append leaves behind.
    """
    with Path(path).open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            try:
                row = json.loads(raw)
                yield row if kind is dict else from_dict(kind, row)
            except (UnicodeDecodeError, json.JSONDecodeError) as error:
                if not raw.endswith(b"\n"):
                    return
                raise UserError(f"{path}, line {number}: not JSON ({error}); correct or delete that line") from None
            except UserError as error:
                raise UserError(f"{path}, line {number}: {error}") from None


def write_atomic(path: Path, text: str) -> None:
    """Replace a file's content in one step: a reader or a kill sees the old file or the new one, never half."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write rows (records or dictionaries) as JSONL, atomically."""
    write_atomic(path, "".join(dumps(row) + "\n" for row in rows))


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises UserError where it is damaged."""
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}); it was cut off or changed: make or fetch it again") from None


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value, indented, atomically; a file that already says the same is left as it is."""
    text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    if not (path.is_file() and path.read_text("utf-8") == text):
        write_atomic(path, text)


class AppendOnly(AbstractContextManager["AppendOnly"]):
    """A JSONL file that only grows: each row is flushed and fsynced before `append` returns.

    Opening it cuts off a torn last line, so that the next row starts clean. One process at a time, any of its threads.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file, self._turn = self.path.open("ab+"), threading.Lock()
        self._file.seek(0)
        whole = sum(len(line) for line in self._file if line.endswith(b"\n"))
        if whole < self._file.tell():
            self._file.truncate(whole)

    def append(self, row: Any) -> None:
        line = (dumps(row) + "\n").encode("utf-8")
        with self._turn:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def __exit__(self, *exc: object) -> None:
        self.close()
