"""Cards of several models side by side, with intervals of what differs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UserError
from ..numerics.statistics import delete_group_interval
from .card import CARD, Measures

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Compared:
    """Cards by name, and for each number what the others have more than the first.

    ``rows`` have measure, first, last, model, value, difference, low, high and interval: "paired" where the items are
    the same, so that what both share cancels; "unpaired" from the widths of both intervals.
    """

    rows: Sequence[Mapping]

    def to_frame(self) -> "pd.DataFrame":
        """The rows as a pandas table."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(index=False)

    def __str__(self) -> str:
        lines, said = [], ""
        for row in self.rows:
            of = "" if CARD[row["measure"]]["of"] == "two" else f" of {row['first']}"
            title, limits = f"{CARD[row['measure']]['title']}{of}", ""
            if row["difference"] is not None:
                limits = f"{row['difference']:+.4f}"
            if row["low"] is not None:
                limits += f"  [{row['low']:+.4f}, {row['high']:+.4f}] {row['interval']}"
            lines.append((title, row["model"], "-" if row["value"] is None else f"{row['value']:z.4f}", limits))
        wide, named = (max(len(line[part]) for line in lines) for part in (0, 1))
        for before, (title, model, value, limits) in zip([("",), *lines], lines, strict=False):
            said += f"{title if title != before[0] else '':<{wide}}  {model:<{named}}  {value:>9}  {limits}\n"
        return said.rstrip()

    __repr__ = __str__


def compare(cards: Mapping[str, Measures], same_items: bool = False) -> Compared:
    """Cards side by side, each beside the first.

    Args:
        cards: two or more, by the name of the model. Their modalities are called the same.
        same_items: row i is the same item in all of them, so differences are paired. Nothing in a file says so.
    """
    (base, first), *others = cards.items()
    names = [*first.counts]
    if not others:
        raise UserError("compare takes two sets of embeddings or more, each in a file or folder of its own")
    for name, card in others:
        if [*card.counts] != names:
            raise UserError(f"{name} holds {', '.join(card.counts)} and {base} {', '.join(names)}; name them alike")
        if same_items and card.counts != first.counts:
            raise UserError(f"{name} holds other numbers of rows than {base}; leave --same-items out")
    rows = []
    for row in first.rows:
        key = row["measure"], row["first"], row["last"]
        for name, card in cards.items():
            found = [each for each in card.rows if (each["measure"], each["first"], each["last"]) == key]
            if not found:
                continue
            told = {part: row[part] for part in ("measure", "first", "last")}
            told |= {"model": name, "value": found[0]["value"]}
            rows.append(told | (NOTHING if card is first else _difference(first, card, key, same_items)))
    return Compared(rows)


NOTHING = {"difference": None, "low": None, "high": None, "interval": ""}


def _difference(first: Measures, card: Measures, key: tuple[str, str, str], same_items: bool) -> dict:
    """What another card has more than the first, with a 95% interval where both have a jackknife."""
    a, b = first.row(*key), card.row(*key)
    if a["value"] is None or b["value"] is None:
        return NOTHING
    apart = {**NOTHING, "difference": b["value"] - a["value"]}
    if key not in first.left or key not in card.left:
        return apart
    (_, left, sizes), (_, others, same) = first.left[key], card.left[key]
    if same_items and np.array_equal(sizes, same):
        low, high = delete_group_interval(apart["difference"], np.subtract(others, left), sizes)
        return apart | {"low": low, "high": high, "interval": "paired"}
    (low, high), (least, most) = (delete_group_interval(*each.left[key]) for each in (first, card))
    half, middle = math.hypot(high - low, most - least) / 2, (least + most - low - high) / 2
    return apart | {"low": middle - half, "high": middle + half, "interval": "unpaired"}
