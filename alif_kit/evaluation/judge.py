"""evaluation: the judge, a model that scores answers no parser can judge, by the pack's rubrics, or says which of two is better.

In: questions with a reference and one answer or two. Out: scores from 1 to 10 with their reasons, and preferences, at temperature
0. Each answer of the judge is in the journal before it is read: what is paid for is not paid twice. A judgement that cannot be
read is asked for again, in other words, and then counted as unread: it is never a score.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from alif_kit.core.config import Teacher
from alif_kit.core.errors import UserError
from alif_kit.core.records import AppendOnly, read_jsonl, stable_id
from alif_kit.languages import pack
from alif_kit.teacher.client import ChatClient, run_async
from alif_kit.teacher.limits import price_of

NUDGES = (
    "",
    "Your last reply was not the JSON object asked for. Reply with that object alone.",
    "Only the JSON object, all its fields, every score a whole number from 1 to 10.",
)
FENCE = "=====8f3a"
CHARACTERS_PER_TOKEN = 2.5
REPLY_TOKENS = 120
_NAMES = {"ur": "Urdu", "en": "English"}


@dataclass(frozen=True)
class Case:
    """An answer to be scored, or with `second` two to be compared."""

    id: str
    category: str
    question: str
    reference: str
    answer: str
    second: str = ""


@dataclass(frozen=True)
class Verdict:
    """`score` from 1 to 10 with the criteria's own, or `better` (`first`, `second`, `tie`); None when no reply could be read."""

    id: str
    score: int | None = None
    better: str | None = None
    reason: str = ""
    criteria: dict[str, int] | None = None
    attempts: int = 0
    usd: float = 0.0

    @property
    def is_read(self) -> bool:
        return self.score is not None or self.better is not None


@lru_cache
def rubrics(language: str) -> dict[str, Any]:
    """The pack's evaluation/rubrics.toml: anchors, and a table per category with its criteria."""
    return tomllib.loads((pack.folder(language) / "evaluation" / "rubrics.toml").read_text("utf-8"))


def categories(language: str) -> list[str]:
    """The categories that have a rubric."""
    return [name for name in rubrics(language) if name != "anchors"]


def schema(language: str, category: str, pair: bool) -> dict[str, Any]:
    """The JSON schema of a reply."""
    score = {"type": "integer", "minimum": 1, "maximum": 10}
    names = ["better"] if pair else [*rubrics(language)[category]["criteria"], "score"]
    kinds = {"better": {"type": "string", "enum": ["first", "second", "tie"]}} if pair else dict.fromkeys(names, score)
    properties = {"reason": {"type": "string"}, **kinds}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def prompt(case: Case, language: str) -> str:
    """What the judge reads. The texts stand between fences that they cannot contain."""
    rubric = rubrics(language)
    asks_for_pair = bool(case.second)
    texts = {"question": case.question, "reference": case.reference or "(none)"}
    texts |= {"first": case.answer, "second": case.second} if asks_for_pair else {"answer": case.answer}
    return pack.prompt(
        language,
        "judge_pair" if asks_for_pair else "judge_score",
        rubric=rubric[case.category],
        anchors=rubric["anchors"],
        answer_language=_NAMES.get(language, language),
        fence=FENCE,
        **{name: _harmless(text) for name, text in texts.items()},
    )


def _harmless(text: str) -> str:
    """A text that cannot close its fence; an empty one says so."""
    return text.replace(FENCE, "=====").replace("=====8", "===== 8") or "(empty)"


def judge(
    cases: list[Case], teacher: Teacher, key: str, journal: Path, language: str, on_done: Callable[[int], None] = lambda count: None
) -> list[Verdict]:
    """A verdict per case, in their order. Raises StoppedError at judge.max_usd, with what is paid kept in the journal."""
    if teacher.base_url == "demo":
        raise UserError("judge.base_url is demo, and the demonstration teacher cannot judge; set judge.base_url and judge.model")
    teacher = replace(teacher, temperature=0.0)
    return run_async(_judge(cases, teacher, key, journal, language, on_done))


