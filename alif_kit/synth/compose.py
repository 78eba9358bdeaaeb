"""synth: composes demonstration tasks from the language pack's lexicon. No model, no network: grammar, word lists and arithmetic.

In: `languages/<code>/lexicon/*.json`, one file per category plus `words.json` (shared lists) and `speech.json` (the server's own
sentences). Out: tasks as dictionaries of category, instruction, input, output, labels (classification and sentiment) and meta.

A category file is {"shared": {...}, "kinds": [{...}]}; a kind and one of its `variants` override `shared`. In a text,
    [a|b|c]       one of the alternatives, may nest;
    {city}        an entry of the list `city`, the same one each time it is named; {city2} is another entry of that list;
    {city.en}     a form of the entry (without a name: its form "n");
    {person:تا/تی}  a word by the entry's gender (m/f/mp/fp);
    {days#k}      entry number k of a list, k being one of the kind's numbers.
Numbers are drawn from `numbers` {"a": [low, high, step]}, worked out in `derive` {"c": "a * b"}, and redrawn until `require` holds.
"""

from __future__ import annotations

import ast
import json
import operator
import random
import re
from functools import lru_cache
from importlib import resources
from typing import Any

CATEGORIES = ("generation", "reasoning", "ethics", "qa", "translation", "classification", "sentiment")
LABELLED = ("classification", "sentiment")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)(?:\.(\w+)|:([^{}]*)|#(\w+))?\}")
_GENDERS = ("m", "f", "mp", "fp")
_DRAWS = 1000
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@lru_cache
def lexicon(pack: str, name: str) -> dict[str, Any]:
    """One file of a pack's lexicon."""
    return json.loads(resources.files("alif_kit").joinpath(f"languages/{pack}/lexicon/{name}.json").read_text("utf-8"))


def compose(category: str, count: int, rng: random.Random, pack: str = "ur") -> list[dict[str, Any]]:
    """`count` tasks of a category; the same state of `rng` gives the same tasks.

    Kinds are drawn without repeating until all were used, variants (labels, directions) in turn, so an answer is balanced.
    """
    book, tasks, seen = lexicon(pack, category), [], set()
    kinds, turn = _deck(book["kinds"], rng), rng.randrange(60)
    for attempt in range(count * 20):
        if len(tasks) == count:
            break
        kind = kinds[attempt % len(kinds)]
        task = _task(category, _spec(book["shared"], kind, turn + attempt), rng, pack)
        if (task["instruction"], task["input"]) not in seen or attempt > count * 10:
            seen.add((task["instruction"], task["input"]))
            tasks.append(task)
    return tasks


def _deck(kinds: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    deck = [kind for kind in kinds for _ in range(kind.get("weight", 1))]
    rng.shuffle(deck)
    return deck


def _spec(shared: dict[str, Any], kind: dict[str, Any], turn: int) -> dict[str, Any]:
    variants = kind.get("variants") or shared.get("variants") or [{}]
    return {**shared, **kind, **variants[turn % len(variants)]}


def _task(category: str, spec: dict[str, Any], rng: random.Random, pack: str) -> dict[str, Any]:
    scope = Scope(spec, rng, lexicon(pack, "words"))
    task = {"category": category} | {name: scope.field(name) for name in ("instruction", "input", "output")}
    if category in LABELLED:
        task["labels"] = list(spec["labels"])
    return task | {"meta": {key: scope.expand(text) for key, text in spec.get("meta", {}).items()}}


class Scope:
    """The values one task has bound so far, and the lists it draws further ones from: the task's own, then the shared words."""

    def __init__(self, spec: dict[str, Any], rng: random.Random, words: dict[str, Any]) -> None:
        self._lists, self._rng, self._bound = {**words, **spec}, rng, {}
        if "labels" in spec:
            self._bound["labels"] = "، ".join(spec["labels"])
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
        if index:
            entry = self._lists[name][self._bound[index]]
        else:
            entry = self._bound[name] if name in self._bound else self._bind(name)
        if genders is not None:
            return genders.split("/")[_GENDERS.index(entry["g"])]
        return self.expand(str(entry[form or "n"] if isinstance(entry, dict) else entry))

    def _bind(self, name: str) -> Any:
        base = name.rstrip("0123456789")
        source = self._lists[base]
        taken = [value for key, value in self._bound.items() if key.rstrip("0123456789") == base]
        used = self._bound.setdefault(f"{base}-sources", [])
        entries = source if isinstance(source, list) else [source]
        free = [entry for entry in entries if entry not in used and entry not in taken]
        entry = self._rng.choice(free or entries)
        used.append(entry)
        self._bound[name] = self.expand(entry) if isinstance(entry, str) else entry
        return self._bound[name]


def _numbers(spec: dict[str, Any], rng: random.Random) -> dict[str, int]:
    """Numbers of a kind, drawn until its requirement holds."""
    if "numbers" not in spec:
        return {}
    for _ in range(_DRAWS):
        values = {name: rng.randrange(span[0], span[1] + 1, (span + [1])[2]) for name, span in spec["numbers"].items()}
        for name, expression in spec.get("derive", {}).items():
            values[name] = evaluate(expression, values)
        if evaluate(spec.get("require", "1"), values):
            return values
    raise ValueError(f"no numbers in {_DRAWS} draws meet {spec['require']!r}; widen `numbers` of that kind")


def evaluate(expression: str, values: dict[str, int] | None = None) -> int:
    """Value of whole-number arithmetic and comparisons: `evaluate("a * 2 + 1", {"a": 3}) == 7`; nothing else is understood."""
    return _value(ast.parse(expression, mode="eval").body, values or {})


def _value(node: ast.AST, values: dict[str, int]) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.Compare):
        sides = [_value(side, values) for side in (node.left, *node.comparators)]
        pairs = zip(node.ops, sides, sides[1:], strict=False)
        return all(_OPERATORS[type(op)](left, right) for op, left, right in pairs)
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        return all(_value(part, values) for part in node.values)
    raise ValueError(f"{ast.unparse(node)!r} is not whole-number arithmetic")
