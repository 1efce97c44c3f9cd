"""Counts of faces by group and class, the rates made of them, and their uncertainty: one definition of each.

A group without faces has n = 0, and everything that would divide by it is NaN.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from ..numerics import statistics

Z_95 = float(stats.norm.ppf(0.975))

LEVEL = 0.05
"""Below it a p-value counts as larger than chance."""


def confusion_counts(
    predicted: Int[np.ndarray, "k n"], groups: Int[np.ndarray, "n"], n_groups: int, n_classes: int
) -> Int[np.ndarray, "k G C"]:
    """How many faces of each group are given each class, at each shift.

    Args:
        predicted: class numbers in [0, n_classes).
        groups: of each face, in [0, n_groups).
    """
    start = groups.astype(np.int64) * n_classes
    flat = [np.bincount(start + row, minlength=n_groups * n_classes) for row in predicted]
    return np.array(flat, np.int64).reshape(len(predicted), n_groups, n_classes)


def harm_counts(
    confusion: Int[np.ndarray, "*k G C"], harms: Sequence[str | None]
) -> dict[str, Int[np.ndarray, "*k G"]]:
    """How many faces of each group are given a class of each harm group, and of any: the key "sum".

    Args:
        confusion: counts whose last axis is the class.
        harms: the harm group of each class, None for one that a face may rightly be given.
    """
    names = dict.fromkeys(harm for harm in harms if harm is not None)
    counts = {name: confusion[..., [harm == name for harm in harms]].sum(-1) for name in names}
    return counts | {"sum": confusion[..., [harm is not None for harm in harms]].sum(-1)}


def tally(flags: Bool[np.ndarray, "k n"], groups: Int[np.ndarray, "n"], n_groups: int) -> Int[np.ndarray, "k G"]:
    """How many faces of each group are flagged, at each shift."""
    return np.array([np.bincount(groups[row], minlength=n_groups) for row in flags], np.int64).reshape(-1, n_groups)


def changes(
    flags: Bool[np.ndarray, "k n"], baseline: int, groups: Int[np.ndarray, "n"], n_groups: int
) -> tuple[Int[np.ndarray, "k G"], Int[np.ndarray, "k G"]]:
    """(gained, lost): faces flagged at a shift and not at the shift of row ``baseline``, and the other way round."""
    before = flags[baseline]
    return tally(flags & ~before, groups, n_groups), tally(before & ~flags, groups, n_groups)


def rate(count: Int[np.ndarray, "..."], n: Int[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """count / n, in [0, 1]; NaN where n is 0."""
    return count / np.where(n, n, np.nan)


def holm(p_values: Float[np.ndarray, "k G"]) -> Float[np.ndarray, "k G"]:
    """``util.numerics.statistics.holm`` of every row by itself, NaN staying NaN and counting for no test."""
    adjusted = np.full_like(p_values, np.nan)
    for row, there in enumerate(np.isfinite(p_values)):
        if there.any():
            adjusted[row, there] = statistics.holm(p_values[row, there])
    return adjusted


def paired_change(
    gained: Int[np.ndarray, "..."], lost: Int[np.ndarray, "..."], n: Int[np.ndarray, "..."]
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """(change, low, high): of a rate of the same n faces, (gained - lost) / n in [-1, 1], with its 95% interval.

    Returns:
        NaN where n is 0.

    Source: Bonett and Price, British Journal of Mathematical and Statistical Psychology 65 (2012): the Wald interval
    with one face added to those gained and one to those lost.
    Trap: its middle is (gained - lost) / (n + 2), and where none is gained or lost it still has a width.
    """
    up, down, total = (gained + 1) / (n + 2), (lost + 1) / (n + 2), n + 2
    half = Z_95 * np.sqrt((up + down - (up - down) ** 2) / total)
    low, high = np.maximum(up - down - half, -1.0), np.minimum(up - down + half, 1.0)
    return rate(gained - lost, n), np.where(n, low, np.nan), np.where(n, high, np.nan)
