"""Theorem 1 by experiment: how often a random ReLU layer raises the cosine of two vectors.

Notation: vectors u and v of cosine c and norms |u| = r |v|, with the norm ratio r; "norm" is |v|. A layer is
relu(W x + b) with independent entries of W and b from N(0, 1/d_out).
"""

import math
from collections.abc import Sequence

import numba
import numpy as np
import pandas as pd
from jaxtyping import Int
from scipy import stats

from util import UserError
from util.numerics.arrays import as_count, as_numbers
from util.published import compare
from util.records import Comparison

CELL = ["cosine", "norm_ratio", "norm"]
SMALLEST = 8
"""Smallest d_out; the others are its doublings."""
STREAMS = 20
"""Streams of random numbers that the trials are divided into."""
PEAK = 1.19
"""Where x^2 Phi(-x) is largest, Phi the normal distribution: d_out times the failure rate of theorem 1 has its peak
where the limit of the cosine is this many standard deviations (``cosine_spread`` / sqrt(d_out)) above the cosine."""


def largest_cosine(norm_ratio):
    """The condition of theorem 1: the cosine must be below 2/(r + 1/r), in (0, 1]; number or array in and out."""
    return 2 / (norm_ratio + 1 / norm_ratio)


def preactivation_correlation(cosine, norm_ratio, norm):
    """Correlation of the two pre-activations W u + b and W v + b of one unit, in [-1, 1], of c, r and |v|.

    Given u and v, the d_out pairs of coordinates are independent and Gaussian with covariance
    [[|u|^2 + 1, u.v + 1], [u.v + 1, |v|^2 + 1]] / d_out. ReLU keeps a scale and a cosine knows none, so the cosine
    after the layer depends on this correlation alone. The width of the inputs drops out.
    """
    square = norm**2
    return (cosine * norm_ratio * square + 1) / np.sqrt((norm_ratio**2 * square + 1) * (square + 1))


def arc_cosine_kernel(correlation):
    """Limit of the cosine after a ReLU layer as d_out grows: 2 E[relu(x) relu(y)] for standard normal x, y.

    (sqrt(1 - rho^2) + (pi - arccos rho) rho) / pi, in [0, 1], of the correlation rho of the pre-activations.
    Source: Cho and Saul, Kernel methods for deep learning (2009), degree 1.
    """
    rho = np.clip(correlation, -1.0, 1.0)
    return (np.sqrt(1 - rho**2) + (np.pi - np.arccos(rho)) * rho) / np.pi


def cosine_spread(correlation):
    """sqrt(d_out) times the standard deviation of the cosine after a wide ReLU layer.

    The cosine is to first order its limit kappa plus the mean over units of 2 x y - kappa (x^2 + y^2), x and y the
    outputs. Their fourth moments are integrals over the angle at which both are positive. The square of the radius of
    a Gaussian pair contributes E[R^4] = 8. Gauss-Legendre integrates the trigonometric polynomial exactly.
    """
    theta = np.arccos(np.clip(np.asarray(correlation, np.float64), -1.0, 1.0))
    nodes, weights = np.polynomial.legendre.leggauss(24)
    half = (np.pi - theta)[..., None] / 2  # both positive for angles from theta - pi/2 to pi/2
    angle = theta[..., None] / 2 + half * nodes
    x, y = np.cos(angle), np.cos(angle - theta[..., None])
    kappa = arc_cosine_kernel(correlation)

    def moment(i: int, j: int):
        return 8 / (2 * np.pi) * (half * weights * x**i * y**j).sum(-1)

    fourth = 1.5  # E[x^4] of a rectified standard normal
    variance = (4 + 2 * kappa**2) * moment(2, 2) - 4 * kappa * (moment(3, 1) + moment(1, 3)) + 2 * kappa**2 * fourth
    return np.sqrt(np.maximum(variance, 0))


