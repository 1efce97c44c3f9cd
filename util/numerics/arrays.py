"""Arrays of numpy or torch under one roof: kind in, kind out, and every refusal said once.

numpy arrays never need torch here. Functions that name no kind work on both.
"""

import numbers
import sys
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from .. import UserError, reason

ROWS_PER_BLOCK = 1024
"""Rows that are converted to float64 at a time, so that a conversion costs memory in O(d), not O(nd).
Blocks of 1024 x 512 stay near a core's cache and below the size from which the C library takes fresh pages for each."""
UNIT_TOLERANCE = 1e-3
"""How far a row's norm may be from 1 and still count as unit-norm."""
BFLOAT16_UNIT_TOLERANCE = 2.0**-8
"""The same for bfloat16, whose 8 significant bits can move the norm of a rounded unit row by 2**-9."""
SMALLEST_NORM = 1e-150
"""Smallest row norm whose square is still a normal float64; its inverse is the largest."""


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


def is_tensor(x) -> bool:
    """Whether this is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


class _ArrayKinds(type):
    def __instancecheck__(cls, x) -> bool:
        return isinstance(x, np.ndarray | Parts) or is_tensor(x)


class Array(metaclass=_ArrayKinds):
    """A numpy array, one in ``Parts``, or a torch tensor, in annotations and for isinstance."""


Rows, Others, Vector = Float[Array, "n d"], Float[Array, "m d"], Float[Array, "d"]
"""Rows of one modality, of another where the two are no pairs, and one vector as wide as they are."""


def library(x):
    """numpy or torch, whichever ``x`` is of, for the functions that both call the same."""
    return sys.modules["torch"] if is_tensor(x) else np


def wide(x: Array) -> Array:
    """The array in float64; itself where it is."""
    return x.double() if is_tensor(x) else x.astype(np.float64, copy=False)


def on(values, x: Array) -> Array:
    """A numpy array or number as an array of the kind and device of ``x``."""
    return sys.modules["torch"].as_tensor(values, device=x.device) if is_tensor(x) else np.asarray(values)


def to_numpy(x: Array) -> np.ndarray:
    """The array as numpy's, on the CPU; bfloat16, which it lacks, as float32."""
    return (x.float() if str(x.dtype) == "torch.bfloat16" else x).cpu().numpy() if is_tensor(x) else x


def as_tensor(x: Array):
    """The array as a torch tensor; it shares memory with a writable numpy array."""
    if is_tensor(x):
        return x
    import torch

    shareable = x.flags.writeable and x.flags.aligned and min(x.strides, default=1) >= 0
    return torch.from_numpy(x if shareable else x.copy())


def as_matrix(x, name: str = "x", least_rows: int = 1) -> Array:
    """A numpy array or torch tensor (n, d) of finite real numbers, in its own memory; integers become float32."""
    rows = as_rows(x, name, least_rows)
    for start, block in blocks(rows):
        finite = library(rows).isfinite(library(rows).amax(abs(block), 1))  # NaN and infinity both survive amax
        if not finite.all():
            place = placed(x, start + first_true(~finite))
            raise UserError(f"{name} holds a value that is not finite, first in {place}; remove or mend that row")
    return rows


def as_rows(x, name: str = "x", least_rows: int = 1) -> Array:
    """``as_matrix`` without a look at the values: for arrays that are mapped from a file and read once, in blocks."""
    rows_shape(x, name, least_rows)
    if is_tensor(x):
        return x.detach() if x.is_floating_point() else x.detach().float()
    if x.dtype.kind in "iu":
        return np.asarray(x, np.float32)
    return np.asarray(x, np.float64 if x.dtype.itemsize > 8 else x.dtype.newbyteorder("="))  # torch has no long doubles


def rows_shape(x, name: str = "x", least_rows: int = 1) -> tuple[int, int]:
    """(n, d) of what ``as_rows`` takes, without converting or reading it; anything else is refused."""
    if is_tensor(x):
        real = not x.is_complex() and str(x.dtype) != "torch.bool"
    else:
        real = isinstance(x, Array) and x.dtype.kind in "fiu"
    if not real:
        kind = f"an array of {x.dtype}" if isinstance(x, Array) else type(x).__name__
        raise UserError(f"{name} must be a numpy array or torch tensor of real numbers, not {kind}")
    if x.ndim != 2:
        raise UserError(f"{name} must have two axes (rows, width); its shape is {tuple(x.shape)}")
    if len(x) < least_rows or x.shape[1] < 1:
        raise UserError(f"{name} needs at least {least_rows} rows and 1 column; its shape is {tuple(x.shape)}")
    return tuple(x.shape)


def as_unit_pair(x, y) -> tuple[Array, Array]:
    """Two checked matrices of unit-norm rows, of one width, kind and device; their row counts may differ."""
    x, y = as_matrix(x, "x"), as_matrix(y, "y")
    if x.shape[1] != y.shape[1]:
        raise UserError(f"x and y must be of one width; x is {tuple(x.shape)}, y is {tuple(y.shape)}")
    if is_tensor(x) or is_tensor(y):
        x, y = as_tensor(x), as_tensor(y)
        if x.device != y.device:
            raise UserError(f"x and y must be on one device; x is on {x.device}, y on {y.device}")
    check_unit_rows(x, "x")
    check_unit_rows(y, "y")
    return x, y


