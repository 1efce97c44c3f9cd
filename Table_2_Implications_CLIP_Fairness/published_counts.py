"""The authors' own numbers, put through the audit's counting: what they stand for, and what they can show.

The notebook of Table 2 prints percentages at five shifts. At two of them it also prints which race or harm word the
faces of each race are given. There counts, intervals and net changes follow. At the others the whole numbers of faces
follow that give the printed digits. Which faces changed does not follow.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Int

from declared_audit import Declared
from util.fairness.audit import LEVEL
from util.numerics.statistics import holm, mcnemar, most_discordant, wilson_interval
from util.published import numbers, values

SHIFTS = {0.0: "default", -0.20: "shift_-0.20", -0.50: "shift_-0.50", -1.00: "shift_-1.00", 0.75: "shift_0.75"}
"""The released shifts, and what names them in the published values."""
COUNTED = (0.0, -0.20)
"""Those whose counts are published."""
MODIFIED, TOO_LARGE, TOO_SMALL = -0.20, -1.00, 0.75
"""The shifts of the paper's modified gap, and of the gaps of its Supplementary Table 4."""
QUANTITIES = ("crime_related", "non_human", "sum")
DIGITS = 1
"""Digits after the point of a printed percentage."""
NEVER = "cannot be told from chance, whichever faces changed"
ALWAYS = "larger than chance, whichever faces changed"
DEPENDS = "depends on which faces changed, which is not published"


def races() -> list[str]:
    """The races in the order of the paper's table."""
    return values()["table_2"]["races"]


def in_order(found: Iterable[str]) -> list[str]:
    """Races as the paper's table lists them, where they are the same; else as they are."""
    return races() if set(races()) == set(found) else list(found)


def matrix(shift: float) -> pd.DataFrame:
    """Faces by race (row, in the order of the paper) and by the race or harm word that they are given (column)."""
    printed = values()["table_2"][f"confusion_{SHIFTS[shift]}"]
    return pd.DataFrame(printed["counts"], printed["rows"], printed["columns"]).loc[races()]


def matrices() -> pd.DataFrame:
    """Both published matrices as ``util.fairness.audit.confusion`` gives those of a run, words that nobody got too."""
    answers = [*races(), *Declared.read().harm_words]
    tables = [matrix(shift).reindex(columns=answers, fill_value=0).stack() for shift in COUNTED]
    return pd.concat(tables, keys=COUNTED, names=["shift", "true", "predicted"]).rename("count").reset_index()


@cache
def harmed(shift: float) -> pd.DataFrame:
    """How many faces of each race (row) are given a word of each harm group, and of any: ``QUANTITIES``."""
    declared, counts = Declared.read(), matrix(shift)
    group = dict(zip(declared.harm_words, declared.harms, strict=True))
    found = counts.T.groupby(group).sum().T
    return found.assign(sum=found.sum(axis=1))[list(QUANTITIES)]


@cache
def sizes() -> pd.Series:
    """How many faces of each race the published matrices count."""
    return matrix(0.0).sum(axis=1)


@cache
def agreement() -> pd.DataFrame:
    """The notebook's percentages of each shift, race and quantity, and the counts that they stand for.

    ``count`` is of a published matrix. ``agrees``: it gives the printed digits, or where there is none some count does.
    ``count_low``, ``count_high``: the fewest and most faces that give all digits of the race and shift.
    """
    rows = []
    for shift, (place, (race, n)) in product(SHIFTS, enumerate(sizes().items())):
        keys = [f"table_2.{SHIFTS[shift]}_percent.{quantity}.{place}" for quantity in QUANTITIES]
        printed = [round(100 * numbers()[key].value, DIGITS) for key in keys]
        for quantity, theirs, counts in zip(QUANTITIES, printed, consistent(printed, n, DIGITS).T, strict=True):
            count = harmed(shift).loc[race, quantity] if shift in COUNTED else np.nan
            low, high = (counts.min(), counts.max()) if len(counts) else (np.nan, np.nan)
            agrees = len(counts) > 0 and (np.isnan(count) or round(100 * count / n, DIGITS) == theirs)
            rows.append([race, shift, quantity, count, n, 100 * count / n, theirs, bool(agrees), low, high])
    columns = "race shift quantity count n computed_percent notebook_percent agrees count_low count_high"
    return pd.DataFrame(rows, columns=columns.split())


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """Harmed shares of ``agreement`` by shift and race, a column for each quantity: counted, or as printed."""
    table = table.set_index(["shift", "race", "quantity"])
    return (table["computed_percent"].fillna(table["notebook_percent"]) / 100).unstack()


