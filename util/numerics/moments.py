"""Sums over the rows of embeddings: all that the gap, the cone and the relative gap need.

They can be taken over a memory-mapped file of any length, a block of rows at a time. Rows count by their direction
alone: each is divided by its norm.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..errors import UserError
from .arrays import Array, as_rows, blocks, nonzero_norms, rows_shape, to_numpy, wide

ALL_ONE = 1e-12
"""Sum of distances (1 - cosine)/2 below which all rows count as one: what is left is rounding."""


@dataclass(frozen=True)
class Moments:
    """Sums over one modality's unit-norm rows.

    Attributes:
        n: how many rows.
        total: float64 (d,), the sum of the unit rows.
        shortest, longest: the least and the largest norm before normalisation.
    """

    n: int
    total: Float[np.ndarray, "d"]
    shortest: float
    longest: float

    @property
    def centroid(self) -> Float[np.ndarray, "d"]:
        """Mean of the unit rows, float64 (d,), itself not normalised."""
        return self.total / self.n

    @property
    def mean_cosine(self) -> float:
        """Mean cosine over all pairs of different rows, in [-1/(n-1), 1]: (||total||^2 - n) / (n (n - 1))."""
        if self.n < 2:
            raise UserError(f"a mean cosine needs two rows or more, not {self.n}")
        return math.fsum([float(self.total @ self.total), -self.n]) / (self.n * (self.n - 1))


def moments(x: Float[Array, "n d"], name: str = "x") -> Moments:
    """Moments of one modality (n, d), memory-mapped or not, norms from 1e-150 to 1e150; in the memory of one block."""
    (n, d), ends = rows_shape(x, name), []
    total = np.zeros(d)
    for start, block in blocks(x):
        unit, norms = _unit(as_rows(block, name), name, start, x)
        total += to_numpy(unit.sum(0))
        ends += float(norms.min()), float(norms.max())
    return Moments(n, total, min(ends), max(ends))


def _unit(rows: Array, name: str = "x", start: int = 0, whole: Array | None = None) -> tuple[Array, Array]:
    """Rows made unit, and the norms they had, in float64."""
    norms = nonzero_norms(rows, name, start, whole)
    return wide(rows) / norms[:, None], norms
