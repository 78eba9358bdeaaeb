"""languages: does a text overlap with an evaluation set? Asked of candidates by synth and of training data by training.

In: names of evaluation sets, each a local .jsonl, .json, .txt or .parquet file, or a Hub data set as `org/name`,
`org/name:config` or `org/name:config:split`. Every text in their rows counts, at any depth. Out: yes or no, by set.

Two texts overlap when they share a run of 13 tokens (Brown et al. 2020, appendix C) or, if one is shorter, are the same
tokens throughout. Texts under five tokens (labels, names, numbers) are left out: they are everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from alif_kit.core import UserError
from alif_kit.core.errors import first_line
from alif_kit.core.records import read_jsonl
from alif_kit.languages.text import comparison_tokens

RUN = 13
SHORTEST = 5


class EvaluationSets:
    """The runs of 13 tokens, and the shorter texts, of some evaluation sets: one 64-bit number each."""

    def __init__(self, sources: Iterable[str] = ()) -> None:
        self._runs: dict[int, str] = {}
        for source in sources:
            for text in texts_of(source):
                self._runs |= dict.fromkeys(_marks(comparison_tokens(text)), source)

    def overlap(self, *texts: str) -> str:
        """The set that one of the texts overlaps with, or the empty string."""
        if not self._runs:
            return ""
        marks = (mark for text in texts for mark in _marks(comparison_tokens(text)))
        return next((self._runs[mark] for mark in marks if mark in self._runs), "")


def _marks(tokens: list[str]) -> list[int]:
    """Runs of 13 tokens, or the whole of a shorter text: `[]` under five tokens."""
    if len(tokens) < SHORTEST:
        return []
    return [hash(tuple(tokens[i : i + RUN])) for i in range(max(1, len(tokens) - RUN + 1))]


def texts_of(source: str) -> Iterator[str]:
    """All texts of a set. Raises UserError for a file of another kind, or a set the Hub does not give."""
    path = Path(source)
    if path.suffix == ".txt":
        yield from _existing(path).read_text("utf-8").splitlines()
    else:
        for row in rows_of(source):
            yield from _strings(row)


def rows_of(source: str) -> Iterable[Any]:
    """The rows of a .jsonl, .json (a list of rows) or .parquet file, or of a Hub data set. Raises UserError as `texts_of` does."""
    path = Path(source)
    if path.suffix == ".jsonl":
        return read_jsonl(_existing(path))
    if path.suffix == ".json":
        value = json.loads(_existing(path).read_text("utf-8"))
        return value if isinstance(value, list) else [value]
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(_existing(path)).to_pylist()
    return _hub_rows(source)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"the evaluation set {path} is not there; expected a .jsonl, .json, .txt or .parquet file, or org/name")
    return path


def _hub_rows(source: str) -> Iterable[Any]:
    name, *rest = source.split(":")
    if name.count("/") != 1 or Path(name).exists():
        raise UserError(
            f"the evaluation set is {source!r}; expected a .jsonl, .json, .txt or .parquet file, or org/name[:config[:split]]"
        )
    from datasets import load_dataset

    config, split = (*rest, "", "")[:2]
    try:
        return load_dataset(name, config or None, split=split or "test", streaming=True)
    except Exception as error:  # the library raises some ten kinds for a set that is absent, gated or offline
        raise UserError(f"the evaluation set {source} cannot be loaded: {first_line(error)}") from None


def _strings(value: Any) -> Iterator[str]:
    """Every text inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)
