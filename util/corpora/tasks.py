"""Zero-shot tasks: small declared records, and their images from the hub, streamed or not, or from your own folder.

A TOML file has a table for each task, named by its key, with the fields of ``Task``; ``util/data/tasks.toml`` is the
example. A folder of data holds parquet files with the declared columns, or a subfolder of pictures for each class
(within one for each split). For retrieval it holds what MSCOCO's archives unpack to, or pictures with captions.csv.
Pictures of class folders and beside captions.csv are turned upright where their EXIF data say so. Others are shown as
they are stored, as published numbers were made.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, RootModel, model_validator

from ..errors import UserError
from ..files import cache_folder
from . import coco, hub, labelled, tables
from . import folder as pictures
from .captioned import Captioned, CaptionRule, assemble
from .declared import Declared, Text, Texts, read_toml
from .labelled import Classes, Labelled

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "tasks.toml"

UNPINNED = "unpinned"
"""The revision of a data set whose commit is not known: the newest is taken, and the record says which that was."""
PLACE = "{}"
"""Where the name of a class goes in a prompt."""


class Task(Declared):
    """A zero-shot task: which images, what they may be called, and how that is scored."""

    key: Text
    """Short name, also that of its folder in a folder of data; in a file the name of its table."""
    title: Text
    """Name in tables."""
    group: Text
    """"coarse-grained", "fine-grained", "optical character recognition", "retrieval", or another."""
    metric: Literal["top-1", "ROC-AUC", "retrieval"]
    """ROC-AUC is of class 1 against class 0."""
    dataset: Text
    """Id on the hub, or a folder laid out as one."""
    revision: Text = UNPINNED
    config: Text | None = None
    """The data set's own configuration; None for the only one."""
    files: dict[str, Text] = Field(default_factory=dict)
    """Split -> parquet files of the repository, so that nothing else is fetched; empty: the hub is asked."""
    split: Text = "test"
    """One split, or several that are joined in this order: "train+test"."""
    image_column: Text = "image"
    label_column: Text = "label"
    """A label is a number or a name."""
    caption_column: Text = "caption"
    id_column: Text | None = None
    """Names of the images of retrieval; None: they are numbered."""
    split_column: Text | None = None
    """The split of a row, where one table holds all of them."""
    class_names: Texts = ()
    """C words that go into the prompts."""
    own_names: Texts = ()
    """What the data call the classes, in the same order; by default the class names."""
    spellings: dict[str, Text] = Field(default_factory=dict)
    """Further spellings in the data -> one of the data's names."""
    prompts: Texts = ()
    """Templates with the place ``{}``; the embeddings of several are averaged."""
    alternatives: dict[str, Texts] = Field(default_factory=dict)
    """Name -> other class names, in the same order."""
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
        lists = {"class_names": self.class_names, "own_names": own}
        lists |= {f"alternatives.{name}": names for name, names in self.alternatives.items()}
        for name, values in lists.items():
            if len(values) != count:
                raise ValueError(f"{name}: {len(values)} names, but class_names has {count}")
            if len(set(values)) < count:
                raise ValueError(f"{name}: every class needs a name of its own")
        if wrong := [name for name in self.spellings.values() if name not in own]:
            raise ValueError(f"spellings: {wrong[0]!r} is not a name of the data")
        if not self.prompts or any(PLACE not in template for template in self.prompts):
            raise ValueError(f"prompts: at least one is needed, each with {PLACE}, the place of the class name")
        return self

    @property
    def is_retrieval(self) -> bool:
        """Whether images are held against captions, not classes."""
        return self.metric == "retrieval"

    @property
    def commit(self) -> str | None:
        """The revision to ask the hub for; None for its newest."""
        return None if self.revision == UNPINNED else self.revision

    @property
    def classes(self) -> Classes:
        """The classes, for matching with what the data call them."""
        return Classes(self.class_names, self.own_names or self.class_names, self.spellings)

    def texts(self) -> list[list[str]]:
        """The prompts of each class, classes in order."""
        return [[template.replace(PLACE, name) for template in self.prompts] for name in self.class_names]

    def with_names(self, name: str) -> "Task":
        """The same task with the class names of ``alternatives[name]``."""
        return self.model_copy(update={"class_names": self.alternatives[name], "own_names": self.classes.own})


