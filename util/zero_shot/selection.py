"""Outcomes of the same items at every shift, which shift is best, and how far to believe it.

``on_test`` chooses as the paper does. ``cross_tested`` chooses on some items and tests on others, and ``held_out``
makes one statement of many such tests, of the halves of many random splits.

Choosing the best of many shifts makes a gain even where no shift changes anything. The permutation test puts the same
choice into its null distribution. A gain over no shift is a sum of one whole number for each item, and exchanging an
item's outcomes with and without shift changes the sign of its own number alone. One coin for each item, the same for
all shifts, keeps how the shifts depend on each other. That is exact where an item's changes at all shifts together are
as likely as their opposite, and holds for many changed items where each single one is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int, Shaped

from .. import UserError
from ..numerics.arrays import as_count, as_numbers
from ..numerics.statistics import COUNTS_PER_BLOCK, bootstrap_counts, combined_p_value, wilson_interval

LEVEL = 0.95
"""Confidence of every interval."""
HALF_LEVEL = (1 + LEVEL) / 2
"""That of each half's interval."""
BOOTSTRAP, FLIPS, HALVES = 1, 2, 3
"""The streams of a seed's random numbers that resamples, coins and halves are drawn from."""
ROWS = 250
"""Resamples of areas that are computed at a time."""
ROUNDING = 1e-9
"""Gains of different shifts that are equal, each divided by its own spread, differ by less; others by more."""

PerShift = Float[np.ndarray, "k"] | Sequence[float]


@dataclass(frozen=True)
class Outcomes:
    """What ``Hits`` and ``Margins`` have in common.

    Attributes:
        items: (k, n), what each of n items does at each of k shifts.
        groups: (n,) numbers; items of one (texts or copies of an image) are drawn and exchanged together. None: alone.
    """

    items: Shaped[np.ndarray, "k n"]
    groups: Int[np.ndarray, "n"] | None = None

    def __post_init__(self):
        for name, given in vars(self).items():
            object.__setattr__(self, name, given if given is None else np.asarray(given))
        of = self.groups
        if of is not None and (of.shape != self.items.shape[1:] or of.dtype.kind not in "iu"):
            raise UserError(f"groups must be one whole number for each of {self.n} items; {of.shape}")

    @property
    def n(self) -> int:
        """Items."""
        return self.items.shape[1]

    @property
    def independent(self) -> bool:
        """Whether no two items belong together."""
        return self.groups is None or len(np.unique(self.groups)) == self.n

    def take(self, rows: Int[np.ndarray, "m"]) -> "Outcomes":
        """The outcomes of some items, in the order given."""
        return type(self)(*(given if given is None else given[..., rows] for given in vars(self).values()))

    def of_groups(self, groups: Int[np.ndarray, "g"]) -> "Outcomes":
        """The outcomes of the items of some groups."""
        return self.take(np.flatnonzero(np.isin(self.groups, groups)))

    def at(self, shifts: Sequence[int]) -> "Outcomes":
        """The outcomes at some of the shifts, in the order given."""
        return replace(self, items=self.items[list(shifts)])

    def limits(self, resamples: int, seed: int, level: float = LEVEL) -> Float[np.ndarray, "2 k"]:
        """Limits of the metric, each shift by itself, by bootstrap; of hits Wilson's, where groups hit as one."""
        return quantiles(self.resampled(resamples, seed), level)

    def _together(self, rows: Shaped[np.ndarray, "n *k"]) -> Shaped[np.ndarray, "u *k"]:
        """The rows of items; where some belong together, sums over each group."""
        if self.independent:
            return rows
        order = np.argsort(self.groups, kind="stable")
        starts = np.unique(self.groups[order], return_index=True)[1]
        return np.add.reduceat(1 * rows[order], starts, axis=0)


