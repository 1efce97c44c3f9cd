"""Faces with labels of both declared attributes: FairFace's validation split, a folder of your own, or a table alone.

The labels are what annotators saw in a photograph, not what the persons say of themselves. A folder holds pictures and
one table of ``TABLES`` with the columns file (a path inside the folder, "val/1.jpg") and the two attributes, by name.
Other columns are not read. FairFace as its authors give it is such a folder.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from declared_audit import Declared
from util import UserError
from util.corpora import captioned
from util.corpora.captioned import Items, content_digest, is_picture, upright
from util.fairness.audit import HUB_DATASET, HUB_FILES, HUB_REVISION
from util.files import sha256
from util.readers import read
from util.readers.meaning import keys_of, matched, one_label_each
from util.readers.tables import class_names

BY_HAND = (
    "or get pictures and label csv from https://github.com/joojs/fairface, unpack both into one folder and name it \
with --data DIR"
)
TABLES = ("fairface_label_val.csv", "labels.csv")


@dataclass(frozen=True)
class FaceImages(Items):
    """Pictures of faces, with their ``Declared.faces``."""

    faces: pd.DataFrame


def from_folder(folder: Path, declared: Declared) -> FaceImages:
    """Pictures and table of a folder, in the order of the table; labels and pictures must match.

    ``source["revision"]`` is the sha256 of the table and ``source["files"]`` one of names and contents.
    """
    columns = ("file", *declared.asked.axes)
    table, rows, digest = captioned.table_of(folder, TABLES, columns)
    names = [row["file"] for _, row in rows]
    _refuse_mismatch(names, folder, table)
    about = {
        "dataset": f"faces and {table.name}, local folder",
        "revision": f"sha256:{digest}",
        "files": content_digest({name: folder / name for name in names}),
        "n": len(names),
    }
    labels = {name: [row[name] for _, row in rows] for name in declared.asked.axes}
    faces = declared.faces(labels, str(table), [line for line, _ in rows])
    return FaceImages([upright(folder / name) for name in names], names, about, faces)


def from_hub(declared: Declared) -> FaceImages:
    """FairFace's validation split, 10,954 faces, from the hub at a pinned revision, into the Hugging Face cache."""
    files, revision = captioned.fetched("FairFace", HUB_DATASET, HUB_REVISION, HUB_FILES, BY_HAND)
    table = captioned.read_parquet(files, "image", declared.asked.axes)
    columns = table.remove_columns("image")
    told = class_names(columns.features.arrow_schema)  # a number without a name becomes no number of ours either
    named = {name: dict(enumerate(words)) for name, words in told.items() if name in columns.column_names}
    said = {name: [words.get(label, f"{label} (unnamed)") for label in columns[name]] for name, words in named.items()}
    about = {
        "dataset": HUB_DATASET,
        "revision": revision,
        "files": [f"sha256:{sha256(file)}" for file in files],
        "split": "validation",
        "padding": "0.25",
        "licence": "CC BY 4.0",
        "n": len(table),
    }
    ids = [f"validation, row {row}" for row in range(len(table))]
    faces = declared.faces({**columns[:], **said}, f"{HUB_DATASET}, {HUB_FILES}")
    return FaceImages(captioned.stored(table, "image")[0], ids, about, faces)


def labels_of(
    path: Path, declared: Declared, beside: Mapping[str, np.ndarray], n: int, where: str
) -> tuple[pd.DataFrame, list[str]]:
    """``Declared.faces`` of n embedded rows by a file of labels, and sentences for whoever reads the numbers.

    Args:
        path: of any format that ``util.readers`` reads, a column for each attribute. Numbers mean what the data set
            itself says in the file, else what ``declared`` says.
        beside: ``Embeddings.beside``. Names there and in the file say whose a label is, in any order
            (``util.readers.meaning.matched``); else row i is row i, and counts must be equal.
        where: what to call the embedded rows.
    """
    axes, lines = declared.asked.axes, None
    if path.suffix.lower() in (".csv", *captioned.TABBED):
        rows, _ = captioned.read_table(path, axes, every=True)
        columns, lines = {name: [row[name] for _, row in rows] for name in rows[0][1]}, [line for line, _ in rows]
    else:
        columns = {name: array.tolist() for name, array in read(path)[0].items() if array.ndim == 1}
        if lacking := [name for name in axes if name not in columns]:
            what = f"no column {lacking[0]!r}; the audit asks for {', '.join(axes)}, found {', '.join(columns)}"
            raise UserError(f"{path}: {what}")
    faces = declared.faces(columns, str(path), lines)
    notes = [
        f"{path}: {name} in numbers, {', '.join(f'{k} {level}' for k, level in enumerate(numbers))}"
        for name in axes
        if (numbers := declared.attributes[name].numbers)
        and any(str(label).removesuffix(".0").isdecimal() for label in columns[name])
    ]
    asked = {name.lower() for name in axes}
    others = {name or "unnamed": np.asarray(each) for name, each in columns.items() if name.lower() not in asked}
    keys = {where: keys_of(beside, n), "labels": keys_of(others, len(faces))}
    pairs, how, used = matched(keys, {where: n, "labels": len(faces)}, str(path))
    if pairs is not None:
        names = next(keys[where][each] for each in used if each in keys[where])
        if len(lost := np.setdiff1d(np.arange(n), pairs[:, 0])):
            raise UserError(f"{path}: {len(lost)} of {n} in {where} have no row, first {str(names[lost[0]])!r}")
        return faces.iloc[one_label_each(pairs, faces, path)[:, 1]], [*notes, f"{path}: {how}"]
    if len(faces) != n:
        raise UserError(f"{path} has {len(faces)} rows, but {where} has {n}; write a row for each")
    return faces, [*notes, f"{path}: {how or 'labels are in the order of the faces, for ids or files are not in both'}"]


def _refuse_mismatch(names: Sequence[str], folder: Path, table: Path) -> None:
    """Refuses names that stand twice, lack their picture, or leave out a picture in the folders that they name."""
    there: set[str] = set()
    for place in {Path(name).parent for name in names}:
        if os.path.isdir(folder / place):  # noqa: PTH112  (False, and no error, for names that no file system takes)
            there |= {(place / path.name).as_posix() for path in (folder / place).iterdir() if is_picture(path)}
    problems = {
        "names more than once": [name for name, times in Counter(names).items() if times > 1],
        "labels without a picture": [name for name in names if name not in there],
        "pictures without a label": sorted(there.difference(names)),
    }
    if said := [f"{len(found)} {what}, first {found[0]!r}" for what, found in problems.items() if found]:
        what = f"{table} and the pictures in {folder} do not match: {'; '.join(said)}"
        raise UserError(f"{what}; put the pictures there, or mend the table")
