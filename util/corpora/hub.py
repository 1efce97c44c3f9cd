"""Data sets of the Hugging Face hub: whether it answers, files of a revision, rows of tables, pictures undecoded."""

import errno
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image

from ..errors import NoConnection, UserError
from ..files import cache_folder, reachable
from . import tables

COMMIT = re.compile(r"[0-9a-f]{40}")
"""A full commit, which names one version for ever; anything else may move."""

OF_FOLDERS = "imagefolder"
"""The builder of ``datasets`` that finds pictures as files itself; its tables name them by whole paths."""

LONGEST_REASON = 160
"""Characters of a foreign error that are repeated in ours."""


@contextmanager
def hub_or_cache() -> Iterator[None]:
    """Asks the Hugging Face hub only if it answers, else its cache on disk alone.

    Without this block every file is asked for again and again, half a minute and a screen of warnings for each.
    """
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    online = not any(before) and reachable(constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = not online
    try:
        yield
    except Exception as error:
        if online:
            raise
        raise ConnectionError(f"no connection to {constants.ENDPOINT}, and not whole in its cache") from error
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


@dataclass(frozen=True)
class Rows:
    """n rows of a table: the columns asked for, and pictures that are encoded still.

    Attributes:
        columns: name -> n values.
        names: name -> the classes that the data set itself gives a column of numbers; only of such columns.
        cells: n functions without arguments, each of which gives {"bytes": ..., "path": ...} of a picture.
        total: how many rows the split has, where that is known.
    """

    columns: Mapping[str, Sequence]
    names: Mapping[str, tuple[str, ...]]
    cells: Sequence[Callable[[], Mapping]]
    total: int | None = None

    def __len__(self) -> int:
        return len(self.cells)

    def take(self, rows: Sequence[int]) -> "Rows":
        """The rows of these numbers, in that order."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return Rows(columns, self.names, [self.cells[row] for row in rows], self.total)


def snapshot(
    title: str, dataset: str, revision: str | None, patterns: str | Sequence[str], otherwise: str
) -> tuple[Path, str]:
    """The folder of some files of a data set in the Hugging Face cache, and the commit it was resolved to.

    Only these files are fetched; they are found there again without a network.

    Args:
        title: a name of the data, for the error.
        dataset: its id on the hub.
        revision: commit or branch; None: the newest.
        patterns: which files, for instance "data/test-*.parquet".
        otherwise: what to do instead, for the error.

    Raises:
        NoConnection: the hub does not answer, and the files are not in the cache.
    """
    from huggingface_hub import snapshot_download

    try:
        with hub_or_cache():
            folder = snapshot_download(dataset, repo_type="dataset", revision=revision, allow_patterns=patterns)
    except Exception as error:  # the hub's client raises errors of many kinds, its http library's included
        raise not_fetched(title, dataset, patterns, error, otherwise) from error
    return Path(folder), Path(folder).name


def not_fetched(title: str, dataset: str, patterns: str | Sequence[str], error: Exception, otherwise: str) -> UserError:
    """The error of data that could not be had from the hub, in one line; ``NoConnection`` where it is the network."""
    wanted = patterns if isinstance(patterns, str) else ", ".join(patterns)
    kind = NoConnection if isinstance(error, ConnectionError) else UserError
    about = f" ({wanted})" if wanted else ""
    return kind(
        f"{title}: https://huggingface.co/datasets/{dataset}{about} could not be fetched ({reason(error)}); {otherwise}"
    )


def reason(error: Exception) -> str:
    """The message of a foreign error, in one line of bounded length."""
    return (" ".join(str(error).split()) or type(error).__name__)[:LONGEST_REASON]


def read_parquet(files: Sequence[Path], image: str, columns: Sequence[str]):
    """Parquet files as one ``datasets.Dataset``, pictures undecoded.

    Args:
        files: at least one, in their order.
        image: the column of pictures: structs of bytes and path, bytes, or paths.
        columns: others that must be there; those of the table that are not named are left out.
    """
    import datasets

    names = [str(file) for file in files]
    try:
        table = datasets.load_dataset(
            "parquet", data_files={"rows": names}, split="rows", cache_dir=str(cache_folder() / "datasets")
        )
    except Exception as error:  # pyarrow, datasets and the file system each raise their own
        raise UserError(_unreadable(files, error)) from error
    return undecoded(table, image, columns, str(Path(names[0]).parent))


def _unreadable(files: Sequence[Path], error: Exception) -> str:
    """Which of several files is damaged, and how: they are read one by one, a part at a time."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    for file in files:
        try:
            with ParquetFile(file) as opened:
                for group in range(opened.num_row_groups):
                    opened.read_row_group(group)
        except (ArrowException, OSError, ValueError) as damage:
            return f"{file}: not readable as parquet ({reason(damage)})"
    others = f" and {len(files) - 1} more of its folder" if len(files) > 1 else ""
    return f"{files[0]}{others}: not readable as one table, though each file is whole ({reason(error)})"


def undecoded(table, image: str, columns: Sequence[str], where: str):
    """A data set of ``datasets``, streamed or not, with these columns only and its pictures left encoded."""
    import datasets

    wanted, found = list(dict.fromkeys([image, *columns])), table.column_names or list(table.features or ())
    if [column for column in wanted if column not in found]:
        raise UserError(f"{where}: expected columns {', '.join(wanted)}; found {', '.join(found)}")
    try:
        return table.select_columns(wanted).cast_column(image, datasets.Image(decode=False))
    except Exception as error:  # pyarrow's and datasets' own
        raise UserError(f"{where}: column {image!r} holds no pictures ({reason(error)})") from error


def rows_of(table, image: str, columns: Sequence[str], n: int | None = None) -> Rows:
    """The rows of an ``undecoded`` data set; of a streamed one the first n, whose encoded pictures stay in memory."""
    import datasets

    given = _of_file if table.info.builder_name == OF_FOLDERS else dict

    names = {
        column: tuple(feature.names)
        for column, feature in (table.features or {}).items()
        if isinstance(feature, datasets.ClassLabel)
    }
    if isinstance(table, datasets.IterableDataset):
        read = list(islice(table, n))
        values = {column: [row[column] for row in read] for column in columns}
        return Rows(values, names, [lambda cell=row[image]: given(cell or {}) for row in read])
    pictures = table.select_columns([image])
    cells = [lambda row=row: given(pictures[row][image] or {}) for row in range(len(table))]
    return Rows({column: list(table[column]) for column in columns}, names, cells, len(table))


def encoded(cell: Mapping, folder: Path | None = None) -> bytes:
    """The bytes of a picture as it is stored, in the table or in a file that the table names.

    Args:
        cell: {"bytes": ..., "path": ...}; the path is asked for only where there are no bytes.
        folder: the one that holds the table, within which a path must stay; None: a path is refused.

    Raises:
        OSError: no such file.
        ValueError: neither bytes nor a path.
        UserError: a path that leads out of the folder, or one where there is no folder.
    """
    if not cell or not (cell["bytes"] or cell["path"]):
        raise ValueError("there is no picture in this row")
    return cell["bytes"] or _beside(cell["path"], folder).read_bytes()


def _beside(name: str, folder: Path | None) -> Path:
    if folder is None:
        raise UserError(
            f"a table names the file {name!r} in place of a picture, and no folder holds both; put the pictures into "
            "the table, or both into a folder"
        )
    path = Path(folder) / tables.inside(name, "a picture that a table names")
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", name)
    return path


def _of_file(cell: Mapping) -> Mapping:
    """A cell with the bytes of the file that ``datasets`` itself has found."""
    found = cell.get("path") and not cell.get("bytes")
    return {**cell, "bytes": Path(cell["path"]).read_bytes()} if found else cell


def decode(cell: Mapping, folder: Path | None = None) -> Image.Image:
    """The picture of a cell, not yet read further than its header; errors as ``encoded`` and PIL's.

    It is not turned by its EXIF data: a data set as published is shown to an encoder as it is stored.
    """
    return Image.open(io.BytesIO(encoded(cell, folder)))
