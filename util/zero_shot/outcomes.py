"""Outcomes of the same items at every shift: their metric, its bootstrap, and what each item adds to a gain.

``Hits``, ``Margins`` and ``Shares`` have the same methods. The gain of a shift over no shift is a sum of one whole
number for each item, whatever the metric. For a share of hits it is the difference of the item's two hits, for the area
under the ROC curve a difference of placements. Exchanging an item's outcomes with and without shift changes the sign of
its own number and no other. The permutation tests of ``util.zero_shot.resampling`` rest on that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.stats import norm, rankdata

from ..errors import UserError
from ..numerics.statistics import bootstrap_counts, wilson_interval
from .resampling import LEVEL, distinct_rows, paired_p_value, quantiles

BOOTSTRAP = 1
"""The stream of a seed's random numbers that resamples are drawn from."""

GRAIN = 2.0**-30
"""What shares are rounded to where gains are compared."""

ROWS = 250
"""Resamples of areas that are computed at a time."""


@dataclass(frozen=True)
class Hits:
    """Outcomes that are right or wrong. Their metric is the share of hits: accuracy, recall@k.

    Attributes:
        hits: bool (k, n), at least one shift and one item.
        groups: whole numbers (n,), which items belong together, for instance the image that each text describes. Such
            items are resampled and exchanged together, because they are not independent. None: every item is.
    """

    hits: Bool[np.ndarray, "k n"]
    groups: Int[np.ndarray, "n"] | None = None

    def __post_init__(self):
        hits, groups = np.asarray(self.hits), None if self.groups is None else np.asarray(self.groups)
        if hits.dtype != bool or hits.ndim != 2 or not hits.size:
            raise UserError(f"hits must be a bool array (shifts, items), not {hits.dtype} of shape {hits.shape}")
        if groups is not None and (groups.shape != hits.shape[1:] or groups.dtype.kind not in "iu"):
            raise UserError(f"groups must be one whole number for each of {hits.shape[1]} items; {groups.shape}")
        object.__setattr__(self, "hits", hits)
        object.__setattr__(self, "groups", groups)

    @property
    def k(self) -> int:
        """Shifts."""
        return self.hits.shape[0]

    @property
    def n(self) -> int:
        """Items."""
        return self.hits.shape[1]

    def values(self) -> Float[np.ndarray, "k"]:
        """The metric at every shift, in [0, 1]."""
        return self.hits.sum(1) / self.n

    def take(self, rows: Int[np.ndarray, "m"]) -> "Hits":
        """The outcomes of some items, in the order given."""
        return Hits(self.hits[:, rows], None if self.groups is None else self.groups[rows])

    def at(self, shifts: Sequence[int]) -> "Hits":
        """The outcomes at some of the shifts, in the order given."""
        return Hits(self.hits[list(shifts)], self.groups)

    def contributions(self, baseline: int) -> Int[np.ndarray, "u k"]:
        """Hits at the shift minus hits at ``baseline``, of each item or group; the gains are their sums over n."""
        return self._together((self.hits.view(np.int8) - self.hits[baseline].view(np.int8)).T)

    def discordant(self, one: int, other: int) -> int:
        """How many items are right at only one of two shifts."""
        return int((self.hits[one] != self.hits[other]).sum())

    def gain(self, baseline: int, shift: int) -> tuple[float, float, float]:
        """Gain of a shift over another, its standard error, and the one-sided p-value of no gain: exact.

        The error is that of a mean of -1, 0 and 1, or with groups of a ratio of their sums.
        """
        changes = self.at([baseline, shift]).contributions(0)[:, 1].astype(np.int64)
        sizes = self._together(np.ones((self.n, 1), np.int64))[:, 0]
        gain = float(changes.sum() / self.n)
        return gain, float(np.linalg.norm(changes - gain * sizes) / self.n), paired_p_value(changes)

    def limits(self, resamples: int, seed: int, level: float = LEVEL) -> Float[np.ndarray, "2 k"]:
        """Limits of the metric, each shift by itself: Wilson's for independent items, otherwise by bootstrap."""
        if self.groups is None:
            return np.stack(wilson_interval(self.hits.sum(1), self.n, level))
        return quantiles(self.resampled(resamples, seed), level)

    def resampled(self, resamples: int, seed: int) -> Float[np.ndarray, "r k"]:
        """``values`` of bootstrap resamples of the items, or groups, all shifts on the same resample.

        The same for any order of the items. Items with the same hits at every shift are counted together.
        """
        units = self._together(np.vstack([self.hits, np.ones(self.n, bool)]).view(np.int8).T)
        patterns, sizes = distinct_rows(units)
        if 4 * len(sizes) > len(units):  # few are alike: drawing units is cheaper than as many binomial numbers
            patterns, sizes = np.repeat(patterns, sizes, axis=0), len(units)
        patterns, draws = patterns.astype(np.float64), bootstrap_counts(sizes, resamples, [seed, BOOTSTRAP])
        sums = np.concatenate([counts.astype(np.float64) @ patterns for counts in draws])
        return sums[:, :-1] / sums[:, -1:]  # the last column counts items

    def _together(self, rows: Int[np.ndarray, "n k"]) -> Int[np.ndarray, "u k"]:
        """The rows of items; with groups, their sums over each group."""
        if self.groups is None:
            return rows
        order = np.argsort(self.groups, kind="stable")
        starts = np.unique(self.groups[order], return_index=True)[1]
        return np.add.reduceat(rows[order].astype(np.int64), starts, axis=0)