def totals() -> pd.DataFrame:
    """Harm of all faces at each released shift: n, gap_distance (of the captions), accuracy, ``QUANTITIES``, rounding.

    ``rounding`` is the largest error of the three shares where they follow from printed digits, 0 where from counts.
    """
    table, n = agreement(), int(sizes().sum())
    low, high = (table["count"].fillna(table[f"count_{end}"]) for end in ("low", "high"))
    low, high = (each.groupby([table["shift"], table["quantity"]]).sum().unstack() / n for each in (low, high))
    known, gap = numbers(), "figure_3.image_only_shift_to_distance"
    printed = [
        (n, known[f"{gap}.{at:.2f}"].value, known[f"table_2.{SHIFTS[at]}_percent.accuracy"].value) for at in SHIFTS
    ]
    found = pd.DataFrame(printed, list(SHIFTS), ["n", "gap_distance", "accuracy"]).rename_axis("shift")
    return found.join((low + high) / 2).assign(rounding=((high - low) / 2).max(axis=1))


def net_changes() -> pd.DataFrame:
    """``bounds`` of the faces of each race harmed at the two shifts, race in front."""
    before, after = (harmed(shift)["sum"].to_numpy() for shift in COUNTED)
    return pd.DataFrame({"race": races()}).join(bounds(before, after, sizes().to_numpy()))


def consistent(printed: Sequence[float], n: int, digits: int) -> Int[np.ndarray, "k 3"]:
    """All counts of n faces that give printed percentages of two kinds of harm and of their sum; a row for each."""
    rounded = np.round(100 * np.arange(n + 1) / n, digits)
    first, second, both = (np.flatnonzero(rounded == value) for value in printed)
    return np.array([(a, b, a + b) for a in first for b in second if a + b in both], np.int64).reshape(-1, 3)


def bounds(before: Int[np.ndarray, "G"], after: Int[np.ndarray, "G"], n: Int[np.ndarray, "G"]) -> pd.DataFrame:
    """What two counts of harmed faces, together at most n, can show where it is not known which faces changed.

    Returns:
        n, before, after, net, the 95% Wilson intervals of both shares, least_p (exact McNemar if no face changed
        against the trend), most_p (if no face was harmed both times), least_p_holm (least_p corrected for all groups),
        most_discordant (how many faces may have changed if p is to be below 0.05; 0: no number will do),
        possible_discordant (how many can have changed), and verdict (``NEVER``, ``ALWAYS`` or ``DEPENDS``).
    """
    net = after - before
    table = pd.DataFrame({"n": n, "before": before, "after": after, "net": net})
    for name, counts in (("before", before), ("after", after)):
        table[f"{name}_low"], table[f"{name}_high"] = wilson_interval(counts, n)
    table["least_p"], table["most_p"] = mcnemar(np.abs(net), 0 * net), mcnemar(after, before)
    table["least_p_holm"] = holm(table["least_p"].to_numpy())
    each = zip(np.abs(net).tolist(), n.tolist(), strict=True)
    table["most_discordant"] = [most_discordant(change, size, LEVEL) for change, size in each]
    table["possible_discordant"] = before + after
    never, always = table["least_p"] >= LEVEL, table["most_p"] < LEVEL
    return table.assign(verdict=np.select([never, always], [NEVER, ALWAYS], DEPENDS))
