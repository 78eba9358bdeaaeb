"""evaluation: the measures, as plain functions.

In: texts, answers, log-likelihoods. Out: numbers whose unit the docstring states.
"""

from __future__ import annotations

import io
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any

from alif_kit.languages.text import comparison_tokens

CHECKABLE = ("classification", "sentiment", "reasoning")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def bits_per_byte(negative_log_likelihood: float, byte_count: int) -> float:
    """Nats over UTF-8 bytes, in bits: comparable between tokenizers, where mean loss per token is not.

    `bits_per_byte(math.log(2), 1) == 1.0`
    """
    return negative_log_likelihood / (byte_count * math.log(2))


def final_answer(output: str, marker: str) -> str:
    """What stands after the marker on the last line that begins with it; empty when there is none."""
    lines = [line.strip() for line in reversed(output.splitlines())]
    return next((line.removeprefix(marker).strip() for line in lines if line.startswith(marker)), "")


def same_answer(expected: str, given: str) -> bool:
    """Equal as tokens, digits of all scripts alike; two numbers compare by value: `same_answer("990 روپے", "۹۹۰")`."""
    if not given.strip():
        return False
    left, right = comparison_tokens(expected), comparison_tokens(given)
    if left == right:
        return True
    numbers = [_NUMBER.findall(" ".join(side)) for side in (left, right)]
    return len(numbers[0]) == len(numbers[1]) == 1 and float(numbers[0][0]) == float(numbers[1][0])


def macro_f1(expected: Sequence[str], given: Sequence[str | None]) -> float:
    """Mean F1 over the labels that are expected, by scikit-learn; an answer that is not read (None) is a miss of its label."""
    from sklearn.metrics import f1_score

    labels = sorted(set(expected))
    return float(f1_score(expected, [g or "" for g in given], labels=labels, average="macro", zero_division=0.0))


def translation_scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """chrF++ and BLEU of a corpus, 0 to 100, by sacrebleu.

    chrF++ has word bigrams (word_order 2). BLEU is tokenised by `intl`, which splits off Unicode punctuation, ۔ and ؟ among it: 13a
    knows only ASCII. Signatures: `nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no` and
    `nrefs:1|case:mixed|eff:no|tok:intl|smooth:exp`.
    """
    metrics = _translation_metrics()
    return {name: metric.corpus_score(list(hypotheses), [list(references)]).score for name, metric in metrics.items()}


def _translation_metrics() -> dict[str, Any]:
    from sacrebleu.metrics import BLEU, CHRF

    return {"chrf++": CHRF(word_order=2), "bleu": BLEU(tokenize="intl")}


def translation_tests(
    systems: Mapping[str, Sequence[str]], references: Sequence[str], seed: int
) -> dict[str, dict[str, dict[str, float | None]]]:
    """By metric and system: value, the ends of its 95 % interval and p against the first system.

    By sacrebleu's own (paired) bootstrap of 1,000 resamples.
    """
    from sacrebleu.significance import PairedTest

    os.environ["SACREBLEU_SEED"] = str(seed)  # where sacrebleu takes it from
    metrics = _translation_metrics()
    named = [(name, list(answers)) for name, answers in systems.items()]
    with quiet():
        _, found = PairedTest(named, metrics, [list(references)], "bs", n_samples=1000)()
    by_metric = [results for key, results in found.items() if key != "System"]
    return {
        metric: {name: _interval(result, results[0]) for name, result in zip(systems, results, strict=True)}
        for metric, results in zip(metrics, by_metric, strict=True)
    }


def _interval(result: Any, base: Any) -> dict[str, float | None]:
    """sacrebleu counts resamples that differ by at least what was seen, and calls no difference at all significant: that is p 1."""
    p = 1.0 if result is not base and result.score == base.score else result.p_value
    low, high = float(result.mean - result.ci), float(result.mean + result.ci)
    return {"value": float(result.score), "low": low, "high": high, "p": p}


@contextmanager
def quiet() -> Iterator[None]:
    """The bars and notices of sacrebleu and lm-eval are many; the kit shows its own."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def weighted_means(by_group: Mapping[str, tuple[float, int]]) -> tuple[float, float]:
    """The plain mean of groups and the one weighted by their counts: `{"a": (1.0, 1), "b": (0.0, 3)}` gives 0.5 and 0.25."""
    plain = sum(value for value, _ in by_group.values()) / len(by_group)
    return plain, sum(value * n for value, n in by_group.values()) / sum(n for _, n in by_group.values())


def repetition(text: str, n: int = 4) -> float:
    """Share of the word n-grams that an earlier one repeats, 0 to 1; 0 when there are fewer than two."""
    words = comparison_tokens(text)
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if len(grams) > 1 else 0.0


def cohen_kappa(left: Sequence[Any], right: Sequence[Any], weights: str | None = None) -> float | None:
    """Agreement beyond chance; `quadratic` weights for scores of 1 to 10. None where undefined: no pair, or one label only."""
    if not left or len({*left, *right}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(left, right, weights=weights))


def rank_correlation(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Spearman's rho; None under three pairs or when one side is constant."""
    if len(left) < 3 or len(set(left)) < 2 or len(set(right)) < 2:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(left, right).statistic)