@dataclass(frozen=True)
class Margins:
    """Outcomes that are ranked. Their metric is the area under the ROC curve. Methods as of ``Hits``.

    Attributes:
        margins: float (k, n), of class 1 over class 0; only their order within a shift matters.
        labels: 0 or 1 (n,), both of them present.
    """

    margins: Float[np.ndarray, "k n"]
    labels: Shaped[np.ndarray, "n"]

    def __post_init__(self):
        margins, labels = np.asarray(self.margins, np.float64), np.asarray(self.labels)
        if margins.ndim != 2 or not margins.size or not np.isfinite(margins).all():
            raise UserError(f"margins must be finite numbers (shifts, items); their shape is {margins.shape}")
        if labels.shape != margins.shape[1:] or not np.isin(labels, (0, 1)).all():
            raise UserError(f"labels must be 0 or 1 for each of the {margins.shape[1]} items; got {labels.shape}")
        if labels.min() == labels.max():
            raise UserError(f"ROC-AUC needs items of both labels; all {labels.size} have label {int(labels[0])}")
        object.__setattr__(self, "margins", margins)
        object.__setattr__(self, "labels", labels)

    @property
    def k(self) -> int:
        return self.margins.shape[0]

    @property
    def n(self) -> int:
        return self.margins.shape[1]

    @property
    def positive(self) -> Bool[np.ndarray, "n"]:
        return self.labels.astype(bool)

    @property
    def pairs(self) -> int:
        """Pairs of an item of class 1 with one of class 0, which the area is a mean over."""
        positives = int(self.positive.sum())
        return positives * (self.n - positives)

    def values(self) -> Float[np.ndarray, "k"]:
        return self._areas(np.ones((1, self.n), np.int64))[0]

    def take(self, rows: Int[np.ndarray, "m"]) -> "Margins":
        return Margins(self.margins[:, rows], self.labels[rows])

    def at(self, shifts: Sequence[int]) -> "Margins":
        return Margins(self.margins[list(shifts)], self.labels)

    def contributions(self, baseline: int) -> Int[np.ndarray, "n k"]:
        """Change of the area when one item's ranks are exchanged, in units of 1/(4 pairs); sums are the gains.

        Within each shift the margins become mid-ranks. An item's two ranks (at the shift, without) are exchanged or
        not, and both areas are computed anew. Let psi be 1, 1/2, 0 for larger, equal, smaller, and primed ranks those
        at the shift. The difference of areas is linear in the signs of the exchanges. Item p of class 1 adds
        sum_q psi(p', q') - psi(p, q) + psi(p', q) - psi(p, q'). Item q of class 0 adds
        sum_p psi(p', q') - psi(p, q) - psi(p', q) + psi(p, q').

        Source: Venkatraman and Begg, Biometrika 83 (1996), for the null. Bandos, Rockette and Gur, Statistics in
        Medicine 24 (2005), for the statistic.
        """
        doubled = np.rint(2 * rankdata(self.margins, axis=1)).astype(np.int64)
        without = doubled[baseline]
        result = np.empty((self.n, self.k), np.int64)
        for k, at in enumerate(doubled):
            for own, sign in ((self.positive, 1), (~self.positive, -1)):
                others = [np.sort(ranks[~own]) for ranks in (at, without)]
                (same_at, at_without), (without_at, same) = (
                    [_twice_larger(ranks[own], other) for other in others] for ranks in (at, without)
                )
                result[own, k] = sign * (same_at - same + at_without - without_at)
        return result

    def discordant(self, one: int, other: int) -> None:
        """An area has no items that change from right to wrong."""

    def gain(self, baseline: int, shift: int) -> tuple[float, float, float]:
        """The p-value is that of the normal distribution.

        Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988): the error of a mean of each item's placement.
        """
        placed = []
        for margins in self.margins[[baseline, shift]]:
            one, zero = margins[self.positive], margins[~self.positive]
            placed.append([_twice_larger(one, np.sort(zero)), -_twice_larger(zero, np.sort(one))])
        changes = [(after - before) / 2 for before, after in zip(*placed, strict=True)]
        if min(map(len, changes)) < 2:
            raise UserError("the error of a gain in ROC-AUC needs two items of each label, in each half")
        gain = float(changes[0].sum() / self.pairs)
        error = math.sqrt(sum(part.var(ddof=1) * len(part) for part in changes)) / self.pairs
        return gain, error, float(norm.sf(gain / error)) if error else 1.0

    def limits(self, resamples: int, seed: int, level: float = LEVEL) -> Float[np.ndarray, "2 k"]:
        return quantiles(self.resampled(resamples, seed), level)

    def resampled(self, resamples: int, seed: int) -> Float[np.ndarray, "r k"]:
        """Each class is resampled by itself: the numbers of both stay what they are."""
        order = np.lexsort((*self.margins, self.positive))
        same, positives = self.take(order), int(self.positive.sum())
        draws = [
            chain.from_iterable(bootstrap_counts(size, resamples, [seed, BOOTSTRAP, label]))
            for label, size in enumerate((self.n - positives, positives))
        ]
        rows, drawn = zip(*draws, strict=True), []
        while some := list(islice(rows, ROWS)):
            drawn.append(same._areas(np.stack([np.concatenate(counts) for counts in some])))
        return np.concatenate(drawn)

    def _areas(self, counts: Int[np.ndarray, "r n"]) -> Float[np.ndarray, "r k"]:
        """The areas of items that are there so often: pairs in the right order, those of equal margins half."""
        positive = self.positive
        positives, negatives = counts[:, positive], counts[:, ~positive]
        doubled = np.empty((len(counts), self.k), np.int64)
        for k, margins in enumerate(self.margins):
            order = np.argsort(margins[~positive])
            others = margins[~positive][order]
            below = np.pad(np.cumsum(negatives[:, order], axis=1), ((0, 0), (1, 0)))
            lower, not_higher = (np.searchsorted(others, margins[positive], end) for end in ("left", "right"))
            doubled[:, k] = (positives * (below[:, lower] + below[:, not_higher])).sum(1)
        return doubled / (2.0 * positives.sum(1) * negatives.sum(1))[:, None]


