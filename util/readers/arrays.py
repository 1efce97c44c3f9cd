"""Arrays in .npy, .npz, .safetensors, .pt and .h5 files, as stored. Nothing is unpickled, what can be mapped is."""

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from ..errors import UserError
from ..files import replacing
from ..numerics.arrays import Parts
from .names import TEXT, role

WRITTEN = (".npy", ".npz", ".safetensors")
BLOCK = 4096
"""Rows that are held at a time."""
METADATA = "modality_gap"
"""The one metadata value of a .safetensors file written here, so that equal content has equal bytes."""
Found = tuple[dict, dict]
"""Arrays by the names that the file gives them ("" where it gives none), and its own account of their source."""
UNKNOWN = np.array(None)
"""What stands for anything that is neither numbers nor strings: it is ignored, and named."""


def mapped_npy(path: Path) -> np.ndarray:
    """Mapped, so that a header cannot claim more than the file holds, and a large file costs no memory.

    Copy on write: torch takes only writable arrays without a copy, and nothing writes into this one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a shape that overflows is a warning of numpy's, and then an odd error
        return np.lib.format.open_memmap(path, mode="c")


def read_npy(path: Path) -> dict:
    """One modality (n, d), or two of them (2, n, d), of which text is the second; a file of texts holds texts alone."""
    array, alone = mapped_npy(path), role(path.stem)
    if array.ndim != 3 or len(array) != 2 or alone == TEXT:
        return {"": array}
    if alone:
        how = f"rename it if it holds {alone} and {TEXT}, or save a file (n, d) of each"
        raise UserError(f"{path}: two arrays {array.shape[1:]}, while its name says {alone} alone; {how}")
    return {"image": array[0], TEXT: array[1]}


def read_npz(path: Path) -> dict:
    """The members of an archive; a scalar is an array without axes."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: npz_member(archive, name, path) for name in archive.files}


def npz_member(archive, name: str, path: Path) -> np.ndarray:
    """One array of an opened archive."""
    try:
        array = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise UserError(f"{path}: {name} holds objects, which nothing unpickles; save it as .astype(str)") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: {name} is no array; save arrays by numpy.savez")
    return array


def read_safetensors(path: Path) -> Found:
    """Mapped; bfloat16, which numpy lacks, becomes float32 in memory."""
    with safe_open(path, framework="pt") as file:
        told = {"source": {}, "order": []} | json.loads((file.metadata() or {}).get(METADATA, "{}"))
        found = {name: as_array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    if not isinstance(told["source"], dict):
        raise UserError(f"{path}: its metadata hold no mapping as source")
    order = [name for name in told["order"] if name in found]
    return {name: found[name] for name in [*order, *sorted(found.keys() - order)]}, told["source"]


def read_torch(path: Path) -> dict:
    """A tensor, or dicts of tensors, numbers and lists of strings, mapped where the file allows it."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of programs that look like tensors, which are refused in one line
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError) as error:
        if not (named := re.search(r"GLOBAL [\w.]+|TorchScript", str(error))):
            raise
        raise UserError(f"{path}: holds more than tensors ({named[0]}), which nothing unpickles; save them") from None
    return {name: as_array(value) for name, value in _flat(found)}


def _flat(value, name: str = "") -> Iterator[tuple[str, object]]:
    """Names and values of dicts in dicts: "image.features"."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        yield from _flat(inner, f"{name}.{key}" if name else str(key))


def as_array(value) -> np.ndarray:
    """A tensor, number, string or list of one kind as an array; ``UNKNOWN`` for anything else."""
    if hasattr(value, "detach"):
        value = value.detach()
        return (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        return UNKNOWN
    return array if array.dtype.kind in "biufU" else UNKNOWN


def read_h5(path: Path) -> dict:
    """Every data set of an HDF5 file by its path, read in blocks of rows; needs h5py."""
    try:
        import h5py
    except ImportError:
        raise UserError(f"{path}: reading HDF5 needs h5py; pip install 'modality-gap[h5]'") from None
    found = {}

    def collect(name: str, item) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if h5py.check_string_dtype(item.dtype):
            found[name] = item.asstr()[...].astype(str)
        elif item.dtype.kind not in "biuf" or item.shape is None:
            found[name] = UNKNOWN
        elif item.ndim != 2:
            found[name] = item[...]
        else:
            starts = range(0, len(item), BLOCK)
            lengths = [min(BLOCK, len(item) - start) for start in starts]
            rows = lambda k: item[starts[k] : starts[k] + BLOCK]  # noqa: E731
            found[name] = Parts(rows, lengths, item.shape[1], item.dtype, where=str(path))

    h5py.File(path, "r").visititems(collect)  # open as long as its data sets are
    return found


def write(path: Path, arrays: Mapping[str, np.ndarray], order: Sequence[str], source: Mapping) -> None:
    """Writes arrays: modalities in this ``order``, which are all that .npy holds. .safetensors keeps ``source``."""
    if path.suffix not in WRITTEN:
        raise UserError(f"{path}: {path.suffix or 'no suffix'} cannot be written; expected {', '.join(WRITTEN)}")
    if path.suffix == ".safetensors" and (texts := [k for k, v in arrays.items() if v.dtype.kind not in "biuf"]):
        raise UserError(f"{path}: .safetensors holds numbers only, and {texts[0]} are text; use .npz")
    with replacing(path) as part:
        if path.suffix == ".npy":
            whole = [arrays[name] for name in order]
            np.save(part, np.stack(whole) if len(whole) > 1 else whole[0], allow_pickle=False)
        elif path.suffix == ".npz":
            with zipfile.ZipFile(part, "w") as archive:
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
        else:
            told = json.dumps({"order": [*order], "source": dict(source)}, sort_keys=True)
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, part, {METADATA: told})
