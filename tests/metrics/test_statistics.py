from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from edgenext.metrics.statistics import (
    bootstrap_median_interval,
    images_needed,
    mcnemar_exact,
    tango_interval,
)

counts = st.integers(1, 3000).flatmap(
    lambda n: st.integers(0, n).flatmap(
        lambda lost: st.tuples(st.just(lost), st.integers(0, n - lost), st.just(n))
    )
)


# Fagerland, Lydersen and Laake, "Statistical Analysis of Contingency Tables" (2017), chapter 8:
# Cavo et al. 2012 and Bentur et al. 2009. The third is R's PropCIs 0.3-0, scoreci.mp(25, 28, 618).
@pytest.mark.parametrize(
    ("lost", "gained", "n", "confidence", "expected", "places"),
    [
        (6, 16, 161, 0.95, (-12.40, -0.54), 2),
        (1, 7, 21, 0.95, (-51.7, -2.6), 1),
        (28, 25, 618, 0.90, (-1.48, 2.47), 2),
    ],
)
def test_tango_gives_the_published_intervals(
    lost: int,
    gained: int,
    n: int,
    confidence: float,
    expected: tuple[float, float],
    places: int,
) -> None:
    interval = tango_interval(lost, gained, n, confidence)
    assert [round(x, places) for x in interval] == list(expected)


