"""Permutation tests: of the largest gain over all shifts, and of one gain.

Choosing the best of many shifts on the items that it is then reported on makes a gain even where no shift changes
anything. The test puts the same choice into its null distribution: if shifts changed nothing, what an item did at
the shifts and what it did without could be exchanged, and the largest gain after random exchanges would be like the
one that was seen. One coin for each item, the same for all shifts, keeps how the shifts depend on each other.

The test is exact where an item's changes at all shifts together are as likely as their opposite. Where they are so
only at each shift by itself (an item that is mostly right can be wrong without shift and right at all others more
easily than the other way round), the gains still have mean 0 and the covariance that the exchanges give them, so that
the test holds for many changed items.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from ..errors import UserError
from ..numerics.arrays import as_count
from ..numerics.statistics import COUNTS_PER_BLOCK
from .outcomes import distinct_rows

FLIPS = 2
"""The stream of a seed's random numbers that coins are drawn from."""
BITS = 8
"""So many items that are alike have their coins in one random byte."""
ROUNDING = 1e-9
"""Gains of different shifts that are equal, each divided by its own spread, differ by less; others by more."""


def largest_gain_p_values(
    contributions: Int[np.ndarray, "n k"], chosen: int, permutations: int, seed: int
) -> tuple[float, float]:
    """How often random exchanges of what items did with and without shift make as large a largest gain as that seen.

    Args:
        contributions: what each item adds to the gain of each shift (``Outcomes.contributions``); zero at no shift.
        chosen: the shift with the largest gain.
        permutations: how many random exchanges, B.
        seed: of the coins.

    Returns:
        two p-values, (1 + exchanges that reach what was seen) / (1 + B), in [1/(1 + B), 1]:
            of the gain: exchanges whose largest gain is at least that of ``chosen``;
            scaled: the same where every shift's gain is divided by its own spread under the exchanges.
        The same for any order of the items; both 1 where ``chosen`` changes nothing.

    Raises:
        UserError: no permutations.

    Source: the first is the reality check (White, Econometrica 68, 2000), the second the maximum statistic of Westfall
    and Young (1993), both on paired signs; for a single shift and hits both are the one-sided McNemar test. The p-value
    with 1 added is that of Phipson and Smyth (2010): never 0, valid for any B. Exact shortcuts: items that no shift
    changes are left out, and those that shifts change alike, or exactly the other way, are counted together.

    Trap: a shift that changes most predictions, however bad, makes the largest gain of chance large, and hides from the
    first p-value a small gain elsewhere that is sure. The second is not misled by it (Hansen, JBES 23, 2005).
    """
    total = as_count(permutations, "permutations")
    moves, sizes = alike(contributions)
    seen = int(contributions[:, chosen].sum())
    spread = np.sqrt(np.square(moves, dtype=np.float64).T @ sizes)
    if not moves[:, chosen].any():
        return 1.0, 1.0
    spread[spread == 0] = np.inf
    as_large = np.zeros(2, np.int64)
    for signs in signed_counts(sizes, total, [seed, FLIPS]):
        gains = signed_gains(moves, signs)
        as_large[0] += (gains.max(axis=1) >= seen).sum()
        as_large[1] += ((gains / spread).max(axis=1) >= seen / spread[chosen] - ROUNDING).sum()
    of_gain, scaled = (1 + as_large) / (1 + total)
    return float(of_gain), float(scaled)


def paired_p_value(differences: Int[np.ndarray, "u"]) -> float:
    """Exact two-sided test of a sum of differences, if each could as well have the other sign.

    Args:
        differences: whole numbers (u,), after minus before, of independent items or groups of items.

    Returns:
        probability of a sum at least as far from 0 under u fair signs; 1 if all are zero. For differences of -1, 0
        and 1 it is ``util.numerics.statistics.mcnemar``.

    Raises:
        UserError: not whole numbers.
    """
    differences = np.asarray(differences)
    if differences.ndim != 1 or differences.dtype.kind not in "iu":
        raise UserError(f"differences must be whole numbers in a row, not {differences.dtype} {differences.shape}")
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    chances = np.ones(1)  # of the sum of the differences that come out positive: 0, 1, 2, ...
    for size, count in zip(sizes, counts, strict=True):
        own = np.zeros(size * count + 1)
        own[::size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, own)
    sums = 2 * np.arange(len(chances)) - int(sizes @ counts)
    return min(1.0, float(chances[np.abs(sums) >= abs(int(differences.sum()))].sum()))


def signed_gains(moves: Int[np.ndarray, "u k"], signs: Int[np.ndarray, "r u"]) -> Float[np.ndarray, "r k"]:
    """Signed sums of moves at every shift, for each of r draws of signs: whole numbers, so that ties are ties."""
    return signs.astype(np.float64) @ moves.astype(np.float64)


def alike(contributions: Int[np.ndarray, "n k"]) -> tuple[Int[np.ndarray, "u k"], Int[np.ndarray, "u"]]:
    """The different contributions other than zero, up to their sign, and how many items have each."""
    moved = contributions[contributions.any(axis=1)]
    first = np.take_along_axis(moved, (moved != 0).argmax(axis=1)[:, None], axis=1)
    return distinct_rows(moved * np.sign(first))


def signed_counts(sizes: Int[np.ndarray, "u"], draws: int, seed: list[int]) -> Iterator[Int[np.ndarray, "r u"]]:
    """Sums of as many fair signs, -1 or 1, as each group has items; ``draws`` rows in all, block by block."""
    rng, few = np.random.default_rng(seed), sizes <= BITS
    mask = (np.uint16(1) << sizes[few].astype(np.uint16)) - np.uint16(1)
    block = max(1, COUNTS_PER_BLOCK // len(sizes))
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        heads = np.empty((rows, len(sizes)), np.int64)
        bits = rng.integers(0, 1 << BITS, (rows, len(mask)), dtype=np.uint8)
        heads[:, few] = np.bitwise_count(bits & mask.astype(np.uint8))
        heads[:, ~few] = rng.binomial(sizes[~few], 0.5, size=(rows, int((~few).sum())))
        yield 2 * heads - sizes
