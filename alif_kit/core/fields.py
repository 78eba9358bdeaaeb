"""core: what a field of the configuration may be, as types that check it and in words for a person.

In: a table of the configuration, a fault that pydantic found. Out: a row per field (name, type, range or choices, value, sentence),
which `alif config`, docs/configuration.md and errors share; one sentence per fault.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, GroupedMetadata, Le
from pydantic import AfterValidator, BeforeValidator

from alif_kit.core.records import CATEGORIES

# [Alif] Rows per category of Urdu-Instruct, 51,686 in all.
PAPER_TARGETS = {
    "generation": 5907,
    "reasoning": 9590,
    "ethics": 9002,
    "qa": 8177,
    "translation": 10001,
    "classification": 4662,
    "sentiment": 4347,
}


def targets_of(total: int) -> dict[str, int]:
    """Split a number of examples over the categories in the paper's proportions: `targets_of(51686) == PAPER_TARGETS`."""
    whole = sum(PAPER_TARGETS.values())
    return {category: max(1, round(total * count / whole)) for category, count in PAPER_TARGETS.items()}


@dataclass(frozen=True)
class between(GroupedMetadata):
    """The range of a number, both ends included. It may come as text, but not as true or false."""

    low: float
    high: float

    def __iter__(self) -> Iterator[Any]:
        return iter((Ge(self.low), Le(self.high), NUMBER))


def _steps(value: int) -> int:
    if value == 0 or value < -1:
        raise ValueError(f"is {value}; expected -1 (let epochs decide) or at least 1")
    return value


def _targets(counts: dict[str, int]) -> dict[str, int]:
    if unknown := sorted(set(counts) - set(CATEGORIES)):
        raise ValueError(f"names {unknown[0]!r}; expected categories among {', '.join(CATEGORIES)}")
    if not counts or min(counts.values()) < 1:
        raise ValueError("must ask for at least 1 example in each category it names")
    return counts


def _from_json(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        raise ValueError(f'is {value!r}; expected a table as JSON, such as {{"name": 1}}') from None


def _a_number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"is {value!r}; expected a number")
    return value


NUMBER = BeforeValidator(_a_number)
Words = Annotated[tuple[str, ...], BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value)]
"""Names; in one text, with commas between."""
Counts = Annotated[dict[str, int], BeforeValidator(_from_json)]
Texts = Annotated[dict[str, str], BeforeValidator(_from_json)]
"""Numbers or texts by name; in one text, as JSON."""
Targets = Annotated[Counts, AfterValidator(_targets)]
"""Examples by category."""
Steps = Annotated[int, NUMBER, AfterValidator(_steps)]
"""A number of steps, or -1."""
KINDS = {int: "int", float: "float", bool: "true or false", str: "text", tuple: "names with commas between", dict: "a table"}


@dataclass(frozen=True)
class Row:
    """One field for a person: its dotted name, its type, its range or choices (empty: anything of the type), value, sentence."""

    name: str
    kind: str
    allowed: str
    value: Any
    sentence: str


def rows_of(table: Any, prefix: str = "") -> list[Row]:
    """The fields of a table and of the tables in it, in the order of the file."""
    found = []
    for name, info in type(table).__pydantic_fields__.items():
        value, (kind, allowed) = getattr(table, name), _allowed(info)
        sentence = " ".join((info.description or "").split())
        found += rows_of(value, f"{prefix}{name}.") if is_dataclass(value) else [Row(prefix + name, kind, allowed, value, sentence)]
    return found


def _allowed(info: Any) -> tuple[str, str]:
    origin = get_origin(info.annotation) or info.annotation
    if origin is Literal:
        return "text", f"one of {', '.join(get_args(info.annotation))}"
    limits = next((f"between {m.low} and {m.high}" for m in info.metadata if isinstance(m, between)), "")
    return KINDS.get(origin, "a table of fields"), limits


def sentence(fault: dict[str, Any], rows: list[Row]) -> str:
    """What pydantic found first: the field, what it is, what was expected; one that does not exist hears its nearest neighbour."""
    kind, name, value = fault["type"], ".".join(map(str, fault["loc"])), fault["input"]
    if kind == "unexpected_keyword_argument":
        return unknown(name, rows)
    if kind == "value_error":  # what one of ours has found
        return f"{name} {fault['ctx']['error']}".strip()
    row = next((row for row in rows if row.name == name), None)
    if kind in ("greater_than_equal", "less_than_equal") and row:
        return f"{name} is {float(value) if row.kind == 'float' else value}; expected {row.allowed}"
    in_a_field = any(name.startswith(f"{row.name}.") for row in rows)
    expected = (
        (row.allowed if kind == "literal_error" else row.kind) if row else kind.split("_")[0] if in_a_field else "a table of fields"
    )
    return f"{name or 'the configuration'} is {value!r}; expected {expected}"


def unknown(name: str, rows: list[Row]) -> str:
    """`unknown field pretrain.max_step; did you mean pretrain.max_steps?`, or what its table has."""
    table, known = name.rpartition(".")[0], [row.name for row in rows]
    tables = list(dict.fromkeys(n.partition(".")[0] for n in known))
    inside = [n for n in known if table and n.startswith(f"{table}.")]
    near = difflib.get_close_matches(name, known, 1, 0.8)
    return f"unknown field {name}; " + (f"did you mean {near[0]}?" if near else f"expected one of {', '.join(inside or tables)}")
