"""All pair cosines of one modality, summarised block by block: no n x n matrix is ever held.

Two passes over the tiles of the upper triangle, each a matrix product, on the device of the rows. The first finds the
extremes and the spread, the second counts in bins that are fine enough for the quartiles.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .arrays import Array, Rows, as_count, as_matrix, as_tensor, library, nonzero_norms, result_dtype

FINE_BINS = 2**16
"""Least number of bins that quartiles are found in."""
TILE = 512
"""Rows and columns of a tile: 2 MB of float64."""
ONE_VALUE = 1e-12
"""Cosines this close to each other are one value and its rounding."""


@dataclass(frozen=True)
class CosineStatistics:
    """The cosines of all n(n-1)/2 pairs of different rows.

    Attributes:
        mean, std, min, q25, median, q75, max: floats in [-1, 1]; std divides by the number of pairs.
        histogram: int64 (bins,), the number of unordered pairs in each bin; sums to n(n-1)/2.
        edges: float64 (bins + 1,), equally spaced from min to max. The last bin includes its right edge.
        n_pairs: n(n-1)/2.
    """

    mean: float
    std: float
    min: float
    q25: float
    median: float
    q75: float
    max: float
    histogram: Int[np.ndarray, "bins"]
    edges: Float[np.ndarray, "bins_plus_1"]
    n_pairs: int


def cosine_statistics(x: Rows, bins: int = 100) -> CosineStatistics:
    """Mean, spread, quartiles and histogram of the cosines of all pairs of different rows.

    Args:
        x: float array (n, d), norms from 1e-150 to 1e150: rows are normalised here. Products run in float64 for a
            float64 input, otherwise in float32 on rows less their mean; sums in float64.
        bins: number of equal bins from the smallest to the largest cosine.

    Quartiles are exact to 2e-5 of max - min. Paper: Figure 2 (a). Trap: self-pairs are excluded. Time O(n^2 d), memory
    O(n + d) beside ``x``.
    """
    rows = _CentredRows(as_tensor(as_matrix(x, least_rows=2)))
    bins = as_count(bins, "bins")
    n_pairs = len(rows.x) * (len(rows.x) - 1) // 2
    low, high, total, squares = 2.0, -2.0, 0.0, 0.0
    for apart in rows.apart():
        least, most = map(float, apart.aminmax())
        low, high = min(low, least), max(high, most)
        total, squares = total + float(apart.sum()), squares + float(library(apart).linalg.vector_norm(apart)) ** 2
    off, span = total / n_pairs, (low, high) if high - low > ONE_VALUE else (low - 0.5, low + 0.5)
    fine = bins * -(-FINE_BINS // bins)
    counts = sum(apart.histc(fine, *span).cpu().numpy() for apart in rows.apart())
    reached, edges = np.r_[0, np.cumsum(counts)], np.linspace(*span, fine + 1)
    rank = np.arange(1, 4) / 4 * (n_pairs - 1)
    below, above = (np.interp(order + 0.5, reached, edges) for order in (np.floor(rank), np.ceil(rank)))
    quartiles = (below + (rank % 1) * (above - below)).clip(low, high)  # as numpy.quantile's, but for a bin's width
    mean, std = rows.mean_cosine + off, max(squares / n_pairs - off**2, 0.0) ** 0.5
    five = (rows.mean_cosine + np.array([low, *quartiles, high])).clip(-1, 1).tolist()
    histogram = counts.reshape(bins, -1).sum(1).astype(np.int64)
    ends = (five[0], five[-1]) if high - low > ONE_VALUE else (five[0] - 0.5, five[0] + 0.5)
    return CosineStatistics(mean, std, *five, histogram, np.linspace(*ends, bins + 1), n_pairs)


class _CentredRows:
    """Unit rows u less their mean m, a tile at a time: <u_i, u_j> = <u_i - m, u_j - m> + a_i + a_j.

    In a narrow cone a_i = <u_i, m> - <m, m> / 2 is nearly half of a cosine. The product, which may be in float32,
    keeps the digits in which cosines differ.
    """

    def __init__(self, x: Array):
        self.x, self.norms, self.starts = x, nonzero_norms(x)[:, None], range(0, len(x), TILE)
        self.mean = sum(self._unit(start).sum(0) for start in self.starts) / len(x)
        self.mean_cosine = float((len(x) * (self.mean @ self.mean) - 1) / (len(x) - 1))
        self.offsets = library(x).concatenate([self._unit(start) @ self.mean for start in self.starts])
        self.offsets -= (self.mean @ self.mean + self.mean_cosine) / 2

    def _unit(self, start: int) -> Array:
        return self.x[start : start + TILE] / self.norms[start : start + TILE]

    def _centred(self, start: int) -> Array:
        return self._unit(start).sub_(self.mean).to(result_dtype(self.x))

    def apart(self) -> Iterator[Array]:
        """Yields the cosine less the mean cosine of each pair of different rows, in float64, a tile at a time."""
        upper = self.x.new_ones(TILE, TILE).triu_(1) > 0
        for top in self.starts:
            rows = self._centred(top)
            for left in range(top, len(self.x), TILE):
                columns = rows if left == top else self._centred(left)
                apart = (rows @ columns.T).double()
                apart += self.offsets[top : top + TILE, None]
                apart += self.offsets[left : left + TILE]
                if left == top:
                    apart = apart[upper[: len(rows), : len(rows)]]
                if apart.numel():
                    yield apart
