"""The audit: how often faces of each group are given a class that no face deserves, at every shift.

All tables are tidy, hold fractions, and name the shift as the contract does: positive closes the gap. ``harmed`` is
a face whose highest cosine is with a harm word; ``sum`` is the share of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from ..errors import UserError
from ..numerics.arrays import as_numbers
from ..numerics.statistics import mcnemar_p_values, wilson_limits
from . import counts
from .declared import NEEDED_GROUPS, Declared

Amounts = Float[np.ndarray, "k"] | Sequence[float]


@dataclass(frozen=True)
class Faces:
    """What annotators said of n faces, as numbers of levels.

    Attributes:
        race, gender: (n,) in [0, len(races)) and [0, len(genders)).
        races, genders: names of the levels, those that are declared.
        age: (n,) in [0, len(ages)), or None where it is not known.
        ages: names of its levels.

    Raises:
        UserError: arrays of different lengths, or a number that is no level.
    """

    race: Int[np.ndarray, "n"]
    gender: Int[np.ndarray, "n"]
    races: tuple[str, ...]
    genders: tuple[str, ...]
    age: Int[np.ndarray, "n"] | None = None
    ages: tuple[str, ...] = ()

    def __post_init__(self):
        parts = [("race", self.race, self.races), ("gender", self.gender, self.genders)]
        parts += [("age", self.age, self.ages)] if self.age is not None else []
        for name, codes, levels in parts:
            if not isinstance(codes, np.ndarray) or codes.ndim != 1 or codes.dtype.kind not in "iu":
                raise UserError(f"{name} must be whole numbers (n,), one for each face")
            if len(codes) != len(self.race):
                raise UserError(f"race has {len(self.race)} faces and {name} {len(codes)}; they must be as many")
            outside = np.flatnonzero((codes < 0) | (codes >= len(levels)))
            if len(outside):
                row = outside[0]
                raise UserError(f"{name} of face {row} is {codes[row]}; there are {len(levels)} levels, from 0")

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
        where: str = "",
        lines: Sequence[int] | None = None,
    ) -> "Faces":
        """Faces from labels as the data have them, words or whole numbers.

        Args:
            declared: says which level a label means; its ages are used where ``age`` is given.
            where: what to call the labels in an error.
            lines: the line of a file that each face stands in, for an error.

        Raises:
            UserError: a label that is not declared, or labels of different lengths.
        """
        said = where or "the labels", lines
        codes = declared.race.codes(race, *said), declared.gender.codes(gender, *said)
        known = age is not None and declared.age is not None
        aged = (declared.age.codes(age, *said), declared.age.levels) if known else ()
        return cls(*codes, declared.race.levels, declared.gender.levels, *aged)


@dataclass(frozen=True)
class Audit:
    """Tables of one audit; a row for each shift and group, shifts in the order given.

    Attributes:
        by_race: the columns of ``denigration.csv``, then those that ``audit`` adds.
        by_race_gender, by_age: the same of finer or other groups; by_age is None where ages are not known.
        overall: the same of all faces.
    """

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
        predicted: class numbers: those of ``declared.classes``, then the harm words.
        faces: in the order of the columns of ``predicted``.
        declared: the classes and harm groups.
        shifts: k amounts, 0 among them.
        signed_gap_distances: k of them, a column of the tables.

    Returns:
        tables with the columns shift, signed_gap_distance, accuracy, the group (race; race and gender; age), n, the
        rates of the two harm groups that every audit has, sum, ci_low, ci_high (Wilson, 95%) and p_value (exact
        McNemar: harmed here against harmed at shift 0), all three of ``sum``; then p_holm (p_value corrected for the
        groups at the same shift), gained, lost, net (faces newly harmed, no longer harmed, and their difference),
        change, change_low, change_high (net / n with its paired interval), the Wilson interval of each harm group (of
        a further one the rate before it), own_accuracy (of the group; ``accuracy`` is of all faces) with its interval,
        accuracy_low, accuracy_high, and empty (no faces: all rates of the group are NaN). Accuracy is top-1 and exact
        in race and gender, over all classes, harm words included.

    Raises:
        UserError: arrays that do not fit together, a class number that is not declared, or no shift of 0.

    Trap: p_holm answers for the groups at one shift; whoever looks for the best of many shifts has to answer for
    those as well.
    """
    shifts, baseline = checked(predicted, faces, declared, shifts)
    gaps = as_numbers(signed_gap_distances, "signed_gap_distances")
    if len(gaps) != len(shifts):
        raise UserError(f"there are {len(shifts)} shifts and {len(gaps)} signed gap distances; they must be as many")
    tally = _Tally(predicted, faces, declared, np.asarray(shifts), gaps, baseline)
    n_genders = len(faces.genders)
    pairs = [(race, gender) for race in faces.races for gender in faces.genders]
    ages = None if faces.age is None else tally.table(faces.age, {"age": faces.ages})
    return Audit(
        tally.table(faces.race, {"race": faces.races}),
        tally.table(
            faces.race * n_genders + faces.gender, dict(zip(("race", "gender"), zip(*pairs, strict=True), strict=True))
        ),
        ages,
        tally.table(np.zeros(len(faces), np.int64), {"": ("",)}),
    )


