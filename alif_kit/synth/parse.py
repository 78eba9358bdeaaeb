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
from dataclasses import dataclass
from typing import Any

from alif_kit.core.errors import UserError
from alif_kit.core.records import SeedTask
from alif_kit.languages import pack
from alif_kit.languages.text import normalize

TAGS = {"instruction": "[ہدایت]", "input": "[مواد]", "labels": "[زمرے]", "output": "[جواب]"}
EMPTY = "خالی"
LABELLED = ("classification", "sentiment")
_HEADER = re.compile(r"^[ \t]*===[ \t]*[0-9۰-۹٠-٩]+[ \t]*===[ \t]*$", re.MULTILINE)
_TAG = re.compile(r"^[ \t]*(\[(?:ہدایت|مواد|زمرے|جواب)\])[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Parsed:
    """Item number `item` (from 1) of an answer: a task, or the problem that kept it from being one."""

    item: int
    task: SeedTask | None
    problem: str = ""
    raw: str = ""


def render(tasks: list[SeedTask] | tuple[SeedTask, ...]) -> str:
    """The text form of tasks, exactly what `parse` accepts."""
    return "\n".join(_render_one(number, task) for number, task in enumerate(tasks, 1))


def _render_one(number: int, task: SeedTask) -> str:
    parts = [f"=== {number} ===", TAGS["instruction"], task.instruction, TAGS["input"], task.input or EMPTY]
    if task.labels:
        parts += [TAGS["labels"], "، ".join(task.labels)]
    return "\n".join([*parts, TAGS["output"], task.output])


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
    text = _strip_fence(answer)
    items = _parse_json(text, category, language) if text.lstrip().startswith("{") else _parse_text(text, category, language)
    if not items:
        items = [Parsed(1, None, "malformed", answer[:500])]
    if finish_reason == "length":
        last = items[-1]
        items[-1] = Parsed(last.item, None, "truncated", last.raw)
    return items


def _strip_fence(answer: str) -> str:
    text = answer.strip()
    if text.startswith("```"):
        text = text.split("\n", 1)[-1].rsplit("```", 1)[0]
    return text


def _parse_text(text: str, category: str, language: str) -> list[Parsed]:
    blocks = _HEADER.split(text)[1:]
    return [_item(number, _fields(block), category, language, block.strip()) for number, block in enumerate(blocks, 1)]


def _fields(block: str) -> dict[str, Any] | None:
    """The fields of one block; None if a tag is missing, repeated or out of order."""
    names = {tag: name for name, tag in TAGS.items()}
    pieces = _TAG.split(block)
    found = [names[tag] for tag in pieces[1::2]]
    if pieces[0].strip() or found not in (
        ["instruction", "input", "output"],
        ["instruction", "input", "labels", "output"],
    ):
        return None
    row: dict[str, Any] = dict(zip(found, (p.strip() for p in pieces[2::2]), strict=True))
    if row["input"] == EMPTY:
        row["input"] = ""
    if "labels" in row:
        row["labels"] = [label.strip() for label in re.split("[،,]", row["labels"]) if label.strip()]
    return row


def _parse_json(text: str, category: str, language: str) -> list[Parsed]:
    rows, whole = _json_tasks(text)
    items = [
        _item(n, row if isinstance(row, dict) else None, category, language, json.dumps(row, ensure_ascii=False))
        for n, row in enumerate(rows, 1)
    ]
    if not whole:
        items.append(Parsed(len(items) + 1, None, "malformed", text[-500:]))
    return items


def _json_tasks(text: str) -> tuple[list[Any], bool]:
    """The tasks of a JSON answer and whether it was whole; of a cut answer, every task that is complete."""
    try:
        tasks = json.loads(text).get("tasks")
    except json.JSONDecodeError:
        return _complete_tasks(text), False
    return (tasks, True) if isinstance(tasks, list) else ([], False)


def _complete_tasks(text: str) -> list[Any]:
    """The tasks of an answer that was cut, as far as they are complete."""
    rows, decoder = [], json.JSONDecoder()
    start = text.find("[") + 1
    while start > 0 and (start := text.find("{", start)) >= 0:
        try:
            row, start = decoder.raw_decode(text, start)
            rows.append(row)
        except json.JSONDecodeError:
            break
    return rows


def _item(number: int, row: dict[str, Any] | None, category: str, language: str, raw: str) -> Parsed:
    task = _task(row, category, language) if row else None
    return Parsed(number, task, "" if task else "malformed", raw[:2000])


def _task(row: dict[str, Any], category: str, language: str) -> SeedTask | None:
    values = {name: row.get(name, "") for name in ("instruction", "input", "output")}
    labels = row.get("labels") or []
    if not all(isinstance(v, str) for v in values.values()) or not all(isinstance(v, str) for v in labels):
        return None
    if (category in LABELLED) != bool(labels):
        return None
    values = {name: normalize(value) for name, value in values.items()}
    try:
        task = SeedTask(category, labels=tuple(normalize(v) for v in labels), **values)
    except UserError:
        return None
    return SeedTask(category, labels=task.labels, meta=infer_meta(task, language), **values)


def infer_meta(task: SeedTask, language: str = "ur") -> dict[str, Any]:
    """What can be read off the text: a translation's languages, a reasoning task's final answer."""
    if task.category == "translation":
        texts = {"asked_in": task.instruction, "source": task.input, "target": task.output}
        return {name: _side(text, language) for name, text in texts.items()}
    if task.category == "reasoning" and (found := final_answer(task.output, language)):
        return {"answer": found}
    return {}


def _side(text: str, language: str) -> str:
    return pack.settings(language)["code"] if pack.purity(text, language) > 0.5 else "en"


def final_answer(output: str, language: str = "ur") -> str:
    """The text after the pack's answer marker, in Urdu `جواب:`, if the last line begins with it, else the empty string."""
    last, marker = (output.strip().splitlines() or [""])[-1], pack.settings(language)["answer_marker"]
    return last.removeprefix(marker).strip() if last.startswith(marker) else ""
