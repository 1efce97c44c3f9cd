"""Zero-shot tasks: small declared records, and their images from the hub or from your own folder.

A TOML file has a table for each task, named by its key, with the fields of ``Task``; ``util/data/tasks.toml`` is the
example. A folder of data holds parquet files with the declared columns, or a subfolder of pictures for each class
(within one for each split). For retrieval it holds what MSCOCO's archives unpack to, or pictures with captions.csv.
Pictures of class folders and beside captions.csv are turned upright by their EXIF data, others shown as stored.

An image is opened only when it is needed. Classes are numbered as declared, whatever order the data have them in.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Int
from pydantic import Field, PositiveInt, RootModel, model_validator

from .. import UserError
from ..files import Declared, Text, Texts, read_toml
from ..numerics.arrays import as_indices
from ..readers.tables import class_names
from . import captioned
from .captioned import PICTURE_SUFFIXES, Captioned, CaptionRule, Items, assemble, is_picture, upright

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "tasks.toml"
MSCOCO = "mscoco"
"""Key of the task that is also the caption corpus of the figures."""


@dataclass(frozen=True)
class Labelled(Items):
    """n RGB pictures and the class of each, a number of ``class_names``, which are C words as prompts have them.

    ``source`` holds split_sha256 too, of names, labels and encoded images in order.
    """

    labels: Int[np.ndarray, "n"] = field(repr=False)
    class_names: tuple[str, ...]


class Task(Declared):
    """A zero-shot task: which images, what they may be called, and how that is scored."""

    key: str = ""
    """Short name, also that of its folder in a folder of data: the name of its table in a file."""
    title: Text
    """Name in tables."""
    group: Text
    """"coarse-grained", "fine-grained", "optical character recognition", "retrieval", or another."""
    metric: Literal["top-1", "ROC-AUC", "retrieval"]
    """ROC-AUC is of class 1 against class 0."""
    dataset: Text
    """Id on the hub."""
    revision: Text | None = None
    """A commit of it. None: the newest is taken, and the record says which that was."""
    config: Text | None = None
    """The data set's own configuration; None for the only one."""
    files: dict[str, Text] = Field(default_factory=dict)
    """Split -> parquet files of the repository, which alone are fetched; none for data of your own folder."""
    split: Text = "test"
    """One split, or several that are joined in this order: "train+test"."""
    image_column: Text = "image"
    label_column: Text = "label"
    """A label is a number or a name."""
    caption_column: Text = "caption"
    id_column: Text | None = None
    """Names of the images of retrieval; None: they are numbered."""
    class_names: Texts = ()
    """C words that go into the prompts."""
    own_names: Texts = ()
    """What the data call the classes, in the same order; by default the class names."""
    spellings: dict[str, Text] = Field(default_factory=dict)
    """Further spellings in the data -> one of the data's names."""
    prompts: Texts = ()
    """Templates with ``{}`` for the name of the class; the embeddings of several are averaged."""
    sources: dict[str, Text] = Field(default_factory=dict)
    """Field -> where it comes from."""
    published: Text | None = None
    """The row of the paper's Table 1, None for none."""
    items: PositiveInt | None = None
    """Images of the split, as published."""
    megabytes: PositiveInt | None = None
    """How much is fetched."""

    @model_validator(mode="after")
    def _checked(self) -> "Task":
        if self.is_retrieval:
            return self
        count = len(self.class_names)
        if count < 2:
            raise ValueError(f"class_names: at least two are needed, found {count}")
        if self.metric == "ROC-AUC" and count != 2:
            raise ValueError(f"metric: ROC-AUC is of two classes, but class_names has {count}")
        for name, values in (("class_names", self.class_names), ("own_names", self.own)):
            if len(values) != count:
                raise ValueError(f"{name}: {len(values)} names, but class_names has {count}")
            if len(set(values)) < count:
                raise ValueError(f"{name}: every class needs a name of its own")
        if wrong := [name for name in self.spellings.values() if name not in self.own]:
            raise ValueError(f"spellings: {wrong[0]!r} is not a name of the data")
        if not self.prompts or any("{}" not in template for template in self.prompts):
            raise ValueError("prompts: at least one is needed, each with {}, the place of the class name")
        return self

    @property
    def is_retrieval(self) -> bool:
        """Whether images are held against captions, not classes."""
        return self.metric == "retrieval"

    @property
    def own(self) -> tuple[str, ...]:
        """What the data call the classes."""
        return self.own_names or self.class_names

    def texts(self) -> list[list[str]]:
        """The prompts of each class, classes in order."""
        return [[template.replace("{}", name) for template in self.prompts] for name in self.class_names]

    def numbers(self, found: Sequence[str], where: str, whole: bool = True) -> list[int]:
        """The class of each name that the data have; ``whole``: every class must be among them."""
        numbers = self.matched(found)
        if -1 in numbers or len(set(numbers)) < len(numbers) or (whole and len(numbers) < len(self.own)):
            both = f"the data have {len(found)} ({_listed(found)}), declared are {len(self.own)} ({_listed(self.own)})"
            raise UserError(f"{where}: class names and labels do not match; {both}")
        return numbers

    def matched(self, found: Sequence[str]) -> list[int]:
        """The class of each name, -1 for none; "Annual Crop" and "annual_crop" are one name, but not "C++" and "C"."""
        exact = {name: number for names in (self.class_names, self.own) for number, name in enumerate(names)}
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


