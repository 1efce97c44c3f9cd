"""The gap and the cone: centroids, the gap vector, the shift along it, and cosines within one modality.

Every function takes numpy arrays or torch tensors (CPU or CUDA), leaves them unchanged and answers in kind. Sums run
in float64. Arrays come back in the dtype of the first argument, or in float32 where that is half precision. A
``UserError`` names the row or the argument that makes no sense: a value that is not finite, a zero row, widths that
differ, and for the gap and the shift a row that is not unit-norm within 1e-3 (2**-8 in bfloat16).

``x`` (n, d) and ``y`` (m, d) are rows of two modalities, images and texts in the paper. Only pairs need m = n.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from .errors import UserError
from .numerics.arrays import (
    Array,
    Others,
    Rows,
    Vector,
    as_matrix,
    as_number,
    as_numbers,
    as_result,
    as_unit_pair,
    blocks,
    first_true,
    library,
    new_result,
    nonzero_norms,
    on,
    row_norms,
    to_numpy,
    wide,
)
from .numerics.cosines import cosine_statistics as cosine_statistics
from .numerics.moments import moments

Side = Literal["both", "first", "second"]
ZERO_GAP = 1e-7
"""Below this length, about the rounding of a float32 mean, a gap vector has no direction to speak of."""
NEAREST_TO_ZERO = 1e-7
"""A row that a shift brings closer to zero than this is refused: its direction would be rounding."""
CANCELLING = 1e-6
"""Squared norms below this are computed from the row itself: the closed form has lost their digits."""


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


def unit_rows(x: Rows, name: str = "x") -> Rows:
    """Every row, of a norm from 1e-150 to 1e150, divided by it; ``name`` is what an error calls them."""
    matrix = as_matrix(x, name)
    norms, out = nonzero_norms(matrix, name), new_result(matrix)
    for start, block in blocks(matrix):
        out[start : start + len(block)] = wide(block) / norms[start : start + len(block), None]
    return out


def _centroid(x: Array, weights: Array | None = None) -> Array:
    """Mean of the rows in float64 (d,), or with weights (n, k) the k weighted means (k, d)."""
    if weights is None:
        return sum(wide(block).sum(0) for _, block in blocks(x)) / len(x)
    return sum(weights[start : start + len(block)].T @ wide(block) for start, block in blocks(x)) / len(x)


def _length(vector: Array) -> float:
    return float(library(vector).linalg.vector_norm(vector))


def gap_vector(x: Rows, y: Others) -> Vector:
    """Centroid of the first modality minus centroid of the second. Not a unit vector: its norm is the gap distance.

    Paper: section 4.2, the definition of Delta_gap.
    """
    a, b = as_unit_pair(x, y)
    return as_result(_centroid(a) - _centroid(b), a, x)


def gap_distance(x: Rows, y: Others) -> float:
    """Euclidean distance between the two centroids, in [0, 2].

    Paper: section 4.2, ||Delta_gap||. Trap: it depends on the data too; compare models on the same pairs.
    """
    a, b = as_unit_pair(x, y)
    return _length(_centroid(a) - _centroid(b))


def unit_gap_vector(x: Rows, y: Others) -> Vector:
    """The gap vector divided by its length: the default direction of ``shift``."""
    a, b = as_unit_pair(x, y)
    return as_result(resolve_direction(a, b, None), a, x)


def resolve_direction(x: Array, y: Array, direction, name: str = "direction") -> Array:
    """The unit vector (d,) in float64 that a shift follows: that of the gap, or the one given, made unit."""
    if direction is None:
        gap = _centroid(x) - _centroid(y)
        if (length := _length(gap)) < ZERO_GAP:
            raise UserError(f"the gap is zero (distance {length:.1e}) and gives no direction to shift along; pass one")
        return gap / length
    given = on(as_numbers(direction, name), x)
    length = _length(given)
    if len(given) != x.shape[1]:
        widths = f"{len(given)} numbers, these rows have {x.shape[1]} columns"
        raise UserError(f"{name} has {widths}; take it of the same model")
    if length == 0:
        raise UserError(f"{name} is zero, so it gives no direction to shift along")
    return given / length


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
    move_x, move_y = side_amounts(as_number(amount, "amount"), side)
    unit = resolve_direction(a, b, direction)
    return as_result(moved(a, -move_x * unit, "x"), a, x), as_result(moved(b, move_y * unit, "y"), b, y)


def moved(x: Array, step: Array, name: str) -> Array:
    """Every row (n, d) plus a float64 step (d,), put back on the sphere; ``name`` is what an error calls them."""
    out, along = new_result(x), on(step, x)
    for start, block in blocks(x):
        rows = wide(block) + along
        norms = row_norms(rows)
        if (norms < NEAREST_TO_ZERO).any():
            row = start + first_true(norms < NEAREST_TO_ZERO)
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
    out = new_result(x)
    for start, block in blocks(x):
        rows = wide(block) / row_norms(block)[:, None]
        p = rows @ along
        before = (p + (p**2 + left) ** 0.5)[:, None] * rows - along
        out[start : start + len(block)] = before / row_norms(before)[:, None]
    return out


def signed_gap_distances(
    x: Rows, y: Others, shifts, direction: Vector | None = None, side: Side = "both", sign_by: Vector | None = None
) -> np.ndarray:
    """Gap distance after each shift, signed by the side of each other on which the centroids lie: float64, in [-2, 2].

    Args:
        shifts: k amounts, as in ``shift``, as are direction and side.
        sign_by: not zero: a distance is negative where the shifted gap vector points against it; by default
            ``direction``. For a direction of other data, the gap vector of x and y keeps the sign of their own gap.

    Paper: the horizontal axis of Figure 3 (b-d). All shifts come from two (k, n) x (n, d) products: a shifted centroid
    is a weighted mean of the unshifted rows plus a multiple of the direction.
    """
    a, b = as_unit_pair(x, y)
    unit = resolve_direction(a, b, direction)
    move_x, move_y = side_amounts(on(as_numbers(shifts, "shifts"), a), side)
    gaps = _shifted_centroids(a, unit, -move_x) - _shifted_centroids(b, unit, move_y)
    side_of = unit if sign_by is None else resolve_direction(a, b, sign_by, "sign_by")
    distances = row_norms(gaps)
    return to_numpy(library(gaps).where(gaps @ side_of < 0, -distances, distances))


def _shifted_centroids(x: Array, unit: Array, steps: Array) -> Array:
    """Centroids (k, d) of the renormalised rows of x + step * unit, for k steps."""
    inverse = 1 / shifted_norms(x, unit, project(x, unit), steps)
    return _centroid(x, inverse.T) + (inverse.mean(1) * steps)[:, None] * unit


def project(x: Array, unit: Array) -> Array:
    """Inner product of every row (n, d) with a float64 vector (d,), in float64 (n,)."""
    return library(x).concatenate([wide(block) @ unit for _, block in blocks(x)])


def shifted_norms(x: Array, unit: Array, projections: Array, steps: Array) -> Array:
    """Norms (k, n) of x_i + step_k u for a unit vector u, from ||x_i||^2 and <x_i, u> (n,) where that keeps digits."""
    squares = row_norms(x) ** 2 + 2 * steps[:, None] * projections + steps[:, None] ** 2
    for _, part in blocks(library(x).argwhere(squares < CANCELLING)):
        k, i = part.T
        squares[k, i] = ((wide(x[i]) + steps[k, None] * unit) ** 2).sum(1)
    if (squares < NEAREST_TO_ZERO**2).any():
        row = int(library(x).argwhere(squares < NEAREST_TO_ZERO**2)[0, 1])
        raise UserError(f"a shift moves row {row} to zero; change the shifts")
    return squares**0.5


def mean_cosine(x: Rows) -> float:
    """Mean cosine over all pairs of different rows, in [-1/(n-1), 1]: how narrow the cone is; rows are normalised here.

    Paper: Figure 2 (a) and (b). Self-pairs are excluded; Figure 2 (b) as released includes them, which adds
    (1 - mean)/n. Costs O(nd): the sum over all pairs is ||sum of the unit rows||^2.
    """
    return moments(x).mean_cosine
