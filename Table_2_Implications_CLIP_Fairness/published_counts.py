"""The authors' own counts, put through the audit's counting: what their percentages stand for, and what they can show.

The notebook of Table 2 prints, at two shifts, which race or harm word the faces of each race are given. Percentages,
intervals and net changes follow from those counts by the same functions that count our faces. What does not follow:
the accuracy, which is exact in race and gender (a matrix by race only bounds it), and which faces changed.
"""

import math
from decimal import ROUND_HALF_UP, Decimal
from functools import cache

import numpy as np
import pandas as pd
from jaxtyping import Int

from util import published
from util.fairness import counts
from util.fairness.counts import LEVEL
from util.fairness.declared import FAIRFACE, Declared
from util.numerics.statistics import holm, mcnemar, mcnemar_p_values, most_discordant, wilson_limits

SHIFTS = {0.0: "default", -0.20: "shift_-0.20"}
"""The two shifts whose counts are published, and what their keys in the published values begin or end with."""

MODIFIED = min(SHIFTS)
"""The shift of the published modified gap."""

DIGITS = 1
"""Digits after the point of a printed percentage."""

NEVER = "cannot be told from chance, whichever faces changed"
ALWAYS = "larger than chance, whichever faces changed"
DEPENDS = "depends on which faces changed, which is not published"


def agreement() -> pd.DataFrame:
    """Every published percentage beside the one that the published counts give.

    Returns:
        a row for each shift, race (in the order of the paper) and quantity (crime_related, non_human, sum): race,
        shift, quantity, count, n, computed_percent (not rounded), notebook_percent, paper_percent (NaN where not
        known), agrees (the computed one, rounded to their digit, is both), note (why not, else empty).
    """
    rows = []
    for shift in SHIFTS:
        harmed, n = _harmed(shift), _matrix(shift).sum(1)
        for place, race in enumerate(_table()["races"]):
            row = _row(race)
            for quantity in ("crime_related", "non_human", "sum"):
                printed = _table()[f"{SHIFTS[shift]}_percent"][quantity][place]
                rows.append((race, shift, quantity, int(harmed[quantity][row]), int(n[row]), printed))
    table = pd.DataFrame(rows, columns=["race", "shift", "quantity", "count", "n", "notebook_percent"])
    table.insert(5, "computed_percent", 100 * counts.rate(table["count"].to_numpy(), table["n"].to_numpy()))
    table["paper_percent"] = [_in_the_paper(row) for row in table.itertuples()]
    rounded = table["computed_percent"].round(DIGITS)
    in_paper = table["paper_percent"].isna() | (rounded == table["paper_percent"])
    table["agrees"] = (rounded == table["notebook_percent"]) & in_paper
    table["note"] = [_note(row) for row in table.itertuples()]
    return table


def net_changes(quantity: str = "sum") -> pd.DataFrame:
    """How many faces of each race are harmed at each of the two shifts, and what the difference can show.

    Args:
        quantity: "sum", or one of the harm groups.

    Returns:
        a row for each race, in the order of the paper: race, n, then the columns of ``bounds``.
    """
    rows = [_row(race) for race in _table()["races"]]
    before, after = (_harmed(shift)[quantity][rows] for shift in SHIFTS)
    n = _matrix(0.0).sum(1)[rows]
    table = bounds(before, after, n)
    table.insert(0, "race", _table()["races"])
    return table


def bounds(before: Int[np.ndarray, "G"], after: Int[np.ndarray, "G"], n: Int[np.ndarray, "G"]) -> pd.DataFrame:
    """What two counts of the same n faces can show where it is not known which of them changed.

    Args:
        before, after: harmed faces of each group; before + after at most n.
        n: faces of each group, at least 1.

    Returns:
        n, before, after, net (after - before), before_low, before_high, after_low, after_high (Wilson, 95%, of the
        shares), least_p (exact McNemar if no face changed against the trend), most_p (if no face was harmed both
        times), least_p_holm (least_p corrected for all groups), most_discordant (how many faces may have changed if p
        is to be below 0.05; 0: no number will do), possible_discordant (before + after: how many can have changed), and
        verdict (``NEVER``, ``ALWAYS`` or ``DEPENDS``; each group by itself).
    """
    net = after - before
    columns = {"n": n, "before": before, "after": after, "net": net}
    for name, harmed in (("before", before), ("after", after)):
        columns |= dict(zip((f"{name}_low", f"{name}_high"), wilson_limits(harmed, n), strict=True))
    columns["least_p"] = mcnemar_p_values(np.maximum(net, 0), np.maximum(-net, 0))
    columns["most_p"] = mcnemar_p_values(after, before)
    columns["least_p_holm"] = holm(columns["least_p"])
    sizes = zip(np.abs(net).tolist(), n.tolist(), strict=True)
    columns["most_discordant"] = [most_discordant(change, size, LEVEL) for change, size in sizes]
    columns["possible_discordant"] = before + after
    never, always = columns["least_p"] >= LEVEL, columns["most_p"] < LEVEL
    return pd.DataFrame(columns | {"verdict": np.select([never, always], [NEVER, ALWAYS], DEPENDS)})


