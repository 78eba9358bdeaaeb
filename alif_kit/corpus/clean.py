"""corpus: makes running text fit to learn from: first repair, then named reasons to drop, each a pure function of the document.

In: a document as its source gives it. Out: the repaired document, and the first reason to drop it, the name of one of CHECKS in
their order, so counts can be compared between runs. Duplicates are judged after these, over the whole corpus, in prepare.py.

What `repair` does: wiki markup that an extractor left goes (comments, references, templates, tables, link and bold marks, the
parentheses these empty), HTML entities become characters, then `text.normalize`; lines of categories and of calls to expand a
stub go; sections that list references, links and further reading go, up to the next paragraph of running prose.
"""

from __future__ import annotations

import html
import re
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

from alif_kit.core.records import Document
from alif_kit.corpus.duplicates import EDGES, runs, shingles, words
from alif_kit.languages.text import identify_language, normalize, rule_language

MARKUP_SHARE = 0.02  # of the characters
TABLE_SHARE = 0.2  # digits and cell borders among the characters that are not space
SHORT_LINE = 5  # words; a list or a table is made of shorter lines
SHORT_LINES_SHARE = 0.5  # of the words
LEAST_LINES = 10
STUB_WORDS = 120  # a page made by a bot has its pattern and little else
REPEATED_LINES_SHARE = 0.3  # of the words; the limit on repeated lines in Gopher (Rae et al. 2021, table A1)
DISTINCT_RUNS_SHARE = 0.6  # distinct 5-grams among all; running text is close to 1, a refrain around 0.8
SAMPLE = 25  # words at the beginning, middle and end that show the language
PROSE_WORDS = 40
TEMPLATE_DEPTH = 10

_TABLE = tomllib.loads(Path(__file__).with_name("clean.toml").read_text("utf-8"))
ENDINGS = frozenset(_TABLE["endings"])
_ANY = re.DOTALL | re.IGNORECASE | re.MULTILINE
_MARKUP = [(signs, re.compile(pattern, _ANY), kept) for signs, pattern, kept in _TABLE["markup"]]
_PATTERNS = {name: re.compile(pattern) for name, pattern in _TABLE["patterns"].items()}
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_LONG_BLANK = re.compile(r"[^\S\n]{50,}")  # no indentation is so deep, and some patterns take the square of its length
_SPACE_LEFT = re.compile(" (?=[۔،؛])")
_BLANK_LINES = re.compile("\n{3,}")
_SENTENCE_END = re.compile(r"[۔؟!.](?=\s|$)")
_NO_CELLS = re.compile(r"[^\d|]+")
_MARKUP_SIGNS = r"{}[]<>\=_^~"


def repair(document: Document) -> Document | None:
    """The document with text and title repaired: the same object where nothing changed, None where no text is left."""
    text = _without_endings(normalize(without_markup(document.text)))
    title = normalize(document.title)
    if (text, title) == (document.text, document.title):
        return document
    return replace(document, text=text, title=title) if text.strip() else None


def without_markup(text: str) -> str:
    """Wiki and HTML markup replaced by what a reader would see: `"'''[[دریا|دریائے]] نیل'''[1]" -> "دریائے نیل"`."""
    before, text = text, html.unescape(text) if "&" in text else text
    if any(10 * blank in text for blank in " \t\u00a0"):
        text = _LONG_BLANK.sub(" ", text)
    for _ in range(TEMPLATE_DEPTH if "{{" in text else 0):
        text = _TEMPLATE.sub("", text)
    for signs, pattern, kept in _MARKUP:
        if any(sign in text for sign in signs):
            text = pattern.sub(kept, text)
    return text if text is before else _SPACE_LEFT.sub("", text)


def _without_endings(text: str) -> str:
    kept, ended = [], False
    for line in text.split("\n"):
        if line.strip(" :").casefold() in ENDINGS:
            ended = True
        elif ended and is_prose(line):
            ended = False
        if not ended and not is_boilerplate_line(line):
            kept.append(line)
    whole = "\n".join(kept)
    return whole if len(whole) == len(text) else _BLANK_LINES.sub("\n\n", whole).strip()


