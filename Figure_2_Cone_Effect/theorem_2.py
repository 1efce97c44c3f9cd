"""Theorem 2 by experiment: the variance that the initialization explains, and how close cones of several seeds lie."""

import math
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

import random_networks
from theorem_1 import arc_cosine_kernel
from util import UserError, geometry
from util.numerics.arrays import Array, as_count, as_matrix, as_tensor
from util.numerics.statistics import jackknife_interval
from util.published import compare, numbers
from util.records import Comparison

ONE_LAYER = {
    "pre-activation, bias": (False, True),
    "pre-activation, no bias": (False, False),
    "after ReLU, bias": (True, True),
    "after ReLU, no bias": (True, False),
}
"""Cases with one layer: whether after ReLU, whether with a bias."""
ON_SPHERE, AS_FIGURE = "by depth, every layer's inputs on the unit sphere", "by depth, network as in Figure 2 (b)"
AVERAGE_COSINES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Of the inputs of one layer."""


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


def seed_share(cosine, *, relu: bool, bias: bool):
    """Var[E[h|Theta]] / Var[h] for one random layer on unit inputs, all pairs of them of the same cosine in [-1, 1].

    For pre-activations that is their correlation rho: the cosine c without a bias, (1 + c)/2 with one of the variance
    of its products. After ReLU, (E[relu(x) relu(y)] - E[relu]^2) / (E[relu^2] - E[relu]^2), it is
    (pi kappa(rho) - 1) / (pi - 1).

    Paper: theorem 2, which bounds the share from below by the average cosine. Trap: after ReLU without a bias the
    share is smaller than the cosine (0.43 at 0.5): the theorem is about pre-activations.
    """
    rho = (1 + np.asarray(cosine)) / 2 if bias else np.asarray(cosine)
    return (np.pi * arc_cosine_kernel(rho) - 1) / (np.pi - 1) if relu else rho


class Share(NamedTuple):
    """Var[E[h|Theta]] / Var[h], bias-corrected, also without each seed in turn, beside its bound and closed form."""

    share: float
    left_out: Float[np.ndarray, "seeds"]
    cosine: float  # average of the layer's inputs: the bound
    expected: float


def _share(h: Tensor, cosine: float, expected: float) -> Share:
    return Share(explained_fractions(h)[0], seed_fractions_left_out(h), cosine, expected)


def equal_cosines(items: int, cosine: float) -> Float[Tensor, "items d"]:
    """Unit rows (items, items + 1), float64, every two of them of the same cosine, from 0 to 1."""
    if not 0 <= cosine <= 1:
        raise UserError(f"the average cosine must be from 0 to 1, not {cosine}")
    shared = torch.full((as_count(items, "items", least=2), 1), math.sqrt(cosine), dtype=torch.float64)
    return torch.cat([shared, math.sqrt(1 - cosine) * torch.eye(items, dtype=torch.float64)], dim=1)


def one_layer(
    cosine: float, *, relu: bool, bias: bool, seeds: int = 64, items: int = 64, width: int = 128, seed: int = 0
) -> Share:
    """The share of at least 3 seeds after one random layer of d_out ``width``, on inputs of ``equal_cosines``.

    ``relu`` and ``bias`` are those of ``seed_share``. Calls with the same seed share the weights.
    """
    inputs, generator = equal_cosines(items, cosine), np.random.default_rng(seed)
    weights = torch.from_numpy(generator.standard_normal((seeds, inputs.shape[1], width)))
    h = inputs @ weights
    if bias:
        h += torch.from_numpy(generator.standard_normal((seeds, 1, width)))
    return _share(torch.relu(h) if relu else h, cosine, float(seed_share(cosine, relu=relu, bias=bias)))


def by_depth(
    *, layers: int = 25, seeds: int = 64, items: int = 64, width: int = 256, seed: int = 0, device: str = "cpu"
) -> dict[bool, list[Share]]:
    """The share of the initialization in the pre-activations of every layer of random ReLU networks with biases.

    The weights of the k-th of at least 3 networks are those of ``draw_layer`` for ``seed + k``. All have one set of
    inputs N(0, I). Theta is the weights of all layers up to the one measured.

    True gives a ``Share`` a layer of networks that put every layer's input on the unit sphere first, as the theorem
    assumes; False the same weights without that, as in Figure 2 (b). ``expected`` is (E[x.x'] + 1) / (E|x|^2 + 1) over
    the layer's different inputs x, x' as measured: (1 + cosine)/2 on the sphere.
    """
    inputs = random_networks.draw_inputs(items, width, seed).to(device).expand(seeds, -1, -1)
    rows, shares = {True: inputs, False: inputs}, {True: [], False: []}
    for layer in range(1, layers + 1):
        drawn = [random_networks.draw_layer(width, seed + k, layer) for k in range(seeds)]
        weights, biases = (torch.stack(part).to(device) for part in zip(*drawn, strict=True))
        for on_sphere, x in rows.items():
            x = geometry.unit_rows(x.reshape(-1, width)).view(x.shape) if on_sphere else x
            h = torch.baddbmm(biases[:, None], x, weights.transpose(1, 2))
            cosine, wide = sum(map(geometry.mean_cosine, x)) / seeds, x.double()
            squares = float(wide.square().sum((1, 2)).mean())
            products = (float(wide.sum(1).square().sum(1).mean()) - squares) / (items - 1)
            shares[on_sphere].append(_share(h, cosine, (products + items) / (squares + items)))
            rows[on_sphere] = torch.relu(h)
    return shares


def measure(*, seeds: int, items: int, width: int, layers: int, seed: int, device: str) -> pd.DataFrame:
    """Rows of ``theorems.csv``: the share after one layer of half the width, for all cases and cosines, and by depth.

    Trials are initializations, predictions closed forms. There is no norm where inputs are not unit vectors.
    """
    rows, counts = [], {"seeds": seeds, "items": items, "seed": seed}
    for (case, (relu, bias)), cosine in product(ONE_LAYER.items(), AVERAGE_COSINES):
        share = one_layer(cosine, relu=relu, bias=bias, width=width // 2, **counts)
        rows.append(_row(case, share, 1, width // 2, bias and not relu))
    for on_sphere, shares in by_depth(layers=layers, width=width, device=device, **counts).items():
        case = ON_SPHERE if on_sphere else AS_FIGURE
        rows += [_row(case, share, layer, width, on_sphere) for layer, share in enumerate(shares, 1)]
    return pd.DataFrame(rows)


def _row(case: str, share: Share, layers: int, width: int, in_condition: bool) -> dict:
    low, high = jackknife_interval(share.share, share.left_out)
    norm = np.nan if case == AS_FIGURE else 1.0
    about = {"theorem": 2, "cosine": share.cosine, "norm_ratio": norm, "norm": norm, "d_out": width, "layers": layers}
    about |= {"in_condition": in_condition, "n_trials": len(share.left_out), "case": case}
    return about | {"estimate": share.share, "ci_low": low, "ci_high": high, "predicted": share.expected}


def comparisons(table: pd.DataFrame) -> list[Comparison]:
    """Theorem 2 where its assumptions hold, and in networks as in Figure 2 (b)."""
    found, least = [], numbers()["theorem_2.share"].judged_by.tolerance
    for case in ("pre-activation, bias", ON_SPHERE, AS_FIGURE):
        part = table[table["case"] == case]
        difference, held = (part["estimate"] - part["cosine"]).min(), bool(part["in_condition"].all())
        note = "" if held else "its inputs are not unit vectors, which the theorem assumes"
        found.append(compare("theorem_2.share", difference, case, bool(difference >= least), note, own=held))
    return found
