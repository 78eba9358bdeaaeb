"""cli: `alif review ...`, people's judgement of the examples. The calls of synth.review, no logic.

In: a run folder that `alif generate` has filled. Out: a sheet, synth/review.jsonl, a page on this machine, kappa in the terminal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer, echo

from alif_kit.cli.options import FilledRunOption, resume_run

review_app = Typer(
    no_args_is_help=True,
    help="Let people judge the examples: a sheet that goes out and comes back, or a page on this machine. "
    "Two reviewers who take the same sheet can be compared with `alif review agreement`.",
)


@review_app.command("export")
def export(
    sheet: Annotated[Path, Argument(help="Where to write it: a new file ending in .xlsx or .csv.")] = Path("review.xlsx"),
    run: FilledRunOption = None,
    count: Annotated[
        int | None, Option(min=1, help="Examples in the sheet; default 100, and with --flagged all there are.")
    ] = None,
    category: Annotated[str, Option(help="Only this category; default all, in proportion.")] = "",
    seed: Annotated[int, Option(help="Which sample: the same seed gives two reviewers the same sheet.")] = 0,
    flagged: Annotated[bool, Option("--flagged", help="Only examples with something in the column `flags`.")] = False,
) -> None:
    """Write a sheet to judge: fill `decision` and `reviewer`, write changes into the `new_` columns, then `alif review import`.

    Decisions are accept, edit and reject. An empty `new_` cell leaves that part as it is; `خالی` in new_input empties the input.
    """
    from alif_kit.synth.review import decisions

    opened = resume_run(run)
    written = decisions.export(opened, sheet, count if count or flagged else 100, seed, category, flagged)
    echo(f"{written} examples: {sheet}; fill decision and reviewer, then `alif review import {sheet} --run {opened.path}`")


@review_app.command("import")
def take(
    sheet: Annotated[Path, Argument(help="The sheet of `alif review export`, filled in.")], run: FilledRunOption = None
) -> None:
    """Take a filled sheet into synth/review.jsonl, originals kept; a row that does not fit refuses it all, by its number."""
    from alif_kit.synth.review import decisions

    opened = resume_run(run)
    counts = decisions.take(opened, sheet)
    said = ", ".join(f"{count} {decision}" for decision, count in counts.items())
    echo(f"{said}: {opened.file('synth', 'review.jsonl')}")


@review_app.command("app")
def serve(
    run: FilledRunOption = None,
    reviewer: Annotated[str, Option(help="Your name, so that the page need not ask.")] = "",
    port: Annotated[int, Option(help="Port on 127.0.0.1; 0 takes the first free one from 7860.")] = 0,
    browser: Annotated[bool, Option(help="Open the page in the browser.")] = True,
) -> None:
    """Judge examples one at a time on a page that only this machine can open; each decision is saved as it is made.

    Keys: a accept, e edit, r reject, n or left arrow next, p or right arrow previous. Needs the extra `review` (gradio).
    """
    from alif_kit.synth.review import page

    built = page.build(page.Desk(resume_run(run)), reviewer)
    address = page.launch(built, port, open_browser=browser)
    echo(f"review page: {address} (Ctrl+C ends it; every decision is saved already)")
    built.block_thread()


@review_app.command("agreement")
def agreement(run: FilledRunOption = None) -> None:
    """How far reviewers agree beyond chance: Cohen's kappa of each pair, over the n examples that both have judged.

    1 is full agreement, 0 what chance would give; under 0.6 talk about the guidelines before you go on.
    """
    from alif_kit.synth.review import decisions

    judged = decisions.read(resume_run(run))
    pairs = decisions.agreement(judged)
    if not pairs:
        names = sorted({row["reviewer"] for row in judged})
        echo(f"no overlap: {names[0] if names else 'nobody'} alone has judged examples; kappa needs two reviewers")
    for pair, found in pairs.items():
        value = "undefined, both always gave the same decision" if found["kappa"] is None else f"{found['kappa']:.2f}"
        echo(f"{pair:<28}n {found['n']:<6}" + (f"kappa {value}" if found["n"] else "no overlap: no example judged by both"))