class TaskFile(RootModel[dict[str, Task]]):
    """The tasks of a file, by their keys."""

    @model_validator(mode="before")
    @classmethod
    def _keyed(cls, content: dict) -> dict:
        if not content:
            raise ValueError("it declares no task; expected a table [key] for each")
        return {key: {"key": key, **table} if isinstance(table, dict) else table for key, table in content.items()}

    @model_validator(mode="after")
    def _different(self) -> "TaskFile":
        titles: dict[str, str] = {}
        for key, task in self.root.items():
            if task.key != key:
                raise ValueError(f"[{key}] key: not a known key; the name of the table is the task's key")
            if (other := titles.setdefault(task.title, key)) != key:
                raise ValueError(f"[{key}] title: {task.title!r} is that of [{other}]; every task needs its own")
        return self


def read(path: str | Path | None = None) -> dict[str, Task]:
    """The tasks of a TOML file, by their keys, in its order.

    Args:
        path: None for the shipped ones.
    """
    return read_toml(SHIPPED if path is None else path, TaskFile).root


def folder_of(task: Task, data: str | Path | None) -> Path | None:
    """The folder of a task in a folder of data, ``data/<key>``; None (the hub) where there is none."""
    return Path(data) / task.key if data is not None and (Path(data) / task.key).is_dir() else None


def load(
    task: Task,
    path: str | Path | None = None,
    n: int | None = None,
    streaming: bool = False,
    split: str | None = None,
    caption: CaptionRule = "all",
) -> Labelled | Captioned:
    """The images of a task, with labels, or for retrieval with captions.

    Args:
        task: which images.
        path: your own folder; None for the hub.
        n: take only so many: evenly spaced, the first where they are streamed or have captions.
        streaming: read the hub's files over the network, keep the encoded images in memory and store nothing. Not for
            retrieval.
        split: another one than the task's; several are joined by "+".
        caption: for retrieval: "all", "first" or "last" caption of an image.

    Raises:
        NoConnection: the hub does not answer and its cache does not hold the files. Says what to fetch, from where, and
            where to put it.
    """
    split, place = split or task.split, None if path is None else Path(path)
    if place is not None and not place.is_dir():
        raise UserError(f"{path}: no such folder; expected the data of {task.title} there")
    if task.is_retrieval:
        return _captioned(task, place, n, split, caption)
    if place is not None and not labelled.parquet_files(place):
        about = {"task": task.key, "dataset": f"{task.title}, local folder"}
        return labelled.from_folder(place, split, task.classes, about, n)
    rows, ids, facts = _rows(task, place, n, streaming, split, [task.label_column])
    about = {"task": task.key, "label_column": task.label_column, **facts}
    return labelled.from_rows(rows, ids, task.label_column, task.classes, about, _beside(task, place))


def _captioned(task: Task, place: Path | None, n: int | None, split: str, caption: CaptionRule) -> Captioned:
    if place is not None and (place / "annotations").is_dir():
        return coco.from_folder(place, split, caption, n)
    if place is not None and any((place / name).is_file() for name in tables.CAPTION_TABLES):
        return pictures.load(place, caption, n)
    columns = [column for column in (task.caption_column, task.id_column, task.split_column) if column]
    rows, ids, facts = _rows(task, place, n, False, split, columns)
    texts = [[each] if isinstance(each, str) else list(each or ()) for each in rows.columns[task.caption_column]]
    ids = [str(name) for name in rows.columns[task.id_column]] if task.id_column else ids
    openers, content = labelled.opened(rows, _beside(task, place))
    about = {"task": task.key, **facts, "split_sha256": labelled.split_hash(ids, texts, content)}
    return assemble("image", openers, ids, texts, caption, about)


def _beside(task: Task, place: Path | None) -> Path | None:
    """The folder whose files a table may name in place of pictures; None: those of the hub hold their pictures."""
    folder = Path(task.dataset) if place is None else place
    return folder if folder.is_dir() else None


