"""Faces with labels of race, gender and age: FairFace's validation split from the hub, or a folder of your own.

The labels are what annotators saw in a photograph, not what the persons say of themselves. A folder holds pictures and
one table of ``TABLES`` with the columns file (a path inside the folder, "val/1.jpg"), race, gender, and perhaps age.
Other columns are not read. FairFace as its authors give it is such a folder.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from util.corpora import hub, tables
from util.corpora.captioned import checked_count, content_digest, is_picture, picture
from util.errors import UserError
from util.fairness.audit import Faces
from util.fairness.declared import Declared
from util.files import sha256

HUB_DATASET = "HuggingFaceM4/FairFace"
HUB_REVISION = "54d573cdb8b5af490ba8da9da2799628f6e5c496"
HUB_FILES = {"0.25": "0.25/validation-*.parquet", "1.25": "1.25/validation-*.parquet"}
"""By padding: how much around the face a picture shows, as a share of the face. 63 MB and 237 MB."""
HUB_LABELS = ("race", "gender", "age")
ORIGIN = "https://github.com/joojs/fairface"
LICENCE = "CC BY 4.0"
BY_HAND = f"or get pictures and label csv from {ORIGIN}, unpack both into one folder and name it with --data DIR"

LONGEST_NAME = 160
"""Characters of a file's name that an error repeats whole."""

AXES = ("race", "gender")
TABLES = ("fairface_label_val.csv", "labels.csv")


@dataclass(frozen=True)
class FaceImages:
    """n pictures of faces: functions that open each, its unique id, its labels, and where all of them come from."""

    openers: Sequence[Callable[[], Image.Image]]
    ids: Sequence[str]
    faces: Faces
    source: Mapping


def load(
    folder: Path | None, declared: Declared, padding: str = "0.25", n: int | None = None, aged: bool = True
) -> FaceImages:
    """Faces of a folder, or FairFace's validation split from the hub where none is given.

    Args:
        folder: holds pictures and a table; None for the hub.
        declared: the levels of race, gender and age that a label may have.
        padding: "0.25" or "1.25", one of the hub's two versions.
        n: take only the first n faces.
        aged: read the ages, every one of which must then be declared; else they are not looked at.
    """
    checked_count(n, "faces")
    return from_hub(declared, padding, n, aged=aged) if folder is None else from_folder(folder, declared, n, aged)


def from_folder(folder: Path, declared: Declared, n: int | None = None, aged: bool = True) -> FaceImages:
    """Pictures and table of a folder, in the order of the table; labels and pictures must match.

    ``source["revision"]`` is the sha256 of the table and ``source["files"]`` one of names and contents.
    """
    there = [folder / name for name in TABLES if (folder / name).is_file()]
    if len(there) != 1:
        found = "both are there" if there else "neither is there"
        raise UserError(
            f"{folder}: expected {' or '.join(TABLES)} (columns file, race, gender, and age where known) beside the "
            f"pictures; {found}. FairFace's pictures and label csv come from {ORIGIN}"
        )
    table = there[0]
    rows, digest = tables.read(table, ("file", *AXES), ("age",) if aged else ())
    names = [tables.inside(row["file"], f"{table}, line {line}") for line, row in rows]
    _refuse_mismatch(names, folder, table)
    names, rows = names[:n], rows[:n]
    about = {
        "dataset": f"faces and {table.name}, local folder",
        "revision": f"sha256:{digest}",
        "files": content_digest({name: folder / name for name in names}),
        "n": len(names),
    }
    openers = [picture(lambda path=folder / name: ImageOps.exif_transpose(Image.open(path))) for name in names]
    return FaceImages(openers, names, _faces(rows, declared, table), about)


