"""Tables and text files that people write themselves: read whole, or refused in one line that names file and row.

A table is UTF-8, tabs between its fields where its name ends in .tsv, .tab or .txt, else commas, with a header that
names the columns in any order; others are allowed and not read. A field that holds the separator, a quotation mark or
a line end stands in quotation marks, as spreadsheets and pandas write it.
"""

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import UserError

TABBED = (".tsv", ".tab", ".txt")
CAPTION_TABLES = ("captions.csv", "captions.tsv")
CAPTION_COLUMNS = ("file", "text")


def text_of(path: str | Path) -> tuple[str, str]:
    """A text file's content, and the sha256 of the file."""
    try:
        content = Path(path).read_bytes()
        return content.decode("utf-8-sig"), hashlib.sha256(content).hexdigest()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a text file") from error


def read(
    path: str | Path, columns: Sequence[str], also: Sequence[str] | None = ()
) -> tuple[list[tuple[int, dict[str, str]]], str]:
    """The rows of a table, at least one, each with the line on which it ends, and the sha256 of the file.

    A row holds the ``columns``, which must be there, and those of ``also`` that are (None: all), without white space
    around their fields. Blank lines are left out.
    """
    content, digest = text_of(path)
    separator = "\t" if Path(path).suffix.lower() in TABBED else ","
    lines = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
    rows = []
    try:
        header = [name.strip().lower() for name in next(filter(None, lines), [])]
        named = [*columns, *(header if also is None else also)]
        places = {name: header.index(name.lower()) for name in named if header.count(name.lower()) == 1}
        if not places.keys() >= {*columns, *(name for name in also or () if name in header)}:
            found = ", ".join(header) or "nothing"
            raise UserError(
                f"{path}: expected a header with the columns {', '.join(columns)}, each once; found {found}"
            )
        for fields in filter(lambda fields: any(map(str.strip, fields)), lines):
            if len(fields) != len(header):
                what = f"expected {len(header)} fields as in the header, found {len(fields)}"
                how = "put a text that holds the separator in quotation marks"
                raise UserError(f"{path}, line {lines.line_num}: {what}; {how}")
            rows.append((lines.line_num, {name: fields[place].strip() for name, place in places.items()}))
    except csv.Error as error:
        raise UserError(f"{path}, line {lines.line_num}: not a row of a table ({error}); check its quotes") from error
    if not rows:
        raise UserError(f"{path}: no rows under the header; write one for each item")
    return rows, digest


def only(folder: Path, names: Sequence[str], columns: Sequence[str]) -> Path:
    """The table of a folder that bears one of the names; none and several are refused."""
    there = [folder / name for name in names if (folder / name).is_file()]
    if len(there) != 1:
        found = "found both" if there else "found neither"
        raise UserError(f"{folder}: expected {' or '.join(names)} (columns {', '.join(columns)}) there; {found}")
    return there[0]


def captions_of_files(folder: str | Path) -> tuple[list[tuple[str, list[str]]], str, str]:
    """Captions of a folder's files, from its captions.csv or captions.tsv (columns file, text): rows, name and sha256.

    A row is a path inside the folder ("/" between parts) and its captions, both in the order of the table.
    """
    path = only(Path(folder), CAPTION_TABLES, CAPTION_COLUMNS)
    rows, digest = read(path, CAPTION_COLUMNS)
    captions: dict[str, list[str]] = {}
    for line, row in rows:
        captions.setdefault(inside(row["file"], f"{path}, line {line}"), []).append(row["text"])
    return list(captions.items()), path.name, digest


def inside(name: str, where: str) -> str:
    """A file's path inside the folder, one spelling for each; a link there is followed wherever it leads."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if not posix.parts:
        raise UserError(f"{where}: names no file")
    if posix.is_absolute() or windows.anchor or ".." in (*posix.parts, *windows.parts):
        raise UserError(f"{where}: {name!r} leads out of the folder; name a file inside it")
    return posix.as_posix()
