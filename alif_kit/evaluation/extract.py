"""evaluation: what an answer says, read out of free text: a number, a letter, yes or no.

In: a model's answer in Urdu or English. Out: its value; None when there is none, or more than one: not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from alif_kit.evaluation.number_words import words_to_number
from alif_kit.languages.text import comparison_tokens, to_western_digits

# What announces the final answer, strongest first; of several, the last one in the text counts.
_CUES = (
    r"\\boxed\{",
    r"####",
    r"(?:حتمی|آخری|درست|صحیح)\s+جواب(?:\s+ہے)?\s*[:：=\-–]?",
    r"جواب\s*[:：=]",
    r"(?:final\s+)?answer\s*(?:is\b|[:：=])",
)
_CUE = re.compile("|".join(_CUES), re.IGNORECASE)
_WEAK_CUE = re.compile(r"(?:لہٰ?ذا|چنانچہ|اس لیے|یعنی|therefore|thus|hence|so)\b", re.IGNORECASE)

_GROUPED = r"[0-9]{1,3}(?:[,٬،][0-9]{2,3})+"
_NUMBER = re.compile(
    rf"(?P<sign>(?<![0-9\w)])[-−–]\s?|منفی\s+|minus\s+)?"
    rf"(?P<whole>{_GROUPED}(?![0-9])|[0-9]+)(?P<decimal>[.٫][0-9]+)?"
    rf"(?P<fraction>(?:\s+(?:اور\s+)?[0-9]+)?\s?[/⁄]\s?[0-9]+)?(?P<half>\s?[½¼¾⅓⅔])?|(?P<alone>[½¼¾⅓⅔])"
)
_GLYPHS = {"½": Fraction(1, 2), "¼": Fraction(1, 4), "¾": Fraction(3, 4), "⅓": Fraction(1, 3), "⅔": Fraction(2, 3)}
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}")


def number(text: str, marker: str = "جواب:") -> Fraction | None:
    """The final number of an answer: after its last cue (`marker`, `####`, `\\boxed{`, "Answer:"), else the last one there is.

    `number("۳ × ۴ = ۱۲\\nجواب: ۱۲ روپے") == 12`; "15 یا 16" after the cue gives None.
    """
    plain = re.sub(r"[*$`]|\bRs\.?|\bPKR\b", " ", to_western_digits(text))
    place = _after_cue(plain, to_western_digits(marker))
    if place is not None:
        return _one_number(place)
    weak = list(_WEAK_CUE.finditer(plain))
    late = _numbers(plain[weak[-1].end() :]) if weak else []
    last_sentence = re.split(r"[۔.\n؟!]", re.sub(r"[۔.؟!\s]+$", "", plain))[-1]
    return (late or _numbers(plain) or [words_to_number(last_sentence)])[-1]


def _after_cue(text: str, marker: str) -> str | None:
    """What stands after the last cue with something after it, up to the end of the line or sentence; None without one."""
    cue = re.compile(f"{re.escape(marker)}|{_CUE.pattern}", re.IGNORECASE)
    ends = [match.end() for match in cue.finditer(text)]
    for end in reversed(ends):
        rest = text[end:].lstrip(" \t:：=-\n")
        sentence = re.split(r"\n|۔(?=\s|$)|\.(?=\s|$)", rest, maxsplit=1)[0]
        if sentence.strip(" }"):
            return ("-" if re.search(r"[-−–]\s*$", text[end : len(text) - len(rest)]) and sentence[:1].isdigit() else "") + sentence
    return None


def _one_number(place: str) -> Fraction | None:
    """The only number of an answer's line; after its last equals sign when it computes. None for two numbers or a clock."""
    if _CLOCK.search(place):
        return None
    side = re.split(r"[=＝]", re.sub(r"(?<=\S)\s*\([^)]*\)", " ", place))[-1]  # brackets after it explain: "12 (3 × 4)"
    values = set(_numbers(side))
    if not values:
        return words_to_number(side)
    return values.pop() if len(values) == 1 else None


