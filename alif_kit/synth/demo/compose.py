"""synth: composes demonstration tasks from the language pack's lexicon: templates, word lists, arithmetic; no model.

In: `languages/<code>/lexicon/*.json`, one file per category, `words.json` (lists shared by all) and `speech.json` (the
server's own words). Out: tasks as dictionaries of category, instruction, input, output, labels and meta, and answers
that hold them as text or JSON.

A category file is {"shared": {...}, "kinds": [{...}]}; a kind, and one of its `variants`, override `shared`. In a text,
    [a|b|c]         one of the alternatives, may nest;
    {city}          an entry of the list `city`, the same one each time; {city2} is another entry of that list;
    {city.en}       a form of the entry (without a name, its form "n");
    {person:تا/تی}  a word by the entry's gender (m/f/mp/fp);
    {days#k}        entry number k of a list, k being one of the kind's numbers.
Numbers are drawn from `numbers` {"a": [low, high, step]}, worked out in `derive` {"c": "a * b"}, and drawn again until
`require` holds.
"""

from __future__ import annotations

import json
import random
import re
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from alif_kit.languages.pack import folder
from alif_kit.synth import parse
from alif_kit.synth.arithmetic import evaluate
from alif_kit.synth.parse import LABELLED

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)(?:\.(\w+)|:([^{}]*)|#(\w+))?\}")
_GENDERS = ("m", "f", "mp", "fp")
_DRAWS = 1000


@lru_cache
def lexicon(pack: str, name: str) -> dict[str, Any]:
    """One file of a pack's lexicon."""
    return json.loads((folder(pack) / "lexicon" / f"{name}.json").read_text("utf-8"))


def compose(category: str, count: int, rng: random.Random, pack: str = "ur") -> list[dict[str, Any]]:
    """`count` tasks of a category; the same state of `rng` gives the same tasks.

    Kinds do not repeat until all were used, and variants (labels, directions) take turns, so an answer is balanced.
    """
    book, tasks, seen = lexicon(pack, category), [], set()
    kinds = [kind for kind in book["kinds"] for _ in range(kind.get("weight", 1))]
    rng.shuffle(kinds)
    turn = rng.randrange(60)
    for attempt in range(count * 20):
        if len(tasks) == count:
            break
        shared = book["shared"] | kinds[attempt % len(kinds)]
        variants = shared.get("variants") or [{}]
        task = _task(category, shared | variants[(turn + len(tasks)) % len(variants)], rng, pack)
        if (task["instruction"], task["input"]) not in seen or attempt > count * 10:
            seen.add((task["instruction"], task["input"]))
            tasks.append(task)
    return tasks


def _task(category: str, spec: dict[str, Any], rng: random.Random, pack: str) -> dict[str, Any]:
    scope = Scope(spec, rng, lexicon(pack, "words"))
    task = {"category": category} | {name: scope.field(name) for name in ("instruction", "input", "output")}
    labels = {"labels": list(spec["labels"])} if category in LABELLED else {}
    return task | labels | {"meta": {key: scope.expand(text) for key, text in spec.get("meta", {}).items()}}


class Scope:
    """What one task has bound so far, and the lists it draws more from: the task's own, then the shared words."""

    def __init__(self, spec: dict[str, Any], rng: random.Random, words: dict[str, Any]) -> None:
        self._lists, self._rng = {**words, **spec}, rng
        self._used: dict[str, list[Any]] = {}
        self._bound: dict[str, Any] = {"labels": "، ".join(spec["labels"])} if "labels" in spec else {}
        self._bound |= _numbers(spec, rng)

    def field(self, name: str) -> str:
        """The expanded text of a field that is a text or a list of texts, or the empty string."""
        source = self._lists.get(name, "")
        text = self.expand(self._rng.choice(source) if isinstance(source, list) else source)
        text = re.sub(r" +(?=[۔،؟!؛:.,?]|\n|$)", "", re.sub(r" {2,}", " ", text)).strip()
        return text[:1].upper() + text[1:]

    def expand(self, text: str) -> str:
        """The text with its choices made and its slots filled."""
        while _CHOICE.search(text):
            text = _CHOICE.sub(lambda found: self._rng.choice(found[1].split("|")), text)
        return _SLOT.sub(self._fill, text)

    def _fill(self, slot: re.Match[str]) -> str:
        name, form, genders, index = slot.groups()
        if not index and name not in self._bound:
            self._bind(name)
        entry = self._lists[name][self._bound[index]] if index else self._bound[name]
        if genders is not None:
            return genders.split("/")[_GENDERS.index(entry["g"])]
        return self.expand(str(entry[form or "n"] if isinstance(entry, dict) else entry))

    def _bind(self, name: str) -> None:
        """Draw an entry that no other name of the same list holds, as long as there is one."""
        base = name.rstrip("0123456789")
        source = self._lists[base]
        entries = source if isinstance(source, list) else [source]
        used = self._used.setdefault(base, [])
        entry = self._rng.choice([e for e in entries if e not in used] or entries)
        used.append(entry)
        self._bound[name] = self.expand(entry) if isinstance(entry, str) else entry


def _numbers(spec: dict[str, Any], rng: random.Random) -> dict[str, int]:
    """Numbers of a kind, drawn until its requirement holds."""
    if "numbers" not in spec:
        return {}
    for _ in range(_DRAWS):
        values = {name: rng.randrange(low, high + 1, *step) for name, (low, high, *step) in spec["numbers"].items()}
        for name, expression in spec.get("derive", {}).items():
            values[name] = evaluate(expression, values)
        if evaluate(spec.get("require", "1"), values):
            return values
    raise ValueError(f"no numbers in {_DRAWS} draws meet {spec['require']!r}; widen `numbers` of that kind")


def write_answer(category: str, count: int, rng: random.Random, fault: str, as_json: bool, pack: str) -> str:
    """The text of an answer of `count` tasks; `fault` is one of teacher.Faults.CONTENT, or empty."""
    speech = lexicon(pack, "speech")
    if fault == "refusing":
        return rng.choice(speech["refusals"])
    tasks = compose(category, count, rng, pack)
    if fault == "wrong_language":
        tasks = [_foreign(task, rng, speech["foreign"]) for task in tasks]
    if fault == "duplicates":
        tasks = tasks[:1] * count
    text = render(tasks, pack)
    if as_json:
        shown = [{key: task[key] for key in ("instruction", "input", "output", "labels") if key in task} for task in tasks]
        text = json.dumps({"tasks": shown}, ensure_ascii=False)
    if fault == "malformed":
        text = _break(text, rng, as_json, speech)
    if fault == "truncated":  # in the second half, inside the last items
        text = text[: rng.randrange(len(text) // 2, max(len(text) // 2 + 1, len(text) - 10))]
    return text


def _foreign(task: dict[str, Any], rng: random.Random, samples: list[dict[str, str]]) -> dict[str, Any]:
    """The task in another language: all of it, or the instruction alone where the rest belongs together."""
    if task["category"] == "translation":  # whose instruction may be English
        return task | {"instruction": rng.choice([s for s in samples if s["language"] != "en"])["instruction"]}
    sample = rng.choice(samples)
    keys = ("instruction",) if "labels" in task else ("instruction", "input", "output")
    return task | {key: sample[key] for key in keys}


def render(tasks: list[dict[str, Any]], pack: str = "ur") -> str:
    """The text form, with the tags of the pack's server."""
    speech = lexicon(pack, "speech")
    shown = [SimpleNamespace(**{"labels": (), **task}) for task in tasks]
    return parse.render(shown, speech["tags"], speech["empty"], speech["separator"])


def _break(text: str, rng: random.Random, as_json: bool, speech: dict[str, Any]) -> str:
    """Without every second output tag or key, without any, or without the frame."""
    mark = '"output"' if as_json else speech["tags"]["output"]
    pieces = text.split(mark)
    broken = pieces[0] + "".join((mark if n % 2 else "") + piece for n, piece in enumerate(pieces[1:]))
    return rng.choice([broken, text.replace(mark, ""), text.replace("=== ", "# ").replace("{", "(")])
