"""The embeddings of two or more modalities, and the files that hold them.

Formats (none is ever unpickled):
    .npy          (2, n, d): [0] the non-text modality, [1] text; row i of one pairs with row i of the other
    .npz          one named array (n, d) per modality, optional ``labels`` and ``pairs``
    .safetensors  the same; keeps ``source`` in its metadata, and the order of the modalities, which is otherwise
                  alphabetical

"text" always comes last. The columns of ``pairs`` follow the order of the modalities.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .errors import UserError
from .geometry import unit_rows
from .numerics.arrays import as_matrix, nonzero_norms, rows_shape, to_numpy
from .readers import TEXT, read, write

RESERVED = ("labels", "pairs")
NAME = re.compile(r"\w[\w .+-]*")
"""What a modality may be called: it names a member of an archive."""


@dataclass(frozen=True)
class Stored:
    """Embeddings as they were given, checked in all but their values: not normalised and, from a file, not yet read.

    For measures that go over a file of any size once (``util.measures``).

    Attributes:
        modalities: name -> array (n, d) of real numbers, memory-mapped where the format allows; "text", where there is
            one, is the last. All of one width d; row counts may differ.
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
    def of(cls, modalities: Mapping, pairs=None, labels=None, source: Mapping | None = None) -> "Stored":
        """Checks names, widths, counts, pairs and labels; arguments and errors as ``Embeddings.of``."""
        source = _plain_source(source)
        prefix = _prefix(source)
        if not isinstance(modalities, Mapping):
            raise UserError("embeddings are given as {name: array}, for instance {'image': images, 'text': texts}")
        for name in modalities:
            if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
                raise UserError(f"{prefix}a modality cannot be called {name!r}; use letters, digits, space, . + or -")
        if len(modalities) < 2:
            raise UserError(f"{prefix}embeddings need two modalities or more; found {', '.join(modalities) or 'none'}")
        ordered = sorted(modalities, key=lambda name: name == TEXT)
        shapes = {name: rows_shape(modalities[name], f"{prefix}{name}", least_rows=2) for name in ordered}
        if len({width for _, width in shapes.values()}) > 1:
            widths = {name: width for name, (_, width) in shapes.items()}
            raise UserError(f"{prefix}modalities must be of one width; found {widths}")
        counts = [count for count, _ in shapes.values()]
        checked = _checked_pairs(pairs, counts, prefix), _checked_labels(labels, counts[0], prefix)
        return cls({name: modalities[name] for name in ordered}, *checked, source)

    @classmethod
    def open(cls, path, first: str = "image") -> "Stored":
        """Embeddings in any format above; arguments and errors as ``Embeddings.load``, but for the values."""
        path = Path(path)
        arrays, source = read(path, first)
        parts = {name: arrays.pop(name, None) for name in RESERVED}
        return cls.of(arrays, **parts, source={**source, "path": str(path)})

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities in order, text last."""
        return tuple(self.modalities)


@dataclass(frozen=True)
class Embeddings(Stored):
    """Unit-norm embeddings of two or more modalities: float32 arrays (n, d), all else as in ``Stored``."""

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
        """
        return _normalised(Stored.of(modalities, pairs, labels, source))

    @classmethod
    def load(cls, path, first: str = "image") -> "Embeddings":
        """Reads, checks and normalises embeddings in any format above.

        ``first`` is what to call the non-text modality of a .npy file, which names nothing.
        """
        return _normalised(Stored.open(path, first))

    def save(self, path) -> Path:
        """Writes .npy (two modalities paired row by row, no labels), .npz or .safetensors (number labels only)."""
        path = Path(path)
        if "path" in self.source and path.resolve() == Path(self.source["path"]).resolve():
            raise UserError(f"{path}: these embeddings were read from it; choose another file")
        if path.suffix == ".npy" and (len(self.modalities) != 2 or not self.paired_by_row or self.labels is not None):
            raise UserError(f"{path}: .npy holds two modalities paired row by row and no labels; use .npz")
        arrays = {**self.modalities, **{k: v for k in RESERVED if (v := getattr(self, k)) is not None}}
        if self.pairs is None:
            arrays["pairs"] = np.empty((0, len(self.modalities)), np.int64)  # else equal counts would read as paired
        write(path, arrays, self.names, dict(self.source))
        return path

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
        """The first and the last modality as arrays (p, d), row i of one belonging to row i of the other."""
        if self.pairs is None:
            counts = {name: len(array) for name, array in self.modalities.items()}
            raise UserError(f"{self.source.get('path', 'these embeddings')}: pairs are needed here; rows: {counts}")
        first, last = self.modalities[self.names[0]], self.modalities[self.names[-1]]
        if self.paired_by_row:
            return first, last
        return first[self.pairs[:, 0]], last[self.pairs[:, -1]]


def _normalised(stored: Stored) -> Embeddings:
    unit, spans = {}, {}
    for name, array in stored.modalities.items():
        where = f"{_prefix(stored.source)}{name}"
        norms = nonzero_norms(as_matrix(array, where), where)
        spans[name] = [float(norms.min()), float(norms.max())]
        unit[name] = to_numpy(unit_rows(array)).astype(np.float32, copy=False)
    about = {**stored.source, "normalised_here": True, "row_norms_before": spans}
    return Embeddings(unit, stored.pairs, stored.labels, about)


def _prefix(source: Mapping) -> str:
    """What an error about embeddings begins with: the file's path."""
    return f"{source['path']}: " if "path" in source else ""


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
