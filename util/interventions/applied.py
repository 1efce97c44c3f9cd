"""Embeddings of two modalities or more as interventions see them: the first modality, and the last, which is text."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ..embeddings import Embeddings


def first_and_last(embeddings: Embeddings) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]:
    """All rows of the first modality and of the last, paired or not."""
    return embeddings.modalities[embeddings.names[0]], embeddings.modalities[embeddings.names[-1]]


def replaced(
    before: Embeddings, moved: tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "m k"]], told: Mapping
) -> Embeddings:
    """The embeddings with other rows for the first modality and the last.

    Args:
        before: what they are of; modalities in between, pairs, labels and source are kept.
        moved: the new rows, as many as before.
        told: what to add to the source.

    Raises:
        UserError: the width changed and a modality in between has the old one.
    """
    modalities = {**before.modalities, **dict(zip((before.names[0], before.names[-1]), moved, strict=True))}
    unpaired = np.empty((0, len(before.names)), np.int64)
    pairs = unpaired if before.pairs is None else before.pairs
    return Embeddings.of(modalities, pairs, before.labels, {**before.source, **told})
