"""training: what the model will see, for a person to look at before the first step.

In: a row of token ids with its labels, the counts of a mixture. Out: the decoded text with masked and learnt parts told apart, for
a terminal or a notebook, and the tokens by source as SVG.
"""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import Any

from alif_kit.core.figures import ACCENT, FAINT, INK
from alif_kit.core.progress import in_notebook
from alif_kit.languages.text import urdu_purity
from alif_kit.training.preflight import IGNORED

Piece = tuple[str, bool]


def masked_example(ids: list[int], labels: list[int], tokenizer: Any) -> list[Piece]:
    """The text of a row in pieces, each with whether the loss is taken on it.

    One letter a token: ids "س ل ا م", labels [-100, -100, 3, 4] → `[("سل", False), ("ام", True)]`. The pieces joined are the row
    decoded as a whole, special tokens shown.
    """
    pieces, done, shown = [], 0, ""
    for learnt, group in groupby(labels, key=lambda label: label != IGNORED):
        done += len(list(group))
        whole = tokenizer.decode(ids[:done], skip_special_tokens=False)
        # Decoded from the beginning each time: by themselves, tokens lose the space before their first word.
        pieces.append((whole[len(shown) :], learnt))
        shown = whole
    return pieces


def to_terminal(pieces: list[Piece]) -> Any:
    """The pieces as rich Text: what is learnt in bold green, what is masked dim."""
    from rich.text import Text

    return Text.assemble(*((text, "bold green" if learnt else "dim") for text, learnt in pieces))


def first_example(row: dict[str, list[int]], tokenizer: Any, stage: str, counts: dict[str, Any]) -> None:
    """Print the first row as the model will see it, and the tokens by source of a mixture, before the first step."""
    from rich.console import Console

    pieces = masked_example(row["input_ids"], row.get("labels", row["input_ids"]), tokenizer)
    if in_notebook():
        from IPython.display import HTML, display

        title = f"First example of {stage}: what is learnt has the strong edge, what is only read the pale one."
        display(HTML(f"<i>{title}</i>{to_html(pieces)}"))
        return
    console = Console(stderr=True)
    for name, entry in counts.get("sources", {}).items():
        console.print(f"{name}: {entry['rows_used']:,} of {entry['rows']:,} rows, {entry['tokens']:,} tokens, {entry['share']:.1%}")
    console.print(f"first example of {stage}: what is learnt in bold green, what is only read dim", style="italic")
    console.print(to_terminal(pieces))


def to_html(pieces: list[Piece]) -> str:
    """The pieces as HTML, one block each, escaped; a block that is mostly Urdu runs right to left."""
    return '<div class="masked-example">' + "".join(_block(text, learnt) for text, learnt in pieces) + "</div>"


def _block(text: str, learnt: bool) -> str:
    urdu = urdu_purity(text) > 0.5
    direction = 'dir="rtl" lang="ur"' if urdu else 'dir="auto"'
    font = "font-family:'Noto Nastaliq Urdu',serif;line-height:2.3" if urdu else "line-height:2"
    edge, colour = (ACCENT, INK) if learnt else (FAINT, "#64748b")
    title = "learnt: the loss is taken here" if learnt else "masked: read, not learnt"
    style = f"white-space:pre-wrap;{font};padding:0 0.6em;border-inline-start:4px solid {edge};color:{colour}"
    return f'<div {direction} title="{title}" style="{style}">{escape(text)}</div>'


def budget_plot(counts: dict[str, Any]) -> str:
    """Tokens by source of a mixture's counts, one bar each, as SVG; empty without sources."""
    entries = sorted(counts["sources"].items(), key=lambda item: -item[1]["tokens"])
    if not entries:
        return ""
    most, height = max(1, entries[0][1]["tokens"]), 26 * len(entries)
    bars = "".join(_bar(26 * n, name, entry, most) for n, (name, entry) in enumerate(entries))
    size = f'viewBox="0 0 720 {height}" width="720" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="sans-serif" font-size="13">{bars}</svg>'


def _bar(y: int, name: str, entry: dict[str, Any], most: int) -> str:
    width = 300 * entry["tokens"] / most
    label = f"{entry['tokens']:,} tokens, {entry['share']:.1%}, {entry['rows_used']:,} of {entry['rows']:,} rows"
    return (
        f'<text x="150" y="{y + 17}" text-anchor="end" fill="{INK}">{escape(name[-20:])}</text>'
        f'<rect x="158" y="{y + 4}" width="{width:.1f}" height="18" fill="{ACCENT}"/>'
        f'<text x="{164 + width:.1f}" y="{y + 17}" fill="{INK}">{label}</text>'
    )
