"""synth: what makes a candidate unfit, each a pure function of the task that returns a named reason or nothing.

In: a parsed task, its language. Out: the first reason to drop it, or the empty string. The order is fixed, so counts can be
compared between runs. Novelty is judged after these, in novelty.py. Words and limits are in the pack (pack.toml, [filters]).
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from alif_kit.core.records import CATEGORIES, SeedTask
from alif_kit.languages import pack
from alif_kit.languages.text import comparison_tokens, identify_language, plain_numbers
from alif_kit.synth.arithmetic import equations, side_value
from alif_kit.synth.parse import SIDES, TAGS, final_answer

# Words an output may have, by category: (least, most).
OUTPUT_WORDS = {"generation": (15, 600), "reasoning": (8, 400), "ethics": (12, 500), "qa": (4, 400), "translation": (2, 400)}
OUTPUT_WORDS |= {"classification": (1, 8), "sentiment": (1, 4)}
INSTRUCTION_WORDS = (3, 150)
ALPHABET_SHARE = 0.8
_NUMBER = r"-?\d+(?:\.\d+)?"
_CONTACT = re.compile(
    r"https?://|www\.|[\w.+-]+@[\w-]+\.\w|(?<!\d)(?:\+?92|0)3\d{2}[- ]?\d{7}(?!\d)|(?<!\d)\d{5}-\d{7}-\d(?!\d)", re.IGNORECASE
)


def first_reason(task: SeedTask, language: str = "ur") -> str:
    """The first filter's reason to drop the task, or the empty string; `language` is the pack's."""
    return next((reason for check in FILTERS if (reason := check(task, language))), "")


def length(task: SeedTask, _: str) -> str:
    """`too_short`, `too_long`: words of instruction and output against the category's limits."""
    for text, (least, most) in ((task.instruction, INSTRUCTION_WORDS), (task.output, OUTPUT_WORDS[task.category])):
        if not least <= (words := len(text.split())) <= most:
            return "too_short" if words < least else "too_long"
    return ""


def prompt_leak(task: SeedTask, _: str) -> str:
    """`prompt_leak`: the answer format or the request's own lines inside a task."""
    leaks = (*TAGS.values(), "===", '"instruction"', *(f"({category})" for category in CATEGORIES))
    return "prompt_leak" if any(mark in text for text in _texts(task) for mark in leaks) else ""


def in_language(task: SeedTask, language: str) -> str:
    """`wrong_language`: a part that should be in the pack's language is not, by script (short texts) or as identified."""
    known = (pack.settings(language)["code"], "und")
    for text in own_texts(task, language):
        if identify_language(text) not in known or pack.purity(text, language) < ALPHABET_SHARE:
            return "wrong_language"
    return ""


def own_texts(task: SeedTask, language: str) -> list[str]:
    """The texts of a task that should be in the pack's language, as far as they have letters: of a translation not all."""
    code = pack.settings(language)["code"]
    own = (text for text, side in zip(_texts(task), SIDES, strict=True) if task.meta.get(side, code) == code)
    return [text for text in own if any(map(str.isalpha, text))]


def translation_sides(task: SeedTask, _: str) -> str:
    """`same_language`, `no_payload`: a translation needs a text and two languages."""
    if task.category != "translation":
        return ""
    if not task.input:
        return "no_payload"
    if task.meta["source"] == task.meta["target"]:
        return "same_language"
    english = [text for text, side in zip(_texts(task)[1:], SIDES[1:], strict=True) if task.meta[side] == "en"]
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
    labels = set(task.labels)
    wrong = task.category == "sentiment" and labels != set(pack.settings(language)["filters"]["sentiment_labels"])
    if wrong or not 2 <= len(labels) == len(task.labels):
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
    if len(numbers) != 1 or not equations(steps):
        return ""
    known = {float(n) for n in re.findall(_NUMBER, steps + plain_numbers(f"{task.instruction} {task.input}"))}
    return "" if float(numbers[0]) in known else "inconsistent_answer"


def arithmetic(task: SeedTask, _: str = "ur") -> str:
    """`wrong_arithmetic`: an equation of plain numbers that does not come out (a quotient may be rounded to two places)."""
    for left, right in equations(task.output):
        sides = side_value(left), side_value(right)
        if None not in sides and abs(sides[0] - sides[1]) > 0.0051 * ("÷" in left or "/" in left) + 1e-9:
            return "wrong_arithmetic"
    return ""


def refusal(task: SeedTask, language: str) -> str:
    """`refusal`: an apology or a remark on being a model where an answer was due (ethics may decline, and then helps)."""
    opening = " ".join(comparison_tokens(task.output)[:14])
    marks = _phrases("machine_marks", language) + (() if task.category == "ethics" else _phrases("refusals", language))
    return "refusal" if any(mark in f" {opening} " for mark in marks) else ""


def asks_for_media(task: SeedTask, language: str) -> str:
    """`asks_for_media`: the instruction wants pictures, sound, files or actions a text model cannot take."""
    said = f" {' '.join(comparison_tokens(task.instruction))} "
    return "asks_for_media" if any(mark in said for mark in _phrases("media_requests", language)) else ""


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
def _phrases(name: str, language: str) -> tuple[str, ...]:
    """The pack's phrases as runs of whole tokens, so that they match next to ۔ and ؟ and never inside a word."""
    return tuple(f" {' '.join(comparison_tokens(phrase))} " for phrase in pack.settings(language)["filters"][name])


FILTERS = [prompt_leak, contact_data, length, label, translation_sides, in_language]  # of form, then of sense
FILTERS += [answer_line, arithmetic, inconsistent_answer, copies_input, refusal, asks_for_media, repetition]
