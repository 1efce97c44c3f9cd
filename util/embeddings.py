"""The embeddings of one modality or more, and the files that hold them (``util.readers``: none is ever unpickled).

Modalities are known by what their names mean, and text comes last. ``pairs`` have their columns in the same order.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from . import UserError
from .files import is_remote, named_path, sha256
from .geometry import Moments, moments, unit_rows
from .numerics.arrays import UNIT_TOLERANCE, as_matrix, nonzero_norms, rows_shape, to_numpy
from .numerics.items import copies_said
from .readers import NAME, TEXT, meaning, read, role, write

RESERVED = ("labels", "pairs")
"""What stands beside the vectors and is an argument of its own."""
ONE_DIRECTION = 0.99
"""A mean cosine above this is said: trained encoders of things that differ stay well below."""
MOST_SHOWN = 20_000
"""Rows that a notebook shows as a page without being asked to."""
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
        given = {name: modalities[name] for name in meaning.in_order(modalities)}
        shapes = {name: rows_shape(rows, f"{prefix}{name}") for name, rows in given.items()}
        if len({width for _, width in shapes.values()}) > 1:
            said = ", ".join(f"{name} {width}" for name, (_, width) in shapes.items())
            raise UserError(f"{prefix}modalities must be of one width; columns are {said}: are they of one model?")
        counts = {name: count for name, (count, _) in shapes.items()}
        if np.ndim(labels) == 2 or getattr(labels, "dtype", np.dtype(int)).kind == "U":
            source["labels_stated"] = "by class"  # numbers do not say whether they count from 0
        labels = meaning.checked_labels(labels, counts, beside.get("classes"), prefix)
        pairs = meaning.checked_pairs(pairs, [*counts.values()], prefix)
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
        found, *others = open_sets(paths, columns).values()
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

    def _repr_html_(self) -> str | None:
        """The page of ``util.report`` in place, without UMAP; None where there is none, or there are many rows."""
        from . import report

        with suppress(UserError):
            few = max(map(len, self.modalities.values())) <= MOST_SHOWN
            return report(self, umap=False)._repr_html_() if few else None

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

    Sets are named by the stem of their file, or by its path where two are alike. A file takes the ``columns`` it has.
    """
    whole, alone, used, columns = [], [], set(), columns or {}
    given = [*map(named_path, paths)]
    places = [Path(path).resolve() for name, path in given if not name]
    if twice := [path for path in places if places.count(path) > 1]:
        raise UserError(f"{twice[0]}: is named twice; leave one out")
    if len({*columns.values()}) < len(columns) and not all(name for name, _ in given):
        raise UserError(f"--columns: one for {' and '.join(columns)}; name each file: {'=FILE '.join(columns)}=FILE")
    for name, path in given:
        arrays, source = read(path)
        mine = {key: value for key, value in columns.items() if key == (name or key)}
        mine = {key: value for key, value in mine.items() if len(paths) == 1 or value in arrays}
        used |= mine.keys()
        one, keys = _of_arrays(arrays, source, path, mine)
        if name or len(keys) == 1:
            alone.append((name, one, next(iter(keys.values()))))
        else:
            whole.append(one)
    if left := [f"{key}={value}" for key, value in columns.items() if key not in used]:
        raise UserError(f"--columns {' '.join(left)}: no such column in {', '.join(map(str, paths))}")
    whole += [_joined(*_by_name(alone))] if alone else []
    sets = [Embeddings.of(**each, unit=False) for each in whole]
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


