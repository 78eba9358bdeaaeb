"""corpus: running text as rows of tokens for continued pretraining.

In: the documents of the language and of English (replay) that prepare.py wrote. Out: rows of at most `base.max_seq_length` token
ids, as a data set mapped from disk, so memory does not grow with the corpus. Documents follow one another, each ended by EOS, and
are cut where a row is full, so no token is lost; each row opens with BOS where the tokenizer has one.

    documents "ab", "c" and length 4, one letter a token:   [BOS a b EOS] [BOS c EOS]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from alif_kit.core.progress import bar
from alif_kit.core.records import Document, read_jsonl, write_json
from alif_kit.core.run import Run, latest_json
from alif_kit.corpus.prepare import prepare
from alif_kit.languages.held_out import held_out

BATCH_CHARACTERS = 200_000
BATCH_ROWS = 512


def page_text(document: Document) -> str:
    """Title, blank line, text."""
    return f"{document.title}\n\n{document.text}" if document.title else document.text


def blocks(documents: Iterable[Document], tokenizer: Any, length: int) -> Iterator[list[int]]:
    """Rows of token ids; all tokens of all documents are in them, in order."""
    head = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    step, rest = length - len(head), []
    for texts in _batches(documents):
        for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]:
            rest += [*ids, tokenizer.eos_token_id]
        whole = len(rest) - len(rest) % step
        yield from (head + rest[start : start + step] for start in range(0, whole, step))
        del rest[:whole]
    if rest:
        yield head + rest


def _batches(documents: Iterable[Document]) -> Iterator[list[str]]:
    """Texts in lists of about 200,000 characters: enough for a fast tokenizer, little in memory."""
    texts, size = [], 0
    for document in documents:
        texts.append(page_text(document))
        size += len(texts[-1])
        if size >= BATCH_CHARACTERS:
            yield texts
            texts, size = [], 0
    if texts:
        yield texts


def interleave(rows: Iterable[list[int]], replay: Iterable[list[int]], share: float) -> Iterator[list[int]]:
    """Spread replay rows evenly so that they are `share` of all; where replay ends early, the rows go on without it.

    `share=0.25` -> `r r E r r r E r r r E`: after each row, as many replay rows as make the count nearest to the share.
    """
    replay, placed = iter(replay), 0
    for number, row in enumerate(rows, 1):
        yield row
        for found in islice(replay, max(0, wanted_replay(number, share) - placed)):
            placed += 1
            yield found


def wanted_replay(rows: int, share: float) -> int:
    """Replay rows that make `share` of the whole beside so many rows: `wanted_replay(90, 0.1) == 10`."""
    return int(rows * share / (1 - share) + 0.5)


class Counted(Iterator[list[int]]):
    """Rows passed through and counted."""

    def __init__(self, rows: Iterable[list[int]]) -> None:
        self._rows = iter(rows)
        self.rows = self.tokens = 0

    def __next__(self) -> list[int]:
        row = next(self._rows)
        self.rows, self.tokens = self.rows + 1, self.tokens + len(row)
        return row


def pretraining_rows(run: Run, tokenizer: Any) -> tuple[Any, dict[str, int]]:
    """The rows of the stage, and the counts of what went in.

    The rows are a `datasets.Dataset` with the column `input_ids`, the same in the same order for the same run. In the counts,
    `replay_rows_missing` says how many more English rows the share asked for than the replay source held.
    """
    funnel = prepare(run)
    share, length = run.config.corpus.replay_share, run.config.base.max_seq_length

    def mixed(write: Callable[[Iterable[list[int]]], None]) -> dict[str, int]:
        with bar("tokenise", funnel["train"]["documents_train"]) as update:
            rows = Counted(blocks(_read(run, "train", update), tokenizer, length))
            replay = Counted(blocks(_read(run, "replay"), tokenizer, length))
            write(interleave(rows, replay, share))
        counts = {"rows": rows.rows + replay.rows, "replay_rows": replay.rows}
        counts["replay_rows_missing"] = wanted_replay(rows.rows, share) - replay.rows
        return counts | {"tokens": rows.tokens + replay.tokens}

    return _mapped(run, "train", tokenizer, mixed)


def held_out_rows(run: Run, tokenizer: Any, language: str = "") -> Any:
    """Rows of the held-out documents in the run's language, or in another, for the loss during training: a `datasets.Dataset`."""
    prepare(run)
    language = language or run.config.language

    def rows(write: Callable[[Iterable[list[int]]], None]) -> dict[str, int]:
        counted = Counted(blocks(held_out(run, language), tokenizer, run.config.base.max_seq_length))
        write(counted)
        return {"rows": counted.rows, "tokens": counted.tokens}

    return _mapped(run, f"held_out_{language}", tokenizer, rows)[0]


def training_texts(run: Run) -> Iterator[str]:
    """The texts that pretraining reads in the run's language, one at a time: to see which tokens the language uses."""
    prepare(run)
    return map(page_text, _read(run, "train"))


def _read(run: Run, name: str, update: Callable[..., None] | None = None) -> Iterator[Document]:
    number = 0
    for number, document in enumerate(read_jsonl(run.file("pretrain", "corpus", f"{name}.jsonl"), Document), 1):
        if update and number % 100 == 0:
            update(number)
        yield document
    if update:
        update(number)


def _mapped(run: Run, name: str, tokenizer: Any, make: Callable[..., dict[str, int]]) -> tuple[Any, dict[str, int]]:
    """A data set on disk under pretrain/rows, made when it is not there or was made with another tokenizer or length."""
    from datasets import Dataset

    path = run.file("pretrain", "rows", f"{name}.arrow")
    facts, mark = path.with_suffix(".json"), _mark(run, tokenizer)
    if not (facts.is_file() and path.is_file() and latest_json(facts)["made_with"] == mark):
        path.parent.mkdir(parents=True, exist_ok=True)
        facts.unlink(missing_ok=True)
        counts = make(lambda rows: _write(path, rows))
        write_json(facts, {"made_with": mark, "counts": counts})
    return Dataset.from_file(str(path)), latest_json(facts)["counts"]


def _mark(run: Run, tokenizer: Any) -> list[Any]:
    """What the rows depend on besides the run's corpus, which does not change."""
    probe = tokenizer(["دریا کے کنارے 1947 میں، by the river."], add_special_tokens=False, verbose=False)["input_ids"][0]
    return [run.config.base.max_seq_length, tokenizer.bos_token_id, tokenizer.eos_token_id, probe]


def _write(path: Path, rows: Iterable[list[int]]) -> None:
    """Rows as an Arrow stream of one column, some hundred at a time."""
    import pyarrow as pa

    partial = path.with_suffix(".partial")
    rows, column = iter(rows), pa.list_(pa.int32())
    schema = pa.schema({"input_ids": column})
    with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        while batch := list(islice(rows, BATCH_ROWS)):
            writer.write_batch(pa.record_batch([pa.array(batch, column)], schema))
    partial.replace(path)
