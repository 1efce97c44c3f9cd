"""Tables with columns of vectors, read a block at a time: .parquet, .arrow, what ``datasets`` keeps, and text.

.csv, .tsv, .json and .jsonl are parsed once, in blocks, into an Arrow file.
"""

import csv
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from .. import UserError
from ..numerics.arrays import Parts
from .meaning import KINDS, key_kind

BLOCK = 4096
"""Rows that are held at a time."""
Found = tuple[dict, dict]
"""Arrays by the names that the file gives them ("" where it gives none), and its own account of their source."""
UNKNOWN = np.array(None)
"""What stands for anything that is neither numbers nor strings: it is ignored, and named."""
LARGEST_STRINGS = 1 << 28
"""Bytes from which strings beside the vectors are left out, for they are held in memory."""
NUMBERED = re.compile(r"(.*?)[_\-. \[]*(\d+)\]?$")
"""Columns that hold one number each of a vector: "dim_0", "image 17", "3"."""
NUMBER = re.compile(r"(?i)\s*[+-]?(nan|inf|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)\s*")
PARSED = 1 << 24
"""Bytes of text that are parsed at a time, and that show what a column holds."""


def read_parquet(paths: Sequence[Path], where: str) -> dict:
    """Files below each other, in blocks of rows; strings and numbers beside the vectors in memory."""
    files = [pq.ParquetFile(path, memory_map=True, pre_buffer=False) for path in paths]
    plan, lengths, names = [], [], []
    for path, file in zip(paths, files, strict=True):
        if not file.schema_arrow.equals(files[0].schema_arrow):
            raise UserError(f"{path}: its columns are not those of {paths[0].name}; name both: image=FILE text=FILE")
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            plan += [(file, group, start) for start in range(0, rows, BLOCK)]
            lengths += [min(BLOCK, rows - start) for start in range(0, rows, BLOCK)]
        names += [path.name] * (len(plan) - len(names))

    def reader(columns: list[str]) -> Callable[[int], pa.Table]:
        batches, following = iter(()), -1

        def read(k: int) -> pa.Table:
            """Block k: the next one, or one after its row group was begun anew."""
            nonlocal batches, following
            file, group, start = plan[k]
            if k != following or start == 0:
                batches = islice(file.iter_batches(BLOCK, row_groups=[group], columns=columns), start // BLOCK, None)
            following = k + 1
            return pa.Table.from_batches([next(batches)])

        return read

    return columns_of(files[0].schema_arrow, reader, lengths, where, names if len(paths) > 1 else ())


def read_arrow(source: pa.NativeFile, where: str) -> dict:
    """Record batches of an Arrow file or stream, mapped where ``source`` is."""
    try:
        file = pa.ipc.open_file(source)
        get, count = file.get_batch, file.num_record_batches
    except pa.ArrowInvalid:
        source.seek(0)
        file = pa.ipc.open_stream(source)
        batches = list(file)
        get, count = batches.__getitem__, len(batches)
    lengths = {k: rows for k in range(count) if (rows := len(get(k)))}
    kept = [*lengths]
    reader = lambda columns: lambda k: pa.Table.from_batches([get(kept[k])]).select(columns)  # noqa: E731
    return columns_of(file.schema, reader, [*lengths.values()], where)


def read_dataset(dataset, where: str) -> dict:
    """A ``datasets.Dataset``, in the order of its rows, or the one split of a dictionary of them."""
    if not hasattr(dataset, "features"):
        if len(dataset) != 1:
            one = f"{where}{':' if where.startswith('hub:') else '/'}{next(iter(dataset))}"
            raise UserError(f"{where}: its splits are {', '.join(dataset)}; name one: {one}")
        (dataset,) = dataset.values()
    lengths = [min(BLOCK, len(dataset) - start) for start in range(0, len(dataset), BLOCK)]

    def reader(columns: list[str]) -> Callable[[int], pa.Table]:
        arrow = dataset.select_columns(columns).with_format("arrow")
        return lambda k: arrow[k * BLOCK : (k + 1) * BLOCK]

    return columns_of(dataset.features.arrow_schema, reader, lengths, where)


def columns_of(schema: pa.Schema, reader: Callable, lengths: Sequence[int], where: str, names=()) -> dict:
    """Arrays by column: vectors in ``Parts``, numbers and strings in memory, ``UNKNOWN`` for anything else.

    ``reader`` makes of names of columns a function that gives block k of them; ``lengths`` and ``names`` are of the
    blocks. What ``datasets`` names is strings, but labels are beside "classes".
    """
    if not lengths:
        raise UserError(f"{where}: the table has no rows")
    check_names(schema.names, where)
    starts = np.cumsum([0, *lengths])
    of_vectors = {field.name: [field.name] for field in schema if is_list(field.type)}
    of_numbers = grouped(field.name for field in schema if is_number(field.type))
    found: dict = {}
    for name, columns in (of_vectors | of_numbers).items():
        read, rows, width, dtype = reader(columns), side_by_side, len(columns), np.float64
        if name in of_vectors:  # not read before they are asked for: not every list is one of vectors
            rows, first = vectors, read(0).column(0)
            width, dtype = pc.max(pc.list_value_length(first)).as_py() or 0, first.type.value_type.to_pandas_dtype()

        def part(k: int, read=read, rows=rows, name=name) -> np.ndarray:
            return rows(read(k), f"{where}: {name}".removesuffix(": "), int(starts[k]))

        found[name] = Parts(part, lengths, width, dtype, names, where)
    used = {*of_vectors, *(column for columns in of_numbers.values() for column in columns)}
    classes = class_names(schema)
    for field in (each for each in schema if each.name not in used):
        words = classes.get(field.name)
        if words and KINDS.get(field.name.lower()) == "labels":
            found["classes"], words = np.array(words), None
        found[field.name] = in_memory(reader([field.name]), len(lengths), words) if is_scalar(field) else UNKNOWN
    return found


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """The names that ``datasets`` gives the numbers of columns."""
    if b"huggingface" not in (schema.metadata or {}):
        return {}
    import datasets

    features = datasets.Features.from_arrow_schema(schema)
    return {name: feature.names for name, feature in features.items() if hasattr(feature, "names")}


def check_names(names: Sequence[str], where: str) -> None:
    """Refuses two columns of one name."""
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{where}: several columns are called {min(twice)!r}; rename them")


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds vectors."""
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return lists and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type))


def is_scalar(field: pa.Field) -> bool:
    """Whether a column holds numbers or what is written as strings; bytes are only where the name says ids or paths."""
    kind = getattr(field.type, "storage_type", field.type)
    of_bytes = types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
    return not types.is_nested(kind) and not types.is_null(kind) and (not of_bytes or bool(key_kind(field.name)))


def is_number(kind: pa.DataType) -> bool:
    return types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)


def vectors(table: pa.Table, where: str, start: int) -> np.ndarray:
    """A column of lists as (n, d), from row ``start`` on; one that is missing or of another length is refused."""
    column = table.column(0)
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy()
    width = int(lengths.max())
    if (lengths != width).any() or width < 0:
        row = int(((lengths != width) | (lengths < 0)).argmax())
        found = "no vector" if lengths[row] < 0 else f"{lengths[row]} numbers where others have {width}"
        raise UserError(f"{where}: row {start + row} has {found}; remove or mend it")
    flat = pc.list_flatten(column)
    if flat.null_count:
        row = int(pc.is_null(flat).to_numpy().argmax()) // width
        raise UserError(f"{where}: row {start + row} lacks a number; remove or mend it")
    return flat.to_numpy().reshape(len(column), width)


def side_by_side(table: pa.Table, where: str, start: int) -> np.ndarray:
    """Columns of one number each as float64 (n, columns)."""
    for name in table.column_names:
        if table[name].null_count:
            row = start + int(pc.is_null(table[name]).to_numpy().argmax())
            raise UserError(f"{where}: row {row} lacks a number in column {name!r}; remove or mend it")
    return np.stack([table[name].to_numpy().astype(np.float64) for name in table.column_names], axis=1)


def in_memory(read: Callable[[int], pa.Table], blocks: int, words: Sequence[str] | None = None) -> np.ndarray:
    """A column of numbers or strings, or ``words`` by number; missing is NaN, or "". Too many are ``UNKNOWN``.

    Bytes that are no text are written by their numbers.
    """
    found, rows, longest = [], 0, 0
    for column in (read(k).column(0) for k in range(blocks)):
        if words:
            column = pa.array([*words, ""]).take(pc.if_else(pc.less(column, 0), len(words), column))
        if is_number(column.type):
            found.append(column.to_numpy())
            continue
        texts = ["" if each is None else each for each in column.to_pylist()]
        texts = [each.decode(errors="backslashreplace") if isinstance(each, bytes) else str(each) for each in texts]
        rows, longest = rows + len(texts), max([longest, *map(len, texts)])
        if 4 * rows * longest > LARGEST_STRINGS:
            return UNKNOWN
        found.append(np.array(texts, dtype=str))
    return np.concatenate(found)


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Columns that number the entries of a vector, by the name that they share, in the order of their numbers."""
    found: dict[str, dict[int, str]] = {}
    for name in names:
        if match := NUMBERED.fullmatch(name):
            found.setdefault(match[1], {})[int(match[2])] = name
    consecutive = {name: each for name, each in found.items() if 1 < len(each) > max(each) - min(each)}
    return {name: [each[k] for k in sorted(each)] for name, each in consecutive.items()}


def read_delimited(path: Path) -> Found:
    """Numbers in columns, or vectors written as lists in one.

    A first line with numbers is a row, unless they count up from 0 or 1, as pandas numbers columns, and so is one with
    a string that stands again below it, but for its digits. An unnamed column of whole numbers is ids, or refused.
    """
    from pyarrow import csv as arrow

    with path.open(encoding="utf-8-sig", newline="") as file:
        line, *below = file.readlines(1 << 20)  # bytes, to the end of a line
    if (delimiter := "\t" if path.suffix.lower() == ".tsv" else ",") not in line:
        others = [each for each in "\t; " if each in line.strip() and (each != " " or is_row(line.split()))]
        delimiter = others[0] if others else ","
    line = line.strip("\r\n ") if delimiter == " " else line.rstrip("\r\n")
    head = next(csv.reader([line], delimiter=delimiter), [])
    counted = [cell for cell in head if cell.isdecimal()]
    numbered = len(counted) > 1 and [*map(int, counted)] == [*range(int(counted[0]), int(counted[0]) + len(counted))]
    without = [re.sub(r"\d+", "0", cell) for cell in head]  # a cell that stands again below, but for its digits
    cells = (re.sub(r"\d+", "0", each).rstrip("\r\n").split(delimiter) for each in below)
    again = (any(a and a == b.strip('"') for a, b in zip(without, each, strict=False)) for each in cells)
    header = not (is_row(head) or any(again)) or (numbered and int(counted[0]) < 2)
    names = [cell or "unnamed" for cell in head] if header else [f"column {k}" for k in range(len(head))]
    check_names(names, str(path))
    numbers = {name: pa.float64() for name, cell in zip(names, head, strict=True) if NUMBER.fullmatch(cell)}
    reading = arrow.ReadOptions(column_names=names, skip_rows=int(header), block_size=PARSED)
    parsing = arrow.ParseOptions(delimiter=delimiter, newlines_in_values=header)
    converting = arrow.ConvertOptions(column_types=numbers, timestamp_parsers=["(none)"])
    said = [f"{path}: its first line names columns, from {counted[0]} to {counted[-1]}"] if header and numbered else []
    with arrow.open_csv(path, reading, parsing, converting) as batches:
        first = next(batches, pa.record_batch({}))
        if (numbered or not header) and len(first) > 2 and (whole := _whole_numbers(first)):
            if whole != [0] or len({*first.column(0).to_pylist()}) < len(first):
                what = f"column {whole[0] + 1} holds whole numbers among fractions, ids or labels"
                raise UserError(f"{path}: {what}; name the columns in a first line, or remove it")
            said.append(f"{path}: its first column holds whole numbers among fractions, all different: taken as ids")
            names = ["id", *names[1:]]
        found = spooled((each.rename_columns(names) for each in chain([first], batches) if len(each)), str(path))
    return found, {"notes": said} if said else {}


def _whole_numbers(batch: pa.RecordBatch) -> list[int]:
    """Columns of whole numbers that differ, where others hold fractions."""
    numbers = [k for k, each in enumerate(batch.columns) if types.is_floating(each.type)]
    columns = {k: each for k in numbers if ((each := batch.column(k).to_numpy(zero_copy_only=False)) != each[0]).any()}
    whole = [k for k, each in columns.items() if (each == each.round()).all()]
    return whole if len(whole) < len(columns) else []


def is_row(cells: Sequence[str]) -> bool:
    """Whether one of the cells is a number, or a list of them."""
    return any(cell[:1] == "[" or NUMBER.fullmatch(cell) for cell in cells)


def read_json(path: Path) -> dict:
    """Lists of vectors or of rows, objects of columns, and one row a line."""
    from pyarrow import json as arrow

    lines = path.suffix.lower() in (".jsonl", ".ndjson")
    try:
        told = None if lines else json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
        lines = True  # whatever the suffix says
    if lines:
        with path.open(encoding="utf-8-sig") as file:
            row = json.loads(next((line for line in file if line.strip()), "{}"))
        texts = pa.schema([(name, pa.string()) for name, value in row.items() if isinstance(value, str)])  # never times
        options = arrow.ReadOptions(block_size=PARSED), arrow.ParseOptions(explicit_schema=texts)
        with arrow.open_json(path, *options) as batches:
            return spooled(batches, str(path))
    if isinstance(told, dict) and told and all(isinstance(each, dict) for each in told.values()):  # rows by their keys
        ids = [*next(iter(told.values()))]
        if all(each.keys() == {*ids} for each in told.values()):
            told = {name: [each[key] for key in ids] for name, each in told.items()}
            told = told if ids == [*map(str, range(len(ids)))] else {"ids": ids, **told}
        else:
            keys = {f"{name}_ids": [*each] for name, each in told.items()}
            told = {name: [*each.values()] for name, each in told.items()} | keys
    if isinstance(told, list) and told and all(isinstance(row, dict) for row in told):
        told = {name: [row.get(name) for row in told] for name in dict.fromkeys(name for row in told for name in row)}
    columns = told if isinstance(told, dict) else {"": told}
    return {name: _column(values, f"{path}: {name}".removesuffix(": ")) for name, values in columns.items()}


def _column(values, where: str):
    """A value of a JSON object as an array; where it is a list of rows, these are checked one by one."""
    try:
        table = pa.table({"": values}) if isinstance(values, list) else None
    except pa.ArrowInvalid:  # a list of unlike things
        return UNKNOWN
    return vectors(table, where, 0) if table and is_list(table.schema.types[0]) else as_array(values)


def spooled(batches: Iterable[pa.RecordBatch], where: str) -> dict:
    """Columns of batches that can be read once, from an Arrow file without a name."""
    writer, written, rows = None, [], 0
    with tempfile.TemporaryFile() as file:
        for batch in batches:
            if not rows:  # strings that are lists of numbers, as pandas and numpy write them into .csv
                strings = [name for name in batch.schema.names if types.is_string(batch[name].type)]
                written = [name for name in strings if re.match(r"\s*\[[\s\d.+-]", batch[name][0].as_py() or "")]
            lists = {name: parsed(batch[name], f"{where}: {name}", rows) for name in written}
            batch = pa.record_batch({name: lists.get(name, batch[name]) for name in batch.schema.names})
            writer = writer or pa.ipc.new_file(file, batch.schema)
            writer.write(batch)
            rows += len(batch)
        if writer is None:
            raise UserError(f"{where}: the table has no rows")
        writer.close()
        file.flush()
        mapped = np.memmap(file, mode="r")
    return read_arrow(pa.BufferReader(mapped), where)


def parsed(column: pa.Array, where: str, start: int) -> pa.Array:
    """Strings that are lists of numbers, with commas or without, as lists."""
    found = []
    for row, text in enumerate(column.to_pylist(), start):
        try:
            found.append([float(word) for word in (text or "").strip().strip("[]").replace(",", " ").split()])
        except ValueError:
            raise UserError(f"{where}: row {row} is no list of numbers; numpy shortens long ones to '...'") from None
    return pa.array(found, pa.list_(pa.float64()))


def as_array(value) -> np.ndarray:
    """A tensor, number, string or list of one kind as an array; ``UNKNOWN`` for anything else."""
    if hasattr(value, "detach"):
        value = value.detach()
        return (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        return UNKNOWN
    return array if array.dtype.kind in "biufU" else UNKNOWN