def is_prose(line: str) -> bool:
    """Whether a line is a paragraph rather than an item of a list: 40 words or more and two ends of sentences."""
    return line.count(" ") + 1 >= PROSE_WORDS and len(_SENTENCE_END.findall(line)) >= 2


def is_boilerplate_line(line: str) -> bool:
    """Categories, templates, files, calls to expand a stub, and lines of nothing but signs such as `• | —`."""
    if _PATTERNS["page_line"].match(line) or (len(line) < 200 and any(notice in line for notice in _TABLE["stub_notices"])):
        return True
    return bool(line) and len(line) < 20 and not any(map(str.isalnum, line))


def first_reason(document: Document, min_words: int) -> str:
    """The first reason to drop a repaired document, or the empty string."""
    return next((check.__name__ for check in CHECKS if check(document)), "") or too_short(document, min_words)


def too_short(document: Document, min_words: int) -> str:
    """`too_short`: fewer than `min_words` words are left."""
    return "too_short" if len(words(document.text)) < min_words else ""


def markup(document: Document) -> bool:
    """Braces, brackets, tags and addresses that repair could not resolve make up too much of the text."""
    text = document.text
    return sum(map(text.count, (*_MARKUP_SIGNS, "http"))) > MARKUP_SHARE * len(text) + 1


def boilerplate(document: Document) -> bool:
    """A redirect, a disambiguation page, a page that is a list, or the pattern of a page made by a bot."""
    text, title, head = document.text, document.title, document.text[:300]
    of_title = _PATTERNS["list_title"].match(title) or _PATTERNS["ambiguous"].search(title)
    if of_title or _PATTERNS["redirect"].match(head) or _PATTERNS["may_refer"].search(head):
        return True
    ambiguous = "ضد ابہام" in head
    stub = (ambiguous or len(text) < 8 * STUB_WORDS) and len(words(text)) < STUB_WORDS
    return stub and (ambiguous or bool(_PATTERNS["bot_page"].search(text)))


def table(document: Document) -> bool:
    """Digits and cell borders fill a fifth of the text, or most words stand in many lines of under five words."""
    text = document.text
    if len(_NO_CELLS.sub("", text)) > TABLE_SHARE * sum(map(len, words(text))):
        return True
    lines = [len(line.split()) for line in text.split("\n") if line]
    return len(lines) >= LEAST_LINES and sum(n for n in lines if n < SHORT_LINE) > SHORT_LINES_SHARE * sum(lines)


def wrong_language(document: Document) -> bool:
    """The beginning, middle and end are not in the document's language; a few words tell nothing."""
    few = sample(words(document.text))
    # Everyday words settle most documents, at a tenth of the time; what they leave open is judged in full.
    if rule_language([word.strip(EDGES).lower() for word in few]) == document.language:
        return False
    return identify_language(" ".join(few)) not in (document.language, "und")


def sample(of: tuple[str, ...]) -> tuple[str, ...]:
    """75 of the words of a longer text, a third each from its beginning, middle and end."""
    if len(of) <= 3 * SAMPLE:
        return of
    middle = len(of) // 2
    return of[:SAMPLE] + of[middle : middle + SAMPLE] + of[-SAMPLE:]


def too_repetitive(document: Document) -> bool:
    """The same lines or the same runs of five words over and over."""
    lines = Counter(line for line in document.text.split("\n") if line)
    if lines.total() > len(lines):
        size = {line: len(line.split()) for line in lines}
        repeated = sum(size[line] * (times - 1) for line, times in lines.items())
        if repeated > REPEATED_LINES_SHARE * sum(size[line] * times for line, times in lines.items()):
            return True
    return len(shingles(document.text)) < DISTINCT_RUNS_SHARE * runs(document.text)


CHECKS = (markup, boilerplate, table, wrong_language, too_repetitive)
REASONS = (*(check.__name__ for check in CHECKS), "too_short")
