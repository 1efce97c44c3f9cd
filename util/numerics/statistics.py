"""Intervals and tests that figures and tables quote: of runs, of shares of items, and of paired outcomes.

``confidence`` and ``level`` are the probability in (0, 1) that an interval covers what it is of.
"""

import bisect
import math
import numbers
from collections.abc import Iterator, Sequence

import numpy as np
import scipy
from jaxtyping import Float, Int

from .. import UserError
from .arrays import Array, as_count, as_numbers

COUNTS_PER_BLOCK = 1 << 22
"""Counts of ``bootstrap_counts`` that are in memory at a time: 32 MiB of int64."""


def prediction_interval(values: Float[Array, "k"] | Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Where one further value of the same normal distribution falls: mean -+ t s sqrt(1 + 1/k) of k >= 2 values.

    Trap: wider than the confidence interval of the mean, mean -+ t s / sqrt(k), which says where the mean of many
    runs lies and not where a single published run may lie.
    """
    array = as_numbers(values, "values")
    if len(array) < 2:
        raise UserError("a prediction interval needs at least two values; run at least two seeds")
    return _student(array.mean(), array.std(ddof=1) * math.sqrt(1 + 1 / len(array)), len(array), confidence)


def jackknife_interval(
    estimate: float, left_out: Float[Array, "k"] | Sequence[float], confidence: float = 0.95
) -> tuple[float, float]:
    """Confidence interval of a statistic of k >= 2 independent parts from its values without each part in turn.

    estimate -+ t sqrt((k - 1)/k sum (left_out - mean)^2), not clipped to the range of the statistic.
    """
    array = as_numbers(left_out, "left_out")
    if len(array) < 2:
        raise UserError("a jackknife needs at least two parts")
    return _student(estimate, math.sqrt((len(array) - 1) * array.var()), len(array), confidence)


def delete_group_interval(
    value: float, without: Sequence[float], sizes: Int[np.ndarray, "g"], confidence: float = 0.95
) -> tuple[float, float] | tuple[None, None]:
    """Jackknife interval of a statistic of all items from its values without each group in turn.

    Its middle is the estimate without the bias of order 1/n, so it may leave out a value that a small sample biases.
    Groups may differ in size; empty ones do not count. (None, None) for fewer than three. Source: Busing, Meijer and
    van der Leeden, Statistics and Computing 9 (1999).
    """
    sizes = np.asarray(sizes, np.float64)
    there = (sizes > 0) & (sizes < sizes.sum())
    left, times = np.asarray(without, np.float64)[there], sizes.sum() / sizes[there]
    if len(left) < 3 or not np.isfinite(left).all():
        return None, None
    middle = len(left) * value - ((1 - 1 / times) * left).sum()
    pseudo = times * value - (times - 1) * left
    return _student(middle, math.sqrt(((pseudo - middle) ** 2 / (times - 1)).mean()), len(left), confidence)


def _student(middle: float, spread: float, k: int, confidence: float) -> tuple[float, float]:
    """middle -+ t spread, with Student's t of k - 1 degrees of freedom."""
    half = float(scipy.stats.t.ppf((1 + _probability(confidence)) / 2, k - 1) * spread)
    return float(middle) - half, float(middle) + half


def wilson_interval(
    hits: Int[np.ndarray, "..."] | int, n: Int[np.ndarray, "..."] | int, level: float = 0.95
) -> tuple[Float[np.ndarray, "..."] | float, Float[np.ndarray, "..."] | float]:
    """Score interval (low, high) of the share of n items that are hits; NaN where n is 0.

    Source: Wilson, JASA 22 (1927). Narrower than the exact interval, and covers as stated only on average.
    Trap: the items must be independent; five captions of one image are not.
    """
    hits, n = _counts(hits, "hits"), _counts(n, "the number of items behind a share")
    if (hits > n).any():
        raise UserError("a share needs hits <= n")
    items = np.where(n, n, np.nan)
    return score_interval(hits / items, items, level)


def score_interval(share, items, level: float = 0.95) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Wilson's interval of shares that spread as those of so many items would, whole numbers or not."""
    z = float(scipy.stats.norm.ppf((1 + _probability(level, "level")) / 2))
    spread = z * z / items
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * np.sqrt(share * (1 - share) / items + spread / (4 * items))
    return np.clip(middle - half, 0.0, share), np.clip(middle + half, share, 1.0)


def mcnemar(
    gained: Int[np.ndarray, "..."] | int, lost: Int[np.ndarray, "..."] | int
) -> Float[np.ndarray, "..."] | float:
    """Exact two-sided p-values, in (0, 1], that a change gains (wrong to right) as many items as it loses.

    Source: McNemar, Psychometrika 12 (1947), in its exact (binomial) form. Trap: it knows nothing of a choice; for the
    best of many shifts on the same items it is anti-conservative, see ``util.zero_shot.selection``.
    """
    gained, lost = _counts(gained, "gained"), _counts(lost, "lost")
    return np.minimum(1.0, 2 * scipy.stats.binom.cdf(np.minimum(gained, lost), gained + lost, 0.5))


def most_discordant(net: int, n: int, alpha: float = 0.05) -> int:
    """The most of n items that may have changed if a net gain of ``net`` is still to be significant by ``mcnemar``.

    Gained and lost together, of the parity of ``net``; 0 where even ``net`` gains without a loss have no p < alpha.
    """
    net, n = as_count(net, "net", least=0), as_count(n, "n")
    if net > n:
        raise UserError(f"a net gain of {net} items needs at least as many; there are {n}")
    alpha = _probability(alpha, "alpha")  # with more changes and the same net gain p never falls, hence bisection
    losses = bisect.bisect_left(range((n - net) // 2 + 1), alpha, key=lambda lost: mcnemar(net + lost, lost))
    return net + 2 * (losses - 1) if losses else 0


def holm(p_values: Float[np.ndarray, "*r k"] | Sequence[float]) -> Float[np.ndarray, "*r k"]:
    """p-values of a family of k tests, or of rows of them, such that any false rejection has at most the level.

    In the order given, none below the p-value it came from. NaN stays NaN and counts for no test.
    Source: Holm, Scandinavian Journal of Statistics 6 (1979): the j-th smallest of k times k - j + 1, made monotone.
    """
    p = np.asarray(p_values, np.float64)
    if not p.size or (p < 0).any() or (p > 1).any():
        raise UserError("p-values must be one or more numbers in [0, 1]")
    order = np.argsort(p, axis=-1, kind="stable")  # NaN last
    steps = np.isfinite(p).sum(-1, keepdims=True) - np.arange(p.shape[-1])
    sorted_p = np.take_along_axis(p, order, axis=-1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(sorted_p * steps, axis=-1), 1), axis=-1)
    return adjusted


def combined_p_value(p_values: Sequence[float], share: float = 0.75) -> float:
    """One p-value of k p-values of a hypothesis that may depend on each other in any way: k/j p_(j), at most 1.

    p_(j) is the j-th smallest and j = share k, rounded up: at most the level only where j of k are at most j/k of it,
    which has at most that probability (Markov's inequality).
    Source: Rueger, Metrika 25 (1978); Meinshausen, Meier and Buehlmann, JASA 104 (2009), for random splits.
    """
    p = np.sort(np.asarray(p_values, np.float64))
    if not p.size or not ((p >= 0) & (p <= 1)).all():
        raise UserError("p-values must be one or more numbers in [0, 1]")
    j = math.ceil(_probability(share, "share") * p.size - 1e-9)
    return float(min(1.0, p.size / j * p[j - 1]))


def bootstrap_counts(
    sizes: int | Int[np.ndarray, "u"], resamples: int, seed: int | Sequence[int]
) -> Iterator[Int[np.ndarray, "r u"]]:
    """How often each item is drawn when as many are drawn with replacement as there are, block by block.

    Args:
        sizes: the number of items; or (u,) the sizes, at least 0, of groups of items that are alike, where only how
            many are drawn from each group is wanted: the same distribution, and cheaper.
        resamples: how many rows in all; every row sums to the number of items.
        seed: of their own stream of random numbers; the same seed gives the same counts.
    """
    resamples, sizes = as_count(resamples, "resamples"), np.asarray(sizes)
    if sizes.dtype.kind not in "iu" or sizes.ndim > 1 or sizes.size == 0 or sizes.min() < 0 or sizes.sum() < 1:
        raise UserError(f"a bootstrap needs at least one item, and whole numbers of them, not {sizes}")
    sizes, rng = sizes.astype(np.int64), np.random.default_rng(seed)
    n, u = int(sizes.sum()), sizes.size if sizes.ndim else int(sizes)
    block = max(1, COUNTS_PER_BLOCK // u)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        if sizes.ndim:
            yield rng.multinomial(n, sizes / n, size=rows)
        else:
            drawn = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
            yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)


def _probability(value: float, name: str = "confidence") -> float:
    if not isinstance(value, numbers.Real) or not 0 < value < 1:
        raise UserError(f"{name} must be between 0 and 1, not {value!r}")
    return float(value)


def _counts(values, name: str) -> Int[np.ndarray, "..."]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or (array < 0).any():
        raise UserError(f"{name} must be whole numbers of at least 0, not {values!r}")
    return array
