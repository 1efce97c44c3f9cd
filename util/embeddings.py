"""The embeddings of one modality or more, and the files that hold them (``util.readers``: none is ever unpickled).

Modalities are known by what their names mean, and text comes last: "image_features" of a file is "image", "captions"
is "text". The columns of ``pairs`` follow the order of the modalities.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .errors import UserError
from .files import is_remote, named_path, sha256
from .geometry import unit_rows
from .numerics.arrays import as_matrix, nonzero_norms, rows_shape, to_numpy
from .readers import NAME, TEXT, read, role, sort_out, write
from .readers.beside import as_rows, checked_labels, checked_pairs, matched
from .remarks import begun_by, remarks

RESERVED = ("labels", "pairs")


@dataclass(frozen=True)
class Stored:
    """Embeddings as they were given, checked in all but their values: not normalised and, from a file, not yet read.

    For measures that go over a file of any size once (``util.measures``).

    Attributes:
        modalities: name -> array (n, d) of real numbers, memory-mapped or in parts where the format allows; those that
            mean text are the last. All of one width d; row counts may differ.
        pairs: int64 array (p, number of modalities), row numbers that belong together, or None where nobody said.
        labels: int64 or str array (n,) for the rows of the first modality, or bool (n, C), several classes a row.
        source: where the embeddings come from (path, model, data, caption rule, whether rows were normalised here);
            plain values that json can hold. ``notes`` in it are sentences for whoever reads the numbers.
        beside: arrays that stand beside the vectors: ids, classes, paths, captions, logit_scale, logit_bias.
        unpaired: whether modalities of equal length are not paired, on purpose.
    """

    modalities: Mapping[str, np.ndarray]
    pairs: np.ndarray | None = None
    labels: np.ndarray | None = None
    source: Mapping = field(default_factory=dict)
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)
    unpaired: bool = False

    @classmethod
    def of(
        cls, modalities: Mapping, pairs=None, labels=None, source: Mapping | None = None, beside: Mapping | None = None
    ) -> "Stored":
        """Checks names, widths, counts, pairs and labels; arguments and errors as ``Embeddings.of``."""
        source, beside = _plain_source(source), dict(beside or {})
        prefix = begun_by(source)
        if not isinstance(modalities, Mapping) or not modalities:
            raise UserError("embeddings are given as {name: array}, for instance {'image': images, 'text': texts}")
        for name in modalities:
            if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
                raise UserError(f"{prefix}a modality cannot be called {name!r}; use letters, digits, space, . + or -")
        ordered = sorted(modalities, key=lambda name: (role(name) == TEXT, name == TEXT))
        shapes = {name: rows_shape(modalities[name], f"{prefix}{name}") for name in ordered}
        if len({width for _, width in shapes.values()}) > 1:
            said = ", ".join(f"{name} {width}" for name, (_, width) in shapes.items())
            raise UserError(f"{prefix}modalities must be of one width; columns are {said}: are they of one model?")
        counts = [count for count, _ in shapes.values()]
        labels = checked_labels(labels, dict(zip(ordered, counts, strict=True)), beside.get("classes"), prefix)
        pairs = checked_pairs(pairs, counts, prefix)
        unpaired = pairs is not None and not len(pairs)
        given = {name: modalities[name] for name in ordered}
        return cls(given, None if unpaired else pairs, labels, source, beside, unpaired)

    @classmethod
    def open(cls, *paths, columns: Mapping[str, str] | None = None, first: str = "image") -> "Stored":
        """Embeddings in any format; arguments and errors as ``Embeddings.load``, but for the values."""
        return cls.joined(cls.opened(paths, columns, first))

    @classmethod
    def opened(cls, paths: Sequence, columns: Mapping[str, str] | None, first: str = "image") -> dict[str, "Stored"]:
        """A set for each file, by how it was given; of several files each takes the columns that it has."""
        opened, used = {}, set()
        alone = [Path(given).resolve() for given in map(str, paths) if not named_path(given)[0]]
        if twice := [path for path in alone if alone.count(path) > 1]:
            raise UserError(f"{twice[0]}: is named twice; leave one out")
        for given in map(str, paths):
            name, path = named_path(given)
            arrays, source = read(path, first)
            mine = {key: value for key, value in (columns or {}).items() if not name or key == name}
            if len(paths) > 1:
                mine = {key: value for key, value in mine.items() if value in arrays}
            used |= {*mine}
            opened[given] = cls._of_arrays(arrays, source, path, mine)
        if left := [f"{key}={value}" for key, value in (columns or {}).items() if key not in used]:
            raise UserError(f"--columns {' '.join(left)}: no such column in {', '.join(map(str, paths))}")
        return opened

    @classmethod
    def _of_arrays(cls, arrays: Mapping, source: Mapping, path: str, columns: Mapping[str, str]) -> "Stored":
        found = sort_out(arrays, path, columns, Path(path).name.split(".")[0])
        unused = [f"{path}: not used: {', '.join(found.ignored)}"] if found.ignored else []
        found, changed = as_rows(found, path)
        notes = [*source.get("notes", []), *unused, *changed]
        beside = {kind: array for kind, array in found.beside.items() if kind not in RESERVED}
        named = {kind: found.beside.get(kind) for kind in RESERVED}
        source = {**source, "path": path, **({"notes": notes} if notes else {})}
        return cls.of(found.modalities, **named, source=source, beside=beside)

    @classmethod
    def joined(cls, opened: Mapping[str, "Stored"]) -> "Stored":
        """Sets of one modality each as one; equal ids say which rows are pairs."""
        if len(opened) == 1 and not named_path(*opened)[0]:
            return next(iter(opened.values()))
        parts = _by_name(opened)
        sources = [dict(part.source) for part in parts.values()]
        notes = [note for source in sources for note in source.pop("notes", [])]
        path = " + ".join(source["path"] for source in sources)
        modalities = {name: next(iter(part.modalities.values())) for name, part in parts.items()}
        order = cls.of(modalities).names
        try:
            pairs, how = matched({n: parts[n].beside for n in order}, {n: len(modalities[n]) for n in order})
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        notes += [f"{path}: {how}"] if how else []
        beside: dict = {}  # captions are of the last modality that has them, all else of the first
        for kind, each in [item for name in order for item in parts[name].beside.items()]:
            if kind == "captions" or kind not in beside:
                beside[kind] = each
        labels = {name: part.labels for name, part in parts.items() if part.labels is not None}
        notes += [f"{path}: labels of {name} not used: labels are of {order[0]}" for name in labels if name != order[0]]
        source = {"path": path, "files": sources, **({"notes": notes} if notes else {})}
        return cls.of(modalities, pairs, labels.get(order[0]), source, beside)

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities in order, text last."""
        return tuple(self.modalities)

    def digest(self) -> dict:
        """The sha256 of the file, or of each of the files; nothing for what is not on this machine."""
        paths = [source["path"] for source in self.source.get("files", [self.source]) if "path" in source]
        found = {path: sha256(Path(path)) for path in paths if not is_remote(path)}
        return {"sha256": next(iter(found.values())) if len(found) == 1 else found} if found else {}

    def two(self) -> tuple[str, str]:
        """The names of the two modalities, text second; one alone is refused, and more than two."""
        if len(self.names) == 2:
            return self.names
        where, there = begun_by(self.source), ", ".join(self.names)
        if len(self.names) == 1:
            raise UserError(f"{where}holds {there} alone; two modalities are needed here: give the other file too")
        chosen = f"--columns {self.names[0]}={self.names[0]} {self.names[-1]}={self.names[-1]}"
        raise UserError(f"{where}holds {there}; choose two of them, for instance {chosen}")

    def duo(self, names: tuple[str, str]) -> "Stored":
        """Two of the modalities as a set of their own, with the pairs between them."""
        pairs, labels = self.pairs_between(names), self.labels if names[0] == self.names[0] else None
        modalities = {name: self.modalities[name] for name in names}
        return replace(self, modalities=modalities, pairs=pairs, labels=labels, unpaired=pairs is None)

    def pairs_between(self, names: tuple[str, str]) -> np.ndarray | None:
        """Row numbers (p, 2) of two modalities that belong together, each once; None where nothing is paired.

        Where nobody said, row i belongs to row i of modalities that are equally long.
        """
        if self.pairs is not None:
            columns = self.pairs[:, [self.names.index(name) for name in names]]
            return columns if len(self.names) == 2 else np.unique(columns, axis=0)
        n, m = (len(self.modalities[name]) for name in names)
        return np.tile(np.arange(n)[:, None], 2) if n == m and not self.unpaired else None


