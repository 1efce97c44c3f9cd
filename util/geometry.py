"""The gap and the cone: centroids, the gap vector, the shift along it, cosines, and the map that turns texts.

Every function takes numpy arrays or torch tensors (CPU or CUDA), leaves them unchanged and answers in kind. Sums run
in float64. Arrays come back in the dtype of the first argument, or in float32 where that is half precision. A
``UserError`` names the row or the argument that makes no sense: a value that is not finite, a zero row, widths that
differ, and for the gap and the shift a row that is not unit-norm within 1e-3 (2**-8 in bfloat16).

``x`` (n, d) and ``y`` (m, d) are rows of two modalities, images and texts in the paper. Only pairs need m = n.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import scipy
from jaxtyping import Float, Int

from . import UserError
from .numerics import arrays
from .numerics.arrays import Array, Others, Rows, Vector, as_result, as_unit_pair, blocks, library, on, row_norms, wide

Side = Literal["both", "first", "second"]
ZERO_GAP = 1e-7
"""Below this length, about the rounding of a float32 mean, a gap vector has no direction to speak of."""
NEAREST_TO_ZERO = 1e-7
"""A row that a shift brings closer to zero than this is refused: its direction would be rounding."""
CANCELLING = 1e-6
"""Squared norms below this are computed from the row itself: the closed form has lost their digits."""
FINE_BINS = 2**16
"""Least number of bins that quartiles are found in."""
TILE = 512
"""Rows and columns of a tile of cosines: 2 MB of float64."""
ONE_VALUE = 1e-12
"""Cosines this close to each other are one value and its rounding."""
ORTHOGONAL_TOLERANCE = 1e-4
"""How far an entry of R^T R may be from the identity's; float32 leaves about 1e-6."""


class Moments(NamedTuple):
    """Sums over one modality's n unit-norm rows: their total (d,), the least and largest norm before normalisation."""

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
        """That of ``mean_cosine``: (||total||^2 - n) / (n (n - 1))."""
        if self.n < 2:
            raise UserError(f"a mean cosine needs two rows or more, not {self.n}")
        return (float(self.total @ self.total) - self.n) / (self.n * (self.n - 1))


def moments(x: Rows, name: str = "x") -> Moments:
    """Moments of one modality (n, d), memory-mapped or not, norms from 1e-150 to 1e150; in the memory of one block."""
    (n, d), ends = arrays.rows_shape(x, name), []
    total = np.zeros(d)
    for _, unit, norms in units(x, name):
        total += arrays.to_numpy(unit.sum(0))
        ends += float(norms.min()), float(norms.max())
    return Moments(n, total, min(ends), max(ends))


def units(x: Array, name: str = "x") -> Iterator[tuple[int, Array, Array]]:
    """Yields (first row, float64 unit rows, the norms they had) of an array stored in any way, a block at a time."""
    for start, block in blocks(x):
        rows = arrays.as_rows(block, name)
        norms = arrays.nonzero_norms(rows, name, start, x)
        yield start, wide(rows) / norms[:, None], norms


def unit_rows(x: Rows, name: str = "x") -> Rows:
    """Every row, of a norm from 1e-150 to 1e150, divided by it; ``name`` is what an error calls them."""
    matrix = arrays.as_matrix(x, name)
    out = arrays.new_result(matrix)
    for start, unit, _ in units(matrix, name):
        out[start : start + len(unit)] = unit
    return out


def _gap(x: Array, y: Array) -> Array:
    """The gap vector of checked rows, in float64."""
    first, second = (sum(wide(block).sum(0) for _, block in blocks(rows)) / len(rows) for rows in (x, y))
    return first - second


def _length(vector: Array) -> float:
    return float(library(vector).linalg.vector_norm(vector))


def gap_vector(x: Rows, y: Others) -> Vector:
    """Centroid of the first modality minus centroid of the second. Not a unit vector: its norm is the gap distance.

    Paper: section 4.2, the definition of Delta_gap.
    """
    a, b = as_unit_pair(x, y)
    return as_result(_gap(a, b), a, x)


