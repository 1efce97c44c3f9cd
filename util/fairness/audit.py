"""The audit: how often faces of each group are given a class that no face deserves, at every shift.

All tables are tidy, hold fractions, and name the shift as the contract does: positive closes the gap. A face is harmed
where its highest cosine is with a harm word. ``sum`` is the share of harmed faces. A group without faces has n = 0,
and everything that would divide by it is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from ..errors import UserError
from ..numerics.arrays import as_numbers
from ..numerics.statistics import holm, mcnemar, wilson_interval
from .declared import PAPER_GROUPS, Declared

Counts = Int[np.ndarray, "..."]
PerShift = Float[np.ndarray, "k"] | Sequence[float]
LEVEL = 0.05
"""Below it a p-value counts as larger than chance."""


@dataclass(frozen=True)
class Answers:
    """Classes that a model gives to faces at every shift.

    Attributes:
        declared: the classes and harm words.
        faces: ``Declared.faces``, n rows, at least one.
        predicted: (k, n) class numbers: those of ``declared.classes``, then the harm words; a column for each face.
        shifts: k amounts, 0 among them, with which everything is compared.
    """

    declared: Declared
    faces: pd.DataFrame
    predicted: Int[np.ndarray, "k n"]
    shifts: PerShift

    def __post_init__(self):
        object.__setattr__(self, "shifts", as_numbers(self.shifts, "shifts"))
        shape, classes = (len(self.shifts), len(self.faces)), len(self.declared.prompts)
        if not len(self.faces):
            raise UserError("there are no faces to audit")
        if self.predicted.shape != shape or not np.isin(self.predicted, range(classes)).all():
            raise UserError(f"predicted must be class numbers, 0 to {classes - 1}, of shape (shifts, faces) = {shape}")
        self.row(0.0)

    def row(self, shift: float) -> int:
        """The number of a shift among ``shifts``."""
        found = np.flatnonzero(np.abs(self.shifts - shift) < 1e-9)
        if not len(found):
            raise UserError(f"{shift:g} is not one of the shifts, which are {', '.join(f'{s:g}' for s in self.shifts)}")
        return int(found[0])

    @property
    def harmed(self) -> Bool[np.ndarray, "k n"]:
        """Whether a face is given a harm word."""
        return self.predicted >= len(self.declared.classes)

    @property
    def right(self) -> Bool[np.ndarray, "k n"]:
        """Whether a face is given its own race and gender."""
        return self.predicted == self.groups(self.declared.columns)[1].argmax(1)

    def called(self, group: str) -> Bool[np.ndarray, "k n"]:
        """Whether a face is given a word of a harm group."""
        harms = [*[None] * len(self.declared.classes), *self.declared.harms]
        return np.array([harm == group for harm in harms])[self.predicted]

    def changes(self, flags: Bool[np.ndarray, "k n"]) -> tuple[Bool[np.ndarray, "k n"], Bool[np.ndarray, "k n"]]:
        """(gained, lost): whether a face is flagged at a shift and not at shift 0, and the reverse."""
        before = flags[self.row(0.0)]
        return flags & ~before, before & ~flags

    def groups(self, by: Sequence[str]) -> tuple[list[tuple[str, ...]], Int[np.ndarray, "n G"]]:
        """The groups of some columns of ``faces``, and 1 where a face is in one: of (k, n) flags @ that are counts.

        Groups are every combination of levels, the first column slowest; of no columns, all faces are one.
        """
        columns = [self.faces[name].cat for name in by]
        codes = np.zeros(len(self.faces), np.int64)
        for column in columns:
            codes = codes * len(column.categories) + column.codes.to_numpy()
        names = list(product(*(column.categories for column in columns)))
        return names, np.eye(len(names), dtype=np.int64)[codes]


def audit(answers: Answers, signed_gap_distances: PerShift, by: Sequence[str]) -> pd.DataFrame:
    """Harm and accuracy of every group at every shift, against the same at shift 0.

    ``by`` are those of ``declared.columns`` that make a group; none: all faces are one.

    Returns:
        a row for each shift and group, with the columns shift, signed_gap_distance, accuracy, those of ``by``,
        n, the rates of the harm groups (where the paper's are there, of those), sum, ci_low, ci_high
        (Wilson, 95%) and p_value (exact McNemar: harmed here against harmed at shift 0), all three of ``sum``; then
        p_holm (p_value corrected for the groups at the same shift), gained, lost, net (faces newly harmed, no longer
        harmed, and their difference), change, change_low, change_high (net / n with its paired interval), the Wilson
        interval of each harm group (of one beside the paper's the rate before it), own_accuracy (of the group;
        ``accuracy`` is of all faces) with its interval, accuracy_low, accuracy_high, and empty (no faces). Accuracy is
        top-1 and exact in both attributes, over all classes, harm words included.

    Trap: p_holm answers for the groups at one shift. The best of many shifts needs a correction for those as well.
    """
    gaps, declared = as_numbers(signed_gap_distances, "signed_gap_distances"), answers.declared
    if gaps.shape != answers.shifts.shape:
        raise UserError(f"there are {len(answers.shifts)} shifts and {len(gaps)} signed gap distances")
    (names, within), everyone = answers.groups(by), np.array(len(answers.faces))
    n, hits, harmed = within.sum(0), answers.right @ within, answers.harmed @ within
    gained, lost = (flags @ within for flags in answers.changes(answers.harmed))
    p_values = np.where(n, mcnemar(gained, lost), np.nan)
    right = hits.sum(1, keepdims=True)
    called = {name: answers.called(name) @ within for name in declared.groups}
    first = PAPER_GROUPS if {*PAPER_GROUPS} <= {*declared.groups} else declared.groups
    columns = {"shift": answers.shifts[:, None], "signed_gap_distance": gaps[:, None]}
    columns |= {"accuracy": rate(right, everyone)}
    columns |= {name: np.array([group[place] for group in names], object) for place, name in enumerate(by)}
    columns |= {"n": n} | {name: rate(called[name], n) for name in first} | {"sum": rate(harmed, n)}
    columns |= _interval("ci", harmed, n) | {"p_value": p_values, "p_holm": holm(p_values)}
    columns |= {"gained": gained, "lost": lost, "net": gained - lost} | paired_change("change", gained, lost, n)
    for name, count in called.items():
        columns |= {name: rate(count, n)} | _interval(name, count, n)
    columns |= {"own_accuracy": rate(hits, n)} | _interval("own_accuracy", hits, n)
    columns |= _interval("accuracy", right, everyone) | {"empty": n == 0}
    return pd.DataFrame({name: np.broadcast_to(value, hits.shape).ravel() for name, value in columns.items()})


def _interval(name: str, count, n) -> dict[str, np.ndarray]:
    return dict(zip((f"{name}_low", f"{name}_high"), wilson_interval(count, n), strict=True))


def confusion(answers: Answers, at: Sequence[float], by: Sequence[str]) -> pd.DataFrame:
    """Which class the faces of each group are given, at some of the shifts.

    Columns are shift, true, predicted and count: every pair, those with count 0 too. By both of ``declared.columns``
    there are R * G rows and R * G + H columns at a shift; by one of them the other is added up.
    """
    declared, (names, within) = answers.declared, answers.groups(by)
    true = [" ".join(group) for group in names]
    both = pd.DataFrame(product(*(each.levels for each in declared.axes)), columns=list(declared.columns))
    said = np.array([*both[list(by)].agg(" ".join, axis=1), *declared.harm_words])
    given = said[answers.predicted[[answers.row(shift) for shift in at]]]
    columns = [np.repeat(at, given.shape[1]), np.tile(np.array(true)[within.argmax(1)], len(at)), given.ravel()]
    every = pd.MultiIndex.from_product([at, true, [*true, *declared.harm_words]], names=["shift", "true", "predicted"])
    counts = pd.MultiIndex.from_arrays(columns).value_counts()
    return counts.reindex(every, fill_value=0).rename("count").reset_index()


def rate(count: Counts, n: Counts) -> Float[np.ndarray, "..."]:
    """count / n, in [0, 1]; NaN where n is 0."""
    return count / np.where(n, n, np.nan)


def paired_change(name: str, gained: Counts, lost: Counts, n: Counts) -> dict[str, Float[np.ndarray, "..."]]:
    """Change of a rate of the same n faces, (gained - lost) / n in [-1, 1], with its 95% interval: name, _low, _high.

    Source: Bonett and Price, British Journal of Mathematical and Statistical Psychology 65 (2012): the Wald interval
    with one face added to those gained and one to those lost.
    Trap: its middle is (gained - lost) / (n + 2), and where none is gained or lost it still has a width.
    """
    up, down, total = (gained + 1) / (n + 2), (lost + 1) / (n + 2), n + 2
    half = NormalDist().inv_cdf(0.975) * np.sqrt((up + down - (up - down) ** 2) / total)
    low, high = np.maximum(up - down - half, -1.0), np.minimum(up - down + half, 1.0)
    there = np.where(n, 1.0, np.nan)
    return {name: rate(gained - lost, n), f"{name}_low": low * there, f"{name}_high": high * there}