def _numbers(text: str) -> list[Fraction]:
    """Every number of a text, in order."""
    return [_value(match) for match in _NUMBER.finditer(text)]


def _value(match: re.Match[str]) -> Fraction:
    if match["alone"]:
        return _GLYPHS[match["alone"]]
    value = Fraction(re.sub("[,٬،]", "", match["whole"]) + (match["decimal"] or "").replace("٫", "."))
    if match["fraction"]:
        *whole, top, bottom = re.findall(
            "[0-9]+", match["whole"] + match["fraction"] if not match["decimal"] else match["fraction"]
        )
        if int(bottom):
            value = Fraction(int(top), int(bottom)) + sum(map(int, whole))
    if match["half"]:
        value += _GLYPHS[match["half"].strip()]
    return -value if match["sign"] else value


def same_number(left: Fraction, right: Fraction) -> bool:
    """Equal, or equal once rounded to the two decimals or more that the shorter one has: 0.33 is a third, 0.3 is not."""
    if left == right:
        return True
    places = [p for p in map(_decimals, (left, right)) if p is not None and p >= 2]
    return len(places) == 1 and abs(left - right) <= Fraction(1, 2 * 10 ** places[0])


def _decimals(value: Fraction) -> int | None:
    """Decimals that write the value exactly, None when none do: 1/4 has two, 1/3 has none that do."""
    return next((places for places in range(13) if (value * 10**places).denominator == 1), None)


# The letters of Urdu's own lists, and fullwidth ones.
_LETTERS = dict(zip(["الف", "ب", "ج", "د", "ہ"], "ABCDE", strict=True)) | {chr(0xFF21 + i): "ABCDE"[i] for i in range(5)}
_CHOICE = r"(?P<letter>[A-Za-zＡ-Ｅ]|الف|[بجدہ])"
_WORD = r"[A-Za-z\u0600-\u06FF]"
_IS = rf"\s*(?:is\b|ہے\b|[:：=\-–])?\s*[:：]?\s*(?:option|آپشن)?\s*[\"'«(\[]*{_CHOICE}(?!{_WORD})"
_STRONG = re.compile(
    rf"(?:final\s+answer|correct\s+(?:answer|option|choice)|(?:حتمی|آخری|درست|صحیح)\s+(?:جواب|آپشن|انتخاب)){_IS}", re.IGNORECASE
)
_CUED = re.compile(rf"(?:answer|option|choice|جواب|آپشن|انتخاب){_IS}", re.IGNORECASE)
_AFTER = re.compile(
    rf"(?<!{_WORD}){_CHOICE}[\"'»)\].]*\s+(?:is\s+(?:the\s+)?(?:correct|right)|(?:درست|صحیح)\s+(?:جواب\s+)?ہے)",
    re.IGNORECASE,
)
_MARKED = re.compile(rf"^\s*[\"'«(\[]*{_CHOICE}\s*(?:[).\]:：»\"'،۔-]|$)", re.IGNORECASE | re.MULTILINE)
_BRACKETED = re.compile(rf"[(\[]\s*{_CHOICE}\s*[)\]]", re.IGNORECASE)
_JSON = re.compile(rf"\"?(?:answer|choice|option)\"?\s*:\s*\"{_CHOICE}\"", re.IGNORECASE)
_SEVERAL = re.compile(
    rf"(?<!{_WORD}){_CHOICE}\s*[)\]]?\s*(?:\bor\b|\band\b|/|&|،|,|\bیا\b|\bاور\b)\s*[(\[]?\s*(?P<second>[A-Ea-e]|الف|[بجدہ])(?!{_WORD})"
)


