"""The kinds of interventions: functions of checked unit rows that give the steps for each modality, and settings."""

import numpy as np

from ..errors import UserError
from ..geometry import Side, moved, resolve_direction, side_amounts, unit_rows
from ..numerics.arrays import Others, Rows, Vector, as_count, as_number, to_numpy, wide
from ..numerics.moments import moments
from ..numerics.procrustes import orthogonal_map

Fitted = tuple[dict[str, tuple[np.ndarray, ...]], dict]

NO_VARIANCE = 1e-12
"""Trace of a covariance below which all rows count as one: what is left is rounding."""


def shift(
    x: Rows, y: Others, amount: float | None = None, direction: Vector | None = None, side: Side = "both"
) -> Fitted:
    """The paper's embedding shift: amount, direction and side are those of ``util.geometry.shift``.

    An amount of None is the length of the gap vector along the direction, so that along it the centroids meet before
    rows are made unit-norm. After that some gap is left.

    The inverse is exact while no modality moves by 1 or more: |amount| < 2 for "both", < 1 for one side. Paper: section
    4.2, Figure 3 and Table 1 ("both"), Table 2 ("first").
    """
    unit = to_numpy(resolve_direction(x, y, direction))
    if amount is None:
        amount = (moments(x).centroid - moments(y).centroid) @ unit
    amount = as_number(amount, "amount")
    move_x, move_y = side_amounts(amount, side)
    return {"x": (-move_x * unit,), "y": (move_y * unit,)}, {"amount": amount, "side": side}


def centring(x: Rows, y: Others | None = None) -> Fitted:
    """Each modality minus the mean of its own rows here; one modality alone will do.

    On the rows that it was fitted on the gap is zero, to rounding, before they are made unit-norm; after, and on other
    rows, it is small and not zero. The inverse is exact, but for a modality whose fitted rows were all one.

    Source: "centering" of Zhang et al., "Diagnosing and rectifying vision models using language" (2023), the collapse
    of C3 (2024) without its noise, the calibration of GR-CLIP (2025) and I0T's post-hoc standardisation (2025, which
    divides by the norm of a row and not by a standard deviation) are this one operation, by means of other data. Trap:
    GR-CLIP takes the mean of queries and that of documents apart, although both are text; fit once for each.
    """
    return {name: (-moments(rows).centroid,) for name, rows in (("x", x), ("y", y)) if rows is not None}, {}


def realign(x: Rows, y: Others) -> Fitted:
    """Texts brought to the mean and the total variance of the first modality, which stays where it is.

    a = s (y - mean_y) + mean_x, b = norm(a), y' = norm(b - mean_b + mean_x); s is the root of the ratio of the traces
    of the covariances, that of x over that of y.

    On the rows fitted on, the mean and the trace of a are those of x, and so is the mean of b - mean_b + mean_x; the
    last renormalisation leaves both approximate. Because norm(a) = norm(y - mean_y + mean_x / s), this is two steps,
    and its inverse is exact while both are shorter than 1.

    Source: ReAlign (Yu et al., 2026), whose ``embed_ReAlign.py`` makes texts stand in for images in training. A trace
    here divides by n - 1, so that the number of rows has no part in it: 1 minus the mean cosine of different rows.
    """
    found = {"x": moments(x), "y": moments(y)}
    traces = {name: 1 - part.mean_cosine if part.n > 1 else 0.0 for name, part in found.items()}
    for name, trace in traces.items():
        if trace < NO_VARIANCE:
            raise UserError(f"{name}: ReAlign needs rows that differ; the trace of their covariance is {trace:.1e}")
    scale = float(np.sqrt(traces["x"] / traces["y"]))
    mean_x = found["x"].centroid
    first = mean_x / scale - found["y"].centroid
    second = mean_x - moments(moved(y, first, "y")).centroid
    return {"x": (np.zeros(len(first)),), "y": (first, second)}, {"scale": scale}


def procrustes(x: Rows, y: Rows) -> Fitted:
    """Texts turned onto the rows that they pair with, by ``util.numerics.procrustes.orthogonal_map``; x stays.

    An isometry: cosines within the texts stay, and the inverse is exact. Paper, source and traps stand there.
    """
    turn = to_numpy(orthogonal_map(unit_rows(wide(x)), unit_rows(wide(y))))
    return {"x": (np.zeros(len(turn)),), "y": (turn,)}, {}


def ablation(x: Rows, y: Others, dimensions: int) -> Fitted:
    """So many dimensions, 1 to d - 1, of the largest entries of the gap vector deleted from both modalities.

    There is no inverse. Source: Schrodi et al., "Two effects, one trigger" (2024), who delete up to 20 of 512
    dimensions, chosen once on all of them; their finding is that a gap closed afterwards need not help the task.
    """
    d = x.shape[1]
    if as_count(dimensions, "dimensions") >= d:
        raise UserError(f"dimensions must be at most {d - 1} of {d}, not {dimensions}")
    gap = moments(x).centroid - moments(y).centroid
    deleted = np.argsort(-np.abs(gap), kind="stable")[:dimensions]  # of equal ones the first
    stay = ~np.isin(np.arange(d), deleted)
    return {"x": (stay,), "y": (stay,)}, {"dimensions": deleted.tolist()}


KINDS = {each.__name__: each for each in (shift, centring, realign, procrustes, ablation)}
