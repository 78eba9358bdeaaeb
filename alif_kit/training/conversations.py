"""training: where the conversations of fine-tuning come from, by name, path or Hub id.

In: a key of `mixture.sources`: a name of mixture.toml (`own` is the run's data/train.jsonl, `seeds` the hand-written tasks of its
language pack), a .jsonl, .json or .parquet file, or a Hub data set `org/name[:config[:split]]`. Out: `Row`s of checked messages; a
row that is no conversation comes out as None.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

from alif_kit.core import Config, Run, UserError
from alif_kit.core.errors import first_line
from alif_kit.core.records import read_jsonl, stable_id, to_dict
from alif_kit.languages import pack
from alif_kit.languages.contamination import rows_of
from alif_kit.model.chat_format import Message

TABLE = Path(__file__).with_name("mixture.toml")
FILES = (".jsonl", ".json", ".parquet")
OF_RUN = ("own", "seeds")
"""Sources that a run has without a file or the Hub: their language is that of its pack."""
ALPACA_COLUMNS = {"instruction": "instruction", "input": "input", "output": "output"}


@dataclass(frozen=True)
class Source:
    """One entry of mixture.toml, or what stands for a file or Hub id that is not in it."""

    name: str
    hub: str = ""
    config: str = ""
    split: str = "train"
    path: str = ""
    columns: Mapping[str, str] = field(default_factory=ALPACA_COLUMNS.copy)
    category: str = "instructions"
    language: str = ""
    read: int = 0
    cap: int = 0
    weight: float = 1.0
    licence: str = "not stated"
    url: str = ""
    about: str = ""


@dataclass(frozen=True)
class Row:
    """A conversation; its id comes from its content, so the same text has the same id in every source."""

    messages: tuple[Message, ...]

    @property
    def id(self) -> str:
        return stable_id([m for m in self.messages if m["role"] != "system"])


@lru_cache
def table() -> dict[str, Any]:
    """mixture.toml: `sources` and `mixtures`."""
    return tomllib.loads(TABLE.read_text("utf-8"))


def known() -> dict[str, Source]:
    """The named sources."""
    return {name: Source(name=name, **entry) for name, entry in table()["sources"].items()}


def find(name: str) -> Source:
    """The source a key of `mixture.sources` means. Raises UserError for a key that means none."""
    if source := known().get(name):
        return source
    if Path(name).suffix in FILES:
        return Source(name=name, path=name)
    hub, *rest = name.split(":")
    if hub.count("/") == 1 and all(hub.split("/")) and len(rest) < 3:
        return Source(name=name, hub=hub, **dict(zip(("config", "split"), rest, strict=False)))
    raise UserError(
        f"mixture.sources names {name!r}; expected one of {', '.join(known())}, a .jsonl, .json or .parquet file, or org/name"
    )


def of_run(name: str, config: Config) -> Source:
    """The source as a run has it: `own` and `seeds` in its language, `seeds` under the licence that pack.toml states."""
    source, values = find(name), pack.settings(config.language)
    if name not in OF_RUN:
        return source
    licence = {"licence": values.get("licence", "not stated"), "url": values.get("licence_url", "")}
    return replace(source, language=values["code"], **(licence if name == "seeds" else {}))


def check(run: Run) -> list[str]:
    """Names of the sources whose absence is certain without the network; ask before a long stage that they come after.

    Raises UserError for the first one unless mixture.skip_missing is set.
    """
    missing = []
    for name in run.config.mixture.sources:
        try:
            _check_address(find(name))
        except UserError:
            if not run.config.mixture.skip_missing:
                raise
            missing.append(name)
    return missing


def read(source: Source, run: Run) -> Iterator[Row | None]:
    """The source's rows in its own order. Raises UserError when it is not there or lacks the columns."""
    _check_address(source)
    if source.name == "own":
        rows = read_jsonl(run.require("data", "train.jsonl", stage="generate"))
    elif source.name == "seeds":
        rows = map(to_dict, chain(*pack.seeds(run.config.language).values()))
    else:
        rows = _file_rows(Path(source.path)) if source.path else _hub_rows(source)
    for number, row in enumerate(islice(rows, source.read or None)):
        if number == 0:
            _check_columns(source, row)
        yield conversation_of(row, source.columns)


def _check_address(source: Source) -> None:
    if source.path and not Path(source.path).is_file():
        raise UserError(f"mixture.sources names {source.path}, which is not there; give an existing file or leave it out")
    if not (source.path or source.hub or source.name in OF_RUN):
        raise UserError(
            f"the source {source.name} has no public address ({source.url}); put its rows into a .jsonl file and name that in "
            "mixture.sources, or set mixture.skip_missing"
        )


def _file_rows(path: Path) -> Iterable[Any]:
    if path.suffix != ".json":
        return rows_of(str(path))
    try:
        rows = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); expected a list of rows") from None
    if not isinstance(rows, list):
        raise UserError(f"{path} holds a JSON {type(rows).__name__}; expected a list of rows")
    return rows


def _hub_rows(source: Source) -> Iterator[Any]:
    from datasets import load_dataset

    try:
        yield from load_dataset(source.hub, source.config or None, split=source.split, streaming=source.read > 0)
    except Exception as error:  # the library raises some ten kinds for a set that is absent, gated or offline
        raise UserError(
            f"the source {source.name} cannot be loaded from {source.hub} ({first_line(error)}); check the network and its licence "
            "page, take it out of mixture.sources, or set mixture.skip_missing"
        ) from None


def _check_columns(source: Source, row: Any) -> None:
    if not isinstance(row, dict):
        raise UserError(f"the source {source.name} has a {type(row).__name__} as its first row; expected an object")
    needed = [source.columns.get(name, name) for name in ("instruction", "output")]
    if source.columns.get("messages", "messages") not in row and not set(needed) <= set(row):
        raise UserError(
            f"the source {source.name} has the columns {', '.join(row)}; expected {' and '.join(needed)}, or messages: rename them "
            "in the file, or set its columns in mixture.toml"
        )


def conversation_of(row: Any, columns: Mapping[str, str] = ALPACA_COLUMNS) -> Row | None:
    """Messages of a row, an optional system line, then user and assistant in turn, none empty; None when it is no conversation.

    `{"instruction": "سلام", "input": "", "output": "وعلیکم السلام"}` → a user's message and an answer.
    """
    if not isinstance(row, dict):
        return None
    given = row.get(columns.get("messages", "messages"))
    try:
        messages = _task(row, columns) if given is None else [{"role": m["role"], "content": m["content"].strip()} for m in given]
    except (TypeError, KeyError, AttributeError):
        return None
    roles = [m["role"] for m in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    paired = bool(turns) and turns == ["user", "assistant"] * (len(turns) // 2)
    return Row(tuple(messages)) if paired and all(m["content"] for m in messages) else None


def _task(row: dict[str, Any], columns: Mapping[str, str]) -> list[Message]:
    """A row of columns as messages. Raises AttributeError or TypeError for a value that is no text."""
    value = dict.fromkeys(("system", "instruction", "input", "output"), "")
    value |= {name: str.strip(row.get(column) or "") for name, column in columns.items()}
    system = [{"role": "system", "content": value["system"]}] if value["system"] else []
    asked = {"role": "user", "content": value["instruction"]} | ({"input": value["input"]} if value["input"] else {})
    return [*system, asked, {"role": "assistant", "content": value["output"]}]
