"""An array of any length that is read a part at a time."""

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import UserError, reason


class Parts:
    """Rows in parts that are read when they are asked for: an array (n, d) in the memory of one part.

    Args:
        read: gives part k as an array (lengths[k], d). What it raises becomes a ``UserError`` that names the part.
        lengths: rows of each part.
        width: d.
        dtype: that of all parts.
        names: what errors call the parts, for instance files; without them they name rows of the whole.
        where: the file, for errors.
    """

    ndim = 2

    def __init__(
        self, read: Callable[[int], np.ndarray], lengths: Sequence[int], width: int, dtype, names=(), where: str = ""
    ):
        self._read, self._names, self._where, self._held = read, names, where, (-1, np.empty(0))
        self._starts = np.cumsum([0, *lengths])
        self.shape, self.dtype = (int(self._starts[-1]), int(width)), np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            first, last, step = rows.indices(len(self))
            k = int(self._places(first))
            if step == 1 and first < last <= self._starts[k + 1]:
                return self._part(k)[first - self._starts[k] : last - self._starts[k]]
            rows = np.arange(first, last, step)
        rows = np.asarray(rows)
        out, places = np.empty((len(rows), self.shape[1]), self.dtype), self._places(rows)
        for k in np.unique(places):
            asked = places == k
            out[asked] = self._part(k)[rows[asked] - self._starts[k]]
        return out

    def place(self, row: int) -> str:
        """What to call a row: its number, and where parts have names its number in its part."""
        k = int(self._places(row))
        return f"row {row} ({self._names[k]}, row {row - self._starts[k]})" if len(self._names) else f"row {row}"

    def _places(self, rows):
        return np.searchsorted(self._starts, rows, side="right") - 1

    def _part(self, k: int) -> np.ndarray:
        """Part k, of the shape that was promised; the last one is kept."""
        if self._held[0] != k:
            name = self._names[k] if len(self._names) else f"rows {self._starts[k]} to {self._starts[k + 1] - 1}"
            name = f"{self._where}: {name}" if self._where else name
            self._held = (-1, np.empty(0))  # two parts are never held
            try:
                part = self._read(int(k))
            except UserError:
                raise
            except Exception as error:  # whatever a damaged file makes its parser raise
                raise UserError(f"{name}: not readable ({reason(error)}); is it damaged?") from error
            expected = (int(self._starts[k + 1] - self._starts[k]), self.shape[1])
            if part.shape != expected:
                raise UserError(f"{name}: holds an array {part.shape}, where {expected} was expected; mend it")
            self._held = (k, part)
        return self._held[1]