@dataclass(frozen=True)
class Embeddings(Stored):
    """Unit-norm embeddings: float32 arrays (n, d), all else as in ``Stored``."""

    @classmethod
    def of(
        cls, modalities: Mapping, pairs=None, labels=None, source: Mapping | None = None, beside: Mapping | None = None
    ) -> "Embeddings":
        """Checks arrays, normalises their rows and says in ``source`` that it did.

        Args:
            modalities: name -> numpy array or torch tensor (n, d) of real numbers, norms from 1e-150 to 1e150.
            pairs: int array (p, number of modalities) of row numbers, p = 0 for "not paired"; None pairs row i with
                row i of modalities of one length, and nothing where lengths differ.
            labels: numbers or strings (n,), n the rows of the first modality, or one column for each class (n, C).
            source: where they come from, as json can hold it.
            beside: arrays that stand beside the vectors, by kind (``Stored.beside``).
        """
        return _normalised(Stored.of(modalities, pairs, labels, source, beside))

    @classmethod
    def load(cls, *paths, columns: Mapping[str, str] | None = None, first: str = "image") -> "Embeddings":
        """Reads, checks and normalises embeddings in any format of ``util.readers``.

        Args:
            paths: one file or folder, or several that hold one modality each, named as ``image=a.npy`` where their
                names do not say what they hold.
            columns: modality -> name of its array or column; then no other is a modality.
            first: what to call the non-text modality of a .npy of shape (2, n, d), which names nothing.
        """
        return remarked(Stored.open(*paths, columns=columns, first=first))

    def save(self, path) -> Path:
        """Writes .npy (one modality, or two paired row by row, no labels), .npz or .safetensors (number labels)."""
        path = Path(path)
        if "path" in self.source and path.resolve() == Path(self.source["path"]).resolve():
            raise UserError(f"{path}: these embeddings were read from it; choose another file")
        extra = {k: v for k in RESERVED if (v := getattr(self, k)) is not None}
        if path.suffix == ".npy" and (self.labels is not None or (len(self.names) > 1 and not self.paired_by_row)):
            raise UserError(f"{path}: .npy holds two modalities paired row by row and no labels; use .npz")
        if path.suffix == ".npz":
            extra |= self.beside
        if self.unpaired:
            extra["pairs"] = np.empty((0, len(self.names)), np.int64)  # else equal counts would read as paired
        write(path, {**self.modalities, **extra}, self.names, dict(self.source))
        return path

    @property
    def dim(self) -> int:
        """The width d."""
        return next(iter(self.modalities.values())).shape[1]

    @property
    def paired_by_row(self) -> bool:
        """Whether row i of each of two modalities belongs to row i of the other, with no row left over."""
        if len(self.names) != 2 or (pairs := self.pairs_between(self.names)) is None:
            return False
        counts = {len(array) for array in self.modalities.values()}
        return counts == {len(pairs)} and bool((pairs == np.arange(len(pairs))[:, None]).all())

    def paired(self) -> tuple[np.ndarray, np.ndarray]:
        """The two modalities as arrays (p, d), row i of one belonging to row i of the other."""
        first, last = (self.modalities[name] for name in self.two())
        if (pairs := self.pairs_between(self.names)) is None:
            counts = {name: len(array) for name, array in self.modalities.items()}
            raise UserError(f"{self.source.get('path', 'these embeddings')}: pairs are needed here; rows: {counts}")
        return (first, last) if self.paired_by_row else (first[pairs[:, 0]], last[pairs[:, 1]])


