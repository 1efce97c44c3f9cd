"""The contrastive loss, InfoNCE or SigLIP's, and the same at every shift and temperature from one product per batch.

A shifted pair's cosine follows from the unshifted one. With p = <x, u>, q = <y, u> and a unit direction u,

    <x - a u, y + b u> = <x, y> + b p - a q - a b,    ||x - a u||^2 = ||x||^2 - 2 a p + a^2,

so the product of a batch is computed once, in float64, and each shift and temperature only costs the exponentials
of its entries. Batches too large to hold are cut into tiles whose sums of exponentials are added up. The matched
pair is left out of its sums, so that a loss log(1 + sum / matched) keeps its digits however small it is.

``Compiled`` (CPU) works on plain sums of exp(k (c - 1)), which float64 holds without underflow for logit scales k
up to 300, because k (c - 1) >= -600. An exponential is a short polynomial, or the product of two others whose scales
add up to its own. ``Logarithmic`` (CUDA, or any larger k) keeps log-sum-exps instead.

Exactly equal rows are one item, and one rule makes the batches (``util.numerics.items.batches``): pairs in order, where
one whose image or text already stands in the batch waits. What cannot fill a last batch is left out, with a warning.
"""

import warnings
from collections.abc import Iterator
from functools import cache
from itertools import combinations_with_replacement, product
from typing import NamedTuple

import numba
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from . import UserError
from .geometry import Side, project, resolve_direction, shifted_norms, side_amounts
from .numerics import items
from .numerics.arrays import Array, Rows, Vector, as_count, as_number, as_numbers, as_tensor, as_unit_pair

LEAST_TEMPERATURE = 1e-9
"""Below it the logits would swallow the digits of the cosines."""
MOST_TEMPERATURE = 10
"""Above it a number is a logit scale, the inverse, and not a temperature."""
TILE = 1024
"""Rows and columns of a product held at a time on a CPU: 8 MB of float64."""
CUDA_TILE = 4096
"""The same on a GPU: 128 MB of float64."""
LARGEST_PLAIN_SCALE = 300.0
"""Largest logit scale whose exp(-2k) is still a normal float64."""
CHUNK = 256
"""Columns whose exponentials are kept at a time: a dozen rows of them fit a first-level cache."""


class SweepLosses(NamedTuple):
    """Losses (shifts, temperatures) in nats: both directions averaged, and the released image-to-text half."""

    symmetric: Float[np.ndarray, "shifts temperatures"]
    released: Float[np.ndarray, "shifts temperatures"]


def contrastive_loss(
    x: Rows,
    y: Rows,
    temperature: float,
    batch: int | None = None,
    released: bool = False,
    *,
    bias: float | None = None,
    consecutive: bool = False,
) -> float:
    """Symmetric InfoNCE: cross-entropy of the matched pair among a batch, both ways, averaged; in nats.

    Args:
        x, y: unit-norm rows, images and texts in the paper; row i of one pairs with row i of the other.
        temperature: tau from 1e-9 to 10; cosines are divided by it (CLIP ends at 1/100, a logit scale of 100).
        batch: pairs per batch, in order and not shuffled; an incomplete last batch is dropped, as in the released
            code, and said in a warning. None: one batch. No batch holds equal rows: see the module.
        released: only image-to-text, as the released notebook computes (it transposes the text logits twice).
        bias: b of SigLIP's loss, in place of InfoNCE: -log sigmoid(z (cos / tau + b)) summed over all pairs of a batch
            and divided by its size, z = 1 where matched and else -1 (SigLIP ends at about 1/tau = 113, b = -16.5).
        consecutive: batches as released, of neighbours, also where these are equal: false negatives. Nothing is said.

    The mean over batches, >= 0, comes back: log(batch) when every cosine of a batch is equal. Paper: equation 1 and
    Figure 3. SigLIP's: Zhai et al. (2023), equation 1; its two directions are one. Trap: compare at one batch size.
    """
    tau = as_number(temperature, "temperature")
    losses = sweep_both(x, y, 0.0, tau, batch, bias=bias, consecutive=consecutive, renormalise=False)
    return float(losses[int(released)][0, 0])


