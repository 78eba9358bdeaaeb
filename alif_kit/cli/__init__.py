"""Cli: `alif <stage>`, one file a group of commands; main.py collects them. No logic of its own.

In: words on a command line. Out: the calls that notebooks make too, a table, one sentence and an exit code.
Writes: nothing of its own. Uses: pipeline and the rooms under it.
"""
