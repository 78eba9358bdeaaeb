"""cli: what several commands share: the run they work in, and the options that name it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from alif_kit.cli.synth import pair
from alif_kit.core import config
from alif_kit.core.run import Run
from alif_kit.platforms import machine, mirror

RunOption = Annotated[Path | None, typer.Option("--run", help="Run folder; made on first use, gone on with afterwards.")]
PresetOption = Annotated[
    str, typer.Option("--preset", "--config", help="`auto`, `smoke`, `quick`, `t4`, `paper`, or a TOML or JSON file.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change one field, e.g. `--set teacher.model=gpt-4o-mini`; may be repeated.",
    ),
]


def open_run(path: Path | None, preset: str, changes: list[str] | None) -> Run:
    """The run a command works in: an existing folder keeps its configuration unless the command names another."""
    folder = path or machine.durable_folder() / "default"
    if preset == "auto" and (folder / "config.json").is_file():
        base: Any = folder / "config.json"
    else:
        base, reason = machine.pick_preset(machine.detect()) if preset == "auto" else (preset, "")
        if reason:
            typer.echo(f"preset {base}: {reason}", err=True)
    opened = Run.open(folder, config.load(base, dict(pair(change) for change in changes or [])))
    if mirror.restore(opened):
        typer.echo(f"brought back from {opened.config.session.mirror}", err=True)
    return opened
