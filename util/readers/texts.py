"""Tables in text: .csv, .tsv, .json and .jsonl, parsed once, in blocks, into an Arrow file that is read in blocks."""

import csv
import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import types

from ..errors import UserError
from .arrays import UNKNOWN, Found, as_array
from .tables import check_names, is_list, read_arrow, vectors

NUMBER = re.compile(r"(?i)\s*[+-]?(nan|inf|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)\s*")
PARSED = 1 << 24
"""Bytes that are parsed at a time, and that show what a column holds."""


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
