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
from functools import cache, partial
from itertools import combinations, pairwise, zip_longest
from pathlib import Path
from shutil import rmtree

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import blas
from scipy.sparse import csr_array

from .. import UserError, reason
from ..embeddings import Embeddings
from ..files import digest, is_remote, place, replacing
from ..geometry import Moments
from ..numerics.arrays import as_rows, nonzero_norms, to_numpy, wide
from ..numerics.engines import ordered, run, share, shared

FINE, COARSE = 40, 10
"""Random groups of items that sums are kept in, and those of second moments. A jackknife leaves out one in turn."""
WIDE = 1024
"""Second moments of more columns than this are kept in one group: they have no interval, for their size."""
MOST_DEALT = 1_000_000
"""Items, at most, that are dealt out evenly."""
TASKS, ROWS = 40, 4096
"""The most tasks that a pass is cut into, and rows that are read at a time."""
FIRST, SECOND, OF_CLASSES = ("n", "total", "raw", "squares", "pairs"), ("second", "cross"), ("in_class", "by_class")
VERSION = 1


@dataclass(frozen=True, eq=False)
class Totals:
    """Sums of k modalities (text last) and of their q = k(k-1)/2 couples, in the order of ``combinations``.

    n (k,) rows; total and raw (k, d) sums of unit rows and of rows as they are stored; squares (k,) sum of the squared
    norms of the latter; pairs (q, 4) number of pairs, sums of their cosines and of the squares, and how many of them
    share a row with an earlier one. Second moments or None: second (k, d, d) of x x^T, cross (q, d, d) of x y^T over
    the pairs. Labels or None: in_class (C, k) rows and by_class (C, k, d) sums of each class.
    """

    n: Int[np.ndarray, "k"]
    total: Float[np.ndarray, "k d"]
    raw: Float[np.ndarray, "k d"]
    squares: Float[np.ndarray, "k"]
    pairs: Float[np.ndarray, "q 4"]
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
            Groups are random, so that rows may lie in any order, for instance by class.
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
            kept = {count: np.arange(count) % groups != left for count in (FINE, groups)}
            some = {name: self.arrays[name] for name in FIRST + SECOND * second}
            yield Totals(**{name: each[kept[len(each)]].sum(0) for name, each in some.items()})

    def sizes(self, second: bool) -> Int[np.ndarray, "g k"]:
        """Rows of each group of ``left_out``."""
        groups = len(self.arrays["second"]) if second else FINE
        return self.arrays["n"].reshape(FINE // groups, groups, -1).sum(0)

    def __add__(self, other: "Sums") -> "Sums":
        if (self.names, self.dim) != (other.names, other.dim):
            these, those = (f"{', '.join(each.names)} of {each.dim} columns" for each in (self, other))
            raise UserError(f"sums of {these} and of {those} do not add up; merge parts of one model")
        if self.arrays.keys() != other.arrays.keys():
            raise UserError("some of these sums lack second moments, or labels; sum all parts with the same options")
        classes = tuple(sorted({*self.classes, *other.classes}))
        whole = _zeros(len(self.names), self.dim, classes, self.second)
        for each in (self, other):
            _add(whole, each.arrays, np.searchsorted(classes, each.classes))
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
            _check(arrays, _zeros(len(found.names), found.dim, found.classes, found.second))
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
    """All sums of a set of embeddings, in one pass. Tasks are added up in one order: always the same bits.

    Args:
        found: in memory, or mapped from files of any size (``unit=False``).
        second: with second moments, COARSE (k + q) d^2 numbers of 8 bytes. Spectral measures need them.
        engine: where tasks run: "" threads here; "dask://HOST:PORT", "ray" or "spark" by joblib. Under torchrun each
            process takes its share, and all get the whole.
        save: a file for the sums. Each task of local files is kept beside it until then, so a stopped run goes on.
        reopen: gives ``found`` anew where an engine's worker needs it, so that rows of files are not sent.
        copies: how many rows of each modality equal an earlier one, where somebody looked.
    """
    if save and place(save) in {place(source["path"]) for source in found.files if "path" in source}:
        raise UserError(f"{save}: is read here; choose another file for the sums")
    tasks, labels = _tasks(found), _labels(found)
    empty = partial(_zeros, len(found.names), found.dim, labels[0] if labels else (), second)
    whole, (rank, world) = empty(), share()
    folder = _resumed(found, second, save) if save and world == 1 else None
    own = range(rank, len(tasks), world)
    there = [t for t in own if folder and _finished(folder / f"{t}.npz", empty())]
    given = reopen if engine and reopen else found
    done = run(_part, [(given, tasks[t], labels, second) for t in own if t not in there], engine)
    try:
        for task in range(len(tasks)):
            if task % world == 0 and task + rank in own:  # each process computes its next one before they are shared
                kept = _finished(folder / f"{task}.npz", empty()) if task in there else None
                mine = kept or _kept(next(done), folder, task)
            part = mine if task % world == rank else empty()
            shared([*part.values()], task % world)
            _add(whole, part)
    except UserError:
        _remove(folder)
        raise
    for c, names in enumerate(combinations(found.names, 2)):
        pairs = None if found.pairs is None else found.pairs_between(names)
        repeated = 0 if pairs is None else max(len(pairs) - len(np.unique(column)) for column in pairs.T)
        whole["pairs"][0, c, 3] = repeated
    classes, copied = labels[0] if labels else (), tuple(copies) or (-1,) * len(found.names)
    made = Sums(found.names, whole, classes, copied, found.source)
    if save and rank == 0:
        made.save(save)
        _remove(folder)
    return made


def _zeros(k: int, d: int, classes: Sequence[str], second: bool) -> dict[str, np.ndarray]:
    """Sums of no rows of k modalities, by name."""
    q, c, h = k * (k - 1) // 2, len(classes), COARSE if d <= WIDE else 1
    shapes = dict.fromkeys(("n", "squares"), (FINE, k)) | dict.fromkeys(("total", "raw"), (FINE, k, d))
    shapes |= {"pairs": (FINE, q, 4), "norms": (k, 2)}
    shapes |= {"second": (h, k, d, d), "cross": (h, q, d, d)} if second else {}
    shapes |= {"in_class": (c, k), "by_class": (c, k, d)} if c else {}
    zeros = {name: np.zeros(each, np.int64 if name in ("n", "in_class") else float) for name, each in shapes.items()}
    zeros["norms"][:] = -np.inf
    return zeros


def _add(whole: dict[str, np.ndarray], part: Mapping[str, np.ndarray], classes=...) -> dict[str, np.ndarray]:
    """The whole with sums of further rows added in place, those of classes at their places."""
    for name, values in part.items():
        if name == "norms":
            np.maximum(whole[name], values, out=whole[name])
        else:
            whole[name][classes if name in OF_CLASSES else ...] += values
    return whole


def _check(arrays: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> None:
    """Refuses arrays of other names, shapes or types than the right ones, or with values that are not finite."""
    kinds = [{name: (part.shape, part.dtype) for name, part in each.items()} for each in (arrays, right)]
    if kinds[0] != kinds[1]:
        raise ValueError("damaged")
    if not all(np.isfinite(part).all() for part in arrays.values()):
        raise ValueError("not finite")


Some = slice | Int[np.ndarray, "s"]
Stream = tuple[tuple[int, ...], tuple[Some, ...], Int[np.ndarray, "s"] | None]
"""Rows of one modality, or pairs of two: places of modalities, row numbers, items; None: row i is of item i."""


def _tasks(found: Embeddings) -> list[list[Stream]]:
    """What each task reads: every modality's rows, and every couple's pairs. An item is in one task."""
    arrays, couples = list(found.modalities.values()), list(combinations(range(len(found.names)), 2))
    tasks = min(TASKS, -(-max(map(len, arrays)) // ROWS))
    if found.pairs is None:
        cuts = [len(rows) * np.arange(tasks + 1) // tasks for rows in arrays]
        rows = [[slice(int(first), int(last)) for first, last in pairwise(cut)] for cut in cuts]
        paired = [(a, b) for a, b in couples if len(arrays[a]) == len(arrays[b])]
        some = [*zip(range(len(arrays)), strict=True), *paired]
        return [[(of, tuple(rows[a][t] for a in of), None) for of in some] for t in range(tasks)]
    item = [np.arange(len(rows)) for rows in arrays]
    task = [each * tasks // len(each) for each in item]
    for a, name in enumerate(found.names[1:], 1):
        if (pairs := found.pairs_between((found.names[0], name))) is not None:
            for each in (item, task):
                each[a][pairs[::-1, 1]] = each[0][pairs[::-1, 0]]
    split = [((a,), np.arange(len(rows))[:, None]) for a, rows in enumerate(arrays)]
    joined = [((a, b), found.pairs_between((found.names[a], found.names[b]))) for a, b in couples]
    streams: list[list[Stream]] = [[] for _ in range(tasks)]
    for of, rows in split + [each for each in joined if each[1] is not None]:
        at = task[of[0]][rows[:, 0]]
        ends = np.cumsum(np.bincount(at, minlength=tasks))[:-1]
        for t, part in enumerate(np.split(rows[np.argsort(at, kind="stable")], ends)):
            streams[t].append((of, tuple(part.T), item[of[0]][part[:, 0]]))
    return streams


@cache
def _groups(n: int) -> Int[np.ndarray, "n"]:
    """The group of each of n items, at random and always the same: equally large ones, or about so of many items."""
    rng = np.random.default_rng(0)
    return (rng.permutation(n) % FINE if n <= MOST_DEALT else rng.integers(0, FINE, n)).astype(np.uint8)


def _labels(found: Embeddings) -> tuple[tuple[str, ...], list[np.ndarray]] | None:
    """The names of the classes, and the class of each row of each modality; -1 where it has none.

    A text has the class of the last image that it belongs to. None where nobody said, or said several of a row.
    """
    if found.labels is None or found.labels.ndim > 1:
        return None
    classes, first = np.unique(found.labels, return_inverse=True)
    of = [first, *(np.full(len(found.modalities[name]), -1) for name in found.names[1:])]
    for name, each in zip(found.names[1:], of[1:], strict=True):
        if (pairs := found.pairs_between((found.names[0], name))) is not None:
            each[pairs[:, 1]] = first[pairs[:, 0]]
    return tuple(map(str, classes)), of


def _part(found, task: list[Stream], labels, second: bool, threads: int = 1) -> dict:
    """The sums of one task. One thread reads, the others compute, and blocks are added in their order."""
    found = found() if callable(found) else found
    part = _zeros(len(found.names), found.dim, labels[0] if labels else (), second)
    with ThreadPoolExecutor(threads) as pool:
        for block, products in ordered(pool, partial(_block, found, labels, second), _reads(found, task), threads):
            _add(part, block)
            list(pool.map(partial(_product, part), products))
    for half in part["second"].reshape(-1, found.dim, found.dim) if second else ():
        half += np.tril(half, -1).T
    return part


def _product(part: dict[str, np.ndarray], product: tuple[str, tuple[int, int], tuple[np.ndarray, ...]]) -> None:
    """Adds x^T y of rows in place, or of x^T x the lower half."""
    name, place, (x, *others) = product
    if others:
        blas.dgemm(1.0, others[0].T, x.T, 1.0, part[name][place].T, trans_b=1, overwrite_c=1)
    else:
        blas.dsyrk(1.0, x.T, 1.0, part[name][place].T, overwrite_c=1)


def _reads(found: Embeddings, task: list[Stream]) -> Iterator[tuple[list[Stream], dict]]:
    """Yields a block of each stream, and the rows as they are stored by ``_key``: each is read once."""
    arrays = list(found.modalities.values())
    for blocks in zip_longest(*map(_chunks, task)):
        streams = [block for block in blocks if block]
        asked = {_key(a, some): (a, some) for of, rows, _ in streams for a, some in zip(of, rows, strict=True)}
        yield streams, {key: (a, some, arrays[a][some]) for key, (a, some) in asked.items()}


def _key(a: int, some: Some) -> tuple[int, int]:
    return a, some.start if isinstance(some, slice) else id(some)


def _chunks(stream: Stream) -> Iterator[Stream]:
    """A stream in blocks, as slices where rows are one."""
    of, rows, items = stream
    first, last = (rows[0].start, rows[0].stop) if items is None else (0, len(items))
    for start in range(first, last, ROWS):
        some = slice(start, min(start + ROWS, last))
        yield (of, (some,) * len(of), None) if items is None else (of, tuple(each[some] for each in rows), items[some])


def _block(found: Embeddings, labels, second: bool, read: tuple[list[Stream], dict]) -> tuple[dict, list]:
    """The sums of one block, and the products of rows that second moments are: name, place, unit rows."""
    streams, stored = read
    where = f"{found.source['path']}: " if "path" in found.source else ""
    part, products = _zeros(len(found.names), found.dim, labels[0] if labels else (), False), []
    values, norms, unit, n = {}, {}, {}, max(map(len, found.modalities.values()))
    for key, (a, some, rows) in stored.items():
        name = f"{where}{found.names[a]}"
        values[key] = to_numpy(wide(as_rows(rows, name)))
        start = some.start if isinstance(some, slice) else some
        norms[key] = nonzero_norms(values[key], name, start, found.modalities[found.names[a]])
    for of, rows, items in streams:
        group = _groups(n)[rows[0] if items is None else items].astype(np.int64)
        keys = [_key(a, some) for a, some in zip(of, rows, strict=True)]
        dealt = partial(np.bincount, group, minlength=FINE)
        place = of[0] if len(of) == 1 else list(combinations(range(len(found.names)), 2)).index(of)
        if second:
            coarse = group % (COARSE if found.dim <= WIDE else 1)
            order, ends = np.argsort(coarse, kind="stable"), np.cumsum(np.bincount(coarse, minlength=COARSE))[:-1]
            for key in keys:
                if key not in unit:
                    unit[key] = values[key][order]
                    unit[key] /= norms[key][order, None]
            sides = [np.split(unit[key], ends) for key in keys]
            name = SECOND[len(of) - 1]
            products += [(name, (g, place), some) for g, some in enumerate(zip(*sides, strict=True)) if len(some[0])]
        if len(of) == 2:
            cosines = np.einsum("ij,ij->i", *(values[key] for key in keys)) / norms[keys[0]] / norms[keys[1]]
            part["pairs"][:, place, :3] = np.stack([dealt(), dealt(cosines), dealt(cosines**2)], axis=1)
            continue
        (key,), (some,) = keys, rows
        part["n"][:, place], part["squares"][:, place] = dealt(), dealt(norms[key] ** 2)
        part["norms"][place] = -norms[key].min(), norms[key].max()
        for name, weights in (("total", 1 / norms[key]), ("raw", np.ones(len(group)))):
            by_group = csr_array((weights, (group, np.arange(len(group)))), (FINE, len(group)))
            part[name][:, place] = by_group @ values[key]
        if labels:
            known = labels[1][place][some] >= 0
            classes = labels[1][place][some][known]
            part["in_class"][:, place] = np.bincount(classes, minlength=len(labels[0]))
            np.add.at(part["by_class"][:, place], classes, (values[key] / norms[key][:, None])[known])
    return part, products


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


def _finished(path: Path, right: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """A task that was finished before; None where there is none that is whole, as ``right`` is."""
    with suppress(Exception), np.load(path, allow_pickle=False) as file:  # whatever damage makes its parser raise
        _check(arrays := dict(file), right)
        return arrays


def _kept(part: dict[str, np.ndarray], folder: Path | None, task: int) -> dict[str, np.ndarray]:
    """A finished task, left for a run that goes on; where it cannot be, that run computes it again."""
    if folder:
        with suppress(UserError), replacing(folder / f"{task}.npz") as path:
            np.savez(path, **part)
    return part


def _remove(folder: Path | None) -> None:
    """Removes finished tasks, those of other settings too, and their folder if nothing else is in it."""
    if folder:
        for tasks in folder.parent.glob("[0-9a-f]" * 16):
            rmtree(tasks, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()
