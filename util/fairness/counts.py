"""What counts alone can show, where it is not published which faces are behind them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int

from ..numerics.statistics import holm, mcnemar, most_discordant, wilson_interval
from .audit import LEVEL

NEVER = "cannot be told from chance, whichever faces changed"
ALWAYS = "larger than chance, whichever faces changed"
DEPENDS = "depends on which faces changed, which is not published"


def consistent(printed: Sequence[float], n: int, digits: int) -> Int[np.ndarray, "3 k"]:
    """All counts of n faces that give printed percentages of two kinds of harm and of their sum; a column for each."""
    rounded = np.round(100 * np.arange(n + 1) / n, digits)
    first, second, both = (np.flatnonzero(rounded == value) for value in printed)
    pairs = np.stack(np.meshgrid(first, second, indexing="ij")).reshape(2, -1)
    counts = np.vstack([pairs, pairs.sum(0)])
    return counts[:, np.isin(counts[2], both)]


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
