"""cli: `alif fit`, a base with a vocabulary that fits its languages. The call of fitting, no logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, echo

import alif_kit as ak
from alif_kit.cli.options import print_table
from alif_kit.core import UserError

COVERAGE = 0.9999
_HELP = {
    "base": "`gemma-270m`, a Hub id, or a folder: Gemma, Llama 3, Qwen, Mistral-Nemo, SmolLM2; in 16 bit, not quantised.",
    "languages": "Language packs, with commas, and `en` for English.",
    "rows": "Rows that the vocabulary is to have, a multiple of 64; without it, as many as --coverage needs.",
    "coverage": f"Share of each source's tokens that the kept pieces write, instead of --rows; {COVERAGE} by default.",
    "add": "New pieces at most, learnt from the first language's texts; they have to be trained (lora.train_vocab=rows or full).",
    "run": "Count the texts of this run's corpus and replay too.",
}


def fit(
    base: Annotated[str, Argument(help=_HELP["base"])],
    out: Annotated[Path, Option(help="Folder to make.")],
    languages: Annotated[str, Option(help=_HELP["languages"])] = "ur,en",
    rows: Annotated[int | None, Option(min=1, help=_HELP["rows"])] = None,
    coverage: Annotated[float | None, Option(min=0.5, max=1.0, help=_HELP["coverage"])] = None,
    add: Annotated[int, Option(min=0, help=_HELP["add"])] = 0,
    run: Annotated[Path | None, Option(help=_HELP["run"])] = None,
) -> None:
    """A base without the vocabulary of all other languages: smaller, and room on a T4 for the paper's whole recipe.

    Counts the pieces that texts of the languages use, keeps those with all that they are built of, and, with --add, learns what the
    base spells in crumbs. Text of kept pieces is cut as before; every other text can still be written, by bytes. The folder is an
    ordinary checkpoint: `--set base.model=FOLDER`.
    """
    if rows and coverage:
        raise UserError(f"--rows {rows} and --coverage {coverage:g} both say how large the vocabulary is; give one of them")
    packs = [language.strip() for language in languages.split(",")]
    found = ak.fit(base, packs, out, rows=rows or 0, coverage=coverage or COVERAGE, add=add, run=run)
    lines = [
        (name, f"{of['words']:,}", _pair(of, 1), _pair(of, of["words"]), f"{of['covered']:.2%}", f"{of['same']:.2%}")
        for name, of in found["sources"].items()
    ]
    heads = ("texts", "words", "tokens", "tokens a word", "covered by kept pieces", "lines cut as before")
    print_table(heads, lines, f"{found['base']}, fitted to {languages}")
    echo(f"rows: {found['rows_before']:,} → {found['rows']:,}, {found['added']:,} of them new")
    echo(f"parameters: {found['parameters_before']:,} → {found['parameters']:,}")
    echo(f"weights: {found['bytes_before'] / 1e6:,.0f} → {found['bytes'] / 1e6:,.0f} MB")
    echo(f"fitted: {out}; use it with --set base.model={out}")


def _pair(of: dict[str, int], per: int) -> str:
    before, after = of["tokens_before"] / per, of["tokens"] / per
    return f"{before:,.0f} → {after:,.0f}" if per == 1 else f"{before:.2f} → {after:.2f}"
