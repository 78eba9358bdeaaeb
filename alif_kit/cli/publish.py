"""cli: `alif card` and `alif push`.

In: a finished run. Out: release/README.md; repositories on the Hub, or, with --dry-run, the list of what would go there.
"""

from __future__ import annotations

from typing import Annotated, Any

from typer import Option, echo

from alif_kit.cli.options import FinishedRunOption, resume_run
from alif_kit.core import UserError
from alif_kit.platforms import machine


def card(
    run: FinishedRunOption = None,
    to: Annotated[str, Option("--to", metavar="OWNER/NAME", help="The repository that its examples name.")] = "",
) -> None:
    """The model card in release/README.md: base and terms, data, recipe, cost, evaluation beside the base, gate, how to run it.

    Every number comes from the run's files; what has not been done is said. `alif push` writes one for each repository.
    """
    from alif_kit import pipeline
    from alif_kit.release import hub

    opened = resume_run(run)
    path, facts = pipeline.card(opened, to), pipeline.card_facts(opened)
    for sentence in [*facts["causes"], *hub.agreements_lacking(opened, facts["terms"])]:
        echo(f"note: {sentence}", err=True)
    echo(f"card: {path}")


def push(
    to: Annotated[str, Option("--to", metavar="OWNER/NAME", help="User or organisation, and the model's name.")],
    run: FinishedRunOption = None,
    what: Annotated[str, Option("--what", help="Which, with commas: merged, adapter, gguf; left out, all that the run has.")] = "",
    dry_run: Annotated[bool, Option("--dry-run", help="List files and sizes, and send nothing: no token, no network.")] = False,
    public: Annotated[bool, Option("--public", help="Let everybody see it; private otherwise.")] = False,
    no_gate: Annotated[bool, Option("--no-gate", help="Publish without a pass of the gate; the card says so.")] = False,
) -> None:
    """Merged model, adapter and GGUF to the Hub, each into its own repository: NAME, NAME-LoRA, NAME-GGUF.

    Each gets its card, the licence's notice and SHA256SUMS. Sums are verified first. The key is the secret HF_TOKEN. Cut off, the
    same command goes on where it was.
    """
    from alif_kit import pipeline
    from alif_kit.release import hub

    opened = resume_run(run)
    facts = pipeline.card_facts(opened)
    repositories = hub.plan(opened, to, [kind.strip() for kind in what.split(",") if kind.strip()], facts, public=public)
    for repository in repositories:
        print_files(repository, "public" if public else "private")
    if facts["causes"] and not no_gate:
        raise UserError(
            f"the gate has not passed this model: {'; '.join(facts['causes'])}; --no-gate publishes it all the same, and says so"
        )
    for sentence in hub.agreements_lacking(opened, facts["terms"]):
        echo(f"note: {sentence}", err=True)
    if dry_run:
        echo("dry run: nothing was sent")
        return
    for address, is_private in hub.send(repositories, machine.secret("HF_TOKEN"), private=not public).items():
        echo(f"sent, {'private' if is_private else 'public'}: {address}")
        if public and is_private:
            echo("note: it was there and private; make it public in its settings on the Hub", err=True)


def print_files(repository: Any, seen_by: str) -> None:
    """A repository's name, then its files with their sizes."""
    sizes = repository.sizes()
    echo(f"{repository.id} ({seen_by}), {repository.kind}: {len(sizes)} files, {readable(sum(sizes.values()))}")
    for name, size in sorted(sizes.items()):
        echo(f"  {readable(size):>10}  {name}")


def readable(size: int) -> str:
    """`1_540_000` → `"1.5 MB"`."""
    units = ("B", "kB", "MB", "GB")
    power = min(len(units) - 1, max(0, (len(str(size)) - 1) // 3))
    return f"{size / 1000**power:.1f} {units[power]}" if power else f"{size} B"