def letter(text: str, letters: str = "ABCD", options: Mapping[str, str] | None = None) -> str | None:
    """The chosen option of a multiple-choice answer; None when there is none among `letters`, or more than one.

    In order: an explicit final cue ("صحیح جواب: C", "the correct answer is C"; of several, the last), any other cue, a letter that
    opens a line or stands in brackets, the text of exactly one option. `letter("B) لاہور") == "B"`, `letter("A یا B") is None`.
    """
    plain = re.sub(r"[*_`#]+", "", text).strip()
    if _several(plain, letters):
        return None
    if strong := _all(_STRONG, plain, letters):
        return strong[-1]
    for pattern in (_JSON, _CUED, _AFTER, _MARKED, _BRACKETED):
        if found := _all(pattern, plain, letters):
            return found[0] if len(set(found)) == 1 else None
    return only_option(plain, options or {})


def _all(pattern: re.Pattern[str], text: str, letters: str) -> list[str]:
    found = (_LETTERS.get(m["letter"], m["letter"].upper()) for m in pattern.finditer(text) if not _is_prose(m))
    return [letter for letter in found if letter in letters]


def _is_prose(match: re.Match[str]) -> bool:
    """The article "a" and the small letters of prose are no choice unless they stand alone or in brackets."""
    before, after = match.string[: match.start("letter")].rstrip(), match.string[match.end("letter") :]
    marked = before[-1:] in ("", *":：([\"'«") or after[:1] in (")", "]")
    return match["letter"] in "abcde" and not marked


def _several(text: str, letters: str) -> bool:
    """Whether two letters are offered together: "A or B", "A اور C"."""
    pairs = ((_LETTERS.get(m[name], m[name].upper()) for name in ("letter", "second")) for m in _SEVERAL.finditer(text))
    return any(one in letters and two in letters and one != two for one, two in pairs)


def padded(text: str) -> str:
    """The text's tokens between single spaces, so that a phrase is found in it only as whole words."""
    return f" {' '.join(comparison_tokens(text))} "


def only_option(text: str, options: Mapping[str, str]) -> str | None:
    """The option whose text the answer repeats, when it is exactly one; one inside a longer one that is there does not count."""
    answer, words = padded(text), {key: padded(option) for key, option in options.items()}
    there = [key for key, option in words.items() if option.strip() and option in answer]
    longest = [key for key in there if not any(key != other and words[key] in words[other] for other in there)]
    return longest[0] if len(longest) == 1 else None


_YES = {"ہاں", "جی", "بالکل", "یقینا", "درست", "صحیح", "سچ", "yes", "true", "correct", "yeah"}
_NO = {"نہیں", "ہرگز", "غلط", "جھوٹ", "no", "false", "incorrect", "not"}
_UNSURE = {"معلوم", "پتا", "شاید", "ممکنہ", "unknown", "maybe"}
_NEGATED = {*((word, "نہیں") for word in ("درست", "صحیح", "سچ", "جی", "بالکل")), ("not", "true"), ("not", "correct")}


def yes_no(text: str) -> bool | None:
    """True for yes, False for no: by the line of the cue if there is one, else by the first line; None for neither or both.

    `yes_no("جی نہیں، یہ ممکن نہیں۔") is False`, `yes_no("ہاں بھی اور نہیں بھی") is None`.
    """
    place = _after_cue(text, "جواب:") or next((line for line in text.splitlines() if line.strip()), "")
    words = comparison_tokens(re.split(r"[۔.!؟\n]", place.strip(), maxsplit=1)[0])
    if not words or _UNSURE & set(words):
        return None
    if words[0] in _YES | _NO:
        return _verdict(words)
    marked = {word for word in words if word in (_YES - {"جی"}) | (_NO - {"not"})}
    return _verdict(words) if len(words) <= 6 and marked else None


def _verdict(words: list[str]) -> bool | None:
    """The verdict of a short statement by its first sign; "yes and no" gives None."""
    if any(pair in _NEGATED for pair in zip(words, words[1:], strict=False)):
        return False
    if ("غلط", "نہیں") in zip(words, words[1:], strict=False):
        return None
    if "بھی" in words and set(words) & _YES and set(words) & _NO:
        return None
    first = next(word for word in words if word in _YES | _NO)
    return first in _YES
