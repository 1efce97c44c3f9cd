"""The contrastive loss, InfoNCE or SigLIP's, and the same at every shift and temperature from one product per batch.

A shifted pair's cosine follows from the unshifted one. With p = <x, u>, q = <y, u> and a unit direction u,

    <x - a u, y + b u> = <x, y> + b p - a q - a b,    ||x - a u||^2 = ||x||^2 - 2 a p + a^2,

so the product of a batch is computed once, in float64, and each shift and temperature only costs the exponentials
of its entries. Batches too large to hold are cut into tiles whose sums of exponentials are added up.

Exactly equal rows are one item, and one rule makes the batches (``util.numerics.items.batches``): pairs in order, where
one whose image or text already stands in the batch waits. What cannot fill a last batch is left out, with a warning.
"""

import warnings
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .errors import UserError
from .geometry import Side, project, resolve_direction, shifted_norms, side_amounts
from .numerics import _sweep_kernel, items
from .numerics.arrays import Array, Rows, Vector, as_count, as_number, as_numbers, as_unit_tensors

LEAST_TEMPERATURE = 1e-9
"""Below it the logits would swallow the digits of the cosines."""
MOST_TEMPERATURE = 10
"""Above it a number is a logit scale, the inverse, and not a temperature."""
TILE = 1024
"""Rows and columns of a product held at a time on a CPU: 8 MB of float64."""
CUDA_TILE = 4096
"""The same on a GPU: 128 MB of float64."""


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


def contrastive_loss(
    x: Rows,
    y: Rows,
    temperature: float,
    batch: int | None = None,
    released: bool = False,
    *,
    bias: float | None = None,
    consecutive: bool = False,
) -> float:
    """Symmetric InfoNCE: cross-entropy of the matched pair among a batch, both ways, averaged; in nats.

    Args:
        x, y: unit-norm rows, images and texts in the paper; row i of one pairs with row i of the other.
        temperature: tau from 1e-9 to 10; cosines are divided by it (CLIP ends at 1/100, a logit scale of 100).
        batch: pairs per batch, in order and not shuffled; an incomplete last batch is dropped, as in the released
            code, and said in a warning. None: one batch. No batch holds equal rows: see the module.
        released: only the image-to-text direction, which is what the released notebook computes (it transposes
            the text logits twice, so both of its terms are this one).
        bias: b of SigLIP's loss, in place of InfoNCE: -log sigmoid(z (cos / tau + b)) summed over all pairs of a batch
            and divided by its size, z = 1 where matched and else -1 (SigLIP ends at about 1/tau = 113, b = -16.5).
        consecutive: batches as released, of neighbours, also where these are equal: false negatives. Nothing is said.

    The mean over batches, >= 0, comes back: log(batch) when every cosine of a batch is equal. Paper: equation 1 and
    Figure 3. SigLIP's: Zhai et al. (2023), equation 1; its two directions are one. Trap: depends on the batch size;
    compare only at one size.
    """
    tau = as_number(temperature, "temperature")
    losses = sweep_both(x, y, 0.0, tau, batch, bias=bias, consecutive=consecutive, renormalise=False)
    return float(losses[int(released)][0, 0])


def sweep(
    x: Rows, y: Rows, shifts, temperatures, batch: int | None = None, released: bool = False, **options
) -> Float[Array, "shifts temperatures"]:
    """``contrastive_loss`` of ``geometry.shift``-ed embeddings at every shift and temperature, float64 (s, t).

    Args as there, options as of ``sweep_both``. Temperatures are 1 / logit scale where there is a bias. The gap vector
    is that of all rows, before batches are cut. Equal to a direct float64 computation to 1e-5 relative or better.

    Paper: Figure 3 (b-d). Time: one product per batch and s * t exponentials of its entries, fewer where logit
    scales are sums of others. Memory: one tile of the product, 8 MB on a CPU, and 16 bytes for each shift, temperature
    and pair of a batch.
    """
    losses = sweep_both(x, y, shifts, temperatures, batch, **options)[int(released)]
    return torch.as_tensor(losses, device=x.device) if isinstance(x, Tensor) else losses


