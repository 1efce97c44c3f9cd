"""Interventions that are one matrix: the Procrustes rotation of the texts, and the ablation of dimensions."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from ..errors import UserError
from ..geometry import unit_rows
from ..numerics.arrays import Array, as_count, blocks, new_result, to_numpy, wide
from ..numerics.moments import moments
from .intervention import Intervention, Modality


@dataclass(frozen=True, kw_only=True, eq=False)
class Procrustes(Intervention):
    """Texts turned onto the rows that they pair with; the first modality stays where it is.

    Attributes:
        rotation: float64 (d, d), orthogonal; y' = y @ rotation, ``util.numerics.procrustes.orthogonal_map``.

    An isometry: cosines within the texts stay, and the inverse is exact. So does the norm of the text centroid: a gap
    of at least the difference of the centroids' norms remains. Paper: section 4.3, the amended initialization.
    """

    kind: ClassVar[str] = "procrustes"
    rotation: Float[np.ndarray, "d d"]

    def __post_init__(self) -> None:
        from ..numerics.procrustes import as_text_map

        turn = to_numpy(as_text_map(self.rotation)).copy()
        turn.setflags(write=False)
        self._keep(rotation=turn)

    @classmethod
    def _fitted(cls, x: Array, y: Array) -> dict:
        """The matrix that brings row i of the texts nearest to row i of the others.

        Trap: with fewer pairs than d the matrix is not unique and says little of other pairs.
        """
        from ..numerics.procrustes import orthogonal_map

        return {"rotation": to_numpy(orthogonal_map(unit_rows(wide(x)), unit_rows(wide(y))))}

    def _apply(self, rows: Array, name: Modality) -> Array:
        return self._turned(rows, name, self.rotation)

    def _invert(self, rows: Array, name: Modality) -> Array:
        return self._turned(rows, name, self.rotation.T)

    def _turned(self, rows: Array, name: Modality, rotation: np.ndarray) -> Array:
        from ..numerics.procrustes import mapped

        out, turn = new_result(rows), rotation if name == "y" else None
        for start, block in blocks(rows):
            out[start : start + len(block)] = unit_rows(mapped(wide(block), turn), self.called(name))
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Ablation(Intervention):
    """The dimensions in which the centroids are furthest apart deleted from both modalities, then renormalised.

    Attributes:
        dimensions: int64 (k,), which are deleted, that of the largest difference first.
        dim: the width d of the rows that it takes; those that it gives have d - k.

    What is deleted is gone: there is no inverse. Source: Schrodi et al., "Two effects, one trigger" (2024), who delete
    up to 20 of 512 dimensions, chosen once on all of them; their finding is that a gap closed afterwards need not help
    the task.
    """

    kind: ClassVar[str] = "ablation"
    dimensions: Int[np.ndarray, "k"]
    dim: int

    def __post_init__(self) -> None:
        given, d = np.asarray(self.dimensions), as_count(self.dim, "dim", least=2)
        fits = given.ndim == 1 and given.dtype.kind in "iu" and 1 <= given.size < d
        if not fits or given.min() < 0 or given.max() >= d or len(np.unique(given)) < given.size:
            raise UserError(f"dimensions must be 1 to {d - 1} different whole numbers from 0 to {d - 1}")
        deleted = given.astype(np.int64)
        deleted.setflags(write=False)
        self._keep(dimensions=deleted, dim=d)

    @property
    def width(self) -> int:
        """The width d of the rows that it takes."""
        return self.dim

    @classmethod
    def _fitted(cls, x: Array, y: Array, dimensions: int) -> dict:
        """So many dimensions, 1 to d - 1, of the largest entries of the gap vector, whatever their sign."""
        d = x.shape[1]
        if as_count(dimensions, "dimensions") >= d:
            raise UserError(f"dimensions must be at most {d - 1} of {d}, not {dimensions}")
        gap = moments(x).centroid - moments(y).centroid
        order = np.argsort(-np.abs(gap), kind="stable")  # of equal ones the first
        return {"dimensions": order[:dimensions], "dim": d}

    def _apply(self, rows: Array, name: Modality) -> Array:
        return unit_rows(rows[:, np.setdiff1d(np.arange(self.dim), self.dimensions)], self.called(name))

    def _invert(self, rows: Array, name: Modality) -> Array:
        raise UserError(f"an ablation has no inverse: the {len(self.dimensions)} dimensions that it deleted are gone")
