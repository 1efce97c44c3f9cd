"""Sums over the rows of embeddings: all that the gap, the cone and the relative gap need.

They can be taken over a memory-mapped file of any length, a block of rows at a time. Rows count by their direction
alone: each is divided by its norm.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

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


@dataclass(frozen=True)
class PairMoments:
    """Sums over two modalities and the pairs between them.

    Attributes:
        first, last: moments of each modality, rows counted once however many pairs they are in.
        pairs: how many pairs.
        matched: the sum of the cosines of the pairs; 0 where there are none.
    """

    first: Moments
    last: Moments
    pairs: int
    matched: float

    @property
    def gap_distance(self) -> float:
        """Euclidean distance between the centroids of the unit rows, in [0, 2]."""
        return float(np.linalg.norm(self.first.centroid - self.last.centroid))

    @property
    def matched_cosine(self) -> float | None:
        """Mean cosine of the pairs, in [-1, 1]; None where nothing is paired."""
        return self.matched / self.pairs if self.pairs else None

    @property
    def relative_gap(self) -> float | None:
        """``util.geometry.relative_gap`` of the pairs; None where nothing is paired, or all rows are one."""
        if not self.pairs:
            return None
        cosines = self.matched_cosine, self.first.mean_cosine, self.last.mean_cosine
        apart, *within = (max(0.0, (1 - cosine) / 2) for cosine in cosines)
        whole = apart + sum(within) / 2
        return apart / whole if whole > ALL_ONE else None


def moments(x: Float[Array, "n d"], name: str = "x") -> Moments:
    """Moments of one modality (n, d), memory-mapped or not, norms from 1e-150 to 1e150; in the memory of one block."""
    (n, d), ends = rows_shape(x, name), []
    total = np.zeros(d)
    for start, block in blocks(x):
        unit, norms = _unit(as_rows(block, name), name, start, x)
        total += to_numpy(unit.sum(0))
        ends += float(norms.min()), float(norms.max())
    return Moments(n, total, min(ends), max(ends))


def pair_moments(
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    pairs: Int[np.ndarray, "p 2"] | None = None,
    names: tuple[str, str] = ("x", "y"),
) -> PairMoments:
    """Moments of two modalities and of their pairs.

    Args:
        x, y: arrays (n, d) and (m, d), memory-mapped or not.
        pairs: row numbers that belong together; None: nothing is paired. They cost a second pass over their rows.
        names: what to call the two in an error.
    """
    (n, d), (m, width) = (rows_shape(part, name) for part, name in zip((x, y), names, strict=True))
    if d != width:
        raise UserError(f"{names[0]} and {names[1]} must be of one width; they are {(n, d)} and {(m, width)}")
    first, last = moments(x, names[0]), moments(y, names[1])  # refuses bad rows by their own numbers
    pairs, sums = np.empty((0, 2), np.int64) if pairs is None else pairs, []
    for _, some in blocks(pairs):
        both = (to_numpy(_unit(as_rows(part[rows]))[0]) for part, rows in zip((x, y), some.T, strict=True))
        sums.append(float(np.einsum("ij,ij->", *both)))
    return PairMoments(first, last, len(pairs), math.fsum(sums))


def _unit(rows: Array, name: str = "x", start: int = 0, whole: Array | None = None) -> tuple[Array, Array]:
    """Rows made unit, and the norms they had, in float64."""
    norms = nonzero_norms(rows, name, start, whole)
    return wide(rows) / norms[:, None], norms
