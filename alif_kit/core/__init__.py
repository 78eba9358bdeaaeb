"""Core: what every room stands on.

In: presets, overrides, a run folder. Out: a checked `Config`, a `Run` that keeps its files whole, one-sentence errors, records
as JSON lines, progress in the terminal and in run.log, figures, tests of significance.
Writes: config.json, ledger.jsonl. Uses: no other room.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, Config="config", Run="run", UserError="errors", StoppedError="errors")
