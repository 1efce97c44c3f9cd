"""All numbers of a gap at once: what stands at each panel of Figure 1, and what ``modality-gap measure`` prints."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .embeddings import Embeddings, Stored
from .numerics.moments import pair_moments
from .separability import MOST, sample, separability


@dataclass(frozen=True)
class Measures:
    """Of two modalities; everything but the separability from all rows.

    Attributes:
        modalities: their names, text last.
        n_other, n_text: rows of each.
        n_pairs: pairs; 0 where nothing is paired.
        dim: the width d.
        gap_distance: in [0, 2].
        matched_cosine: mean cosine of the pairs, in [-1, 1]; None where nothing is paired.
        mean_cosine_other, mean_cosine_text: over all pairs of different rows of one modality.
        relative_gap: RMG, in [0, 1]; None where nothing is paired.
        separability: cross-validated share of rows that a plane assigns to their modality, in [0, 1].
        separability_rows: how many rows of each modality that is measured on.
        norms_other, norms_text: the least and the largest norm of a row, before it was normalised here.
    """

    modalities: tuple[str, str]
    n_other: int
    n_text: int
    n_pairs: int
    dim: int
    gap_distance: float
    matched_cosine: float | None
    mean_cosine_other: float
    mean_cosine_text: float
    relative_gap: float | None
    separability: float
    separability_rows: int
    norms_other: tuple[float, float]
    norms_text: tuple[float, float]


def measure(
    embeddings: Embeddings | Stored, modalities: tuple[str, str] | None = None, seed: int = 0, most: int = MOST
) -> Measures:
    """The numbers of one pair of modalities.

    Args:
        embeddings: checked embeddings, in memory or mapped from a file of any size.
        modalities: which two; by default the first and the last.
        seed: of the sample and the folds of the separability.
        most: rows of each modality that the separability is measured on, at most.

    Raises:
        UserError: a zero row, or a value that is not finite; names the file, the modality and the row.
    """
    names = modalities or (embeddings.names[0], embeddings.names[-1])
    x, y = (embeddings.modalities[name] for name in names)
    pairs = pairs_of(embeddings, names)
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


def measure_all(embeddings: Embeddings | Stored, seed: int = 0, most: int = MOST) -> list[Measures]:
    """``measure`` of every two modalities."""
    return [measure(embeddings, names, seed, most) for names in combinations(embeddings.names, 2)]


def pairs_of(embeddings: Embeddings | Stored, names: tuple[str, str]) -> np.ndarray | None:
    """The pairs (p, 2) of two of the modalities, of more than two each once; None where nothing is paired."""
    if embeddings.pairs is None:
        return None
    columns = embeddings.pairs[:, [embeddings.names.index(name) for name in names]]
    return columns if len(embeddings.names) == 2 else np.unique(columns, axis=0)