def gap_distance(x: Rows, y: Others) -> float:
    """Euclidean distance between the two centroids, in [0, 2].

    Paper: section 4.2, ||Delta_gap||. Trap: it depends on the data too; compare models on the same pairs.
    """
    a, b = as_unit_pair(x, y)
    return _length(_gap(a, b))


def unit_gap_vector(x: Rows, y: Others) -> Vector:
    """The gap vector divided by its length: the default direction of ``shift``."""
    a, b = as_unit_pair(x, y)
    return as_result(resolve_direction(a, b, None), a, x)


def resolve_direction(x: Array, y: Array, direction, name: str = "direction") -> Array:
    """The unit vector (d,) in float64 that a shift follows: that of the gap, or the one given, made unit."""
    if direction is None:
        gap = _gap(x, y)
        if (length := _length(gap)) < ZERO_GAP:
            raise UserError(f"the gap is zero (distance {length:.1e}) and gives no direction to shift along; pass one")
        return gap / length
    given = on(arrays.as_numbers(direction, name), x)
    length = _length(given)
    if len(given) != x.shape[1]:
        widths = f"{len(given)} numbers, these rows have {x.shape[1]} columns"
        raise UserError(f"{name} has {widths}; take it of the same model")
    if length == 0:
        raise UserError(f"{name} is zero, so it gives no direction to shift along")
    return given / length


def side_of(modalities: Sequence[str], side: str) -> Side:
    """The side of a shift that a name among two modalities means; "both", "first" and "second" mean themselves."""
    if side not in (*modalities, *get_args(Side)):
        raise UserError(f"no side {side!r}; choose {', '.join(modalities)} or both")
    return ("first", "second")[modalities.index(side)] if side in modalities else side


def side_amounts(amounts, side: str):
    """How far x moves against the direction and y along it: half each, or one of them all of it."""
    shares = {"both": (0.5, 0.5), "first": (1, 0), "second": (0, 1)}
    if side not in shares:
        raise UserError(f'side must be "both", "first" or "second", not {side!r}')
    against, along = shares[side]
    return against * amounts, along * amounts


def shift(
    x: Rows, y: Others, amount: float, direction: Vector | None = None, side: Side = "both"
) -> tuple[Rows, Others]:
    """Moves the two modalities along a unit direction and puts every row back on the sphere, in new arrays.

    Args:
        amount: the paper's delta, in units of the *unit* direction: positive closes the gap, negative widens it.
        direction: made unit here; by default the unit gap vector, which a zero gap lacks.
        side: "both" moves x by -amount/2 and y by +amount/2 (paper, Figure 3 and Table 1); "first" moves x by
            -amount and leaves y as it is (paper, Table 2); "second" moves y by +amount alone.

    Paper: section 4.2, "embedding shift". Trap: because of the renormalisation, the gap does not shrink by
    ``amount``, and a shift by the gap distance does not quite close it. A row that it moves to zero is refused.
    """
    a, b = as_unit_pair(x, y)
    move_x, move_y = side_amounts(arrays.as_number(amount, "amount"), side)
    unit = resolve_direction(a, b, direction)
    return as_result(moved(a, -move_x * unit, "x"), a, x), as_result(moved(b, move_y * unit, "y"), b, y)


def moved(x: Array, step: Array, name: str) -> Array:
    """Every row (n, d) plus a float64 step (d,), put back on the sphere; ``name`` is what an error calls them."""
    out, along = arrays.new_result(x), on(step, x)
    for start, block in blocks(x):
        rows = wide(block) + along
        norms = row_norms(rows)
        if (norms < NEAREST_TO_ZERO).any():
            row = start + arrays.first_true(norms < NEAREST_TO_ZERO)
            raise UserError(f"{name}: row {row} comes to zero, where it has no direction; move it less, or remove it")
        out[start : start + len(block)] = rows / norms[:, None]
    return out


