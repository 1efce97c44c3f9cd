"""What every measure asks of its arrays, said once: kind in, kind out, and refusals in words."""

import numbers

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError

ROWS_PER_BLOCK = 1024
"""Rows that are converted to float64 at a time, so that a conversion costs memory in O(d), not O(nd).

Blocks of 1024 x 512 stay near a core's cache and below the size from which the C library takes fresh pages for each."""

UNIT_TOLERANCE = 1e-3
"""How far a row's norm may be from 1 and still count as unit-norm."""

SMALLEST_NORM = 1e-150
"""Smallest row norm whose square is still a normal float64; its inverse is the largest."""

BFLOAT16_UNIT_TOLERANCE = 2.0**-8
"""The same for bfloat16, whose 8 significant bits can move the norm of a rounded unit row by 2**-9."""


def as_matrix(x, name: str = "x", least_rows: int = 1) -> Tensor:
    """The array as a tensor that shares its memory, after the checks that every measure needs.

    Args:
        x: numpy array or torch tensor (n, d) of real numbers, any scale.
        name: what to call it in an error.
        least_rows: the smallest n that makes sense.

    Returns:
        floating-point tensor (n, d) on the device of ``x``; integers become float32.

    Raises:
        UserError: not an array of real numbers, not 2-D, too few rows, no columns, or a value that is not finite.
    """
    tensor = as_rows(x, name, least_rows)
    for start, block in blocks(tensor):
        finite = torch.isfinite(block.abs().amax(dim=1))  # NaN and infinity both survive amax
        if not finite.all():
            row = start + int((~finite).nonzero()[0])
            raise UserError(f"{name} holds a value that is not finite, first in row {row}; remove or mend that row")
    return tensor


def as_rows(x, name: str = "x", least_rows: int = 1) -> Tensor:
    """``as_matrix`` without a look at the values: for arrays that are mapped from a file and read once, in blocks.

    Raises:
        UserError: as ``as_matrix``, but for values that are not finite.
    """
    tensor = _as_tensor(x, name)
    if tensor.ndim != 2:
        raise UserError(f"{name} must have two axes (rows, width); its shape is {tuple(tensor.shape)}")
    if tensor.shape[0] < least_rows or tensor.shape[1] < 1:
        raise UserError(f"{name} needs at least {least_rows} rows and 1 column; its shape is {tuple(tensor.shape)}")
    return tensor


def rows_shape(x, name: str = "x", least_rows: int = 1) -> tuple[int, int]:
    """(n, d) of what ``as_rows`` takes, without converting or reading it.

    Raises:
        UserError: as ``as_rows``.
    """
    if not isinstance(x, np.ndarray | Tensor) or x.ndim != 2 or len(x) < least_rows:
        as_rows(x, name, least_rows)  # says what is wrong
    as_rows(x[:1], name)
    return tuple(x.shape)


def row_blocks(x, name: str = "x", rows: int = ROWS_PER_BLOCK):
    """Yields (first row, tensor of up to ``rows`` rows) of an array of any dtype, converting a block at a time."""
    for start in range(0, len(x), rows):
        yield start, as_rows(x[start : start + rows], name)


def _as_tensor(x, name: str) -> Tensor:
    if isinstance(x, Tensor):
        tensor = x.detach()
    elif isinstance(x, np.ndarray) and x.dtype.kind in "fiu":
        wide = x.dtype.itemsize > 8  # long doubles, which torch lacks
        native = np.float32 if x.dtype.kind in "iu" else np.float64 if wide else x.dtype.newbyteorder("=")
        x = np.asarray(x, dtype=native)
        x = x if x.flags.writeable and min(x.strides, default=1) >= 0 else x.copy()
        tensor = torch.from_numpy(x)
    else:
        kind = f"an array of {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise UserError(f"{name} must be a numpy array or torch tensor of real numbers, not {kind}")
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise UserError(f"{name} must hold real numbers, not {tensor.dtype}")
    return tensor if tensor.is_floating_point() else tensor.float()