def compare(
    cases: list[Case], teacher: Teacher, key: str, journal: Path, language: str, on_done: Callable[[int], None] = lambda count: None
) -> list[str | None]:
    """Per case `first`, `second` or `tie`, asked in both orders; who wins only when first (or second) wins has won nothing: a tie.

    None where either order could not be read.
    """
    turned = [replace(case, id=f"{case.id}/turned", answer=case.second, second=case.answer) for case in cases]
    verdicts = judge([*cases, *turned], teacher, key, journal, language, on_done)
    straight, back = verdicts[: len(cases)], verdicts[len(cases) :]
    swap = {"first": "second", "second": "first", "tie": "tie"}
    both = ((a.better, swap[b.better]) if a.better and b.better else (None, None) for a, b in zip(straight, back, strict=True))
    return [one if one == other else "tie" for one, other in both]


def estimate(cases: list[Case], teacher: Teacher, language: str) -> dict[str, Any]:
    """Requests, tokens and dollars before anything is asked: prompts are counted, replies assumed at 120 tokens."""
    prompt_tokens = sum(round(len(prompt(case, language)) / CHARACTERS_PER_TOKEN) for case in cases)
    completion_tokens = REPLY_TOKENS * len(cases)
    usd = price_of(teacher).of(prompt_tokens, completion_tokens)
    return {"requests": len(cases), "prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "usd": round(usd, 4)}


async def _judge(
    cases: list[Case], teacher: Teacher, key: str, journal: Path, language: str, on_done: Callable[[int], None]
) -> list[Verdict]:
    paid = {row["key"]: row for row in read_jsonl(journal)} if journal.is_file() else {}
    spent, done = sum(row["usd"] for row in paid.values()), itertools.count(1)
    async with ChatClient(teacher, key, spent=spent, requests=len(paid)) as client:
        mode = teacher.output_format if teacher.output_format != "auto" else await client.probe_format()
        with AppendOnly(journal) as writer:

            async def one(case: Case) -> Verdict:
                verdict = await _verdict(case, client, writer, paid, mode, language)
                on_done(next(done))
                return verdict

            tasks = [asyncio.create_task(one(case)) for case in cases]
            try:
                return list(await asyncio.gather(*tasks))
            finally:
                await asyncio.gather(*tasks, return_exceptions=True)  # what is in flight is paid for: it must reach the journal


async def _verdict(case: Case, client: ChatClient, writer: AppendOnly, paid: dict[str, Any], mode: str, language: str) -> Verdict:
    """Ask until a reply can be read, three times at most."""
    asked, usd = prompt(case, language), 0.0
    wanted = schema(language, case.category, pair=bool(case.second))
    for attempt, nudge in enumerate(NUDGES, 1):
        messages = [{"role": "user", "content": f"{asked}\n\n{nudge}".strip()}]
        key = stable_id(client.teacher.model, messages)
        row = paid.get(key)
        if row is None:
            reply = await client.chat(messages, **_options(mode, wanted))
            cost = client.budget.price.of(reply.prompt_tokens, reply.completion_tokens)
            row = {"key": key, "case": case.id, "response": reply.text, "usd": cost}
            row |= {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
            paid[key] = row
            await asyncio.to_thread(writer.append, row)
        usd += row["usd"]
        if found := read(row["response"], wanted):
            criteria = {name: value for name, value in found.items() if name not in ("reason", "score", "better")}
            return Verdict(case.id, found.get("score"), found.get("better"), found["reason"], criteria or None, attempt, usd)
    return Verdict(case.id, attempts=len(NUDGES), usd=usd)


def _options(mode: str, wanted: dict[str, Any]) -> dict[str, Any]:
    if mode == "json_schema":
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": wanted}}}
    return {"response_format": {"type": "json_object"}} if mode == "json_object" else {}


def read(text: str, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON object of a reply, out of a code fence or a sentence too; None unless every field is there and in range."""
    for match in re.finditer(r"\{[^{}]*\}", text):
        try:
            found = json.loads(match[0])
        except ValueError:
            continue
        if set(wanted["required"]) <= set(found) and all(_fits(found[n], kind) for n, kind in wanted["properties"].items()):
            return {name: found[name] for name in wanted["properties"]}
    return None


def _fits(value: Any, kind: dict[str, Any]) -> bool:
    if kind["type"] == "integer":
        return isinstance(value, int) and not isinstance(value, bool) and kind["minimum"] <= value <= kind["maximum"]
    return isinstance(value, str) and value in kind.get("enum", [value])
