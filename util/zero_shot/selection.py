"""Which shift is best, and how far to believe it: chosen on the test items themselves, or on one half for the other.

``on_test`` chooses as the paper does. ``cross_tested`` chooses on some items and tests on others, and ``held_out``
makes one statement of many such tests, of the halves of many random splits.

Choosing the best of many shifts makes a gain even where no shift changes anything. The permutation test puts the same
choice into its null distribution: if shifts changed nothing, an item's outcomes with and without shift could be
exchanged. One coin for each item, the same for all shifts, keeps how the shifts depend on each other. That is exact
where an item's changes at all shifts together are as likely as their opposite, and holds for many changed items where
each single one is.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import stats

from ..errors import UserError
from ..numerics.arrays import as_count, as_numbers
from ..numerics.statistics import COUNTS_PER_BLOCK, combined_p_value
from .outcomes import LEVEL, Hits, Outcomes, quantiles

PerShift = Float[np.ndarray, "k"] | Sequence[float]
PerItem = Outcomes | Bool[np.ndarray, "k _"]
"""Outcomes, or plain hits of independent items."""

HALVES = 3
"""The stream of a seed's random numbers that halves are drawn from."""
FLIPS = 2
"""The stream that coins are drawn from."""
ROUNDING = 1e-9
"""Gains of different shifts that are equal, each divided by its own spread, differ by less; others by more."""
HALF_LEVEL = (1 + LEVEL) / 2
"""Confidence of each half's interval."""


@dataclass(frozen=True, kw_only=True)
class Selected:
    """A chosen shift, the metric with and without it, and how sure that is; see the function that made it.

    Attributes:
        default, modified: the metric without shift and at the chosen one, in [0, 1]; their limits, where told.
        gain: ``modified`` minus ``default``.
        p_value: of the hypothesis that shifts improve nothing.
        shift: the chosen one; of several halves the one that most of them chose. shifts: that of each.
        direction: "up" if it widens the gap, "down" if it narrows it, "none" if neither, "mixed" if no half of the
            halves agree.
        n: items tested. discordant: how many of them the shift changes, on average over halves; None for ROC-AUC.
    """

    default: float
    default_low: float | None = None
    default_high: float | None = None
    modified: float
    ci_low: float
    ci_high: float
    gain: float
    gain_low: float
    gain_high: float
    p_value: float
    shift: float
    shifts: tuple[float, ...]
    direction: str
    n: int
    discordant: int | float | None


def on_test(
    outcomes: PerItem, shifts: PerShift, gaps: PerShift, seed: int = 0, resamples: int = 2000, permutations: int = 2000
) -> Selected:
    """The best shift on all items, as the paper chooses it, with a test and intervals that know of the choice.

    Args:
        outcomes: bool (k, n), each item right or wrong at every shift; ``Hits`` of items in groups, ``Margins`` of
            ROC-AUC (``util.zero_shot.outcomes``).
        shifts: amounts, with 0 among them once.
        gaps: signed gap distance at every shift.
        seed: of the test's permutations and the bootstrap's resamples.

    Returns:
        ``p_value`` is that of the largest gain over all shifts (``largest_gain_p_value``). Every resample chooses its
        own best shift; ``ci_*`` and ``gain_*`` are 95% quantiles of its value there and of its gain.

    Example, for images (n, d), one text (C, d) for each class, and labels (n,):

        ranks = util.zero_shot.shifted.class_ranks(images, texts, labels, shifts)
        gaps = util.geometry.signed_gap_distances(images, texts, shifts)
        best = util.zero_shot.selection.on_test(ranks < 1, shifts, gaps)

    Trap: a chosen maximum is biased upwards, and so are its intervals: ``gain_low`` is never below 0. ``p_value`` is
    the evidence of a gain, ``held_out`` the unbiased one. All are of further items along this gap vector, with these
    prompts or this gallery: none of the three is drawn again.
    """
    outcomes, shifts, gaps, baseline = _checked(outcomes, shifts, gaps)
    values, drawn = outcomes.values(), outcomes.resampled(resamples, as_count(seed, "seed", least=0))
    chosen, highest = best(values, shifts), drawn.max(axis=1)
    p_value = largest_gain_p_value(outcomes.contributions(baseline), chosen, permutations, seed)
    default_low, default_high = outcomes.limits(resamples, seed)[:, baseline].tolist()
    ends = quantiles(np.stack([highest, highest - drawn[:, baseline]], axis=1)).T
    limits = {"default_low": default_low, "default_high": default_high}
    return replace(_selected(outcomes, shifts, gaps, baseline, chosen, p_value, *ends.tolist()), **limits)


