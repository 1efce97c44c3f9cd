"""Where the loss curves of ``loss_landscape.py`` are lowest: on the grid of shifts, and over batches drawn again."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.signal import find_peaks
from torch import Tensor

from util import contrastive, geometry

CURVE = ["embeddings", "batch", "temperature"]
PLACE = ["shift", "signed_gap_distance"]
BARRIER = ["barrier_shift", "barrier_gap", "barrier_loss"]
LOSSES = {"symmetric": "loss", "as released": "loss_as_released"}
INTERVAL = "95% bootstrap over batches"
LEAST_BATCHES = 5
"""Fewer batches give no interval."""
RESAMPLES = 2000


def batch_losses(
    x: Tensor, y: Tensor, shifts: Sequence[float], temperatures: Sequence[float], size: int
) -> contrastive.SweepLosses:
    """Both losses (batches, shifts, temperatures) of every whole batch, along the gap vector of all pairs."""
    along = geometry.unit_gap_vector(x, y)
    spans = [slice(first, first + size) for first in range(0, len(x) // size * size, size)]
    parts = [contrastive.sweep_both(x[span], y[span], shifts, temperatures, direction=along) for span in spans]
    return contrastive.SweepLosses(*map(np.stack, zip(*parts, strict=True)))


def limits(
    losses: Float[np.ndarray, "b s t"], shifts: np.ndarray, gaps: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """95% limits of the shift and of the signed gap at the lowest loss, a row for each temperature.

    Batches are drawn again from the b that there are, along the same gap vector. A larger shift has a smaller signed
    gap. Fewer than ``LEAST_BATCHES`` give NaN.
    """
    count, found = len(losses), {}
    first, last = np.full((2, losses.shape[2]), np.nan)
    if count >= LEAST_BATCHES:
        draws = rng.multinomial(count, np.full(count, 1 / count), RESAMPLES)
        lowest = np.stack([(draws @ each).argmin(1) for each in losses.transpose(2, 0, 1)])
        first, last = (np.quantile(lowest, q, 1, method=way) for q, way in ((0.025, "lower"), (0.975, "higher")))
    for name, places, ends in (("shift", shifts, (first, last)), ("gap", gaps, (last, first))):
        for end, at in zip(("low", "high"), ends, strict=True):
            found[f"{name}_{end}"] = np.interp(at, np.arange(len(places)), places)
    return pd.DataFrame({"batches": count, **found})


def minima(table: pd.DataFrame) -> pd.DataFrame:
    """Where each loss curve is lowest, beside the default gap, and whether that is only where the shifts end."""
    groups = table.groupby(CURVE, sort=False)
    default = table[table["shift"] == 0].set_index(CURVE)
    lowest, released = (table.loc[groups[loss].idxmin()].set_index(CURVE) for loss in LOSSES.values())
    ends = groups["shift"].agg(["min", "max"])
    found = {
        "default_gap": default["signed_gap_distance"],
        "default_loss": default["loss"],
        "shift_at_minimum": lowest["shift"],
        "gap_at_minimum": lowest["signed_gap_distance"],
        "lowest_loss": lowest["loss"],
        "gap_at_minimum_as_released": released["signed_gap_distance"],
        "at_edge": ends.eq(lowest["shift"], axis=0).any(axis=1),
    }
    return pd.DataFrame(found).reset_index()


def back_to_back(table: pd.DataFrame, least: float) -> pd.DataFrame:
    """Second minima, where the modalities have passed each other: the signed gap is negative, the loss not the lowest.

    A row for the deepest of each curve, by ascending shift, around which the loss rises by at least so many nats, with
    the barrier: the highest point between it and the lowest loss. ``curve`` is "symmetric" or "as released".
    """
    rows = []
    for labels, part in table.groupby(CURVE, sort=False):
        for name, column in LOSSES.items():
            loss, best, gaps = part[column].to_numpy(), part[column].argmin(), part["signed_gap_distance"].to_numpy()
            local = find_peaks(-loss, prominence=least)[0]
            local = local[(gaps[local] < 0) & (local > best)]
            if len(local):
                at = local[loss[local].argmin()]
                top = best + loss[best:at].argmax()
                rows.append([*labels, name, *part.iloc[[at, top]][[*PLACE, column]].to_numpy().ravel()])
    return pd.DataFrame(rows, columns=[*CURVE, "curve", *PLACE, "loss", *BARRIER])
