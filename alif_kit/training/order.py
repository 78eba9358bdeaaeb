"""training: the order in which rows are trained, its own so that a resumed run follows it on any machine.

In: rows of token ids. Out: a data set that holds the rows of all epochs, each epoch in a seeded order in which the rows of a
batch are of like length. Rows are never packed into one another: on a T4 that needs a kernel that keeps documents apart.
"""

from __future__ import annotations

import random
from typing import Any

from alif_kit.core.config import Optimisation

MEGABATCH = 50  # batches among which rows are sorted by length: enough to leave little padding, few enough to stay random


def as_data(rows: list[list[int]]) -> Any:
    """Rows of token ids as a data set."""
    from datasets import Dataset

    return Dataset.from_dict({"input_ids": rows})


def in_order(data: Any, opt: Optimisation, seed: int) -> Any:
    """The rows of all epochs in the order they are trained in, which a resumed run follows on any machine."""
    lengths = [len(ids) for ids in data["input_ids"]]
    return data.select([i for epoch in range(opt.epochs) for i in by_length(lengths, opt.batch_size, f"{seed}-{epoch}")])


def by_length(lengths: list[int], batch: int, seed: str) -> list[int]:
    """A seeded order in which the rows of a batch are of like length, so that little is padding, and batches come at random."""
    draw, order = random.Random(seed), list(range(len(lengths)))
    draw.shuffle(order)
    batches, span = [], batch * MEGABATCH
    for start in range(0, len(order), span):
        alike = sorted(order[start : start + span], key=lambda i: -lengths[i])
        batches += [alike[i : i + batch] for i in range(0, len(alike), batch)]
    whole, rest = [b for b in batches if len(b) == batch], [b for b in batches if len(b) < batch]
    draw.shuffle(whole)
    return [i for group in whole + rest for i in group]
