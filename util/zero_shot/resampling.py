"""Permutation tests: of the largest gain over all shifts, and of one gain; and ends of resampled values.

Choosing the best of many shifts makes a gain even where no shift changes anything. The test puts the same choice into
its null distribution: if shifts changed nothing, an item's outcomes with and without shift could be exchanged. One coin
for each item, the same for all shifts, keeps how the shifts depend on each other. That is exact where an item's changes
at all shifts together are as likely as their opposite, and holds for many changed items where each single one is.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from ..numerics.arrays import as_count
from ..numerics.statistics import COUNTS_PER_BLOCK

LEVEL = 0.95
"""Confidence of every interval."""

FLIPS = 2
"""The stream of a seed's random numbers that coins are drawn from."""
ROUNDING = 1e-9
"""Gains of different shifts that are equal, each divided by its own spread, differ by less; others by more."""


def largest_gain_p_value(contributions: Int[np.ndarray, "n k"], chosen: int, permutations: int, seed: int) -> float:
    """How often random exchanges of what items did with and without shift make as large a largest gain as that seen.

    Args:
        contributions: what each item adds to the gain of each shift (``Hits.contributions``); zero at no shift.
        chosen: the shift with the largest gain.
        permutations: how many random exchanges, B.

    Returns:
        (1 + exchanges whose largest gain is at least that of ``chosen``) / (1 + B), in [1/(1 + B), 1]. Each shift's
        gain is divided by its own spread under the exchanges, so that a shift that changes most predictions, however
        bad, hides no small gain elsewhere that is sure. The same for any order of the items; 1 where ``chosen`` changes
        nothing.

    Source: the maximum statistic of Westfall and Young (1993), on paired signs. For one shift and hits it is the
    one-sided McNemar test. The p-value with 1 added is that of Phipson and Smyth (2010): never 0, valid for any B.
    """
    total = as_count(permutations, "permutations")
    moved = contributions[contributions.any(axis=1)]
    if not moved[:, chosen].any():
        return 1.0
    moves = moved[np.lexsort(moved.T)].astype(np.float64)
    spread = np.sqrt(np.square(moves).sum(axis=0))
    spread[spread == 0] = np.inf
    seen = moves[:, chosen].sum() / spread[chosen]
    as_large, rng = 0, np.random.default_rng([seed, FLIPS])
    block = max(1, COUNTS_PER_BLOCK // len(moves))
    for start in range(0, total, block):
        signs = 2.0 * rng.integers(0, 2, (min(block, total - start), len(moves)), np.int8) - 1
        as_large += int(((signs @ moves / spread).max(axis=1) >= seen - ROUNDING).sum())
    return (1 + as_large) / (1 + total)


def paired_p_value(differences: Int[np.ndarray, "u"]) -> float:
    """Exact one-sided test of a sum of differences above 0, if each could as well have the other sign.

    Args:
        differences: whole numbers (u,), after minus before, of independent items or groups of items.

    Returns:
        probability of at least this sum under u fair signs; 1 if all are zero. For differences of -1, 0 and 1 it is
        the one-sided McNemar test.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    chances = np.ones(1)  # of the sum of the differences that come out positive: 0, 1, 2, ...
    for size, count in zip(sizes, counts, strict=True):
        own = np.zeros(size * count + 1)
        own[::size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, own)
    sums = 2 * np.arange(len(chances)) - int(sizes @ counts)
    return min(1.0, float(chances[sums >= int(differences.sum())].sum()))


def quantiles(drawn: Float[np.ndarray, "r *k"], level: float = LEVEL) -> Float[np.ndarray, "2 *k"]:
    """The ends of the middle part of resampled values, by default of 95%."""
    return np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
