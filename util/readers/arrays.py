"""Arrays in .npy, .npz and .safetensors files: read, checked and written. Nothing is unpickled."""

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from .errors import UserError
from .files import replacing

TEXT = "text"
FORMATS = (".npy", ".npz", ".safetensors")
"""Ends of the names of files; those that are read may be in capitals."""

SAFETENSORS_DTYPES = {
    "F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8", "BOOL": "?",
    "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8",
}  # fmt: skip
"""What numpy calls the dtypes of a .safetensors file; bfloat16 is read as its bits."""


def read(path: Path, first: str) -> tuple[dict, dict]:
    """The named arrays of a file as stored, and its own account of their source.

    .npy and .safetensors are mapped, .npz is read. ``first`` names the non-text modality of a .npy file.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise UserError(f"{path}: {found}; expected a file of embeddings as {', '.join(FORMATS)}")
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UserError(f"{path}: unknown format {path.suffix or '(no suffix)'}; expected {', '.join(FORMATS)}")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    try:
        return {".npy": _read_npy, ".npz": _read_npz, ".safetensors": _read_safetensors}[suffix](path, first)
    except UserError:
        raise
    except Exception as error:  # whatever a damaged or hostile file makes its parser raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if suffix == ".npy" and path.open("rb").read(6) != b"\x93NUMPY":
            reason = "it is no .npy file, whatever its name says"
        raise UserError(f"{path}: not readable as {suffix} ({reason}); is it damaged or pickled?") from error


def _read_npy(path: Path, first: str) -> tuple[dict, dict]:
    """Mapped, so that a header cannot claim more than the file holds, and a large file costs no memory.

    Copy on write: torch takes only writable arrays without a copy, and nothing writes into this one.
    """
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: an archive, not a .npy file; name it .npz")
    if array.ndim != 3 or array.shape[0] != 2:
        how = "put two such files into one: numpy.savez('mine.npz', image=images, text=texts)"
        raise UserError(f"{path}: a .npy of embeddings has shape (2, pairs, width), this one {array.shape}; {how}")
    return {first: array[0], TEXT: array[1]}, {}


def _read_npz(path: Path, first: str) -> tuple[dict, dict]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}, {}


def _read_safetensors(path: Path, first: str) -> tuple[dict, dict]:
    """Mapped; bfloat16, which numpy lacks, becomes float32 in memory."""
    with safe_open(path, framework="np") as file:  # checks the header
        told = {key: json.loads(text) for key, text in (file.metadata() or {}).items() if key in ("source", "order")}
    order, source = told.get("order", []), told.get("source", {})
    if not isinstance(order, list) or not isinstance(source, dict):
        raise UserError(f"{path}: its metadata hold no list as order or no mapping as source")
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    names = sorted(header, key=lambda name: (order.index(name) if name in order else len(order), name))
    return {name: _mapped(path, header[name], 8 + length) for name in names}, source


def _mapped(path: Path, entry: Mapping, start: int) -> np.ndarray:
    """One tensor of a .safetensors file."""
    kind, shape = entry["dtype"], tuple(entry["shape"])
    if kind not in SAFETENSORS_DTYPES:
        raise UserError(f"{path}: holds {kind}; expected one of {', '.join(SAFETENSORS_DTYPES)}")
    dtype, offset = SAFETENSORS_DTYPES[kind], start + entry["data_offsets"][0]
    if math.prod(shape) == 0:
        return np.empty(shape, dtype)
    array = np.memmap(path, dtype, "c", offset, shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if kind == "BF16" else array


def write(path: Path, arrays: Mapping[str, np.ndarray], order: Sequence[str], source: Mapping) -> None:
    """Writes modalities in this order, with ``labels`` and ``pairs`` among the arrays where there are any.

    .npy holds the two modalities alone. .safetensors holds numbers only, and keeps ``order`` and ``source``.
    """
    if path.suffix not in FORMATS:
        raise UserError(f"{path}: unknown format; expected {', '.join(FORMATS)}")
    if path.suffix == ".safetensors" and "labels" in arrays and arrays["labels"].dtype.kind not in "iuf":
        raise UserError(f"{path}: .safetensors holds numbers only, and labels are text; use .npz")
    with replacing(path) as part:
        if path.suffix == ".npy":
            np.save(part, np.stack([arrays[name] for name in order]), allow_pickle=False)
        elif path.suffix == ".npz":
            with zipfile.ZipFile(part, "w") as archive:
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
        else:
            told = {"source": json.dumps(dict(source)), "order": json.dumps(list(order))}
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, part, metadata=told)
