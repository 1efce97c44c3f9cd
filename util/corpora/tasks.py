"""The images of declared tasks: from the hub, streamed or not, or from a folder of one's own.

A folder holds parquet files with the declared columns, a subfolder of pictures for each class (within one for each
split), or for retrieval what MSCOCO's archives unpack to, or pictures with captions.csv. Pictures of class folders and
beside captions.csv are turned upright where their EXIF data say so; those of parquet files and of MSCOCO are shown as
they are stored, as published numbers were made.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from ..errors import UserError
from ..files import cache_folder
from . import coco, hub, labelled, tables
from . import folder as pictures
from .captioned import Captioned, CaptionRule, assemble, picture
from .declared_tasks import SHIPPED, UNPINNED, Metric, Task, read
from .labelled import Labelled

__all__ = ["SHIPPED", "UNPINNED", "Metric", "Task", "folder_of", "load", "read"]


def folder_of(task: Task, data: str | Path | None) -> Path | None:
    """The folder of a task in a folder of data, None (the hub) where there is none: ``data/<key>``."""
    place = None if data is None else Path(data) / task.key
    return place if place is not None and place.is_dir() else None


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
        task: what is wanted.
        path: a folder of one's own; None for the hub.
        n: take only so many: evenly spaced, the first where they are streamed or have captions.
        streaming: read the hub's files over the network and keep the encoded images in memory; nothing is stored, so
            that the next run reads them again. Not for retrieval.
        split: another one than the task's; several are joined by "+".
        caption: for retrieval: "all", "first" or "last" caption of an image.

    Raises:
        NoConnection: the hub does not answer and its cache does not hold the files: says what to fetch, from where, and
            where to put it.
        UserError: no such folder or split (lists those there are), columns that are lacking, class names and labels
            that do not match, a label outside the classes.
    """
    split = split or task.split
    if path is not None and not Path(path).is_dir():
        raise UserError(f"{path}: no such folder; expected the data of {task.title} there")
    if task.is_retrieval:
        return _captioned(task, None if path is None else Path(path), n, split, caption)
    if path is not None and not parquet_files(Path(path)):
        about = {"task": task.key, "dataset": f"{task.title}, local folder"}
        return labelled.from_folder(Path(path), split, task.classes, about, n)
    rows, ids, facts = _rows(task, path, n, streaming, split, [task.label_column])
    about = {"task": task.key, "label_column": task.label_column, **facts}
    return labelled.from_rows(rows, ids, task.label_column, task.classes, about, _beside(task, path))


def _beside(task: Task, path: str | Path | None) -> Path | None:
    """The folder whose files a table may name in place of pictures; None: those of the hub hold their pictures."""
    folder = Path(task.dataset if path is None else path)
    return folder if folder.is_dir() else None


def parquet_files(folder: Path) -> list[Path]:
    """All parquet files of a folder and its subfolders, in the order of their paths."""
    return sorted(path for path in folder.rglob("*.parquet") if not path.name.startswith("."))


def _captioned(task: Task, path: Path | None, n: int | None, split: str, caption: CaptionRule) -> Captioned:
    if path is not None and (path / "annotations").is_dir():
        return coco.from_folder(path, split, caption, n)
    if path is not None and any((path / name).is_file() for name in tables.CAPTION_TABLES):
        return pictures.load(path, caption, n)
    columns = [column for column in (task.caption_column, task.id_column, task.split_column) if column]
    rows, ids, facts = _rows(task, path, n, False, split, columns)
    texts = [[each] if isinstance(each, str) else list(each or ()) for each in rows.columns[task.caption_column]]
    ids = [str(name) for name in rows.columns[task.id_column]] if task.id_column else ids
    beside = _beside(task, path)
    content = (lambda cell=cell: hub.encoded(cell(), beside) for cell in rows.cells)
    about = {"task": task.key, **facts, "split_sha256": labelled.split_hash(ids, texts, content)}
    openers = [picture(lambda cell=cell: hub.decode(cell(), beside)) for cell in rows.cells]
    return assemble("image", openers, ids, texts, caption, about)


def _rows(
    task: Task, path: str | Path | None, n: int | None, streaming: bool, split: str, columns: Sequence[str]
) -> tuple[hub.Rows, list[str], dict]:
    """Rows of a table, a name for each, and where they come from."""
    read, facts = [], {"dataset": task.dataset, "revision": task.revision, "config": task.config, "split": split}
    if path is not None:
        facts |= {"dataset": f"{task.title}, local parquet files", "revision": None}
    names = [split] if task.split_column else split.split("+")
    for name in names:
        table, revision = _table(task, path, streaming, name, columns)
        with _told(task, name) if streaming and path is None else nullcontext():
            rows = hub.rows_of(table, task.image_column, columns, n)
        facts["revision"] = revision or facts["revision"]
        read.append((name, _of_split(task, rows, name) if task.split_column else rows))
    return _joined(read, n, streaming, task, facts)


