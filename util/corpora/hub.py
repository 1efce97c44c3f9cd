"""Data sets of the Hugging Face hub: whether it answers, files of a revision, rows of tables, pictures undecoded."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import NoConnection, UserError, reason
from ..files import cache_folder, reachable
from .captioned import picture


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


def fetched(title: str, dataset: str, revision: str | None, pattern: str, otherwise: str) -> tuple[list[Path], str]:
    """Files of a data set in the Hugging Face cache, in the order of their names, and the commit that they are of.

    Only the files of the pattern are fetched; they are found there again without a network. ``title`` and ``otherwise``
    are a name of the data and what to do instead, for the error. Without a revision the newest is taken.

    Raises:
        NoConnection: the hub does not answer, and the files are not in the cache.
    """
    from huggingface_hub import snapshot_download

    try:
        with hub_or_cache():
            folder = Path(snapshot_download(dataset, repo_type="dataset", revision=revision, allow_patterns=pattern))
    except Exception as error:  # the hub's client raises errors of many kinds, its http library's included
        kind = NoConnection if isinstance(error, ConnectionError) else UserError
        where = f"https://huggingface.co/datasets/{dataset} ({pattern})"
        raise kind(f"{title}: {where} could not be fetched ({reason(error)}); {otherwise}") from error
    if not (files := sorted(folder.glob(pattern))):
        raise UserError(f"{title}: https://huggingface.co/datasets/{dataset} has no files {pattern}")
    return files, folder.name


@dataclass(frozen=True)
class Rows:
    """n rows of a table: the columns asked for, and pictures that are encoded still.

    ``names`` are the classes that the data set itself gives a column of numbers. ``cells`` are n functions without
    arguments, each of which gives {"bytes": ..., "path": ...} of a picture.
    """

    columns: Mapping[str, Sequence]
    names: Mapping[str, tuple[str, ...]]
    cells: Sequence[Callable[[], Mapping]]

    def __len__(self) -> int:
        return len(self.cells)

    def take(self, rows: Sequence[int]) -> "Rows":
        """The rows of these numbers, in that order."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return Rows(columns, self.names, [self.cells[row] for row in rows])

    def openers(self) -> list[Callable[[], Image.Image]]:
        """Functions that open the pictures.

        No picture is turned by its EXIF data: a data set as published is shown to an encoder as it is stored.
        """
        return [picture(lambda cell=cell: Image.open(io.BytesIO(encoded(cell())))) for cell in self.cells]

    def contents(self) -> Iterator[Callable[[], bytes]]:
        """Functions that give the pictures' bytes as they are stored."""
        return (lambda cell=cell: encoded(cell()) for cell in self.cells)


def joined(parts: Sequence[Rows], where: str) -> Rows:
    """The rows of several tables one after the other; their classes must be numbered alike."""
    names = parts[0].names
    if any(part.names != names for part in parts):
        raise UserError(f"{where}: its parts number their classes differently, so they are no one table")
    columns = {name: [value for part in parts for value in part.columns[name]] for name in parts[0].columns}
    return Rows(columns, names, [cell for part in parts for cell in part.cells])


def read_parquet(files: Sequence[Path], image: str, columns: Sequence[str]) -> Rows:
    """The rows of parquet files, at least one, in their order.

    ``image`` is the column of pictures. ``columns`` are others that must be there; any further ones are left out.
    """
    import datasets

    cache, parts = str(cache_folder() / "datasets"), []
    for file in files:
        try:
            table = datasets.load_dataset("parquet", data_files={"rows": str(file)}, split="rows", cache_dir=cache)
        except Exception as error:  # pyarrow, datasets and the file system each raise their own
            raise UserError(f"{file}: not readable as parquet ({reason(error.__cause__ or error)})") from error
        parts.append(_rows(table, image, columns, str(file)))
    return joined(parts, str(files[0].parent))


def _rows(table, image: str, columns: Sequence[str], where: str) -> Rows:
    """The rows of a ``datasets.Dataset``, its pictures left encoded: structs of bytes and path, or bytes."""
    import datasets

    wanted, found = [image, *columns], table.column_names
    if not set(wanted) <= set(found):
        raise UserError(f"{where}: expected columns {', '.join(wanted)}; found {', '.join(found)}")
    try:
        pictures = table.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    except Exception as error:  # pyarrow's and datasets' own
        raise UserError(f"{where}: column {image!r} holds no pictures ({reason(error)})") from error
    cells = [lambda row=row: pictures[row][image] or {} for row in range(len(table))]
    kinds = {column: table.features[column] for column in columns}
    names = {column: tuple(kind.names) for column, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)}
    return Rows({column: list(table[column]) for column in columns}, names, cells)


def encoded(cell: Mapping) -> bytes:
    """The bytes of a picture as it is stored in a cell, {"bytes": ..., "path": ...}.

    Raises:
        ValueError: there are none; the item is left out.
    """
    if cell and cell["bytes"]:
        return cell["bytes"]
    if cell and cell["path"]:
        raise ValueError(f"the table names the file {cell['path']!r} in place of a picture; put the pictures into it")
    raise ValueError("there is no picture in this row")