def check_unit_rows(x: Array, name: str = "x") -> None:
    """Refuses a matrix (n, d) with a row whose norm is further than 1e-3 from 1 (2**-8 in bfloat16)."""
    tolerance = BFLOAT16_UNIT_TOLERANCE if str(x.dtype) == "torch.bfloat16" else UNIT_TOLERANCE
    norms = row_norms(x)
    off = abs(norms - 1) > tolerance
    if off.any():
        row = first_true(off)
        how = "util.geometry.unit_rows divides every row by its norm"
        raise UserError(f"{name} must have unit-norm rows; row {row} has norm {norms[row]:.6g} ({how})")


def row_norms(x: Array) -> Array:
    """Euclidean norm of every row of (n, d), in float64 (n,)."""
    if is_tensor(x):
        torch = library(x)
        norms = x.new_empty(len(x), dtype=torch.float64)  # filled in place: blocks are freed
        for start, block in blocks(x):
            torch.linalg.vector_norm(block, dim=1, dtype=torch.float64, out=norms[start : start + len(block)])
        return norms
    return np.concatenate([np.sqrt(np.einsum("ij,ij->i", part, part)) for part in (wide(b) for _, b in blocks(x))])


def placed(x, row: int) -> str:
    """What an error calls a row: "row 7", and of an array in parts that have names its row there."""
    return x.place(row) if isinstance(x, Parts) else f"row {row}"


def nonzero_norms(x: Array, name: str = "x", start: int | np.ndarray = 0, whole: Array | None = None) -> Array:
    """``row_norms``, with squares that are normal float64 numbers.

    ``x`` is a block of ``whole`` from row ``start`` on, or the rows that ``start`` (n,) numbers.
    """
    norms = row_norms(x)
    usable = (norms >= SMALLEST_NORM) & (norms <= 1 / SMALLEST_NORM)  # NaN is neither
    if not usable.all():
        row = first_true(~usable)
        reason = "has a norm outside [1e-150, 1e150]" if x[row].any() else "is zero and has no direction"
        if not library(x).isfinite(x[row]).all():
            reason = "holds a value that is not finite"
        number = int(start[row]) if np.ndim(start) else start + row
        raise UserError(f"{name}: {placed(whole, number)} {reason}; remove or mend it")
    return norms


def first_true(mask: Array) -> int:
    """The row of the first true entry."""
    return int(library(mask).argwhere(mask)[0, 0])


def blocks(x: Array, rows: int = ROWS_PER_BLOCK):
    """Yields (first row, view of up to ``rows`` rows) over the first axis."""
    for start in range(0, len(x), rows):
        yield start, x[start : start + rows]


def result_dtype(x: Array):
    """The dtype of an array computed from ``x``: its own, but float32 for half precision."""
    kinds = library(x)
    return x.dtype if x.dtype in (kinds.float32, kinds.float64) else kinds.float32


def new_result(x: Array) -> Array:
    """An array to fill, of the kind, device and shape of ``x`` and in its ``result_dtype``."""
    place = {"device": x.device} if is_tensor(x) else {}
    return library(x).empty(tuple(x.shape), dtype=result_dtype(x), **place)


def as_result(values: Array, x: Array, given) -> Array:
    """float64 values in the ``result_dtype`` of ``x``, as numpy's where the caller gave no tensor."""
    dtype = result_dtype(x)
    found = values.to(dtype) if is_tensor(values) else values.astype(dtype, copy=False)
    return found if is_tensor(given) else to_numpy(found)


def as_numbers(values, name: str) -> np.ndarray:
    """One or more finite numbers as a float64 array (k,)."""
    try:
        array = np.atleast_1d(np.asarray(values.detach().cpu() if is_tensor(values) else values, np.float64))
    except (TypeError, ValueError):
        raise UserError(f"{name} must be numbers, not {values!r}") from None
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise UserError(f"{name} must be one or more finite numbers in a row, not {values!r}")
    return array


def as_number(value, name: str) -> float:
    """One finite number."""
    found = as_numbers(value, name)
    if found.size != 1:
        raise UserError(f"{name} must be one number, not {found.size}")
    return float(found[0])


def as_count(value, name: str, least: int = 1) -> int:
    """A whole number of at least ``least``."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise UserError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return int(value)


def as_indices(values, name: str, n: int, each: str, limit: int, what: str) -> np.ndarray:
    """n whole numbers in 0 to limit - 1, as int64 (n,): one for ``each``, of ``what`` (plural)."""
    array = np.asarray(values.detach().cpu() if is_tensor(values) else values)
    if array.shape != (n,) or array.dtype.kind not in "iub":
        shape = f"{array.dtype} of shape {array.shape}"
        raise UserError(f"{name} must be {n} whole numbers in a row, one for each {each}, not {shape}")
    outside = np.flatnonzero((array < 0) | (array >= limit))
    if len(outside):
        first = f"the first is {array[outside[0]]}, at {outside[0]}"
        raise UserError(f"{name} must be 0 to {limit - 1} for {limit} {what}; {len(outside)} of {n} are not, {first}")
    return array.astype(np.int64)