def _joined(read: list, n: int | None, streaming: bool, task: Task, facts: dict) -> tuple[hub.Rows, list[str], dict]:
    rows = hub.Rows(
        {column: [each for _, part in read for each in part.columns[column]] for column in read[0][1].columns},
        read[0][1].names,
        [cell for _, part in read for cell in part.cells],
    )
    ids = [f"{name}/{number}" for name, part in read for number in range(len(part))]
    if not len(rows):
        raise UserError(f"{task.title}: split {facts['split']!r} has no rows")
    chosen = list(range(len(rows)))[:n] if streaming or task.is_retrieval else labelled.spread(len(rows), n)
    if n is not None:
        facts["taken"] = "the first" if streaming or task.is_retrieval else f"of {len(rows)}, evenly spaced"
    return rows.take(chosen), [ids[row] for row in chosen], facts


def _of_split(task: Task, rows: hub.Rows, split: str) -> hub.Rows:
    values, wanted = rows.columns[task.split_column], split.split("+")
    there = list(dict.fromkeys(values))
    missing = [name for name in wanted if name not in there]
    if missing:
        raise UserError(f"{task.title}: no split {missing[0]!r} in column {task.split_column!r}; it has {_list(there)}")
    return rows.take([row for row, value in enumerate(values) if value in wanted])


def _table(task: Task, path: str | Path | None, streaming: bool, split: str, columns: Sequence[str]):
    """An undecoded data set of one split, and the commit of the hub that it is of."""
    if path is not None:
        files = _files_of_split(task, Path(path), split)
        return hub.read_parquet(files, task.image_column, columns), None
    if not task.files or streaming or Path(task.dataset).is_dir():
        table, revision = _of_hub(task, streaming, split)
        return hub.undecoded(table, task.image_column, columns, task.dataset), revision
    pattern = _pattern(task, split)
    folder, revision = hub.snapshot(task.title, task.dataset, task.commit, pattern, _otherwise(task))
    files = sorted(folder.glob(pattern))
    if not files:
        raise UserError(f"{task.title}: https://huggingface.co/datasets/{task.dataset} has no files {pattern}")
    return hub.read_parquet(files, task.image_column, columns), revision


def _pattern(task: Task, split: str) -> str:
    pattern = task.files.get("all" if task.split_column else split)
    if pattern is None:
        raise UserError(f"{task.title}: no split {split!r}; there are {_list(task.files)}")
    return pattern


def _files_of_split(task: Task, folder: Path, split: str) -> list[Path]:
    """The parquet files of a folder that belong to a split, by their names: test-*.parquet, test/*, test.parquet.

    Where none bears the split's name, those do that are named as the task declares the hub's: val-*.parquet of val2017.
    """
    files = parquet_files(folder)
    if task.split_column:
        return files
    of = {file: _split_of(file.relative_to(folder)) for file in files}
    declared = _split_of(Path(task.files.get(split, split)))
    chosen = [file for file in files if of[file] == split] or [file for file in files if of[file] == declared]
    if not chosen:
        raise UserError(
            f"{folder}: no parquet files of split {split!r} there; it has {_list(sorted(set(of.values())))}"
        )
    return chosen


def _split_of(path: Path) -> str:
    """What a parquet file's name says that its split is; of "0000.parquet" the folder says it."""
    stem = path.stem.split("-")[0]
    return path.parent.name if stem.isdigit() and path.parent.name else stem


def _of_hub(task: Task, streaming: bool, split: str):
    """A split of a data set as the hub's own rules find it, and its commit."""
    import datasets

    options = {"name": task.config, "cache_dir": str(cache_folder() / "datasets")}
    options |= {} if Path(task.dataset).is_dir() else {"revision": task.commit}
    with _told(task, split):
        builder = datasets.load_dataset_builder(task.dataset, **options)
        there = list(builder.config.data_files or builder.info.splits or ())
        if split in there:
            if streaming:
                return builder.as_streaming_dataset(split), _commit(builder)
            builder.download_and_prepare()
            return builder.as_dataset(split), _commit(builder)
    raise UserError(f"{task.title}: no split {split!r}; there are {_list(there)}")


@contextmanager
def _told(task: Task, split: str) -> Iterator[None]:
    try:
        with hub.hub_or_cache():
            yield
    except Exception as error:  # datasets, the hub's client and pyarrow each raise their own
        raise hub.not_fetched(task.title, task.dataset, split, error, _otherwise(task)) from error


def _commit(builder) -> str | None:
    found = str(builder.hash or "")
    return found if hub.COMMIT.fullmatch(found) else None


def _otherwise(task: Task) -> str:
    size = f" ({task.megabytes} MB)" if task.megabytes else ""
    return (
        f"get its parquet files{size} where there is a network and put them into DIR/{task.key} (--data DIR), or copy "
        "the Hugging Face cache (HF_HOME) of a machine that has them"
    )


def _list(names: Sequence | Mapping) -> str:
    return ", ".join(map(str, names)) or "none"