def _of_arrays(arrays: Mapping, source: Mapping, path: str, columns: Mapping[str, str]) -> tuple[dict, dict]:
    """What ``Embeddings.of`` takes of the arrays of one file, and the keys of its rows by modality."""
    given, beside, keys, ignored = meaning.sort_out(arrays, path, columns)
    stored = [name for array in arrays.values() for name, each in given.items() if each is array]
    modalities, changed = meaning.as_rows(given, beside, path)
    unused = [f"{path}: not used: {', '.join(ignored)}"] if ignored else []
    notes = [*source.get("notes", []), *unused, *changed]
    named = {kind: beside.pop(kind, None) for kind in RESERVED}
    ordered = meaning.in_order(modalities)
    counts = {name: len(modalities[name]) for name in ordered}
    if (pairs := named["pairs"]) is not None:
        meaning.one_order(pairs, ordered, stored, [*counts.values()], path)
    elif len(keys) > 1:
        named["pairs"], how, _ = meaning.matched({name: keys[name] for name in ordered}, counts, path, one_file=True)
        notes += [f"{path}: {how}"] if how else []
    source = {k: each for k, each in source.items() if (k, type(each)) != ("files", list)}  # of a set once saved
    source |= {"path": path, **({"notes": notes} if notes else {})}
    told = {name: arrays[name] for name in ignored if role(name) == TEXT and arrays[name].dtype.kind in "iuf"}
    told = {name: each for name, each in told.items() if each.ndim == 1} | keys[ordered[-1]]
    if (names := beside.get("classes")) is not None and len({*names.tolist()}) < len(names):
        names, told = None, {**told, "classes": names}
    one = {"modalities": modalities, "source": source, "beside": beside, **named}
    return meaning.with_classes(one, names, told, path), keys


def _by_name(alone: Sequence[tuple[str, dict, dict]]) -> tuple[dict[str, dict], dict[str, dict]]:
    """Sets and keys of one modality each by its name, given or told by the name of the file or its array."""
    found, keys = {}, {}
    for given, one, own in alone:
        path, (held, *more) = one["source"]["path"], one["modalities"]
        name = given or held
        if more:
            raise UserError(f"{path}: holds {', '.join([held, *more])}; files of a set hold one modality each")
        if name in found:
            raise UserError(f"{found[name]['source']['path']} and {path} are both {name}; name them, as image={path}")
        if len(alone) > 1 and not given and not role(name):
            raise UserError(f"{path}: which modality it holds cannot be told by name; name it, as image={path}")
        found[name], keys[name] = {**one, "modalities": {name: one["modalities"][held]}}, own
    return found, keys


def _joined(parts: Mapping[str, dict], keys: Mapping[str, dict]) -> dict:
    """Sets of one modality each as one; equal keys say which rows are pairs."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    sources = {name: dict(part["source"]) for name, part in parts.items()}
    notes = [note for source in sources.values() for note in source.pop("notes", [])]
    path = " + ".join(source["path"] for source in sources.values())
    ordered = {name: parts[name] for name in meaning.in_order(parts)}
    modalities = {name: part["modalities"][name] for name, part in ordered.items()}
    counts = {name: len(rows) for name, rows in modalities.items()}
    for name, beside in ((name, part["beside"]) for name, part in ordered.items()):
        if odd := [kind for kind in ("ids", "paths") if kind in beside and beside[kind].size != counts[name]]:
            raise UserError(f"{path}: {name} has {counts[name]} rows, and not as many {odd[0]}; give one for each")
    pairs, how, _ = meaning.matched({name: keys[name] for name in ordered}, counts, path)
    notes += [f"{path}: {how}"] if how else []
    first, *others = ordered
    beside = dict(ordered[first]["beside"])  # captions are of the last modality that has them, all else of the first
    for kind, each in [item for other in others for item in ordered[other]["beside"].items()]:
        moved = pairs is not None and kind in ("ids", "paths")  # they number other rows
        if kind == "captions" or (kind in meaning.BESIDE and kind not in beside and not moved):
            beside[kind] = each
    source = {"path": path, "files": [sources[name] for name in ordered], **({"notes": notes} if notes else {})}
    one = {**ordered[first], "modalities": modalities, "pairs": pairs, "source": source, "beside": beside}
    last = ordered[others[-1]]
    told = {"classes": last["beside"].get("classes"), "labels": last["labels"]}
    told = keys[others[-1]] | {kind: each for kind, each in told.items() if each is not None and each.ndim == 1}
    if (matching := meaning.with_classes(one, ordered[first]["beside"].get("classes"), told, path)) is not one:
        return matching
    unused = [name for name in others if ordered[name]["labels"] is not None]
    notes += [f"{path}: labels of {name} not used: labels are of {first}" for name in unused]
    return {**one, "source": {**source, **({"notes": notes} if notes else {})}}
