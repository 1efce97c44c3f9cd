"""What every intervention shares: new rows in, moved rows out, and the way back."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from ..errors import UserError
from ..numerics.arrays import Array, as_matrix, as_numbers, check_unit_rows, like
from ..numerics.shifts import moved, unmoved

PLACES = ("x", "y")
"""What the first modality and text are called where nobody named them."""

Moved = tuple[Float[Array, "n k"] | None, Float[Array, "m k"] | None]


def kept(values: np.ndarray) -> np.ndarray:
    """A copy that nothing writes into."""
    out = values.copy()
    out.setflags(write=False)
    return out


def _vector(values) -> Float[np.ndarray, "d"]:
    try:
        return kept(as_numbers(values, ""))
    except UserError:
        raise ValueError("must be finite numbers in a row") from None


Vector = Annotated[np.ndarray, BeforeValidator(_vector)]
"""float64 (d,)."""


class Intervention(BaseModel):
    """Something that is fitted to two modalities once and then done to any further rows of either.

    The first modality (images in the paper) is x, text is y. Each has steps of its own: by default a vector is added to
    every row, which is put back on the sphere. Nothing is estimated from the rows that it moves, so that a row comes
    out the same whatever comes with it. The fields of a kind are its arrays, the first of them d long, and settings.

    Attributes:
        kind: what ``modality-gap fit`` and a calibration file call it.
        about: where it comes from, as json can hold it. ``n`` in it are rows fitted on, by modality in order.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False
    )
    kind: ClassVar[str]
    of_one: ClassVar[bool] = False  # whether one modality is enough to fit it
    about: dict = {}

    def __init__(self, **values):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UserError(f"{self.kind}: {first_reason(error)}") from None

    @model_validator(mode="after")
    def _of_one_width(self) -> "Intervention":
        if len({len(array) for array in self.arrays().values()}) > 1:
            said = ", ".join(f"{name} {len(array)}" for name, array in self.arrays().items())
            raise ValueError(f"arrays must be of one width, not {said}")
        return self

    def arrays(self) -> dict[str, np.ndarray]:
        """Its arrays by name, as a calibration file holds them."""
        return {name: value for name, value in self if isinstance(value, np.ndarray)}

    def settings(self) -> dict:
        """Everything else that shapes what it does, as json can hold it."""
        return {name: value for name, value in self if name != "about" and not isinstance(value, np.ndarray | None)}

    @property
    def width(self) -> int:
        """The width d of the rows that it takes."""
        return len(next(iter(self.arrays().values())))

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities that it was fitted on."""
        return tuple(self.about.get("n") or PLACES)

    def transform(self, x: Float[Array, "n d"] | None = None, y: Float[Array, "m d"] | None = None) -> Moved:
        """New rows of either modality, or of both, moved.

        Args:
            x: unit-norm rows of the first modality, or None.
            y: unit-norm rows of text, or None; m may differ from n, and the two need not be pairs.

        Returns:
            (x', y'): new arrays of unit-norm rows of the kind and dtype of ``x`` and of ``y`` (float32 for half
            precision), None where None was given. A row that would come to zero is refused.
        """
        return self._both(x, y, inverse=False)

    def inverse(self, x: Float[Array, "n d"] | None = None, y: Float[Array, "m d"] | None = None) -> Moved:
        """Unit rows that ``transform`` brings to these, where it can be undone; arguments and answer as there."""
        return self._both(x, y, inverse=True)

    def by_name(self, modalities: Mapping[str, Array], inverse: bool = False) -> list[Array]:
        """Rows of one modality or both, each moved as the modality of its name that the calibration was fitted on.

        A name that it does not know is refused: which modality rows are of is never told by position.
        """
        if unknown := [name for name in modalities if name not in self.names]:
            there = f"a calibration of {' and '.join(self.names)} has nothing for {' and '.join(unknown)}"
            raise UserError(f"{there}; choose or name the rows, as by --columns {self.names[0]}=COLUMN")
        return [self._moved(rows, self.names.index(name), inverse) for name, rows in modalities.items()]

    def _both(self, x, y, inverse: bool) -> Moved:
        if x is None and y is None:
            raise UserError("give rows of the first modality (x), of text (y), or both")
        return tuple(None if rows is None else self._moved(rows, i, inverse) for i, rows in enumerate((x, y)))

    def _moved(self, rows, place: int, inverse: bool) -> Array:
        name = (*self.names, *PLACES[len(self.names) :])[place]
        out = as_matrix(rows, name)
        if out.shape[1] != self.width:
            widths = f"{out.shape[1]} columns, the calibration is for {self.width}"
            raise UserError(f"{name}: these rows have {widths}; fit one on embeddings of the same model")
        check_unit_rows(out, name)
        steps = self._steps(place)
        for step in reversed(steps) if inverse else steps:
            out = (self._back if inverse else self._forth)(out, step, name)
        return like(out, rows)

    @classmethod
    @abstractmethod
    def fitted(cls, x: Array, y: Array) -> dict:
        """The fields of one that is fitted to checked rows; its further arguments are the options of the kind."""

    @abstractmethod
    def _steps(self, place: int) -> tuple[np.ndarray, ...]:
        """What is done to the rows of a modality, in order: one step at least."""

    def _forth(self, rows: Array, step: np.ndarray, name: str) -> Array:
        return moved(rows, step, name)

    def _back(self, rows: Array, step: np.ndarray, name: str) -> Array:
        return unmoved(rows, step, name)


def first_reason(error: ValidationError) -> str:
    """The first thing that pydantic found wrong, with its place."""
    first = error.errors()[0]
    return ": ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])
