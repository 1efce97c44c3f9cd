"""The kinds of interventions: a shift, centring and ReAlign add vectors, Procrustes turns, an ablation deletes."""

from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Float, Int
from pydantic import AfterValidator, BeforeValidator, PositiveFloat, model_validator

from ..errors import UserError
from ..geometry import Side, resolve_direction, side_amounts, unit_rows
from ..numerics.arrays import Array, as_count, blocks, new_result, to_numpy, wide
from ..numerics.moments import moments
from ..numerics.procrustes import as_text_map, mapped, orthogonal_map
from ..numerics.shifts import moved
from .intervention import Intervention, Vector, kept

NO_VARIANCE = 1e-12
"""Trace of a covariance below which all rows count as one: what is left is rounding."""


def _of_norm_1(direction: np.ndarray) -> np.ndarray:
    if abs(np.linalg.norm(direction) - 1) > 1e-12:
        raise ValueError(f"must have norm 1; it has {np.linalg.norm(direction):.6g}")
    return direction


class Shift(Intervention):
    """The paper's embedding shift: along one direction by one amount, then renormalised, as ``util.geometry.shift``.

    Attributes:
        direction: float64 (d,), unit norm.
        amount: the paper's delta: positive closes the gap along the direction.
        side: "both" moves x by -amount/2 and y by +amount/2, "first" x by -amount alone, "second" y by +amount alone.
        gap_vector: float64 (d,), that of the rows it was fitted on; None where it was not fitted.

    The inverse is exact while no modality moves by 1 or more: |amount| < 2 for "both", < 1 for one side. Paper: section
    4.2, Figure 3 and Table 1 ("both"), Table 2 ("first").
    """

    kind: ClassVar = "shift"
    direction: Annotated[Vector, AfterValidator(_of_norm_1)]
    amount: float
    side: Side
    gap_vector: Vector | None = None

    @classmethod
    def fitted(
        cls,
        x: Array,
        y: Array,
        amount: float | None = None,
        direction: Float[Array, "d"] | None = None,
        side: Side = "both",
    ) -> dict:
        """The shift along the unit gap vector, or along a direction given, which is made unit.

        Without an amount it is the length of the gap vector along the direction, so that along it the centroids meet
        before rows are renormalised. After that some gap is left.
        """
        unit = to_numpy(resolve_direction(x, y, direction))
        gap = moments(x).centroid - moments(y).centroid
        amount = float(gap @ unit) if amount is None else amount
        return {"direction": unit, "amount": amount, "side": side, "gap_vector": gap}

    def _steps(self, place: int) -> tuple[np.ndarray, ...]:
        return ((-1, 1)[place] * side_amounts(self.amount, self.side)[place] * self.direction,)


class Centring(Intervention):
    """Each modality minus its own mean, then renormalised.

    Attributes:
        mean_x, mean_y: float64 (d,), centroids of the unit rows fitted on, themselves not normalised; mean_y is None
            where it was fitted on one modality.

    On the rows that it was fitted on the gap is zero, to rounding, before they are renormalised; after, and on other
    rows, it is small and not zero. The inverse is exact, but for a modality whose fitted rows were all one.

    Source: "centering" of Zhang et al., "Diagnosing and rectifying vision models using language" (2023), the collapse
    of C3 (2024) without its noise, the calibration of GR-CLIP (2025) and I0T's post-hoc standardisation (2025, which
    divides by the norm of a row and not by a standard deviation) are this one operation: they differ in the data that
    the means are of. Trap: GR-CLIP takes the mean of queries and that of documents apart, although both are text; fit
    once for each.
    """

    kind: ClassVar = "centring"
    of_one: ClassVar = True
    mean_x: Vector
    mean_y: Vector | None = None

    @classmethod
    def fitted(cls, x: Array, y: Array | None = None) -> dict:
        return {f"mean_{name}": moments(rows).centroid for name, rows in (("x", x), ("y", y)) if rows is not None}

    def _steps(self, place: int) -> tuple[np.ndarray, ...]:
        if (mean := (self.mean_x, self.mean_y)[place]) is None:
            raise UserError(f"this centring was fitted on {self.names[0]} alone, and has no mean for other rows")
        return (-mean,)


