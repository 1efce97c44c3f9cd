"""The inner loops over a tile of products: cosines after each shift, ordered against one of them.

Cosines within ``TIE`` of each other are equal, because the same two rows give products that differ in their last
digits from one place of a matrix product to another; of equal ones the lower index comes first.
"""

from typing import NamedTuple

import numba
import numpy as np
from torch import Tensor

TIE = 1e-12
"""Cosines closer than this are one cosine: far above a float64 product's rounding, far below any real difference."""


class Tile(NamedTuple):
    """Products of some rows with some columns, and what turns them into the cosines after each shift."""

    products: Tensor  # (r, c) float64
    row_offsets: Tensor  # (k, r) added to the products
    column_offsets: Tensor  # (k, c) taken from them
    row_inverse_norms: Tensor  # (k, r)
    column_inverse_norms: Tensor  # (k, c)


class Own(NamedTuple):
    """The pairs that belong together, as the counts of a tile need them."""

    best: Tensor  # (k, r) highest cosine of a row with a column of its own
    first: Tensor  # (k, r) int64 the column, counted from the tile's first, which has it
    column_best: Tensor  # (k, c) highest cosine of a column with a row of its own
    column_first: Tensor  # (k, c) int64 the row, counted from the tile's first, which has it


def classify(tile: Tile, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class of the highest cosine, and the number of classes before the true one, both int32 (k, r)."""
    predicted, ranks = np.empty((2, *tile.row_offsets.shape), np.int32)
    _classify(_as_arrays(tile), labels, predicted, ranks)
    return predicted, ranks


def count(tile: Tile, own: Own) -> tuple[np.ndarray, np.ndarray]:
    """Columns before each row's best own one (k, r), and rows before each column's (k, c), as int32 counts.

    The products of pairs that belong together are -inf.
    """
    by_row, by_column = (np.zeros(each.shape, np.int32) for each in (tile.row_offsets, tile.column_offsets))
    _count(_as_arrays(tile), _as_arrays(own), by_row, by_column)
    return by_row, by_column


def _as_arrays(parts: NamedTuple) -> NamedTuple:
    return type(parts)(*(part.contiguous().numpy() for part in parts))


@numba.njit(parallel=True, cache=True)
def _classify(tile, labels, predicted, ranks):
    for i in numba.prange(len(tile.products)):
        cosines = np.empty(tile.products.shape[1])
        for s in range(len(predicted)):
            offset, inverse = tile.row_offsets[s, i], tile.row_inverse_norms[s, i]
            offsets, inverses = tile.column_offsets[s], tile.column_inverse_norms[s]
            best = _cosines(tile.products[i], offset, offsets, inverse, inverses, cosines)
            own, first = cosines[labels[i]], 0
            before, after = cosines[: labels[i]], cosines[labels[i] + 1 :]
            ranks[s, i] = _above(before, own - TIE) + _above(after, own + TIE)
            while cosines[first] < best - TIE:
                first += 1
            predicted[s, i] = first


@numba.njit(fastmath={"nnan", "nsz"}, cache=True)
def _cosines(line, offset, offsets, inverse, inverses, cosines):
    """Writes the cosines of a row, and gives the highest."""
    best = -np.inf
    for j in range(len(line)):
        cosines[j] = (line[j] + offset - offsets[j]) * (inverse * inverses[j])
        best = cosines[j] if cosines[j] > best else best
    return best


@numba.njit(fastmath={"nnan", "nsz"}, cache=True)
def _above(cosines, least):
    count = 0
    for j in range(len(cosines)):
        count += 1 if cosines[j] > least else 0
    return count


@numba.njit(parallel=True, cache=True)
def _count(tile, own, by_row, by_column):
    for s in numba.prange(len(by_row)):
        _count_shift(tile, own, s, by_row[s], by_column[s])


@numba.njit(cache=True)
def _count_shift(tile, own, s, by_row, by_column):
    """Adds to by_row (r,) and by_column (c,) what comes before the own ones at shift s."""
    columns = len(by_column)
    counts = np.zeros(columns, np.int64)  # as wide as a float64, so that the loop takes several columns at once
    for i in range(len(tile.products)):
        middle, best = min(max(own.first[s, i], 0), columns), own.best[s, i]
        for left, right, least in ((0, middle, best - TIE), (middle, columns, best + TIE)):
            by_row[i] += _count_line(
                tile.products[i, left:right],
                tile.row_offsets[s, i],
                tile.column_offsets[s, left:right],
                tile.row_inverse_norms[s, i],
                tile.column_inverse_norms[s, left:right],
                least,
                own.column_best[s, left:right],
                own.column_first[s, left:right],
                i,
                counts[left:right],
            )
    by_column += counts


@numba.njit(fastmath={"nnan", "nsz"}, cache=True)
def _count_line(line, offset, offsets, inverse, inverses, least, own, own_first, i, counts):
    """Number of cosines above ``least``; adds to counts (c,) whether row i comes before the columns' best own."""
    before = 0
    for j in range(len(line)):
        cosine = (line[j] + offset - offsets[j]) * (inverse * inverses[j])
        before += 1 if cosine > least else 0
        counts[j] += 1 if cosine > own[j] + (TIE if i > own_first[j] else -TIE) else 0
    return before