def _rows(
    task: Task, place: Path | None, n: int | None, streaming: bool, split: str, columns: Sequence[str]
) -> tuple[hub.Rows, list[str], dict]:
    """Rows of a table, a name for each, and where they come from."""
    read, facts = [], {"dataset": task.dataset, "revision": task.revision, "config": task.config, "split": split}
    if place is not None:
        facts |= {"dataset": f"{task.title}, local parquet files", "revision": None}
    names = [split] if task.split_column else split.split("+")
    for name in names:
        table, revision = _table(task, place, streaming, name, columns)
        with _told(task, name) if streaming and place is None else nullcontext():
            rows = hub.rows_of(table, task.image_column, columns, n)
        facts["revision"] = revision or facts["revision"]
        read.append(_of_split(task, rows, name) if task.split_column else rows)
    values = {column: [each for part in read for each in part.columns[column]] for column in read[0].columns}
    rows = hub.Rows(values, read[0].names, [cell for part in read for cell in part.cells])
    ids = [f"{name}/{number}" for name, part in zip(names, read, strict=True) for number in range(len(part))]
    if not ids:
        raise UserError(f"{task.title}: split {split!r} has no rows")
    if n is None:
        return rows, ids, facts
    facts["taken"] = "the first" if streaming or task.is_retrieval else f"of {len(rows)}, evenly spaced"
    chosen = range(min(n, len(rows))) if streaming or task.is_retrieval else labelled.spread(len(rows), n)
    return rows.take(chosen), [ids[row] for row in chosen], facts


def _of_split(task: Task, rows: hub.Rows, split: str) -> hub.Rows:
    values, wanted = rows.columns[task.split_column], split.split("+")
    there = list(dict.fromkeys(values))
    if missing := [name for name in wanted if name not in there]:
        raise UserError(
            f"{task.title}: no split {missing[0]!r} in column {task.split_column!r}; it has {', '.join(there)}"
        )
    return rows.take([row for row, value in enumerate(values) if value in wanted])


def _table(task: Task, place: Path | None, streaming: bool, split: str, columns: Sequence[str]):
    """An undecoded data set of one split, and the commit of the hub that it is of."""
    pattern = task.files.get("all" if task.split_column else split)
    if place is not None:
        every = labelled.parquet_files(place)
        files = every if task.split_column else labelled.parquet_of_split(place, split, pattern or split)
        return hub.read_parquet(files, task.image_column, columns), None
    if not task.files or streaming or Path(task.dataset).is_dir():
        table, revision = _of_hub(task, streaming, split)
        return hub.undecoded(table, task.image_column, columns, task.dataset), revision
    if pattern is None:
        raise UserError(f"{task.title}: no split {split!r}; there are {', '.join(task.files)}")
    folder, revision = hub.snapshot(task.title, task.dataset, task.commit, pattern, _otherwise(task))
    if not (files := sorted(folder.glob(pattern))):
        raise UserError(f"{task.title}: https://huggingface.co/datasets/{task.dataset} has no files {pattern}")
    return hub.read_parquet(files, task.image_column, columns), revision


def _of_hub(task: Task, streaming: bool, split: str):
    """A split of a data set as the hub's own rules find it, and its commit."""
    import datasets

    options = {"name": task.config, "cache_dir": str(cache_folder() / "datasets")}
    options |= {} if Path(task.dataset).is_dir() else {"revision": task.commit}
    with _told(task, split):
        builder = datasets.load_dataset_builder(task.dataset, **options)
        there = list(builder.config.data_files or builder.info.splits or ())
        if split in there:
            found = str(builder.hash or "")
            commit = found if hub.COMMIT.fullmatch(found) else None
            if streaming:
                return builder.as_streaming_dataset(split), commit
            builder.download_and_prepare()
            return builder.as_dataset(split), commit
    raise UserError(f"{task.title}: no split {split!r}; there are {', '.join(map(str, there)) or 'none'}")


@contextmanager
def _told(task: Task, split: str) -> Iterator[None]:
    try:
        with hub.hub_or_cache():
            yield
    except Exception as error:  # datasets, the hub's client and pyarrow each raise their own
        raise hub.not_fetched(task.title, task.dataset, split, error, _otherwise(task)) from error


def _otherwise(task: Task) -> str:
    size = f" ({task.megabytes} MB)" if task.megabytes else ""
    return (
        f"get its parquet files{size} where there is a network and put them into DIR/{task.key} (--data DIR), or copy "
        "the Hugging Face cache (HF_HOME) of a machine that has them"
    )
