"""corpus: where running text comes from, one document at a time, whatever its size.

In: a source as in `corpus.source` or `corpus.replay`:

    pack                       the sample of the language pack, with its own held-out split
    wikipedia                  wikimedia/wikipedia, configuration 20231101.<language>
    org/name[:config[:split]]  a data set of the Hugging Face Hub; the split is `train` unless named
    FILE.jsonl, FILE.parquet   one document a row: the text in the column `corpus.text_field`, a `title` beside it if there is one
    FILE.txt                   UTF-8; a blank line ends a document, so paragraphs of one document stand on successive lines

Out: an iterator of `Document`. Files and Hub sets are streamed: a batch of rows is in memory, never the set. Rows whose text is
null or blank hold no word and are passed over.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from alif_kit.core import Config, UserError
from alif_kit.core.errors import first_line
from alif_kit.core.records import Document, read_jsonl
from alif_kit.languages import pack

WIKIPEDIA = "wikimedia/wikipedia:20231101.{language}"
FORMS = "pack, wikipedia, a Hub data set org/name[:config[:split]], or a .txt, .jsonl or .parquet file"
PARQUET_ROWS = 256


def documents(source: str, language: str, config: Config) -> Iterator[Document]:
    """The documents of a source in its own order, each marked with `language`; close the iterator when stopping early.

    Raises UserError for a source of no known form, a missing file or column, and a Hub set that is absent, gated or offline.
    """
    if source == "pack":
        yield from pack.corpus(config.language, language)
        return
    field = "text" if source == "wikipedia" else config.corpus.text_field
    for row in _rows(source, language):
        if document := _document(row, field, source, language):
            yield document


def _rows(source: str, language: str) -> Iterator[dict[str, Any]]:
    path = Path(source)
    readers = {".txt": _text_rows, ".jsonl": read_jsonl, ".parquet": _parquet_rows}
    if path.suffix in readers:
        if not path.is_file():
            raise UserError(f"the corpus file {path} is not there; expected {FORMS}")
        return readers[path.suffix](path)
    name, *rest = (WIKIPEDIA.format(language=language) if source == "wikipedia" else source).split(":")
    if name.count("/") != 1 or not all(name.split("/")) or len(rest) > 2:
        raise UserError(f"the corpus source is {source!r}; expected {FORMS}")
    config, split = (*rest, "", "")[:2]
    return _hub_rows(name, config or None, split or "train")


def _document(row: Any, field: str, source: str, language: str) -> Document | None:
    """The row as a document; None for a blank one: `{"text": " "} -> None`."""
    if not isinstance(row, dict) or field not in row:
        found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        column = "text" if source.endswith(".txt") else field
        raise UserError(f"{source} has no column {column!r} but {found}; set corpus.text_field to the one that holds the text")
    text, title = "" if row[field] is None else row[field], row.get("title")
    if not isinstance(text, str):
        kind = type(text).__name__
        raise UserError(f"column {field!r} of {source} holds {kind}; set corpus.text_field to the one that holds text")
    return Document(text, title=title if isinstance(title, str) else "", language=language) if text.strip() else None


def _text_rows(path: Path) -> Iterator[dict[str, str]]:
    """Blocks between blank lines: `"a\\nb\\n\\nc" -> {"text": "a\\nb"}, {"text": "c"}`."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for blank, lines in groupby(file, key=lambda line: not line.strip()):
                if not blank:
                    yield {"text": "".join(lines).rstrip("\n")}
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason}); save it as UTF-8") from None


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(PARQUET_ROWS):
                yield from batch.to_pylist()
    except ArrowInvalid as error:
        raise UserError(f"{path} is not a Parquet file ({first_line(error)}); expected {FORMS}") from None


def _hub_rows(name: str, config: str | None, split: str) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset

    rows: Iterable[dict[str, Any]] = ()
    try:
        rows = iter(load_dataset(name, config, split=split, streaming=True))
        yield from rows
    except Exception as error:  # the library raises some ten kinds for a set that is absent, gated or offline
        raise UserError(_reason(name, config, split, error)) from None
    finally:
        # Arrow's reader threads must end before the interpreter does, or it hangs or aborts at exit (datasets issue 7467).
        del rows
        gc.collect()


def _reason(name: str, config: str | None, split: str, error: Exception) -> str:
    """One sentence on why a Hub set cannot be read, and what to do."""
    said = first_line(error).rstrip(".")
    whole = ":".join((name, config or "", split))
    if "gated" in said.lower() or "gated" in type(error).__name__.lower():
        advice = f"accept its terms at https://huggingface.co/datasets/{name} and set HF_TOKEN"
    elif isinstance(error, ValueError):
        advice = "name another configuration or split in corpus.source or corpus.replay"
    else:
        advice = "check the name and the network, or set corpus.source or corpus.replay to pack or a local file"
    return f"the corpus {whole} cannot be read: {said}; {advice}"
