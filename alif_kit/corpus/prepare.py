"""corpus: from sources to the run's own corpus, once, in memory that does not grow with the text.

In: `corpus.source` and `corpus.replay`. Out, in the run folder:

    pretrain/corpus/train.jsonl, replay.jsonl               what pretraining reads, in the language and in English
    pretrain/corpus/held_out_<language>.jsonl, held_out_en.jsonl    what no training sees
    pretrain/corpus_funnel.json                             what was read, dropped for which reason, kept
    pretrain/corpus_samples.jsonl                           the first documents that were changed or dropped, before and after

Each source is read once. The first pass repairs, drops what one look at a document tells, drops exact copies, and writes the rest
to a draft beside a number for its content (64 bits of BLAKE2b) and a MinHash signature. Held-out documents are those with the
smallest numbers, at most `corpus.held_out_documents` and a tenth of all; so the choice depends on which documents there are, never
on their order, and a document that is near one already chosen is passed over. The second pass copies the draft: first a document
near a held-out one goes, whichever came first, then one near an earlier training document. The pack keeps the split it has.

A preparation is renamed when it is whole: one that was cut off is done again, a finished one is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from alif_kit.core import Run, UserError
from alif_kit.core.progress import Update, bar
from alif_kit.core.records import Document, dumps, from_dict, write_json, write_jsonl
from alif_kit.core.run import latest_json
from alif_kit.corpus import clean
from alif_kit.corpus.duplicates import NearDuplicates, Signatures, words
from alif_kit.corpus.sources import documents
from alif_kit.languages.held_out import held_out_path

REASONS = (*clean.REASONS, "duplicate", "near_duplicate_of_held_out", "near_duplicate")
SAMPLES, SAMPLES_PER_REASON, SAMPLE_CHARACTERS = 20, 3, 2000
HOPELESS = 2000  # documents read without one kept
REPLAY_WORDS = 2.5  # English words read for one that its share alone would give: Urdu has up to 3.05 tokens a word, English 1.3


@dataclass
class Side:
    """One language of the corpus while it is prepared."""

    source: str
    language: str
    min_words: int
    threshold: float
    most: int = 0
    enough: tuple[float, int] | None = None
    """Words and documents after which no more is read; None, like `most` 0, reads to the end."""
    ended: str = "end of the source"
    read: int = 0
    repaired: int = 0
    words_read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, Any]] = field(default_factory=list)
    contents: array[int] = field(default_factory=lambda: array("Q"))
    words: array[int] = field(default_factory=lambda: array("L"))
    signatures: Signatures = field(default_factory=Signatures)
    held_out: set[int] = field(default_factory=set)
    words_left: int = 0
    words_train: int = 0

    def funnel(self) -> dict[str, Any]:
        """The counts as they stand in corpus_funnel.json; read = train + held out + dropped."""
        held_out, words_held_out = len(self.held_out), sum(self.words[i] for i in self.held_out)
        return {
            "source": self.source,
            "language": self.language,
            "ended": self.ended,
            "documents_read": self.read,
            "repaired": self.repaired,
            "dropped": {reason: self.dropped[reason] for reason in REASONS},
            "documents_train": self.read - self.dropped.total() - held_out,
            "documents_held_out": held_out,
            "words_read": self.words_read,
            "words_train": self.words_train,
            "words_held_out": words_held_out,
            "retention": f"{100 * (self.words_train + words_held_out) / max(1, self.words_read):.1f} %",
        }

    def drop(self, reason: str, document: Document) -> None:
        self.dropped[reason] += 1
        self.sample(reason, document, document)

    def sample(self, reason: str, before: Document, after: Document) -> None:
        """Keep what a person may want to read: the first documents changed, the first dropped for each reason."""
        if sum(s["reason"] == reason for s in self.samples) < (SAMPLES_PER_REASON if reason else SAMPLES):
            start = 0 if reason else max(0, len(os.path.commonprefix([before.text, after.text])) - 200)
            shown, left = (text[start : start + SAMPLE_CHARACTERS] for text in (before.text, "" if reason else after.text))
            row = {"language": self.language, "reason": reason, "title": before.title, "before": shown, "after": left}
            self.samples.append(row)


def prepare(run: Run) -> dict[str, Any]:
    """Write the corpus of the run unless it is there. Returns the funnel: `{"train": {...}, "replay": {...}}`, see `Side.funnel`.

    Raises UserError for a source that cannot be read or of which nothing is left.
    """
    folder, funnel = run.file("pretrain", "corpus"), run.file("pretrain", "corpus_funnel.json")
    if funnel.is_file() and folder.is_dir():
        return latest_json(funnel)
    partial = run.file("pretrain", "corpus.partial")
    for leftover in (folder, partial):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    settings = run.config.corpus
    limits = settings.min_words, settings.duplicate_threshold
    train = Side(settings.source, run.config.language, *limits, most=settings.max_documents)
    _fill(run, train, partial / "train.jsonl")
    replay = Side(settings.replay, "en", *limits, enough=_enough(run, train))
    _fill(run, replay, partial / "replay.jsonl")
    partial.rename(folder)
    write_jsonl(run.file("pretrain", "corpus_samples.jsonl"), [*train.samples, *replay.samples])
    found = {"train": train.funnel(), "replay": replay.funnel()}
    write_json(funnel, found)
    return found


def _enough(run: Run, train: Side) -> tuple[float, int] | None:
    """How much English is read: what the share of blocks can use, and ten times the held-out documents; all of the pack."""
    settings = run.config.corpus
    if settings.replay == "pack":
        return None
    share = settings.replay_share / (1 - settings.replay_share)
    return train.words_train * share * REPLAY_WORDS, 10 * settings.held_out_documents


def _fill(run: Run, side: Side, path: Path) -> None:
    """Both passes of one side: `path` and the held-out file beside it."""
    draft = path.with_suffix(".draft")
    with bar(f"corpus {side.language}", side.most or None) as update:
        with _lines(draft) as file:
            _first_pass(run, side, file, update)
        _choose(side, run.config.corpus.held_out_documents)
        with draft.open("rb") as rows, _lines(path) as kept, _lines(path.parent / held_out_path(run, side.language).name) as held:
            _second_pass(side, rows, kept, held)
    draft.unlink()


@contextmanager
def _lines(path: Path) -> Iterator[BinaryIO]:
    """A file to write, on disk when the block is left."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _first_pass(run: Run, side: Side, draft: BinaryIO, update: Update) -> None:
    seen: set[int] = set()
    with closing(documents(side.source, side.language, run.config)) as stream:
        for document in islice(stream, side.most or None):
            _judge(side, document, draft, seen)
            update(side.read, f"{len(side.words):,} kept", side.most or None)
            if side.read == HOPELESS and not side.words:
                break
            if side.enough and side.words_left >= side.enough[0] and len(side.words) >= side.enough[1]:
                side.ended = "enough for the share of replay"
                break
        else:
            side.ended = "corpus.max_documents" if side.read == side.most else side.ended
    update(side.read, f"{len(side.words):,} kept", side.read)
    if len(side.words) < 2:
        reasons = ", ".join(f"{reason} {count}" for reason, count in side.dropped.most_common(3)) or "none dropped"
        raise UserError(
            f"of {side.read} {side.language} documents of {side.source} {len(side.words)} were left ({reasons}); expected 2 or "
            "more: set corpus.source, corpus.replay, corpus.text_field or corpus.min_words"
        )


