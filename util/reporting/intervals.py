"""The interval of a number: what its comparison says, else what the record's tables hold beside it."""

from collections.abc import Callable, Mapping

import numpy as np

from ..numerics.statistics import prediction_interval
from ..records import Record
from . import numbers
from .readings import zero_shot_rows

Interval = tuple[float, float] | tuple[None, None]
NONE = (None, None)


def of(record: Record, part: Mapping) -> Interval:
    """Both ends of the interval that belongs to one of a record's comparisons; (None, None) where there is none.

    95%, and of what the comparison's note says: of a further seed for Figure 2, of the number itself for the tables.
    """
    if part.get("low") is not None and part.get("high") is not None:
        return part["low"], part["high"]
    low, high = READERS[record.name](record, part) if record.name in READERS else NONE
    return NONE if low is None or not np.isfinite([low, high]).all() else (float(low), float(high))


def _cosines(record: Record, part: Mapping) -> Interval:
    """Figure 2 (a): means of one further seed."""
    table, quantity = record.tables[""], part["quantity"]
    for (row, encoder, name), group in table.groupby(["row", "encoder", "input"], sort=False):
        words = f"mean cosine, {encoder}, {numbers.CONES.get(row)}"
        if quantity == words and part["on"] == f"{name}, n = {group['n'].iloc[0]}" and len(group) > 1:
            return prediction_interval(group["mean"].to_numpy())
    return NONE


def _depth(record: Record, part: Mapping) -> Interval:
    """Figure 2 (b): one further seed."""
    for row in record.tables["published"].itertuples():
        if f", {row.layers} layers," in part["quantity"]:
            return row.low, row.high
    return NONE


def _zero_shot(record: Record, part: Mapping) -> Interval:
    """Table 1: of the metric by default, and at the best shift with the choice repeated in every resample."""
    *_, what = part["quantity"].split(", ")
    ends = {"default": ("default_low", "default_high"), "modified": ("ci_low", "ci_high")}.get(what)
    for dataset in record.about["results"]["published_as"] if ends else ():
        for row in zero_shot_rows(record, dataset) if part["on"].startswith(f"{dataset}, ") else ():
            if np.isclose(getattr(row, what), part["ours"]):
                return tuple(getattr(row, end) for end in ends)
    return NONE


READERS: dict[str, Callable[[Record, Mapping], Interval]] = {
    "cosine_similarity": _cosines,
    "depth": _depth,
    "zero_shot": _zero_shot,
}
"""By the script's name."""
