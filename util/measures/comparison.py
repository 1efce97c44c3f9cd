"""Cards of several models side by side, with intervals of what differs."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UserError
from ..numerics.statistics import delete_group_interval
from .card import Measures

if TYPE_CHECKING:
    import pandas as pd


def compare(cards: Mapping[str, Measures], same_items: bool = False) -> "pd.DataFrame":
    """Cards side by side, and for each number what the others have more than the first.

    Args:
        cards: two or more, by the name of the model. Their modalities are called the same.
        same_items: row i is the same item in all of them, so that what models share cancels. Nothing in a file says so.

    Returns:
        measure, first, last, model, value, difference, its 95% limits low and high where both have a jackknife, and
        interval: "paired", or "unpaired" from the widths of both.
    """
    import pandas as pd

    (base, first), *others = cards.items()
    if not others:
        raise UserError("compare takes two sets of embeddings or more, each in a file or folder of its own")
    for name, card in others:
        if [*card.counts] != [*first.counts]:
            these, those = (", ".join(each.counts) for each in (card, first))
            raise UserError(f"{name} holds {these} and {base} {those}; name them alike")
        if same_items and card.counts != first.counts:
            raise UserError(f"{name} holds other numbers of rows than {base}; leave --same-items out")
    keys = dict.fromkeys((row["measure"], row["first"], row["last"]) for card in cards.values() for row in card.rows)
    rows = []
    for key in keys:
        values = {name: card.values.get(key) for name, card in cards.items()}
        for name, value in values.items():
            apart = None if None in (value, values[base]) or name == base else value - values[base]
            low, high, how = (None, None, "") if apart is None else _limits(first, cards[name], key, apart, same_items)
            rows.append((*key, name, value, apart, low, high, how))
    columns = ["measure", "first", "last", "model", "value", "difference", "low", "high", "interval"]
    return pd.DataFrame(rows, columns=columns)


def _limits(first: Measures, card: Measures, key: tuple[str, str, str], apart: float, same_items: bool) -> tuple:
    """The 95% interval of a difference, and how it was found."""
    if key not in first.left or key not in card.left:
        return None, None, ""
    (_, left, sizes), (_, others, same) = first.left[key], card.left[key]
    if same_items and np.array_equal(sizes, same):
        return *delete_group_interval(apart, np.subtract(others, left), sizes), "paired"
    (low, high), (least, most) = (delete_group_interval(*each.left[key]) for each in (first, card))
    half, middle = math.hypot(high - low, most - least) / 2, (least + most - low - high) / 2
    return middle - half, middle + half, "unpaired"
