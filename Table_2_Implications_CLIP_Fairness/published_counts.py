"""The authors' own counts, put through the audit's counting: what their percentages stand for, and what they can show.

The notebook of Table 2 prints, at two shifts, which race or harm word the faces of each race are given. Percentages,
intervals and net changes follow from those counts. Which faces changed does not follow.
"""

from collections.abc import Iterable
from functools import cache

import numpy as np
import pandas as pd
from jaxtyping import Int

from util.fairness.audit import LEVEL, harm_counts
from util.fairness.declared import Declared
from util.numerics.statistics import holm, mcnemar, most_discordant, wilson_interval
from util.published import numbers, values

KEYS = {0.0: "default", -0.20: "shift_-0.20"}
"""The two shifts whose counts are published, and what names them in the published values."""
MODIFIED = min(KEYS)
"""The shift of the published modified gap."""
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
    printed = values()["table_2"][f"confusion_{KEYS[shift]}"]
    return pd.DataFrame(printed["counts"], printed["rows"], printed["columns"]).loc[races()]


@cache
def harmed(shift: float) -> pd.DataFrame:
    """How many faces of each race (row) are given a word of each harm group, and of any: ``QUANTITIES``."""
    declared, counts = Declared.read(), matrix(shift)
    group = dict(zip(declared.harm_words, declared.harms, strict=True))
    found = harm_counts(counts.to_numpy(), [group.get(column) for column in counts])
    return pd.DataFrame(found, counts.index, list(QUANTITIES))


def n_faces() -> int:
    """How many faces the published matrices count."""
    return int(matrix(0.0).to_numpy().sum())


def agreement() -> pd.DataFrame:
    """Every published percentage beside the one that the published counts give.

    Returns:
        a row for each shift, race (in the order of the paper) and quantity (crime_related, non_human, sum): race,
        shift, quantity, count, n, computed_percent (not rounded), notebook_percent, paper_percent (NaN where not
        known), agrees (the computed one, rounded to their digit, is both), note (why not, else empty).
    """
    counts = pd.concat({shift: harmed(shift) for shift in KEYS}, names=["shift", "race"])
    table = counts.rename_axis("quantity", axis=1).stack().rename("count").reset_index()
    table = table[["race", "shift", "quantity", "count"]]
    table["n"] = table["race"].map(matrix(0.0).sum(axis=1))
    table["computed_percent"] = 100 * table["count"] / table["n"]
    places = table["race"].map(races().index)
    keys = "table_2." + table["shift"].map(KEYS) + "_percent." + table["quantity"] + "." + places.map(str)
    table["notebook_percent"] = [round(100 * numbers()[key].value, DIGITS) for key in keys]
    differently = values()["table_2"]["as_the_paper_prints"]["default_sum_percent"]
    other = table["race"].isin(list(differently)) & (table["shift"] == 0)  # of their two parts nothing is known
    table["paper_percent"] = table["notebook_percent"].mask(other)
    table.loc[other & (table["quantity"] == "sum"), "paper_percent"] = table["race"].map(differently)
    rounded = table["computed_percent"].round(DIGITS)
    in_paper = table["paper_percent"].isna() | (rounded == table["paper_percent"])
    table["agrees"] = (rounded == table["notebook_percent"]) & in_paper
    table["note"] = ["" if row.agrees else _note(row) for row in table.itertuples()]
    return table


def _note(row) -> str:
    twice = round(row.computed_percent, DIGITS + 1)
    again = round(twice, DIGITS)
    why = f" (rounded twice, to {twice} and then to {again})" if again == row.paper_percent else ""
    said = f"the notebook has {row.notebook_percent}, the paper {row.paper_percent}"
    return f"{row.count} of {row.n} is {row.computed_percent:.3f}%: {said}{why}"


def net_changes(quantity: str = "sum") -> pd.DataFrame:
    """``bounds`` of the faces of each race harmed at the two shifts, by one of ``QUANTITIES``, race in front."""
    before, after = (harmed(shift)[quantity].to_numpy() for shift in KEYS)
    table = bounds(before, after, matrix(0.0).sum(axis=1).to_numpy())
    table.insert(0, "race", races())
    return table


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
    sizes = zip(np.abs(net).tolist(), n.tolist(), strict=True)
    table["most_discordant"] = [most_discordant(change, size, LEVEL) for change, size in sizes]
    table["possible_discordant"] = before + after
    never, always = table["least_p"] >= LEVEL, table["most_p"] < LEVEL
    return table.assign(verdict=np.select([never, always], [NEVER, ALWAYS], DEPENDS))


def accuracy_drop() -> dict:
    """The cost of the shift in accuracy: the notebook's printed accuracies against the sentence of the paper.

    "faces" are the fewer that are right in race and gender, "agrees" is to the paper's four digits.
    """
    n, said = n_faces(), -numbers()["table_2.as_the_paper_prints.accuracy_drop"].value
    before, after = (round(numbers()[f"table_2.{key}_percent.accuracy"].value * n) for key in KEYS.values())
    drop = (before - after) / n
    return {"faces": before - after, "n": n, "notebook": drop, "paper": said, "agrees": round(drop, 4) == said}
