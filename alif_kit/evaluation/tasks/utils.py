"""evaluation: questions in the format of UrduMMLU, made ready to ask. Imports nothing of the kit: lm-eval can read it alone.

In: rows `{"id", "question", "options": {"A": …}, "correct_key", "domain", …}` with two to five options. Out: clean texts, options
in a seeded order that is the same for every model, the letter of the right one, and the prompt in Urdu or English.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Any

LETTERS = "ABCDE"
# Marks of direction and byte order that question banks carry: invisible, but tokens of their own to a model.
_INVISIBLE = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\u0640]")
# Options that speak of the others and so keep their place: "all of the above", "none of these", "both A and B".
_FIXED = re.compile(
    r"مندرجہ بالا|درج بالا|ان میں سے|ان سب|یہ سب|سبھی|تمام|دونوں|کوئی نہیں|کوئی بھی نہیں|(?:الف|[اأ])\s*(?:اور|،|و)\s*ب"
    r"|\b(?:all|none|both|any)\b.*\b(?:above|these|them)\b|\b[A-E]\s*(?:and|&)\s*[A-E]\b",
    re.IGNORECASE,
)
# The frames, written for this kit.
_HEAD = {"ur": "ذیل کے سوال کا صحیح جواب منتخب کیجیے۔", "en": "Choose the correct answer to the question below."}
_TAIL = {"ur": "صرف صحیح جواب کا حرف لکھیے ({letters})۔", "en": "Reply with the letter of the correct answer only ({letters})."}


def clean(text: str) -> str:
    """Composed Unicode, no invisible marks, single spaces: `clean("\\u200fپاکستان  کا")` is "پاکستان کا"."""
    return re.sub(r"\s+", " ", _INVISIBLE.sub("", unicodedata.normalize("NFC", str(text)))).strip()


def prepare(row: dict[str, Any]) -> dict[str, Any]:
    """A row ready to ask: question, options in their shuffled order, letters, the place of the right one, and what else it had.

    The order depends on the id alone. Options that speak of the others stay where they are.
    """
    keys = [key for key in sorted(row["options"]) if row["options"][key] not in (None, "")]
    options = [clean(row["options"][key]) for key in keys]
    order = _order(options, str(row.get("id") or clean(row["question"])))
    return {
        "id": str(row.get("id") or ""),
        "question": clean(row["question"]),
        "options": [options[i] for i in order],
        "letters": LETTERS[: len(order)],
        "answer": order.index(keys.index(row["correct_key"])),
        "domain": row.get("domain") or "",
        "subdomain": row.get("subdomain") or "",
        "level": row.get("level") or "",
    }


def _order(options: list[str], seed: str) -> list[int]:
    """Places of the options after shuffling those that may move."""
    moving = [i for i, option in enumerate(options) if not _FIXED.search(option)]
    shuffled = iter(random.Random(f"options of {seed}").sample(moving, len(moving)))
    return [next(shuffled) if i in moving else i for i in range(len(options))]


def prompt(question: dict[str, Any], language: str) -> str:
    """The question with its lettered options and what is asked for, in Urdu (`ur`) or English (`en`)."""
    listed = "\n".join(f"{letter}) {option}" for letter, option in zip(question["letters"], question["options"], strict=True))
    letters = (", " if language == "en" else "، ").join(question["letters"])
    return f"{_HEAD[language]}\n\n{question['question']}\n{listed}\n\n{_TAIL[language].format(letters=letters)}"


def process_docs(dataset: Any) -> Any:
    """For lm-eval: the data set with the columns its templates read."""

    def columns(row: dict[str, Any]) -> dict[str, Any]:
        question = prepare(row)
        return {
            "asked": question["question"],
            "choices": question["options"],
            "labels": list(question["letters"]),
            "gold": question["answer"],
            "prompt_ur": prompt(question, "ur"),
            "prompt_en": prompt(question, "en"),
        }

    return dataset.map(columns)


def label_balance(questions: Iterable[dict[str, Any]]) -> dict[str, int]:
    """How often each letter is the right one: a model that always says "A" is right as often as A's share."""
    return dict(sorted(Counter(question["letters"][question["answer"]] for question in questions).items()))
