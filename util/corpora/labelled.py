"""Images with labels: rows of a table, or a folder that has a subfolder for each class.

An image is opened only when it is needed. Classes are numbered as declared, whatever order the data have them in.
The data's own class names are matched with the declared ones by their letters and digits: "Annual Crop",
"annual_crop" and "AnnualCrop" are one name.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from PIL import Image, ImageOps

from ..errors import UserError
from . import hub
from .captioned import PICTURE_SUFFIXES, checked_count, is_picture, picture


@dataclass(frozen=True)
class Labelled:
    """n images and the class of each.

    Attributes:
        openers: n functions without arguments, each of which gives an RGB picture or raises ``Unreadable``.
        ids: n names, unique.
        labels: int64 (n,), numbers of ``class_names``.
        class_names: C words, as prompts have them.
        source: dataset, revision, split, split_sha256 (of names, labels and encoded images in order) and n; plain
            values that json can hold.
    """

    openers: Sequence[Callable[[], Any]] = field(repr=False)
    ids: Sequence[str] = field(repr=False)
    labels: Int[np.ndarray, "n"] = field(repr=False)
    class_names: tuple[str, ...]
    source: Mapping

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Classes:
    """The declared classes and what data may call them.

    Attributes:
        names: C words, as prompts have them.
        own: what the data call them, in the same order.
        spellings: further spellings in the data -> one of ``own``.
    """

    names: tuple[str, ...]
    own: tuple[str, ...]
    spellings: Mapping[str, str] = field(default_factory=dict)

    def numbers(self, found: Sequence[str], where: str, whole: bool = True) -> list[int]:
        """The class of each name that the data have.

        Args:
            found: the data's names.
            where: how an error begins.
            whole: whether every class must be among them.
        """
        numbers = self.matched(found)
        wrong = -1 in numbers or len(set(numbers)) < len(numbers) or (whole and len(numbers) < len(self.names))
        if wrong:
            raise UserError(
                f"{where}: class names and labels do not match; the data have {len(found)} ({_listed(found)}), "
                f"declared are {len(self.own)} ({_listed(self.own)})"
            )
        return numbers

    def matched(self, found: Sequence[str]) -> list[int]:
        """The class of each name, -1 for a name of no class."""
        known = self._known()
        return [known.get(name, known.get(_letters(name), -1)) for name in found]

    def _known(self) -> dict[str, int]:
        """Every name of a class, and its letters and digits where they are of one class only, as "C++" has not."""
        exact = {name: number for names in (self.names, self.own) for number, name in enumerate(names)}
        exact |= {other: self.own.index(name) for other, name in self.spellings.items()}
        loose: dict[str, set[int]] = {}
        for name, number in exact.items():
            loose.setdefault(_letters(name), set()).add(number)
        return {letters: min(several) for letters, several in loose.items() if len(several) == 1} | exact


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", str(name)).casefold()


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f", ... {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def in_range(labels: Any, class_names: Sequence[str], where: str) -> Int[np.ndarray, "n"]:
    """Labels as int64 (n,), each the number of a class."""
    values = np.asarray(labels)
    if values.dtype.kind not in "iub" or values.ndim != 1:
        raise UserError(f"{where}: labels must be whole numbers, one an image; found {values.dtype} {values.shape}")
    wrong = np.flatnonzero((values < 0) | (values >= len(class_names)))
    if len(wrong):
        raise UserError(
            f"{where}: {len(wrong)} of {len(values)} labels are outside 0..{len(class_names) - 1} "
            f"({len(class_names)} classes), first {int(values[wrong[0]])} in row {int(wrong[0])}"
        )
    return values.astype(np.int64)


def from_rows(
    rows: hub.Rows, image_ids: Sequence[str], label_column: str, classes: Classes, about: Mapping, folder: Path | None
) -> Labelled:
    """Labelled images of the rows of a table, with labels of numbers, of names, or of the hub's own kind.

    Args:
        rows: with ``label_column`` among its columns.
        image_ids: a name for each row.
        label_column: numbers in the declared order; numbers with the data's own names, in any order; or names.
        classes: the declared classes.
        about: for ``source``, besides n and the hash.
        folder: where the paths of pictures begin that are not in the table.
    """
    where = f"{about['dataset']}, column {label_column!r}"
    labels = _labels(rows.columns[label_column], rows.names.get(label_column), classes, where)
    openers, content = opened(rows, folder)
    source = {**about, "split_sha256": split_hash(image_ids, labels.tolist(), content), "n": len(rows)}
    return Labelled(openers, image_ids, labels, classes.names, source)


def opened(rows: hub.Rows, folder: Path | None) -> tuple[list[Callable], Iterator[Callable[[], bytes]]]:
    """Functions that open the pictures of a table's rows, and such that give their encoded bytes."""
    openers = [picture(lambda cell=cell: hub.decode(cell(), folder)) for cell in rows.cells]
    return openers, (lambda cell=cell: hub.encoded(cell(), folder) for cell in rows.cells)