def sweep(
    x: Rows, y: Rows, shifts, temperatures, batch: int | None = None, released: bool = False, **options
) -> Float[Array, "shifts temperatures"]:
    """``contrastive_loss`` of ``geometry.shift``-ed embeddings at every shift and temperature, float64 (s, t).

    Args as there, options as of ``sweep_both``. Temperatures are 1 / logit scale where there is a bias. The gap vector
    is that of all rows, before batches are cut. Equal to a direct float64 computation to 1e-5 relative or better.

    Paper: Figure 3 (b-d). Time: one product per batch and s * t exponentials of its entries, fewer where logit
    scales are sums of others. Memory: one tile of the product, and 16 bytes for each shift, temperature and pair.
    """
    losses = sweep_both(x, y, shifts, temperatures, batch, **options)[int(released)]
    return torch.as_tensor(losses, device=x.device) if isinstance(x, Tensor) else losses


def sweep_both(
    x: Rows,
    y: Rows,
    shifts,
    temperatures,
    batch: int | None = None,
    *,
    direction: Vector | None = None,
    side: Side = "both",
    bias: float | None = None,
    consecutive: bool = False,
    renormalise: bool = True,
) -> SweepLosses:
    """``sweep`` with the symmetric and the released loss from one pass, as numpy arrays.

    Without ``renormalise`` shifted rows are not put back on the sphere.
    """
    a, b = map(as_tensor, as_unit_pair(x, y))
    if len(a) != len(b):
        raise UserError(f"the loss needs pairs; x has {len(a)} rows and y {len(b)}")
    amounts = torch.as_tensor(as_numbers(shifts, "shifts"), device=a.device)
    temperatures = as_numbers(temperatures, "temperatures")
    if (temperatures < LEAST_TEMPERATURE).any():
        least = f"above 0, at least {LEAST_TEMPERATURE:g}"
        raise UserError(f"temperature must be {least} (CLIP's is 0.01, not 100), not {temperatures.min():g}")
    if (most := temperatures.max()) > MOST_TEMPERATURE:
        said = f"a logit scale? say --temperatures {1 / most:.4g}"
        raise UserError(f"temperature must be at most {MOST_TEMPERATURE}, not {most:g}: {said}")
    scales = 1 / temperatures
    plain = a.device.type == "cpu" and scales.max() <= LARGEST_PLAIN_SCALE
    kernel = Compiled() if plain else Logarithmic()
    if bias is not None:
        kernel = Sigmoid(as_number(bias, "bias"))
    moving = direction is not None or bool((amounts != 0).any())
    unit = resolve_direction(a, b, direction) if moving else torch.zeros(a.shape[1], dtype=torch.float64).to(a.device)
    moves = unit, *side_amounts(amounts, side), renormalise
    n = len(a)
    if batch is not None and as_count(batch, "batch") > n:
        raise UserError(f"batch must be at most the number of pairs, {n}, not {batch}")
    rows = items.consecutive(n, batch or n) if consecutive else items.batches(a, b, batch)
    if rows.size < n and not consecutive:
        warnings.warn(f"the loss is of {rows.size} of {n} pairs, in batches of {rows.shape[1]}", stacklevel=2)
    order, size = torch.from_numpy(rows.ravel()).to(a.device), rows.shape[1]
    a, b = a[order], b[order]
    group = size * max(1, TILE // size)
    spans = [slice(first, first + group) for first in range(0, len(a), group)]
    to_text, to_image = sum(_group_losses(a[span], b[span], moves, scales, size, kernel) for span in spans) / len(a)
    return SweepLosses(symmetric=(to_text + to_image) / 2, released=to_text)


def _group_losses(x: Tensor, y: Tensor, moves: tuple, scales: np.ndarray, size: int, kernel) -> np.ndarray:
    """Summed losses (2, s, t) of a few whole batches, image-to-text and text-to-image.

    ``moves``: unit direction (d,), amounts (s,) against and along it, and whether rows are put back on the sphere.
    """
    unit, against, along, renormalise = moves
    p, q = project(x, unit), project(y, unit)
    norms_x, norms_y = shifted_norms(x, unit, p, -against), shifted_norms(y, unit, q, along)
    if not renormalise:
        norms_x = norms_y = torch.ones_like(norms_x)
    shape = 2, len(scales), len(against), len(x)
    sums = torch.full(shape, kernel.empty, dtype=torch.float64, device=x.device)
    tile, g = TILE if x.device.type == "cpu" else CUDA_TILE, len(x) // size  # g is 1 where a batch exceeds a tile
    images, texts = (part.view(g, size, -1) for part in (x, y))
    for top, left in product(range(0, size, tile), repeat=2):  # g batches at once, or one tile of one batch
        products = images[:, top : top + tile].double() @ texts[:, left : left + tile].double().mT
        rows, columns = (slice(first, g * min(first + tile, size)) for first in (top, left))
        inverses = 1 / norms_x[:, rows], 1 / norms_y[:, columns]
        part = Tile(products, p[rows], q[columns], against, along, *inverses, top - left)
        kernel.add(part, scales, sums, rows, columns)
    matched = torch.cat([(x[i : i + TILE].double() * y[i : i + TILE].double()).sum(1) for i in range(0, len(x), TILE)])
    a, b = against[:, None], along[:, None]
    cosines = (matched + b * p - a * q - a * b) / (norms_x * norms_y)
    return kernel.losses(sums, cosines - 1, scales)


class Tile(NamedTuple):
    """Products of some rows with some columns, and what turns them into the cosines after each shift."""

    products: Tensor  # (g, r, c) float64
    row_projections: Tensor  # (g * r,)
    column_projections: Tensor  # (g * c,)
    against: Tensor  # (s,) amount by which the rows move against the direction
    along: Tensor  # (s,) amount by which the columns move along it
    row_inverse_norms: Tensor  # (s, g * r)
    column_inverse_norms: Tensor  # (s, g * c)
    diagonal: int  # the matched column of row i is i + diagonal, if the tile has it


class Compiled:
    """Plain sums in a compiled loop, one thread per shift."""

    empty = 0.0

    def add(self, tile: Tile, scales: np.ndarray, sums: Tensor, rows: slice, columns: slice) -> None:
        """Adds a tile's exponentials to sums (2, t, s, n) in place."""
        arrays = Tile(*(part.contiguous().numpy() for part in tile[:-1]), tile.diagonal)
        to_text, to_image = sums.numpy()
        _add_exponentials(arrays, scales, *_plan(tuple(scales)), to_text[:, :, rows], to_image[:, :, columns])

    def losses(self, sums: Tensor, matched: Tensor, scales: np.ndarray) -> np.ndarray:
        """Losses summed over the rows, (2, s, t), from the sums and the matched cosines minus 1 (s, n)."""
        plain = sums.numpy()
        for t, scale in enumerate(scales):
            plain[:, t] /= np.exp(scale * matched.numpy())
        return np.log1p(plain, out=plain).sum(-1).transpose(0, 2, 1)


class Logarithmic:
    """Log-sum-exps with torch, one shift and temperature at a time."""

    empty = -torch.inf

    def add(self, tile: Tile, scales: np.ndarray, sums: Tensor, rows: slice, columns: slice) -> None:
        """Adds a tile's exponentials to the log-sum-exps (2, t, s, n) in place."""
        for s, t, logits in _unmatched(tile, scales, -scales):
            for half, axis, where in ((0, 2, rows), (1, 1, columns)):
                total = sums[half, t, s, where]
                torch.logaddexp(total, torch.logsumexp(logits, axis).flatten(), out=total)

    def losses(self, sums: Tensor, matched: Tensor, scales: np.ndarray) -> np.ndarray:
        """Losses summed over the rows, (2, s, t), from the log-sum-exps and the matched cosines minus 1 (s, n)."""
        against_matched = sums - matched * torch.as_tensor(scales, device=sums.device)[:, None, None]
        return torch.logaddexp(against_matched, torch.zeros_like(sums)).sum(-1).transpose(1, 2).cpu().numpy()


class Sigmoid:
    """Sums of log(1 + exp(k c + bias)) over the pairs that do not match, for SigLIP's loss, on any device."""

    empty = 0.0

    def __init__(self, bias: float):
        self.bias = bias

    def add(self, tile: Tile, scales: np.ndarray, sums: Tensor, rows: slice, columns: slice) -> None:
        """Adds a tile's terms to sums (2, t, s, n) in place: to the first half, for both directions are one."""
        for s, t, logits in _unmatched(tile, scales, np.full_like(scales, self.bias)):
            sums[0, t, s, rows] += torch.logaddexp(logits, logits.new_zeros(())).sum(2).flatten()

    def losses(self, sums: Tensor, matched: Tensor, scales: np.ndarray) -> np.ndarray:
        """Losses summed over the rows, (2, s, t), twice the same, from the sums and the matched cosines minus 1."""
        logits = (matched + 1) * torch.as_tensor(scales, device=sums.device)[:, None, None] + self.bias
        whole = (sums[0] + torch.logaddexp(-logits, logits.new_zeros(()))).sum(-1).T.cpu().numpy()
        return np.stack([whole, whole])


def _unmatched(tile: Tile, scales: np.ndarray, biases: np.ndarray) -> Iterator[tuple[int, int, Tensor]]:
    """Yields (s, t, scale_t cosine + bias_t after shift s (g, r, c)), -inf for the matched pairs."""
    g, r, c = tile.products.shape
    p, q = tile.row_projections.view(g, r, 1), tile.column_projections.view(g, 1, c)
    for s, (a, b) in enumerate(zip(tile.against, tile.along, strict=True)):
        inverse_norms = tile.row_inverse_norms[s].view(g, r, 1) * tile.column_inverse_norms[s].view(g, 1, c)
        cosines = (tile.products + (b * p - a * b) - a * q) * inverse_norms
        cosines.diagonal(tile.diagonal, 1, 2).fill_(-torch.inf)
        for t, (scale, bias) in enumerate(zip(scales, biases, strict=True)):
            yield s, t, cosines * scale + bias


@cache
def _plan(scales: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Logit scales in ascending order (t,), and the two (t, 2) whose sum each is, or -1: exp(a z) exp(b z)."""
    order, parts = np.argsort(scales), np.full((len(scales), 2), -1)
    for k, t in enumerate(order):
        for a, b in combinations_with_replacement(order[:k], 2):
            if abs(scales[a] + scales[b] - scales[t]) <= 1e-12 * scales[t]:
                parts[t] = a, b
    return order, parts


@numba.njit(parallel=True, cache=True)
def _add_exponentials(tile, scales, order, parts, row_sums, column_sums):
    """Adds exp(k (cosine - 1)) of the unmatched pairs to row_sums (t, s, g*r) and column_sums (t, s, g*c)."""
    for s in numba.prange(len(tile.against)):
        _add_one_shift(tile, s, scales, order, parts, row_sums[:, s], column_sums[:, s])


@numba.njit(fastmath=True, cache=True)
def _add_one_shift(tile, s, scales, order, parts, row_sums, column_sums):
    moved = tile.against[s] * tile.column_projections
    offsets = tile.along[s] * tile.row_projections - tile.against[s] * tile.along[s]
    row_inverse, column_inverse = tile.row_inverse_norms[s], tile.column_inverse_norms[s]
    groups, rows, columns = tile.products.shape
    cosines, values, totals = np.empty(CHUNK), np.empty((len(scales), CHUNK)), np.empty((len(scales), CHUNK))
    for g in range(groups):
        for left in range(0, columns, CHUNK):
            width, first = min(CHUNK, columns - left), g * columns + left
            # Slices, because an index that is a sum could be negative, and that check would keep the loop scalar.
            move, shrink = moved[first : first + width], column_inverse[first : first + width]
            totals[:] = 0.0
            for i in range(rows):
                row = g * rows + i
                offset, inverse, line = offsets[row], row_inverse[row], tile.products[g, i, left : left + width]
                for j in range(width):
                    cosines[j] = (line[j] + offset - move[j]) * inverse * shrink[j]
                _fill(values, cosines, scales, order, parts, width)
                matched = i + tile.diagonal - left
                for t in range(len(scales)):
                    if 0 <= matched < width:
                        values[t, matched] = 0.0
                    total = 0.0
                    for j in range(width):
                        total += values[t, j]
                        totals[t, j] += values[t, j]
                    row_sums[t, row] += total
            column_sums[:, first : first + width] += totals[:, :width]


@numba.njit(fastmath=True, inline="always")
def _fill(values, cosines, scales, order, parts, width):
    """values[t, j] = exp(k_t (cosine_j - 1)), a product of two earlier ones where the logit scale k_t is their sum.

    exp(k c) = P(k c / 2^h)^(2^h), with h such that P, Taylor's polynomial of degree 9, is only asked for |argument|
    <= 1/4, where its relative error is below 3e-13; squaring makes that 1e-9 at most.
    """
    for t in order:
        a, b = parts[t]
        if a >= 0:
            for j in range(width):
                values[t, j] = values[a, j] * values[b, j]
            continue
        halvings = 0
        while scales[t] > 0.25 * 2.0**halvings:
            halvings += 1
        scale, shrink = scales[t] / 2.0**halvings, np.exp(-scales[t] / 2.0**halvings)
        for j in range(width):
            w = cosines[j] * scale
            high = 1 / 5040 + w * (1 / 40320 + w * (1 / 362880))
            middle = 1 / 24 + w * (1 / 120 + w * (1 / 720 + w * high))
            values[t, j] = (1 + w * (1 + w * (1 / 2 + w * (1 / 6 + w * middle)))) * shrink
        for _ in range(halvings):
            for j in range(width):
                values[t, j] *= values[t, j]
