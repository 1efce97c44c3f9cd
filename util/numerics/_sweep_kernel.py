"""The two inner loops of the sweep: sums of exponentials over the rows and columns of a tile of products.

The matched pair is left out of its sums, so that a loss log(1 + sum / matched) keeps its digits however small it is.

``Compiled`` (CPU) works on plain sums of exp(k (c - 1)), which float64 holds without underflow for logit scales k
up to 300, because k (c - 1) >= -600. An exponential is a short polynomial, or the product of two others whose scales
add up to its own. ``Logarithmic`` (CUDA, or any larger k) keeps log-sum-exps instead.
"""

from collections.abc import Iterator
from functools import cache
from itertools import combinations_with_replacement
from typing import NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

LARGEST_PLAIN_SCALE = 300.0
"""Largest logit scale whose exp(-2k) is still a normal float64."""

CHUNK = 256
"""Columns whose exponentials are kept at a time: a dozen rows of them fit a first-level cache."""


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


def choose(device: torch.device, scales: np.ndarray, bias: float | None) -> "Compiled | Logarithmic | Sigmoid":
    """The kernel for a device and these logit scales; with a bias, that of SigLIP's loss."""
    if bias is not None:
        return Sigmoid(bias)
    return Compiled() if device.type == "cpu" and scales.max() <= LARGEST_PLAIN_SCALE else Logarithmic()


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
