"""Outcomes of the same items at every shift: their metric, its bootstrap, and what each item adds to a gain.

The gain of a shift over no shift is a sum of one whole number for each item, whatever the metric. For a share of hits
it is the difference of the item's two hits, for the area under the ROC curve a difference of placements. Exchanging an
item's outcomes with and without shift changes the sign of its own number and no other. The permutation tests of
``util.zero_shot.selection`` rest on that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.stats import rankdata

from ..errors import UserError
from ..numerics.statistics import bootstrap_counts, wilson_interval

LEVEL = 0.95
"""Confidence of every interval."""

BOOTSTRAP = 1
"""The stream of a seed's random numbers that resamples are drawn from."""

ROWS = 250
"""Resamples of areas that are computed at a time."""


@dataclass(frozen=True)
class Outcomes:
    """What ``Hits`` and ``Margins`` have in common.

    Attributes:
        items: (k, n), what each of n items does at each of k shifts.
        groups: whole numbers (n,), which items are resampled and exchanged together, as they are not independent: texts
            of one image, copies of an image. None: each is by itself.
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

    def discordant(self, one: int, other: int) -> int | None:
        """How many items do something else at one of two shifts; None where the metric is not of single items."""

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

    def discordant(self, one: int, other: int) -> int:
        return int((self.items[one] != self.items[other]).sum())

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

        Source: Venkatraman and Begg, Biometrika 83 (1996), for the null. Bandos, Rockette and Gur, Statistics in
        Medicine 24 (2005), for the statistic.
        """
        ranks = rankdata(self.items, axis=1)
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


def quantiles(drawn: Float[np.ndarray, "r *k"], level: float = LEVEL) -> Float[np.ndarray, "2 *k"]:
    """The ends of the middle part of resampled values, by default of 95%."""
    return np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
