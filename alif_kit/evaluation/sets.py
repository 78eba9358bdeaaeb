"""evaluation: what is asked. Each set is a list of items that every model gets in the same words, with the same budget.

In: a suite (suites.toml), the run's held-out tasks, the pack's own sets, local files or the Hub. Out: `Work`, one per set: items to
answer, documents to read, or a task of lm-evaluation-harness; and the sets that could not be had, each with its reason.
"""

from __future__ import annotations

import itertools
import tomllib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from alif_kit.core import Run, UserError
from alif_kit.core.records import Document, Example, read_jsonl, stable_id
from alif_kit.evaluation.tasks import utils
from alif_kit.languages import pack
from alif_kit.languages.contamination import rows_of
from alif_kit.languages.held_out import held_out
from alif_kit.languages.text import normalize
from alif_kit.model.chat_format import Message, conversation

LETTER_BUDGET = 32
"""New tokens for a letter: enough for a sentence around it, too little for an essay that hides it."""


@dataclass(frozen=True)
class Item:
    """One question: what is said to the model, how long it may answer, and what its answer is read against."""

    id: str
    set: str
    group: str
    language: str
    """Language the answer is expected in."""
    messages: tuple[Message, ...]
    budget: int
    expected: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def prompt(self) -> str:
        """The question as people read it."""
        return "\n\n".join(part for m in self.messages for part in (m["content"], m.get("input", "")) if part)


@dataclass(frozen=True)
class Work:
    """A set: items, or documents, or a task of lm-eval: its name, with the rows to ask instead of its own, or the list it is on."""

    name: str
    items: tuple[Item, ...] = ()
    documents: tuple[Document, ...] = ()
    task: dict[str, Any] = field(default_factory=dict)

    @property
    def needs_weights(self) -> bool:
        """Likelihoods cannot be had from an endpoint."""
        return bool(self.documents or self.task)

    def fingerprint(self) -> str:
        """Changes when anything that the set asks changes."""
        asked = [(i.id, i.prompt, i.budget, i.expected) for i in self.items] or [d.text for d in self.documents]
        return stable_id(self.name, asked, self.task)


@lru_cache
def suites() -> dict[str, Any]:
    """The suites, and where a set's data comes from by default: suites.toml."""
    return tomllib.loads(Path(__file__).with_name("suites.toml").read_text("utf-8"))


def gather(run: Run) -> tuple[list[Work], dict[str, str]]:
    """The sets of the run's suite in order, and why the others are missing. Raises UserError when a named file is not there."""
    settings, works, missing = run.config.evaluation, [], {}
    unknown = sorted({*settings.data, *settings.also} - set(_MAKERS))
    if unknown:
        raise UserError(f"evaluation.data or evaluation.also names the set {unknown[0]!r}; expected one of {', '.join(_MAKERS)}")
    for name in dict.fromkeys([*suites()[settings.suite]["sets"], *settings.also]):
        try:
            works += _MAKERS[name](run)
        except UserError as error:
            if name in settings.data:
                raise
            missing[name] = str(error)
    return works, missing


def source(run: Run, name: str) -> str:
    """Where a set is read from: evaluation.data, else the suite's own place, else the pack."""
    return run.config.evaluation.data.get(name) or suites()[run.config.evaluation.suite].get("data", {}).get(name, "pack")


def rows(run: Run, name: str) -> list[dict[str, Any]]:
    """The rows of a set, at most evaluation.max_examples of them, evenly over its length."""
    place = source(run, name)
    if place == "pack":
        path = next(pack.folder(run.config.language).glob(f"evaluation/{name}.json*"), None)
        if path is None:
            raise UserError(f"the language pack {run.config.language} has no evaluation/{name}; set evaluation.data for it")
        place = str(path)
    return evenly(list(rows_of(place)), run.config.evaluation.max_examples)


