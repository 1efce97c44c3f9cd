"""Whether a plane separates two modalities, by cross-validation."""

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from .errors import UserError
from .geometry import unit_rows

MOST = 2000
"""Rows of each modality from which a sample is taken: at 512 columns five fits take about a second."""

FOLDS = 5


def separability(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"], seed: int = 0, folds: int = FOLDS) -> float:
    """Share of the rows that a logistic regression, fitted on others, assigns to their own modality.

    Args:
        x, y: as many rows of each, so that guessing is right half the time; rows are normalised here. Row i of both,
            a pair where there is one, is held out together.
        seed: of the folds.
        folds: cut to the number of rows.

    Returns:
        in [0, 1]: 1 where a plane separates the modalities, about 1/2 where they are mixed.

    Raises:
        UserError: unequal counts, fewer than two rows, rows that ``unit_rows`` refuses.

    Source: Fahim et al., "It's Not a Modality Gap" (2024), who hold out one random fifth; here every pair is held out
    once. scikit-learn's default penalty (C = 1) as there, on unit rows that are moved to the centre of those fitted and
    divided by one number, their root mean square distance from it, so that it weighs narrow cones as wide ones. Trap:
    with few rows and many columns any two samples look separable on the rows that were fitted, hence the held-out ones;
    and a value of 1 says nothing about how wide the gap is.
    """
    x, y = (np.asarray(unit_rows(np.asarray(part, np.float64))) for part in (x, y))
    if len(x) != len(y) or len(x) < 2:
        raise UserError(f"separability needs as many rows of both, two at least; there are {len(x)} and {len(y)}")
    right = 0
    for fitted, held_out in KFold(min(folds, len(x)), shuffle=True, random_state=seed).split(x):
        rows, modality = _labelled(x, y, fitted)
        centre = rows.mean(0)
        spread = np.sqrt(np.square(rows - centre).sum(1).mean()) or 1.0
        model = LogisticRegression().fit((rows - centre) / spread, modality)
        rows, modality = _labelled(x, y, held_out)
        right += int((model.predict((rows - centre) / spread) == modality).sum())
    return right / (2 * len(x))


def _labelled(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([x[rows], y[rows]]), np.repeat([0, 1], len(rows))


def sample(
    counts: tuple[int, int], pairs: Int[np.ndarray, "p 2"] | None, most: int, seed: int
) -> tuple[Int[np.ndarray, "k"], Int[np.ndarray, "k"], bool]:
    """A random subset of both modalities, pair by pair where there are pairs, no row twice.

    Args:
        counts: rows of each modality.
        pairs: row numbers that belong together, or None.
        most: rows of each at most.
        seed: of the draw.

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
