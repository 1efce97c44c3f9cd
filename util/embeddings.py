"""One type for the embeddings of two or more modalities, and the files that it reads and writes.

Formats (none is ever unpickled):
    .npy          (2, n, d): [0] the non-text modality, [1] text; row i of one pairs with row i of the other
    .npz          one named array (n, d) per modality, optional ``labels`` and ``pairs``
    .safetensors  the same; keeps ``source`` in its metadata, and the order of the modalities, which is otherwise
                  alphabetical

"text" always comes last. The columns of ``pairs`` follow the order of the modalities.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from util.errors import UserError
from util.files import replacing
from util.geometry import unit_rows

RESERVED = ("labels", "pairs")
TEXT = "text"
FORMATS = (".npy", ".npz", ".safetensors")
LARGEST_NORM_DEVIATION = 1e-3
"""Rows whose norms are all this close to 1 count as unit-norm already; they are normalised all the same."""


@dataclass(frozen=True)
class Embeddings:
    """Unit-norm embeddings of two or more modalities.

    Attributes:
        modalities: name -> float32 array (n, d), unit-norm rows; "text", where there is one, is the last. All of
            one width d; row counts may differ.
        pairs: int64 array (p, number of modalities), row numbers that belong together, or None where no pairing is
            known. Row i with row i is the default where all row counts are equal.
        labels: array (n,) of numbers or strings for the rows of the first modality, or None.
        source: where the embeddings come from (path, model, data, caption rule, whether rows were normalised here);
            plain values that json can hold.
    """

    modalities: Mapping[str, np.ndarray]
    pairs: np.ndarray | None = None
    labels: np.ndarray | None = None
    source: Mapping = field(default_factory=dict)

    @classmethod
    def of(cls, modalities: Mapping, pairs=None, labels=None, source: Mapping | None = None) -> "Embeddings":
        """Checks arrays, normalises their rows and says in ``source`` that it did.

        Args:
            modalities: name -> array (n, d) of real numbers, any scale, at least two rows each.
            pairs: int array (p, number of modalities) of row numbers, p = 0 for "not paired"; None pairs row i with
                row i where row counts are equal, and nothing where they differ.
            labels: array (n,), n the rows of the first modality.
            source: where they come from.

        Raises:
            UserError: fewer than two modalities, different widths, fewer than two rows, a zero row, a value that is
                not finite, pairs or labels that do not fit.
        """
        where = (source or {}).get("path")
        prefix = f"{where}: " if where else ""
        if len(modalities) < 2:
            raise UserError(f"{prefix}embeddings need two modalities or more; found {', '.join(modalities) or 'none'}")
        ordered = sorted(modalities, key=lambda name: name == TEXT)
        norms = {name: _norm_range(modalities[name], f"{prefix}{name}") for name in ordered}
        unit = {name: unit_rows(modalities[name]).astype(np.float32, copy=False) for name in ordered}
        widths = {name: array.shape[1] for name, array in unit.items()}
        if len(set(widths.values())) > 1:
            raise UserError(f"{prefix}modalities must be of one width; found {widths}")
        counts = [len(array) for array in unit.values()]
        source = {**(source or {}), "normalised_here": True, "row_norms_before": norms}
        checked = _checked_pairs(pairs, counts, prefix), _checked_labels(labels, counts[0], prefix)
        return cls(unit, *checked, source)

    @classmethod
    def load(cls, path, first: str = "image") -> "Embeddings":
        """Reads, checks and normalises embeddings in any format above.

        Args:
            path: a .npy, .npz or .safetensors file.
            first: what to call the non-text modality of a .npy file, which names nothing.

        Raises:
            UserError: no such file, an unknown or damaged format, or arrays that ``of`` refuses; names the file.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: no such file; expected embeddings as {', '.join(FORMATS)}")
        if path.suffix not in FORMATS:
            raise UserError(f"{path}: unknown format {path.suffix or '(no suffix)'}; expected {', '.join(FORMATS)}")
        arrays, source = _read(path, first)
        parts = {name: arrays.pop(name, None) for name in RESERVED}
        return cls.of(arrays, **parts, source={**source, "path": str(path)})

    def save(self, path) -> Path:
        """Writes the embeddings; the file appears complete or not at all.

        Args:
            path: .npy (two modalities paired row by row, no labels), .npz or .safetensors (number labels only).

        Raises:
            UserError: the format cannot hold these embeddings.
        """
        path = Path(path)
        arrays = {**self.modalities, **{k: v for k in RESERVED if (v := getattr(self, k)) is not None}}
        if path.suffix == ".npy":
            if len(self.modalities) != 2 or not self.paired_by_row or self.labels is not None:
                raise UserError(f"{path}: .npy holds two modalities paired row by row and no labels; use .npz")
            with replacing(path) as part:
                np.save(part, np.stack(list(self.modalities.values())), allow_pickle=False)
        elif path.suffix == ".npz":
            with replacing(path) as part:
                np.savez(part, **arrays)
        elif path.suffix == ".safetensors":
            if self.labels is not None and self.labels.dtype.kind not in "iuf":
                raise UserError(f"{path}: .safetensors holds numbers only, and labels are text; use .npz")
            with replacing(path) as part:
                arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
                told = {"source": json.dumps(dict(self.source)), "order": json.dumps(self.names)}
                save_file(arrays, part, metadata=told)
        else:
            raise UserError(f"{path}: unknown format; expected {', '.join(FORMATS)}")
        return path

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities in order, text last."""
        return tuple(self.modalities)

    @property
    def dim(self) -> int:
        """The width d."""
        return next(iter(self.modalities.values())).shape[1]

    @property
    def paired_by_row(self) -> bool:
        """Whether row i of every modality belongs to row i of every other, with no row left over."""
        if self.pairs is None or len({len(array) for array in self.modalities.values()}) > 1:
            return False
        rows = np.arange(len(next(iter(self.modalities.values()))))
        return self.pairs.shape[0] == len(rows) and bool((self.pairs == rows[:, None]).all())

    def paired(self) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last modality as arrays (p, d), row i of one belonging to row i of the other.

        Raises:
            UserError: no pairing is known.
        """
        if self.pairs is None:
            counts = {name: len(array) for name, array in self.modalities.items()}
            raise UserError(f"{self.source.get('path', 'these embeddings')}: pairs are needed here; rows: {counts}")
        first, last = self.modalities[self.names[0]], self.modalities[self.names[-1]]
        if self.paired_by_row:
            return first, last
        return first[self.pairs[:, 0]], last[self.pairs[:, -1]]


