"""Intervals: by hand, against scipy's own and by simulation, and refusals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from util import UserError, statistics


def test_the_prediction_interval_of_two_values_by_hand():
    """Mean 1, s = sqrt(2), t(0.975, 1) = 12.7062: half width 12.7062 sqrt(2) sqrt(1.5)."""
    low, high = statistics.prediction_interval([0.0, 2.0])
    assert (low, high) == pytest.approx((1 - 12.7062 * math.sqrt(3), 1 + 12.7062 * math.sqrt(3)), rel=1e-5)
    assert statistics.prediction_interval([3.0, 3.0, 3.0]) == (3.0, 3.0)


def test_one_further_value_falls_into_the_prediction_interval_as_often_as_stated(rng):
    inside = 0
    for sample in rng.normal(size=(4000, 6)):
        low, high = statistics.prediction_interval(sample[:5], confidence=0.9)
        inside += low <= sample[5] <= high
    assert inside / 4000 == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 4000))


@given(st.integers(1, 10**6), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_clopper_pearson_is_scipys_exact_interval(trials, fraction, confidence):
    successes = round(fraction * trials)
    ours = statistics.clopper_pearson(successes, trials, confidence)
    theirs = stats.binomtest(successes, trials).proportion_ci(confidence, method="exact")
    assert ours == (pytest.approx(theirs.low, abs=1e-9), pytest.approx(theirs.high, abs=1e-9))


def test_clopper_pearson_takes_arrays_and_ends_at_0_and_1():
    low, high = statistics.clopper_pearson(np.array([[0, 3], [10, 5]]), np.array([10, 10]))
    assert low.shape == high.shape == (2, 2) and low[0, 0] == 0 and high[1, 0] == 1
    assert high[0, 0] == pytest.approx(1 - 0.025 ** (1 / 10)) and low[1, 0] == pytest.approx(0.025 ** (1 / 10))


def test_the_jackknife_of_a_mean_is_students_interval(rng):
    x = rng.normal(size=9)
    left_out = (x.sum() - x) / 8
    expected = stats.t.interval(0.95, 8, loc=x.mean(), scale=x.std(ddof=1) / 3)
    assert statistics.jackknife_interval(x.mean(), left_out) == pytest.approx(expected)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: statistics.prediction_interval([1.0]), "at least two"),
        (lambda: statistics.prediction_interval([1.0, math.nan]), "finite"),
        (lambda: statistics.prediction_interval([1.0, 2.0], confidence=1), "between 0 and 1"),
        (lambda: statistics.clopper_pearson(3, 2), "successes <= trials"),
        (lambda: statistics.clopper_pearson(0, 0), "trials >= 1"),
        (lambda: statistics.clopper_pearson(0.5, 2), "whole numbers"),
        (lambda: statistics.clopper_pearson(math.nan, 2), "whole numbers"),
        (lambda: statistics.jackknife_interval(1.0, [1.0]), "at least two"),
    ],
)
def test_what_makes_no_sense_is_refused(call, said):
    with pytest.raises(UserError, match=said):
        call()
