"""The compiled loop of theorem 1: cosines after a ReLU layer from pairs of normals, at every width in one pass."""

import math

import numba
import numpy as np

SMALLEST = 8
"""Smallest width; the others are its doublings."""

NEVER_ZERO = 1e-300


@numba.njit(parallel=True, cache=True)
def add_outcomes(first, second, correlations, cosines, limits, raised, sums, squares):
    """Adds the outcomes of some trials at every width 8, 16, ... 8 * blocks to (cells, widths) arrays, in place.

    Args:
        first, second: (trials, 8, blocks) independent normals, blocks a power of two; those of width 8 * 2**w are the
            columns j, j + blocks / 2**w, ... of both.
        correlations, cosines, limits: (cells,) of the pre-activations, before the layer, and after an infinite one.
        raised: counts of cosines after the layer above the one before; an all-zero output is none of them.
        sums, squares: of the cosine after the layer less its limit and less its linear part, which has mean zero.
    """
    for cell in numba.prange(len(correlations)):
        for trial in range(len(first)):
            _add_one(
                first[trial],
                second[trial],
                correlations[cell],
                cosines[cell],
                limits[cell],
                raised[cell],
                sums[cell],
                squares[cell],
            )


@numba.njit(fastmath=True, cache=True)
def _add_one(first, second, correlation, cosine, limit, raised, sums, squares):
    blocks, other = first.shape[1], math.sqrt(1.0 - correlation * correlation)
    xx, yy, xy = np.zeros(blocks), np.zeros(blocks), np.zeros(blocks)
    for i in range(SMALLEST):
        for j in range(blocks):
            z = np.float64(first[i, j])
            x, y = max(z, 0.0), max(correlation * z + other * np.float64(second[i, j]), 0.0)
            xx[j] += x * x
            yy[j] += y * y
            xy[j] += x * y
    width, count = SMALLEST, blocks
    for level in range(len(raised)):
        above, total, square = 0, 0.0, 0.0
        for j in range(count):
            product = math.sqrt(xx[j] * yy[j])
            above += np.int64(xy[j] > cosine * product)  # 0 > 0 where an output is all zero
            linear = (2.0 * xy[j] - limit * (xx[j] + yy[j])) / width
            rest = xy[j] / max(product, NEVER_ZERO) - limit - linear
            total += rest
            square += rest * rest
        raised[level] += above
        sums[level] += total
        squares[level] += square
        width, count = 2 * width, count // 2
        for j in range(count):
            xx[j] += xx[count + j]
            yy[j] += yy[count + j]
            xy[j] += xy[count + j]
