"""All pair cosines of one modality, summarised block by block: no n x n matrix is ever held.

One pass over the tiles of the upper triangle, each a matrix product, finds the extremes and the moments and fills a
histogram of a guessed range, fine enough for the quartiles and the caller's bins; where a cosine lies outside that, a
second pass with the range now known. A compiled loop reads the tiles, which come from a GPU where the rows are there.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import UserError
from . import _cosine_kernel
from .arrays import Array, as_count, as_matrix, as_tensor, nonzero_norms, result_dtype

FINE_BINS, FINE_PER_BIN = 2**16, 64
"""Least number of fine bins, in all and for each bin of the caller: what quartiles and edges are known to."""

MOST_BINS = 2**16
"""Most bins a caller may ask for, so that the counters stay in memory."""

SAMPLE_ROWS, SAMPLE_MARGIN = 512, 0.3
"""Rows whose cosines guess the range of all, and the share of their range added on both sides."""

TILE_ROWS, TILE_COLUMNS = 512, 2048
"""Shape of a tile: 4 MB of float32, and its operands, stay within a CPU's cache."""

UNIT_COPY_BYTES = 2**25
"""Below this size the unit rows are copied once; above it they are made again for every tile."""


@dataclass(frozen=True)
class CosineStatistics:
    """The cosines of all n(n-1)/2 pairs of different rows.

    Attributes:
        mean, std, min, q25, median, q75, max: floats in [-1, 1]; std divides by the number of pairs.
        histogram: int64 (bins,), the number of unordered pairs in each bin; sums to n(n-1)/2 when the edges span
            the data, as they do unless the caller gave edges.
        edges: float64 (bins + 1,), from min to max, increasing, equally spaced to 2% of a bin: inner edges are moved
            that much so that every count is exact. The last bin includes its right edge, as in numpy.histogram.
        n_pairs: n(n-1)/2.
    """

    mean: float
    std: float
    min: float
    q25: float
    median: float
    q75: float
    max: float
    histogram: Int[np.ndarray, "bins"]
    edges: Float[np.ndarray, "bins_plus_1"]
    n_pairs: int


