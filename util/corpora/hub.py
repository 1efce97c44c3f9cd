"""Data sets of the Hugging Face hub: whether it answers, files of a revision, tables whose pictures stay encoded."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ..errors import NoConnection, UserError, reason
from ..files import cache_folder, reachable
from .captioned import picture

if TYPE_CHECKING:
    from datasets import Dataset


@contextmanager
def hub_or_cache() -> Iterator[None]:
    """Asks the Hugging Face hub only if it answers, else its cache on disk alone.

    Without this block every file is asked for again and again, half a minute and a screen of warnings for each.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    online = not before and reachable(constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = not online
    try:
        yield
    except Exception as error:
        if online:
            raise
        raise ConnectionError(f"no connection to {constants.ENDPOINT}, and not whole in its cache") from error
    finally:
        constants.HF_HUB_OFFLINE = before


def snapshot(name: str, what: str, otherwise: str, **options) -> Path:
    """The folder of a repository's files in the hub's cache; options as of ``huggingface_hub.snapshot_download``.

    What was asked for, and what to do ``otherwise``, are for the error: ``NoConnection`` where no hub answers.
    """
    from huggingface_hub import snapshot_download

    try:
        with hub_or_cache():
            return Path(snapshot_download(name, **options))
    except Exception as error:  # the hub's client raises errors of many kinds, its http library's included
        kind = NoConnection if isinstance(error, ConnectionError) else UserError
        raise kind(f"{what} could not be fetched ({reason(error)}); {otherwise}") from error


def fetched(title: str, dataset: str, revision: str | None, pattern: str, otherwise: str) -> tuple[list[Path], str]:
    """Files of a data set in the Hugging Face cache, in the order of their names, and the commit that they are of.

    Only the files of the pattern are fetched. ``title`` is a name of the data. Without a revision the newest is taken.
    """
    where = f"{title}: https://huggingface.co/datasets/{dataset}"
    options = {"repo_type": "dataset", "revision": revision, "allow_patterns": pattern}
    folder = snapshot(dataset, f"{where} ({pattern})", otherwise, **options)
    if not (files := sorted(folder.glob(pattern))):
        raise UserError(f"{where} has no files {pattern}")
    return files, folder.name


def read_parquet(files: Sequence[Path], image: str, columns: Sequence[str]) -> "Dataset":
    """The rows of parquet files, at least one, in their order, as one table of these columns.

    ``image`` is the column of pictures, which stay encoded (``encoded``); any further columns are left out.
    """
    import datasets

    cache, wanted, parts = str(cache_folder() / "datasets"), [image, *columns], []
    for file in files:
        try:
            table = datasets.load_dataset("parquet", data_files={"rows": str(file)}, split="rows", cache_dir=cache)
        except Exception as error:  # pyarrow, datasets and the file system each raise their own
            raise UserError(f"{file}: not readable as parquet ({reason(error.__cause__ or error)})") from error
        if not set(wanted) <= set(table.column_names):
            raise UserError(f"{file}: expected columns {', '.join(wanted)}; found {', '.join(table.column_names)}")
        try:
            parts.append(table.select_columns(wanted).cast_column(image, datasets.Image(decode=False)))
        except Exception as error:  # pyarrow's and datasets' own
            raise UserError(f"{file}: column {image!r} holds no pictures ({reason(error)})") from error
    return joined(parts, str(files[0].parent))


def joined(tables: Sequence["Dataset"], where: str) -> "Dataset":
    """The rows of several tables one after the other; their columns must be alike, names of classes included."""
    import datasets

    if any(table.features != tables[0].features for table in tables):
        raise UserError(f"{where}: its parts differ in their columns or number classes differently: no one table")
    return datasets.concatenate_datasets(tables)


def contents(table: "Dataset", image: str) -> list[Callable[[], bytes]]:
    """Functions that give the pictures' bytes as they are stored."""
    pictures = table.select_columns([image])
    return [lambda row=row: encoded(pictures[row][image]) for row in range(len(table))]


def openers(table: "Dataset", image: str) -> list[Callable[[], Image.Image]]:
    """Functions that open the pictures, as they are stored."""
    return [picture(lambda content=content: Image.open(io.BytesIO(content()))) for content in contents(table, image)]


def encoded(cell: dict | None) -> bytes:
    """The bytes of a picture in a cell, {"bytes": ..., "path": ...}; ``ValueError`` where there are none."""
    if cell and cell["bytes"]:
        return cell["bytes"]
    if cell and cell["path"]:
        raise ValueError(f"the table names the file {cell['path']!r} in place of a picture; put the pictures into it")
    raise ValueError("there is no picture in this row")
