"""The inner loop over a tile of products: how many cosines come before one of them, after each shift."""

import numba
import numpy as np

TIE = 1e-12
"""Cosines closer than this are one cosine, for the same two rows give products that differ in their last digits from
one place of a matrix product to another. Far above a float64 product's rounding, far below any real difference."""


@numba.njit(parallel=True, cache=True)
def before(products, row_offsets, column_offsets, row_inverse_norms, column_inverse_norms, best, first):
    """Columns whose cosine is higher than ``best`` (k, r), or equal and left of column ``first`` (k, r): int32 (k, r).

    ``products`` (r, c) are float64, and -inf where a column does not count. Offsets and inverse norms (k, r) and (k, c)
    are what the shifts add to them and multiply them by.
    """
    found = np.zeros(best.shape, np.int32)
    columns = products.shape[1]
    for s in numba.prange(len(best)):
        offsets, inverse_norms = column_offsets[s], column_inverse_norms[s]
        for i in range(len(products)):
            middle = min(max(first[s, i], 0), columns)
            for left, right, least in ((0, middle, best[s, i] - TIE), (middle, columns, best[s, i] + TIE)):
                found[s, i] += _higher(
                    products[i, left:right],
                    row_offsets[s, i],
                    offsets[left:right],
                    inverse_norms[left:right],
                    least / row_inverse_norms[s, i],
                )
    return found


@numba.njit(fastmath={"nnan", "nsz"}, cache=True)
def _higher(line, offset, offsets, inverse_norms, least):
    count = 0
    for j in range(len(line)):
        count += 1 if (line[j] + offset + offsets[j]) * inverse_norms[j] > least else 0
    return count
