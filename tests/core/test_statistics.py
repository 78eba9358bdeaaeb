"""Intervals and paired tests: against the reference libraries, and on cases worked by hand."""

import numpy as np
import pytest

from alif_kit.core import statistics

DRAW = np.random.default_rng(5)


def test_wilson_is_statsmodels_interval_on_random_counts():
    from statsmodels.stats.proportion import proportion_confint

    for n in DRAW.integers(1, 3000, 200):
        k = int(DRAW.integers(0, n + 1))
        estimate = statistics.wilson(k, int(n))
        assert (estimate.low, estimate.high) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)
        assert estimate.low <= estimate.value <= estimate.high


def test_wilson_of_eight_in_ten():
    estimate = statistics.wilson(8, 10)
    assert (estimate.value, round(estimate.low, 3), round(estimate.high, 3), estimate.n) == (0.8, 0.490, 0.943, 10)
    with pytest.raises(ValueError, match="no examples"):
        statistics.wilson(0, 0)


def test_mcnemar_has_the_p_of_statsmodels():
    from statsmodels.stats.contingency_tables import mcnemar

    for _ in range(100):
        n = int(DRAW.integers(5, 400))
        base, tuned = DRAW.random(n) < 0.5, DRAW.random(n) < 0.6
        gained, lost = int((tuned & ~base).sum()), int((base & ~tuned).sum())
        table = [[int((base & tuned).sum()), lost], [gained, int((~base & ~tuned).sum())]]
        found = statistics.mcnemar(base, tuned)
        expected = mcnemar(table, exact=gained + lost < 25, correction=True)
        # statsmodels corrects a difference of 0 down to one below it
        assert found.p == pytest.approx(float(expected.pvalue) if gained != lost else 1.0, abs=1e-9)
        assert found.difference == pytest.approx((gained - lost) / n)
        assert found.low <= found.difference <= found.high


def test_newcombes_own_example():
    """Newcombe 1998, table II, method 10: e, f, g, h = 36, 12, 2, 0 has the interval 0.0569 to 0.3404."""
    base = [True] * 36 + [False] * 12 + [True] * 2
    tuned = [True] * 36 + [True] * 12 + [False] * 2
    found = statistics.mcnemar(base, tuned)
    assert (found.difference, round(found.low, 4), round(found.high, 4)) == (0.2, 0.0569, 0.3404)


def test_the_same_answers_show_no_difference():
    found = statistics.mcnemar([True, False] * 40, [True, False] * 40)
    assert (found.difference, found.p) == (0.0, 1.0) and found.low < 0 < found.high
    found = statistics.paired_bootstrap([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], seed=1)
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_the_bootstrap_agrees_with_scipy():
    from scipy import stats

    values = DRAW.normal(2.0, 1.0, 80)
    own = statistics.bootstrap(values, seed=3)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(4))
    assert own.value == pytest.approx(values.mean())
    assert (own.low, own.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.03)


def test_weights_make_a_ratio_of_sums():
    estimate = statistics.bootstrap([1.0, 3.0], [3.0, 1.0], seed=0)
    assert estimate.value == 1.5 and estimate.low == 1.0 and estimate.high == 3.0
    assert statistics.paired_bootstrap([1.0, 3.0], [2.0, 3.0], [3.0, 1.0], seed=0).difference == 0.75


def test_a_seed_fixes_the_interval():
    values = list(DRAW.random(50))
    assert statistics.bootstrap(values, seed=1) == statistics.bootstrap(values, seed=1)
    assert statistics.bootstrap(values, seed=1) != statistics.bootstrap(values, seed=2)


def test_the_paired_bootstrap_finds_what_is_there_and_nothing_else():
    base = DRAW.normal(0, 1, 200)
    assert statistics.paired_bootstrap(base, base + DRAW.normal(0.3, 0.5, 200), seed=1).p < 0.001
    ps = [statistics.paired_bootstrap(base, base + DRAW.normal(0, 0.5, 200), seed=s).p for s in range(60)]
    assert sum(p < 0.05 for p in ps) <= 9


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_wilsons_intervals_hold_the_truth_as_often_as_they_say(share):
    counts = DRAW.binomial(80, share, 1500)
    held = [statistics.wilson(int(k), 80).low <= share <= statistics.wilson(int(k), 80).high for k in counts]
    assert 0.925 <= np.mean(held) <= 0.98


def test_paired_intervals_hold_the_truth_as_often_as_they_say():
    held = []
    for _ in range(600):
        kind = DRAW.random(100)
        base, tuned = kind < 0.6, (kind < 0.5) | (kind > 0.8)  # truth: 0.7 - 0.6
        found = statistics.mcnemar(base, tuned)
        held.append(found.low <= 0.1 <= found.high)
    assert 0.92 <= np.mean(held) <= 0.985


def test_power_is_what_simulation_shows():
    n, discordant = 400, 0.2
    difference = statistics.smallest_difference(n, discordant)
    better = (discordant + difference) / 2
    shown = 0
    for _ in range(400):
        kind = DRAW.random(n)
        base, tuned = kind >= better, (kind < better) | (kind >= discordant)
        shown += statistics.mcnemar(base, tuned).p < 0.05
    assert 0.72 <= shown / 400 <= 0.87


def test_more_pairs_show_smaller_differences():
    assert statistics.smallest_difference(100, 0.2) > statistics.smallest_difference(10_000, 0.2) > 0.01
    assert statistics.smallest_mean_difference([1.0, -1.0] * 50) == pytest.approx(2.8016 / 10 * 1.005, rel=0.01)
    assert statistics.smallest_mean_difference([1.0]) == float("inf")
