"""synth: what makes a candidate unfit, each a pure function of the task that returns a named reason or nothing.

In: a parsed task, its language. Out: the first reason to drop it, or the empty string. The order is fixed, so counts can be
compared between runs. Novelty is judged after these, in novelty.py. Words and limits are in the pack (pack.toml, [filters]).
"""

from __future__ import annotations

import ast
import operator
import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from alif_kit.core.records import CATEGORIES, SeedTask
from alif_kit.languages import pack
from alif_kit.languages.text import comparison_tokens, identify_language, plain_numbers
from alif_kit.synth.parse import TAGS, final_answer

Filter = Callable[[SeedTask, str], str]

# Words an output may have, by category: (least, most).
OUTPUT_WORDS = {
    "generation": (15, 600),
    "reasoning": (8, 400),
    "ethics": (12, 500),
    "qa": (4, 400),
    "translation": (2, 400),
    "classification": (1, 8),
    "sentiment": (1, 4),
}
INSTRUCTION_WORDS = (3, 150)
ALPHABET_SHARE = 0.8
_NUMBER = r"-?\d+(?:\.\d+)?"
_CONTACT = re.compile(
    r"https?://|www\.|[\w.+-]+@[\w-]+\.\w|(?<!\d)(?:\+?92|0)3\d{2}[- ]?\d{7}(?!\d)|(?<!\d)\d{5}-\d{7}-\d(?!\d)", re.IGNORECASE
)
_TO_PYTHON = str.maketrans({"×": "*", "x": "*", "X": "*", "÷": "/", "−": "-", "–": "-"})
_RUN = r"[\d.()×xX*÷/+\-−– \t]*"
_LEFT, _RIGHT = re.compile(_RUN + "$"), re.compile("^" + _RUN)
_OPERATION = re.compile(r"\d[)\s]*[×xX*÷/+\-−–][(\s]*\d")
_LIST_NUMBER = re.compile(r"^\s*\d+\s*[.)]\s+")
_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def first_reason(task: SeedTask, language: str = "ur") -> str:
    """The first filter's reason to drop the task, or the empty string; `language` is the pack's."""
    return next((reason for check in FILTERS if (reason := check(task, language))), "")


def length(task: SeedTask, _: str) -> str:
    """`too_short`, `too_long`: words of instruction and output against the category's limits."""
    low, high = OUTPUT_WORDS[task.category]
    for text, least, most in ((task.instruction, *INSTRUCTION_WORDS), (task.output, low, high)):
        words = len(text.split())
        if words < least:
            return "too_short"
        if words > most:
            return "too_long"
    return ""


def prompt_leak(task: SeedTask, _: str) -> str:
    """`prompt_leak`: the answer format or the request's own lines inside a task."""
    leaks = (*TAGS.values(), "===", '"instruction"', *(f"({category})" for category in CATEGORIES))
    return "prompt_leak" if any(mark in text for text in _texts(task) for mark in leaks) else ""


def in_language(task: SeedTask, language: str) -> str:
    """`wrong_language`: a part that should be in the pack's language is not, by script (short texts) or as identified."""
    return "wrong_language" if any(not _is_in(text, language) for text in _own_parts(task, language)) else ""


def _own_parts(task: SeedTask, language: str) -> list[str]:
    if task.category != "translation":
        return [text for text in _texts(task) if text]
    sides = ((task.instruction, "asked_in"), (task.input, "source"), (task.output, "target"))
    return [text for text, key in sides if task.meta.get(key) == pack.settings(language)["code"]]


def _is_in(text: str, language: str) -> bool:
    if not any(c.isalpha() for c in text):
        return True
    known = identify_language(text) in (pack.settings(language)["code"], "und")
    return known and pack.purity(text, language) >= ALPHABET_SHARE


def translation_sides(task: SeedTask, _: str) -> str:
    """`same_language`, `no_payload`: a translation needs a text and two languages."""
    if task.category != "translation":
        return ""
    if not task.input:
        return "no_payload"
    if task.meta["source"] == task.meta["target"]:
        return "same_language"
    english = [text for text, key in ((task.input, "source"), (task.output, "target")) if task.meta[key] == "en"]
    return "wrong_language" if any(identify_language(text) not in ("en", "und") for text in english) else ""


def copies_input(task: SeedTask, _: str) -> str:
    """`copies_input`: the output says the input or the instruction over again."""
    output = comparison_tokens(task.output)
    sources = (comparison_tokens(task.input), comparison_tokens(task.instruction))
    return "copies_input" if any(source and source == output for source in sources) else ""


def label(task: SeedTask, language: str) -> str:
    """`label_not_in_set`, `bad_labels`: the output must be one of at least two different labels."""
    if not task.labels:
        return ""
    if len(set(task.labels)) < 2 or len(set(task.labels)) != len(task.labels):
        return "bad_labels"
    if task.category == "sentiment" and set(task.labels) != set(_words("sentiment_labels", language)):
        return "bad_labels"
    return "" if task.output in task.labels else "label_not_in_set"


