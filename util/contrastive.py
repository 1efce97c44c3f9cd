"""The contrastive loss, and the same loss at every shift and temperature from one product per batch.

A shifted pair's cosine follows from the unshifted one. With p = <x, u>, q = <y, u> and a unit direction u,

    <x - a u, y + b u> = <x, y> + b p - a q - a b,    ||x - a u||^2 = ||x||^2 - 2 a p + a^2,

so the product of a batch is computed once, in float64, and each shift and temperature only costs the exponentials
of its entries. Batches too large to hold are cut into tiles whose sums of exponentials are added up.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .errors import UserError
from .geometry import Side, project, resolve_direction, shifted_norms, side_amounts
from .numerics import _sweep_kernel
from .numerics.arrays import Array, as_count, as_numbers, as_unit_tensors

__all__ = ["SweepLosses", "contrastive_loss", "sweep", "sweep_both"]

LEAST_TEMPERATURE = 1e-9
"""Below it the logits would swallow the digits of the cosines."""

TILE = 1024
"""Rows and columns of a product held at a time on a CPU: 8 MB of float64."""

CUDA_TILE = 4096
"""The same on a GPU: 128 MB of float64."""

SUMS_BYTES = 2**27
"""Most memory for the sums of exponentials of one batch; more shifts than fit are done in several turns."""


class SweepLosses(NamedTuple):
    """Losses (shifts, temperatures) in nats: both directions averaged, and the released image-to-text half."""

    symmetric: Float[np.ndarray, "shifts temperatures"]
    released: Float[np.ndarray, "shifts temperatures"]


@dataclass(frozen=True)
class _Moves:
    """Shifts as amounts (s,) against and along a unit direction (d,); ``renormalise`` as ``geometry.shift`` does."""

    direction: Tensor
    against: Tensor
    along: Tensor
    renormalise: bool

    def some(self, start: int, stop: int) -> "_Moves":
        return _Moves(self.direction, self.against[start:stop], self.along[start:stop], self.renormalise)


def contrastive_loss(
    x: Float[Array, "n d"],
    y: Float[Array, "n d"],
    temperature: float,
    batch: int | None = None,
    released: bool = False,
) -> float:
    """Symmetric InfoNCE: cross-entropy of the matched pair among a batch, both ways, averaged; in nats.

    Args:
        x: float array (n, d), unit-norm rows; images in the paper.
        y: float array (n, d), unit-norm rows; row i pairs with row i of ``x``.
        temperature: tau >= 1e-9; cosines are divided by it (CLIP ends at 1/100).
        batch: pairs per batch, consecutive and not shuffled; an incomplete last batch is dropped, as in the released
            code. None: all n pairs as one batch.
        released: only the image-to-text direction, which is what the released notebook computes (it transposes
            the text logits twice, so both of its terms are this one).

    Returns:
        float >= 0, the mean over batches; log(batch) when every cosine of a batch is equal.

    Paper: equation 1 and Figure 3. Trap: depends on the batch size; compare only at one size.
    """
    a, b = _pairs(x, y)
    tau = as_numbers(temperature, "temperature")
    if tau.size != 1:
        raise UserError(f"temperature must be one number, not {tau.size}; sweep takes many")
    still = torch.zeros(1, dtype=torch.float64, device=a.device)
    moves = _Moves(torch.zeros(a.shape[1], dtype=torch.float64, device=a.device), still, still, renormalise=False)
    return float(_losses(a, b, moves, _logit_scales(tau), _batch_size(batch, len(a)))[int(released)][0, 0])


def sweep(
    x: Float[Array, "n d"],
    y: Float[Array, "n d"],
    shifts,
    temperatures,
    batch: int | None = None,
    released: bool = False,
    *,
    direction: Float[Array, "d"] | None = None,
    side: Side = "both",
) -> Float[Array, "shifts temperatures"]:
    """``contrastive_loss`` of ``geometry.shift``-ed embeddings at every shift and temperature.

    Args:
        x, y, batch, released: as in ``contrastive_loss``.
        shifts: s amounts, as ``geometry.shift`` takes them (positive closes the gap).
        temperatures: t values of tau > 0.
        direction, side: as in ``geometry.shift``; the gap vector is that of all rows, before batches are cut.

    Returns:
        float64 array (s, t) of losses in nats, the same kind of array as ``x``, equal to a direct float64
        computation to 1e-5 relative or better.

    Paper: Figure 3 (b-d). Time: one product per batch and s * t exponentials of its entries, fewer where logit
    scales are whole numbers. Never holds more than one tile of the product, 8 MB on a CPU.
    """
    losses = sweep_both(x, y, shifts, temperatures, batch, direction=direction, side=side)[int(released)]
    return torch.as_tensor(losses, device=x.device) if isinstance(x, Tensor) else losses


def sweep_both(
    x: Float[Array, "n d"],
    y: Float[Array, "n d"],
    shifts,
    temperatures,
    batch: int | None = None,
    *,
    direction: Float[Array, "d"] | None = None,
    side: Side = "both",
) -> SweepLosses:
    """``sweep`` with the symmetric and the released loss from one pass, as numpy arrays."""
    a, b = _pairs(x, y)
    amounts = torch.as_tensor(as_numbers(shifts, "shifts"), device=a.device)
    scales = _logit_scales(as_numbers(temperatures, "temperatures"))
    size = _batch_size(batch, len(a))
    moving = direction is not None or bool((amounts != 0).any())
    unit = resolve_direction(a, b, direction) if moving else torch.zeros(a.shape[1], dtype=torch.float64).to(a.device)
    return _losses(a, b, _Moves(unit, *side_amounts(amounts, side), renormalise=True), scales, size)


def _pairs(x, y) -> tuple[Tensor, Tensor]:
    a, b = as_unit_tensors(x, y)
    if len(a) != len(b):
        raise UserError(f"the loss needs pairs; x has {len(a)} rows and y {len(b)}")
    return a, b


def _logit_scales(temperatures: np.ndarray) -> np.ndarray:
    if (temperatures < LEAST_TEMPERATURE).any():
        least = f"above 0, at least {LEAST_TEMPERATURE:g}"
        raise UserError(f"temperature must be {least} (CLIP's is 0.01, not 100), not {temperatures.min():g}")
    return 1 / temperatures


def _batch_size(batch: int | None, n: int) -> int:
    size = n if batch is None else as_count(batch, "batch")
    if size > n:
        raise UserError(f"batch must be at most the number of pairs, {n}, not {size}")
    return size


def _losses(x: Tensor, y: Tensor, moves: _Moves, scales: np.ndarray, size: int) -> SweepLosses:
    """Both losses (s, t), averaged over the whole batches of ``size`` consecutive pairs."""
    n_shifts, batches = len(moves.against), len(x) // size
    group = max(1, TILE // size) if size < TILE else 1
    per_turn = max(1, SUMS_BYTES // (2 * 8 * len(scales) * size * group))
    both = np.zeros((2, n_shifts, len(scales)))
    for first in range(0, batches, group):
        span = slice(first * size, min(first + group, batches) * size)
        for start in range(0, n_shifts, per_turn):
            some = moves.some(start, start + per_turn)
            both[:, start : start + per_turn] += _group_losses(x[span], y[span], some, scales, size)
    to_text, to_image = both / (batches * size)
    return SweepLosses(symmetric=(to_text + to_image) / 2, released=to_text)


def _group_losses(x: Tensor, y: Tensor, moves: _Moves, scales: np.ndarray, size: int) -> np.ndarray:
    """Summed losses (2, s, t) of a few whole batches, image-to-text and text-to-image."""
    p, q = project(x, moves.direction), project(y, moves.direction)
    norms_x, norms_y = _norms(x, p, -moves.against, moves), _norms(y, q, moves.along, moves)
    kernel = _sweep_kernel.choose(x.device, scales)
    sums = kernel.new_sums(len(scales), len(moves.against), len(x), x.device)
    for rows, columns, products in _products(x, y, size):
        tile = _sweep_kernel.Tile(
            products,
            p[rows],
            q[columns],
            moves.against,
            moves.along,
            1 / norms_x[:, rows],
            1 / norms_y[:, columns],
            rows.start - columns.start,
        )
        kernel.add(tile, scales, sums, rows, columns)
    matched = torch.cat([(x[i : i + TILE].double() * y[i : i + TILE].double()).sum(1) for i in range(0, len(x), TILE)])
    along, against = moves.along[:, None], moves.against[:, None]
    cosines = (matched + along * p - against * q - along * against) / (norms_x * norms_y)
    return kernel.losses(sums, cosines - 1, scales)


def _norms(x: Tensor, projections: Tensor, steps: Tensor, moves: _Moves) -> Tensor:
    """Norms (s, n) that the shifted rows are divided by; ones where rows are taken as they come."""
    if not moves.renormalise:
        return torch.ones(len(steps), len(x), dtype=torch.float64, device=x.device)
    return shifted_norms(x, moves.direction, projections, steps)


def _products(x: Tensor, y: Tensor, size: int):
    """Yields (row slice, column slice, float64 products (g, r, c)): g batches at once, or one tile of one batch."""
    tile = TILE if x.device.type == "cpu" else CUDA_TILE
    if size <= tile:
        shape = (-1, size, x.shape[1])
        everything = slice(0, len(x))
        yield everything, everything, x.double().view(shape) @ y.double().view(shape).mT
        return
    for top in range(0, len(x), tile):
        rows = slice(top, min(top + tile, len(x)))
        left_operand = x[rows].double()
        for left in range(0, len(y), tile):
            columns = slice(left, min(left + tile, len(y)))
            yield rows, columns, (left_operand @ y[columns].double().T)[None]
