"""Notebook: what a lesson calls.

In: a lesson's parameters. Out: a banner and the run, opened or gone on with from an earlier session; what earlier lessons left out;
tables, cards and Urdu shown right to left.
Writes: nothing of its own. Uses: pipeline and the rooms under it.
"""

from alif_kit.notebook.banner import catch_up, start
from alif_kit.notebook.display import answers, card, rows, show, table, urdu

__all__ = ["answers", "card", "catch_up", "rows", "show", "start", "table", "urdu"]