def cosine_statistics(x: Float[Array, "n d"], bins=100) -> CosineStatistics:
    """Mean, spread, quartiles and histogram of the cosines of all pairs of different rows.

    Args:
        x: float array (n, d), norms from 1e-150 to 1e150: rows are normalised here. Products run in float64 for a
            float64 input, otherwise in float32 on rows less their mean; sums in float64.
        bins: number of equal bins from the smallest to the largest cosine, or an increasing array of edges, which
            makes histograms of several encoders comparable (pairs outside the edges are then not counted).

    Returns:
        CosineStatistics. Quartiles are exact to 1e-3 of max - min, usually to 3e-5.

    Paper: Figure 2 (a). Trap: self-pairs are excluded. Time O(n^2 d), memory O(nd) up to 32 MB of rows and O(1)
    beyond that.
    """
    matrix = as_tensor(as_matrix(x, least_rows=2))
    n_bins, edges = _bins(bins)
    unit = _UnitRows(matrix)
    n_pairs = len(matrix) * (len(matrix) - 1) // 2
    sums, low, high = _sums(unit, max(FINE_BINS, FINE_PER_BIN * n_bins))
    smallest, largest = sums.smallest, sums.largest
    quartiles = np.clip(_quantiles(sums.counts, low, high, (0.25, 0.5, 0.75)), smallest, largest)
    if edges is not None:
        histogram = _histogram_at(unit, edges)
    else:
        edges = np.histogram_bin_edges(np.array([smallest, largest]), n_bins)
        if largest - smallest > 1e-12:
            histogram, edges = _snapped(sums.counts, low, high, edges)
        else:
            histogram = n_pairs * (np.arange(n_bins) == n_bins // 2)
    offset = sums.total / n_pairs
    std = max(sums.squares / n_pairs - offset**2, 0.0) ** 0.5
    mean = unit.mean_cosine() + offset
    return CosineStatistics(mean, std, smallest, *quartiles.tolist(), largest, histogram, edges, n_pairs)


def _bins(bins) -> tuple[int, np.ndarray | None]:
    if np.ndim(bins) == 0:
        count = as_count(bins, "bins")
        if count > MOST_BINS:
            raise UserError(f"bins must be at most {MOST_BINS}, not {count}")
        return count, None
    edges = np.asarray(bins, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise UserError("bins must be a whole number, or at least two finite edges that increase")
    return 1, edges


class _UnitRows:
    """Unit rows less their mean m, by slice: copied once when small, made when asked for when large.

    <u_i, u_j> = <u_i - m, u_j - m> + a_i + a_j with a_i = <u_i, m> - <m, m> / 2. In a narrow cone the product is
    small and the a are nearly all of it, so that a product in float32 keeps the digits in which cosines differ.
    """

    def __init__(self, x: Tensor):
        self.x, self.dtype = x, result_dtype(x)
        self.inverse = (1 / nonzero_norms(x))[:, None]
        small = x.numel() * 4 <= UNIT_COPY_BYTES
        rows = len(x) if small else TILE_COLUMNS
        self.wide = x.new_empty(rows, x.shape[1], dtype=torch.float64)  # the one float64 copy: whole, or of a slice
        spans = [(i, min(i + rows, len(x))) for i in range(0, len(x), rows)]
        self.mean = sum(self._unit(*span).sum(0) for span in spans) / len(x)
        self.offsets = x.new_empty(len(x), dtype=torch.float64)
        for start, stop in spans:
            torch.mv(self._unit(start, stop), self.mean, out=self.offsets[start:stop])
        self.offsets -= self.mean @ self.mean / 2
        self.copy = self._unit(0, len(x)).sub_(self.mean).to(self.dtype) if small else None
        self.wide = None if small else self.wide

    def _unit(self, start: int, stop: int) -> Tensor:
        return torch.mul(self.x[start:stop], self.inverse[start:stop], out=self.wide[: stop - start])

    def mean_cosine(self) -> float:
        """Mean over all pairs from the closed form, about which the moments are taken to keep their digits."""
        n = len(self.x)
        return float((n * (self.mean @ self.mean) - 1) / (n - 1))

    def rows(self, start: int, stop: int, out: Tensor) -> Tensor:
        """Rows of a slice: a view of the copy, or made in ``out`` (at least as many rows), so that no memory churns."""
        if self.copy is not None:
            return self.copy[start:stop]
        return out[: stop - start].copy_(self._unit(start, stop).sub_(self.mean))


class _Tile(NamedTuple):
    """Products (r, c) of centred rows, and what makes cosines of them; a pair of the whole where j - i > diagonal."""

    products: Tensor
    row_offsets: Tensor
    column_offsets: Tensor
    diagonal: int

    def cosines(self) -> Tensor:
        """The cosines of the tile's pairs in float64, in one row."""
        keep = torch.ones(self.products.shape, dtype=torch.bool, device=self.products.device).triu(self.diagonal + 1)
        cosines = self.products.double() + self.row_offsets[:, None] + self.column_offsets
        return cosines[keep].clamp(-1, 1)


def _tiles(unit: _UnitRows):
    """Yields every tile that holds pairs i < j."""
    n = len(unit.x)
    made = {"dtype": unit.dtype, "device": unit.x.device}
    buffer, few = torch.empty(TILE_ROWS * TILE_COLUMNS, **made), torch.empty(TILE_ROWS, unit.x.shape[1], **made)
    many = torch.empty(TILE_COLUMNS, unit.x.shape[1], **made)
    for top in range(0, n, TILE_ROWS):
        rows = unit.rows(top, min(top + TILE_ROWS, n), few)
        for left in range(top, n, TILE_COLUMNS):
            columns = unit.rows(left, min(left + TILE_COLUMNS, n), many)
            products = buffer[: len(rows) * len(columns)].view(len(rows), len(columns))
            torch.mm(rows, columns.T, out=products)
            offsets = unit.offsets[top : top + len(rows)], unit.offsets[left : left + len(columns)]
            yield _Tile(products, *offsets, top - left)


class _Sums(NamedTuple):
    """Of all pairs: extremes, sums of (cosine - pivot) and of its square, counts of equal bins from low to high."""

    smallest: float
    largest: float
    total: float
    squares: float
    counts: Int[np.ndarray, "bins"]


def _pass(unit: _UnitRows, pivot: float, low: float, high: float, bins: int) -> _Sums:
    """One pass over the tiles; values outside [low, high] land in the outermost bins."""
    counts = np.zeros((numba.get_num_threads(), bins), dtype=np.int64)
    scale = bins / (high - low)
    parts = []
    for tile in _tiles(unit):
        arrays = (part.cpu().numpy() for part in tile[:-1])
        parts.append(_cosine_kernel.add_tile(*arrays, tile.diagonal, pivot, low, scale, counts))
    smallest, largest, total, squares = zip(*parts, strict=True)
    return _Sums(min(smallest), max(largest), sum(total), sum(squares), counts.sum(0))


def _guessed_range(x: Tensor) -> tuple[float, float]:
    """A range that all cosines are likely to lie in: that of evenly spaced rows, with a margin."""
    rows = x[:: max(1, len(x) // SAMPLE_ROWS)][:SAMPLE_ROWS]
    some = next(iter(_tiles(_UnitRows(rows)))).cosines()
    low, high = float(some.min()), float(some.max())
    return low - SAMPLE_MARGIN * (high - low), high + SAMPLE_MARGIN * (high - low)


def _sums(unit: _UnitRows, bins: int) -> tuple[_Sums, float, float]:
    """The sums of all pairs with the range of their bins: one pass where the guessed range holds, otherwise two."""
    pivot, (low, high) = unit.mean_cosine(), _guessed_range(unit.x)
    sums = _pass(unit, pivot, low, high, bins) if high > low else _pass(unit, pivot, low - 1, high + 1, bins)
    if high > low and low <= sums.smallest and sums.largest <= high:
        return sums, low, high
    low, high = sums.smallest, max(sums.largest, float(np.nextafter(sums.smallest, 2)))
    return _pass(unit, pivot, low, high, bins), low, high


def _snapped(counts: np.ndarray, low: float, high: float, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coarse histogram whose inner edges are moved to the nearest fine ones, so that its counts are exact."""
    fine = np.linspace(low, high, len(counts) + 1)
    at = np.round((edges[1:-1] - low) * (len(counts) / (high - low))).astype(np.int64)
    below = np.concatenate([[0], np.cumsum(counts)])[at]
    return np.diff(below, prepend=0, append=counts.sum()), np.concatenate([edges[:1], fine[at], edges[-1:]])


def _histogram_at(unit: _UnitRows, edges: np.ndarray) -> np.ndarray:
    """Counts of the pairs between the caller's edges."""
    return sum(np.histogram(tile.cosines().cpu().numpy(), edges)[0] for tile in _tiles(unit))


def _quantiles(counts: np.ndarray, low: float, high: float, at) -> np.ndarray:
    """Quantiles as numpy.quantile defines them, each order statistic known to the width of its bin."""
    reached = np.cumsum(counts)
    rank = np.asarray(at) * (reached[-1] - 1)

    def value(order: np.ndarray) -> np.ndarray:
        index = np.searchsorted(reached, order, side="right")
        inside = (order - reached[index] + counts[index] + 0.5) / counts[index]
        return low + (index + inside) * (high - low) / len(counts)

    below, above = value(np.floor(rank)), value(np.ceil(rank))
    return below + (rank % 1) * (above - below)