@dataclass(frozen=True)
class Hits(Outcomes):
    """Outcomes that are right or wrong, bool. Their metric is the share of hits: accuracy, recall@k."""

    def __post_init__(self):
        super().__post_init__()
        if self.items.dtype != bool or self.items.ndim != 2 or not self.items.size:
            raise UserError(f"hits must be a bool array (shifts, items), not {self.items.dtype} {self.items.shape}")

    def values(self) -> Float[np.ndarray, "k"]:
        """The metric at every shift, in [0, 1]."""
        return self.items.mean(1)

    def contributions(self, baseline: int) -> Int[np.ndarray, "u k"]:
        """What each item or group adds to the gains over ``baseline``, in units of 1/n."""
        return self._together((self.items.astype(np.int64) - self.items[baseline]).T)

    def limits(self, resamples: int, seed: int, level: float = LEVEL) -> Float[np.ndarray, "2 k"]:
        hits = self._together(self.items.T)
        of_groups = np.stack(wilson_interval((hits > 0).sum(0), len(hits), level))
        if np.isin(hits, (0, self.n / len(hits))).all():  # each group is one item, or as many copies of one
            return of_groups
        alike = np.isin(self.values(), (0, 1))  # all are right or all wrong: so is every resample
        return np.where(alike, of_groups, super().limits(resamples, seed, level))

    def resampled(self, resamples: int, seed: int) -> Float[np.ndarray, "r k"]:
        """``values`` of bootstrap resamples of the items, or groups, all shifts on the same resample.

        The same for any order of the items. Items with the same outcomes at every shift are counted together.
        """
        units = self._together(np.vstack([self.items, np.ones(self.n, bool)]).T)
        patterns, sizes = np.unique(units, axis=0, return_counts=True)
        if 4 * len(sizes) > len(units):  # few are alike: drawing units is cheaper than as many binomial numbers
            patterns, sizes = np.repeat(patterns, sizes, axis=0), len(units)
        patterns, draws = patterns.astype(np.float64), bootstrap_counts(sizes, resamples, [seed, BOOTSTRAP])
        sums = np.concatenate([counts.astype(np.float64) @ patterns for counts in draws])
        return sums[:, :-1] / sums[:, -1:]  # the last column counts items