def unmoved(x: Array, step: Array, name: str) -> Array:
    """The unit rows that ``moved`` brings to these.

    The row before lies on the ray of the row after: x = t x' - step with |x| = 1 and t > 0, a quadratic in t with the
    roots p +- sqrt(p^2 + 1 - |step|^2), p = <x', step>. Their product is |step|^2 - 1, so that for a step shorter than
    1 one root is positive, for a longer one two or none.
    """
    along = on(step, x)
    left = 1 - float(along @ along)
    if left <= 0:
        why = "from 1 on, two rows may come to one direction"
        raise UserError(f"{name}: a step of {(1 - left) ** 0.5:.4g} has no inverse: {why}; keep the rows as they were")
    out = arrays.new_result(x)
    for start, block in blocks(x):
        rows = wide(block) / row_norms(block)[:, None]
        p = rows @ along
        before = (p + (p**2 + left) ** 0.5)[:, None] * rows - along
        out[start : start + len(block)] = before / row_norms(before)[:, None]
    return out


def project(x: Array, unit: Array) -> Array:
    """Inner product of every row (n, d) with a float64 vector (d,), in float64 (n,)."""
    return library(x).concatenate([wide(block) @ unit for _, block in blocks(x)])


def shifted_norms(x: Array, unit: Array, projections: Array, steps: Array, start: int = 0) -> Array:
    """Norms (k, n) of x_i + step_k u for a unit vector u, from ||x_i||^2 and <x_i, u> (n,) where that keeps digits."""
    squares = row_norms(x) ** 2 + 2 * steps[:, None] * projections + steps[:, None] ** 2
    for _, part in blocks(library(x).argwhere(squares < CANCELLING)):
        k, i = part.T
        squares[k, i] = ((wide(x[i]) + steps[k, None] * unit) ** 2).sum(1)
    if (squares < NEAREST_TO_ZERO**2).any():
        row = start + int(library(x).argwhere(squares < NEAREST_TO_ZERO**2)[0, 1])
        raise UserError(f"a shift moves row {row} to zero; change the shifts")
    return squares**0.5


def signed_gap_distances(
    x: Rows, y: Others, shifts, direction: Vector | None = None, side: Side = "both", sign_by: Vector | None = None
) -> np.ndarray:
    """Gap distance after each shift, signed by the side of each other on which the centroids lie: float64, in [-2, 2].

    Args:
        shifts: k amounts, as in ``shift``, as are direction and side.
        sign_by: not zero: a distance is negative where the shifted gap vector points against it; by default
            ``direction``. For a direction of other data, the gap vector of x and y keeps the sign of their own gap.

    Paper: the horizontal axis of Figure 3 (b-d). All shifts come from two (k, n) x (n, d) products, in blocks: a
    shifted centroid is a weighted mean of the unshifted rows plus a multiple of the direction.
    """
    a, b = as_unit_pair(x, y)
    unit = resolve_direction(a, b, direction)
    move_x, move_y = side_amounts(on(arrays.as_numbers(shifts, "shifts"), a), side)
    parts = [((start, wide(block)) for start, block in blocks(rows)) for rows in (a, b)]
    gaps = shifted_centroids(parts[0], unit, -move_x) - shifted_centroids(parts[1], unit, move_y)
    side_of = unit if sign_by is None else resolve_direction(a, b, sign_by, "sign_by")
    distances = row_norms(gaps)
    return arrays.to_numpy(library(gaps).where(gaps @ side_of < 0, -distances, distances))


def shifted_centroids(rows: Iterable[tuple], unit: Array, steps: Array) -> Array:
    """Centroids (k, d) of the renormalised rows of x + step * unit, for k steps; rows as (first row, block)."""
    total = inverses = n = 0
    for start, block, *_ in rows:
        inverse = 1 / shifted_norms(block, unit, block @ unit, steps, start)
        total, inverses, n = total + inverse @ block, inverses + inverse.sum(1), n + len(block)
    return (total + (inverses * steps)[:, None] * unit) / n


def mean_cosine(x: Rows) -> float:
    """Mean cosine over all pairs of different rows, in [-1/(n-1), 1]: how narrow the cone is; rows are normalised here.

    Paper: Figure 2 (a) and (b). Self-pairs are excluded; Figure 2 (b) as released includes them, which adds
    (1 - mean)/n. Costs O(nd): the sum over all pairs is ||sum of the unit rows||^2.
    """
    return moments(x).mean_cosine


