"""Theorems 1 and 2 by experiment: how often a random layer raises a cosine, and how much variance its weights make.

The closed forms beside them, and the notation, are those of ``arc_cosine``.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

import _relu_kernel
from arc_cosine import arc_cosine_kernel, preactivation_correlation, seed_share
from util import cone, geometry, variance
from util.errors import UserError
from util.numerics.arrays import as_count, as_numbers

UNITS_AT_ONCE = 2**17
"""Units, with two normals each, that are in memory at a time: 1 MB in float32, what a second-level cache holds."""

BATCHES = 20
"""Independent parts that the trials are divided into, for the standard error of a slope."""

LEAST_FITTED = 64
"""Smallest d_out in the fit of the rate: below it, terms beyond 1/d_out still bend the curve by some per cent."""

ABOVE_NOISE = 10.0
"""A point is fitted where it is this many standard errors away from zero."""


@dataclass(frozen=True)
class Raised:
    """How often a ReLU layer raised the cosine, for k cells (cosine, norm ratio, norm) and w widths.

    Attributes:
        d_out: (w,) widths 8, 16, ...
        n_trials: (w,) number of independent layers of each width; all cells see the same ones.
        raised: (k, w) in how many of them the cosine grew; an all-zero output does not count as grown.
        limit: (k,) the cosine after an infinitely wide layer.
        excess: (k, w) mean cosine after the layer minus ``limit``; a cosine with an all-zero output counts as 0.
        excess_error: (k, w) its standard error.
        excess_by_batch: (batches, k, w) the same means over independent parts of the trials.
    """

    d_out: Int[np.ndarray, "w"]
    n_trials: Int[np.ndarray, "w"]
    raised: Int[np.ndarray, "k w"]
    limit: Float[np.ndarray, "k"]
    excess: Float[np.ndarray, "k w"]
    excess_error: Float[np.ndarray, "k w"]
    excess_by_batch: Float[np.ndarray, "batches k w"]


def raise_cosines(cosine, norm_ratio, norm, *, widest: int = 4096, trials: int = 5000, seed: int = 0) -> Raised:
    """Sends pairs of vectors through random ReLU layers of d_out 8, 16, ... widest.

    Args:
        cosine: k numbers in [-1, 1], one for each cell.
        norm_ratio: k numbers above 0, r = |u| / |v|.
        norm: k numbers of at least 0, |v|.
        widest: the largest d_out, a power of two from 8 to 65536.
        trials: layers of the widest kind. Their units, divided up, are widest/d_out times as many of a narrower kind.
        seed: of the normals.

    Raises:
        UserError: numbers out of range or not one for each cell; a width that is no power of two; no trials.

    Paper: theorem 1. The pairs of pre-activations are drawn from their exact joint distribution
    (``preactivation_correlation``). Trap: all cells, and all widths, are made of the same normals; the trials of one
    cell at one width are independent, the cells are not. The means are corrected by the part of the cosine that is
    linear in the units' products, whose expectation is zero: without it the noise would hide the excess from d_out
    100 on.
    """
    c, r, m = _cells(cosine, norm_ratio, norm)
    if widest not in {8 * 2**level for level in range(14)}:
        raise UserError(f"the widest d_out must be a power of two from 8 to 65536, not {widest}")
    parts = np.array_split(np.empty(as_count(trials, "trials")), min(BATCHES, trials))
    rho = np.clip(preactivation_correlation(c, r, m), -1.0, 1.0)
    limit, levels = arc_cosine_kernel(rho), int(math.log2(widest // 8)) + 1
    raised = np.zeros((len(c), levels), np.int64)
    sums, squares = np.zeros((2, len(parts), len(c), levels))
    streams = np.random.SeedSequence(as_count(seed, "seed", least=0)).spawn(len(parts))
    for part, stream, total, square in zip(parts, streams, sums, squares, strict=True):
        generator = np.random.default_rng(stream)
        for start in range(0, len(part), UNITS_AT_ONCE // widest):
            shape = (2, min(UNITS_AT_ONCE // widest, len(part) - start), _relu_kernel.SMALLEST, widest // 8)
            first, second = generator.standard_normal(shape, dtype=np.float32)
            _relu_kernel.add_outcomes(first, second, rho, c, limit, raised, total, square)
    d_out = 8 * 2 ** np.arange(levels)
    n_trials = trials * widest // d_out
    excess = sums.sum(0) / n_trials
    error = np.sqrt(np.maximum(squares.sum(0) / n_trials - excess**2, 0) / n_trials)
    sizes = np.array([len(part) for part in parts])[:, None, None] * (widest // d_out)
    return Raised(d_out, n_trials, raised, limit, excess, error, sums / sizes)


def _cells(cosine, norm_ratio, norm) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    c, r, m = as_numbers(cosine, "cosine"), as_numbers(norm_ratio, "norm ratio"), as_numbers(norm, "norm")
    if not len(c) == len(r) == len(m):
        raise UserError(f"every cell needs a cosine, a norm ratio and a norm; there are {len(c)}, {len(r)}, {len(m)}")
    for values, name, low, high in ((c, "cosine", -1, 1), (r, "norm ratio", 1e-6, 1e6), (m, "norm", 0, 1e6)):
        off = values[(values < low) | (values > high)]
        if len(off):
            raise UserError(f"{name} must be from {low:g} to {high:g}, not {off[0]:g}")
    return c, r, m


def decay_slope(result: Raised) -> tuple[float, float] | None:
    """Slope of log |excess| against log d_out, one slope for all cells, and its standard error.

    Cells and widths (of at least ``LEAST_FITTED``) count where the excess stands well above its noise; the error is
    the jackknife's over the batches, because the widths and the cells share their normals. A rate of 1/d_out is -1.
    None where no cell has two such points, or the trials are too few for two batches.
    """
    usable = (np.abs(result.excess) > ABOVE_NOISE * result.excess_error) & (result.d_out >= LEAST_FITTED)
    usable &= usable.sum(1, keepdims=True) > 1
    batches = len(result.excess_by_batch)
    if not usable.any() or batches < 2:
        return None
    x = np.where(usable, np.log2(result.d_out), 0.0)
    x = np.where(usable, x - x.sum(1, keepdims=True) / np.maximum(usable.sum(1, keepdims=True), 1), 0.0)

    def slope(excess: np.ndarray) -> float:
        return float((x * np.log2(np.where(usable, np.abs(excess), 1.0))).sum() / (x**2).sum())

    total = result.excess_by_batch.sum(0)
    left_out = np.array([slope((total - part) / (batches - 1)) for part in result.excess_by_batch])
    error = math.sqrt((batches - 1) * left_out.var())
    return slope(result.excess), error


@dataclass(frozen=True)
class Share:
    """The measured share of the initialization in the variance.

    Attributes:
        share: Var[E[h|Theta]] / Var[h], bias-corrected.
        left_out: (seeds,) the same without each seed in turn.
        cosine: average cosine of the layer's inputs, the theorem's lower bound.
        expected: closed form, given those inputs.
    """

    share: float
    left_out: Float[np.ndarray, "seeds"]
    cosine: float
    expected: float


def _share(h: Tensor, cosine: float, expected: float) -> Share:
    return Share(variance.explained_fractions(h)[0], variance.seed_fractions_left_out(h), cosine, expected)


def equal_cosines(items: int, cosine: float) -> Float[Tensor, "items d"]:
    """Unit rows (items, items + 1), float64, every two of them of the same cosine, from 0 to 1.

    Raises:
        UserError: fewer than two items, or a cosine outside [0, 1].
    """
    if not 0 <= cosine <= 1:
        raise UserError(f"the average cosine must be from 0 to 1, not {cosine}")
    shared = torch.full((as_count(items, "items", least=2), 1), math.sqrt(cosine), dtype=torch.float64)
    return torch.cat([shared, math.sqrt(1 - cosine) * torch.eye(items, dtype=torch.float64)], dim=1)


def one_layer(
    cosine: float, *, relu: bool, bias: bool, seeds: int = 64, items: int = 64, width: int = 128, seed: int = 0
) -> Share:
    """One random layer on unit inputs of equal cosines: the measured share of the initialization.

    Args:
        cosine: of every two inputs, from 0 to 1.
        relu: whether after ReLU, or of the pre-activation.
        bias: whether the layer has one.
        seeds: initializations, at least 3.
        items: inputs, the same for every seed.
        width: of the layer, d_out.
        seed: of the weights; calls with the same one share them (common random numbers).

    Raises:
        UserError: counts that are too small, or a cosine out of range.
    """
    for value, name, least in ((seeds, "seeds", 3), (width, "width", 1)):
        as_count(value, name, least)
    inputs, generator = equal_cosines(items, cosine), np.random.default_rng(as_count(seed, "seed", least=0))
    weights = torch.from_numpy(generator.standard_normal((seeds, inputs.shape[1], width)))
    h = inputs @ weights
    if bias:
        h += torch.from_numpy(generator.standard_normal((seeds, 1, width)))
    return _share(torch.relu(h) if relu else h, cosine, float(seed_share(cosine, relu=relu, bias=bias)))


def by_depth(
    *, layers: int = 25, seeds: int = 64, items: int = 64, width: int = 256, seed: int = 0, device: str = "cpu"
) -> dict[bool, list[Share]]:
    """The share of the initialization in the pre-activations of every layer of random ReLU networks with biases.

    Args:
        layers: how many.
        seeds: networks, at least 3; the weights of the k-th are those of ``cone.draw_layer`` for ``seed + k``.
        items: inputs N(0, I), the same for every network.
        width: of inputs and layers.
        seed: of the inputs, and the first of the networks' seeds.
        device: where the products run.

    Returns:
        True -> one ``Share`` for each layer of networks that put every layer's input on the unit sphere first, as the
        theorem assumes; False -> the same weights without that, as in Figure 2 (b). Theta is the weights of all
        layers up to the one measured. The cosine is the average over the networks; ``expected`` is
        (E[x.x'] + 1) / (E|x|^2 + 1) over the layer's different inputs x, x' as measured: (1 + cosine)/2 on the sphere.

    Raises:
        UserError: counts that are too small, or a network so narrow that a row becomes zero.
    """
    for value, name, least in ((seeds, "seeds", 3), (items, "items", 2), (layers, "layers", 1), (width, "width", 1)):
        as_count(value, name, least)
    inputs = cone.draw_inputs(items, width, seed).to(device).expand(seeds, -1, -1)
    rows, shares = {True: inputs, False: inputs}, {True: [], False: []}
    for layer in range(1, layers + 1):
        drawn = [cone.draw_layer(width, seed + k, layer) for k in range(seeds)]
        weights, biases = (torch.stack(part).to(device) for part in zip(*drawn, strict=True))
        for on_sphere, x in rows.items():
            x = geometry.unit_rows(x.reshape(-1, width)).view(x.shape) if on_sphere else x
            h = torch.baddbmm(biases[:, None], x, weights.transpose(1, 2))
            cosine = math.fsum(geometry.mean_cosine(part) for part in x) / seeds
            shares[on_sphere].append(_share(h, cosine, _expected_share(x)))
            rows[on_sphere] = torch.relu(h)
    return shares


def _expected_share(x: Tensor) -> float:
    """(E[x.x'] + 1) / (E|x|^2 + 1) over the seeds' pairs of different rows, for x (seeds, items, d)."""
    items, rows = x.shape[1], x.double()
    squares = float(rows.square().sum((1, 2)).mean())
    products = (float(rows.sum(1).square().sum(1).mean()) - squares) / (items - 1)
    return (products + items) / (squares + items)