def read(path: str | Path | None = None) -> dict[str, Task]:
    """The tasks of a TOML file (None: the shipped ones), by their keys, in its order."""
    path = SHIPPED if path is None else path
    found = read_toml(path, RootModel[dict[str, Task]]).root
    if not found:
        raise UserError(f"{path}: it declares no task; expected a table [key] for each")
    titles: dict[str, str] = {}
    for key, task in found.items():
        if (other := titles.setdefault(task.title, key)) != key:
            raise UserError(f"{path}: [{key}] title: {task.title!r} is that of [{other}]; every task needs its own")
    return {key: task.model_copy(update={"key": key}) for key, task in found.items()}


def folder_of(task: Task, data: str | Path | None) -> Path | None:
    """The folder of a task in a folder of data, ``data/<key>``; None (the hub) where there is none."""
    return Path(data) / task.key if data is not None and (Path(data) / task.key).is_dir() else None


def load(
    task: Task, path: str | Path | None = None, n: int | None = None, caption: CaptionRule = "all"
) -> Labelled | Captioned:
    """The images of a task, with labels, or for retrieval with their captions.

    They come from your own folder, or with None from the hub. n are taken evenly spaced, of images with captions the
    first. ``NoConnection`` says that the hub does not answer and its cache does not hold the files.
    """
    if path is None:
        return _of_table(task, None, n, caption)
    place = Path(path)
    if not place.is_dir():
        raise UserError(f"{path}: no such folder; expected the data of {task.title} there")
    if task.is_retrieval and any((place / name).is_file() for name in captioned.TABLES):
        return captioned.from_folder(place, caption, n)
    if task.is_retrieval and ((place / "annotations").is_dir() or not parquet_files(place)):
        return captioned.from_coco(place, task.split, caption, n)
    return _of_table(task, place, n, caption) if parquet_files(place) else _of_folders(task, place, n)


def mscoco(
    folder: str | Path | None, split: str = "val2017", caption: CaptionRule = "first", n: int | None = None
) -> Captioned:
    """The first n images of MSCOCO captions 2017 (None: all): of a folder, or val2017 of the hub."""
    return load(read()[MSCOCO].model_copy(update={"split": split}), folder, n, caption)


def _of_folders(task: Task, folder: Path, n: int | None) -> Labelled:
    """A folder with a subfolder of pictures for each class, or a subfolder for each split that holds those.

    Where every class has a subfolder, no split is asked for, however these are named: CIFAR-100 has a class "train".
    """
    there, splits = _subfolders(folder), task.split.split("+")
    whole = set(task.matched(there)) >= set(range(len(task.own)))
    if not whole and (missing := [name for name in splits if name not in there]):
        raise UserError(
            f"{folder}: expected a subfolder for each class ({_listed(task.own)}), or a split {missing[0]!r} that "
            f"holds them, or parquet files; found {_listed(there) or 'no folder'}"
        )
    found: list[tuple[Path, int]] = []
    for root in [folder] if whole else [folder / name for name in splits]:
        names = _subfolders(root)
        for name, number in zip(names, task.numbers(names, str(root)), strict=True):
            found += [(path, number) for path in sorted((root / name).rglob("*")) if is_picture(path)]
    if not found:
        raise UserError(f"{folder}: no pictures in the folders of its classes ({', '.join(PICTURE_SUFFIXES)})")
    chosen = [found[row] for row in spread(len(found), n)]
    paths, labels = zip(*chosen, strict=True)
    about = {"task": task.key, "dataset": f"{task.title}, local folder"}
    about["split"] = "all of the folder" if whole else task.split
    if len(chosen) < len(found):
        about["taken"] = f"{len(chosen)} of {len(found)}, evenly spaced"
    ids = [path.relative_to(folder).as_posix() for path in paths]
    about |= {"split_sha256": split_hash(ids, labels, [path.read_bytes for path in paths]), "n": len(ids)}
    return Labelled([*map(upright, paths)], ids, about, np.array(labels, np.int64), task.class_names)


