"""corpus: running text as rows of tokens for continued pretraining.

In: the documents of the language and of English (replay) that prepare.py wrote. Out: rows of at most `base.max_seq_length` token
ids, as a data set mapped from disk, so memory does not grow with the corpus. Documents follow one another, each closed by
the token that ends a document, and are cut where a row is full, so no token is lost; each row opens with BOS where there is one.

    documents "ab", "c" and length 4, one letter a token:   [BOS a b END] [BOS c END]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from alif_kit.core import Run
from alif_kit.core.progress import bar
from alif_kit.core.records import Document, read_jsonl, write_json
from alif_kit.core.run import latest_json
from alif_kit.corpus.prepare import prepare
from alif_kit.languages.held_out import held_out

BATCH_CHARACTERS = 200_000
BATCH_ROWS = 512
DOCUMENT_ENDS = ("<eos>", "<|endoftext|>", "<|end_of_text|>")
"""What stood after a document when Gemma, Qwen and Llama 3 were pretrained."""


def page_text(document: Document) -> str:
    """Title, blank line, text."""
    return f"{document.title}\n\n{document.text}" if document.title else document.text


def document_end(tokenizer: Any) -> int:
    """Id of the token that ends a document: the family's own where it is known, else EOS.

    The EOS of an Instruct base closes a turn of a conversation (`<end_of_turn>`, `<|im_end|>`), and a document is none.
    """
    ids = {str(token): number for number, token in getattr(tokenizer, "added_tokens_decoder", {}).items()}
    return next((ids[text] for text in DOCUMENT_ENDS if text in ids), tokenizer.eos_token_id)


def blocks(documents: Iterable[Document], tokenizer: Any, length: int) -> Iterator[list[int]]:
    """Rows of token ids; all tokens of all documents are in them, in order."""
    head = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    step, rest, end = length - len(head), [], document_end(tokenizer)
    for texts in _batches(documents):
        for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]:
            rest += [*ids, end]
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
    replay = iter(replay)
    for number, row in enumerate(rows, 1):
        yield row
        yield from islice(replay, wanted_replay(number, share) - wanted_replay(number - 1, share))


def wanted_replay(rows: int, share: float) -> int:
    """Replay rows that make `share` of the whole beside so many rows: `wanted_replay(90, 0.1) == 10`."""
    return int(rows * share / (1 - share) + 0.5)


def pretraining_rows(run: Run, tokenizer: Any) -> tuple[Any, dict[str, int]]:
    """The rows of the stage, and the counts of what went in.

    The rows are a `datasets.Dataset` with the column `input_ids`, the same in the same order for the same run. In the counts,
    `replay_rows_missing` says how many more English rows the share asked for than the replay source held.
    """
    documents = prepare(run)["train"]["documents_train"]
    share, length = run.config.corpus.replay_share, run.config.base.max_seq_length
    counts = dict.fromkeys(("rows", "replay_rows", "replay_rows_missing", "tokens"), 0)

    def mixed() -> Iterator[list[int]]:
        with bar("tokenise", documents) as update:
            rows = _counted(blocks(_read(run, "train", update), tokenizer, length), counts, "rows")
            yield from interleave(rows, _counted(blocks(_read(run, "replay"), tokenizer, length), counts, "replay_rows"), share)
        counts["replay_rows_missing"] = wanted_replay(counts["rows"], share) - counts["replay_rows"]
        counts["rows"] += counts["replay_rows"]

    return _mapped(run, "train", tokenizer, mixed(), counts)


def held_out_rows(run: Run, tokenizer: Any, language: str = "") -> Any:
    """Rows of the held-out documents in the run's language, or in another, for the loss during training: a `datasets.Dataset`."""
    prepare(run)
    language, counts = language or run.config.language, {"rows": 0, "tokens": 0}
    rows = _counted(blocks(held_out(run, language), tokenizer, run.config.base.max_seq_length), counts, "rows")
    return _mapped(run, f"held_out_{language}", tokenizer, rows, counts)[0]


def _counted(rows: Iterable[list[int]], counts: dict[str, int], name: str) -> Iterator[list[int]]:
    """The rows, counted under `name` and by their tokens as they pass."""
    for row in rows:
        counts[name] += 1
        counts["tokens"] += len(row)
        yield row


def training_texts(run: Run) -> Iterator[str]:
    """The texts that pretraining reads in the run's language, one at a time: to see which tokens the language uses."""
    prepare(run)
    return map(page_text, _read(run, "train"))


def _read(run: Run, name: str, update: Callable[[int], None] = lambda number: None) -> Iterator[Document]:
    for number, document in enumerate(read_jsonl(run.file("pretrain", "corpus", f"{name}.jsonl"), Document), 1):
        update(number)
        yield document


def _mapped(run: Run, name: str, tokenizer: Any, rows: Iterator[list[int]], counts: dict[str, int]) -> tuple[Any, dict[str, int]]:
    """A data set on disk under pretrain/rows and its counts, made when it is not there or is of another tokenizer or length."""
    from datasets import Dataset

    path = run.file("pretrain", "rows", f"{name}.arrow")
    facts, mark = path.with_suffix(".json"), _mark(run, tokenizer)
    if not (facts.is_file() and path.is_file() and latest_json(facts)["made_with"] == mark):
        path.parent.mkdir(parents=True, exist_ok=True)
        facts.unlink(missing_ok=True)
        _write(path, rows)
        write_json(facts, {"made_with": mark, "counts": counts})
    return Dataset.from_file(str(path)), latest_json(facts)["counts"]


def _mark(run: Run, tokenizer: Any) -> list[Any]:
    """What the rows depend on besides the run's corpus, which does not change."""
    probe = tokenizer(["دریا کے کنارے 1947 میں، by the river."], add_special_tokens=False, verbose=False)["input_ids"][0]
    return [run.config.base.max_seq_length, tokenizer.bos_token_id, document_end(tokenizer), probe]


def _write(path: Path, rows: Iterator[list[int]]) -> None:
    """Rows as an Arrow stream of one column, some hundred at a time."""
    import pyarrow as pa

    partial = path.with_suffix(".partial")
    column = pa.list_(pa.int32())
    schema = pa.schema({"input_ids": column})
    with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        while batch := list(islice(rows, BATCH_ROWS)):
            writer.write_batch(pa.record_batch([pa.array(batch, column)], schema))
    partial.replace(path)
