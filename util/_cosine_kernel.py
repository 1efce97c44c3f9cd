"""The compiled loops over a tile of cosines, products + row offset + column offset, the part above the diagonal."""

import numba
import numpy as np


@numba.njit(parallel=True, fastmath=True, cache=True)
def tile_moments(products, row_offsets, column_offsets, diagonal, pivot):
    """Smallest and largest cosine, sums of (cosine - pivot) and its square, over entries with j - i > diagonal."""
    rows, columns = products.shape
    lows, highs = np.full(rows, np.inf), np.full(rows, -np.inf)
    sums, squares = np.zeros(rows), np.zeros(rows)
    for i in numba.prange(rows):
        first = min(max(0, i + diagonal + 1), columns)
        line, offsets, offset = products[i, first:], column_offsets[first:], row_offsets[i]
        low, high, total, square = 2.0, -2.0, 0.0, 0.0
        for j in range(len(line)):
            value = np.float64(line[j]) + offset + offsets[j]
            low, high = min(low, value), max(high, value)
            centred = value - pivot
            total += centred
            square += centred * centred
        lows[i], highs[i], sums[i], squares[i] = max(low, -1.0), min(high, 1.0), total, square
    return lows.min(), highs.max(), sums.sum(), squares.sum()


@numba.njit(parallel=True, cache=True)
def tile_histogram(products, row_offsets, column_offsets, diagonal, low, scale, counts):
    """Adds the entries with j - i > diagonal to counts (parts, bins), one part for each thread."""
    rows, columns = products.shape
    parts, bins = counts.shape
    for part in numba.prange(parts):
        for i in range(part, rows, parts):
            first = min(max(0, i + diagonal + 1), columns)
            line, offsets, offset = products[i, first:], column_offsets[first:], row_offsets[i] - low
            for j in range(len(line)):
                index = np.int64((np.float64(line[j]) + offset + offsets[j]) * scale)
                counts[part, min(max(index, 0), bins - 1)] += 1
