"""One type for the embeddings of two or more modalities, and the files that it reads and writes.

Formats (none is ever unpickled):
    .npy          (2, n, d): [0] the non-text modality, [1] text; row i of one pairs with row i of the other
    .npz          one named array (n, d) per modality, optional ``labels`` and ``pairs``
    .safetensors  the same; keeps ``source`` in its metadata, and the order of the modalities, which is otherwise
                  alphabetical

"text" always comes last. The columns of ``pairs`` follow the order of the modalities.
"""

import json
import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from util.arrays import as_matrix, nonzero_norms
from util.errors import UserError
from util.files import replacing
from util.geometry import unit_rows

RESERVED = ("labels", "pairs")
TEXT = "text"
FORMATS = (".npy", ".npz", ".safetensors")
NAME = re.compile(r"\w[\w .+-]*")
"""What a modality may be called: it names a member of an archive."""


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
            modalities: name -> numpy array or torch tensor (n, d) of real numbers, norms from 1e-150 to 1e150, at
                least two rows each.
            pairs: int array (p, number of modalities) of row numbers, p = 0 for "not paired"; None pairs row i with
                row i where row counts are equal, and nothing where they differ.
            labels: array (n,), n the rows of the first modality.
            source: where they come from, as json can hold it.

        Raises:
            UserError: fewer than two modalities, odd names, different widths, fewer than two rows, a zero row, values
                that are not finite, pairs or labels that do not fit.
        """
        source = _plain_source(source)
        prefix = f"{source['path']}: " if "path" in source else ""
        for name in modalities:
            if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
                raise UserError(f"{prefix}a modality cannot be called {name!r}; use letters, digits, space, . + or -")
        if len(modalities) < 2:
            raise UserError(f"{prefix}embeddings need two modalities or more; found {', '.join(modalities) or 'none'}")
        ordered = sorted(modalities, key=lambda name: name == TEXT)
        tensors = {name: as_matrix(modalities[name], f"{prefix}{name}", least_rows=2) for name in ordered}
        widths = {name: tensor.shape[1] for name, tensor in tensors.items()}
        if len(set(widths.values())) > 1:
            raise UserError(f"{prefix}modalities must be of one width; found {widths}")
        norms = {name: nonzero_norms(tensor, f"{prefix}{name}") for name, tensor in tensors.items()}
        spans = {name: [float(some.min()), float(some.max())] for name, some in norms.items()}
        unit = {name: unit_rows(tensor).float().cpu().numpy() for name, tensor in tensors.items()}
        counts = [len(array) for array in unit.values()]
        checked = _checked_pairs(pairs, counts, prefix), _checked_labels(labels, counts[0], prefix)
        return cls(unit, *checked, {**source, "normalised_here": True, "row_norms_before": spans})

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
        if self.pairs is None:
            arrays["pairs"] = np.empty((0, len(self.modalities)), np.int64)  # else equal counts would read as paired
        if path.suffix == ".npy":
            if len(self.modalities) != 2 or not self.paired_by_row or self.labels is not None:
                raise UserError(f"{path}: .npy holds two modalities paired row by row and no labels; use .npz")
            with replacing(path) as part:
                np.save(part, np.stack(list(self.modalities.values())), allow_pickle=False)
        elif path.suffix == ".npz":
            with replacing(path) as part, zipfile.ZipFile(part, "w") as archive:
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
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


def _plain_source(source: Mapping | None) -> dict:
    """A copy that json can hold."""
    try:
        return json.loads(json.dumps(dict(source or {}), default=str))
    except (TypeError, ValueError) as error:
        raise UserError(f"source must be a mapping that json can hold ({error})") from error


def _checked_pairs(pairs, counts: list[int], prefix: str) -> np.ndarray | None:
    if pairs is None:
        return np.tile(np.arange(counts[0])[:, None], len(counts)) if len(set(counts)) == 1 else None
    try:
        pairs = np.asarray(pairs)
    except ValueError:
        raise UserError(f"{prefix}pairs must be rows of {len(counts)} whole numbers each") from None
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
        return {".npy": _read_npy, ".npz": _read_npz, ".safetensors": _read_safetensors}[path.suffix](path, first)
    except UserError:
        raise
    except Exception as error:  # whatever a damaged or hostile file makes its parser raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{path}: not readable as {path.suffix} ({reason}); is it damaged or pickled?") from error


def _read_npy(path: Path, first: str) -> tuple[dict, dict]:
    """Mapped before it is read, so that a header cannot claim more than the file holds."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: an archive, not a .npy file; name it .npz")
    if array.ndim != 3 or array.shape[0] != 2:
        raise UserError(f"{path}: a .npy file of embeddings has shape (2, pairs, width); this one has {array.shape}")
    return {first: np.array(array[0]), TEXT: np.array(array[1])}, {}


def _read_npz(path: Path, first: str) -> tuple[dict, dict]:
    """Every member once, and none that claims more than its own bytes."""
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name in arrays or name == member.filename:
                raise UserError(f"{path}: member {member.filename!r} is there twice, or is no .npy")
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
                    version
                ]
                shape, _, dtype = read(stream)
            if math.prod(shape) * dtype.itemsize > member.file_size:
                raise UserError(f"{path}: member {name!r} claims shape {shape} but has {member.file_size} bytes")
            with archive.open(member) as stream:
                arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
    return arrays, {}


def _read_safetensors(path: Path, first: str) -> tuple[dict, dict]:
    with safe_open(path, framework="pt") as file:
        told = {key: json.loads(text) for key, text in (file.metadata() or {}).items() if key in ("source", "order")}
        order, source = told.get("order", []), told.get("source", {})
        if not isinstance(order, list) or not isinstance(source, dict):
            raise UserError(f"{path}: its metadata hold no list as order or no mapping as source")
        names = sorted(file.keys(), key=lambda name: (order.index(name) if name in order else len(order), name))
        tensors = {name: file.get_tensor(name) for name in names}
    return {name: (t.float() if t.dtype == torch.bfloat16 else t).numpy() for name, t in tensors.items()}, source
