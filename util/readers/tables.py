"""Tables with columns of vectors: .parquet, .arrow, .csv, .tsv, .json, .jsonl, and what ``datasets`` keeps.

Parquet and Arrow are read a part at a time. Text is parsed once, in blocks, into numbers on disk that are mapped.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import UserError
from ..numerics.arrays import Parts
from .arrays import Found

NUMBERED = re.compile(r"(.*?)[_\-. \[]*(\d+)\]?$")
"""Columns that hold one number each of a vector: "dim_0", "image 17", "3"."""
LARGEST_TEXT = 4_000_000
"""Rows from which strings that stand beside the vectors are left out, for they are held in memory."""


def read_parquet(path: Path) -> Found:
    """Vector columns in row groups, strings and numbers beside them in memory."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    lengths = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
    groups = [k for k, length in enumerate(lengths) if length]
    read = lambda k, columns: file.read_row_group(groups[k], columns=columns)  # noqa: E731
    return columns_of(file.schema_arrow, read, [lengths[k] for k in groups], str(path)), {}


def read_arrow(paths: Sequence[Path], where: str) -> Found:
    """Record batches of Arrow files or streams, mapped."""
    tables = []
    for path in paths:
        source = pa.memory_map(str(path))
        try:
            tables.append(pa.ipc.open_file(source).read_all())
        except pa.ArrowInvalid:
            source.seek(0)
            tables.append(pa.ipc.open_stream(source).read_all())
    batches = [batch for table in tables for batch in table.to_batches() if len(batch)]
    read = lambda k, columns: pa.table(batches[k]).select(columns)  # noqa: E731
    return columns_of(tables[0].schema, read, [len(batch) for batch in batches], where), {}


def read_dataset(dataset, where: str) -> Found:
    """A ``datasets.Dataset``, in the order of its rows."""
    if not hasattr(dataset, "features"):
        raise UserError(f"{where}: holds the splits {', '.join(dataset)}; name one, as {where}/{next(iter(dataset))}")
    if dataset.num_rows == 0:
        raise UserError(f"{where}: the data set is empty")
    arrow, size = dataset.with_format("arrow"), 4096
    lengths = [min(size, len(arrow) - start) for start in range(0, len(arrow), size)]
    read = lambda k, columns: arrow[k * size : (k + 1) * size].select(columns)  # noqa: E731
    return columns_of(dataset.features.arrow_schema, read, lengths, where), {}


def columns_of(schema: pa.Schema, read: Callable[[int, list], pa.Table], lengths: Sequence[int], where: str) -> dict:
    """Arrays by column, ``read(part, columns)`` giving a part: vectors in ``Parts``, others in memory.

    A column that holds neither numbers nor strings is left out.
    """
    if not lengths:
        raise UserError(f"{where}: the table has no rows")
    starts = np.cumsum([0, *lengths])
    found: dict = {}
    for name, kind in zip(schema.names, schema.types, strict=True):
        if is_list(kind):
            block = vectors(read(0, [name])[name], f"{where}: {name}", 0)
            get = lambda k, name=name: vectors(read(k, [name])[name], f"{where}: {name}", int(starts[k]))  # noqa: E731
            found[name] = Parts(get, lengths, block.shape[1], block.dtype)
    scalar = [name for name in schema.names if name not in found and is_scalar(schema.field(name).type)]
    numbered = grouped(scalar)
    for name, columns in numbered.items():
        get = lambda k, columns=columns: side_by_side(read(k, columns), where)  # noqa: E731
        found[name] = Parts(get, lengths, len(columns), get(0).dtype)
    loose = set(scalar).difference(*numbered.values())
    for name in [name for name in scalar if name in loose and starts[-1] <= LARGEST_TEXT]:
        found[name] = np.concatenate([scalars(read(k, [name])[name]) for k in range(len(lengths))])
    return found


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds vectors."""
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def is_scalar(kind: pa.DataType) -> bool:
    """Whether a column holds one number or string in a row."""
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return text or pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def vectors(column: pa.ChunkedArray, where: str, start: int) -> np.ndarray:
    """A column of lists as (n, d); lists of other lengths and missing ones are refused by their row."""
    lengths = pc.list_value_length(column).to_numpy()
    width = lengths[0]
    if column.null_count or not (lengths == width).all():
        row = int(np.flatnonzero(~(lengths == width))[0]) if not np.isnan(width) else 0
        found = "no vector" if np.isnan(lengths[row]) else f"{int(lengths[row])} numbers where others have {int(width)}"
        raise UserError(f"{where}: row {start + row} has {found}; remove or mend it")
    flat = pc.list_flatten(column)
    if flat.null_count:
        row = int(np.flatnonzero(pc.is_null(flat).to_numpy())[0] // width)
        raise UserError(f"{where}: row {start + row} lacks a number; remove or mend it")
    return flat.to_numpy().reshape(len(column), int(width))


def scalars(column: pa.ChunkedArray) -> np.ndarray:
    """A column of numbers or strings; what is missing is NaN, or empty."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(pc.fill_null(column, "").to_pylist(), dtype=str)
    return column.to_numpy()


