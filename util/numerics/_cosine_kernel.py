"""The compiled loops over a tile of cosines, products + row offset + column offset, the part above the diagonal."""

import numba
import numpy as np


@numba.njit(parallel=True, cache=True)
def add_tile(products, row_offsets, column_offsets, diagonal, pivot, low, scale, counts):
    """Reads the entries with j - i > diagonal, a thread for each row of counts (parts, bins), and counts them there.

    Returns smallest and largest cosine, sums of (cosine - pivot) and of its square.
    """
    rows, columns = products.shape
    parts = len(counts)
    results = np.empty((parts, 4))
    for part in numba.prange(parts):
        smallest, largest, total, squares = 2.0, -2.0, 0.0, 0.0
        for i in range(part, rows, parts):
            first = min(max(0, i + diagonal + 1), columns)
            line, offsets = products[i, first:], column_offsets[first:]
            one, two, three, four = _moments(line, row_offsets[i], offsets, pivot)
            smallest, largest, total, squares = min(smallest, one), max(largest, two), total + three, squares + four
            _count(line, row_offsets[i] - low, offsets, scale, counts[part])
        results[part, 0], results[part, 1] = max(smallest, -1.0), min(largest, 1.0)
        results[part, 2], results[part, 3] = total, squares
    return results[:, 0].min(), results[:, 1].max(), results[:, 2].sum(), results[:, 3].sum()


@numba.njit(fastmath=True, cache=True)
def _moments(line, offset, offsets, pivot):
    smallest, largest, total, squares = 2.0, -2.0, 0.0, 0.0
    for j in range(len(line)):
        value = np.float64(line[j]) + offset + offsets[j]
        smallest, largest = min(smallest, value), max(largest, value)
        centred = value - pivot
        total += centred
        squares += centred * centred
    return smallest, largest, total, squares


@numba.njit(cache=True)
def _count(line, offset, offsets, scale, counts):
    last = len(counts) - 1
    for j in range(len(line)):
        index = np.int64((np.float64(line[j]) + offset + offsets[j]) * scale)
        counts[min(max(index, 0), last)] += 1