def _subfolders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _of_table(task: Task, place: Path | None, n: int | None, caption: CaptionRule) -> Labelled | Captioned:
    """The images of parquet files, of a folder or the hub."""
    about = {"task": task.key, "dataset": task.dataset, "config": task.config, "split": task.split}
    if place is not None:
        about["dataset"] = f"{task.title}, local parquet files"
    column = task.caption_column if task.is_retrieval else task.label_column
    columns = [column, *filter(None, [task.id_column])]
    files = {}
    for split in task.split.split("+"):
        files[split], about["revision"] = _files(task, place, split)
    table = captioned.read_parquet([*chain(*files.values())], task.image_column, columns)
    counts = {split: sum(pq.read_metadata(file).num_rows for file in those) for split, those in files.items()}
    ids = [f"{split}/{number}" for split, count in counts.items() for number in range(count)]
    if not len(table):
        raise UserError(f"{task.title}: split {task.split!r} has no rows")
    if task.id_column:
        ids = [str(name) for name in table[task.id_column]]
    if n is not None:
        about["taken"] = "the first" if task.is_retrieval else f"of {len(table)}, evenly spaced"
        chosen = range(len(table))[:n] if task.is_retrieval else spread(len(table), n)
        table, ids = table.select(chosen), [ids[row] for row in chosen]
    openers, contents = captioned.stored(table, task.image_column)
    if task.is_retrieval:
        texts = [[each] if isinstance(each, str) else list(each or ()) for each in table[column]]
        about["split_sha256"] = split_hash(ids, texts, contents)
        return assemble("image", openers, ids, texts, caption, about)
    where = f"{about['dataset']}, column {column!r}"
    names = class_names(table.features.arrow_schema).get(column)
    labels = _numbered(list(table[column]), names, task, where)
    about |= {"label_column": column, "split_sha256": split_hash(ids, labels.tolist(), contents), "n": len(ids)}
    return Labelled(openers, ids, about, labels, task.class_names)


def _files(task: Task, place: Path | None, split: str) -> tuple[list[Path], str | None]:
    """The parquet files of a split, and the commit that they are of.

    In a folder they are told by their names: test-*.parquet, test/*, test.parquet. Where none bears the split's name,
    those do that are named as the task declares the hub's: val-*.parquet of val2017.
    """
    if place is not None:
        first = {file: file.stem.split("-")[0] for file in parquet_files(place)}
        named = [file for file in first if split in (first[file], file.relative_to(place).parent.name)]
        named = named or [file for file in first if file.match(Path(task.files.get(split, split)).name)]
        if not named:
            there = ", ".join(sorted(set(first.values())))
            raise UserError(f"{place}: no parquet files of split {split!r} there; it has {there}")
        return named, None
    size = f" ({task.megabytes} MB)" if task.megabytes else ""
    place = "DIR (--coco DIR)" if task.key == MSCOCO else f"DIR/{task.key} (--data DIR)"
    otherwise = (
        f"get its parquet files{size} where there is a network and put them into {place}, or copy the Hugging Face "
        "cache (HF_HOME) of a machine that has them"
    )
    if (pattern := task.files.get(split)) is None:
        raise UserError(f"{task.title}: files names no split {split!r}; there are {', '.join(task.files) or 'none'}")
    return captioned.fetched(task.title, task.dataset, task.revision, pattern, otherwise)


def parquet_files(folder: Path) -> list[Path]:
    """All parquet files of a folder and its subfolders, in the order of their paths."""
    return sorted(path for path in folder.rglob("*.parquet") if not path.name.startswith("."))


def _numbered(values: Sequence, names: Sequence[str] | None, task: Task, where: str) -> Int[np.ndarray, "n"]:
    """The classes of a column: numbers in the declared order, numbers of the data's own ``names``, or names."""
    if missing := [row for row, value in enumerate(values) if value is None]:
        raise UserError(f"{where}: {len(missing)} of {len(values)} rows have no label, first row {missing[0]}")
    if values and isinstance(values[0], str):
        different = list(dict.fromkeys(values))
        order = dict(zip(different, task.numbers(different, where, whole=False), strict=True))
        return np.array([order[value] for value in values], np.int64)
    order = np.arange(len(task.own)) if names is None else np.array(task.numbers(names, where))
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