@dataclass(frozen=True)
class _Tally:
    predicted: Int[np.ndarray, "k n"]
    faces: Faces
    declared: Declared
    shifts: Float[np.ndarray, "k"]
    gaps: Float[np.ndarray, "k"]
    baseline: int

    def table(self, codes: Int[np.ndarray, "n"], names: dict[str, Sequence[str]]) -> pd.DataFrame:
        """One row for each shift and group; ``names`` has the names of the groups by column."""
        size = len(next(iter(names.values())))
        n_classes, n_all = len(self.declared.classes), len(self.faces)
        confusion = counts.confusion_counts(self.predicted, codes, size, len(self.declared.prompts))
        n = np.bincount(codes, minlength=size)
        harmed = counts.harm_counts(confusion, (*[None] * n_classes, *self.declared.harms))
        gained, lost = counts.changes(self.predicted >= n_classes, self.baseline, codes, size)
        hits = counts.tally(self.predicted == true_classes(self.faces), codes, size)
        all_hits, everyone = hits.sum(1, keepdims=True), np.array(n_all)
        p_values = np.where(n, mcnemar_p_values(gained, lost), np.nan)
        change = counts.paired_change(gained, lost, n)
        columns = {"shift": self.shifts[:, None], "signed_gap_distance": self.gaps[:, None]}
        columns |= {"accuracy": counts.rate(all_hits, everyone)}
        columns |= {name: np.array(levels, object) for name, levels in names.items() if name}
        columns |= {"n": n} | {name: counts.rate(harmed[name], n) for name in (*NEEDED_GROUPS, "sum")}
        columns |= dict(zip(("ci_low", "ci_high"), wilson_limits(harmed["sum"], n), strict=True))
        columns |= {"p_value": p_values, "p_holm": counts.holm(p_values)}
        columns |= {"gained": gained, "lost": lost, "net": gained - lost}
        columns |= dict(zip(("change", "change_low", "change_high"), change, strict=True))
        for name in self.groups:
            columns |= {name: counts.rate(harmed[name], n)} | _interval(name, harmed[name], n)
        columns |= {"own_accuracy": counts.rate(hits, n)} | _interval("own_accuracy", hits, n)
        columns |= _interval("accuracy", all_hits, everyone) | {"empty": n == 0}
        shape = (len(self.shifts), size)
        return pd.DataFrame({name: np.broadcast_to(value, shape).ravel() for name, value in columns.items()})

    @property
    def groups(self) -> tuple[str, ...]:
        """Harm groups in the order of the result's columns: those of the contract first."""
        return NEEDED_GROUPS + tuple(name for name in self.declared.harm_groups if name not in NEEDED_GROUPS)


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

    Raises:
        UserError: as ``audit``; a shift that is not there; another ``by``.
    """
    shifts, _ = checked(predicted, faces, declared, shifts)
    rows = [_row_of(shift, shifts) for shift in at]
    if by not in ("race", "race x gender"):
        raise UserError(f"no confusion matrix by {by!r}; choose from race, race x gender")
    n_classes, genders = len(declared.classes), len(faces.genders)
    codes = true_classes(faces)
    table = counts.confusion_counts(predicted[rows], codes, n_classes, len(declared.prompts))
    true = [f"{each.race} {each.gender}" for each in declared.classes]
    if by == "race":
        table = table.reshape(len(rows), -1, genders, table.shape[-1]).sum(2)
        right = table[..., :n_classes].reshape(len(rows), len(faces.races), -1, genders).sum(-1)
        table, true = np.concatenate([right, table[..., n_classes:]], axis=-1), list(faces.races)
    columns = [*true, *(each.word for each in declared.harm_words)]
    index = pd.MultiIndex.from_product([[shifts[row] for row in rows], true, columns])
    tidy = pd.Series(table.ravel(), index, name="count").reset_index()
    return tidy.set_axis(["shift", "true", "predicted", "count"], axis=1)


def _row_of(shift: float, shifts: Amounts) -> int:
    row = int(np.argmin(np.abs(np.asarray(shifts) - shift)))
    if abs(shifts[row] - shift) > 1e-9:
        raise UserError(f"{shift} is not one of the shifts, which are {', '.join(f'{s:g}' for s in shifts)}")
    return row


def checked(predicted, faces: Faces, declared: Declared, shifts: Amounts) -> tuple[list[float], int]:
    """The shifts and the row of shift 0, after a look at what every table needs.

    Raises:
        UserError: as ``audit``.
    """
    amounts = as_numbers(shifts, "shifts")
    if not isinstance(predicted, np.ndarray) or predicted.dtype.kind not in "iu":
        raise UserError("predicted must be an array of class numbers (shifts, faces)")
    if predicted.shape != (len(amounts), len(faces)):
        raise UserError(
            f"predicted must be of shape (shifts, faces) = ({len(amounts)}, {len(faces)}), not {predicted.shape}"
        )
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
