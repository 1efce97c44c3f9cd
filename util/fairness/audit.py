"""The audit: how often faces of each group are given a class that no face deserves, at every shift.

All tables are tidy, hold fractions, and name the shift as the contract does: positive closes the gap. A face is harmed
where its highest cosine is with a harm word. ``sum`` is the share of harmed faces. A group without faces has n = 0,
and everything that would divide by it is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from ..errors import UserError
from ..numerics.arrays import as_numbers
from ..numerics.statistics import holm_rows, mcnemar_p_values, wilson_limits
from .declared import NEEDED_GROUPS, Declared

Amounts = Float[np.ndarray, "k"] | Sequence[float]

Z_95 = NormalDist().inv_cdf(0.975)

LEVEL = 0.05
"""Below it a p-value counts as larger than chance."""


@dataclass(frozen=True)
class Faces:
    """What annotators said of n faces, as numbers of levels.

    Attributes:
        race, gender: (n,) in [0, len(races)) and [0, len(genders)).
        races, genders: names of the declared levels.
        age, ages: the same of ages; None where they are not known.
    """

    race: Int[np.ndarray, "n"]
    gender: Int[np.ndarray, "n"]
    races: tuple[str, ...]
    genders: tuple[str, ...]
    age: Int[np.ndarray, "n"] | None = None
    ages: tuple[str, ...] = ()

    def __post_init__(self):
        axes = [("race", self.race, self.races), ("gender", self.gender, self.genders)]
        axes += [("age", self.age, self.ages)] if self.age is not None else []
        for name, codes, levels in axes:
            if np.shape(codes) != (len(self.race),) or codes.dtype.kind not in "iu":
                raise UserError(f"{name} must be whole numbers, one for each of the {len(self.race)} faces of race")
            if len(codes) and not 0 <= codes.min() <= codes.max() < len(levels):
                raise UserError(
                    f"{name} has numbers {codes.min()} to {codes.max()}; its {len(levels)} levels count from 0"
                )

    def __len__(self) -> int:
        return len(self.race)

    def take(self, rows) -> "Faces":
        """The faces of some rows."""
        age = None if self.age is None else self.age[rows]
        return Faces(self.race[rows], self.gender[rows], self.races, self.genders, age, self.ages)

    @classmethod
    def of(
        cls,
        declared: Declared,
        race: Sequence,
        gender: Sequence,
        age: Sequence | None = None,
        **said,
    ) -> "Faces":
        """Faces from labels as the data have them, words or whole numbers; refuses as ``Declared.codes``.

        Args:
            declared: says which level a label means; its ages are used where ``age`` is given.
            said: ``where`` and ``lines`` of ``Declared.codes``.
        """
        codes = [declared.codes("race", race, **said), declared.codes("gender", gender, **said)]
        levels = [declared.race.levels, declared.gender.levels]
        if age is None or declared.age is None:
            return cls(*codes, *levels)
        return cls(*codes, *levels, declared.codes("age", age, **said), declared.age.levels)


@dataclass(frozen=True)
class Audit:
    """Tables of one audit; a row for each shift and group. ``by_age`` is None where ages are not known."""

    by_race: pd.DataFrame
    by_race_gender: pd.DataFrame
    by_age: pd.DataFrame | None
    overall: pd.DataFrame


def audit(
    predicted: Int[np.ndarray, "k n"],
    faces: Faces,
    declared: Declared,
    shifts: Amounts,
    signed_gap_distances: Amounts,
) -> Audit:
    """Harm and accuracy of every group at every shift, against the same at shift 0.

    Args:
        predicted: class numbers: those of ``declared.classes``, then the harm words; columns in the order of ``faces``.
        shifts, signed_gap_distances: k amounts, 0 among them, and the gap distance after each.

    Returns:
        tables with the columns shift, signed_gap_distance, accuracy, the group (race; race and gender; age), n, the
        rates of the two harm groups that every audit has, sum, ci_low, ci_high (Wilson, 95%) and p_value (exact
        McNemar: harmed here against harmed at shift 0), all three of ``sum``; then p_holm (p_value corrected for the
        groups at the same shift), gained, lost, net (faces newly harmed, no longer harmed, and their difference),
        change, change_low, change_high (net / n with its paired interval), the Wilson interval of each harm group (of
        a further one the rate before it), own_accuracy (of the group; ``accuracy`` is of all faces) with its interval,
        accuracy_low, accuracy_high, and empty (no faces). Accuracy is top-1 and exact in race and gender, over all
        classes, harm words included.

    Trap: p_holm answers for the groups at one shift. The best of many shifts needs a correction for those as well.
    """
    shifts, baseline = checked(predicted, faces, declared, shifts)
    gaps = as_numbers(signed_gap_distances, "signed_gap_distances")
    if len(gaps) != len(shifts):
        raise UserError(f"there are {len(shifts)} shifts and {len(gaps)} signed gap distances; they must be as many")
    outcomes = _Outcomes(predicted, true_classes(faces), declared, np.array(shifts), gaps, baseline)
    both = pd.MultiIndex.from_product([faces.races, faces.genders], names=["race", "gender"])
    return Audit(
        outcomes.table(faces.race, pd.Index(faces.races, name="race")),
        outcomes.table(true_classes(faces), both),
        None if faces.age is None else outcomes.table(faces.age, pd.Index(faces.ages, name="age")),
        outcomes.table(np.zeros(len(faces), np.int64), pd.RangeIndex(1)),
    )


@dataclass(frozen=True)
class _Outcomes:
    predicted: Int[np.ndarray, "k n"]
    true: Int[np.ndarray, "n"]
    declared: Declared
    shifts: Float[np.ndarray, "k"]
    gaps: Float[np.ndarray, "k"]
    baseline: int

    def table(self, codes: Int[np.ndarray, "n"], groups: pd.Index) -> pd.DataFrame:
        """A row for each shift and group; a face is of group ``groups[code]``."""
        size, n_classes, harms = len(groups), len(self.declared.classes), self.declared.harms
        n, everyone = np.bincount(codes, minlength=size), np.array(len(codes))
        given = confusion_counts(self.predicted, codes, size, n_classes + len(harms))
        harmed = harm_counts(given, (*[None] * n_classes, *harms))
        gained, lost = changes(self.predicted >= n_classes, self.baseline, codes, size)
        hits = tally(self.predicted == self.true, codes, size)
        all_hits = hits.sum(1, keepdims=True)
        p_values = np.where(n, mcnemar_p_values(gained, lost), np.nan)
        columns = {"shift": self.shifts[:, None], "signed_gap_distance": self.gaps[:, None]}
        columns |= {"accuracy": rate(all_hits, everyone)}
        columns |= {name: groups.get_level_values(name).to_numpy(object) for name in groups.names if name}
        columns |= {"n": n} | {name: rate(harmed[name], n) for name in (*NEEDED_GROUPS, "sum")}
        columns |= dict(zip(("ci_low", "ci_high"), wilson_limits(harmed["sum"], n), strict=True))
        columns |= {"p_value": p_values, "p_holm": holm_rows(p_values)}
        columns |= {"gained": gained, "lost": lost, "net": gained - lost}
        columns |= dict(zip(("change", "change_low", "change_high"), paired_change(gained, lost, n), strict=True))
        for name in dict.fromkeys((*NEEDED_GROUPS, *harms)):
            columns |= {name: rate(harmed[name], n)} | _interval(name, harmed[name], n)
        columns |= {"own_accuracy": rate(hits, n)} | _interval("own_accuracy", hits, n)
        columns |= _interval("accuracy", all_hits, everyone) | {"empty": n == 0}
        shape = (len(self.shifts), size)
        return pd.DataFrame({name: np.broadcast_to(value, shape).ravel() for name, value in columns.items()})


def _interval(name: str, count, n) -> dict[str, np.ndarray]:
    return dict(zip((f"{name}_low", f"{name}_high"), wilson_limits(count, n), strict=True))


def true_classes(faces: Faces) -> Int[np.ndarray, "n"]:
    """The class that each face is labelled with."""
    return faces.race * len(faces.genders) + faces.gender


def confusion(
    predicted: Int[np.ndarray, "k n"],
    faces: Faces,
    declared: Declared,
    shifts: Amounts,
    at: Sequence[float],
    by: str = "race x gender",
) -> pd.DataFrame:
    """Which class the faces of each group are given, at some of the shifts.

    Args:
        predicted, faces, declared, shifts: as in ``audit``.
        at: some of ``shifts``.
        by: "race x gender" (every class; R * G rows and R * G + H columns) or "race" (genders added up).

    Returns:
        columns shift, true, predicted, count: every pair, those with count 0 too.
    """
    shifts, _ = checked(predicted, faces, declared, shifts)
    rows = [int(np.abs(np.subtract(shifts, shift)).argmin()) for shift in at]
    for row, shift in zip(rows, at, strict=True):
        if abs(shifts[row] - shift) > 1e-9:
            raise UserError(f"{shift} is not one of the shifts, which are {', '.join(f'{s:g}' for s in shifts)}")
    if by not in ("race", "race x gender"):
        raise UserError(f"no confusion matrix by {by!r}; choose from race, race x gender")
    genders, true = (len(faces.genders), faces.races) if by == "race" else (1, declared.classes)
    beyond = len(true) - len(declared.classes)
    given = np.where(predicted < len(declared.classes), predicted // genders, predicted + beyond)[rows]
    answers = [*true, *declared.harm_words]
    table = confusion_counts(given, true_classes(faces) // genders, len(true), len(answers))
    index = pd.MultiIndex.from_product([[shifts[row] for row in rows], true, answers])
    tidy = pd.Series(table.ravel(), index, name="count").reset_index()
    return tidy.set_axis(["shift", "true", "predicted", "count"], axis=1)


def checked(predicted, faces: Faces, declared: Declared, shifts: Amounts) -> tuple[list[float], int]:
    """The shifts and the row of shift 0, after a look at what every table needs; refuses as ``audit``."""
    amounts = as_numbers(shifts, "shifts")
    shape = len(amounts), len(faces)
    if not isinstance(predicted, np.ndarray) or predicted.dtype.kind not in "iu" or predicted.shape != shape:
        raise UserError(f"predicted must be an array of class numbers, of shape (shifts, faces) = {shape}")
    if not len(faces):
        raise UserError("there are no faces to audit")
    if (faces.races, faces.genders) != (declared.race.levels, declared.gender.levels):
        raise UserError("the faces' levels are not the declared ones; make the faces with the same declaration")
    if predicted.min() < 0 or predicted.max() >= len(declared.prompts):
        raise UserError(f"predicted has a class outside 0 to {len(declared.prompts) - 1}, which are declared")
    zero = np.flatnonzero(amounts == 0)
    if not len(zero):
        raise UserError("shifts must hold 0: everything is compared with the embeddings as they are")
    return [float(amount) for amount in amounts], int(zero[0])


def confusion_counts(
    predicted: Int[np.ndarray, "k n"], groups: Int[np.ndarray, "n"], n_groups: int, n_classes: int
) -> Int[np.ndarray, "k G C"]:
    """How many faces of each group are given each class, at each shift."""
    start = groups.astype(np.int64) * n_classes
    flat = [np.bincount(start + row, minlength=n_groups * n_classes) for row in predicted]
    return np.array(flat, np.int64).reshape(len(predicted), n_groups, n_classes)


def harm_counts(
    confusion: Int[np.ndarray, "*k G C"], harms: Sequence[str | None]
) -> dict[str, Int[np.ndarray, "*k G"]]:
    """How many faces of each group are given a class of each harm group, and of any: the key "sum".

    ``harms`` names the harm group of each class, None for one that a face may rightly be given.
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


def paired_change(
    gained: Int[np.ndarray, "..."], lost: Int[np.ndarray, "..."], n: Int[np.ndarray, "..."]
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """(change, low, high): change of a rate of the same n faces, (gained - lost) / n in [-1, 1], with its 95% interval.

    Source: Bonett and Price, British Journal of Mathematical and Statistical Psychology 65 (2012): the Wald interval
    with one face added to those gained and one to those lost.
    Trap: its middle is (gained - lost) / (n + 2), and where none is gained or lost it still has a width.
    """
    up, down, total = (gained + 1) / (n + 2), (lost + 1) / (n + 2), n + 2
    half = Z_95 * np.sqrt((up + down - (up - down) ** 2) / total)
    low, high = np.maximum(up - down - half, -1.0), np.minimum(up - down + half, 1.0)
    return rate(gained - lost, n), np.where(n, low, np.nan), np.where(n, high, np.nan)