def n_faces() -> int:
    """How many faces the published matrices count."""
    return int(_matrix(0.0).sum())


def accuracy() -> pd.DataFrame:
    """The printed accuracies as faces, beside what the matrices by race say.

    Returns:
        a row for each shift: shift, n, accuracy (printed by the notebook; exact in race and gender), right (the faces
        that it stands for, a whole number), race_right (faces given their race, of whichever gender: at least as many),
        race_accuracy.
    """
    rows = []
    for shift, key in SHIFTS.items():
        matrix, printed = _matrix(shift), _table()[f"{key}_percent"]["accuracy"]
        own = [_columns(shift).index(race) for race in _rows(shift)]
        right, n = int(matrix[np.arange(len(own)), own].sum()), int(matrix.sum())
        rows.append((shift, n, printed, round(printed * n), right, right / n))
    return pd.DataFrame(rows, columns=["shift", "n", "accuracy", "right", "race_right", "race_accuracy"])


def accuracy_drop() -> dict:
    """What the shift costs in accuracy: the notebook's printed accuracies against the sentence of the paper.

    Returns:
        "faces" (fewer that are right), "n", "notebook" (faces / n), "paper" (what its text says), "paper_faces" (the
        same in faces), "agrees" (to the paper's digits), "least_p", "most_p" and "most_discordant" as in
        ``net_changes``, for all faces and of being right.
    """
    before, after = accuracy().itertuples()
    lost, n, said = before.right - after.right, before.n, _table()["as_the_paper_prints"]["accuracy_drop"]
    digits = -Decimal(str(said)).as_tuple().exponent
    least, most = mcnemar(0, lost), mcnemar(*_most_changed(before.right, after.right, n))
    found = {"faces": lost, "n": n, "notebook": lost / n, "paper": said, "paper_faces": said * n}
    found |= {"agrees": round(lost / n, digits) == said, "least_p": least, "most_p": most}
    return found | {"most_discordant": most_discordant(lost, n)}


def _most_changed(before: int, after: int, n: int) -> tuple[int, int]:
    """(gained, lost) when as few faces as possible stay as they were: none right twice, or none wrong twice."""
    both = max(0, before + after - n)
    return after - both, before - both


@cache
def _table() -> dict:
    return published.values()["table_2"]


def _confusion(shift: float) -> dict:
    return _table()[f"confusion_{SHIFTS[shift]}"]


def _rows(shift: float) -> list[str]:
    return _confusion(shift)["rows"]


def _columns(shift: float) -> list[str]:
    return _confusion(shift)["columns"]


def _row(race: str) -> int:
    return _rows(0.0).index(race)


def _matrix(shift: float) -> Int[np.ndarray, "R C"]:
    """Faces by race (row) and by the race or harm word that they are given (column)."""
    return np.array(_confusion(shift)["counts"], np.int64)


def _harmed(shift: float) -> dict[str, Int[np.ndarray, "R"]]:
    """``counts.harm_counts`` of a published matrix: the harm groups are those that the audit of FairFace declares."""
    groups = {each.word: group for group, words in Declared.read(FAIRFACE).harm_groups.items() for each in words}
    return counts.harm_counts(_matrix(shift), [groups.get(column) for column in _columns(shift)])


def _in_the_paper(row) -> float:
    """What the paper's table prints: the notebook's number but for the sums that it prints differently.

    Of such a race's parts at the same shift it is not known: NaN.
    """
    differently = _table()["as_the_paper_prints"]["default_sum_percent"]
    if row.shift != 0.0 or row.race not in differently:
        return row.notebook_percent
    return differently[row.race] if row.quantity == "sum" else math.nan


def _note(row) -> str:
    if row.agrees:
        return ""
    exact = Decimal(row.count) * 100 / Decimal(row.n)
    twice = exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
    again = twice.quantize(Decimal("0.1"), ROUND_HALF_UP)
    said = f"the notebook has {row.notebook_percent}, the paper {row.paper_percent}"
    why = f" (rounded twice, to {twice} and then to {again})" if float(again) == row.paper_percent else ""
    return f"{row.count} of {row.n} is {exact:.3f}%: {said}{why}"
