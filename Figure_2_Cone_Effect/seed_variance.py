"""Variance of embeddings that the initialization explains, and how close the cones of several seeds lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from util import UserError, geometry
from util.numerics.arrays import Array, as_matrix, as_tensor

ALIKE = 1e-30
"""Mean square of centred entries, the largest entry being 1, that is the rounding of float64: nothing to divide up."""


@dataclass(frozen=True)
class SeedVariance:
    """How embeddings of the same items by several random initializations differ.

    Attributes:
        within_cosine: mean over the seeds of the mean cosine over pairs of different items, in [-1/(items - 1), 1].
        between_cosine: mean cosine over all pairs of rows of two different seeds, in [-1, 1].
        explained_by_seed: fraction of the variance of a row that the seed explains, Var[E[h|seed]] / Var[h].
        explained_by_item: fraction that the item explains; the rest is their interaction.
    """

    within_cosine: float
    between_cosine: float
    explained_by_seed: float
    explained_by_item: float


def seed_variance(embeddings: Float[Array, "seeds items d"]) -> SeedVariance:
    """Cosines within and between seeds, and the variance components of the crossed design, bias-corrected.

    Args:
        embeddings: float array (K, n, d), K >= 2 seeds by n >= 2 items, row i of every seed the same item. The
            cosines normalise the rows; the variances are those of the rows as given: pass unit rows for directions.

    Paper: Figure 2 (c) and theorem 2. Two-way analysis of variance without replication, h_si = mu + a_s + b_i + c_si,
    sums of squares added over the d coordinates: with the mean squares MS_A (seeds), MS_B (items), MS_E (rest),
    sigma_a^2 = (MS_A - MS_E)/n, sigma_b^2 = (MS_B - MS_E)/K and the total sigma_a^2 + sigma_b^2 + MS_E are unbiased.
    Trap: the variance of the seed means over that of the rows, uncorrected, is too large, by the fraction of the
    interaction over n. Nothing is clipped: without an effect a fraction comes out slightly negative about as often as
    positive. Costs O(K n d) in float64.
    """
    parts = _checked(embeddings)
    seeds = len(parts)
    centroids = torch.stack([geometry.centroid(geometry.unit_rows(part.double())) for part in parts])
    total = centroids.sum(0)
    between = float(total @ total - centroids.square().sum()) / (seeds * (seeds - 1))
    within = math.fsum(geometry.mean_cosine(part) for part in parts) / seeds
    return SeedVariance(within, between, *_explained(_sums(parts)))


def explained_fractions(embeddings: Float[Array, "seeds items d"]) -> tuple[float, float]:
    """(explained_by_seed, explained_by_item) of ``seed_variance`` alone, for rows that may be zero."""
    return _explained(_sums(_checked(embeddings)))


def seed_fractions_left_out(embeddings: Float[Array, "seeds items d"]) -> Float[np.ndarray, "seeds"]:
    """``explained_by_seed`` without each of the seeds in turn, for ``util.numerics.statistics.jackknife_interval``.

    Args:
        embeddings: float array (K, n, d), as ``seed_variance``, with K >= 3.

    Returns:
        float64 numpy array (K,).
    """
    parts = _checked(embeddings, least_seeds=3)
    sums = _sums(parts)
    others = [(sums.items - sums.centred(part)).square().sum() for part in parts]
    squares, seed_squares = sums.squares, sums.seeds.square().sum(1)
    by_seed, _ = _fractions(
        len(parts) - 1,
        len(parts[0]),
        squares.sum() - squares,
        seed_squares.sum() - seed_squares,
        torch.stack(others),
        sums.seeds.sum(0) - sums.seeds,
    )
    return by_seed.cpu().numpy()


def _checked(embeddings, least_seeds: int = 2) -> list[Tensor]:
    """One checked matrix (n, d) for each seed."""
    shape = tuple(getattr(embeddings, "shape", ()))
    if len(shape) != 3 or shape[0] < least_seeds:
        raise UserError(f"embeddings must be (seeds, items, width) with at least {least_seeds} seeds, not {shape}")
    return [as_tensor(as_matrix(part, f"embeddings of seed {i}", 2)) for i, part in enumerate(embeddings)]


@dataclass(frozen=True)
class _Sums:
    """Float64 sums of centred rows: of their squares by seed (K,), of rows by seed (K, d) and by item (n, d)."""

    scale: float
    mean: Tensor
    squares: Tensor
    seeds: Tensor
    items: Tensor

    def centred(self, part: Tensor) -> Tensor:
        """Rows (n, d) of a seed over the largest entry of all, less the mean (d,) of all rows."""
        return part.double() / self.scale - self.mean


def _sums(parts: Sequence[Tensor]) -> _Sums:
    scale = max(float(part.abs().amax()) for part in parts) or 1.0
    mean = torch.stack([(part.double() / scale).mean(0) for part in parts]).mean(0)
    seeds = torch.zeros(len(parts), parts[0].shape[1], dtype=torch.float64, device=mean.device)
    sums = _Sums(scale, mean, torch.zeros_like(seeds[:, 0]), seeds, torch.zeros_like(parts[0], dtype=torch.float64))
    for seed, part in enumerate(parts):
        centred = sums.centred(part)
        sums.squares[seed], sums.seeds[seed] = centred.square().sum(), centred.sum(0)
        sums.items.add_(centred)
    if float(sums.squares.sum()) <= ALIKE * len(parts) * parts[0].numel():
        raise UserError("embeddings are all alike: there is no variance to explain")
    return sums


def _explained(sums: _Sums) -> tuple[float, float]:
    by_seed, by_item = _fractions(
        len(sums.seeds),
        len(sums.items),
        sums.squares.sum(),
        sums.seeds.square().sum(),
        sums.items.square().sum(),
        sums.seeds.sum(0),
    )
    return float(by_seed), float(by_item)


def _fractions(seeds: int, items: int, squares: Tensor, by_seed: Tensor, by_item: Tensor, total: Tensor):
    """The fractions (by seed, by item) from sums over all rows, seeds and items: a number, or one for each total.

    Args:
        squares: of the rows' squared norms.
        by_seed: of the squared norms of each seed's sum of rows.
        by_item: of the squared norms of each item's sum of rows.
        total: (..., d), sum of all rows.
    """
    base = total.square().sum(-1) / (seeds * items)
    seed_square, item_square = by_seed / items - base, by_item / seeds - base
    rest = (squares - base - seed_square - item_square) / ((seeds - 1) * (items - 1))
    seed_part = (seed_square / (seeds - 1) - rest) / items
    item_part = (item_square / (items - 1) - rest) / seeds
    whole = seed_part + item_part + rest
    return seed_part / whole, item_part / whole
