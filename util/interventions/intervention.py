"""What every intervention shares: new rows in, moved rows out, and the way back."""

import inspect
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float

from .. import geometry
from ..errors import UserError
from ..numerics.arrays import (
    Array,
    as_matrix,
    as_numbers,
    as_unit_pair,
    blocks,
    check_unit_rows,
    like,
    new_result,
    on,
    wide,
)

Modality = Literal["x", "y"]
Moved = tuple[Float[Array, "n k"] | None, Float[Array, "m k"] | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Intervention(ABC):
    """Something that is fitted to two modalities once and then done to any further rows of either.

    The first modality (images in the paper) is x, text is y. A subclass is a frozen dataclass of arrays, the first of
    them d long, and of settings. Nothing is estimated from the rows that it moves, so that a row comes out the same
    whatever comes with it.

    Attributes:
        kind: what ``modality-gap fit`` and a calibration file call it.
        about: where it comes from, as json can hold it.
    """

    kind: ClassVar[str]
    of_one: ClassVar[bool] = False  # whether one modality is enough to fit it
    about: Mapping = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        x: Float[Array, "n d"],
        y: Float[Array, "m d"] | None = None,
        *options,
        about: Mapping | None = None,
        **named,
    ) -> "Intervention":
        """Fits to some rows of both modalities.

        Args:
            x: unit-norm rows of the first modality.
            y: unit-norm rows of text; m may differ from n but for Procrustes, which needs pairs. None: centring alone
                can do with one modality.
            options, named: those of the kind: amount, direction and side of a shift, dimensions of an ablation.
            about: model, data, caption rule, selection, and ``n``, rows of each modality by its name in order, by which
                ``by_name`` knows them; by default they are x and y.
        """
        if y is None and not cls.of_one:
            raise UserError(f"{cls.kind} is fitted to two modalities; give the rows of text too")
        rows = as_unit_pair(x, x if y is None else y)[: 1 if y is None else 2]
        try:
            inspect.signature(cls._fitted).bind(*rows, *options, **named)
        except TypeError as error:
            raise UserError(f"options of {cls.kind}: {error}") from error
        counts = {name: len(part) for name, part in zip("xy", rows, strict=False)}
        return cls(**cls._fitted(*rows, *options, **named), about={"n": counts, **(about or {})})

    @property
    def width(self) -> int:
        """The width d of the rows that it takes."""
        return len(next(iter(self.arrays().values())))

    def transform(self, x: Float[Array, "n d"] | None = None, y: Float[Array, "m d"] | None = None) -> Moved:
        """New rows of either modality, or of both, moved.

        Args:
            x: unit-norm rows of the first modality, or None.
            y: unit-norm rows of text, or None; m may differ from n, and the two need not be pairs.

        Returns:
            (x', y'): new arrays of unit-norm rows of the kind and dtype of ``x`` and of ``y`` (float32 for half
            precision), None where None was given. A row that would come to zero is refused.
        """
        return self._each(x, y, self._apply)

    def inverse(self, x: Float[Array, "n d"] | None = None, y: Float[Array, "m d"] | None = None) -> Moved:
        """Unit rows that ``transform`` brings to these, where it can be undone; arguments and answer as there."""
        return self._each(x, y, self._invert)

    def by_name(self, modalities: Mapping[str, Array], inverse: bool = False) -> list[Array]:
        """Rows of one modality or both, each moved as the modality of its name that the calibration was fitted on.

        A name that it does not know is refused: which modality rows are of is never told by position.
        """
        known = self._known()
        if unknown := [name for name in modalities if name not in known]:
            there = f"a calibration of {' and '.join(known) or 'modalities without names'}"
            how = f"--columns {next(iter(known), 'image')}=COLUMN"
            raise UserError(f"{there} has nothing for {' and '.join(unknown)}; choose or name the rows, as by {how}")
        moved = (self.inverse if inverse else self.transform)(
            **{known[name]: rows for name, rows in modalities.items()}
        )
        return [moved["xy".index(known[name])] for name in modalities]

    def _known(self) -> dict[str, Modality]:
        """Which argument the modality of a name is."""
        return dict(zip(self.about.get("n") or (), ("x", "y"), strict=False))

    def called(self, name: Modality) -> str:
        """The name of a modality, for errors."""
        return {place: known for known, place in self._known().items()}.get(name, name)

    def arrays(self) -> dict[str, np.ndarray]:
        """Its arrays by name, as a calibration file holds them."""
        return {name: value for name, value in self._fields().items() if isinstance(value, np.ndarray)}

    def settings(self) -> dict:
        """Everything else that shapes what it does, as json can hold it."""
        return {name: value for name, value in self._fields().items() if not isinstance(value, np.ndarray)}

    def _fields(self) -> dict:
        """What is there besides ``about``."""
        named = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "about"}
        return {name: value for name, value in named.items() if value is not None}

    def _each(self, x, y, work: Callable[[Array, Modality], Array]) -> Moved:
        if x is None and y is None:
            raise UserError("give rows of the first modality (x), of text (y), or both")
        return tuple(
            None if rows is None else like(work(self._checked(rows, name), name), rows)
            for name, rows in (("x", x), ("y", y))
        )

    def _checked(self, rows, name: Modality) -> Array:
        matrix, called = as_matrix(rows, name), self.called(name)
        if matrix.shape[1] != self.width:
            widths = f"{matrix.shape[1]} columns, the calibration is for {self.width}"
            raise UserError(f"{called}: these rows have {widths}; fit one on embeddings of the same model")
        check_unit_rows(matrix, called)
        return matrix

    def _keep(self, **checked) -> None:
        """Sets fields of the frozen dataclass, after they were looked at."""
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    @abstractmethod
    def _fitted(cls, x: Array, y: Array, *options, **named) -> dict:
        """The fields of one that is fitted to checked rows."""

    @abstractmethod
    def _apply(self, rows: Array, name: Modality) -> Array:
        """Checked rows of one modality, moved."""

    @abstractmethod
    def _invert(self, rows: Array, name: Modality) -> Array:
        """Checked rows of one modality as they were before."""


