"""Sums of one pass over the rows of any number of modalities, and all that follows from them exactly.

Files of any size are read once, a block at a time. Parts that were summed elsewhere add up: on other machines, or
before a run was stopped. Rows count by their direction alone, each divided by its norm. Everything is float64.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, combinations, pairwise, zip_longest
from pathlib import Path
from shutil import rmtree
from types import MappingProxyType
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Int

from .. import UserError, reason
from ..embeddings import Embeddings
from ..files import digest, is_remote, replacing
from ..geometry import Moments
from ..numerics.arrays import ROWS_PER_BLOCK, as_rows, nonzero_norms, to_numpy, wide
from ..numerics.engines import ordered, reduced, run, share

FINE, COARSE = 40, 10
"""Groups of items that sums are kept in, and that second moments are. A jackknife leaves out one in turn."""
WIDE = 1024
"""Second moments of more columns than this are kept in one group: they have no interval, for their size."""
FIRST, SECOND, OF_CLASSES = ("n", "total", "raw", "squares", "pairs"), ("second", "cross"), ("in_class", "by_class")
VERSION = 1


@dataclass(frozen=True, eq=False)
class Totals:
    """Sums of k modalities (text last) and of their q = k(k-1)/2 couples, in the order of ``combinations``.

    n (k,) rows; total and raw (k, d) sums of unit rows and of rows as they are stored; squares (k,) sum of the squared
    norms of the latter; pairs (q, 3) number of pairs, sums of their cosines and of the squares. Second moments or None:
    second (k, d, d) of x x^T, cross (q, d, d) of x y^T over the pairs. Labels or None: in_class (C, k) rows and
    by_class (C, k, d) sums of each class.
    """

    n: Int[np.ndarray, "k"]
    total: Float[np.ndarray, "k d"]
    raw: Float[np.ndarray, "k d"]
    squares: Float[np.ndarray, "k"]
    pairs: Float[np.ndarray, "q 3"]
    second: Float[np.ndarray, "k d d"] | None = None
    cross: Float[np.ndarray, "q d d"] | None = None
    in_class: Int[np.ndarray, "c k"] | None = None
    by_class: Float[np.ndarray, "c k d"] | None = None
    known: dict = field(default_factory=dict)
    """What several measures need and is computed once."""

    def once(self, compute: Callable, *places: int):
        """``compute(self, *places)``, kept."""
        if (key := (compute.__name__, *places)) not in self.known:
            self.known[key] = compute(self, *places)
        return self.known[key]

    def centroid(self, a: int) -> Float[np.ndarray, "d"]:
        """Mean of the unit rows of modality a, itself not normalised."""
        return self.total[a] / self.n[a]

    def couple(self, a: int, b: int) -> int:
        """The place of modalities a and b, in any order, among the couples."""
        return list(combinations(range(len(self.n)), 2)).index((min(a, b), max(a, b)))

    def covariance(self, a: int) -> Float[np.ndarray, "d d"]:
        """Covariance of the unit rows of modality a; it divides by n."""
        return self.second[a] / self.n[a] - np.outer(self.centroid(a), self.centroid(a))


@dataclass(frozen=True, eq=False)
class Sums:
    """Mergeable sums. ``a + b`` are those of all rows of both; equal to those of one pass up to rounding.

    Attributes:
        names: the modalities, text last.
        arrays: n, total, raw, squares and pairs of ``Totals`` in FINE groups of items along a first axis; norms (k, 2),
            minus the least norm before normalisation and the largest; where they were asked for second and cross, in
            COARSE groups, and in_class and by_class. A text is in the group of the first image that it belongs to.
        classes: names of the C classes.
        copies: how many rows of each modality equal an earlier one; -1 where nobody looked.
        source: where the rows come from.
    """

    names: tuple[str, ...]
    arrays: Mapping[str, np.ndarray]
    classes: tuple[str, ...] = ()
    copies: tuple[int, ...] = ()
    source: Mapping = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """The width d."""
        return self.arrays["total"].shape[2]

    @property
    def second(self) -> bool:
        """Whether there are second moments."""
        return "second" in self.arrays

    def moments(self) -> dict[str, Moments]:
        """The sums of each modality alone, by name."""
        n, total, norms = self.arrays["n"].sum(0), self.arrays["total"].sum(0), np.abs(self.arrays["norms"])
        return {name: Moments(int(n[a]), total[a], *map(float, norms[a])) for a, name in enumerate(self.names)}

    @property
    def totals(self) -> Totals:
        """The sums of all groups."""
        grouped = {name: each.sum(0) for name, each in self.arrays.items() if name in FIRST + SECOND}
        return Totals(**grouped, **{name: each for name, each in self.arrays.items() if name in OF_CLASSES})

    def left_out(self, second: bool) -> Iterator[Totals]:
        """All but one group in turn: of the FINE ones, or with second moments of the groups that those have."""
        groups = len(self.arrays["second"]) if second else FINE
        for left in range(groups):
            kept = {count: np.arange(count) * groups // count != left for count in (FINE, groups)}
            some = {name: self.arrays[name] for name in FIRST + SECOND * second}
            yield Totals(**{name: each[kept[len(each)]].sum(0) for name, each in some.items()})

    def sizes(self, second: bool) -> Int[np.ndarray, "g k"]:
        """Rows of each group of ``left_out``."""
        groups = len(self.arrays["second"]) if second else FINE
        return self.arrays["n"].reshape(groups, FINE // groups, -1).sum(1)

    def __add__(self, other: "Sums") -> "Sums":
        if (self.names, self.dim) != (other.names, other.dim):
            these, those = (f"{', '.join(each.names)} of {each.dim} columns" for each in (self, other))
            raise UserError(f"sums of {these} and of {those} do not add up; merge parts of one model")
        if self.arrays.keys() != other.arrays.keys():
            raise UserError("some of these sums lack second moments, or labels; sum all parts with the same options")
        classes = tuple(sorted({*self.classes, *other.classes}))
        whole = _zeros(len(self.names), self.dim, classes, self.second, grouped=True)
        for each in (self, other):
            places = np.searchsorted(classes, each.classes)
            _add(whole, each.arrays, dict.fromkeys(OF_CLASSES, places))
        looked = min(self.copies + other.copies, default=-1) >= 0
        copies = tuple(a + b if looked else -1 for a, b in zip(self.copies, other.copies, strict=True))
        paths = " + ".join(each.source.get("path", "arrays") for each in (self, other))
        return Sums(self.names, whole, classes, copies, {"path": paths})

    def save(self, path: str | Path) -> Path:
        """Writes them as .npz, whole or not at all."""
        told = {name: getattr(self, name) for name in ("names", "classes", "copies", "source")}
        with replacing(Path(path)) as part, part.open("wb") as file:
            np.savez(file, about=np.array(json.dumps({**told, "version": VERSION})), **self.arrays)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> "Sums":
        """Reads what ``save`` wrote; anything else is refused."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            about = json.loads(str(arrays.pop("about")))
            if about.pop("version") != VERSION:
                raise ValueError("of another version")
            found = cls(**about | {name: tuple(about[name]) for name in ("names", "classes", "copies")}, arrays=arrays)
            right = _zeros(len(found.names), found.dim, found.classes, found.second, grouped=True)
            kinds = [{name: (part.shape, part.dtype) for name, part in each.items()} for each in (arrays, right)]
            if kinds[0] != kinds[1]:
                raise ValueError("damaged")
            if not all(np.isfinite(part).all() for part in arrays.values()):
                raise ValueError("not finite")
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
        except Exception as error:  # whatever a damaged or hostile file makes its parser raise
            raise UserError(f"{path}: no sums of modality-gap measure --save ({reason(error)})") from error
        return found