class ReAlign(Intervention):
    """Texts brought to the mean and the total variance of the first modality, which stays where it is.

    a = s (y - mean_y) + mean_x, b = norm(a), y' = norm(b - mean_b + mean_x).

    Attributes:
        mean_x, mean_y: float64 (d,), centroids of the unit rows fitted on.
        mean_b: float64 (d,), mean of the rows b of the texts fitted on.
        scale: s, the root of the ratio of the traces of the covariances, that of x over that of y.

    On the rows fitted on, the mean and the trace of a are those of x, and so is the mean of b - mean_b + mean_x; the
    last renormalisation leaves both approximate. Because norm(a) = norm(y - mean_y + mean_x / s), this is two steps,
    and its inverse is exact while both are shorter than 1.

    Source: ReAlign (Yu et al., 2026), whose ``embed_ReAlign.py`` makes texts stand in for images in training. A trace
    here divides by n - 1, so that it does not depend on how many rows there are: it is 1 minus the mean cosine of
    different rows.
    """

    kind: ClassVar = "realign"
    mean_x: Vector
    mean_y: Vector
    mean_b: Vector
    scale: PositiveFloat

    @classmethod
    def fitted(cls, x: Array, y: Array) -> dict:
        """The statistics of both modalities, of two rows at least that are not all one."""
        found = {"x": moments(x), "y": moments(y)}
        traces = {name: 1 - part.mean_cosine if part.n > 1 else 0.0 for name, part in found.items()}
        for name, trace in traces.items():
            if trace < NO_VARIANCE:
                raise UserError(f"{name}: ReAlign needs rows that differ; the trace of their covariance is {trace:.1e}")
        scale = float(np.sqrt(traces["x"] / traces["y"]))
        mean_x, mean_y = found["x"].centroid, found["y"].centroid
        mean_b = moments(moved(y, mean_x / scale - mean_y, "y")).centroid
        return {"mean_x": mean_x, "mean_y": mean_y, "mean_b": mean_b, "scale": scale}

    def _steps(self, place: int) -> tuple[np.ndarray, ...]:
        if place == 0:
            return (np.zeros(self.width),)
        return self.mean_x / self.scale - self.mean_y, self.mean_x - self.mean_b


def _orthogonal(matrix) -> Float[np.ndarray, "d d"]:
    return kept(to_numpy(as_text_map(matrix)))


class Procrustes(Intervention):
    """Texts turned onto the rows that they pair with; the first modality stays where it is.

    Attributes:
        rotation: float64 (d, d), orthogonal; y' = y @ rotation, ``util.numerics.procrustes.orthogonal_map``.

    An isometry: cosines within the texts stay, and the inverse is exact. So does the norm of the text centroid: a gap
    of at least the difference of the centroids' norms remains. Paper: section 4.3, the amended initialization.
    """

    kind: ClassVar = "procrustes"
    rotation: Annotated[np.ndarray, BeforeValidator(_orthogonal)]

    @classmethod
    def fitted(cls, x: Array, y: Array) -> dict:
        """The matrix that brings row i of the texts nearest to row i of the others.

        Trap: with fewer pairs than d the matrix is not unique and says little of other pairs.
        """
        return {"rotation": to_numpy(orthogonal_map(unit_rows(wide(x)), unit_rows(wide(y))))}

    def _steps(self, place: int) -> tuple[np.ndarray, ...]:
        return (self.rotation if place else np.eye(self.width),)

    def _forth(self, rows: Array, step: np.ndarray, name: str) -> Array:
        out = new_result(rows)
        for start, block in blocks(rows):
            out[start : start + len(block)] = unit_rows(mapped(wide(block), step), name)
        return out

    def _back(self, rows: Array, step: np.ndarray, name: str) -> Array:
        return self._forth(rows, step.T, name)


def _whole(values) -> Int[np.ndarray, "k"]:
    given = np.asarray(values)
    if given.ndim != 1 or not given.size or given.dtype.kind not in "iu":
        raise ValueError("must be whole numbers in a row")
    return kept(given.astype(np.int64))


class Ablation(Intervention):
    """The dimensions in which the centroids are furthest apart deleted from both modalities, then renormalised.

    Attributes:
        dimensions: int64 (k,), which are deleted, that of the largest difference first.
        dim: the width d of the rows that it takes; those that it gives have d - k.

    What is deleted is gone: there is no inverse. Source: Schrodi et al., "Two effects, one trigger" (2024), who delete
    up to 20 of 512 dimensions, chosen once on all of them; their finding is that a gap closed afterwards need not help
    the task.
    """

    kind: ClassVar = "ablation"
    dimensions: Annotated[np.ndarray, BeforeValidator(_whole)]
    dim: int

    @model_validator(mode="after")
    def _there(self) -> "Ablation":
        different = set(self.dimensions.tolist())
        if len(different) < len(self.dimensions) or not different < set(range(self.dim)):
            raise ValueError(f"dimensions must be different, from 0 to {self.dim - 1}, and not all {self.dim}")
        return self

    @property
    def width(self) -> int:
        """The width d of the rows that it takes."""
        return self.dim

    @classmethod
    def fitted(cls, x: Array, y: Array, dimensions: int) -> dict:
        """So many dimensions, 1 to d - 1, of the largest entries of the gap vector, whatever their sign."""
        d = x.shape[1]
        if as_count(dimensions, "dimensions") >= d:
            raise UserError(f"dimensions must be at most {d - 1} of {d}, not {dimensions}")
        gap = moments(x).centroid - moments(y).centroid
        order = np.argsort(-np.abs(gap), kind="stable")  # of equal ones the first
        return {"dimensions": order[:dimensions], "dim": d}

    def _steps(self, place: int) -> tuple[np.ndarray, ...]:
        return (np.setdiff1d(np.arange(self.dim), self.dimensions),)

    def _forth(self, rows: Array, step: np.ndarray, name: str) -> Array:
        return unit_rows(rows[:, step], name)

    def _back(self, rows: Array, step: np.ndarray, name: str) -> Array:
        raise UserError(f"an ablation has no inverse: the {len(self.dimensions)} dimensions that it deleted are gone")


KINDS: dict[str, type[Intervention]] = {cls.kind: cls for cls in (Shift, Centring, ReAlign, Procrustes, Ablation)}
