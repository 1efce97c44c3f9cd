"""Sums over the rows of embeddings in one pass: all that the gap, the cone and the relative gap need.

They can be taken over a memory-mapped file of any length, a block of rows at a time, and added: the moments of two
parts of a data set make those of the whole. Rows count by their direction alone: each is divided by its norm.
"""

import math
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from jaxtyping import Float, Int

from ..errors import UserError
from .arrays import Array, as_rows, as_tensor, blocks, is_tensor, nonzero_norms, row_blocks, rows_shape, to_numpy, wide

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

    def __add__(self, other: "Moments") -> "Moments":
        """Moments of both sets of rows together."""
        span = min(self.shortest, other.shortest), max(self.longest, other.longest)
        return Moments(self.n + other.n, self.total + other.total, *span)

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
        apart, *within = (
            max(0.0, (1 - cosine) / 2)
            for cosine in (self.matched_cosine, self.first.mean_cosine, self.last.mean_cosine)
        )
        whole = apart + sum(within) / 2
        return apart / whole if whole > ALL_ONE else None


def moments(x: Float[Array, "n d"], name: str = "x") -> Moments:
    """Moments of one modality (n, d), memory-mapped or not, norms from 1e-150 to 1e150; in the memory of one block."""
    rows_shape(x, name)
    return reduce(add, [_block(block, name, start, x)[0] for start, block in row_blocks(x, name)])


def pair_moments(
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    pairs: Int[np.ndarray, "p 2"] | None = None,
    names: tuple[str, str] = ("x", "y"),
) -> PairMoments:
    """Moments of two modalities and of their pairs.

    Args:
        x, y: arrays (n, d) and (m, d), memory-mapped or not.
        pairs: row numbers that belong together; None: nothing is paired. Pairs row by row, all of them, cost one pass
            over both; any others a second one over the rows that they name.
        names: what to call the two in an error.
    """
    (n, d), (m, width) = (rows_shape(part, name) for part, name in zip((x, y), names, strict=True))
    if d != width:
        raise UserError(f"{names[0]} and {names[1]} must be of one width; they are {(n, d)} and {(m, width)}")
    if is_tensor(x) != is_tensor(y):
        x, y = as_tensor(as_rows(x)), as_tensor(as_rows(y))
    if pairs is None or not _row_by_row(pairs, n, m):
        first, last = moments(x, names[0]), moments(y, names[1])  # refuses bad rows by their own numbers
        matched = 0.0 if pairs is None else _matched(x, y, pairs)
        return PairMoments(first, last, 0 if pairs is None else len(pairs), matched)
    firsts, lasts, sums = [], [], []
    for (start, block), (_, other) in zip(row_blocks(x, names[0]), row_blocks(y, names[1]), strict=True):
        first, rows = _block(block, names[0], start, x)
        last, others = _block(other, names[1], start, y)
        firsts.append(first)
        lasts.append(last)
        sums.append(_dot(rows, others))
    return PairMoments(reduce(add, firsts), reduce(add, lasts), n, math.fsum(sums))


def _row_by_row(pairs: np.ndarray, n: int, m: int) -> bool:
    return n == m == len(pairs) and bool((pairs == np.arange(n)[:, None]).all())


def _matched(x: Array, y: Array, pairs: Array) -> float:
    """Sum of the cosines of the pairs, a block of pairs at a time."""
    sums = []
    for _, some in blocks(pairs):
        first, last = some.T
        sums.append(_dot(_block(as_rows(x[first]), "x", 0, x)[1], _block(as_rows(y[last]), "y", 0, y)[1]))
    return math.fsum(sums)


def _dot(x: Array, y: Array) -> float:
    return float((x * y).sum()) if is_tensor(x) else float(np.einsum("ij,ij->", x, y))


def _block(rows: Array, name: str, start: int, whole: Array) -> tuple[Moments, Array]:
    """Moments of some rows, and the rows made unit, in float64."""
    unit = wide(rows)
    norms = nonzero_norms(unit, name, start, whole)
    if unit is rows:
        unit = unit / norms[:, None]
    else:
        unit /= norms[:, None]  # a copy already
    return Moments(len(rows), to_numpy(unit.sum(0)), float(norms.min()), float(norms.max())), unit