class CosineStatistics(NamedTuple):
    """The cosines of all n(n-1)/2 pairs of different rows, in [-1, 1]; std divides by the number of pairs.

    The histogram counts them in bins between ``edges``, equally spaced from min to max; the last has its right edge.
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

    Quartiles are exact to 2e-5 of max - min. Paper: Figure 2 (a). Trap: self-pairs are excluded. Two passes over tiles
    of the upper triangle, first for extremes and spread, then for counts: time O(n^2 d), memory O(n + d) beside ``x``.
    """
    rows = _CentredRows(arrays.as_tensor(arrays.as_matrix(x, least_rows=2)))
    bins = arrays.as_count(bins, "bins")
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
        self.x, self.norms, self.starts = x, arrays.nonzero_norms(x)[:, None], range(0, len(x), TILE)
        self.mean = sum(self._unit(start).sum(0) for start in self.starts) / len(x)
        self.mean_cosine = float((len(x) * (self.mean @ self.mean) - 1) / (len(x) - 1))
        self.offsets = library(x).concatenate([self._unit(start) @ self.mean for start in self.starts])
        self.offsets -= (self.mean @ self.mean + self.mean_cosine) / 2

    def _unit(self, start: int) -> Array:
        return self.x[start : start + TILE] / self.norms[start : start + TILE]

    def _centred(self, start: int) -> Array:
        return self._unit(start).sub_(self.mean).to(arrays.result_dtype(self.x))

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


def orthogonal_map(x: Rows, y: Rows) -> Float[Array, "d d"]:
    """The orthogonal matrix R that brings ``y @ R`` nearest to ``x``: the least sum of squared distances of pairs.

    ``x`` and ``y`` are unit rows, row i of one paired with row i of the other. R may hold a reflection.

    Paper: section 4.3, the amended initialization: with R the texts start on the images, so that what gap there is
    after training was made by training. Published gap distances: 1.189 before, 0.039 with R. Source:
    ``train_clip_toy_fix_init`` of the released code, fitted on all training pairs before the first step, not
    centred. Traps: a rotation keeps the norm of the text centroid, so a gap of at least the difference of the
    centroids' norms remains; with fewer pairs than d, R is not unique and says little of other pairs.
    """
    a, b = as_unit_pair(x, y)
    if len(a) != len(b):
        raise UserError(f"a Procrustes map needs pairs; x has {len(a)} rows and y {len(b)}")
    turn = scipy.linalg.orthogonal_procrustes(arrays.to_numpy(wide(b)), arrays.to_numpy(wide(a)))[0]
    return as_result(on(turn, a), a, x)


def mapped(rows: Rows, text_map: Float[Array, "d d"] | None) -> Rows:
    """Text rows under a map, ``rows @ text_map``, of the kind of ``rows``; None leaves them as they are."""
    if text_map is None:
        return rows
    if len(text_map) != rows.shape[1]:
        raise UserError(f"text_map is {tuple(text_map.shape)}, but the texts have {rows.shape[1]} numbers")
    if arrays.is_tensor(rows):
        return rows @ arrays.as_tensor(text_map).to(rows)
    return rows @ np.asarray(text_map, dtype=rows.dtype)


def as_text_map(text_map, like_rows=None) -> Float[Array, "d d"]:
    """A checked map in float64, or a tensor with the dtype and device of ``like_rows``."""
    matrix = wide(arrays.as_matrix(text_map, "text_map"))
    if matrix.shape[0] != matrix.shape[1]:
        raise UserError(f"text_map must be square; its shape is {tuple(matrix.shape)}")
    off = abs(matrix.T @ matrix - on(np.eye(len(matrix)), matrix)).max()
    if off > ORTHOGONAL_TOLERANCE:
        raise UserError(f"text_map must be orthogonal; an entry of R^T R is {off:.2g} from the identity's")
    return matrix if like_rows is None else arrays.as_tensor(matrix).to(like_rows.device, like_rows.dtype)
