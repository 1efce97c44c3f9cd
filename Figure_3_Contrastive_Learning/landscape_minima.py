"""Where the loss curves of ``loss_landscape.py`` are lowest: on the grid of shifts, and over batches drawn again."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy.ndimage import label
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
FLAT, EDGE = "flat curve", "lowest where the shifts end"
LEVEL, WIDTH = 0.001, 1.0
"""A curve that stays within so many nats of its lowest loss over shifts of this width is flat: it has no minimum."""


def batch_losses(
    x: Tensor,
    y: Tensor,
    rows: Int[np.ndarray, "b size"],
    shifts: Sequence[float],
    temperatures: Sequence[float],
    bias: float | None = None,
) -> contrastive.SweepLosses:
    """Both losses (batches, shifts, temperatures) of every batch of pairs, along the gap vector of all pairs."""
    options = {"direction": geometry.unit_gap_vector(x, y), "bias": bias, "consecutive": True}
    parts = [contrastive.sweep_both(x[some], y[some], shifts, temperatures, **options) for some in torch.tensor(rows)]
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


def minima(table: pd.DataFrame, around: pd.DataFrame) -> pd.DataFrame:
    """Where each loss curve is lowest, beside the default gap and the limits of ``around``, a row for each curve.

    A curve that is lowest where the shifts end (``at_edge``), or flat (``flat``), has no minimum: its place and limits
    are NaN.
    """
    rows = []
    for labels, part in table.groupby(CURVE, sort=False):
        default, shifts, gaps = part[part["shift"] == 0].iloc[0], *(part[name].to_numpy() for name in PLACE)
        (at, at_edge, flat), (other, *flagged) = (lowest(part[loss].to_numpy(), shifts) for loss in LOSSES.values())
        rows.append(
            dict(zip(CURVE, labels, strict=True))
            | {"default_gap": default["signed_gap_distance"], "default_loss": default["loss"]}
            | {"shift_at_minimum": shifts[at], "gap_at_minimum": gaps[at], "lowest_loss": part["loss"].iloc[at]}
            | {"gap_at_minimum_as_released": np.nan if any(flagged) else gaps[other], "at_edge": at_edge}
            | around.iloc[len(rows)].to_dict()
            | {"flat": flat}
        )
    found = pd.DataFrame(rows)
    where = [name for name in found if name.startswith(("shift_", "gap_")) and not name.endswith("as_released")]
    found.loc[found["at_edge"] | found["flat"], where] = np.nan
    return found.astype({"batches": int})


class Lowest(NamedTuple):
    """Index of the lowest loss, whether it is as low where the shifts end, and whether the curve is flat around it."""

    at: int
    at_edge: bool
    flat: bool


def lowest(loss: Float[np.ndarray, "s"], shifts: Float[np.ndarray, "s"]) -> Lowest:
    """Where a curve is lowest, and what speaks against a minimum there."""
    at = int(loss.argmin())
    low = loss <= loss[at] + LEVEL
    runs = label(low)[0]
    first, last = np.flatnonzero(runs == runs[at])[[0, -1]].tolist()
    at_edge, wide = first == 0 or last == len(loss) - 1, shifts[last] - shifts[first] >= WIDTH
    return Lowest(at, at_edge, bool(low.all() or wide))


def no_minimum(row) -> str:
    """Why a row of ``minima``, or a ``Lowest``, is none; empty where it is one."""
    if row.flat:
        return FLAT
    return EDGE if row.at_edge else ""


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
