"""synth: how varied the accepted tasks of each category are.

In: the pool. Out: per category, measures that do not depend on how many tasks there are, so that categories and runs compare:
moving-average type-token ratio (Covington and McFall 2010), distinct-2 over a fixed number of bigrams (after Li et al. 2016),
and the mean ROUGE-L F1 to the nearest task kept before, which is what novelty judged by.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain
from statistics import fmean
from typing import Any

from alif_kit.core.records import Example, by_category
from alif_kit.languages.text import comparison_tokens

WINDOW = 50
BIGRAMS = 1000


def measure(pool: Sequence[Example], seed: int) -> dict[str, dict[str, Any]]:
    """`{"qa": {"tasks": 47, "mattr_50": 0.81, "distinct_2": 0.93, "nearest_rouge_l": 0.31}, ...}`."""
    rows = {}
    for category, examples in by_category(pool).items():
        texts = [comparison_tokens(f"{e.instruction} {e.input} {e.output}") for e in examples]
        random.Random(seed).shuffle(texts)
        scores = [e.provenance.scores["nearest_rouge_l"] for e in examples if e.provenance and e.provenance.scores]
        rows[category] = {"tasks": len(examples), "mattr_50": type_token_ratio(list(chain(*texts)))}
        rows[category] |= {"distinct_2": distinct_bigrams(texts), "nearest_rouge_l": round(fmean(scores), 3) if scores else None}
    return rows


def type_token_ratio(tokens: list[str], window: int = WINDOW) -> float | None:
    """Mean share of different tokens in windows of `window` tokens; None for a shorter text."""
    windows = len(tokens) - window + 1
    if windows < 1:
        return None
    return round(fmean(len(set(tokens[start : start + window])) for start in range(windows)) / window, 3)


def distinct_bigrams(texts: list[list[str]], sample: int = BIGRAMS) -> float | None:
    """Share of different bigrams among the first `sample` of them; None when there are fewer."""
    bigrams = [pair for text in texts for pair in zip(text, text[1:], strict=False)][:sample]
    return round(len(set(bigrams)) / sample, 3) if len(bigrams) == sample else None