@dataclass(frozen=True)
class Margins(Outcomes):
    """Margins of class 1 over class 0, whose metric is the area under the ROC curve; only their order counts.

    Attributes:
        labels: 0 or 1 (n,), both of them present, and one in each group.
    """

    labels: Bool[np.ndarray, "n"] | Int[np.ndarray, "n"] | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.items.ndim != 2 or self.labels.shape != self.items.shape[1:] or not np.isin(self.labels, (0, 1)).all():
            raise UserError(f"margins {self.items.shape} need a label of 0 or 1 for each item; {self.labels.shape}")
        if self.labels.min() == self.labels.max():
            raise UserError(f"ROC-AUC needs items of both labels; all {self.n} have label {int(self.labels[0])}")
        object.__setattr__(self, "labels", self.labels.astype(bool))

    def values(self) -> Float[np.ndarray, "k"]:
        return self._areas(np.ones((1, self.n), np.int64))[0]

    def contributions(self, baseline: int) -> Int[np.ndarray, "u k"]:
        """Change of the area when one item's ranks are exchanged, in units of 1/(4 pairs); sums are the gains.

        A pair is an item of each class. Within each shift the margins become mid-ranks. An item's two ranks (at the
        shift, without) are exchanged or not, and both areas are computed anew. Let psi be 1, 1/2, 0 for larger, equal,
        smaller, and primed ranks those at the shift. The difference of areas is linear in the signs of the exchanges.
        Item p of class 1 adds sum_q psi(p', q') - psi(p, q) + psi(p', q) - psi(p, q'). Item q of class 0 adds
        sum_p psi(p', q') - psi(p, q) - psi(p', q) + psi(p, q').
        Source: the null of Venkatraman and Begg, Biometrika 83 (1996); Bandos et al., Statistics in Medicine 24 (2005).
        """
        ranks = scipy.stats.rankdata(self.items, axis=1)
        before = ranks[baseline]
        same = self._placed(before, before)
        added = [self._placed(at, at) - same + self._placed(at, before) - self._placed(before, at) for at in ranks]
        return self._together(np.stack(added, axis=1))

    def resampled(self, resamples: int, seed: int) -> Float[np.ndarray, "r k"]:
        """Each class is resampled by itself: the numbers of its items, or groups, stay what they are."""
        same = self.take(np.lexsort((*self.items, self.labels)))  # negative ones first
        draws, places = [], []
        for label in (0, 1):
            mine = np.flatnonzero(same.labels == label)
            units = np.arange(len(mine)) if self.independent else np.unique(same.groups[mine], return_inverse=True)[1]
            if units.max() == 0:
                raise UserError("the interval of an area needs two items of each label, in each half")
            draws.append(chain.from_iterable(bootstrap_counts(units.max() + 1, resamples, [seed, BOOTSTRAP, label])))
            places.append(units)
        rows, drawn = zip(*draws, strict=True), []
        while some := list(islice(rows, ROWS)):
            counts = (np.stack(each)[:, at] for each, at in zip(zip(*some, strict=True), places, strict=True))
            drawn.append(same._areas(np.concatenate([*counts], axis=1)))
        return np.concatenate(drawn)

    def _placed(self, ranks: Float[np.ndarray, "n"], others: Float[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        """Twice how many ``others`` of the other class each rank is above, equal ones half; below 0 for class 0."""
        found = np.empty(self.n, np.int64)
        for own, sign in ((self.labels, 1), (~self.labels, -1)):
            there = np.sort(others[~own])
            found[own] = sign * sum(np.searchsorted(there, ranks[own], end) for end in ("left", "right"))
        return found

    def _areas(self, counts: Int[np.ndarray, "r n"]) -> Float[np.ndarray, "r k"]:
        """The areas of items that are there so often: pairs in the right order, those of equal margins half."""
        positives, negatives = counts[:, self.labels], counts[:, ~self.labels]
        doubled = np.empty((len(counts), len(self.items)), np.int64)
        for k, margins in enumerate(self.items):
            order = np.argsort(margins[~self.labels])
            others = margins[~self.labels][order]
            below = np.pad(np.cumsum(negatives[:, order], axis=1), ((0, 0), (1, 0)))
            lower, not_higher = (np.searchsorted(others, margins[self.labels], end) for end in ("left", "right"))
            doubled[:, k] = (positives * (below[:, lower] + below[:, not_higher])).sum(1)
        return doubled / (2.0 * positives.sum(1) * negatives.sum(1))[:, None]


PerItem = Outcomes | Bool[np.ndarray, "k _"]
"""Outcomes, or plain hits of independent items."""


@dataclass(frozen=True, kw_only=True)
class Selected:
    """A chosen shift, the metric with and without it, and how sure that is; see the function that made it.

    Attributes:
        default, modified: the metric without shift and at the chosen one, in [0, 1]; ``gain`` is their difference.
        p_value: of the hypothesis that shifts improve nothing.
        shift: the chosen one; of several halves the one that most of them chose. shifts: that of each.
        direction: "up" if it widens the gap, "down" if it narrows it, "none", or "mixed" if no half of halves agree.
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
        outcomes: bool (k, n), each item right or not at every shift; ``Hits`` in groups; ``Margins`` of ROC-AUC.
        shifts, gaps: amounts, with 0 among them once, and the signed gap distance at each.

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
    limits = {"default": outcomes.limits(resamples, seed)[:, baseline]}
    limits |= {"ci": quantiles(highest), "gain": quantiles(highest - drawn[:, baseline])}
    return _selected(outcomes, shifts, gaps, baseline, chosen, p_value, limits)


def cross_tested(
    train: PerItem, test: PerItem, shifts: PerShift, gaps: PerShift, seed=0, resamples=2000, permutations=2000
) -> Selected:
    """The shift that is best on some items (train), tested on others (test) that had no part in the choice.

    Arguments as in ``on_test``. The direction is estimated, and ``gaps`` are measured, on the items to choose on.

    Returns:
        a one-sided p-value that no choice has touched: of exchanges of outcomes with and without the shift, all of them
        for hits (McNemar's), else ``permutations`` random ones. 1 where the best shift is none. Intervals are of
        confidence ``HALF_LEVEL``, 97.5%; that of the gain is by bootstrap.
    """
    test, *_ = _checked(test, shifts, gaps)
    train, shifts, gaps, baseline = _checked(train, shifts, gaps)
    chosen = best(train.values(), shifts)
    both = test.at([baseline, chosen])
    without, shifted = both.resampled(resamples, seed).T
    limits = {"ci": test.at([chosen]).limits(resamples, seed, HALF_LEVEL)[:, 0]}
    limits["gain"], added = quantiles(shifted - without, HALF_LEVEL), both.contributions(0)[:, 1:]
    exact = isinstance(test, Hits)
    p_value = paired_p_value(added[:, 0]) if exact else largest_gain_p_value(added, 0, permutations, seed)
    return _selected(test, shifts, gaps, baseline, chosen, p_value, limits)


def held_out(chosen: Selected, halves: Sequence[Selected]) -> Selected:
    """One statement of many halves, each with a shift chosen on the other half: repeated cross-fitting.

    ``chosen`` is what ``on_test`` says of all items, whose metric without shift is taken. ``halves`` are of many random
    splits, each tested on a shift that the other half chose. Gain and its limits, and those of the metric, are medians
    over the halves, as wide as half the items make them; ``modified`` is the default plus the gain. ``p_value`` is 4/3
    of the upper quartile of the halves' (``util.numerics.statistics.combined_p_value``).

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

    ``contributions`` are what each item adds to the gain of each shift (``Hits.contributions``), ``chosen`` is the
    shift with the largest gain, and ``permutations`` says how many random exchanges, B.

    Returns:
        (1 + exchanges whose largest gain is at least that of ``chosen``) / (1 + B), in [1/(1 + B), 1]. Each shift's
        gain is divided by its own spread under the exchanges, so that a shift that changes most predictions, however
        bad, hides no small gain elsewhere that is sure. The same for any order; 1 where ``chosen`` changes nothing.
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
    """Probability of at least this sum of whole numbers (u,), after minus before, if each sign is that of a fair coin.

    1 if all are zero. For differences of -1, 0 and 1 it is the one-sided McNemar test.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    chances = np.ones(1)  # of the sum of the differences that come out positive: 0, 1, 2, ...
    for size, count in zip(sizes, counts, strict=True):
        own = np.zeros(size * count + 1)
        own[::size] = scipy.stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, own)
    sums = 2 * np.arange(len(chances)) - int(sizes @ counts)
    return min(1.0, float(chances[sums >= int(differences.sum())].sum()))


def best(values: Float[np.ndarray, "k"], shifts: Float[np.ndarray, "k"]) -> int:
    """Index of the highest value; of equal ones that of the smallest shift, then the negative one."""
    return int(np.lexsort((shifts, np.abs(shifts), -values))[0])


def _selected(outcomes: Outcomes, shifts, gaps, baseline: int, chosen: int, p_value, limits: Mapping) -> Selected:
    values, change = outcomes.values(), abs(gaps[chosen]) - abs(gaps[baseline])
    differ = int((outcomes.items[baseline] != outcomes.items[chosen]).sum()) if isinstance(outcomes, Hits) else None
    return Selected(
        **{f"{name}_{end}": float(both[k]) for name, both in limits.items() for k, end in enumerate(("low", "high"))},
        default=float(values[baseline]),
        modified=float(values[chosen]),
        gain=round(float(values[chosen] - values[baseline]), 12),  # a difference of shares ends in noise
        p_value=p_value,
        shift=float(shifts[chosen]),
        shifts=(float(shifts[chosen]),),
        direction="up" if change > 0 else "down" if change < 0 else "none",
        n=outcomes.n,
        discordant=differ,
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


def quantiles(drawn: Float[np.ndarray, "r *k"], level: float = LEVEL) -> Float[np.ndarray, "2 *k"]:
    """The ends of the middle part of resampled values, by default of 95%."""
    return np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
