"""cli: what several commands share: the run they work in, the options that name it, a table in the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option, echo

import alif_kit as ak
from alif_kit.core import UserError
from alif_kit.platforms import machine

if TYPE_CHECKING:
    from rich.console import Console

NAMED = "`smoke`, `cpu`, `quick`, `t4`, `paper`, `paper-t4`, or a TOML or JSON file."
PRESETS = f"`auto`, {NAMED}"
CHANGE = "Change one field, e.g. `--set teacher.model=gpt-4o-mini`; may be repeated."
RunOption = Annotated[Path | None, Option("--run", help="Run folder; made on first use, gone on with afterwards.")]
FilledRunOption = Annotated[Path | None, Option("--run", help="Run folder that `alif generate` has filled.")]
FinishedRunOption = Annotated[Path | None, Option("--run", help="Folder of a finished run.")]
PresetOption = Annotated[str, Option("--preset", "--config", help=PRESETS)]
SetOption = Annotated[list[str] | None, Option("--set", metavar="FIELD=VALUE", help=CHANGE)]


FORM = "FIELD=VALUE, for example teacher.model=gpt-4o-mini"


def pairs(changes: list[str] | None, option: str = "--set", form: str = FORM) -> dict[str, str]:
    """Names and values of every `--set`, or of an option like it. Raises UserError for one that has no `=`."""
    changes = changes or []
    split = [[part.strip() for part in change.partition("=")] for change in changes]
    if wrong := [change for change, (name, sign, _) in zip(changes, split, strict=True) if not (name and sign)]:
        raise UserError(f"{option} got {wrong[0]!r}; expected {form}")
    names = [name for name, _, _ in split]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{option} names {twice} more than once; expected one value")
    return {name: value for name, _, value in split}


def given(options: dict[str, Any]) -> list[str]:
    """The options that were given, each as a `--set` of the field it is short for."""
    return [f"{name}={value}" for name, value in options.items() if value is not None]


def folder_of(path: Path | None) -> Path:
    return path or machine.durable_folder() / "default"


def open_run(path: Path | None, preset: str, changes: list[str] | None, *, new: bool = True) -> ak.Run:
    """The run a command works in: an existing folder keeps its configuration unless the command names another.

    Raises UserError for a folder without a run where none is to be made (`new` False).
    """
    from alif_kit.platforms import mirror

    folder = folder_of(path)
    if folder.is_file():
        raise UserError(f"--run {folder} is a file; expected the folder of a run, or of one to make")
    if not new:
        ak.Run.resume(folder)
    source: str | Path = preset
    if preset == "auto" and (folder / "config.json").is_file():
        source = folder / "config.json"
    elif preset == "auto":
        source, reason = machine.pick_preset(machine.detect())
        echo(f"preset {source}: {reason}", err=True)
    opened = ak.Run.open(folder, ak.load_config(source, pairs(changes)))
    if mirror.restore(opened):
        echo(f"brought back from {opened.config.session.mirror}", err=True)
    return opened


def resume_run(path: Path | None) -> ak.Run:
    """A run that is there already, with the configuration it carries."""
    return ak.Run.resume(folder_of(path))


def print_table(header: Iterable[str], rows: Iterable[Iterable[str]], title: str | None = None, **look: Any) -> Console:
    """A table in the terminal, as `look` has it (rich's words for it); returns the console, for what comes under it."""
    from rich.console import Console
    from rich.table import Table

    table, console = Table(*header, title=title, title_justify="left", **look), Console()
    for row in rows:
        table.add_row(*row)
    console.print(table)
    return console