def side_by_side(table: pa.Table, where: str) -> np.ndarray:
    """Columns of one number each as (n, columns)."""
    for name in table.column_names:
        if table[name].null_count:
            raise UserError(f"{where}: column {name!r} lacks a number in {table[name].null_count} rows; mend them")
    return np.stack([table[name].to_numpy() for name in table.column_names], axis=1)


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Columns that number the entries of a vector, by the name that they share, in the order of their numbers."""
    found: dict[str, dict[int, str]] = {}
    for name in names:
        if match := NUMBERED.fullmatch(name):
            found.setdefault(match[1], {})[int(match[2])] = name
    whole = {name: [each[k] for k in sorted(each)] for name, each in found.items() if len(each) > 1}
    runs = {name: sorted(found[name]) for name in whole}
    return {name: columns for name, columns in whole.items() if runs[name][-1] - runs[name][0] == len(columns) - 1}


def read_delimited(path: Path, delimiter: str) -> Found:
    """Numbers in columns, or vectors written as lists in one; a first row of numbers is a row, and no header."""
    from pyarrow import csv

    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline().rstrip("\r\n").split(delimiter)
    headless = all(map(is_number, head))
    names = [f"dim_{k}" for k in range(len(head))] if headless else None
    options = {
        "read_options": csv.ReadOptions(column_names=names),
        "parse_options": csv.ParseOptions(delimiter=delimiter, newlines_in_values=not headless),
    }
    with csv.open_csv(path, **options) as reader:
        return spooled(reader.schema, iter(reader), str(path)), {}


def is_number(word: str) -> bool:
    """Whether a cell reads as a number."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def read_json(path: Path) -> Found:
    """A list of vectors, a list of rows, or an object of columns; one row a line in .jsonl."""
    from pyarrow import json as lines

    if path.suffix.lower() in (".jsonl", ".ndjson"):
        with lines.open_json(path) as reader:
            return spooled(reader.schema, iter(reader), str(path)), {}
    told = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(told, list) and told and isinstance(told[0], list):
        told = {"": told}
    if isinstance(told, list):
        return spooled(*batches_of(pa.Table.from_pylist(told)), str(path)), {}
    if not isinstance(told, dict):
        raise UserError(f"{path}: expected a list of vectors, a list of rows or an object of columns")
    found = {}
    for name, values in told.items():
        column = pa.table({name: values}) if isinstance(values, list) else None
        if column is not None:
            found |= spooled(*batches_of(column), str(path))
    return found, {}


def batches_of(table: pa.Table) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    return table.schema, iter(table.to_batches())


def spooled(schema: pa.Schema, batches: Iterator[pa.RecordBatch], where: str) -> dict:
    """Batches that are read once: vectors as float64 in a file without a name, mapped; all else in memory."""
    files: dict[str, tuple] = {}
    rest: dict[str, list] = {}
    rows = 0
    for batch in batches:
        if not len(batch):
            continue
        part = columns_of(*parsed_lists(batch), [len(batch)], f"{where} (from row {rows})" if rows else where)
        for name, array in part.items():
            if isinstance(array, Parts):
                file, width = files.setdefault(name, (tempfile.TemporaryFile(), array.shape[1]))  # noqa: SIM115
                if array.shape[1] != width:
                    raise UserError(f"{where}: {name} has {array.shape[1]} numbers from row {rows} on, {width} before")
                file.write(np.ascontiguousarray(array[:], np.float64).tobytes())
            else:
                rest.setdefault(name, []).append(array)
        rows += len(batch)
    if not rows:
        raise UserError(f"{where}: the table has no rows")
    found = {name: np.concatenate(parts) for name, parts in rest.items()}
    for name, (file, width) in files.items():
        file.flush()
        found[name] = np.memmap(file, np.float64, "c", 0, (rows, width))
    return found


def parsed_lists(batch: pa.RecordBatch) -> tuple[pa.Schema, Callable]:
    """A batch whose strings that are lists of numbers, as pandas writes them into .csv, are lists."""
    table = pa.table(batch)
    for place, name in enumerate(table.column_names):
        column = table[name]
        if pa.types.is_string(column.type) and str(column[0]).startswith("["):
            texts = [re.sub(r"(?<=[\d.])\s+(?=[-\d.])", ", ", str(text)) for text in column.to_pylist()]
            try:
                lists = pa.array([json.loads(text) for text in texts], pa.list_(pa.float64()))
            except (ValueError, pa.ArrowInvalid):
                raise UserError(
                    f"{name}: lists are not whole (numpy shortens long ones to '...'); save numbers"
                ) from None
            table = table.set_column(place, name, lists)
    return table.schema, lambda k, columns: table.select(columns)