def unmoved(x: Array, step: Float[np.ndarray, "d"], name: str) -> Array:
    """The unit rows that ``util.numerics.shifts.moved`` brings to these.

    The row before lies on the ray of the row after: x = t x' - step with |x| = 1 and t > 0, a quadratic in t with the
    roots p +- sqrt(p^2 + 1 - |step|^2), p = <x', step>. Their product is |step|^2 - 1, so that for a step shorter than
    1 one root is positive, for a longer one two or none.
    """
    left = 1 - float(step @ step)
    if left <= 0:
        raise UserError(
            f"{name}: a step of {np.linalg.norm(step):.4g} has no inverse: from 1 on, two rows may come to one"
            " direction; keep the rows as they were"
        )
    out, along = new_result(x), on(step, x)
    for start, block in blocks(x):
        rows = geometry.unit_rows(wide(block))
        p = rows @ along
        t = p + (p**2 + left) ** 0.5
        out[start : start + len(block)] = geometry.unit_rows(t[:, None] * rows - along)
    return out


def vector(values, name: str, width: int | None = None) -> Float[np.ndarray, "d"]:
    """A copy as a float64 array (d,) that nothing writes into."""
    try:
        out = as_numbers(values, name).copy()
    except UserError:
        raise UserError(f"{name} must be finite numbers in a row") from None
    if width is not None and len(out) != width:
        raise UserError(f"{name} must be {width} numbers; it has {len(out)}")
    out.setflags(write=False)
    return out


def number(value, name: str) -> float:
    """One finite number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise UserError(f"{name} must be one finite number, not {value!r}")
    return float(value)
