"""Items of one modality with their captions, as every reader gives them and extraction takes them.

An item is opened only when it is needed and comes ready for a tower's ``prepare``: a photograph as an RGB picture, a
video as a list of RGB pictures, a protein as a string of amino-acid letters. Readers are here: of your own pictures
beside a table of captions, of MSCOCO as its archives unpack, and of tables of the hub whose pictures stay encoded.
"""

import csv
import hashlib
import io
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Int
from PIL import Image, ImageOps

from .. import UserError, reason
from ..files import cache_folder, digest, sha256, snapshot, text_of

if TYPE_CHECKING:
    from datasets import Dataset

Modality = Literal["image", "video", "amino acid"]
CaptionRule = Literal["first", "last", "all"]
RULES = {"first": slice(0, 1), "last": slice(-1, None), "all": slice(None)}

TABBED = (".tsv", ".tab", ".txt")
TABLES, COLUMNS = ("captions.csv", "captions.tsv"), ("file", "text")
"""What a table of captions may be called, and its columns."""
WORDS = {"image": "images", "text": "captions", "video": "videos", "amino acid": "sequences"}
"""Words for the items of a modality, in messages and beside bars."""
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
"""Ends of the names of picture files, in lower case; what else lies in a folder is not looked at."""
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""Errors of PIL for files that are not, or not whole, pictures."""
DEEP_GREYS = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
"""PIL's modes of greyscale pictures with more than 8 bits, which it would clip at 255."""


class Unreadable(ValueError):
    """An item that does not decode; the message is the reason, in one line."""


@dataclass(frozen=True)
class Items:
    """n items that are opened when they are needed.

    Attributes:
        openers, ids: n functions that each give one ready item or raise ``Unreadable``, and n names, unique.
        source: dataset, revision or hash of the content, and counts; plain values that json can hold.
    """

    openers: Sequence[Callable[[], Any]] = field(repr=False)
    ids: Sequence[str] = field(repr=False)
    source: Mapping

    def __len__(self) -> int:
        return len(self.ids)

    def named(self, skipped: Mapping[int, str]) -> list[str]:
        """A line "id: reason" for each of these row numbers, in their order."""
        return [f"{self.ids[row]}: {why}" for row, why in sorted(skipped.items())]


@dataclass(frozen=True)
class Captioned(Items):
    """n items of one modality and m captions of them.

    ``item_of`` (m,), ascending, is the row number of the item that a caption describes. ``source`` holds n, n_captions,
    caption_rule and skipped too (items that could not be read or have no caption, with the reason).
    """

    modality: Modality
    captions: Sequence[str] = field(repr=False)
    item_of: Int[np.ndarray, "m"] = field(repr=False)

    def without(self, skipped: Mapping[int, str]) -> "Captioned":
        """The same without the items of these row numbers and their captions; ``source`` counts them."""
        rows = np.array([row for row in range(len(self)) if row not in skipped], dtype=np.int64)
        stays = np.isin(self.item_of, rows)
        captions = [caption for caption, stay in zip(self.captions, stays, strict=True) if stay]
        named = [*self.source.get("skipped", []), *self.named(skipped)]
        counts = {"n": len(rows), "n_captions": len(captions), "skipped": named}
        return replace(
            self,
            openers=[self.openers[row] for row in rows],
            ids=[self.ids[row] for row in rows],
            captions=captions,
            item_of=np.searchsorted(rows, self.item_of[stays]),
            source={**self.source, **counts},
        )


@dataclass(frozen=True)
class Readable:
    """An iterable over items that leaves out, and notes, those that cannot be read.

    Its length, for a progress bar, counts all of them; it gives fewer where some are left out.
    """

    openers: Sequence[Callable[[], Any]]
    skipped: dict[int, str]

    def __len__(self) -> int:
        return len(self.openers)

    def __iter__(self) -> Iterator:
        for row, opener in enumerate(self.openers):
            try:
                yield opener()
            except Unreadable as error:
                self.skipped[row] = str(error)