def _labels(values: Sequence, names: tuple[str, ...] | None, classes: Classes, where: str) -> np.ndarray:
    if missing := [row for row, value in enumerate(values) if value is None]:
        raise UserError(f"{where}: {len(missing)} of {len(values)} rows have no label, first row {missing[0]}")
    if names is not None:
        order = classes.numbers(names, where)
        return np.array(order, np.int64)[in_range(values, names, where)]
    if values and isinstance(values[0], str):
        different = list(dict.fromkeys(values))
        order = dict(zip(different, classes.numbers(different, where, whole=False), strict=True))
        return np.array([order[value] for value in values], np.int64)
    return in_range(values, classes.names, where)


def split_hash(ids: Sequence[str], labels: Sequence, content: Iterator[Callable[[], bytes]]) -> str:
    """sha256 over names, labels and encoded images in order; an image that cannot be read counts as empty."""
    digest = hashlib.sha256()
    for name, label, read in zip(ids, labels, content, strict=True):
        try:
            data = read()
        except (OSError, ValueError):  # it is left out, counted and named when it is opened
            data = b""
        digest.update(json.dumps([name, label, len(data)]).encode())
        digest.update(data)
    return digest.hexdigest()


def spread(total: int, n: int | None) -> list[int]:
    """The rows of n evenly spaced items of ``total``, all of them where n is None or more than there are.

    Not the first n: data are often ordered by class.
    """
    checked_count(n)
    return list(range(total)) if n is None or n >= total else [row * total // n for row in range(n)]


def from_folder(folder: Path, split: str, classes: Classes, about: Mapping, n: int | None = None) -> Labelled:
    """A folder with a subfolder of pictures for each class, within a subfolder for each split where it has splits.

    A picture is turned upright where its EXIF data say so; its bytes, which are hashed, say that too.

    Args:
        folder: holds the classes, or the splits that hold them.
        split: which, "train+test" for several one after the other. Not asked for where the folder has no splits.
        classes: the declared classes.
        about: for ``source``, besides split, n and the hash.
        n: take only so many pictures, evenly spaced.
    """
    splits = splits_of(folder, classes)
    roots = _roots(folder, split, splits)
    found: list[tuple[Path, int]] = []
    for root in roots:
        names = _subfolders(root)
        numbers = classes.numbers(names, str(root))
        for name, number in zip(names, numbers, strict=True):
            found += [(path, number) for path in sorted((root / name).rglob("*")) if is_picture(path)]
    if not found:
        raise UserError(f"{folder}: no pictures in the folders of its classes ({', '.join(PICTURE_SUFFIXES)})")
    chosen = [found[row] for row in spread(len(found), n)]
    paths, labels = [path for path, _ in chosen], [number for _, number in chosen]
    ids = [path.relative_to(folder).as_posix() for path in paths]
    content = (path.read_bytes for path in paths)
    taken = {} if len(chosen) == len(found) else {"taken": f"{len(chosen)} of {len(found)}, evenly spaced"}
    facts = {"split": split if splits else "all of the folder", **taken}
    source = {**about, **facts, "split_sha256": split_hash(ids, labels, content), "n": len(ids)}
    openers = [picture(lambda path=path: ImageOps.exif_transpose(Image.open(path))) for path in paths]
    return Labelled(openers, ids, np.array(labels, np.int64), classes.names, source)


def splits_of(folder: Path, classes: Classes) -> list[str]:
    """Names of a folder's splits: its subfolders that hold folders in their turn; none where it holds classes itself.

    It holds classes where every class has a subfolder, or a subfolder without folders is named as a class. A class may
    hold folders too, and a split may be named as a class ("train" is one of CIFAR-100).
    """
    names = _subfolders(folder)
    holding = [name for name in names if _subfolders(folder / name)]
    number = dict(zip(names, classes.matched(names), strict=True))
    every = set(number.values()) >= set(range(len(classes.names)))
    return [] if every or any(number[name] >= 0 for name in names if name not in holding) else holding


def _roots(folder: Path, split: str, splits: list[str]) -> list[Path]:
    if not _subfolders(folder):
        raise UserError(f"{folder}: expected a subfolder of pictures for each class, or parquet files; found neither")
    wanted = split.split("+") if splits else []
    if missing := [name for name in wanted if name not in splits]:
        raise UserError(f"{folder}: no split {missing[0]!r} there; it has {', '.join(splits)}")
    return [folder / name for name in wanted] or [folder]


def _subfolders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def parquet_files(folder: Path) -> list[Path]:
    """All parquet files of a folder and its subfolders, in the order of their paths."""
    return sorted(path for path in folder.rglob("*.parquet") if not path.name.startswith("."))


def parquet_of_split(folder: Path, split: str, declared: str) -> list[Path]:
    """The parquet files of a folder that belong to a split, by their names: test-*.parquet, test/*, test.parquet.

    Where none bears the split's name, those do that are named as the task declares the hub's: val-*.parquet of val2017.
    """
    of = {file: _split_of(file.relative_to(folder)) for file in parquet_files(folder)}
    for name in (split, _split_of(Path(declared))):
        if chosen := [file for file in of if of[file] == name]:
            return chosen
    there = ", ".join(sorted(set(of.values())))
    raise UserError(f"{folder}: no parquet files of split {split!r} there; it has {there}")


def _split_of(path: Path) -> str:
    """The split that a parquet file's name says; of "0000.parquet" the folder says it."""
    stem = path.stem.split("-")[0]
    return path.parent.name if stem.isdigit() and path.parent.name else stem
