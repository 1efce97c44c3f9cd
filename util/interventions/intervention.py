"""What an intervention does to new rows of either modality, and undoes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from ..errors import UserError
from ..geometry import moved, unit_rows, unmoved
from ..numerics.arrays import Array, Others, Rows, as_matrix, blocks, check_unit_rows, new_result, wide
from ..numerics.procrustes import as_text_map, mapped

PLACES = ("x", "y")
"""The first modality, and text; what they are called where nobody named them."""

Moved = tuple[Float[Array, "n k"] | None, Float[Array, "m k"] | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Intervention:
    """Something that is fitted to two modalities once and then done to any further rows of either.

    The first modality (images in the paper) is x, text is y. Nothing is estimated from the rows that it moves, so that
    a row comes out the same whatever comes with it.

    Attributes:
        kind: what ``modality-gap fit`` calls it.
        steps: "x" and "y", or "x" alone -> what is done to the rows of that modality, in order. A step float64 (d,) is
            added, (d, d) multiplied from the right, bool (d,) says which columns stay; rows are unit-norm after each.
        settings: options and numbers of the kind, as json can hold them.
        about: where it comes from, as json can hold it. ``n`` in it are rows fitted on, by modality in order.
    """

    kind: str
    steps: Mapping[str, tuple[np.ndarray, ...]]
    settings: Mapping = field(default_factory=dict)
    about: Mapping = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps = {place: tuple(map(_checked, each)) for place, each in self.steps.items()}
        object.__setattr__(self, "steps", steps)
        if tuple(steps) not in (PLACES[:1], PLACES) or not all(steps.values()) or len(self.names) != len(steps):
            raise UserError(f"steps must be of x, or of x and y, for {', '.join(self.names)}, not {', '.join(steps)}")
        if len(widths := {len(step) for each in steps.values() for step in each}) > 1:
            raise UserError(f"steps must be of one width, not {sorted(widths)}")
        if any(step.dtype == bool for each in steps.values() for step in each[:-1]):
            raise UserError("columns may go in the last step alone")

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities that it was fitted on."""
        return tuple(self.about.get("n") or self.steps)

    def transform(self, x: Rows | None = None, y: Others | None = None, inverse: bool = False) -> Moved:
        """New unit-norm rows of the first modality (x), of text (y), or of both, moved; they need not be pairs.

        New arrays (x', y') of unit-norm rows come back, of the kind and dtype of ``x`` and of ``y`` (float32 for half
        precision), None where None was given. A row that would come to zero is refused. ``inverse``: see there.
        """
        given = dict(zip(PLACES, (x, y), strict=True))
        if x is None and y is None:
            raise UserError("give rows of the first modality (x), of text (y), or both")
        return tuple(None if rows is None else self._moved(rows, place, inverse) for place, rows in given.items())

    def inverse(self, x: Rows | None = None, y: Others | None = None) -> Moved:
        """Unit rows that ``transform`` brings to these, where it can be undone; arguments and answer as there."""
        return self.transform(x, y, inverse=True)

    def by_name(self, modalities: Mapping[str, Array], inverse: bool = False) -> list[Array]:
        """Rows of one modality or both, each moved as the modality of its name that the calibration was fitted on.

        A name that it does not know is refused: which modality rows are of is never told by position.
        """
        if unknown := [name for name in modalities if name not in self.names]:
            there = f"a calibration of {' and '.join(self.names)} has nothing for {' and '.join(unknown)}"
            raise UserError(f"{there}; choose or name the rows, as by --columns {self.names[0]}=COLUMN")
        return [self._moved(rows, PLACES[self.names.index(name)], inverse) for name, rows in modalities.items()]

    def _moved(self, rows, place: str, inverse: bool) -> Array:
        if place not in self.steps:
            raise UserError(f"this {self.kind} was fitted on {self.names[0]} alone, and has nothing for other rows")
        name = self.names[PLACES.index(place)]
        out = as_matrix(rows, name)
        if out.shape[1] != (width := len(self.steps[place][0])):
            widths = f"{out.shape[1]} columns, the calibration is for {width}"
            raise UserError(f"{name}: these rows have {widths}; fit one on embeddings of the same model")
        check_unit_rows(out, name)
        for step in reversed(self.steps[place]) if inverse else self.steps[place]:
            out = _done(out, step.copy(), name, inverse)  # torch takes no read-only array
        return out


def _checked(step: np.ndarray) -> np.ndarray:
    """A copy of a step that nothing writes into."""
    step = np.array(step)
    if step.ndim not in (1, 2) or step.dtype not in (np.float64, bool) or not np.isfinite(step).all() or not step.size:
        raise UserError(f"a step must be finite numbers (d,) or (d, d), or bool (d,), not {step.dtype} {step.shape}")
    if step.ndim == 2:
        as_text_map(step)  # refuses all that is not orthogonal
    step.setflags(write=False)
    return step


def _done(rows: Array, step: np.ndarray, name: str, inverse: bool) -> Array:
    if step.dtype == bool and inverse:
        raise UserError(f"{name}: no inverse: the {len(step) - step.sum()} dimensions that were deleted are gone")
    if step.dtype == bool:
        return unit_rows(rows[:, step], name)
    if step.ndim == 1:
        return (unmoved if inverse else moved)(rows, step, name)
    out, turn = new_result(rows), step.T if inverse else step
    for start, block in blocks(rows):
        out[start : start + len(block)] = unit_rows(mapped(wide(block), turn), name)
    return out