def from_hub(
    declared: Declared, padding: str = "0.25", n: int | None = None, path: Path | None = None, aged: bool = True
) -> FaceImages:
    """FairFace's validation split, 10,954 faces, from the hub at a pinned revision, into the Hugging Face cache.

    Args:
        path: a folder with the parquet files of ``HUB_FILES``, in place of the hub's.
    """
    if padding not in HUB_FILES:
        raise UserError(f"FairFace has paddings {', '.join(HUB_FILES)}, not {padding!r}")
    pattern = HUB_FILES[padding]
    if path is None:
        files, revision = hub.fetched("FairFace", HUB_DATASET, HUB_REVISION, pattern, BY_HAND)
    else:
        files, revision = sorted(path.glob(pattern)), None
    if not files:
        raise UserError(f"{path}: no files {pattern} there; {BY_HAND}")
    rows = hub.read_parquet(files, "image", HUB_LABELS)
    rows = rows.take(range(len(rows))[:n])
    where = f"{path or HUB_DATASET}, {pattern}"
    labels = {name: _in_words(rows, name, f"{where}: {name}") for name in (HUB_LABELS if aged else AXES)}
    about = {
        "dataset": str(path or HUB_DATASET),
        "revision": revision,
        "files": [f"sha256:{sha256(file)}" for file in files],
        "split": "validation",
        "padding": padding,
        "licence": LICENCE,
        "n": len(rows),
    }
    ids = [f"validation, row {row}" for row in range(len(rows))]
    return FaceImages(rows.openers(), ids, Faces.of(declared, **labels, where=where), about)


def _in_words(rows: hub.Rows, column: str, where: str) -> Sequence:
    """Labels by the names that the data set gives its whole numbers; -1, or nothing, stands for a missing one."""
    labels, names = rows.columns[column], rows.names.get(column)
    if names is None:
        return labels
    known = [isinstance(label, int) and 0 <= label < len(names) for label in labels]
    if not all(known):
        first = known.index(False)
        raise UserError(
            f"{where} of {known.count(False)} of {len(labels)} rows is missing or has no name, first {labels[first]!r} "
            f"in row {first}; the labels are 0 to {len(names) - 1} ({', '.join(names)}); take such rows out"
        )
    return [names[label] for label in labels]


def labels_of(path: Path, declared: Declared, aged: bool = True) -> tuple[Faces, str]:
    """The faces of a table without pictures (columns race, gender, and perhaps age), and the table's sha256."""
    rows, digest = tables.read(path, AXES, ("age",) if aged else ())
    return _faces(rows, declared, path), digest


def _faces(rows: Sequence[tuple[int, Mapping[str, str]]], declared: Declared, path: Path) -> Faces:
    if not rows:
        raise UserError(f"{path}: no rows under the header; write one for each face")
    labels = {key: [row[key] for _, row in rows] for key in (*AXES, "age") if key in rows[0][1]}
    return Faces.of(declared, **labels, where=str(path), lines=[line for line, _ in rows])


def _refuse_mismatch(names: Sequence[str], folder: Path, table: Path) -> None:
    """Refuses names that stand twice, lack their picture, or leave out a picture in the folders that they name."""
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise UserError(
            f"{table}: {len(twice)} names stand there more than once, first {_shown(twice[0])}; keep one row of each"
        )
    # os.path answers False for names that no file system takes, where pathlib raises
    places = [place for place in {Path(name).parent for name in names} if os.path.isdir(folder / place)]  # noqa: PTH112
    there = {
        (place / path.name).as_posix() for place in places for path in (folder / place).iterdir() if is_picture(path)
    }
    missing = [name for name in names if name not in there and not os.path.isfile(folder / name)]  # noqa: PTH113
    extra, problems = sorted(there.difference(names)), []
    if missing:
        problems.append(f"{len(missing)} labels without a picture, first {_shown(missing[0])}")
    if extra:
        problems.append(f"{len(extra)} pictures without a label, first {_shown(extra[0])}")
    if problems:
        raise UserError(
            f"{table} and the pictures in {folder} do not match: {'; '.join(problems)}; put the pictures there, or "
            "mend the table"
        )


def _shown(name: str) -> str:
    """A file's name in an error: as it is if all of it can be seen, and the ends of one too long to read."""
    shown = name if name.isprintable() else repr(name)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[:40]}...{shown[-40:]} ({len(name)} characters)"