def score(delta: float, lost: int, gained: int, n: int) -> float:
    """Tango's statistic with the constrained likelihood maximised by search, not by formula."""

    def minus_log_likelihood(q: float) -> float:
        terms = ((lost, q + delta), (gained, q), (n - lost - gained, 1 - 2 * q - delta))
        return -sum(k * math.log(p) if p > 0 else -math.inf for k, p in terms if k)

    low, high = max(0.0, -delta), (1 - delta) / 2
    q = minimize_scalar(
        minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    return (lost - gained - n * delta) / math.sqrt(n * (2 * q + delta - delta * delta))


@pytest.mark.parametrize(
    ("lost", "gained", "n"),
    [
        (6, 16, 161),
        (1, 7, 21),
        (52, 47, 5000),
        (591, 183, 5000),
        (9, 0, 40),
        (0, 3, 12),
        (5, 5, 10),
    ],
)
def test_tango_ends_where_a_searched_score_test_does(lost: int, gained: int, n: int) -> None:
    lo, hi = tango_interval(lost, gained, n)
    z = norm.ppf(0.975)
    assert score(lo / 100, lost, gained, n) == pytest.approx(z, abs=1e-3)
    assert score(hi / 100, lost, gained, n) == pytest.approx(-z, abs=1e-3)


@pytest.mark.parametrize(
    ("lost", "gained", "n", "expected"),
    [
        # With z² = 3.841: ±z²/(n + z²), and (n − z²)/(n + z²) where every image changed.
        (0, 0, 44, (-8.0296, 8.0296)),
        (10, 0, 10, (44.4934, 100.0)),
        (0, 10, 10, (-100.0, -44.4934)),
        (0, 0, 1, (-79.3451, 79.3451)),
        (1, 0, 1, (-58.6902, 100.0)),
    ],
)
def test_tango_at_its_edges(lost: int, gained: int, n: int, expected: tuple[float, float]) -> None:
    assert tango_interval(lost, gained, n) == pytest.approx(expected, abs=1e-3)


@given(counts)
def test_tango_contains_the_estimate_and_is_a_proportion(of: tuple[int, int, int]) -> None:
    lost, gained, n = of
    lo, hi = tango_interval(lost, gained, n)
    assert -100 <= lo <= 100 * (lost - gained) / n <= hi <= 100
    assert lo < hi


@given(counts)
def test_losing_and_gaining_are_mirror_images(of: tuple[int, int, int]) -> None:
    lost, gained, n = of
    lo, hi = tango_interval(lost, gained, n)
    mirrored_lo, mirrored_hi = tango_interval(gained, lost, n)
    assert (mirrored_lo, mirrored_hi) == pytest.approx((-hi, -lo), abs=1e-9)


@given(counts, st.integers(2, 20))
def test_more_images_with_the_same_shares_narrow_the_interval(
    of: tuple[int, int, int], times: int
) -> None:
    lost, gained, n = of
    lo, hi = tango_interval(lost, gained, n)
    near_lo, near_hi = tango_interval(lost * times, gained * times, n * times)
    assert near_hi - near_lo < hi - lo


@given(counts)
def test_more_confidence_widens_the_interval(of: tuple[int, int, int]) -> None:
    lost, gained, n = of
    lo, hi = tango_interval(lost, gained, n, 0.9)
    wide_lo, wide_hi = tango_interval(lost, gained, n, 0.99)
    assert wide_lo <= lo
    assert hi <= wide_hi


@pytest.mark.parametrize(
    ("n", "p_lost", "p_gained"), [(100, 0.05, 0.05), (300, 0.05, 0.02), (5000, 0.01, 0.01)]
)
def test_tango_covers_the_truth_as_often_as_it_says(n: int, p_lost: float, p_gained: float) -> None:
    interval = cache(tango_interval)
    rng = np.random.default_rng(7)
    drawn = rng.multinomial(n, (p_lost, p_gained, 1 - p_lost - p_gained), size=4000)
    truth = 100 * (p_lost - p_gained)
    ends = np.array([interval(int(lost), int(gained), n) for lost, gained, _ in drawn])
    covered = np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
    # Four standard errors of 4,000 draws are 1.4 points; Tango's interval is itself approximate.
    assert 0.935 <= covered <= 0.965


@pytest.mark.parametrize(("lost", "gained", "n"), [(0, 0, 0), (-1, 0, 5), (0, -1, 5), (3, 3, 5)])
def test_impossible_counts_are_refused(lost: int, gained: int, n: int) -> None:
    with pytest.raises(ValueError, match="impossible paired counts"):
        tango_interval(lost, gained, n)


def test_mcnemar_gives_the_published_value() -> None:
    # Fagerland et al. 2017, chapter 8, Cavo et al. 2012: exact conditional test.
    assert mcnemar_exact(6, 16) == pytest.approx(0.052479, abs=1e-6)


def test_mcnemar_is_the_sum_of_binomial_tails() -> None:
    tail = sum(math.comb(12, k) for k in range(3)) / 2**12
    assert mcnemar_exact(2, 10) == pytest.approx(2 * tail)
    assert mcnemar_exact(10, 2) == pytest.approx(2 * tail)


def test_mcnemar_says_nothing_of_equal_or_no_flips() -> None:
    assert mcnemar_exact(0, 0) == 1
    assert mcnemar_exact(9, 9) == pytest.approx(1)


@settings(max_examples=40)
@given(counts, st.floats(0.05, 5))
def test_images_needed_are_enough_and_one_less_are_not(
    of: tuple[int, int, int], budget: float
) -> None:
    lost, gained, n = of
    needed = images_needed(lost, gained, n, budget)
    if needed is None:
        # Out of reach, or nearer to the budget than a thousand million images could tell.
        assert 100 * (lost - gained) / n > budget - 0.02
        return

    def upper(images: int) -> float:
        return tango_interval(lost / n * images, gained / n * images, images)[1]

    assert upper(needed) < budget
    if needed > 1:
        assert upper(needed - 1) >= budget


def test_images_needed_where_nothing_changed() -> None:
    # z²/(n + z²) < 0.5 % from n = z²·199 on.
    assert images_needed(0, 0, 100, budget=0.5) == math.floor(norm.ppf(0.975) ** 2 * 199) + 1


def test_no_number_of_images_meets_a_budget_under_the_drop() -> None:
    assert images_needed(30, 10, 1000, budget=2.0) is None
    assert images_needed(30, 10, 1000, budget=2.1) is not None


def test_bootstrap_interval_is_reproducible_and_holds_the_median() -> None:
    values = np.random.default_rng(3).lognormal(size=41)
    lo, hi = bootstrap_median_interval(values, seed=5)
    assert (lo, hi) == bootstrap_median_interval(values, seed=5)
    few = [bootstrap_median_interval(values, seed=s, n_resamples=9) for s in range(5)]
    assert len(set(few)) > 1
    assert values.min() <= lo <= np.median(values) <= hi <= values.max()


def test_bootstrap_interval_of_one_value_is_that_value() -> None:
    assert bootstrap_median_interval([2.5], seed=0) == (2.5, 2.5)


def test_bootstrap_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        bootstrap_median_interval([], seed=0)


def test_bootstrap_interval_covers_the_true_median() -> None:
    rng = np.random.default_rng(11)
    draws = rng.normal(10, 1, (300, 30))
    covered = 0
    for i, values in enumerate(draws):
        lo, hi = bootstrap_median_interval(values, seed=i, n_resamples=500)
        covered += lo <= 10 <= hi
    assert 0.90 <= covered / len(draws) <= 0.985