def raise_cosines(
    cosine, norm_ratio, norm, *, widest: int = 4096, trials: int = 5000, seed: int = 0
) -> tuple[Int[np.ndarray, "w"], Int[np.ndarray, "w"], Int[np.ndarray, "k w"]]:
    """Sends pairs of vectors, one for each of k cells, through random ReLU layers of d_out 8, 16, ... widest.

    There are so many ``trials`` of the widest kind, a power of two from 8 to 65536. Their units, divided up, are
    widest/d_out times as many layers of a narrower kind.

    Gives d_out (w,), how many layers there were of each, and in how many the cosine of each cell grew (k, w). To an
    all-zero output it does not grow.

    Paper: theorem 1. Pairs of pre-activations come from their exact joint distribution (``preactivation_correlation``).
    Trap: all cells, and all widths, are made of the same normals. Only the trials of one cell at one width are
    independent.
    """
    c, r, m = as_numbers(cosine, "cosine"), as_numbers(norm_ratio, "norm ratio"), as_numbers(norm, "norm")
    for values, name, low, high in ((c, "cosine", -1, 1), (r, "norm ratio", 1e-6, 1e6), (m, "norm", 0, 1e6)):
        off = values[(values < low) | (values > high)]
        if len(off):
            raise UserError(f"{name} must be from {low:g} to {high:g}, not {off[0]:g}")
    if widest not in {SMALLEST * 2**level for level in range(14)}:
        raise UserError(f"the widest d_out must be a power of two from 8 to 65536, not {widest}")
    rho = np.clip(preactivation_correlation(c, r, m), -1.0, 1.0)
    d_out = SMALLEST * 2 ** np.arange(int(math.log2(widest // SMALLEST)) + 1)
    raised, at_once = np.zeros((len(c), len(d_out)), np.int64), 2**17 // widest  # 1 MB of normals, a cache's size
    streams = np.random.SeedSequence(as_count(seed, "seed", least=0)).spawn(STREAMS)
    for part, stream in zip(np.array_split(np.empty(as_count(trials, "trials")), STREAMS), streams, strict=True):
        generator = np.random.default_rng(stream)
        for start in range(0, len(part), at_once):
            shape = (2, min(at_once, len(part) - start), SMALLEST, widest // SMALLEST)
            count_raised(*generator.standard_normal(shape, dtype=np.float32), rho, c, raised)
    return d_out, trials * widest // d_out, raised


@numba.njit(parallel=True, cache=True)
def count_raised(first, second, correlations, cosines, raised):
    """Counts the trials that raise the cosine at every width 8, 16, ... 8 * blocks, in place.

    ``first`` and ``second`` are (trials, 8, blocks) independent normals, blocks a power of two. Those of width 8 * 2**w
    are the columns j, j + blocks / 2**w, ... of both. Of each cell come the correlation of the pre-activations and the
    cosine before the layer; ``raised`` (cells, widths) is added to. An all-zero output is not raised.
    """
    for cell in numba.prange(len(correlations)):
        for trial in range(len(first)):
            _count_one(first[trial], second[trial], correlations[cell], cosines[cell], raised[cell])


@numba.njit(fastmath=True, cache=True)
def _count_one(first, second, correlation, cosine, raised):
    count, other = first.shape[1], math.sqrt(1.0 - correlation * correlation)
    xx, yy, xy = np.zeros(count), np.zeros(count), np.zeros(count)
    for i in range(SMALLEST):
        for j in range(count):
            z = np.float64(first[i, j])
            x, y = max(z, 0.0), max(correlation * z + other * np.float64(second[i, j]), 0.0)
            xx[j] += x * x
            yy[j] += y * y
            xy[j] += x * y
    for level in range(len(raised)):
        for j in range(count):
            raised[level] += np.int64(xy[j] > cosine * math.sqrt(xx[j] * yy[j]))  # 0 > 0 where an output is all zero
        count //= 2
        for j in range(count):
            xx[j] += xx[count + j]
            yy[j] += yy[count + j]
            xy[j] += xy[count + j]


def measure(grid: Sequence[Sequence[float]], **options) -> pd.DataFrame:
    """How often the cosine grows in every cell of a grid at every d_out: rows of ``theorems.csv``.

    The options are widest, trials and seed of ``raise_cosines``. Estimates are probabilities, predictions 1 or 0.
    """
    cells = pd.MultiIndex.from_product([sorted(set(part)) for part in grid], names=CELL).to_frame(index=False)
    d_out, n_trials, raised = raise_cosines(*cells.to_numpy(float).T, **options)
    rows, raised = cells.merge(pd.DataFrame({"d_out": d_out, "n_trials": n_trials}), "cross"), raised.ravel()
    not_raised = rows["n_trials"] - raised  # 95% intervals of Clopper and Pearson (1934), exact for each alone
    low = np.nan_to_num(stats.beta.ppf(0.025, raised, not_raised + 1), nan=0.0)  # none raised
    high = np.nan_to_num(stats.beta.ppf(0.975, raised + 1, not_raised), nan=1.0)  # all raised
    limit = arc_cosine_kernel(preactivation_correlation(rows["cosine"], rows["norm_ratio"], rows["norm"]))
    return rows.assign(
        theorem=1,
        layers=1,
        case="ReLU layer, bias",
        in_condition=rows["cosine"] < largest_cosine(rows["norm_ratio"]),
        estimate=raised / rows["n_trials"],
        ci_low=low,
        ci_high=high,
        predicted=(limit > rows["cosine"]).astype(float),
    )


def comparisons(table: pd.DataFrame) -> list[Comparison]:
    """d_out x failure rate inside the condition: where its peak is at half of the largest d_out or before, it falls."""
    inside = table[table["in_condition"]]
    if inside.empty:
        return []
    correlation = preactivation_correlation(inside["cosine"], inside["norm_ratio"], inside["norm"])
    margin = (arc_cosine_kernel(correlation) - inside["cosine"]) / cosine_spread(correlation)
    inside = inside.assign(margin=margin, failures=inside["d_out"] * (1 - inside["estimate"]))
    at = inside.loc[inside.groupby(CELL)["failures"].idxmax()]
    first, widest = inside["d_out"].min(), inside["d_out"].max()
    settled = 2 * (PEAK / at["margin"]) ** 2 <= widest
    note = f"falls from d_out {first} on in {(at['d_out'] == first).sum()}; elsewhere largest by {at['d_out'].max()}"
    agrees = bool((at["d_out"] < widest)[settled].all())
    on = f"{len(at)} cells, d_out {first} to {widest}"
    return [compare("theorem_1.bounded", at["failures"].max(), on, agrees, note, own=True)]