def _norm_range(array, name: str) -> list[float]:
    """Smallest and largest row norm, after the checks of one modality."""
    array = np.asarray(array)
    if array.dtype.kind not in "fiu":
        raise UserError(f"{name}: expected real numbers, found {array.dtype}")
    if array.ndim != 2 or array.shape[1] == 0:
        raise UserError(f"{name}: expected shape (rows, width), found {array.shape}")
    if len(array) < 2:
        raise UserError(f"{name}: expected at least two rows, found {len(array)}")
    norms = np.linalg.norm(array.astype(np.float64, copy=False), axis=1)
    if not np.isfinite(norms).all():
        raise UserError(f"{name}: row {np.flatnonzero(~np.isfinite(norms))[0]} holds a value that is not finite")
    if (norms == 0).any():
        raise UserError(f"{name}: row {np.flatnonzero(norms == 0)[0]} is all zero and has no direction")
    return [float(norms.min()), float(norms.max())]


def _checked_pairs(pairs, counts: list[int], prefix: str) -> np.ndarray | None:
    if pairs is None:
        return np.tile(np.arange(counts[0])[:, None], len(counts)) if len(set(counts)) == 1 else None
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != len(counts) or pairs.dtype.kind not in "iu":
        raise UserError(
            f"{prefix}pairs must be whole numbers of shape (pairs, {len(counts)}), found {pairs.dtype} {pairs.shape}"
        )
    if len(pairs) == 0:
        return None
    if len(pairs) < 2 or (pairs < 0).any() or (pairs >= counts).any():
        raise UserError(f"{prefix}pairs must be at least two rows of row numbers below {counts}")
    return pairs.astype(np.int64)


def _checked_labels(labels, count: int, prefix: str) -> np.ndarray | None:
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.shape != (count,) or labels.dtype.kind not in "iufU":
        raise UserError(f"{prefix}labels must be {count} numbers or strings, found {labels.dtype} {labels.shape}")
    return labels


def _read(path: Path, first: str) -> tuple[dict, dict]:
    """The named arrays of a file and what it says of their source."""
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    try:
        if path.suffix == ".npy":
            return _split(np.load(path, allow_pickle=False), path, first), {}
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}, {}
        with safe_open(path, framework="pt") as file:
            source = json.loads((file.metadata() or {}).get("source", "{}"))
            order = json.loads((file.metadata() or {}).get("order", "[]"))
            names = sorted(file.keys(), key=lambda name: (order.index(name) if name in order else len(order), name))
            tensors = {name: file.get_tensor(name) for name in names}
            return {
                name: (t.float() if t.dtype == torch.bfloat16 else t).numpy() for name, t in tensors.items()
            }, source
    except UserError:
        raise
    except (ValueError, OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not readable as {path.suffix} ({reason}); is it truncated or pickled?") from error


def _split(array: np.ndarray, path: Path, first: str) -> dict[str, np.ndarray]:
    if array.ndim != 3 or array.shape[0] != 2:
        raise UserError(f"{path}: a .npy file of embeddings has shape (2, pairs, width); this one has {array.shape}")
    return {first: array[0], TEXT: array[1]}
