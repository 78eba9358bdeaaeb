"""synth: rehearses a language pack without a run: its seeds through the filters, its prompts past the embedded teacher.

In: a pack, by code or absolute path. Out: findings, one sentence each. What passes here generates data with the demonstration
teacher; a real teacher's tasks meet the same parser and the same filters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from alif_kit.core import config
from alif_kit.core.records import CATEGORIES
from alif_kit.languages import pack
from alif_kit.synth.demo.teacher import BadRequest, answer
from alif_kit.synth.filters import first_reason
from alif_kit.synth.parse import Parsed, parse, render
from alif_kit.synth.planner import compose

REQUESTS = 8  # of each category and form: enough for each kind of the lexicon to come up


def rehearse(language: str) -> Iterator[str]:
    """What the stage would drop or could not read, of seeds and of the embedded teacher's answers to the pack's own prompts."""
    for category in CATEGORIES:
        yield from _seeds(language, category)
        for form in ("text", "json_schema"):
            yield from _prompt(language, category, form)


def _seeds(language: str, category: str) -> Iterator[str]:
    for number, seed in enumerate(pack.seeds(language)[category], 1):
        (parsed,) = parse(render([seed]), "stop", category, language)
        place = f"seeds/{category}.jsonl, task {number}"
        if reason := _reason(parsed, language):
            yield f"{place}: as a candidate it would be dropped as {reason}; expected a task that passes every filter"
        elif category == "translation" and parsed.task.meta != seed.meta:
            yield f"{place}: meta is {seed.meta}, but its texts say {parsed.task.meta}; expected the same"


def _reason(parsed: Parsed, language: str) -> str:
    return first_reason(parsed.task, language) if parsed.task else parsed.problem


def _prompt(language: str, category: str, form: str) -> Iterator[str]:
    """The real requests of a category, answered by the teacher and read back."""
    settings = config.load("smoke", {"language": language})
    file, reasons, example = f"prompts/{category}.txt", Counter(), ""
    for number in range(REQUESTS):
        request = compose(settings, number, category, [], form)
        try:
            body = answer({"model": "rehearsal", "messages": request.messages, **request.options}, pack=language)
        except BadRequest as error:
            yield f"{file}: the embedded teacher cannot read the request ({error})"
            return
        found = parse(body["choices"][0]["message"]["content"], "stop", category, language)
        if len(found) < request.count:
            yield f"lexicon/{category}.json: {len(found)} tasks for the {request.count} that {file} asks for; expected all of them"
            return
        for parsed in found:
            if reason := _reason(parsed, language):
                reasons[reason] += 1
                example = example or parsed.raw.replace("\n", " ")[:80]
    if reasons:
        said = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        yield f"lexicon/{category}.json: some tasks of the embedded teacher are dropped ({said}), first {example!r}; expected none"
