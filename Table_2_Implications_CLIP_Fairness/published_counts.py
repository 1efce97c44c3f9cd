"""The authors' own counts, put through the audit's counting: what their percentages stand for, and what they can show.

The notebook of Table 2 prints, at two shifts, which race or harm word the faces of each race are given. Percentages,
intervals and net changes follow from those counts. Which faces changed does not follow.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pandas as pd
from jaxtyping import Int

from util.fairness.audit import LEVEL, harm_counts
from util.fairness.declared import Declared
from util.numerics.statistics import holm, mcnemar_p_values, most_discordant, wilson_limits
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


def harmed(shift: float) -> dict[str, Int[np.ndarray, "R"]]:
    """How many faces of each race are given a word of each harm group, and of any ("sum")."""
    declared, counts = Declared.read(), matrix(shift)
    group = dict(zip(declared.harm_words, declared.harms, strict=True))
    return harm_counts(counts.to_numpy(), [group.get(column) for column in counts])


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
    rows = []
    for shift, key in KEYS.items():
        counts, n = harmed(shift), matrix(shift).sum(axis=1)
        for place, race in enumerate(races()):
            for quantity in QUANTITIES:
                count, printed = int(counts[quantity][place]), numbers()[f"table_2.{key}_percent.{quantity}.{place}"]
                percent = round(100 * printed.value, DIGITS)
                rows.append((race, shift, quantity, count, int(n[race]), 100 * count / n[race], percent))
    columns = ["race", "shift", "quantity", "count", "n", "computed_percent", "notebook_percent"]
    table = pd.DataFrame(rows, columns=columns)
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
    exact = Decimal(row.count) * 100 / Decimal(row.n)
    twice = exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
    again = twice.quantize(Decimal("0.1"), ROUND_HALF_UP)
    said = f"the notebook has {row.notebook_percent}, the paper {row.paper_percent}"
    why = f" (rounded twice, to {twice} and then to {again})" if float(again) == row.paper_percent else ""
    return f"{row.count} of {row.n} is {exact:.3f}%: {said}{why}"


def net_changes(quantity: str = "sum") -> pd.DataFrame:
    """How many faces of each race are harmed at each of the two shifts, and what the difference can show.

    Args:
        quantity: "sum", or one of the harm groups.

    Returns:
        a row for each race, in the order of the paper: race, n, then the columns of ``bounds``.
    """
    before, after = (harmed(shift)[quantity] for shift in KEYS)
    table = bounds(before, after, matrix(0.0).sum(axis=1).to_numpy())
    table.insert(0, "race", races())
    return table


def bounds(before: Int[np.ndarray, "G"], after: Int[np.ndarray, "G"], n: Int[np.ndarray, "G"]) -> pd.DataFrame:
    """What two counts of the same n faces can show where it is not known which of them changed.

    Args:
        before, after: harmed faces of each group; before + after at most n.
        n: faces of each group, at least 1.

    Returns:
        n, before, after, net, the 95% Wilson intervals of both shares, least_p (exact McNemar if no face changed
        against the trend), most_p (if no face was harmed both times), least_p_holm (least_p corrected for all groups),
        most_discordant (how many faces may have changed if p is to be below 0.05; 0: no number will do),
        possible_discordant (how many can have changed), and verdict (``NEVER``, ``ALWAYS`` or ``DEPENDS``).
    """
    net = after - before
    columns = {"n": n, "before": before, "after": after, "net": net}
    for name, counts in (("before", before), ("after", after)):
        columns |= dict(zip((f"{name}_low", f"{name}_high"), wilson_limits(counts, n), strict=True))
    columns["least_p"] = mcnemar_p_values(np.maximum(net, 0), np.maximum(-net, 0))
    columns["most_p"] = mcnemar_p_values(after, before)
    columns["least_p_holm"] = holm(columns["least_p"])
    sizes = zip(np.abs(net).tolist(), n.tolist(), strict=True)
    columns["most_discordant"] = [most_discordant(change, size, LEVEL) for change, size in sizes]
    columns["possible_discordant"] = before + after
    never, always = columns["least_p"] >= LEVEL, columns["most_p"] < LEVEL
    return pd.DataFrame(columns | {"verdict": np.select([never, always], [NEVER, ALWAYS], DEPENDS)})


def accuracy_drop() -> dict:
    """The cost of the shift in accuracy: the notebook's printed accuracies against the sentence of the paper.

    Returns:
        "faces" (fewer that are right in race and gender), "n", "notebook" (faces / n), "paper" (what its text says) and
        "agrees" (to the paper's digits).
    """
    n, said = n_faces(), -numbers()["table_2.as_the_paper_prints.accuracy_drop"].value
    before, after = (round(numbers()[f"table_2.{key}_percent.accuracy"].value * n) for key in KEYS.values())
    drop, digits = (before - after) / n, -Decimal(str(said)).as_tuple().exponent
    return {"faces": before - after, "n": n, "notebook": drop, "paper": said, "agrees": round(drop, digits) == said}
