"""The embeddings of one modality or more, and the files that hold them (``util.readers``: none is ever unpickled).

Modalities are known by what their names mean, and text comes last: "image_features" of a file is "image", "captions"
is "text". The columns of ``pairs`` follow the order of the modalities.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from .errors import UserError
from .files import is_remote, sha256
from .geometry import unit_rows
from .numerics.arrays import UNIT_TOLERANCE, as_matrix, nonzero_norms, rows_shape, to_numpy
from .numerics.items import copies_said
from .numerics.moments import Moments, moments
from .readers import NAME, write
from .readers.beside import checked_labels, checked_pairs
from .readers.sets import RESERVED, in_order, read_sets

ONE_DIRECTION = 0.99
"""A mean cosine above this is said: trained encoders of things that differ stay well below."""
MOST_COMPARED = 1_000_000
"""Equal rows are looked for in modalities of so many rows, for their hashes stay in memory."""


@dataclass(frozen=True)
class Embeddings:
    """Embeddings with unit-norm rows, float32; or as they are stored, not yet read where they are in a file.

    Attributes:
        modalities: name -> array (n, d) of real numbers; those that mean text are the last. All of one width d; row
            counts may differ. As stored: memory-mapped or in parts where the format allows.
        pairs: int64 array (p, number of modalities), row numbers that belong together; p = 0 says that nothing is
            paired, None that nobody said: then row i belongs to row i of modalities that are equally long.
        labels: int64 or str array (n,) for the rows of the first modality, or bool (n, C), several classes a row.
        source: where the embeddings come from (path, model, data, caption rule, whether rows were normalised here);
            plain values that json can hold. ``notes`` in it are sentences for whoever reads the numbers.
        beside: ids, classes, paths, captions, logit_scale, logit_bias, and what else names rows of the first modality.
    """

    modalities: Mapping[str, np.ndarray]
    pairs: np.ndarray | None = None
    labels: np.ndarray | None = None
    source: Mapping = field(default_factory=dict)
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, modalities, pairs=None, labels=None, source=None, beside=None, unit: bool = True) -> "Embeddings":
        """Checks the attributes, normalises rows and says in ``source`` that it did.

        Arrays are numpy's or torch's, norms from 1e-150 to 1e150. Labels may be names or numbers, or a column for each
        class. With ``unit=False`` rows stay as they are stored, and unread: all but their values is checked.
        """
        try:
            source = json.loads(json.dumps(dict(source or {}), default=str))
        except (TypeError, ValueError) as error:
            raise UserError(f"source must be a mapping that json can hold ({error})") from error
        beside, prefix = dict(beside or {}), _begun_by(source)
        if not isinstance(modalities, Mapping) or not modalities:
            raise UserError("embeddings are given as {name: array}, for instance {'image': images, 'text': texts}")
        for name in modalities:
            if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
                raise UserError(f"{prefix}a modality cannot be called {name!r}; use letters, digits, space, . + or -")
        given = {name: modalities[name] for name in in_order(modalities)}
        shapes = {name: rows_shape(rows, f"{prefix}{name}") for name, rows in given.items()}
        if len({width for _, width in shapes.values()}) > 1:
            said = ", ".join(f"{name} {width}" for name, (_, width) in shapes.items())
            raise UserError(f"{prefix}modalities must be of one width; columns are {said}: are they of one model?")
        counts = {name: count for name, (count, _) in shapes.items()}
        if np.ndim(labels) == 2 or getattr(labels, "dtype", np.dtype(int)).kind == "U":
            source["labels_stated"] = "by class"  # numbers do not say whether they count from 0
        labels = checked_labels(labels, counts, beside.get("classes"), prefix)
        pairs = checked_pairs(pairs, [*counts.values()], prefix)
        found = cls(given, pairs, labels, source, beside)
        return found.normalised() if unit else found

    @classmethod
    def load(cls, *paths, columns=None, unit: bool = True) -> "Embeddings":
        """Reads, checks and normalises embeddings in any format of ``util.readers``.

        Args:
            paths: one file or folder, or several of one modality each, as ``image=a.npy`` where names do not say it.
            columns: modality -> name of its array or column; then no other is a modality.
            unit: False leaves rows as they are stored, and unread, for measures that go over a file of any size once.
        """
        found, *others = [cls.of(**each, unit=False) for each in read_sets(paths, columns)]
        if others:
            there = ", ".join(found.names)
            raise UserError(f"{found.source['path']}: holds {there}; files of a set hold one modality each")
        return found.remarked() if unit else found

    def normalised(self) -> "Embeddings":
        """The same with its rows read, checked and made unit-norm."""
        unit, spans = {}, {}
        for name, array in self.modalities.items():
            where = f"{_begun_by(self.source)}{name}"
            rows = as_matrix(array, where)
            norms = nonzero_norms(rows, where, whole=array)
            spans[name] = [float(norms.min()), float(norms.max())]
            unit[name] = to_numpy(unit_rows(rows)).astype(np.float32, copy=False)
        about = {**self.source, "normalised_here": True, "row_norms_before": spans}
        return replace(self, modalities=unit, source=about)

    def remarked(self) -> "Embeddings":
        """``normalised``, with what there is to remark on among the notes."""
        found = self.normalised()
        notes = dict.fromkeys([*self.source.get("notes", ()), *self.remarks()])
        return replace(found, source={**found.source, "notes": list(notes)}) if notes else found

    def remarks(self, found: Mapping[str, Moments] | None = None, copied: Mapping[str, int] | None = None) -> list[str]:
        """Sentences on what makes numbers of rows as stored mean less: norms other than 1, equal rows, or nearly so.

        ``found`` are the moments of each modality's rows and ``copied`` its copies, where they are known.
        """
        where = _begun_by(self.source)
        found = found or {name: moments(rows, f"{where}{name}") for name, rows in self.modalities.items()}
        scaled = [
            f"{name} {each.shortest:.4g} to {each.longest:.4g}"
            for name, each in found.items()
            if max(1 - each.shortest, each.longest - 1) > UNIT_TOLERANCE
        ]
        said = [f"{where}rows are made unit-norm here; norms were {', '.join(scaled)}"] if scaled else []
        few = {name: rows for name, rows in self.modalities.items() if len(rows) <= MOST_COMPARED}
        said += [f"{where}{each}" for each in copies_said(few, copied)]
        for name, each in found.items():
            if each.n > 1 and each.mean_cosine > ONE_DIRECTION:
                one = f"{where}{name}: rows hardly differ, mean cosine {each.mean_cosine:.4f}"
                said.append(f"{one}; the gap and every accuracy of them mean little: is the encoder right?")
        return said

    def save(self, path) -> Path:
        """Writes .npy (one modality, or two paired row by row, no labels), .npz or .safetensors (number labels)."""
        path = Path(path)
        if "path" in self.source and path.resolve() == Path(self.source["path"]).resolve():
            raise UserError(f"{path}: these embeddings were read from it; choose another file")
        extra = {k: v for k in RESERVED if (v := getattr(self, k)) is not None}
        if path.suffix == ".npy" and (self.labels is not None or (len(self.names) > 1 and not self.paired_by_row)):
            raise UserError(f"{path}: .npy holds two modalities paired row by row and no labels; use .npz")
        if path.suffix == ".npz":
            extra |= {f"{name}_key" if name in self.names else name: each for name, each in self.beside.items()}
        write(path, {**self.modalities, **extra}, self.names, dict(self.source))
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
    def files(self) -> list[Mapping]:
        """The sources of the files that hold a modality each, in their order, or of the one file."""
        files = self.source.get("files")  # of a folder of pictures it is a hash
        return files if isinstance(files, list) else [self.source]

    def digest(self) -> dict:
        """The sha256 of the file, or of each of the files; nothing for what is not on this machine."""
        paths = [source["path"] for source in self.files if "path" in source]
        found = {path: sha256(Path(path)) for path in paths if not is_remote(path)}
        return {"sha256": next(iter(found.values())) if len(found) == 1 else found} if found else {}

    def two(self) -> tuple[str, str]:
        """The names of the two modalities, text second; one alone is refused, and more than two."""
        if len(self.names) == 2:
            return self.names
        first, last = self.names[0], self.names[-1]
        how = f"choose two of them, for instance --columns {first}={first} {last}={last}"
        if len(self.names) == 1:
            how = "two modalities are needed here: name the other file too, in a notebook a list of both"
        raise UserError(f"{_begun_by(self.source)}holds {', '.join(self.names)}; {how}")

    def duo(self, names: tuple[str, str]) -> "Embeddings":
        """Two of the modalities as a set of their own, with the pairs between them."""
        pairs = self.pairs_between(names)
        return replace(
            self,
            modalities={name: self.modalities[name] for name in names},
            pairs=np.empty((0, 2), np.int64) if pairs is None else pairs,
            labels=self.labels if names[0] == self.names[0] else None,
        )

    def pairs_between(self, names: tuple[str, str]) -> np.ndarray | None:
        """Row numbers (p, 2) of two modalities that belong together, each once; None where nothing is paired."""
        if self.pairs is None:
            n, m = (len(self.modalities[name]) for name in names)
            return np.tile(np.arange(n)[:, None], 2) if n == m else None
        columns = self.pairs[:, [self.names.index(name) for name in names]]
        if not len(columns):
            return None
        return columns if len(self.names) == 2 else np.unique(columns, axis=0)

    @property
    def paired_by_row(self) -> bool:
        """Whether row i of each of two modalities belongs to row i of the other, with no row left over."""
        pairs = self.pairs_between(self.names) if len(self.names) == 2 else None
        longest = max(map(len, self.modalities.values()))
        return pairs is not None and np.array_equal(pairs, np.tile(np.arange(longest)[:, None], 2))

    def paired(self) -> tuple[np.ndarray, np.ndarray]:
        """The two modalities as arrays (p, d), row i of one belonging to row i of the other."""
        first, last = (self.modalities[name] for name in self.two())
        if (pairs := self.pairs_between(self.names)) is None:
            counts = ", ".join(f"{len(rows)} {name}" for name, rows in self.modalities.items())
            raise UserError(f"{_begun_by(self.source)}pairs are needed here; rows are {counts}")
        return (first, last) if self.paired_by_row else (first[pairs[:, 0]], last[pairs[:, 1]])


def open_sets(paths: Sequence, columns: Mapping[str, str] | None = None) -> dict[str, Embeddings]:
    """Files and folders as stored sets by name: those of one modality each are one set, every other is its own.

    Sets are named by the stem of their file, or by its path where two stems are the same.
    """
    sets = [Embeddings.of(**each, unit=False) for each in read_sets(paths, columns)]
    places = [one.source["path"] for one in sets]
    stems = ["+".join(Path(path).stem for path in place.split(" + ")) for place in places]
    return dict(zip(stems if len({*stems}) == len(stems) else places, sets, strict=True))


def duos(sets: Mapping[str, Embeddings]) -> dict[str, Embeddings]:
    """Sets of two modalities: of three, every two of them are a set. One modality alone is refused."""
    found: dict[str, Embeddings] = {}
    for name, one in sets.items():
        several = list(combinations(one.names, 2)) if len(one.names) > 1 else [one.two()]
        for names in several:
            found[name if len(several) == 1 else f"{name}: {names[0]}, {names[1]}"] = one.duo(names)
    return found


def load_sets(paths: Sequence, columns: Mapping[str, str] | None = None, two: bool = True) -> dict[str, Embeddings]:
    """``open_sets``, or the ``duos`` of them, with rows made unit-norm and the hashes of their files in ``source``."""
    sets = open_sets(paths, columns)
    sets = duos(sets) if two else sets
    return {name: replace(one, source={**one.source, **one.digest()}).remarked() for name, one in sets.items()}


def _begun_by(source: Mapping) -> str:
    """What an error about embeddings begins with: the file's path."""
    return f"{source['path']}: " if "path" in source else ""
