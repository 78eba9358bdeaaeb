"""languages: the texts of a language pack, seed tasks and sample corpus, checked line by line for check.py.

In: a pack's folder and the values of its pack.toml. Out: findings, one sentence each: file and line, what was found, what was
expected. Spelling is judged by the text policy and the pack's alphabet: an Arabic ي where the language has ی is named.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alif_kit.core import UserError
from alif_kit.core.records import CATEGORIES, Document, SeedTask, from_dict
from alif_kit.languages.text import comparison_tokens, normalize

LEAST_SEEDS = 5  # in each category; a request shows four
LEAST_DOCUMENTS, LEAST_HELD_OUT = 10, 2  # in each of the two languages
LONG_RUN = 8  # words that a held-out document may not have in common with a training one
Rows = list[tuple[str, Any]]


def rows_of(folder: Path, name: str, faults: list[str], kind: type = dict) -> Rows:
    """(place, JSON value or record of `kind`) of each line of a file that is there; a line that is none becomes a fault."""
    path, rows = folder / name, []
    for number, raw in enumerate(path.read_bytes().splitlines() if path.is_file() else [], 1):
        place = f"{name}, line {number}"
        try:
            row = json.loads(raw) if raw.strip() else None
            if row is not None:
                rows.append((place, row if kind is dict else from_dict(kind, row)))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            faults.append(f"{place}: not JSON ({error}); expected one JSON object a line")
        except UserError as error:
            faults.append(f"{place}: {error}")
    return rows


def seeds(folder: Path, values: dict[str, Any]) -> Iterator[str]:
    """Enough seeds of each category, none of them twice, each as `_seed` wants it."""
    seen: dict[tuple[str, str], str] = {}
    for category in CATEGORIES:
        name, faults = f"seeds/{category}.jsonl", []
        tasks = rows_of(folder, name, faults, SeedTask)
        yield from faults
        if (folder / name).is_file() and len(tasks) < LEAST_SEEDS:
            yield f"{name}: {len(tasks)} seeds; expected {LEAST_SEEDS} or more"
        for place, seed in tasks:
            first = seen.setdefault((seed.instruction, seed.input), place)
            if first != place:
                yield f"{place}: the same instruction and input as {first}; expected a task of its own"
            yield from _seed(place, seed, category, values)


def _seed(place: str, seed: SeedTask, category: str, values: dict[str, Any]) -> Iterator[str]:
    if seed.category != category:
        yield f"{place}: category is {seed.category!r}; expected {category!r}, as the file is named"
    texts = {"instruction": seed.instruction, "input": seed.input, "output": seed.output, "labels": "\n".join(seed.labels)}
    for name, text in texts.items():
        yield from (f"{place}: {name} {fault}" for fault in spelling(text, values["alphabet"]))
    if seed.labels and seed.output not in seed.labels:
        yield f"{place}: output {seed.output!r} is none of its labels; expected one of {', '.join(seed.labels)}"
    languages = {seed.meta.get("source"), seed.meta.get("target")}
    if category == "translation" and (languages != {values["code"], "en"} or seed.meta.get("asked_in") not in languages):
        yield f"{place}: meta is {seed.meta}; expected source, target and asked_in, each {values['code']} or en"


def corpus(folder: Path, values: dict[str, Any]) -> Iterator[str]:
    """Enough documents in the pack's language and in English, some held out, and held-out text apart from the rest."""
    for language in (values["code"], "en"):
        name, faults = f"corpus/{language}.jsonl", []
        documents = rows_of(folder, name, faults, Document)
        yield from faults
        if (folder / name).is_file():
            yield from _enough(name, [d for _, d in documents])
        yield from _apart(documents)
        for place, document in documents:
            if document.language != language:
                yield f"{place}: language is {document.language!r}; expected {language!r}"
            if language != "en":
                yield from (f"{place}: the text {fault}" for fault in spelling(document.text, values["alphabet"]))


def _enough(name: str, documents: list[Document]) -> Iterator[str]:
    held_out = sum(d.split == "held_out" for d in documents)
    if len(documents) < LEAST_DOCUMENTS:
        yield f"{name}: {len(documents)} documents; expected {LEAST_DOCUMENTS} or more"
    if held_out < LEAST_HELD_OUT:
        yield f"{name}: {held_out} documents have the split held_out; expected {LEAST_HELD_OUT} or more"
    if held_out * 2 > len(documents):
        yield f"{name}: {held_out} of {len(documents)} documents are held out; expected most of them to train"


def _apart(documents: Rows) -> Iterator[str]:
    """No document twice, and no long run of words of a held-out one in a training one."""
    texts: dict[tuple[str, ...], str] = {}
    trained: dict[tuple[str, ...], str] = {}
    for place, document in sorted(documents, key=lambda pair: pair[1].split, reverse=True):  # train comes first
        words = tuple(comparison_tokens(document.text))
        runs = {words[i : i + LONG_RUN] for i in range(len(words) - LONG_RUN + 1)}
        if first := texts.get(words):
            yield f"{place}: the same text as {first}; expected each document once"
        elif document.split == "train":
            trained |= dict.fromkeys(runs, place)
        elif shared := next((trained[run] for run in runs if run in trained), ""):
            yield f"{place}: {LONG_RUN} words in a row stand in {shared} too; expected held-out text that training has not seen"
        texts.setdefault(words, place)


def spelling(text: str, alphabet: str) -> Iterator[str]:
    """What the text policy would change, else letters that are neither the language's nor Latin; nothing when all is well."""
    if normalize(text) != text:
        letter = next((char for char in text if not char.isspace() and normalize(char) != char), "")
        wanted = named(normalize(letter)) or "nothing"
        yield f"has {named(letter)}, which text.normalize writes {wanted}" if letter else "has spaces that text.normalize changes"
        return
    # A word with two vowel marks is a quotation from Arabic, which the policy leaves as it is.
    words = (word for word in text.split() if sum(map(bool, map(unicodedata.combining, word))) < 2)
    foreign = {char for word in words for char in word if char.isalpha() and char not in alphabet}
    if strange := sorted(char for char in foreign if not unicodedata.name(char, "").startswith("LATIN")):
        yield f"has {', '.join(map(named, strange))}; expected letters of the pack's alphabet"


def named(text: str) -> str:
    """Each character with its code point: `"ي" -> "ي (U+064A)"`."""
    return " ".join(f"{char} (U+{ord(char):04X})" for char in text)
