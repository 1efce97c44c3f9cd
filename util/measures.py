"""All numbers of a gap at once: what stands at each panel of Figure 1, and what ``modality-gap measure`` prints."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .embeddings import Embeddings, Stored
from .errors import UserError
from .geometry import unit_rows
from .numerics.moments import pair_moments

MOST = 2000
"""Rows of each modality from which a sample is taken: at 512 columns five fits take about a second."""

FOLDS = 5


@dataclass(frozen=True)
class Measures:
    """Numbers of two modalities; everything but the separability comes from all rows."""

    modalities: tuple[str, str]  # their names, text last
    n_other: int
    n_text: int
    n_pairs: int  # 0 where nothing is paired
    dim: int
    gap_distance: float  # in [0, 2]
    matched_cosine: float | None  # mean over the pairs, in [-1, 1]; None where nothing is paired
    mean_cosine_other: float  # over all pairs of different rows of one modality
    mean_cosine_text: float
    relative_gap: float | None  # RMG, in [0, 1]; None where nothing is paired
    separability: float  # cross-validated share of rows that a plane assigns to their modality, in [0, 1]
    separability_rows: int  # rows of each modality that it is measured on
    norms_other: tuple[float, float]  # the least and the largest norm of a row, before it was normalised here
    norms_text: tuple[float, float]

    def __str__(self) -> str:
        other, text = self.modalities
        of_pairs = self.matched_cosine, self.relative_gap
        matched, relative = ("not paired" if value is None else f"{value:.4f}" for value in of_pairs)
        return (
            f"{other} ({self.n_other} x {self.dim}) and {text} ({self.n_text} x {self.dim})\n"
            f"  gap distance           {self.gap_distance:.4f}\n"
            f"  matched cosine         {matched}\n"
            f"  mean cosine            {other} {self.mean_cosine_other:.4f}, {text} {self.mean_cosine_text:.4f}\n"
            f"  relative gap (RMG)     {relative}\n"
            f"  linear separability    {self.separability:.4f} (held out, {self.separability_rows} rows of each)"
        )


def measure(
    embeddings: Embeddings | Stored, modalities: tuple[str, str] | None = None, seed: int = 0, most: int = MOST
) -> Measures:
    """The numbers of one pair of modalities.

    Args:
        embeddings: checked embeddings, in memory or mapped from a file of any size.
        modalities: which two; needed where there are more.
        seed: of the sample and the folds of the separability.
        most: rows of each modality that the separability is measured on, at most.
    """
    names = modalities or embeddings.two()
    x, y = (embeddings.modalities[name] for name in names)
    pairs = embeddings.pairs_between(names)
    path = f"{embeddings.source['path']}: " if "path" in embeddings.source else ""
    found = pair_moments(x, y, pairs, tuple(f"{path}{name}" for name in names))
    first, last, _ = sample((len(x), len(y)), pairs, most, seed)
    return Measures(
        modalities=tuple(names),
        n_other=found.first.n,
        n_text=found.last.n,
        n_pairs=found.pairs,
        dim=x.shape[1],
        gap_distance=found.gap_distance,
        matched_cosine=found.matched_cosine,
        mean_cosine_other=found.first.mean_cosine,
        mean_cosine_text=found.last.mean_cosine,
        relative_gap=found.relative_gap,
        separability=separability(x[first], y[last], seed),
        separability_rows=len(first),
        norms_other=(found.first.shortest, found.first.longest),
        norms_text=(found.last.shortest, found.last.longest),
    )


def sample(
    counts: tuple[int, int], pairs: Int[np.ndarray, "p 2"] | None, most: int, seed: int
) -> tuple[Int[np.ndarray, "k"], Int[np.ndarray, "k"], bool]:
    """A random subset of both modalities, pair by pair where there are pairs, no row twice.

    ``counts`` are the rows of each modality, ``pairs`` the row numbers that belong together.

    Returns:
        row numbers (k,) of the first and of the last modality, k at most ``most``, and whether entry i of both is a
        pair: where ``pairs`` are given and at least two of them share no row. Ascending in the first, as a mapped file
        is best read.
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


def separability(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"], seed: int = 0) -> float:
    """Share of the rows that a logistic regression, fitted on others, assigns to their own modality.

    Args:
        x, y: as many rows of each, so that guessing is right half the time; rows are normalised here. Row i of both,
            a pair where there is one, is held out together.
        seed: of the folds, ``FOLDS`` or as many as there are rows.

    Returns:
        in [0, 1]: 1 where a plane separates the modalities, about 1/2 where they are two samples of one distribution.

    Trap: below 1/2 where the modalities were centred on these very rows, 0.30 for published CLIP and less the more
    columns there are. The means then agree exactly, so d_held = -d_fitted (1 - f)/f for the share f of rows held out:
    they lie on the other side. Centred by other rows (``util.interventions.fit``) they reach 1/2 or more.

    Source: Fahim et al., "It's Not a Modality Gap" (2024), who hold out one random fifth; here every pair is held out
    once. The penalty is theirs, scikit-learn's default (C = 1). Unit rows are moved to the centre of those fitted and
    divided by their root mean square distance from it, so that the penalty weighs narrow cones as wide ones. Trap:
    with few rows and many columns any two samples look separable on the rows that were fitted, hence the held-out ones.
    A value of 1 says nothing about how wide the gap is.
    """
    x, y = (np.asarray(unit_rows(np.asarray(part, np.float64))) for part in (x, y))
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