def as_pair(x, y, least_rows: int = 1) -> tuple[Tensor, Tensor]:
    """Two checked matrices of one width on one device; their row counts may differ.

    Raises:
        UserError: as ``as_matrix``, or widths or devices differ.
    """
    x, y = as_matrix(x, "x", least_rows), as_matrix(y, "y", least_rows)
    if x.shape[1] != y.shape[1]:
        raise UserError(f"x and y must be of one width; x is {tuple(x.shape)}, y is {tuple(y.shape)}")
    if x.device != y.device:
        raise UserError(f"x and y must be on one device; x is on {x.device}, y on {y.device}")
    return x, y


def as_unit_pair(x, y) -> tuple[Tensor, Tensor]:
    """``as_pair`` that also refuses rows that are not unit-norm."""
    x, y = as_pair(x, y)
    check_unit_rows(x, "x")
    check_unit_rows(y, "y")
    return x, y


def check_unit_rows(x: Tensor, name: str = "x") -> None:
    """Refuses a matrix (n, d) with a row whose norm is further than 1e-3 from 1 (2**-8 in bfloat16).

    Raises:
        UserError: naming the first such row and its norm.
    """
    tolerance = BFLOAT16_UNIT_TOLERANCE if x.dtype == torch.bfloat16 else UNIT_TOLERANCE
    norms = row_norms(x)
    off = (norms - 1).abs() > tolerance
    if off.any():
        row = int(off.nonzero()[0])
        raise UserError(
            f"{name} must have unit-norm rows; row {row} has norm {norms[row]:.6g}"
            " (util.geometry.unit_rows divides every row by its norm)"
        )


def row_norms(x: Tensor) -> Tensor:
    """Euclidean norm of every row of (n, d), in float64 (n,)."""
    norms = torch.empty(len(x), dtype=torch.float64, device=x.device)
    for start, block in blocks(x):
        norms[start : start + len(block)] = torch.linalg.vector_norm(block.double(), dim=1)
    return norms


def nonzero_norms(x: Tensor, name: str = "x") -> Tensor:
    """``row_norms`` of a checked matrix, all of them such that their squares are normal float64 numbers.

    Raises:
        UserError: a row is zero, or its norm is outside [1e-150, 1e150]; names the first.
    """
    norms = row_norms(x)
    off = ~((norms >= SMALLEST_NORM) & (norms <= 1 / SMALLEST_NORM))
    if off.any():
        row = int(off.nonzero()[0])
        if not x[row].any():
            raise UserError(f"{name}: row {row} is zero and has no direction; remove it")
        raise UserError(f"{name}: row {row} has a norm outside [1e-150, 1e150]; bring the rows to a common scale first")
    return norms


def blocks(x: Tensor, rows: int = ROWS_PER_BLOCK):
    """Yields (first row, view of up to ``rows`` rows) over the first axis."""
    for start in range(0, len(x), rows):
        yield start, x[start : start + rows]


def result_dtype(x: Tensor) -> torch.dtype:
    """The dtype of an array computed from ``x``: its own, but float32 for half precision."""
    return x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32


def like(result: Tensor, original):
    """``result`` as the kind of array that the caller gave: numpy for numpy, a tensor for a tensor."""
    return result if isinstance(original, Tensor) else result.cpu().numpy()


def as_numbers(values, name: str) -> np.ndarray:
    """One or more finite numbers as a float64 array (k,).

    Raises:
        UserError: empty, not numbers, or not finite.
    """
    try:
        array = np.atleast_1d(np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, np.float64))
    except (TypeError, ValueError):
        raise UserError(f"{name} must be numbers, not {values!r}") from None
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise UserError(f"{name} must be one or more finite numbers in a row, not {values!r}")
    return array


def as_count(value, name: str, least: int = 1) -> int:
    """A whole number of at least ``least``.

    Raises:
        UserError: anything else, a float or a bool included.
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise UserError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return int(value)
