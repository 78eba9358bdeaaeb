"""cli: `alif config`, every setting with its value, what it may be and what it is for.

In: a preset or a file, changes. Out: a table in the terminal, Markdown (docs/configuration.md), or the JSON schema of a file.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option, echo

from alif_kit.cli.options import PresetOption, SetOption, pairs

if TYPE_CHECKING:
    from alif_kit.core.fields import Row


def config(
    preset: PresetOption = "t4",
    changes: SetOption = None,
    schema: Annotated[bool, Option("--schema", help="Print the JSON schema of a configuration file.")] = False,
    markdown: Annotated[bool, Option("--markdown", help="Print docs/configuration.md.")] = False,
) -> None:
    """Every setting: its name, its value in the preset, what it may be, what it is for. Change one with `--set NAME=VALUE`.

    A file for `--config` holds any of them, in TOML or JSON; what it leaves out is as in the preset that it names.
    """
    from alif_kit.core import config as configuration
    from alif_kit.core.fields import rows_of

    if schema:
        echo(json.dumps(configuration.schema(), ensure_ascii=False, indent=2))
        return
    rows = rows_of(configuration.load(preset, pairs(changes)))
    echo("\n".join(page(rows))) if markdown else _print(rows)


def _print(rows: list[Row]) -> None:
    """A line per setting and its sentence under it, as wide as the terminal."""
    width = min(100, shutil.get_terminal_size().columns)
    for row in rows:
        echo(f"{row.name} = {_text(row.value)}  ({row.allowed or row.kind})")
        echo(textwrap.fill(row.sentence, width, initial_indent="    ", subsequent_indent="    "))


def page(rows: list[Row]) -> Iterator[str]:
    """docs/configuration.md, line by line."""
    yield "# Every setting\n"
    yield "Made by `alif config --markdown`; a test holds it to the code. Values are those of the preset `t4`, a free Colab or"
    yield "Kaggle T4; [presets.toml](../alif_kit/core/presets.toml) has what `smoke`, `cpu`, `quick`, `paper` and `paper-t4` have"
    yield "other than that. Change one with `--set NAME=VALUE`, or give a file with `--config FILE`, in TOML or JSON: what it"
    yield "leaves out is as in the preset that it names.\n"
    yield '```toml\npreset = "smoke"\n\n[lora]\nrank = 8\n```\n'
    yield "`alif config --schema` prints the JSON schema of such a file, for an editor that checks it while you write."
    for name, group in groupby(rows, lambda row: row.name.rpartition(".")[0]):
        yield f"\n## {name or 'the run'}\n\n| setting | value | what it may be | what it is for |\n|---|---|---|---|"
        for row in group:
            cells = (f"`{row.name}`", f"`{_text(row.value)}`", row.allowed or row.kind, row.sentence)
            yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else json.dumps(value, ensure_ascii=False)
