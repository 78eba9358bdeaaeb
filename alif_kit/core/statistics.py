"""core: how sure a figure is, and whether two models differ on the same examples.

In: scores of examples. Out: estimates with 95 % intervals, paired tests, and the smallest difference that so many can show.
Everything random takes a seed: the same rows give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z = 1.959963984540054  # two-sided 95 %
Z_POWER = 0.8416212335729143  # 80 % power
RESAMPLES = 2000
CHUNK = 2_000_000  # resampled indices held at once
EXACT_BELOW = 25
"""Discordant pairs under which McNemar's test is exact, as usual (Fagerland, Lydersen and Laake 2013)."""


@dataclass(frozen=True)
class Estimate:
    """A figure, the ends of its 95 % interval, and the examples it rests on."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Paired:
    """Tuned minus base on the same examples, its 95 % interval, the two-sided p of no difference, the pairs, the test's name."""

    difference: float
    low: float
    high: float
    p: float
    n: int
    test: str


def wilson(successes: int, n: int) -> Estimate:
    """Share of successes with Wilson's score interval (1927), which stays within 0 and 1 and is sound for few examples.

    `wilson(8, 10)` is 0.8 between 0.490 and 0.943. Raises ValueError for n = 0.
    """
    if n == 0:
        raise ValueError("a share of no examples")
    share = successes / n
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    # The ends are exact at the ends: rounding must not put the value outside its own interval.
    return Estimate(share, 0.0 if successes == 0 else middle - half, 1.0 if successes == n else middle + half, n)


def bootstrap(values: Sequence[float], weights: Sequence[float] | None = None, *, seed: int) -> Estimate:
    """Weighted mean, sum(w v) / sum(w), with the percentile interval of 2,000 resamples. Raises ValueError for no values."""
    scores, weight = _arrays(values, weights)
    means = _resampled(scores * weight, weight, seed)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float((scores * weight).sum() / weight.sum()), float(low), float(high), len(scores))


def _arrays(values: Sequence[float], weights: Sequence[float] | None) -> tuple[np.ndarray, np.ndarray]:
    if not len(values):
        raise ValueError("a mean of no examples")
    scores = np.asarray(values, dtype=float)
    return scores, np.ones_like(scores) if weights is None else np.asarray(weights, dtype=float)


def _resampled(numerators: np.ndarray, denominators: np.ndarray, seed: int) -> np.ndarray:
    """Ratios of sums over examples drawn with replacement, a block of draws at a time: memory stays flat in n."""
    draw, n = np.random.default_rng(seed), len(numerators)
    block = max(1, CHUNK // n)
    ratios = []
    for start in range(0, RESAMPLES, block):
        chosen = draw.integers(0, n, (min(block, RESAMPLES - start), n))
        ratios.append(numerators[chosen].sum(1) / denominators[chosen].sum(1))
    return np.concatenate(ratios)


def mcnemar(base: Sequence[bool], tuned: Sequence[bool]) -> Paired:
    """Difference of two shares on the same examples. McNemar's test: exact binomial under 25 discordant pairs, else chi-square with
    continuity correction; the interval is Newcombe's square-and-add with correlation (1998, method 10).
    """
    from scipy import stats

    before, after = np.asarray(base, dtype=bool), np.asarray(tuned, dtype=bool)
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    discordant = gained + lost
    if discordant < EXACT_BELOW:
        p = stats.binomtest(gained, discordant, 0.5).pvalue if discordant else 1.0
        test = "McNemar, exact"
    else:
        p = stats.chi2.sf(max(0, abs(gained - lost) - 1) ** 2 / discordant, 1)
        test = "McNemar, chi-square"
    low, high = _newcombe(int((before & after).sum()), lost, gained, int((~before & ~after).sum()))
    return Paired((gained - lost) / len(before), low, high, float(p), len(before), test)


def _newcombe(both: int, lost: int, gained: int, neither: int) -> tuple[float, float]:
    """Ends of the interval of (gained - lost) / n, from Wilson's interval of each share and the correlation of the pairs."""
    n = both + lost + gained + neither
    old, new = wilson(both + lost, n), wilson(both + gained, n)
    rows = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    product = both * neither - lost * gained
    phi = 0.0
    if rows:
        phi = (max(product - n / 2, 0) if product > 0 else product) / math.sqrt(rows)
    difference = new.value - old.value
    down = _distance(new.value - new.low, old.high - old.value, phi)
    up = _distance(new.high - new.value, old.value - old.low, phi)
    return max(-1.0, difference - down), min(1.0, difference + up)


def _distance(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def paired_bootstrap(base: Sequence[float], tuned: Sequence[float], weights: Sequence[float] | None = None, *, seed: int) -> Paired:
    """Difference of two weighted means on the same examples, which are drawn together. p: share of resamples that, centred on no
    difference, lie as far out as what was seen (Efron and Tibshirani 1993, 16.4).
    """
    before, weight = _arrays(base, weights)
    gains = (np.asarray(tuned, dtype=float) - before) * weight
    seen = float(gains.sum() / weight.sum())
    differences = _resampled(gains, weight, seed)
    low, high = np.quantile(differences, (0.025, 0.975))
    beyond = int((np.abs(differences - seen) >= abs(seen) - 1e-12).sum())
    return Paired(seen, float(low), float(high), (beyond + 1) / (RESAMPLES + 1), len(before), "paired bootstrap")


def smallest_difference(n: int, discordant: float) -> float:
    """Power: the smallest difference of two shares that n pairs show four times in five at 5 %, so many of them discordant.

    The difference d that solves sqrt(n) d = z sqrt(q) + z' sqrt(q - d^2) for discordance q (Connor 1987); at most q itself.
    """
    low, high = 0.0, max(discordant, 1e-9)
    for _ in range(60):
        middle = (low + high) / 2
        shown = math.sqrt(n) * middle >= Z * math.sqrt(discordant) + Z_POWER * math.sqrt(max(0.0, discordant - middle * middle))
        low, high = (low, middle) if shown else (middle, high)
    return high


def smallest_mean_difference(gains: Sequence[float]) -> float:
    """The same for a mean, from the differences of the pairs: (z + z') times their standard error."""
    if len(gains) < 2:
        return math.inf
    return (Z + Z_POWER) * float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
