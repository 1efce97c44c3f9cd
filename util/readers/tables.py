"""Tables with columns of vectors: .parquet, .arrow, and what ``datasets`` keeps, read a block at a time."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from ..errors import UserError
from ..numerics.parts import Parts
from .arrays import UNKNOWN, Found
from .names import KINDS

BLOCK = 8192
"""Rows that are held at a time."""
LARGEST_STRINGS = 1 << 28
"""Bytes from which strings beside the vectors are left out, for they are held in memory."""
NUMBERED = re.compile(r"(.*?)[_\-. \[]*(\d+)\]?$")
"""Columns that hold one number each of a vector: "dim_0", "image 17", "3"."""
Reader = Callable[[list[str]], Callable[[int], pa.Table]]
"""Given names of columns, a function that gives block k of them."""


def read_parquet(paths: Sequence[Path], where: str) -> Found:
    """Files below each other, in blocks of rows; strings and numbers beside the vectors in memory."""
    import pyarrow.parquet as pq

    files = [pq.ParquetFile(path, memory_map=True, pre_buffer=False) for path in paths]
    plan, lengths, names = [], [], []
    for path, file in zip(paths, files, strict=True):
        if not file.schema_arrow.equals(files[0].schema_arrow):
            raise UserError(f"{path}: its columns are not those of {paths[0].name}; name one of the two")
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            plan += [(file, group, start) for start in range(0, rows, BLOCK)]
            lengths += [min(BLOCK, rows - start) for start in range(0, rows, BLOCK)]
            names += [path.name] * (len(lengths) - len(names))

    def reader(columns: list[str]) -> Callable[[int], pa.Table]:
        blocks, following = iter(()), -1

        def read(k: int) -> pa.Table:
            """Block k: the next one, or one after its row group was begun anew."""
            nonlocal blocks, following
            file, group, start = plan[k]
            if k != following or start == 0:
                blocks = in_blocks(file.iter_batches(1024, row_groups=[group], columns=columns))
                for _ in range(0, start, BLOCK):
                    next(blocks)
            following = k + 1
            return next(blocks)

        return read

    return columns_of(files[0].schema_arrow, reader, lengths, where, names if len(paths) > 1 else ()), {}


def in_blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches of any length as tables of ``BLOCK`` rows, the last one shorter."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        while sum(map(len, held)) >= BLOCK:
            table = pa.Table.from_batches(held)
            held = table.slice(BLOCK).to_batches()
            yield table.slice(0, BLOCK)
    if held:
        yield pa.Table.from_batches(held)


def read_arrow(path: Path) -> Found:
    """Record batches of an Arrow file or stream, mapped."""
    source = pa.memory_map(str(path))
    try:
        file = pa.ipc.open_file(source)
        get, count = file.get_batch, file.num_record_batches
    except pa.ArrowInvalid:
        source.seek(0)
        file = pa.ipc.open_stream(source)
        batches = list(file)
        get, count = batches.__getitem__, len(batches)
    lengths = [len(get(k)) for k in range(count)]
    reader = lambda columns: lambda k: pa.Table.from_batches([get(k)]).select(columns)  # noqa: E731
    return columns_of(file.schema, reader, lengths, str(path)), {}


def read_dataset(dataset, where: str) -> Found:
    """A ``datasets.Dataset``, in the order of its rows, or the one split of a dictionary of them."""
    if not hasattr(dataset, "features"):
        if len(dataset) != 1:
            ways = ":" if where.startswith("hub:") else "/"
            raise UserError(
                f"{where}: its splits are {', '.join(dataset)}; name one: {where}{ways}{next(iter(dataset))}"
            )
        (dataset,) = dataset.values()
    lengths = [min(BLOCK, len(dataset) - start) for start in range(0, len(dataset), BLOCK)]

    def reader(columns: list[str]) -> Callable[[int], pa.Table]:
        arrow = dataset.select_columns(columns).with_format("arrow")
        return lambda k: arrow[k * BLOCK : (k + 1) * BLOCK]

    found = columns_of(dataset.features.arrow_schema, reader, lengths, where)
    for name, feature in dataset.features.items():
        if KINDS.get(name.lower()) == "labels" and hasattr(feature, "names"):
            found["classes"] = np.array(feature.names)
    return found, {}


def columns_of(
    schema: pa.Schema, reader: Reader, lengths: Sequence[int], where: str, names: Sequence[str] = (), start: int = 0
) -> dict:
    """Arrays by column: vectors in ``Parts``, numbers and strings in memory, ``UNKNOWN`` for anything else.

    ``names`` are those of the blocks, ``start`` is the number of the first row.
    """
    if not sum(lengths):
        raise UserError(f"{where}: the table has no rows")
    check_names(schema.names, where)
    starts = start + np.cumsum([0, *lengths])
    lists = [field.name for field in schema if is_list(field.type)]
    scalar = [field.name for field in schema if is_scalar(field.type)]
    number = [name for name in scalar if not is_text(schema.field(name).type)]
    found: dict = dict.fromkeys(schema.names, UNKNOWN)
    for name, columns in ({name: [name] for name in lists} | grouped(number)).items():
        read, rows = reader(columns), vectors if name in lists else side_by_side

        def part(k, read=read, rows=rows, name=name):
            return rows(read(k), f"{where}: {name}".removesuffix(": "), int(starts[k]))

        first = read(0)
        width = pc.list_value_length(first[name])[0].as_py() if name in lists else len(columns)
        kind = first.schema.field(columns[0]).type
        dtype = (kind.value_type if name in lists else pa.float64()).to_pandas_dtype()
        found = {key: each for key, each in found.items() if key not in columns}
        found[name] = Parts(part, lengths, width or 0, dtype, names, where)
    for name in [name for name in scalar if name in found]:
        found[name] = in_memory(reader([name]), name, len(lengths))
    return found


def check_names(names: Sequence[str], where: str) -> None:
    """Refuses two columns of one name."""
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{where}: several columns are called {min(twice)!r}; rename them")


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds vectors."""
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return lists and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type))


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds strings, or categories that are strings."""
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return types.is_string(kind) or types.is_large_string(kind)


def is_scalar(kind: pa.DataType) -> bool:
    """Whether a column holds one number or string in a row."""
    return is_text(kind) or types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)


def vectors(table: pa.Table, where: str, start: int) -> np.ndarray:
    """A column of lists as (n, d); lists of other lengths and missing ones are refused by their row."""
    column = table.column(0)
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy()
    width = lengths.max()
    if (lengths != width).any() or width < 0:
        row = int(np.flatnonzero((lengths != width) | (lengths < 0))[0])
        found = "no vector" if lengths[row] < 0 else f"{lengths[row]} numbers where others have {width}"
        raise UserError(f"{where}: row {start + row} has {found}; remove or mend it")
    flat = pc.list_flatten(column)
    if flat.null_count:
        row = int(np.flatnonzero(pc.is_null(flat).to_numpy())[0] // width)
        raise UserError(f"{where}: row {start + row} lacks a number; remove or mend it")
    return flat.to_numpy().reshape(len(column), int(width))


def side_by_side(table: pa.Table, where: str, start: int) -> np.ndarray:
    """Columns of one number each as float64 (n, columns)."""
    for name in table.column_names:
        if table[name].null_count:
            row = start + int(np.flatnonzero(pc.is_null(table[name]).to_numpy())[0])
            raise UserError(f"{where}: row {row} lacks a number in column {name!r}; remove or mend it")
    return np.stack([table[name].to_numpy().astype(np.float64) for name in table.column_names], axis=1)


def in_memory(read: Callable[[int], pa.Table], name: str, blocks: int) -> np.ndarray:
    """A column of numbers or strings; what is missing is NaN, or empty. Too many strings are ``UNKNOWN``."""
    found, rows, longest = [], 0, 0
    for column in (read(k)[name] for k in range(blocks)):
        if is_text(column.type):
            column = pc.fill_null(column.cast(pa.large_string()), "")
            rows, longest = rows + len(column), max(longest, pc.max(pc.utf8_length(column)).as_py() or 0)
            if 4 * rows * longest > LARGEST_STRINGS:
                return UNKNOWN
            found.append(np.array(column.to_pylist(), dtype=str))
        else:
            found.append(column.to_numpy())
    return np.concatenate(found)


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Columns that number the entries of a vector, by the name that they share, in the order of their numbers."""
    found: dict[str, dict[int, str]] = {}
    for name in names:
        if match := NUMBERED.fullmatch(name):
            found.setdefault(match[1], {})[int(match[2])] = name
    whole = {name: [each[k] for k in sorted(each)] for name, each in found.items() if len(each) > 1}
    return {name: columns for name, columns in whole.items() if max(found[name]) - min(found[name]) < len(columns)}
