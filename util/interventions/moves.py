"""Interventions that add one vector to all rows of a modality: the shift, centring and ReAlign."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from ..errors import UserError
from ..geometry import Side, resolve_direction, side_amounts
from ..numerics.arrays import Array, to_numpy
from ..numerics.moments import moments
from ..numerics.shifts import moved
from .intervention import Intervention, Modality, number, unmoved, vector

ALREADY_UNIT = 1e-12
"""A direction whose norm is this near to 1 stays as it is, so that a file gives back the bits that it was given."""

NO_VARIANCE = 1e-12
"""Trace of a covariance below which all rows count as one: what is left is rounding."""


class _Move(Intervention):
    """x' = norm(x + step), once or several times, a step of its own for each modality."""

    @abstractmethod
    def _steps(self, name: Modality) -> tuple[np.ndarray, ...]:
        """What is added to the rows of a modality, in order; they are renormalised after each."""

    def _apply(self, rows: Array, name: Modality) -> Array:
        for step in self._steps(name):
            rows = moved(rows, step, self.called(name))
        return rows

    def _invert(self, rows: Array, name: Modality) -> Array:
        for step in reversed(self._steps(name)):
            rows = unmoved(rows, step, self.called(name))
        return rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Shift(_Move):
    """The paper's embedding shift: along one direction by one amount, then renormalised, as ``util.geometry.shift``.

    Attributes:
        direction: float64 (d,), unit norm; one that is given longer or shorter is made unit.
        amount: the paper's delta, in units of the direction: positive closes the gap along it.
        side: "both" moves x by -amount/2 and y by +amount/2, "first" x by -amount alone, "second" y by
            +amount alone.
        gap_vector: float64 (d,), that of the rows it was fitted on; None where it was not fitted.

    The inverse is exact while no modality moves by 1 or more: |amount| < 2 for "both", < 1 for one side. Paper: section
    4.2, Figure 3 and Table 1 ("both"), Table 2 ("first").
    """

    kind: ClassVar[str] = "shift"
    direction: Float[np.ndarray, "d"]
    amount: float
    side: Side = "both"
    gap_vector: Float[np.ndarray, "d"] | None = None

    def __post_init__(self) -> None:
        given = vector(self.direction, "direction")
        length = np.linalg.norm(given)
        if not length:
            raise UserError("direction must not be zero")
        unit = given if abs(length - 1) <= ALREADY_UNIT else vector(given / length, "direction")
        self._keep(direction=unit, amount=number(self.amount, "amount"))
        if self.gap_vector is not None:
            self._keep(gap_vector=vector(self.gap_vector, "gap_vector", self.width))
        side_amounts(self.amount, self.side)

    @classmethod
    def _fitted(
        cls,
        x: Array,
        y: Array,
        amount: float | None = None,
        direction: Float[Array, "d"] | None = None,
        side: Side = "both",
    ) -> dict:
        """The shift along the unit gap vector, or along a direction given.

        Without an amount it is the length of the gap vector along the direction, so that along it the centroids meet
        before rows are renormalised. After that some gap is left.
        """
        unit = to_numpy(resolve_direction(x, y, direction))
        gap = moments(x).centroid - moments(y).centroid
        amount = float(gap @ unit) if amount is None else amount
        return {"direction": unit, "amount": amount, "side": side, "gap_vector": gap}

    def _steps(self, name: Modality) -> tuple[np.ndarray, ...]:
        move_x, move_y = side_amounts(self.amount, self.side)
        return ((-move_x if name == "x" else move_y) * self.direction,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Centring(_Move):
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

    kind: ClassVar[str] = "centring"
    of_one: ClassVar[bool] = True
    mean_x: Float[np.ndarray, "d"]
    mean_y: Float[np.ndarray, "d"] | None = None

    def __post_init__(self) -> None:
        self._keep(mean_x=vector(self.mean_x, "mean_x"))
        if self.mean_y is not None:
            self._keep(mean_y=vector(self.mean_y, "mean_y", self.width))

    @classmethod
    def _fitted(cls, *rows: Array) -> dict:
        return {f"mean_{name}": moments(part).centroid for name, part in zip("xy", rows, strict=False)}

    def _steps(self, name: Modality) -> tuple[np.ndarray, ...]:
        if (mean := self.mean_x if name == "x" else self.mean_y) is None:
            raise UserError(f"this centring was fitted on {self.called('x')} alone, and has no mean for other rows")
        return (-mean,)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReAlign(_Move):
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

    kind: ClassVar[str] = "realign"
    mean_x: Float[np.ndarray, "d"]
    mean_y: Float[np.ndarray, "d"]
    mean_b: Float[np.ndarray, "d"]
    scale: float

    def __post_init__(self) -> None:
        self._keep(mean_x=vector(self.mean_x, "mean_x"), scale=number(self.scale, "scale"))
        for name in ("mean_y", "mean_b"):
            self._keep(**{name: vector(getattr(self, name), name, self.width)})
        if self.scale <= 0:
            raise UserError(f"scale must be above zero, not {self.scale:.6g}")

    @classmethod
    def _fitted(cls, x: Array, y: Array) -> dict:
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

    def _steps(self, name: Modality) -> tuple[np.ndarray, ...]:
        if name == "x":
            return (np.zeros(self.width),)
        return self.mean_x / self.scale - self.mean_y, self.mean_x - self.mean_b
