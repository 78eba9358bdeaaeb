"""cli: `alif pack check`, what a language pack lacks. The calls of pack_check and synth.rehearsal, no logic of its own.

In: a pack's folder, or the code of one that is in the kit. Out: a line per finding and exit code 2, or a table of what it holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alif_kit.core.records import CATEGORIES
from alif_kit.languages import check as pack_check
from alif_kit.languages import pack

pack_app = typer.Typer(no_args_is_help=True, help="Language packs: the data that holds everything a language needs.")


@pack_app.callback()
def _group() -> None:
    """Keeps `check` a name of its own while the group has one command."""


@pack_app.command("check")
def check(
    place: Annotated[str, typer.Argument(metavar="DIR", help="Folder of a pack, or the code of one in the kit, e.g. `ur`.")],
) -> None:
    """Check a pack's files, texts and prompts, then rehearse it with the embedded teacher; exit code 2 when anything is amiss."""
    folder = (Path(place) if Path(place).is_dir() else pack.folder(place)).resolve()
    findings = pack_check.check(folder)
    if not findings:  # a pack with faults in its files cannot be rehearsed
        from alif_kit.synth.demo.rehearsal import rehearse

        findings = list(rehearse(str(folder)))
    for finding in findings:
        typer.echo(finding)
    if findings:
        typer.echo(f"{folder.name}: {len(findings)} finding{'s' * (len(findings) > 1)}")
        raise typer.Exit(2)
    _print(folder)


def _print(folder: Path) -> None:
    """What a complete pack holds."""
    from rich.console import Console
    from rich.table import Table

    values, lists, seeds = pack.settings(str(folder)), pack.topics(str(folder)), pack.seeds(str(folder))
    table = Table("part", "holds", title=f"{values['name']} ({values['code']}): complete", title_justify="left")
    table.add_row("seeds", ", ".join(f"{category} {len(seeds[category])}" for category in CATEGORIES))
    table.add_row("prompts", ", ".join(f"{name} {len(entries)}" for name, entries in lists.items()))
    for language in (values["code"], "en"):
        documents = pack.corpus(str(folder), language)
        held_out = sum(document.split == "held_out" for document in documents)
        table.add_row(f"corpus, {language}", f"{len(documents)} documents, {held_out} of them held out")
    sets = sorted(path.stem for path in folder.glob("evaluation/*.json*"))
    table.add_row("question sets", ", ".join(sets) or "none: evaluation measures held-out tasks and documents")
    Console().print(table)
