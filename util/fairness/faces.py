"""Faces with labels of race and gender: FairFace's validation split from the hub, or a folder of your own.

The labels are what annotators saw in a photograph, not what the persons say of themselves. A folder holds pictures and
one table of ``TABLES`` with the columns file (a path inside the folder, "val/1.jpg"), race and gender.
Other columns are not read. FairFace as its authors give it is such a folder.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..corpora import hub, tables
from ..corpora.captioned import content_digest, is_picture, upright
from ..errors import UserError
from ..files import sha256
from .audit import Faces
from .declared import AXES, Declared

HUB_DATASET = "HuggingFaceM4/FairFace"
HUB_REVISION = "54d573cdb8b5af490ba8da9da2799628f6e5c496"
HUB_FILES = "0.25/validation-*.parquet"
"""Those that show a quarter of the face around it; 63 MB."""
ORIGIN = "https://github.com/joojs/fairface"
LICENCE = "CC BY 4.0"
BY_HAND = f"or get pictures and label csv from {ORIGIN}, unpack both into one folder and name it with --data DIR"
TABLES = ("fairface_label_val.csv", "labels.csv")


@dataclass(frozen=True)
class FaceImages:
    """n pictures of faces: functions that open each, its unique id, its labels, and where all of them come from."""

    openers: Sequence[Callable[[], Image.Image]]
    ids: Sequence[str]
    faces: Faces
    source: Mapping


def from_folder(folder: Path, declared: Declared) -> FaceImages:
    """Pictures and table of a folder, in the order of the table; labels and pictures must match.

    ``source["revision"]`` is the sha256 of the table and ``source["files"]`` one of names and contents.
    """
    there = [folder / name for name in TABLES if (folder / name).is_file()]
    if len(there) != 1:
        found = "both are there" if there else f"neither is there. FairFace has them: {ORIGIN}"
        wanted = f"{' or '.join(TABLES)} (columns file, race, gender)"
        raise UserError(f"{folder}: expected {wanted} beside the pictures; {found}")
    table = there[0]
    rows, digest = tables.read(table, ("file", *AXES))
    names = [tables.inside(row["file"], f"{table}, line {line}") for line, row in rows]
    _refuse_mismatch(names, folder, table)
    about = {
        "dataset": f"faces and {table.name}, local folder",
        "revision": f"sha256:{digest}",
        "files": content_digest({name: folder / name for name in names}),
        "n": len(names),
    }
    return FaceImages([upright(folder / name) for name in names], names, _faces(rows, declared, table), about)


def from_hub(declared: Declared) -> FaceImages:
    """FairFace's validation split, 10,954 faces, from the hub at a pinned revision, into the Hugging Face cache."""
    files, revision = hub.fetched("FairFace", HUB_DATASET, HUB_REVISION, HUB_FILES, BY_HAND)
    rows = hub.read_parquet(files, "image", AXES)
    labels = {name: _in_words(rows, name) for name in AXES}
    about = {
        "dataset": HUB_DATASET,
        "revision": revision,
        "files": [f"sha256:{sha256(file)}" for file in files],
        "split": "validation",
        "padding": "0.25",
        "licence": LICENCE,
        "n": len(rows),
    }
    ids = [f"validation, row {row}" for row in range(len(rows))]
    return FaceImages(rows.openers(), ids, Faces.of(declared, **labels, where=f"{HUB_DATASET}, {HUB_FILES}"), about)


def _in_words(rows: hub.Rows, column: str) -> Sequence:
    """Labels by the names that the data set gives its whole numbers; -1, or nothing, is no name and stays as it is."""
    labels, names = rows.columns[column], rows.names.get(column)
    if names is None:
        return labels
    named = dict(enumerate(names))
    return [named.get(label, str(label)) for label in labels]


def labels_of(path: Path, declared: Declared) -> tuple[Faces, str]:
    """The faces of a table without pictures (columns race and gender), and the table's sha256."""
    rows, digest = tables.read(path, AXES)
    return _faces(rows, declared, path), digest


def _faces(rows: Sequence[tuple[int, Mapping[str, str]]], declared: Declared, path: Path) -> Faces:
    if not rows:
        raise UserError(f"{path}: no rows under the header; write one for each face")
    labels = {key: [row[key] for _, row in rows] for key in AXES}
    return Faces.of(declared, **labels, where=str(path), lines=[line for line, _ in rows])


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
