"""synth: turns a teacher's answer into tasks, and tasks into the text a prompt shows. One format, read and written here.

In: the answer's text and its finish reason. Out: `Parsed` items in order, each a task or a named problem (`malformed`,
`truncated`). Text form, tags alone on their lines:

    === 1 ===
    [ہدایت] / instruction    [مواد] / input, `خالی` when empty    [زمرے] / labels    [جواب] / output

The tags are the format's own, the same in every language pack; what an answer line begins with is the pack's.
JSON form: {"tasks": [{"instruction", "input", "output", "labels"}]}. A server that has structured output gets the schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from alif_kit.core import UserError
from alif_kit.core.records import SeedTask
from alif_kit.languages import pack
from alif_kit.languages.text import normalize

TAGS = {"instruction": "[ہدایت]", "input": "[مواد]", "labels": "[زمرے]", "output": "[جواب]"}
EMPTY = "خالی"
LABELLED = ("classification", "sentiment")
SIDES = ("asked_in", "source", "target")
"""Languages in a translation's meta: of its instruction, input and output."""
_HEADER = re.compile(r"^[ \t]*===[ \t]*[0-9۰-۹٠-٩]+[ \t]*===[ \t]*$", re.MULTILINE)
_TAG = re.compile(r"^[ \t]*(\[(?:ہدایت|مواد|زمرے|جواب)\])[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Parsed:
    """Item number `item` (from 1) of an answer: a task, or the problem that kept it from being one."""

    item: int
    task: SeedTask | None
    problem: str = ""
    raw: str = ""


def render(tasks: Sequence[SeedTask], tags: dict[str, str] = TAGS, empty: str = EMPTY, separator: str = "، ") -> str:
    """The text form of tasks, exactly what `parse` accepts."""
    lines: list[str] = []
    for number, task in enumerate(tasks, 1):
        lines += [f"=== {number} ===", tags["instruction"], task.instruction, tags["input"], task.input or empty]
        lines += [tags["labels"], separator.join(task.labels)] if task.labels else []
        lines += [tags["output"], task.output]
    return "\n".join(lines)


def schema(category: str) -> dict[str, Any]:
    """The `response_format` that asks a server for the JSON form, every key required as strict mode wants."""
    text = {"type": "string"}
    properties: dict[str, Any] = {"instruction": text, "input": text, "output": text}
    if category in LABELLED:
        properties["labels"] = {"type": "array", "items": text}
    task = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    tasks = {"type": "array", "items": task}
    body = {"type": "object", "properties": {"tasks": tasks}, "required": ["tasks"], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "tasks", "strict": True, "schema": body}}


def parse(answer: str, finish_reason: str, category: str, language: str = "ur") -> list[Parsed]:
    """All items of an answer, in order; `language` is the pack's. An answer without a single item gives one `malformed` item.

    With finish reason `length` the last item was cut off: it is named `truncated` and dropped, whatever it looks like.
    """
    text, whole = answer.strip(), True
    if text.startswith("```"):
        text = text.split("\n", 1)[-1].rsplit("```", 1)[0].lstrip()
    if text.startswith("{"):
        rows, whole = _json_tasks(text)
        found = [(row, json.dumps(row, ensure_ascii=False)) for row in rows]
    else:
        found = [(_fields(block), block.strip()) for block in _HEADER.split(text)[1:]]
    tasks = [(_task(row if isinstance(row, dict) else {}, category, language), raw[:2000]) for row, raw in found]
    items = [Parsed(number, task, "" if task else "malformed", raw) for number, (task, raw) in enumerate(tasks, 1)]
    if not items or not whole:
        items.append(Parsed(len(items) + 1, None, "malformed", answer[:500] if whole else text[-500:]))
    if finish_reason == "length":
        items[-1] = Parsed(items[-1].item, None, "truncated", items[-1].raw)
    return items


def _fields(block: str) -> dict[str, Any]:
    """The fields of one block; none if a tag is missing, repeated or out of order."""
    names = {tag: name for name, tag in TAGS.items()}
    before, *pieces = _TAG.split(block)
    found = [names[tag] for tag in pieces[::2]]
    if before.strip() or found not in (["instruction", "input", "output"], ["instruction", "input", "labels", "output"]):
        return {}
    row: dict[str, Any] = dict(zip(found, map(str.strip, pieces[1::2]), strict=True))
    if "labels" in row:
        row["labels"] = split_labels(row["labels"])
    return row | ({"input": ""} if row["input"] == EMPTY else {})


def split_labels(text: str) -> list[str]:
    """Labels with commas between them, of either script."""
    return [label for part in re.split("[،,]", text) if (label := part.strip())]


def _json_tasks(text: str) -> tuple[list[Any], bool]:
    """The tasks of a JSON answer and whether it was whole; of a cut answer, every task that is complete."""
    rows, start = [], text.find("[") + 1
    with suppress(json.JSONDecodeError, RecursionError):
        tasks = json.loads(text).get("tasks")
        return (tasks, True) if isinstance(tasks, list) else ([], False)
    with suppress(json.JSONDecodeError, RecursionError):
        while start > 0 and (start := text.find("{", start)) >= 0:
            row, start = json.JSONDecoder().raw_decode(text, start)
            rows.append(row)
    return rows, False


def _task(row: dict[str, Any], category: str, language: str) -> SeedTask | None:
    texts, labels = [row.get(name, "") for name in ("instruction", "output", "input")], row.get("labels") or []
    if not isinstance(labels, list | str) or not all(isinstance(text, str) for text in (*texts, *labels)):
        return None
    if (category in LABELLED) != bool(labels):
        return None
    try:
        task = SeedTask(category, *map(normalize, texts), tuple(map(normalize, labels)))
    except UserError:
        return None
    return replace(task, meta=infer_meta(task, language))


def infer_meta(task: SeedTask, language: str = "ur") -> dict[str, Any]:
    """What can be read off the text: a translation's languages, a reasoning task's final answer."""
    if task.category == "translation":
        code, texts = pack.settings(language)["code"], (task.instruction, task.input, task.output)
        return {side: code if pack.purity(text, language) > 0.5 else "en" for side, text in zip(SIDES, texts, strict=True)}
    if task.category == "reasoning" and (found := final_answer(task.output, language)):
        return {"answer": found}
    return {}


def final_answer(output: str, language: str = "ur") -> str:
    """The text after the pack's answer marker, in Urdu `جواب:`, if the last line begins with it, else the empty string."""
    last, marker = (output.strip().splitlines() or [""])[-1], pack.settings(language)["answer_marker"]
    return last.removeprefix(marker).strip() if last.startswith(marker) else ""
