"""evaluation: the measures, as plain functions.

In: texts, answers, log-likelihoods. Out: numbers whose unit the docstring states.
"""

from __future__ import annotations

import math
import re
from typing import Any

from alif_kit.records import Example
from alif_kit.text import comparison_tokens

CHECKABLE = ("classification", "sentiment", "reasoning")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def bits_per_byte(negative_log_likelihood: float, byte_count: int) -> float:
    """Nats over UTF-8 bytes, in bits: comparable between tokenizers, where mean loss per token is not.

    `bits_per_byte(math.log(2), 1) == 1.0`
    """
    return negative_log_likelihood / (byte_count * math.log(2))


def final_answer(output: str, marker: str) -> str:
    """What stands after the marker on the last line that begins with it; empty when there is none."""
    lines = [line.strip() for line in output.splitlines()]
    answers = [line.removeprefix(marker).strip() for line in lines if line.startswith(marker)]
    return answers[-1] if answers else ""


def same_answer(expected: str, given: str) -> bool:
    """Equal as tokens, digits of all scripts alike; two numbers compare by value: `same_answer("990 روپے", "۹۹۰")`."""
    if not given.strip():
        return False
    left, right = comparison_tokens(expected), comparison_tokens(given)
    if left == right:
        return True
    numbers = [_NUMBER.findall(" ".join(side)) for side in (left, right)]
    return len(numbers[0]) == len(numbers[1]) == 1 and float(numbers[0][0]) == float(numbers[1][0])


def is_correct(example: Example, answer: str, marker: str) -> bool | None:
    """Exact match of a checkable example, None for the other categories."""
    if example.category not in CHECKABLE:
        return None
    if example.category == "reasoning":
        return same_answer(final_answer(example.output, marker), final_answer(answer, marker))
    return comparison_tokens(answer) == comparison_tokens(example.output)


def mean(values: list[Any]) -> float | None:
    """Plain mean, None of nothing: an empty measure is not a zero."""
    return sum(values) / len(values) if values else None