def answer_line(task: SeedTask, language: str) -> str:
    """`no_final_answer`: reasoning opens with its marker and ends with the answer on a line of its own."""
    if task.category != "reasoning":
        return ""
    opens = task.output.lstrip().startswith(pack.settings(language)["reasoning_marker"])
    return "" if opens and final_answer(task.output, language) else "no_final_answer"


def inconsistent_answer(task: SeedTask, language: str) -> str:
    """`inconsistent_answer`: the number of the final answer is nowhere in the steps or the question, or two answers differ."""
    if task.category != "reasoning":
        return ""
    marker = pack.settings(language)["answer_marker"]
    steps, _, answer = plain_numbers(task.output).rpartition(marker)
    earlier = [line.removeprefix(marker) for line in steps.splitlines() if line.startswith(marker)]
    if any(comparison_tokens(line) != comparison_tokens(answer) for line in earlier):
        return "inconsistent_answer"
    numbers = re.findall(_NUMBER, answer)
    if len(numbers) != 1 or not _equations(steps):
        return ""
    known = {float(n) for n in re.findall(_NUMBER, steps + plain_numbers(f"{task.instruction} {task.input}"))}
    return "" if float(numbers[0]) in known else "inconsistent_answer"


def arithmetic(task: SeedTask, _: str = "ur") -> str:
    """`wrong_arithmetic`: an equation of plain numbers that does not come out (a quotient may be rounded to two places)."""
    for left, right in _equations(task.output):
        sides = _value(left), _value(right)
        if None not in sides and abs(sides[0] - sides[1]) > 0.0051 * ("÷" in left or "/" in left) + 1e-9:
            return "wrong_arithmetic"
    return ""


def _equations(text: str) -> list[tuple[str, str]]:
    """Both sides of each equals sign that has an operation before it: `"کل ۳ × ۴ = ۱۲ ہوئے" -> [(" 3 × 4 ", " 12 ")]`."""
    found = []
    for line in plain_numbers(text).splitlines():
        parts = line.split("=")
        for before, after in zip(parts, parts[1:], strict=False):
            left, right = _LEFT.search(before)[0], _RIGHT.search(after)[0]
            if _OPERATION.search(left) and right.strip():
                found.append((left, right))
    return found


def _value(expression: str) -> float | None:
    """Value of `(3 + 4) × 250`, None for what is no arithmetic; a list number before it or a dash after it is passed over."""
    for text in (expression, _LIST_NUMBER.sub("", expression), expression.strip("()+-−–. \t")):
        try:
            return _work_out(ast.parse(text.strip().translate(_TO_PYTHON), mode="eval").body)
        except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
            continue
    return None


def _work_out(node: ast.AST) -> float:
    if isinstance(node, ast.Constant):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_work_out(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return _ARITHMETIC[type(node.op)](_work_out(node.left), _work_out(node.right))
    raise ValueError(ast.dump(node))


def refusal(task: SeedTask, language: str) -> str:
    """`refusal`: an apology or a remark on being a model where an answer was due (ethics may decline, and then helps)."""
    opening = " ".join(comparison_tokens(task.output)[:14])
    lists = ("machine_marks",) if task.category == "ethics" else ("machine_marks", "refusals")
    marks = tuple(mark for name in lists for mark in _words(name, language))
    return "refusal" if any(mark in f" {opening} " for mark in _spaced(marks)) else ""


def asks_for_media(task: SeedTask, language: str) -> str:
    """`asks_for_media`: the instruction wants pictures, sound, files or actions a text model cannot take."""
    said = f" {' '.join(comparison_tokens(task.instruction))} "
    return "asks_for_media" if any(mark in said for mark in _spaced(_words("media_requests", language))) else ""


def contact_data(task: SeedTask, _: str) -> str:
    """`contact_data`: links, e-mail addresses, mobile and identity-card numbers."""
    return "contact_data" if any(_CONTACT.search(plain_numbers(text)) for text in _texts(task)) else ""


def repetition(task: SeedTask, _: str) -> str:
    """`repetition`: one 4-word run makes up more than a quarter of an output of 20 words or more."""
    words = comparison_tokens(task.output)
    if len(words) < 20:
        return ""
    runs = Counter(tuple(words[i : i + 4]) for i in range(len(words) - 3))
    return "repetition" if runs.most_common(1)[0][1] * 4 > len(words) / 4 and max(runs.values()) > 2 else ""


def _texts(task: SeedTask) -> tuple[str, str, str]:
    return task.instruction, task.input, task.output


@lru_cache
def _words(name: str, language: str) -> tuple[str, ...]:
    return tuple(pack.settings(language)["filters"][name])


@lru_cache
def _spaced(phrases: Any) -> tuple[str, ...]:
    """Phrases as runs of whole tokens, so that they match next to ۔ and ؟ and never inside a word."""
    return tuple(f" {' '.join(comparison_tokens(phrase))} " for phrase in phrases)


FILTERS: tuple[Filter, ...] = (
    prompt_leak,
    contact_data,
    length,
    label,
    translation_sides,
    in_language,
    answer_line,
    arithmetic,
    inconsistent_answer,
    copies_input,
    refusal,
    asks_for_media,
    repetition,
)