def sums(
    found: Embeddings,
    second: bool = True,
    engine: str = "",
    save: str | Path | None = None,
    reopen: Callable[[], Embeddings] | None = None,
    copies: Sequence[int] = (),
) -> Sums:
    """All sums of a set of embeddings, in one pass. FINE tasks are added up in one order: always the same bits.

    Args:
        found: in memory, or mapped from files of any size (``unit=False``).
        second: with second moments, COARSE (k + q) d^2 numbers of 8 bytes. Spectral measures need them.
        engine: where tasks run: "" threads here; "dask://HOST:PORT", "ray" or "spark" by joblib. Under torchrun each
            process takes its share, and all get the whole.
        save: a file for the sums. Each task of local files is kept beside it until then, so a stopped run goes on.
        reopen: gives ``found`` anew where an engine's worker needs it, so that rows of files are not sent.
        copies: how many rows of each modality equal an earlier one, where somebody looked.
    """
    rows, pairs = _tasks(found)
    labels = None if found.labels is None else _labels(found)
    classes = labels[0] if labels else ()
    whole = _zeros(len(found.names), found.dim, classes, second, grouped=True)
    rank, world = share()
    own = [task for task in range(FINE) if task * COARSE // FINE % world == rank]
    folder = _resumed(found, second, save) if save and world == 1 else None
    there = {task: part for task in own if folder and (part := _finished(folder / f"{task}.npz"))}
    given = reopen if engine and reopen else found
    todo = [
        (given, [part[t] for part in rows], [part[t] for part in pairs], labels, second) for t in own if t not in there
    ]
    done = run(_part, todo, engine)
    for task in own:
        if (part := there.pop(task, None)) is None:
            part = next(done)
            if folder:
                with replacing(folder / f"{task}.npz") as path:
                    np.savez(path, **part)
        coarse = task * len(whole["second"]) // FINE if second else 0
        _add(whole, part, dict.fromkeys(FIRST, task) | dict.fromkeys(SECOND, coarse))
    if world > 1:
        reduced([values for name, values in whole.items() if name != "norms"])
        reduced([whole["norms"]], "MAX")
    made = Sums(found.names, whole, classes, tuple(copies) or (-1,) * len(found.names), found.source)
    if save and rank == 0:
        made.save(save)
        rmtree(f"{save}.parts", ignore_errors=True)
    return made


def _zeros(k: int, d: int, classes: Sequence[str], second: bool, grouped: bool = False) -> dict[str, np.ndarray]:
    """Sums of no rows of k modalities, by name: ``grouped``, or those of one task."""
    fine, coarse = ((FINE,), (COARSE if d <= WIDE else 1,)) if grouped else ((), ())
    q, c = k * (k - 1) // 2, len(classes)
    shapes = dict.fromkeys(("n", "squares"), (*fine, k)) | dict.fromkeys(("total", "raw"), (*fine, k, d))
    shapes |= {"pairs": (*fine, q, 3), "norms": (k, 2)}
    shapes |= {"second": (*coarse, k, d, d), "cross": (*coarse, q, d, d)} if second else {}
    shapes |= {"in_class": (c, k), "by_class": (c, k, d)} if c else {}
    zeros = {name: np.zeros(each, np.int64 if name in ("n", "in_class") else float) for name, each in shapes.items()}
    zeros["norms"][:] = -np.inf
    return zeros


def _add(whole: dict[str, np.ndarray], part: Mapping[str, np.ndarray], at: Mapping = MappingProxyType({})) -> None:
    """Adds sums of further rows in place, where ``at`` says a place at that place."""
    for name, values in part.items():
        if name == "norms":
            np.maximum(whole[name], values, out=whole[name])
        else:
            whole[name][at.get(name, ...)] += values


Some = slice | Int[np.ndarray, "s"]


def _tasks(found: Embeddings) -> tuple[list[list[Some]], list[list[tuple[Some, Some]]]]:
    """Rows of each modality and pairs of each couple in every task; what belongs together is in one."""
    couples = list(combinations(found.names, 2))
    if found.pairs is None:
        cuts = {name: len(rows) * np.arange(FINE + 1) // FINE for name, rows in found.modalities.items()}
        rows = {name: [slice(*ends) for ends in pairwise(cut)] for name, cut in cuts.items()}
        empty = [(slice(0, 0), slice(0, 0))] * FINE
        same = [len(found.modalities[a]) == len(found.modalities[b]) for a, b in couples]
        both = [[*zip(rows[a], rows[b], strict=True)] for a, b in couples]
        return list(rows.values()), [each if paired else empty for each, paired in zip(both, same, strict=True)]
    group = {name: np.arange(len(rows)) * FINE // len(rows) for name, rows in found.modalities.items()}
    for name in found.names[1:]:
        if (pairs := found.pairs_between((found.names[0], name))) is not None:
            group[name][pairs[::-1, 1]] = group[found.names[0]][pairs[::-1, 0]]
    rows = [_by_group(np.arange(len(each)), each) for each in group.values()]
    pairs = []
    for names in couples:
        joined = found.pairs_between(names)
        joined = np.empty((0, 2), np.int64) if joined is None else joined
        pairs.append([(part[:, 0], part[:, 1]) for part in _by_group(joined, group[names[0]][joined[:, 0]])])
    return rows, pairs


def _by_group(values: np.ndarray, group: Int[np.ndarray, "n"]) -> list[np.ndarray]:
    order = np.argsort(group, kind="stable")
    return np.split(values[order], np.cumsum(np.bincount(group, minlength=FINE))[:-1])


def _labels(found: Embeddings) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """The names of the classes, and the class of each row of each modality; -1 where it has none, or several."""
    labels = found.labels if found.labels.ndim == 1 else np.full(len(found.labels), -1)
    classes, first = np.unique(labels, return_inverse=True)
    of = [first, *(np.full(len(found.modalities[name]), -1) for name in found.names[1:])]
    for name, each in zip(found.names[1:], of[1:], strict=True):
        if (pairs := found.pairs_between((found.names[0], name))) is not None:
            each[pairs[:, 1]] = first[pairs[:, 0]]
    return tuple(map(str, classes)), of


def _part(found, rows: list[Some], pairs: list[tuple[Some, Some]], labels, second: bool, threads: int = 1) -> dict:
    """The sums of one task. One thread reads, the others compute, and blocks are added in their order."""
    found = found() if callable(found) else found
    part = _zeros(len(rows), found.dim, labels[0] if labels else (), second)
    with ThreadPoolExecutor(threads) as pool:
        for block in ordered(pool, partial(_block, found, labels, second), _reads(found, rows, pairs), 2 * threads):
            _add(part, block)
    return part


def _reads(found: Embeddings, rows: list[Some], pairs: list[tuple[Some, Some]]) -> Iterator[tuple[dict, list, list]]:
    """Yields rows as they are stored by place, the place of a block of each modality, and two of each couple's."""
    arrays, k = list(found.modalities.values()), len(rows)
    for blocks in zip_longest(*map(_chunks, rows), *(zip(*map(_chunks, couple), strict=True) for couple in pairs)):
        asked = [((a, some),) if some is not None else () for a, some in enumerate(blocks[:k])]
        for couple, places in zip(combinations(range(k), 2), blocks[k:], strict=True):
            asked.append(tuple(zip(couple, places or (), strict=False)))
        at = [[(a, some.start if isinstance(some, slice) else id(some)) for a, some in each] for each in asked]
        some = dict(zip(chain(*at), chain(*asked), strict=True))
        yield {place: (a, rows, arrays[a][rows]) for place, (a, rows) in some.items()}, at[:k], at[k:]


def _block(found: Embeddings, labels, second: bool, read: tuple[dict, list, list]) -> dict[str, np.ndarray]:
    """The sums of one block."""
    stored, alone, couples = read
    where = f"{found.source['path']}: " if "path" in found.source else ""
    part, read_rows, unit = _zeros(len(alone), found.dim, labels[0] if labels else (), second), {}, {}
    for place, (a, some, rows) in stored.items():
        name = found.names[a]
        values = to_numpy(wide(as_rows(rows, f"{where}{name}")))
        start = some.start if isinstance(some, slice) else some
        norms = nonzero_norms(values, f"{where}{name}", start, found.modalities[name])
        read_rows[place] = values, 1 / norms
        if second or labels is not None:
            unit[place] = values / norms[:, None]
        if [place] == alone[a]:
            part["n"][a], part["squares"][a], part["norms"][a] = len(values), norms @ norms, (-norms.min(), norms.max())
            part["total"][a], part["raw"][a] = np.stack([1 / norms, np.ones(len(norms))]) @ values
            if second:
                part["second"][a] = unit[place].T @ unit[place]
            if labels is not None:
                known = labels[1][a][some] >= 0
                of = labels[1][a][some][known]
                part["in_class"][:, a] = np.bincount(of, minlength=len(labels[0]))
                np.add.at(part["by_class"][:, a], of, unit[place][known])
    for c, places in enumerate(couples):
        if places:
            (x, shrink_x), (y, shrink_y) = (read_rows[place] for place in places)
            cosines = np.einsum("ij,ij->i", x, y) * shrink_x * shrink_y
            part["pairs"][c] = len(cosines), cosines.sum(), cosines @ cosines
            if second:
                part["cross"][c] = unit[places[0]].T @ unit[places[1]]
    return part


def _chunks(some: Some) -> Iterator[Some]:
    """Rows in blocks, as slices where they are one."""
    first, last = (some.start, some.stop) if isinstance(some, slice) else (0, len(some))
    for start in range(first, last, ROWS_PER_BLOCK):
        block = slice(start, min(start + ROWS_PER_BLOCK, last))
        yield block if isinstance(some, slice) else some[block]


def _resumed(found: Embeddings, second: bool, save: str | Path) -> Path | None:
    """The folder of finished tasks beside the sums, named by all that they depend on; None where a file is remote."""
    paths = [source.get("path", "") for source in found.files]
    if not all(path and not is_remote(path) for path in paths):
        return None
    files = [part for path in map(Path, paths) for part in ([path] if path.is_file() else path.rglob("*"))]
    stamps = sorted((str(part), (now := part.stat()).st_size, now.st_mtime_ns) for part in files)
    pairs = None if found.pairs is None else hashlib.sha256(found.pairs.tobytes()).hexdigest()
    arrays = [(name, rows.shape, np.asarray(rows[:1]).tolist()) for name, rows in found.modalities.items()]
    told = [stamps, arrays, dict(found.source), pairs, second, found.labels is None, VERSION]
    return Path(f"{save}.parts") / digest(told)[:16]


def _finished(path: Path) -> dict[str, np.ndarray] | None:
    """A task that was finished before; None where there is none that is whole."""
    with suppress(OSError, ValueError, BadZipFile), np.load(path) as file:
        return dict(file)
