"""Images with labels: rows of a table, or a folder that has a subfolder for each class.

An image is opened only when it is needed. Classes are numbered as declared, whatever order the data have them in.
The data's own class names are matched with the declared ones by their letters and digits: "Annual Crop",
"annual_crop" and "AnnualCrop" are one name.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int

from ..errors import UserError
from ..numerics.arrays import as_indices
from .captioned import PICTURE_SUFFIXES, Items, is_picture, upright


@dataclass(frozen=True)
class Labelled(Items):
    """n RGB pictures and the class of each, a number of ``class_names``, which are C words as prompts have them.

    ``source`` holds split_sha256 too, of names, labels and encoded images in order.
    """

    labels: Int[np.ndarray, "n"] = field(repr=False)
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Classes:
    """The declared classes as prompts have them, what the data call them, and further spellings -> one of ``own``."""

    names: tuple[str, ...]
    own: tuple[str, ...]
    spellings: Mapping[str, str] = field(default_factory=dict)

    def numbers(self, found: Sequence[str], where: str, whole: bool = True) -> list[int]:
        """The class of each name that the data have; ``whole``: every class must be among them."""
        numbers = self.matched(found)
        if -1 in numbers or len(set(numbers)) < len(numbers) or (whole and len(numbers) < len(self.names)):
            both = f"the data have {len(found)} ({_listed(found)}), declared are {len(self.own)} ({_listed(self.own)})"
            raise UserError(f"{where}: class names and labels do not match; {both}")
        return numbers

    def matched(self, found: Sequence[str]) -> list[int]:
        """The class of each name, -1 for a name of no class.

        A name counts as it is, or by its letters and digits where those are of one class only: not "C++" beside "C".
        """
        exact = {name: number for names in (self.names, self.own) for number, name in enumerate(names)}
        exact |= {other: self.own.index(name) for other, name in self.spellings.items()}
        loose: dict[str, set[int]] = {}
        for name, number in exact.items():
            loose.setdefault(_letters(name), set()).add(number)
        known = {letters: min(several) for letters, several in loose.items() if len(several) == 1} | exact
        return [known.get(name, known.get(_letters(name), -1)) for name in found]


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", str(name)).casefold()


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f", ... {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def of(openers, ids: Sequence[str], labels, classes: Classes, about: Mapping, contents) -> Labelled:
    """Labelled images; ``about`` is for ``source``, besides n and the hash of labels and ``contents``."""
    labels = np.asarray(labels, np.int64)
    source = {**about, "split_sha256": split_hash(ids, labels.tolist(), contents), "n": len(ids)}
    return Labelled(openers, ids, source, labels, classes.names)


def numbered(values: Sequence, names: Sequence[str] | None, classes: Classes, where: str) -> Int[np.ndarray, "n"]:
    """The classes of a column: numbers in the declared order, numbers of the data's own ``names``, or names."""
    if missing := [row for row, value in enumerate(values) if value is None]:
        raise UserError(f"{where}: {len(missing)} of {len(values)} rows have no label, first row {missing[0]}")
    if values and isinstance(values[0], str):
        different = list(dict.fromkeys(values))
        order = dict(zip(different, classes.numbers(different, where, whole=False), strict=True))
        return np.array([order[value] for value in values], np.int64)
    order = np.arange(len(classes.names)) if names is None else np.array(classes.numbers(names, where))
    return order[as_indices(values, f"{where}: labels", len(values), "image", len(order), "classes")]


def split_hash(ids: Sequence[str], labels: Sequence, contents: Sequence[Callable[[], bytes]]) -> str:
    """sha256 over names, labels and encoded images in order; an image that cannot be read counts as empty."""
    digest = hashlib.sha256()
    for name, label, read in zip(ids, labels, contents, strict=True):
        try:
            data = read()
        except (OSError, ValueError):  # it is left out, counted and named when it is opened
            data = b""
        digest.update(json.dumps([name, label, len(data)]).encode())
        digest.update(data)
    return digest.hexdigest()


def spread(total: int, n: int | None) -> list[int]:
    """The rows of n evenly spaced items of ``total`` (None: all), for data are often ordered by class."""
    return list(range(total)) if n is None or n >= total else [row * total // n for row in range(n)]


def from_folder(folder: Path, split: str, classes: Classes, about: Mapping, n: int | None = None) -> Labelled:
    """A folder with a subfolder of pictures for each class, or a subfolder for each split that holds those.

    It holds the classes itself where every class has a subfolder, however splits are named ("train" is a class of
    CIFAR-100). Then no split is asked for. A split may be "train+test". Of all pictures n are taken, evenly spaced.
    """
    there, splits = _subfolders(folder), split.split("+")
    whole = set(classes.matched(there)) >= set(range(len(classes.names)))
    if not whole and (missing := [name for name in splits if name not in there]):
        raise UserError(
            f"{folder}: expected a subfolder for each class ({_listed(classes.own)}), or a split {missing[0]!r} that "
            f"holds them, or parquet files; found {_listed(there) or 'no folder'}"
        )
    found: list[tuple[Path, int]] = []
    for root in [folder] if whole else [folder / name for name in splits]:
        names = _subfolders(root)
        for name, number in zip(names, classes.numbers(names, str(root)), strict=True):
            found += [(path, number) for path in sorted((root / name).rglob("*")) if is_picture(path)]
    if not found:
        raise UserError(f"{folder}: no pictures in the folders of its classes ({', '.join(PICTURE_SUFFIXES)})")
    chosen = [found[row] for row in spread(len(found), n)]
    paths, labels = zip(*chosen, strict=True)
    about = {**about, "split": "all of the folder" if whole else split}
    if len(chosen) < len(found):
        about["taken"] = f"{len(chosen)} of {len(found)}, evenly spaced"
    ids = [path.relative_to(folder).as_posix() for path in paths]
    contents = [path.read_bytes for path in paths]
    return of([upright(path) for path in paths], ids, labels, classes, about, contents)


def _subfolders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def parquet_files(folder: Path) -> list[Path]:
    """All parquet files of a folder and its subfolders, in the order of their paths."""
    return sorted(path for path in folder.rglob("*.parquet") if not path.name.startswith("."))


def parquet_of_split(folder: Path, split: str, declared: str) -> list[Path]:
    """The parquet files of a folder that belong to a split, by their names: test-*.parquet, test/*, test.parquet.

    Where none bears the split's name, those do that are named as the task declares the hub's: val-*.parquet of val2017.
    """
    first = {file: file.stem.split("-")[0] for file in parquet_files(folder)}
    named = [file for file in first if split in (first[file], file.relative_to(folder).parent.name)]
    if not (named or (named := [file for file in first if file.match(Path(declared).name)])):
        there = ", ".join(sorted(set(first.values())))
        raise UserError(f"{folder}: no parquet files of split {split!r} there; it has {there}")
    return named