def cross_tested(
    train: PerItem, test: PerItem, shifts: PerShift, gaps: PerShift, seed=0, resamples=2000, permutations=2000
) -> Selected:
    """The shift that is best on some items, tested on others that had no part in the choice.

    Args:
        train: outcomes to choose on, as in ``on_test``, along a direction that was estimated on these items alone.
        test: outcomes of other items along it.
        gaps: signed gap distance of the items to choose on, at every shift.

    Returns:
        a one-sided p-value that no choice has touched: of exchanges of outcomes with and without the shift, all of them
        for hits (McNemar's), else ``permutations`` random ones. 1 where the best shift is none. Intervals are of
        confidence ``HALF_LEVEL``, 97.5%; that of the gain is by bootstrap.
    """
    test, *_ = _checked(test, shifts, gaps)
    train, shifts, gaps, baseline = _checked(train, shifts, gaps)
    chosen = best(train.values(), shifts)
    ends = test.at([chosen]).limits(resamples, seed, HALF_LEVEL)[:, 0].tolist()
    both = test.at([baseline, chosen])
    without, shifted = both.resampled(resamples, seed).T
    of_gain, added = quantiles(shifted - without, HALF_LEVEL).tolist(), both.contributions(0)[:, 1:]
    exact = isinstance(test, Hits)
    p_value = paired_p_value(added[:, 0]) if exact else largest_gain_p_value(added, 0, permutations, seed)
    return _selected(test, shifts, gaps, baseline, chosen, p_value, ends, of_gain)


def held_out(chosen: Selected, halves: Sequence[Selected]) -> Selected:
    """One statement of many halves, each with a shift chosen on the other half: repeated cross-fitting.

    ``chosen`` is what ``on_test`` says of all items, whose metric without shift is taken. ``halves`` are of many random
    splits, each tested on a shift that the other half chose.

    Returns:
        gain and its limits, and those of the metric: medians over the halves, as wide as half the items make them.
            ``modified`` is the default plus the gain.
        p_value: 4/3 of the upper quartile of the halves' (``util.numerics.statistics.combined_p_value``).

    Source: Chernozhukov, Demirer, Duflo and Fernandez-Val, NBER 24678 (2018), for medians over splits.

    Trap: the p-value pays for its validity with power. That of ``on_test`` knows of the choice too and has more.
    """
    if not halves:
        raise UserError("held-out selection needs tested halves")
    names = ("gain", "ci_low", "ci_high", "gain_low", "gain_high")
    medians = {name: round(float(np.median([getattr(half, name) for half in halves])), 12) for name in names}
    changed = [half.discordant for half in halves if half.discordant is not None]
    (shift, _), *_ = Counter(half.shift for half in halves).most_common(1)
    (direction, often), *_ = Counter(half.direction for half in halves).most_common(1)
    return replace(
        chosen,
        **medians,
        modified=round(chosen.default + medians["gain"], 12),
        p_value=combined_p_value([half.p_value for half in halves]),
        shift=shift,
        shifts=tuple(half.shift for half in halves),
        direction=direction if 2 * often > len(halves) else "mixed",
        discordant=sum(changed) * chosen.n / sum(half.n for half in halves) if changed else None,
    )


def halves(
    n: int, strata: Shaped[np.ndarray, "n"] | None, seed: int, split: int = 0
) -> tuple[Int[np.ndarray, "a"], Int[np.ndarray, "b"]]:
    """Row numbers of two random halves, in ascending order; both, and in both every stratum, differ by at most 1 row.

    ``strata`` (n,) are what is to be as frequent in both, for instance labels; None: nothing.
    """
    n = as_count(n, "items to halve", least=2)
    rng = np.random.default_rng([as_count(seed, "seed", least=0), HALVES, as_count(split, "split", least=0)])
    order, first = rng.permutation(n), int(rng.integers(2))
    if strata is not None:
        order = order[np.argsort(np.asarray(strata)[order], kind="stable")]
    return np.sort(order[first::2]), np.sort(order[1 - first :: 2])


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


def best(values: Float[np.ndarray, "k"], shifts: Float[np.ndarray, "k"]) -> int:
    """Index of the highest value; of equal ones that of the smallest shift, then the negative one."""
    return int(np.lexsort((shifts, np.abs(shifts), -values))[0])


def _selected(outcomes: Outcomes, shifts, gaps, baseline: int, chosen: int, p_value, ends, gain_ends) -> Selected:
    values, change = outcomes.values(), abs(gaps[chosen]) - abs(gaps[baseline])
    return Selected(
        default=float(values[baseline]),
        modified=float(values[chosen]),
        ci_low=ends[0],
        ci_high=ends[1],
        gain=round(float(values[chosen] - values[baseline]), 12),  # a difference of shares ends in noise
        gain_low=gain_ends[0],
        gain_high=gain_ends[1],
        p_value=p_value,
        shift=float(shifts[chosen]),
        shifts=(float(shifts[chosen]),),
        direction="up" if change > 0 else "down" if change < 0 else "none",
        n=outcomes.n,
        discordant=outcomes.discordant(baseline, chosen),
    )


def _checked(outcomes: PerItem, shifts, gaps) -> tuple[Outcomes, np.ndarray, np.ndarray, int]:
    outcomes = outcomes if isinstance(outcomes, Outcomes) else Hits(outcomes)
    shifts, gaps, k = as_numbers(shifts, "shifts"), as_numbers(gaps, "gaps"), len(outcomes.items)
    if not len(shifts) == len(gaps) == k:
        raise UserError(f"{k} shifts have outcomes, but there are {len(shifts)} amounts and {len(gaps)} gaps")
    zeros = np.flatnonzero(shifts == 0)
    if len(zeros) != 1:
        raise UserError(f"the shifts must hold 0, which is the default, exactly once; they hold it {len(zeros)} times")
    return outcomes, shifts, gaps, int(zeros[0])
