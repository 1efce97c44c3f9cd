"""The compiled loop of theorem 1: cosines after a ReLU layer from pairs of normals, at every width in one pass."""

import math

import numba
import numpy as np

SMALLEST = 8
"""Smallest width; the others are its doublings."""


@numba.njit(parallel=True, cache=True)
def count_raised(first, second, correlations, cosines, raised):
    """Counts the trials that raise the cosine at every width 8, 16, ... 8 * blocks, in place.

    Args:
        first, second: (trials, 8, blocks) independent normals, blocks a power of two; those of width 8 * 2**w are the
            columns j, j + blocks / 2**w, ... of both.
        correlations, cosines: (cells,) of the pre-activations, and before the layer.
        raised: (cells, widths) to add to; an all-zero output is not raised.
    """
    for cell in numba.prange(len(correlations)):
        for trial in range(len(first)):
            _count_one(first[trial], second[trial], correlations[cell], cosines[cell], raised[cell])


@numba.njit(fastmath=True, cache=True)
def _count_one(first, second, correlation, cosine, raised):
    count, other = first.shape[1], math.sqrt(1.0 - correlation * correlation)
    xx, yy, xy = np.zeros(count), np.zeros(count), np.zeros(count)
    for i in range(SMALLEST):
        for j in range(count):
            z = np.float64(first[i, j])
            x, y = max(z, 0.0), max(correlation * z + other * np.float64(second[i, j]), 0.0)
            xx[j] += x * x
            yy[j] += y * y
            xy[j] += x * y
    for level in range(len(raised)):
        for j in range(count):
            raised[level] += np.int64(xy[j] > cosine * math.sqrt(xx[j] * yy[j]))  # 0 > 0 where an output is all zero
        count //= 2
        for j in range(count):
            xx[j] += xx[count + j]
            yy[j] += yy[count + j]
            xy[j] += xy[count + j]
