"""notebook: how a lesson shows things: HTML and SVG, tables, cards, Urdu from right to left in Nastaliq.

In: texts, rows, data frames, files. Out: pieces of HTML in the notebook, everything foreign escaped. Needs IPython, which every
notebook has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from alif_kit import pipeline
from alif_kit.core import Run
from alif_kit.platforms import machine

NASTALIQ = "font-family:'Noto Nastaliq Urdu','Jameel Noori Nastaleeq',serif;line-height:2.3;white-space:pre-wrap"
ARABIC = re.compile("[\u0600-\u06ff]")
FONT = "<style>@import url('https://fonts.googleapis.com/css2?family=Noto+Nastaliq+Urdu&display=swap');</style>"
"""The typeface from the web, in Colab and Kaggle only: a page on one's own machine asks nobody for anything."""


def show(html: str) -> None:
    """Display a piece of HTML or SVG."""
    from IPython.display import HTML, display

    display(HTML(html))


def urdu(*texts: str) -> None:
    """Display texts right to left in Nastaliq, one box each, escaped: what a model wrote must not run in a browser."""
    edge = "border-inline-start:4px solid #cbd5e1;padding:0 .8em;margin:.6em 0;max-height:28em;overflow:auto"
    box = f'<div dir="rtl" lang="ur" style="{NASTALIQ};{edge}">'
    show(_font() + "".join(f"{box}{escape(text)}</div>" for text in texts))


def table(frame: Any) -> None:
    """Display a data frame, its index as the first column when it names the rows."""
    import pandas

    if not isinstance(frame.index, pandas.RangeIndex):
        frame = frame.rename_axis(frame.index.name or "").reset_index()
    rows(frame.columns, frame.itertuples(index=False))


def rows(header: Iterable[str], lines: Iterable[Iterable[Any]]) -> None:
    """Display rows of cells under a header, escaped; cells with Urdu in them run right to left."""
    head = "".join(f"<th style='text-align:left'>{escape(str(name))}</th>" for name in header)
    body = "".join("<tr>" + "".join(map(_cell, line)) + "</tr>" for line in lines)
    show(f"{_font()}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _cell(value: Any) -> str:
    empty = value is None or value != value  # NaN is not itself
    text = "–" if empty else f"{value:,.3f}" if isinstance(value, float) else str(value)
    style = f'dir="rtl" lang="ur" style="text-align:right;{NASTALIQ}"' if ARABIC.search(text) else 'style="text-align:left"'
    return f"<td {style}>{escape(text)}</td>"


def card(path: Path) -> None:
    """Display a data or model card as it will look, without its front matter; HTML in it is shown as text."""
    from markdown_it import MarkdownIt

    text = path.read_text("utf-8")
    body = text.split("---\n", 2)[2] if text.startswith("---\n") else text
    body = re.sub(r"</?div[^>]*>", "", body)  # the direction comes from each paragraph's own text
    page = MarkdownIt("commonmark", {"html": False}).enable("table").render(body).replace("<p>", '<p dir="auto">')
    show(f'<div dir="auto" style="max-height:32em;overflow:auto;border:1px solid #cbd5e1;padding:0 1em">{page}</div>')


def answers(run: Run, question: str) -> None:
    """Put a question to the run's model and to its base, and show both answers."""
    for name, text in pipeline.ask(run, question):
        show(f"<b>{escape(name)}</b>")
        urdu(text) if text else show("<i>no answer: it ended at once</i>")


def _font() -> str:
    return "" if machine.name() == "local" else FONT
