"""The compiled loops over a tile of cosines, the part above the diagonal."""

import numba
import numpy as np


@numba.njit(parallel=True, fastmath=True, cache=True)
def tile_moments(tile, offset, pivot):
    """Smallest and largest cosine, sums of (cosine - pivot) and its square, over entries with j - i > offset."""
    rows, columns = tile.shape
    lows, highs = np.full(rows, np.inf), np.full(rows, -np.inf)
    sums, squares = np.zeros(rows), np.zeros(rows)
    for i in numba.prange(rows):
        low, high, total, square = 2.0, -2.0, 0.0, 0.0
        for j in range(max(0, i + offset + 1), columns):
            value = np.float64(tile[i, j])
            low, high = min(low, value), max(high, value)
            total += value - pivot
            square += (value - pivot) ** 2
        lows[i], highs[i], sums[i], squares[i] = max(low, -1.0), min(high, 1.0), total, square
    return lows.min(), highs.max(), sums.sum(), squares.sum()


@numba.njit(parallel=True, cache=True)
def tile_histogram(tile, offset, low, scale, counts):
    """Adds the entries with j - i > offset to counts (parts, bins), one part for each thread."""
    rows, columns = tile.shape
    parts, bins = counts.shape
    for part in numba.prange(parts):
        for i in range(part, rows, parts):
            for j in range(max(0, i + offset + 1), columns):
                index = np.int64((np.float64(tile[i, j]) - low) * scale)
                counts[part, min(max(index, 0), bins - 1)] += 1
