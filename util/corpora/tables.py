"""Tables and text files that people write themselves: read whole, or refused in one line that names file and row.

A table is UTF-8, commas or tabs between its fields by the end of its name (.csv; .tsv, .tab, .txt), with a header that
names the columns in any order; others are allowed and not read. A field that holds the separator, a quotation mark or
a line end stands in quotation marks, as spreadsheets and pandas write it. ``.gz`` after the name is unpacked.
"""

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import UserError

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
CAPTION_TABLES = ("captions.csv", "captions.tsv")
CAPTION_COLUMNS = ("file", "text")

LONGEST_FIELD = 2**24
"""Characters of a field; the limit of csv, 131,072, would refuse a long sequence."""


def text_of(path: str | Path) -> tuple[str, str]:
    """A text file's content, unpacked if its name ends in .gz, and the sha256 of the file."""
    path = Path(path)
    try:
        packed = path.read_bytes()
        content = gzip.decompress(packed) if path.suffix.lower() == ".gz" else packed
        return content.decode("utf-8-sig"), hashlib.sha256(packed).hexdigest()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x})") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file ({error}); pack it again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a text file") from error


def suffix_of(path: str | Path) -> str:
    """The end of a file's name in lower case, what is before .gz counting."""
    path = Path(path)
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def read(path: str | Path, columns: Sequence[str]) -> tuple[list[tuple[int, dict[str, str]]], str]:
    """The rows of a table, each with the line on which it ends, and the sha256 of the file.

    A row holds the ``columns``, which must be there, without the white space around their fields. Blank lines are left
    out.
    """
    content, digest = text_of(path)
    lines = csv.reader(io.StringIO(content, newline=""), delimiter=SEPARATORS[suffix_of(path)], strict=True)
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        return list(_rows(path, lines, columns)), digest
    except csv.Error as error:
        raise UserError(f"{path}, line {lines.line_num}: not a row of a table ({error}); check its quotes") from error
    finally:
        csv.field_size_limit(before)


def _rows(path, lines, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    header = [name.strip().lower() for name in next((fields for fields in lines if fields), [])]
    if any(header.count(name) != 1 for name in columns):
        found = ", ".join(header) or "nothing"
        raise UserError(f"{path}: expected a header with the columns {', '.join(columns)}, each once; found {found}")
    for fields in lines:
        if not any(field.strip() for field in fields):
            continue
        if len(fields) != len(header):
            what = f"expected {len(header)} fields as in the header, found {len(fields)}"
            how = "put a text that holds the separator in quotation marks"
            raise UserError(f"{path}, line {lines.line_num}: {what}; {how}")
        named = dict(zip(header, (field.strip() for field in fields), strict=True))
        yield lines.line_num, {name: named[name] for name in columns}


def captions_of_files(folder: str | Path) -> tuple[list[tuple[str, list[str]]], str, str]:
    """Captions of a folder's files, from its captions.csv or captions.tsv (columns file, text): rows, name and sha256.

    A row is a path inside the folder ("/" between parts) and its captions, both in the order of the table.
    """
    folder = Path(folder)
    there = [name for name in CAPTION_TABLES if (folder / name).is_file()]
    if len(there) != 1:
        found = "found both" if there else "found neither"
        raise UserError(f"{folder}: expected {' or '.join(CAPTION_TABLES)} (columns file, text) there; {found}")
    path = folder / there[0]
    rows, digest = read(path, CAPTION_COLUMNS)
    captions: dict[str, list[str]] = {}
    for line, row in rows:
        captions.setdefault(inside(row["file"], f"{path}, line {line}"), []).append(row["text"])
    if not captions:
        raise UserError(f"{path}: no rows under the header; write one for each caption")
    return list(captions.items()), there[0], digest


def require(folder: Path, names: Sequence[str], exists, what: str) -> None:
    """Refuses a table that names files which are not there; counts them and names the first."""
    if missing := [name for name in names if not exists(folder / name)]:
        said = f"{len(missing)} of the {len(names)} captioned {what} are missing, first {missing[0]}"
        raise UserError(f"{folder}: {said}; put them there or take their rows out of the table")


def inside(name: str, where: str) -> str:
    """A file's path inside the folder, one spelling for each; a link there is followed wherever it leads."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if not posix.parts:
        raise UserError(f"{where}: names no file")
    if posix.is_absolute() or windows.anchor or ".." in (*posix.parts, *windows.parts):
        raise UserError(f"{where}: {name!r} leads out of the folder; name a file inside it")
    return posix.as_posix()