def evenly(values: list[Any], limit: int) -> list[Any]:
    """At most `limit` values at equal distances, all for 0, so that a file sorted by topic keeps its topics.

    `evenly([0, 1, 2, 3], 2) == [0, 2]`
    """
    if not limit or len(values) <= limit:
        return values
    return [values[i * len(values) // limit] for i in range(limit)]


def spread(examples: list[Example], limit: int) -> list[Example]:
    """At most `limit` examples (all for 0), taken from the categories in turn so that each is represented."""
    place: dict[str, Any] = defaultdict(itertools.count)
    rank = {example.id: next(place[example.category]) for example in examples}
    return sorted(examples, key=lambda e: (rank[e.id], e.category))[: limit or None]


def _documents(run: Run) -> list[Work]:
    languages = dict.fromkeys((run.config.language, "en"))
    limit = run.config.evaluation.max_examples
    return [Work(f"documents_{language}", documents=tuple(evenly(held_out(run, language), limit))) for language in languages]


def _held_out(run: Run) -> list[Work]:
    """The seven categories: the run's own held-out tasks, or a data set with the columns of one."""
    place = source(run, "held_out")
    if place == "pack":
        examples = list(read_jsonl(run.require("data", "eval.jsonl", stage="generate"), Example))
    else:
        examples = [_example(row, place) for row in rows_of(place)]
    return [Work("held_out", tuple(_task(run, e) for e in spread(examples, run.config.evaluation.max_examples)))]


def _example(row: dict[str, Any], place: str) -> Example:
    """A row of Urdu-Instruct or of ours as an example; the answer column is `output` or `response`."""
    try:
        output = row.get("output") or row["response"]
        labels = tuple(row.get("labels") or ())
        return Example(
            str(row["category"]).lower(), row["instruction"], output, row.get("input") or "", labels, row.get("meta") or {}
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"a row of {place} lacks {error}; expected the columns category, instruction, input and output") from None


def _task(run: Run, example: Example) -> Item:
    english = example.category == "translation" and example.meta.get("target") == "en"
    facts = {"example": example}
    if example.category == "translation" and {"source", "target", "asked_in"} <= example.meta.keys():
        facts["direction"] = "{source}-{target} asked in {asked_in}".format(**example.meta)
    return Item(
        example.id,
        "held_out",
        example.category,
        "en" if english else run.config.language,
        tuple(conversation(example)[:1]),
        run.config.evaluation.max_new_tokens,
        example.output,
        facts,
    )


def _knowledge(run: Run) -> list[Work]:
    """Native multiple choice: a letter by generation in two prompt languages, and the options by likelihood."""
    raw = [_question(row) for row in rows(run, "knowledge")]
    questions = [utils.prepare(row) for row in raw]
    own = run.config.language
    works = [Work(f"knowledge_{language}", tuple(_choice(q, language) for q in questions)) for language in (own, "en")]
    tasks = KNOWLEDGE_TASKS if own == "ur" else KNOWLEDGE_TASKS[1:]  # the first asks in Urdu, the second in no language at all
    return works + [Work(task, task={"task": task, "rows": raw}) for task in tasks]


KNOWLEDGE_TASKS = ("urdu_mmlu_ur_letter", "urdu_mmlu_cloze")


def _question(row: dict[str, Any]) -> dict[str, Any]:
    missing = [name for name in ("question", "options", "correct_key") if not row.get(name)]
    if missing or row["correct_key"] not in row["options"]:
        what = f"{missing[0]} is missing" if missing else f"correct_key {row['correct_key']!r} is none of its options"
        raise UserError(f"question {row.get('id', '?')}: {what}; expected id, question, options and correct_key as in UrduMMLU")
    return row


def _choice(question: dict[str, Any], language: str) -> Item:
    facts = {"options": dict(zip(question["letters"], question["options"], strict=True))}
    letter, group = question["letters"][question["answer"]], str(question.get("domain") or "")
    ours = language in ("ur", "en")  # their frames stand in tasks/utils.py, which lm-eval reads without the kit
    framed = utils.prompt(question, language) if ours else pack.prompt(language, "evaluate_choice", **question)
    message = {"role": "user", "content": framed}
    return Item(str(question["id"]), f"knowledge_{language}", group, "", (message,), LETTER_BUDGET, letter, facts)


def _asked(run: Run, name: str, template: str, expected: Callable[[dict[str, Any]], str]) -> list[Work]:
    """A set whose question stands in a frame of the pack: prompts/<template>.txt."""
    language, budget, items = run.config.language, run.config.evaluation.max_new_tokens, []
    for number, row in enumerate(rows(run, name)):
        message = {"role": "user", "content": pack.prompt(language, template, question=normalize(row["question"]))}
        identity, group = str(row.get("id", number)), str(row.get("group", ""))
        items.append(Item(identity, name, group, language, (message,), budget, expected(row)))
    return [Work(name, tuple(items))]


def _last_number(row: dict[str, Any]) -> str:
    return str(row["answer"]).rsplit("####", 1)[-1].strip()


def _yes_or_no(row: dict[str, Any]) -> str:
    return "yes" if row["answer"] in (True, 1, "true", "yes") else "no"


def _behaviour(run: Run) -> list[Work]:
    def item(row: dict[str, Any]) -> Item:
        message = {"role": "user", "content": row["prompt"]}
        return Item(row["id"], "behaviour", row["kind"], row["language"], (message,), run.config.evaluation.max_new_tokens)

    return [Work("behaviour", tuple(map(item, rows(run, "behaviour"))))]


def _task_list(run: Run, name: str) -> list[Work]:
    """A list of public tasks, as lm-eval has them."""
    from alif_kit.evaluation.harness import task_list

    return [Work(task, task={"task": task, "list": name}) for task in task_list(name)]


_MAKERS: dict[str, Callable[[Run], list[Work]]] = {
    "documents": _documents,
    "held_out": _held_out,
    "knowledge": _knowledge,
    "word_problems": partial(_asked, name="word_problems", template="evaluate_number", expected=_last_number),
    "yes_no": partial(_asked, name="yes_no", template="evaluate_yes_no", expected=_yes_or_no),
    "behaviour": _behaviour,
    "urdu": partial(_task_list, name="urdu"),
    "retention": partial(_task_list, name="retention"),
}
