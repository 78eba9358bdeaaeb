"""synth: arithmetic worked out without Python's own `eval`: the equations of an answer, the numbers of a template.

In: text. Out: the sides of its equations, and values; ValueError for what is no arithmetic.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from alif_kit.languages.text import plain_numbers

# What an expression may hold: kinds of numbers, as what they are taken, and operators.
DECIMAL: dict[type, Callable[..., Any]] = {int: float, float: float}
DECIMAL |= {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
WHOLE: dict[type, Callable[..., Any]] = {int: int, ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
WHOLE |= {ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Eq: operator.eq, ast.NotEq: operator.ne}
WHOLE |= {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}

_TO_PYTHON = str.maketrans({"×": "*", "x": "*", "X": "*", "÷": "/", "−": "-", "–": "-"})
_RUN = r"[\d.()×xX*÷/+\-−– \t]*"
_LEFT, _RIGHT = re.compile(_RUN + "$"), re.compile("^" + _RUN)
_OPERATION = re.compile(r"\d[)\s]*[×xX*÷/+\-−–][(\s]*\d")
_LIST_NUMBER = re.compile(r"^\s*\d+\s*[.)]\s+")


def equations(text: str) -> list[tuple[str, str]]:
    """Both sides of each equals sign that has an operation before it: `"کل ۳ × ۴ = ۱۲ ہوئے" -> [(" 3 × 4 ", " 12 ")]`."""
    parts = [line.split("=") for line in plain_numbers(text).splitlines()]
    around = (pair for line in parts for pair in zip(line, line[1:], strict=False))
    sides = ((_LEFT.search(before)[0], _RIGHT.search(after)[0]) for before, after in around)
    return [(left, right) for left, right in sides if _OPERATION.search(left) and right.strip()]


def side_value(expression: str) -> float | None:
    """Value of `(3 + 4) × 250`, None for what is no arithmetic; a list number before it or a dash after it is passed over."""
    for text in (expression, _LIST_NUMBER.sub("", expression), expression.strip("()+-−–. \t")):
        try:
            return evaluate(text.strip().translate(_TO_PYTHON), operators=DECIMAL)
        except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
            continue
    return None


def evaluate(expression: str, values: dict[str, int] | None = None, operators: dict[type, Callable[..., Any]] = WHOLE) -> Any:
    """Value of whole-number arithmetic or a comparison, nothing else: `evaluate("a * 2 + 1", {"a": 3}) == 7`."""
    return _value(ast.parse(expression, mode="eval").body, values or {}, operators)


def _value(node: ast.AST, values: dict[str, int], operators: dict[type, Callable[..., Any]]) -> Any:
    work = partial(_value, values=values, operators=operators)
    match node:
        case ast.Constant(value) if type(value) in operators:
            return operators[type(value)](value)
        case ast.Name(name):
            return values[name]
        case ast.UnaryOp(ast.USub(), operand):
            return -work(operand)
        case ast.BinOp(left, operation, right) if type(operation) in operators:
            return operators[type(operation)](work(left), work(right))
        case ast.Compare(left, comparisons, others):
            sides = [work(side) for side in (left, *others)]
            pairs = zip(comparisons, sides, sides[1:], strict=False)
            return all(operators[type(comparison)](one, other) for comparison, one, other in pairs)
        case ast.BoolOp(ast.And(), parts):
            return all(map(work, parts))
    raise ValueError(f"{ast.unparse(node)!r} is not whole-number arithmetic")
