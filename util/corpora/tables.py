"""Tables and TOML that people write themselves: read whole, or refused in one line with file and row, or key.

A table is UTF-8, tabs between its fields where its name ends in .tsv, .tab or .txt, else commas, with a header that
names the columns in any order; others are allowed and not read. A field that holds the separator, a quotation mark or
a line end stands in quotation marks, as spreadsheets and pandas write it.
"""

import csv
import hashlib
import io
import tomllib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import UserError, refusal

TABBED = (".tsv", ".tab", ".txt")


def text_of(path: str | Path) -> tuple[str, str]:
    """A text file's content, and the sha256 of the file."""
    try:
        content = Path(path).read_bytes()
        return content.decode("utf-8-sig"), hashlib.sha256(content).hexdigest()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a text file") from error


def read(path: str | Path, columns: Sequence[str], every: bool = False) -> tuple[list[tuple[int, dict[str, str]]], str]:
    """The rows of a table, at least one, each with the line on which it ends, and the sha256 of the file.

    A row holds the ``columns``, which must be there, or ``every`` one, stripped of white space. Blank lines are none.
    """
    content, digest = text_of(path)
    separator = "\t" if Path(path).suffix.lower() in TABBED else ","
    lines = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
    rows = []
    try:
        header = [name.strip().lower() for name in next(filter(None, lines), [])]
        named = [*columns, *(header if every else ())]
        places = {name: header.index(name.lower()) for name in named if header.count(name.lower()) == 1}
        if not places.keys() >= {*columns}:
            what = f"{path}: expected a header with the columns {', '.join(columns)}, each once"
            raise UserError(f"{what}; found {', '.join(header) or 'nothing'}")
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


def of_folder(folder: Path, names: Sequence[str], columns: Sequence[str]) -> tuple[Path, list, str]:
    """The table of a folder that bears one of the names, and what ``read`` gives of it; none and several are refused.

    "file" is a path inside the folder, one spelling for each; a link there is followed wherever it leads.
    """
    there = [folder / name for name in names if (folder / name).is_file()]
    if len(there) != 1:
        found = "found both" if there else "found neither"
        raise UserError(f"{folder}: expected {' or '.join(names)} (columns {', '.join(columns)}) there; {found}")
    rows, digest = read(there[0], columns)
    for line, row in rows:
        name, where = row["file"], f"{there[0]}, line {line}"
        posix, windows = PurePosixPath(name), PureWindowsPath(name)
        if not posix.parts:
            raise UserError(f"{where}: names no file")
        if posix.is_absolute() or windows.anchor or ".." in (*posix.parts, *windows.parts):
            raise UserError(f"{where}: {name!r} leads out of the folder; name a file inside it")
        row["file"] = posix.as_posix()
    return there[0], rows, digest


class Declared(BaseModel):
    """Base of every table of a TOML file: exact types, no unknown keys, never changed afterwards."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


Text = Annotated[str, Field(pattern=r"\S")]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
"""A TOML list of texts. It is not strict, because TOML has lists and no tuples; each text is."""

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: str | Path, model: type[Model]) -> Model:
    """Reads the content of a TOML file as a model, or refuses it in one line.

    A validator refuses by raising ``ValueError``; one that looks at several keys begins its message with a key.
    """
    try:
        return model.model_validate(tomllib.loads(text_of(path)[0]))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from error
    except ValidationError as error:
        raise UserError(f"{path}: {refusal(error)}") from error
