"""Variance of embeddings that the initialization explains, and how close the cones of several seeds lie."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from util import UserError, geometry
from util.numerics.arrays import Array, as_matrix, as_tensor


@dataclass(frozen=True)
class SeedVariance:
    """How embeddings of the same items by several random initializations differ.

    Attributes:
        within_cosine: mean over the seeds of the mean cosine over pairs of different items, in [-1/(items - 1), 1].
        between_cosine: mean cosine over all pairs of rows of two different seeds, in [-1, 1].
        explained_by_seed: fraction of the variance of a row that the seed explains, Var[E[h|seed]] / Var[h].
        explained_by_item: fraction that the item explains; the rest is their interaction.
        nearest_own_cone: share of the rows whose cosine with the mean of their own seed's other rows is above those
            with the means of all other seeds, in [0, 1]; about 1/seeds where all seeds have one cone.
    """

    within_cosine: float
    between_cosine: float
    explained_by_seed: float
    explained_by_item: float
    nearest_own_cone: float


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
    rows = torch.stack([geometry.unit_rows(part.double()) for part in _checked(embeddings)])
    seeds, sums = range(len(rows)), rows.sum(1)
    within = sum(map(geometry.mean_cosine, rows)) / len(rows)
    centroids = sums / rows.shape[1]
    between = float(centroids.sum(0).square().sum() - centroids.square().sum()) / (len(rows) * (len(rows) - 1))
    cosines = rows @ normalize(sums).T
    cosines[seeds, :, seeds] = (rows * normalize(sums[:, None] - rows, dim=2)).sum(2)
    nearest = cosines.argmax(2) == torch.arange(len(rows), device=rows.device)[:, None]
    return SeedVariance(within, between, *explained_fractions(embeddings), float(nearest.double().mean()))


def explained_fractions(embeddings: Float[Array, "seeds items d"]) -> tuple[float, float]:
    """(explained_by_seed, explained_by_item) of ``seed_variance`` alone, for rows that may be zero."""
    h = _centred(embeddings)
    sums = (part.square().sum() for part in (h, h.sum(1), h.sum(0)))
    by_seed, by_item = _fractions(*h.shape[:2], *sums, total=0.0)
    return float(by_seed), float(by_item)


def seed_fractions_left_out(embeddings: Float[Array, "seeds items d"]) -> Float[np.ndarray, "seeds"]:
    """``explained_by_seed`` without each of at least 3 seeds in turn, (K,), for a jackknife interval."""
    h = _centred(embeddings, least_seeds=3)
    squares, seed_squares = h.square().sum((1, 2)), h.sum(1).square().sum(1)
    item_squares = (h.sum(0) - h).square().sum((1, 2))
    others = squares.sum() - squares, seed_squares.sum() - seed_squares, item_squares
    by_seed, _ = _fractions(len(h) - 1, h.shape[1], *others, total=seed_squares)
    return by_seed.cpu().numpy()


def _checked(embeddings, least_seeds: int = 2) -> list[Tensor]:
    """One checked matrix (n, d) for each seed."""
    shape = tuple(getattr(embeddings, "shape", ()))
    if len(shape) != 3 or shape[0] < least_seeds:
        raise UserError(f"embeddings must be (seeds, items, width) with at least {least_seeds} seeds, not {shape}")
    return [as_tensor(as_matrix(part, f"embeddings of seed {i}", 2)) for i, part in enumerate(embeddings)]


def _centred(embeddings, least_seeds: int = 2) -> Float[Tensor, "seeds items d"]:
    """Rows in float64 over the largest entry of all, less their mean."""
    h = torch.stack(_checked(embeddings, least_seeds)).double()
    h = h / (float(h.abs().amax()) or 1.0)
    h -= h.mean((0, 1))
    if float(h.square().mean()) <= 1e-30:  # the rounding of float64, where the largest entry was 1
        raise UserError("embeddings are all alike: there is no variance to explain")
    return h


def _fractions(seeds: int, items: int, squares, by_seed, by_item, total):
    """The two fractions from the sums of squared norms of rows, of sums by seed, by item and of all (the total)."""
    base = total / (seeds * items)
    seed_square, item_square = by_seed / items - base, by_item / seeds - base
    rest = (squares - base - seed_square - item_square) / ((seeds - 1) * (items - 1))
    seed_part = (seed_square / (seeds - 1) - rest) / items
    item_part = (item_square / (items - 1) - rest) / seeds
    whole = seed_part + item_part + rest
    return seed_part / whole, item_part / whole