def sweep_both(
    x: Rows,
    y: Rows,
    shifts,
    temperatures,
    batch: int | None = None,
    *,
    direction: Vector | None = None,
    side: Side = "both",
    bias: float | None = None,
    consecutive: bool = False,
    renormalise: bool = True,
) -> SweepLosses:
    """``sweep`` with the symmetric and the released loss from one pass, as numpy arrays.

    Without ``renormalise`` shifted rows are not put back on the sphere.
    """
    a, b = as_unit_tensors(x, y)
    if len(a) != len(b):
        raise UserError(f"the loss needs pairs; x has {len(a)} rows and y {len(b)}")
    amounts = torch.as_tensor(as_numbers(shifts, "shifts"), device=a.device)
    temperatures = as_numbers(temperatures, "temperatures")
    if (temperatures < LEAST_TEMPERATURE).any():
        least = f"above 0, at least {LEAST_TEMPERATURE:g}"
        raise UserError(f"temperature must be {least} (CLIP's is 0.01, not 100), not {temperatures.min():g}")
    if (most := temperatures.max()) > MOST_TEMPERATURE:
        said = f"a logit scale? say --temperatures {1 / most:.4g}"
        raise UserError(f"temperature must be at most {MOST_TEMPERATURE}, not {most:g}: {said}")
    scales = 1 / temperatures
    kernel = _sweep_kernel.choose(a.device, scales, None if bias is None else as_number(bias, "bias"))
    moving = direction is not None or bool((amounts != 0).any())
    unit = resolve_direction(a, b, direction) if moving else torch.zeros(a.shape[1], dtype=torch.float64).to(a.device)
    moves = _Moves(unit, *side_amounts(amounts, side), renormalise)
    n = len(a)
    if batch is not None and as_count(batch, "batch") > n:
        raise UserError(f"batch must be at most the number of pairs, {n}, not {batch}")
    rows = items.consecutive(n, batch or n) if consecutive else items.batches(a, b, batch)
    if rows.size < n and not consecutive:
        warnings.warn(f"the loss is of {rows.size} of {n} pairs, in batches of {rows.shape[1]}", stacklevel=2)
    order, size = torch.from_numpy(rows.ravel()).to(a.device), rows.shape[1]
    a, b = a[order], b[order]
    group = size * max(1, TILE // size)
    spans = [slice(first, first + group) for first in range(0, len(a), group)]
    to_text, to_image = sum(_group_losses(a[span], b[span], moves, scales, size, kernel) for span in spans) / len(a)
    return SweepLosses(symmetric=(to_text + to_image) / 2, released=to_text)


def _group_losses(x: Tensor, y: Tensor, moves: _Moves, scales: np.ndarray, size: int, kernel) -> np.ndarray:
    """Summed losses (2, s, t) of a few whole batches, image-to-text and text-to-image."""
    p, q = project(x, moves.direction), project(y, moves.direction)
    sides = (x, p, -moves.against), (y, q, moves.along)
    norms_x, norms_y = (shifted_norms(rows, moves.direction, at, steps) for rows, at, steps in sides)
    if not moves.renormalise:
        norms_x = norms_y = torch.ones_like(norms_x)
    shape = 2, len(scales), len(moves.against), len(x)
    sums = torch.full(shape, kernel.empty, dtype=torch.float64, device=x.device)
    tile, g = TILE if x.device.type == "cpu" else CUDA_TILE, len(x) // size  # g is 1 where a batch exceeds a tile
    images, texts = (part.view(g, size, -1) for part in (x, y))
    for top, left in product(range(0, size, tile), repeat=2):  # g batches at once, or one tile of one batch
        products = images[:, top : top + tile].double() @ texts[:, left : left + tile].double().mT
        rows, columns = (slice(first, g * min(first + tile, size)) for first in (top, left))
        steps, inverses = (moves.against, moves.along), (1 / norms_x[:, rows], 1 / norms_y[:, columns])
        part = _sweep_kernel.Tile(products, p[rows], q[columns], *steps, *inverses, top - left)
        kernel.add(part, scales, sums, rows, columns)
    matched = torch.cat([(x[i : i + TILE].double() * y[i : i + TILE].double()).sum(1) for i in range(0, len(x), TILE)])
    along, against = moves.along[:, None], moves.against[:, None]
    cosines = (matched + along * p - against * q - along * against) / (norms_x * norms_y)
    return kernel.losses(sums, cosines - 1, scales)
