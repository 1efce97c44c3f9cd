"""Zero-shot tasks: small declared records, and their images from the hub or from your own folder.

A TOML file has a table for each task, named by its key, with the fields of ``Task``; ``util/data/tasks.toml`` is the
example. A folder of data holds parquet files with the declared columns, or a subfolder of pictures for each class
(within one for each split). For retrieval it holds what MSCOCO's archives unpack to, or pictures with captions.csv.
Pictures of class folders and beside captions.csv are turned upright where their EXIF data say so. Others are shown as
they are stored, as published numbers were made.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, RootModel, model_validator

from ..errors import UserError
from ..readers.tables import class_names
from . import captioned, coco, hub, labelled, tables
from .captioned import Captioned, CaptionRule, assemble
from .declared import Declared, Text, Texts, read_toml
from .labelled import Classes, Labelled

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "tasks.toml"
MSCOCO = "mscoco"
"""Key of the task that is also the caption corpus of the figures."""


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
        count, own = len(self.class_names), self.classes.own
        if count < 2:
            raise ValueError(f"class_names: at least two are needed, found {count}")
        if self.metric == "ROC-AUC" and count != 2:
            raise ValueError(f"metric: ROC-AUC is of two classes, but class_names has {count}")
        for name, values in (("class_names", self.class_names), ("own_names", own)):
            if len(values) != count:
                raise ValueError(f"{name}: {len(values)} names, but class_names has {count}")
            if len(set(values)) < count:
                raise ValueError(f"{name}: every class needs a name of its own")
        if wrong := [name for name in self.spellings.values() if name not in own]:
            raise ValueError(f"spellings: {wrong[0]!r} is not a name of the data")
        if not self.prompts or any("{}" not in template for template in self.prompts):
            raise ValueError("prompts: at least one is needed, each with {}, the place of the class name")
        return self

    @property
    def is_retrieval(self) -> bool:
        """Whether images are held against captions, not classes."""
        return self.metric == "retrieval"

    @property
    def classes(self) -> Classes:
        """The classes, for matching with what the data call them."""
        return Classes(self.class_names, self.own_names or self.class_names, self.spellings)

    def texts(self) -> list[list[str]]:
        """The prompts of each class, classes in order."""
        return [[template.replace("{}", name) for template in self.prompts] for name in self.class_names]


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
    place = None if path is None else Path(path)
    if place is not None and not place.is_dir():
        raise UserError(f"{path}: no such folder; expected the data of {task.title} there")
    if task.is_retrieval and place is not None:
        if any((place / name).is_file() for name in tables.CAPTION_TABLES):
            return captioned.from_folder(place, caption, n)
        if (place / "annotations").is_dir() or not labelled.parquet_files(place):
            return coco.from_folder(place, task.split, caption, n)
    elif place is not None and not labelled.parquet_files(place):
        about = {"task": task.key, "dataset": f"{task.title}, local folder"}
        return labelled.from_folder(place, task.split, task.classes, about, n)
    return _of_table(task, place, n, caption)


def mscoco(
    folder: str | Path | None, split: str = "val2017", caption: CaptionRule = "first", n: int | None = None
) -> Captioned:
    """The first n images of MSCOCO captions 2017 (None: all): of a folder, or val2017 of the hub."""
    return load(read()[MSCOCO].model_copy(update={"split": split}), folder, n, caption)


def _of_table(task: Task, place: Path | None, n: int | None, caption: CaptionRule) -> Labelled | Captioned:
    """The same from parquet files, of a folder or the hub."""
    about = {"task": task.key, "dataset": task.dataset, "config": task.config, "split": task.split}
    if place is not None:
        about["dataset"] = f"{task.title}, local parquet files"
    column = task.caption_column if task.is_retrieval else task.label_column
    columns = [column, *filter(None, [task.id_column])]
    parts, ids = [], []
    for split in task.split.split("+"):
        files, about["revision"] = _files(task, place, split)
        parts.append(hub.read_parquet(files, task.image_column, columns))
        ids += [f"{split}/{number}" for number in range(len(parts[-1]))]
    table = hub.joined(parts, task.title)
    if not len(table):
        raise UserError(f"{task.title}: split {task.split!r} has no rows")
    if task.id_column:
        ids = [str(name) for name in table[task.id_column]]
    if n is not None:
        about["taken"] = "the first" if task.is_retrieval else f"of {len(table)}, evenly spaced"
        chosen = range(len(table))[:n] if task.is_retrieval else labelled.spread(len(table), n)
        table, ids = table.select(chosen), [ids[row] for row in chosen]
    openers, contents = hub.openers(table, task.image_column), hub.contents(table, task.image_column)
    if task.is_retrieval:
        texts = [[each] if isinstance(each, str) else list(each or ()) for each in table[column]]
        about["split_sha256"] = labelled.split_hash(ids, texts, contents)
        return assemble("image", openers, ids, texts, caption, about)
    where = f"{about['dataset']}, column {column!r}"
    names = class_names(table.features.arrow_schema).get(column)
    labels = labelled.numbered(list(table[column]), names, task.classes, where)
    return labelled.of(openers, ids, labels, task.classes, {**about, "label_column": column}, contents)


def _files(task: Task, place: Path | None, split: str) -> tuple[list[Path], str | None]:
    """The parquet files of a split, and the commit that they are of."""
    if place is not None:
        return labelled.parquet_of_split(place, split, task.files.get(split, split)), None
    size = f" ({task.megabytes} MB)" if task.megabytes else ""
    place = "DIR (--coco DIR)" if task.key == MSCOCO else f"DIR/{task.key} (--data DIR)"
    otherwise = (
        f"get its parquet files{size} where there is a network and put them into {place}, or copy the Hugging Face "
        "cache (HF_HOME) of a machine that has them"
    )
    if (pattern := task.files.get(split)) is None:
        raise UserError(f"{task.title}: files names no split {split!r}; there are {', '.join(task.files) or 'none'}")
    return hub.fetched(task.title, task.dataset, task.revision, pattern, otherwise)
