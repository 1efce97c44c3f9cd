"""The audit: how often faces of each group are given a class that no face deserves, at every shift, and how unequally.

Tables hold fractions. A positive shift closes the gap. A face is harmed where its highest cosine is with a harm word,
and ``sum`` is the share of harmed faces. A group without faces has n = 0, and what would divide by it is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from .. import UserError
from ..numerics.arrays import as_numbers
from ..numerics.statistics import bootstrap_counts, holm, mcnemar, wilson_interval

Counts = Int[np.ndarray, "..."]
PerShift = Float[np.ndarray, "k"] | Sequence[float]
LEVEL = 0.05
"""Below it a p-value counts as larger than chance."""
HUB_DATASET = "HuggingFaceM4/FairFace"
HUB_REVISION = "54d573cdb8b5af490ba8da9da2799628f6e5c496"
HUB_FILES = "0.25/validation-*.parquet"
"""FairFace's validation split on the hub: the files that show a quarter of the face around it, 63 MB."""

PAPER_GROUPS = ("crime_related", "non_human")
"""The paper's harm groups, in the order of its table: their columns stand first where an audit has both."""


@dataclass(frozen=True)
class Answers:
    """Classes that a model gives to faces at every shift.

    Attributes:
        declared: what was asked, as ``Declared`` of Table 2's ``declared_audit.py`` reads it from a file: its classes,
            prompts, groups, harms and asked.columns.
        faces: ``declared.faces`` of their labels, n rows, at least one.
        predicted: (k, n) class numbers: those of ``declared.classes``, then the harm words; a column for each face.
        shifts: k amounts, 0 among them, with which everything is compared.
    """

    declared: Any
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
        return self.predicted == self.groups(self.declared.asked.columns)[1].argmax(1)

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

    ``by`` are those of ``declared.asked.columns`` that make a group; none: all faces are one.

    Returns:
        a row for each shift and group: shift, signed_gap_distance, accuracy, those of ``by``, n, the rates of the harm
        groups (where the paper's are there, of those), sum, ci_low, ci_high (Wilson, 95%) and p_value (exact McNemar:
        harmed here against harmed at shift 0), all three of ``sum``; p_holm (p_value corrected for the groups at the
        same shift), gained, lost, net (faces newly harmed, no longer harmed, their difference), change (net / n, paired
        interval), the harm groups' Wilson intervals (and further rates), own_accuracy (of the group), accuracy_low,
        accuracy_high, and empty (no faces). Accuracy is of all faces, exact in both attributes, over all classes, harm
        words included. Intervals end in _low and _high.

    Trap: p_holm answers for the groups at one shift. The best of many shifts needs a correction for those as well.
    """
    gaps, declared = as_numbers(signed_gap_distances, "signed_gap_distances"), answers.declared
    if gaps.shape != answers.shifts.shape:
        raise UserError(f"there are {len(answers.shifts)} shifts and {len(gaps)} signed gap distances")
    (names, within), everyone = answers.groups(by), np.array(len(answers.faces))
    n, hits, harmed = within.sum(0), answers.right @ within, answers.harmed @ within
    gained, lost = (flags @ within for flags in answers.changes(answers.harmed))
    p_values = np.where(n, mcnemar(gained, lost), np.nan)
    harms = np.array([*[""] * len(declared.classes), *declared.harms])[answers.predicted]
    called = {name: _shares(name, (harms == name) @ within, n) for name in declared.groups}
    first = PAPER_GROUPS if {*PAPER_GROUPS} <= {*declared.groups} else declared.groups
    accuracy = _shares("accuracy", hits.sum(1, keepdims=True), everyone)
    columns = {"shift": answers.shifts[:, None], "signed_gap_distance": gaps[:, None], "accuracy": accuracy["accuracy"]}
    columns |= {name: np.array([group[place] for group in names], object) for place, name in enumerate(by)}
    columns |= {"n": n} | {name: called[name][name] for name in first} | {"sum": rate(harmed, n)}
    columns |= dict(zip(("ci_low", "ci_high"), wilson_interval(harmed, n), strict=True))
    columns |= {"p_value": p_values, "p_holm": holm(p_values)}
    columns |= {"gained": gained, "lost": lost, "net": gained - lost} | paired_change("change", gained, lost, n)
    for shares in (*called.values(), _shares("own_accuracy", hits, n), accuracy):
        columns |= shares
    columns["empty"] = n == 0
    return pd.DataFrame({name: np.broadcast_to(value, hits.shape).ravel() for name, value in columns.items()})


def disparity(answers: Answers, seed: int, resamples: int = 2000) -> pd.DataFrame:
    """Difference and ratio between the races of the highest and the lowest ``sum``, at every shift.

    Faces are drawn again within their race, the same faces at every shift, and highest and lowest chosen again.

    Returns:
        a row for each shift: shift, n_races (that have faces; another axis has its own name there), highest, lowest
        (races; the first declared of equals), difference (of their rates, in [0, 1]), ratio (in [1, inf), of
        (h + 1/2) / (n + 1), for h harmed of n faces), for each _change (minus the same at shift 0), for all of them
        the 95% percentile interval _low, _high, and disparity_p_value (of a difference this large if it were chance
        which faces are harmed). All is NaN, and highest and lowest are empty, where fewer than two races have faces.

    Trap: a highest minus a lowest rate is never negative, by chance alone rarely 0, and larger in resamples than in the
    faces: its interval tells its size, and disparity_p_value whether races differ at all.
    """
    column = answers.declared.asked.columns[0]
    (names, within), harmed = answers.groups([column]), answers.harmed
    there = np.flatnonzero(within.any(0))
    names, within = np.array(names, object)[there, 0], within[:, there]
    observed, sizes = harmed @ within, within.sum(0)
    by_race = []
    for race, mine in zip(there.tolist(), within.T > 0, strict=True):  # drawn by the faces' pattern of harm
        patterns, alike = np.unique(harmed[:, mine].T, axis=0, return_counts=True)
        drawn = bootstrap_counts(alike, resamples, (seed, race))
        by_race.append(np.concatenate([counts @ patterns for counts in drawn]))
    found, drawn = extremes(observed, sizes), extremes(np.stack(by_race, -1), sizes)
    table = pd.DataFrame({"shift": answers.shifts, f"n_{column}s": len(there), "highest": "", "lowest": ""})
    columns, baseline = {}, answers.row(0.0)
    for name, value in found.items():
        change = value - value[baseline], drawn[name] - drawn[name][:, [baseline]]
        for of, (here, again) in {name: (value, drawn[name]), f"{name}_change": change}.items():
            columns |= _with_ends(of, here, *np.percentile(again, [2.5, 97.5], axis=0))
    if len(there) < 2:
        return table.assign(**dict.fromkeys(columns, np.nan), disparity_p_value=np.nan)
    rates = observed / sizes
    table["highest"], table["lowest"] = names[rates.argmax(1)], names[rates.argmin(1)]
    rng, p_values = np.random.default_rng((seed, len(sizes))), []
    for counted, difference in zip(observed.sum(1), found["difference"], strict=True):  # any of all faces are harmed
        drawn = extremes(rng.multivariate_hypergeometric(sizes, counted, resamples), sizes)["difference"]
        p_values.append((1 + (drawn >= difference - 1e-12).sum()) / (1 + resamples))  # equal but for rounding
    return table.assign(**columns, disparity_p_value=p_values)


def extremes(harmed: Int[np.ndarray, "*k G"], n: Int[np.ndarray, "G"]) -> dict[str, Float[np.ndarray, "*k"]]:
    """The difference and the ratio of ``disparity``, by name, from counts of groups that all have faces."""
    rates, smoothed = harmed / n, (harmed + 0.5) / (n + 1)  # half a face, harmed or not, so that none is divided by 0
    return {"difference": rates.max(-1) - rates.min(-1), "ratio": smoothed.max(-1) / smoothed.min(-1)}


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
    return _with_ends(name, rate(gained - lost, n), low * there, high * there)


def _shares(name: str, count: Counts, n: Counts) -> dict[str, np.ndarray]:
    return _with_ends(name, rate(count, n), *wilson_interval(count, n))


def _with_ends(name: str, value: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, np.ndarray]:
    return {name: value, f"{name}_low": low, f"{name}_high": high}
