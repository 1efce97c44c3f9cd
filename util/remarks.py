"""Sentences on embeddings for whoever reads their numbers."""

from collections.abc import Mapping

from .numerics.arrays import UNIT_TOLERANCE
from .numerics.items import copies
from .numerics.moments import Moments, moments

ONE_DIRECTION = 0.99
"""A mean cosine above this is said: trained encoders of things that differ stay well below."""
MOST_COMPARED = 1_000_000
"""Equal rows are looked for in modalities of so many rows, for their hashes stay in memory."""


def remarks(stored, found: Mapping[str, Moments] | None = None) -> list[str]:
    """Sentences on what makes numbers of a set mean less: norms other than 1, equal rows, rows that hardly differ.

    ``found`` are the moments of each modality's rows as stored, where they are known.
    """
    where = begun_by(stored.source)
    found = found or {name: moments(rows, f"{where}{name}") for name, rows in stored.modalities.items()}
    spans = {name: (each.shortest, each.longest) for name, each in found.items()}
    scaled = [f"{name} {a:.4g} to {b:.4g}" for name, (a, b) in spans.items() if max(1 - a, b - 1) > UNIT_TOLERANCE]
    said = [f"{where}rows are made unit-norm here; norms were {', '.join(scaled)}"] if scaled else []
    compared = {name: rows for name, rows in stored.modalities.items() if len(rows) <= MOST_COMPARED}
    said += [f"{where}{each}" for each in copies(compared)]
    for name, each in found.items():
        if each.n > 1 and each.mean_cosine > ONE_DIRECTION:
            one = f"{where}{name}: rows hardly differ, mean cosine {each.mean_cosine:.4f}"
            said.append(f"{one}; the gap and every accuracy of them mean little: is the encoder right?")
    return said


def begun_by(source: Mapping) -> str:
    """What an error about embeddings begins with: the file's path."""
    return f"{source['path']}: " if "path" in source else ""