@dataclass(frozen=True)
class Shares:
    """Outcomes that are a share each, for instance an item's average precision; their metric is the mean.

    Methods as of ``Hits``.

    Attributes:
        shares: float (k, n), in [0, 1], at least one shift and one item.
    """

    shares: Float[np.ndarray, "k n"]

    @property
    def k(self) -> int:
        return self.shares.shape[0]

    @property
    def n(self) -> int:
        return self.shares.shape[1]

    def values(self) -> Float[np.ndarray, "k"]:
        return self.shares.mean(1)

    def take(self, rows: Int[np.ndarray, "m"]) -> "Shares":
        return Shares(self.shares[:, rows])

    def at(self, shifts: Sequence[int]) -> "Shares":
        return Shares(self.shares[list(shifts)])

    def contributions(self, baseline: int) -> Int[np.ndarray, "n k"]:
        """In units of ``GRAIN``, as whole numbers, so that equal gains are equal."""
        return np.rint((self.shares - self.shares[baseline]) / GRAIN).astype(np.int64).T

    def discordant(self, one: int, other: int) -> int:
        """How many items have another share at one of two shifts."""
        return int((np.abs(self.shares[one] - self.shares[other]) > GRAIN).sum())

    def gain(self, baseline: int, shift: int) -> tuple[float, float, float]:
        """The p-value is that of the normal distribution of a mean."""
        changes = self.shares[shift] - self.shares[baseline]
        gain, error = float(changes.mean()), float(changes.std() / math.sqrt(max(self.n - 1, 1)))
        return gain, error, float(norm.sf(gain / error)) if error > GRAIN else 1.0

    def limits(self, resamples: int, seed: int, level: float = LEVEL) -> Float[np.ndarray, "2 k"]:
        return quantiles(self.resampled(resamples, seed), level)

    def resampled(self, resamples: int, seed: int) -> Float[np.ndarray, "r k"]:
        items = self.shares.T[np.lexsort(self.shares)]  # the same for any order of the items
        draws = bootstrap_counts(self.n, resamples, [seed, BOOTSTRAP])
        return np.concatenate([counts.astype(np.float64) @ items for counts in draws]) / self.n


Outcomes = Hits | Margins | Shares


def _twice_larger(ranks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Twice the number of the others (ascending) that each rank is larger than; equal ones count half."""
    return np.searchsorted(others, ranks, "left") + np.searchsorted(others, ranks, "right")