def _judge(side: Side, document: Document, draft: BinaryIO, seen: set[int]) -> None:
    """Repair one document, then drop it or add it to the draft."""
    side.read += 1
    side.words_read += len(words(document.text))
    repaired = clean.repair(document)
    reason = clean.first_reason(repaired, side.min_words) if repaired else "too_short"
    repaired = repaired or document
    side.repaired += repaired is not document
    content = _content(repaired.text)
    if reason or content in seen:
        side.drop(reason or "duplicate", document)
        return
    if document.text != repaired.text:
        side.sample("", document, repaired)
    seen.add(content)
    if repaired.split == "held_out":
        side.held_out.add(len(side.contents))
    side.contents.append(content)
    side.words.append(len(words(repaired.text)))
    side.words_left += side.words[-1]
    side.signatures.add(repaired.text)
    draft.write(_line(repaired))


def _line(row: dict[str, Any] | Document) -> bytes:
    return (dumps(row) + "\n").encode("utf-8")


def _content(text: str) -> int:
    """64 bits of the text, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")


def _choose(side: Side, most: int) -> None:
    """The held-out documents, by content and not by order: smallest numbers first, none near another. The pack has its own."""
    if side.source == "pack":
        return
    chosen = NearDuplicates(side.signatures, side.threshold)
    for number in sorted(range(len(side.contents)), key=side.contents.__getitem__):
        if len(side.held_out) == min(most, max(1, len(side.contents) // 10)):
            break
        if chosen.find(number) is None:
            chosen.add(number)
            side.held_out.add(number)


def _second_pass(side: Side, rows: BinaryIO, kept: BinaryIO, held: BinaryIO) -> None:
    near_held_out, near = (NearDuplicates(side.signatures, side.threshold) for _ in range(2))
    for number in sorted(side.held_out):
        near_held_out.add(number)
    for number, line in enumerate(rows):
        if number in side.held_out:
            held.write(_line({**json.loads(line), "split": "held_out"}))
        elif near_held_out.find(number) is not None:
            side.drop("near_duplicate_of_held_out", from_dict(Document, json.loads(line)))
        elif near.find(number) is not None:
            side.drop("near_duplicate", from_dict(Document, json.loads(line)))
        else:
            near.add(number)
            side.words_train += side.words[number]
            kept.write(line)
