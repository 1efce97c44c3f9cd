"""Numbers of a sample: what cosines, planes and distances of all pairs say, on rows few enough to take all of them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .errors import UserError
from .geometry import unit_rows
from .numerics.arrays import blocks
from .numerics.items import matched

FOLDS = 5

BLOCK = 256
"""Rows whose cosines with all others are in memory at a time: 4 MB of float64 with 2000 others."""


def sample(
    counts: tuple[int, int], pairs: Int[np.ndarray, "p 2"] | None, most: int, seed: int
) -> tuple[Int[np.ndarray, "k"], Int[np.ndarray, "k"], bool]:
    """A random subset of both modalities, pair by pair where there are pairs, no row twice.

    ``counts`` are the rows of each modality, ``pairs`` the row numbers that belong together.

    Returns:
        row numbers (k,) of the first, ascending, and of the last modality, k at most ``most``, and whether entry i of
        both is a pair: where at least two pairs share no row.
    """
    rng = np.random.default_rng([seed, 4])
    chosen = np.empty((0, 2), np.int64) if pairs is None else pairs[rng.permutation(len(pairs))]
    for column in (0, 1):  # one pair for each image, then for each text
        chosen = chosen[np.sort(np.unique(chosen[:, column], return_index=True)[1])]
    chosen = chosen[:most]
    if len(chosen) < 2:
        k = min(*counts, most)
        return *(np.sort(rng.permutation(count)[:k]) for count in counts), False
    chosen = chosen[np.argsort(chosen[:, 0])]
    return chosen[:, 0], chosen[:, 1], True


def among(pairs: Int[np.ndarray, "p 2"] | None, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The pairs whose two rows are both among those chosen, as places (q, 2) there."""
    if pairs is None:
        return np.empty((0, 2), np.int64)
    places = np.full((2, 1 + max(pairs.max(), first.max(), last.max())), -1)
    for of, rows in zip(places, (first, last), strict=True):
        of[rows] = np.arange(len(rows))
    found = np.stack([of[column] for of, column in zip(places, pairs.T, strict=True)], axis=1)
    return found[(found >= 0).all(1)]


class Scores(NamedTuple):
    """Standard deviation of matched cosines; mean and standard deviation of unmatched ones, None if there are none.

    ``above`` is the share of matched cosines that are above 95% of the unmatched ones.
    """

    matched_std: float
    unmatched: float | None
    unmatched_std: float | None
    above: float | None


def scores(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"], pairs: Int[np.ndarray, "p 2"]) -> Scores:
    """What matched cosines are beside unmatched ones: all pairs of an x and a y that are not among ``pairs``.

    Rows are normalised here. Equal rows are one item, and unmatched with none of its partners. In memory is one block.
    """
    found = matched(x, y, pairs)
    x, y = (_unit64(part[rows]) for part, rows in ((x, found.first), (y, found.second)))
    first, last = found.pairs.T
    own, below, count, total, squares = np.sort(np.einsum("ij,ij->i", x[first], y[last])), 0, 0, 0.0, 0.0
    for start, block in blocks(x, BLOCK):
        apart, here = np.ones((len(block), len(y)), bool), (start <= first) & (first < start + len(block))
        apart[first[here] - start, last[here]] = False
        cosines = np.sort((block @ y.T)[apart])
        below, count = below + np.searchsorted(cosines, own), count + len(cosines)
        total, squares = total + cosines.sum(), squares + cosines @ cosines
    if not count:
        return Scores(float(own.std()), None, None, None)
    mean = float(total / count)
    std = max(float(squares / count) - mean**2, 0.0) ** 0.5
    return Scores(float(own.std()), mean, std, float((below / count >= 0.95).mean()))


def uniformity(x: Float[np.ndarray, "n d"]) -> float:
    """log mean exp(-2 ||u - v||^2) over all pairs of different rows, in [-8, 0]: lower where rows spread more evenly.

    Rows are normalised here. Source: Wang and Isola (2020), t = 2, without self-pairs. In memory is one block.
    """
    x = _unit64(x)
    total = sum(np.exp(4 * (block @ x.T - 1)).sum() for _, block in blocks(x, BLOCK)) - len(x)
    return float(np.log(total / (len(x) * (len(x) - 1))))


def _unit64(x: np.ndarray) -> np.ndarray:
    return np.asarray(unit_rows(np.asarray(x, np.float64)))


def separability(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"], seed: int = 0) -> float:
    """Share of the rows that a logistic regression, fitted on others, assigns to their own modality, in [0, 1].

    1 where a plane separates the modalities, however wide the gap; about 1/2 where they are two samples of one
    distribution. There are as many rows of each; they are normalised here. Row i of both is held out together.

    Trap: below 1/2 where the modalities were centred on these very rows, 0.30 for published CLIP and less the more
    columns there are. The means then agree exactly, so d_held = -d_fitted (1 - f)/f for the share f of rows held out:
    they lie on the other side. Centred by other rows (``util.interventions.fit``) they reach 1/2 or more.

    Source: Fahim et al., "It's Not a Modality Gap" (2024), who hold out one random fifth; here every pair is held out
    once. The penalty is theirs, scikit-learn's default (C = 1). Unit rows are moved to the centre of those fitted and
    divided by their root mean square distance from it, so that the penalty weighs narrow cones as wide ones.
    """
    x, y = _unit64(x), _unit64(y)
    if len(x) != len(y) or len(x) < 2:
        raise UserError(f"separability needs as many rows of both, two at least; there are {len(x)} and {len(y)}")
    right, order = 0, np.random.RandomState(seed).permutation(len(x))
    for held_out in np.array_split(order, min(FOLDS, len(x))):  # as scikit-learn's shuffled KFold
        fitted = ~np.isin(np.arange(len(x)), held_out)
        rows, modality = np.concatenate([x[fitted], y[fitted]]), np.repeat([0.0, 1.0], fitted.sum())
        centre = rows.mean(0)
        spread = np.sqrt(np.square(rows - centre).sum(1).mean()) or 1.0
        *plane, offset = _fitted_plane((rows - centre) / spread, modality)
        scores = [(part[held_out] - centre) / spread @ np.array(plane) + offset for part in (x, y)]
        right += int((scores[0] <= 0).sum() + (scores[1] > 0).sum())
    return right / (2 * len(x))


def _fitted_plane(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Weights and intercept (d + 1,) of a logistic regression with C = 1, as scikit-learn fits it."""
    # importing scikit-learn takes longer than the fit, and the threads of a BLAS wait longer than einsum computes
    from scipy.optimize import minimize

    count = len(rows)

    def loss(plane: np.ndarray) -> tuple[float, np.ndarray]:
        weights, scores = plane[:-1], np.einsum("ij,j->i", rows, plane[:-1]) + plane[-1]
        errors = (1 / (1 + np.exp(-scores)) - classes) / count
        value = (np.logaddexp(0, scores) - classes * scores).mean() + 0.5 / count * (weights @ weights)
        return value, np.append(np.einsum("i,ij->j", errors, rows) + weights / count, errors.sum())

    options = {"maxiter": 100, "maxls": 50, "gtol": 1e-4, "ftol": 64 * np.finfo(float).eps}
    return minimize(loss, np.zeros(rows.shape[1] + 1), method="L-BFGS-B", jac=True, options=options).x
