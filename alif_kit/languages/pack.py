"""languages: reads a language pack, the folder of data that holds everything a language needs and no code.

In: `languages/<code>/` with pack.toml, prompts/*.txt, topics.toml, seeds/*.jsonl, corpus/*.jsonl. Out: typed records and
rendered prompts.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

from alif_kit.core import UserError
from alif_kit.core.records import Document, SeedTask, read_jsonl
from alif_kit.languages.text import alphabet_share

LANGUAGES = Path(__file__).parent


def folder(language: str) -> Path:
    """The pack's folder, by code, or by absolute path while it is written elsewhere; an unknown one names those there are."""
    path = LANGUAGES / language
    if not (path / "pack.toml").is_file():
        known = ", ".join(sorted(p.parent.name for p in LANGUAGES.glob("*/pack.toml")))
        raise UserError(f"language is {language!r}; expected one of {known}")
    return path


@lru_cache
def settings(language: str) -> dict[str, Any]:
    """The values of pack.toml: name, direction, alphabet, category names, markers."""
    return tomllib.loads((folder(language) / "pack.toml").read_text("utf-8"))


def purity(text: str, language: str) -> float:
    """Share of the letters that are in the language's alphabet, 0-1."""
    return alphabet_share(text, settings(language)["alphabet"])


@lru_cache
def topics(language: str) -> dict[str, list[str]]:
    """`topics`, `registers` and `regions` that prompts are spread over."""
    return tomllib.loads((folder(language) / "topics.toml").read_text("utf-8"))


@lru_cache
def seeds(language: str) -> dict[str, tuple[SeedTask, ...]]:
    """Hand-written seed tasks by category."""
    files = sorted((folder(language) / "seeds").glob("*.jsonl"))
    return {file.stem: tuple(read_jsonl(file, SeedTask)) for file in files}


def corpus(language: str, of: str, split: str | None = None) -> list[Document]:
    """Documents of the sample corpus in language `of` (`ur` or `en`), all or of one split (`train`, `held_out`)."""
    documents = read_jsonl(folder(language) / "corpus" / f"{of}.jsonl", Document)
    return [d for d in documents if split in (None, d.split)]


@lru_cache
def templates(place: Path, **how: Any) -> Any:
    """The Jinja environment of a folder of templates, each of which has to be given every variable that it names."""
    import jinja2

    loader = jinja2.FileSystemLoader(place)
    return jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, **how)


def prompt(language: str, name: str, **values: Any) -> str:
    """Render prompts/<name>.txt with the given values."""
    return templates(folder(language) / "prompts").get_template(f"{name}.txt").render(**values).strip()
