"""fitting: the card of a fitted base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alif_kit.core.records import write_atomic


def write(folder: Path, about: dict[str, Any]) -> None:
    """README.md: base, languages, what was kept and what changed, as measured."""
    head = ("source", "words", "tokens before", "tokens", "tokens a word", "covered by kept pieces")
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *map(_row, about["sources"].items()))]
    left = f"{about['rows']:,} of {about['rows_before']:,} rows of the vocabulary"
    added = f", {about['added']:,} of them new pieces, each begun as the mean of those that it replaces" if about["added"] else ""
    text = (
        f"# {about['base']}, fitted to {', '.join(about['languages'])}\n\n"
        f"This is {about['base']} with {left}{added}; all other weights are as they were. {about['parameters']:,} parameters of "
        f"{about['parameters_before']:,} are left. A text that consists of kept pieces is cut as before; every other text is "
        "written too, by bytes if need be. The licence is that of the base; files of its terms lie beside this one.\n\n"
        + "\n".join(lines)
        + "\n\nCounted on the texts that the vocabulary was fitted to.\n"
    )
    write_atomic(folder / "README.md", text)


def _row(source: tuple[str, dict[str, Any]]) -> tuple[str, ...]:
    name, found = source
    per_word = (f"{found[key] / found['words']:.2f}" for key in ("tokens_before", "tokens"))
    counts = (f"{found[key]:,}" for key in ("words", "tokens_before", "tokens"))
    return (name, *counts, " → ".join(per_word), f"{found['covered']:.2%}")
