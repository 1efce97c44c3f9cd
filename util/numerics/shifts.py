"""The steps of a shift, on rows of numpy or torch: how far each side moves, and the norms of the rows after it."""

from ..errors import UserError
from .arrays import Array, blocks, first_true, library, new_result, on, row_norms, wide

NEAREST_TO_ZERO = 1e-7
"""A row that a shift brings closer to zero than this is refused: its direction would be rounding."""
CANCELLING = 1e-6
"""Squared norms below this are computed from the row itself: the closed form has lost their digits."""


def side_amounts(amounts, side: str):
    """How far x moves against the direction and y along it: half each, or one of them all of it."""
    shares = {"both": (0.5, 0.5), "first": (1, 0), "second": (0, 1)}
    if side not in shares:
        raise UserError(f'side must be "both", "first" or "second", not {side!r}')
    against, along = shares[side]
    return against * amounts, along * amounts


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