def assemble(
    modality: Modality, openers: list, ids: list[str], texts: list[list[str]], caption: CaptionRule, about: Mapping
) -> Captioned:
    """Applies the caption rule to those of each item's ``texts`` that are not empty.

    An item without any is left out and named. ``about`` is the rest of ``source``, besides the counts.
    """
    said = [[text for text in captions if text.strip()] for captions in texts]
    chosen = [captions[RULES[caption]] for captions in said]
    captions = [text for captions in chosen for text in captions]
    item_of = np.repeat(np.arange(len(ids)), [len(captions) for captions in chosen])
    source = {**about, "n": len(ids), "n_captions": len(captions), "caption_rule": caption, "skipped": []}
    if empty := sum(map(len, texts)) - sum(map(len, said)):
        source["empty_captions"] = empty
    whole = Captioned(openers, ids, source, modality, captions, item_of)
    return whole.without({row: "no caption" for row, captions in enumerate(said) if not captions})


def read_table(
    path: str | Path, columns: Sequence[str], every: bool = False
) -> tuple[list[tuple[int, dict[str, str]]], str]:
    """The rows of a table, at least one, each with the line on which it ends, and the sha256 of the file.

    It is UTF-8, with tabs where its name ends in one of ``TABBED``, else commas, quoted as spreadsheets and pandas do,
    and a header that names the columns in any order. A row holds the ``columns``, which must be there, or ``every``
    one, stripped of white space. Blank lines are none.
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


def table_of(folder: Path, names: Sequence[str], columns: Sequence[str]) -> tuple[Path, list, str]:
    """The one table of a folder that bears one of the names, and what ``read_table`` gives of it.

    "file" is a path inside the folder, one spelling for each; a link there is followed wherever it leads.
    """
    there = [folder / name for name in names if (folder / name).is_file()]
    if len(there) != 1:
        found = "found both" if there else "found neither"
        raise UserError(f"{folder}: expected {' or '.join(names)} (columns {', '.join(columns)}) there; {found}")
    rows, digest = read_table(there[0], columns)
    for line, row in rows:
        name, where = row["file"], f"{there[0]}, line {line}"
        posix, windows = PurePosixPath(name), PureWindowsPath(name)
        if not posix.parts:
            raise UserError(f"{where}: names no file")
        if posix.is_absolute() or windows.anchor or ".." in (*posix.parts, *windows.parts):
            raise UserError(f"{where}: {name!r} leads out of the folder; name a file inside it")
        row["file"] = posix.as_posix()
    return there[0], rows, digest


def from_folder(folder: str | Path, caption: CaptionRule = "first", n: int | None = None) -> Captioned:
    """The first n pictures of your own (None: all) in a folder with captions.csv or captions.tsv, in the table's order.

    The table has the columns ``file`` (a path inside the folder, "/" between its parts) and ``text``; several rows of
    one file are several captions of it. ``source["revision"]`` is the table's sha256, "files" that of the pictures.
    """
    folder = Path(folder)
    table, rows, revision = table_of(folder, TABLES, COLUMNS)
    captions: dict[str, list[str]] = {}
    for _, row in rows:
        captions.setdefault(row["file"], []).append(row["text"])
    about = {"dataset": f"pictures and {table.name}, local folder", "revision": f"sha256:{revision}"}
    how = "put them there or take their rows out of the table"
    return _of_files(folder, [*captions.items()][:n], caption, about, "files", upright, how)


def from_coco(folder: str | Path, split: str, caption: CaptionRule, n: int | None = None) -> Captioned:
    """The first n images (None: all) of MSCOCO captions 2017 that have captions, and these.

    The folder holds annotations/captions_{split}.json and the photographs in {split}/. ``source`` has sha256 of both.
    A photograph is shown as it is stored, whatever its EXIF data say, as CLIP's own preprocessing takes it.
    """
    rows, revision = read_coco(folder, split)
    about = {"dataset": "MSCOCO captions 2017, local folder", "revision": f"sha256:{revision}", "split": split}
    how = f"get {split}.zip from https://cocodataset.org/#download"
    opener = lambda path: picture(lambda: Image.open(path))  # noqa: E731
    return _of_files(Path(folder) / split, rows[:n], caption, about, "photographs", opener, how)


def _of_files(folder: Path, rows, caption: CaptionRule, about: dict, key: str, opener: Callable, how: str) -> Captioned:
    """Files of a folder with their captions; ``key`` of the source has the sha256 of names and contents."""
    paths = {name: folder / name for name, _ in rows}
    if missing := [name for name, path in paths.items() if not path.is_file()]:
        what = f"{len(missing)} of the {len(paths)} captioned pictures are missing, first {missing[0]}"
        raise UserError(f"{folder}: {what}; {how}")
    about[key] = content_digest(paths)
    return assemble("image", [*map(opener, paths.values())], [*paths], [texts for _, texts in rows], caption, about)


def read_coco(folder: str | Path, split: str = "val2017") -> tuple[list[tuple[str, list[str]]], str]:
    """File name and captions of each image of MSCOCO that has some, and the sha256 of the annotation file.

    Images have the order of the file's "images", captions of an image that in which the file lists them. "First" and
    "last" caption mean that order: the released extraction takes the first, Figure 1 and Table 1 the last.
    """
    path = Path(folder) / "annotations" / f"captions_{split}.json"
    if not path.is_file():
        splits = sorted(p.stem.removeprefix("captions_") for p in path.parent.glob("captions_*.json"))
        hint = f"it has captions of {', '.join(splits)}" if splits else "expected annotations/captions_<split>.json"
        raise UserError(f"{folder}: no captions of split {split!r} there; {hint}")
    try:
        content = path.read_bytes()
        annotations = json.loads(content)
        images = {image["id"]: (Path(image["file_name"]).name, []) for image in annotations["images"]}
        for annotation in annotations["annotations"]:
            images[annotation["image_id"]][1].append(str(annotation["caption"]))
    except (ValueError, TypeError, KeyError, OSError) as error:
        why = f"{type(error).__name__}: {reason(error)}"
        raise UserError(f"{path}: not a whole MSCOCO caption file ({why}); unpack it again") from error
    return [row for row in images.values() if row[1]], hashlib.sha256(content).hexdigest()


def picture(opener: Callable[[], Image.Image]) -> Callable[[], Image.Image]:
    """An opener of one photograph in RGB, from one that opens it in any mode.

    Greyscale of more than 8 bits is refused. Transparency is dropped. EXIF data are not looked at.
    """

    def opened() -> Image.Image:
        try:
            image = opener()
            if image.mode in DEEP_GREYS:
                raise ValueError("greyscale of more than 8 bits; scale it to 8 as suits the data")
            return image.convert("RGB")
        except UNREADABLE as error:
            raise Unreadable(reason(error)) from error

    return opened


def upright(path: Path) -> Callable[[], Image.Image]:
    """An opener of one of your own photographs in RGB, turned upright where its EXIF data say so."""
    return picture(lambda: ImageOps.exif_transpose(Image.open(path)))


def content_digest(paths: Mapping[str, Path]) -> str:
    """One sha256 of the names and the contents of files, so that a file mended since counts as other data."""
    return f"sha256:{digest([[name, sha256(path)] for name, path in paths.items()])}"


def is_picture(path: Path) -> bool:
    """Whether a file's name is that of a picture; hidden files are none."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


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
    """The rows of parquet files, at least one, in their order, as one table of these columns, which must be alike.

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
    if any(part.features != parts[0].features for part in parts):
        where = files[0].parent
        raise UserError(f"{where}: its parts differ in their columns or number classes differently: no one table")
    return datasets.concatenate_datasets(parts)


def stored(table: "Dataset", image: str) -> tuple[list[Callable[[], Image.Image]], list[Callable[[], bytes]]]:
    """Functions that open the pictures of a column, as they are stored, and others that give their bytes."""
    cells = table.select_columns([image])
    contents = [lambda row=row: encoded(cells[row][image]) for row in range(len(table))]
    return [picture(lambda content=content: Image.open(io.BytesIO(content()))) for content in contents], contents


def encoded(cell: dict | None) -> bytes:
    """The bytes of a picture in a cell, {"bytes": ..., "path": ...}; ``ValueError`` where there are none."""
    if cell and cell["bytes"]:
        return cell["bytes"]
    if cell and cell["path"]:
        raise ValueError(f"the table names the file {cell['path']!r} in place of a picture; put the pictures into it")
    raise ValueError("there is no picture in this row")
