"""languages: what a language pack must hold before the kit can use it, checked without running any stage.

In: a pack's folder. Out: findings, one sentence each: the file, what was found, what was expected. An empty list is a complete
pack as far as files and texts go; whether prompts, teacher and filters play together is rehearsed in synth/demo.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from alif_kit.core import UserError
from alif_kit.core.records import CATEGORIES
from alif_kit.languages import pack
from alif_kit.languages.check_texts import Rows, corpus, named, rows_of, seeds
from alif_kit.languages.text import normalize

LEAST = {"topics": 50, "registers": 8, "regions": 10}
TEXTS = ("name", "native_name", "code", "direction", "sentence_end", "reasoning_marker", "answer_marker", "alphabet")
FILTERS = ("sentiment_labels", "machine_marks", "refusals", "media_requests")
SPEECH = ("description", "category_line", "count_line", "tags", "empty", "separator", "refusals", "foreign")
# Sets that need a second file to be asked or read. Urdu's multiple choice is framed in evaluation/tasks/utils.py.
TOGETHER = {
    "evaluation/word_problems.jsonl": "prompts/evaluate_number.txt",
    "evaluation/yes_no.jsonl": "prompts/evaluate_yes_no.txt",
    "evaluation/knowledge.json": "prompts/evaluate_choice.txt",
    "evaluation/behaviour.jsonl": "evaluation/refusal_marks.toml",
    "evaluation/rubrics.toml": "prompts/judge_score.txt",
}
KEYS = {
    "word_problems": ("id", "question", "answer"),
    "yes_no": ("id", "question", "answer"),
    "behaviour": ("id", "kind", "language", "prompt"),
    "knowledge": ("id", "question", "options", "correct_key"),
}


def needed(code: str) -> list[str]:
    """The files that every pack has, by their path in its folder."""
    each = (
        f"{folder}/{c}.{end}" for folder, end in (("prompts", "txt"), ("seeds", "jsonl"), ("lexicon", "json")) for c in CATEGORIES
    )
    shared = ("pack.toml", "topics.toml", "prompts/system.txt", "lexicon/words.json", "lexicon/speech.json")
    return [*shared, *each, f"corpus/{code}.jsonl", "corpus/en.jsonl"]


def check(folder: Path) -> list[str]:
    """Everything that is missing or wrong in a pack. Raises UserError when the folder holds no pack.toml that can be read."""
    folder = Path(folder)
    path = folder / "pack.toml"
    if not path.is_file():
        raise UserError(f"{folder} holds no pack.toml; expected the folder of a language pack, as alif_kit/languages/ur")
    values = _parsed(path)
    if isinstance(values, str):
        raise UserError(f"{path}: {values}; correct it before anything else is checked")
    faults = list(_settings(values, folder.name))
    if not all(isinstance(values.get(name), str) for name in ("code", "alphabet")):
        return faults
    missing = [name for name in needed(values["code"]) if not (folder / name).is_file()]
    faults += [f"{name}: the file is missing; expected it in every pack" for name in missing]
    texts = (seeds(folder, values), corpus(folder, values))
    return [*faults, *chain(_topics(folder), _prompts(folder), *texts, _lexicon(folder), _evaluation(folder, values))]


def _parsed(path: Path) -> Any:
    """The values of a file, or what is wrong with it, as text."""
    kind, parse = ("TOML", tomllib.loads) if path.suffix == ".toml" else ("JSON", json.loads)
    try:
        return parse(path.read_text("utf-8"))
    except ValueError as error:
        return f"not {kind} ({error})"


def _settings(values: dict[str, Any], name: str) -> Iterator[str]:
    """pack.toml: the keys that code reads, the seven categories, an alphabet that the text policy leaves as it is."""
    for key in TEXTS:
        if not isinstance(values.get(key), str) or not values[key]:
            yield f"pack.toml: {key} is {values.get(key)!r}; expected text"
    if values.get("code") != name:
        yield f"pack.toml: code is {values.get('code')!r}, but the folder is named {name!r}; expected the same"
    if values.get("direction") not in ("rtl", "ltr"):
        yield f"pack.toml: direction is {values.get('direction')!r}; expected rtl or ltr"
    if wrong := sorted(set(CATEGORIES) ^ set(values.get("categories", {}))):
        yield f"pack.toml: [categories] has {wrong[0]!r} wrong or not at all; expected exactly {', '.join(CATEGORIES)}"
    for key in FILTERS:
        if not values.get("filters", {}).get(key):
            yield f"pack.toml: [filters] {key} is empty or missing; expected a list of phrases"
    for letter in values.get("alphabet") or "":
        if (spelt := normalize(letter)) != letter:
            yield f"pack.toml: alphabet has {named(letter)}, which text.normalize writes {named(spelt)}; teach text.py first"


def _topics(folder: Path) -> Iterator[str]:
    path = folder / "topics.toml"
    if not path.is_file():
        return
    lists = _parsed(path)
    if isinstance(lists, str):
        yield f"topics.toml: {lists}; expected three lists"
        return
    for name, least in LEAST.items():
        entries = lists.get(name, [])
        if len(entries) < least:
            yield f"topics.toml: {name} has {len(entries)} entries; expected {least} or more"
        for entry in sorted({e for e in entries if entries.count(e) > 1}):
            yield f"topics.toml: {name} has {entry!r} twice; expected it once"


def _prompts(folder: Path) -> Iterator[str]:
    """Each template renders with what the kit gives it, and shows all of it."""
    frame = {"count": 7391, "examples": "EXAMPLES", "topics": ["TOPIC"], "registers": ["REGISTER"], "regions": ["REGION"]}
    for category in CATEGORIES:
        for form in ("text", "json"):
            values = {**frame, "category": category, "category_name": "NAME", "output_format": form}
            yield from _shows(folder, category, values, {**frame, "category": f"({category})", "category_name": "NAME"})
    question = {"question": "QUESTION"}
    choice = {**question, "options": ["OPTION"], "letters": "Z"}
    for name, values in (("system", {}), ("evaluate_number", question), ("evaluate_yes_no", question), ("evaluate_choice", choice)):
        yield from _shows(folder, name, values, values)


def _shows(folder: Path, name: str, values: dict[str, Any], marks: dict[str, Any]) -> Iterator[str]:
    import jinja2

    file = f"prompts/{name}.txt"
    if not (folder / file).is_file():
        return
    try:
        text = pack.prompt(str(folder.resolve()), name, **values)
    except jinja2.TemplateError as error:
        yield f"{file}: it cannot be rendered ({error}); expected only the variables {', '.join(values) or 'none'}"
        return
    if not text:
        yield f"{file}: it renders to nothing; expected a prompt"
    for variable, mark in marks.items():
        if str(mark[0] if isinstance(mark, list) else mark) not in text:
            form = f" (output_format {values['output_format']})" if "output_format" in values else ""
            yield f"{file}{form}: the variable {variable} does not show; expected it in the prompt"


def _lexicon(folder: Path) -> Iterator[str]:
    for name in (*CATEGORIES, "words", "speech"):
        file = f"lexicon/{name}.json"
        book = _parsed(folder / file) if (folder / file).is_file() else None
        if book is None:
            continue
        if not isinstance(book, dict):
            yield f"{file}: {book if isinstance(book, str) else 'no object'}; expected one JSON object"
            continue
        keys = SPEECH if name == "speech" else () if name == "words" else ("shared", "kinds")
        yield from (f"{file}: {key!r} is empty or missing; see that file of the Urdu pack" for key in keys if not book.get(key))


def _evaluation(folder: Path, values: dict[str, Any]) -> Iterator[str]:
    """A pack may have no question sets; those that it has are whole."""
    for name, second in TOGETHER.items():
        urdu = values["code"] == "ur" and name.endswith("knowledge.json")
        if (folder / name).is_file() and not (folder / second).is_file() and not urdu:
            yield f"{second}: the file is missing; {name} needs it"
    faults: list[str] = []
    for name, keys in KEYS.items():
        ids: set[str] = set()
        for place, row in _questions(folder, name, faults):
            if lacking := [key for key in keys if not isinstance(row, dict) or row.get(key) in (None, "")]:
                faults.append(f"{place}: {lacking[0]} is missing; expected {', '.join(keys)}")
            elif row["id"] in ids or ids.add(row["id"]):
                faults.append(f"{place}: id {row['id']!r} stands twice; expected it once")
    yield from faults


def _questions(folder: Path, name: str, faults: list[str]) -> Rows:
    file = f"evaluation/{name}.json"
    if not (folder / file).is_file():
        return rows_of(folder, f"{file}l", faults)
    rows = _parsed(folder / file)
    if isinstance(rows, list):
        return [(f"{file}, question {number}", row) for number, row in enumerate(rows, 1)]
    faults.append(f"{file}: {rows if isinstance(rows, str) else 'no list'}; expected a JSON list of questions")
    return []