def _by_name(opened: Mapping[str, Stored]) -> dict[str, Stored]:
    """Sets of one modality each by its name, which is given or told by the name of the file or its array."""
    found: dict[str, Stored] = {}
    for given, one in opened.items():
        given_name, path = named_path(given)
        name = given_name or one.names[0]
        if len(one.names) > 1:
            raise UserError(f"{path}: holds {', '.join(one.names)}; files of a set hold one modality each")
        if name in found:
            raise UserError(f"{found[name].source['path']} and {path} are both {name}; name them, as image={path}")
        if len(opened) > 1 and not given_name and not role(name):
            raise UserError(f"{path}: which modality it holds cannot be told by name; name it, as image={path}")
        found[name] = one
    return found


def remarked(stored: Stored) -> Embeddings:
    """``_normalised``, with what there is to remark on in the notes."""
    found = _normalised(stored)
    notes = dict.fromkeys([*stored.source.get("notes", ()), *remarks(stored)])
    return replace(found, source={**found.source, "notes": list(notes)}) if notes else found


def _normalised(stored: Stored) -> Embeddings:
    """The same with its rows read, checked and made unit-norm."""
    unit, spans = {}, {}
    for name, array in stored.modalities.items():
        where = f"{begun_by(stored.source)}{name}"
        rows = as_matrix(array, where)
        norms = nonzero_norms(rows, where, whole=array)
        spans[name] = [float(norms.min()), float(norms.max())]
        unit[name] = to_numpy(unit_rows(rows)).astype(np.float32, copy=False)
    about = {**stored.source, "normalised_here": True, "row_norms_before": spans}
    return Embeddings(unit, stored.pairs, stored.labels, about, stored.beside, stored.unpaired)


def _plain_source(source: Mapping | None) -> dict:
    """A copy that json can hold."""
    try:
        return json.loads(json.dumps(dict(source or {}), default=str))
    except (TypeError, ValueError) as error:
        raise UserError(f"source must be a mapping that json can hold ({error})") from error
