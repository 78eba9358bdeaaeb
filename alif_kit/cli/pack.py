"""cli: `alif pack check`, what a language pack lacks. The calls of languages.check and synth.demo.rehearsal, no logic of its own.

In: a pack's folder, or the code of one that is in the kit. Out: a line per finding and exit code 2, or a table of what it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Typer, echo

from alif_kit.cli.options import print_table
from alif_kit.core import UserError

pack_app = Typer(no_args_is_help=True, help="Language packs: the data that holds everything a language needs.")


@pack_app.callback()
def _group() -> None:
    """Keeps `check` a name of its own while the group has one command."""


@pack_app.command("check")
def check(
    place: Annotated[str, Argument(metavar="DIR", help="Folder of a pack, or the code of one in the kit, e.g. `ur`.")],
) -> None:
    """Check a pack's files, texts and prompts, then rehearse it with the embedded teacher; exit code 2 when anything is amiss."""
    from alif_kit.languages import check as checking
    from alif_kit.languages import pack
    from alif_kit.synth.demo.rehearsal import rehearse

    if not Path(place).is_dir() and ("/" in place or Path(place).exists()):
        raise UserError(f"{place} is no folder; expected the folder of a language pack, or the code of one in the kit")
    folder = (Path(place) if Path(place).is_dir() else pack.folder(place)).resolve()
    findings = checking.check(folder) or list(rehearse(str(folder)))  # with faults in its files it cannot be rehearsed
    for finding in findings:
        echo(finding)
    if findings:
        echo(f"{folder.name}: {len(findings)} finding{'s' * (len(findings) > 1)}")
        raise Exit(2)
    values = pack.settings(str(folder))
    print_table(("part", "holds"), _held(folder), f"{values['name']} ({values['code']}): complete")


def _held(folder: Path) -> Iterator[tuple[str, str]]:
    """What a complete pack holds, part by part."""
    from alif_kit.core.records import CATEGORIES
    from alif_kit.languages import pack

    name = str(folder)
    yield "seeds", ", ".join(f"{category} {len(pack.seeds(name)[category])}" for category in CATEGORIES)
    yield "prompts", ", ".join(f"{part} {len(entries)}" for part, entries in pack.topics(name).items())
    for language in (pack.settings(name)["code"], "en"):
        documents = pack.corpus(name, language)
        held_out = sum(document.split == "held_out" for document in documents)
        yield f"corpus, {language}", f"{len(documents)} documents, {held_out} of them held out"
    sets = sorted(path.stem for path in folder.glob("evaluation/*.json*"))
    yield "question sets", ", ".join(sets) or "none: evaluation measures held-out tasks and documents"
