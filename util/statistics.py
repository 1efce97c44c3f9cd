"""Intervals that the figures and comparisons quote: for one further run, and for a probability from trials."""

import math
import numbers
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from util.arrays import as_numbers
from util.errors import UserError

Array = np.ndarray | Tensor


def prediction_interval(values: Float[Array, "k"] | Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Where one further value of the same normal distribution falls with the given probability.

    Args:
        values: k >= 2 finite numbers, for instance one for each seed.
        confidence: probability, in (0, 1).

    Returns:
        (low, high): mean -+ t s sqrt(1 + 1/k), with t the quantile of Student's t for k - 1 degrees of freedom and
        s the sample standard deviation; both ends are the mean where all values are equal.

    Raises:
        UserError: fewer than two values, a value that is not finite, or a confidence outside (0, 1).

    Trap: wider than the confidence interval of the mean, mean -+ t s / sqrt(k), which says where the mean of many
    runs lies and not where a single published run may lie.
    """
    array = as_numbers(values, "values")
    k = len(array)
    if k < 2:
        raise UserError("a prediction interval needs at least two values; run at least two seeds")
    t = stats.t.ppf((1 + _probability(confidence)) / 2, k - 1)
    half = float(t * array.std(ddof=1) * math.sqrt(1 + 1 / k))
    return float(array.mean()) - half, float(array.mean()) + half


def clopper_pearson(
    successes, trials, confidence: float = 0.95
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Exact interval for the probability behind a number of successes in independent trials.

    Args:
        successes: whole numbers from 0 to ``trials``, any shape.
        trials: whole numbers of at least 1, of a shape that broadcasts with it.
        confidence: probability, in (0, 1).

    Returns:
        (low, high): float64 arrays of the common shape, 0 <= low <= successes / trials <= high <= 1.

    Raises:
        UserError: counts that are not whole, no trials, or more successes than trials; a confidence outside (0, 1).

    Source: Clopper and Pearson, Biometrika 26 (1934): quantiles of the beta distribution. It covers at least at the
    stated confidence for a single probability; many intervals from the same random numbers go wrong together.
    """
    k, n = (np.asarray(part, np.float64) for part in (successes, trials))
    if not ((k == np.floor(k)) & (n == np.floor(n)) & (k >= 0) & (n >= 1) & (k <= n)).all():
        raise UserError("a probability's interval needs whole numbers with 0 <= successes <= trials and trials >= 1")
    tail = (1 - _probability(confidence)) / 2
    k, n = np.broadcast_arrays(k, n)
    low = np.where(k == 0, 0.0, stats.beta.ppf(tail, np.maximum(k, 0.5), n - k + 1))
    high = np.where(k == n, 1.0, stats.beta.ppf(1 - tail, k + 1, np.maximum(n - k, 0.5)))
    return low, high


def jackknife_interval(
    estimate: float, left_out: Float[Array, "k"] | Sequence[float], confidence: float = 0.95
) -> tuple[float, float]:
    """Confidence interval of a statistic of k independent parts from its values without each part in turn.

    Args:
        estimate: the statistic of all parts.
        left_out: its k >= 2 values, each without one part.
        confidence: probability, in (0, 1).

    Returns:
        (low, high): estimate -+ t sqrt((k - 1)/k sum (left_out - mean)^2), with k - 1 degrees of freedom. Not clipped
        to the range of the statistic.

    Raises:
        UserError: fewer than two values, a value that is not finite, or a confidence outside (0, 1).
    """
    array = as_numbers(left_out, "left_out")
    k = len(array)
    if k < 2:
        raise UserError("a jackknife needs at least two parts")
    half = float(stats.t.ppf((1 + _probability(confidence)) / 2, k - 1) * math.sqrt((k - 1) * array.var()))
    return float(estimate) - half, float(estimate) + half


def _probability(confidence: float) -> float:
    if not isinstance(confidence, numbers.Real) or not 0 < confidence < 1:
        raise UserError(f"confidence must be between 0 and 1, not {confidence!r}")
    return float(confidence)
