"""Faces with labels of both declared attributes: FairFace's validation split, a folder of your own, or a table alone.

The labels are what annotators saw in a photograph, not what the persons say of themselves. A folder holds pictures and
one table of ``TABLES`` with the columns file (a path inside the folder, "val/1.jpg") and the two attributes, by name.
Other columns are not read. FairFace as its authors give it is such a folder.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from ..corpora import hub, tables
from ..corpora.captioned import content_digest, is_picture, upright
from ..errors import UserError
from ..files import sha256
from ..readers import kind_of, read
from ..readers.names import BESIDE
from .audit import Faces
from .declared import Declared, as_whole

HUB_DATASET = "HuggingFaceM4/FairFace"
HUB_REVISION = "54d573cdb8b5af490ba8da9da2799628f6e5c496"
HUB_FILES = "0.25/validation-*.parquet"
"""Those that show a quarter of the face around it; 63 MB."""
ORIGIN = "https://github.com/joojs/fairface"
LICENCE = "CC BY 4.0"
BY_HAND = f"or get pictures and label csv from {ORIGIN}, unpack both into one folder and name it with --data DIR"
TABLES = ("fairface_label_val.csv", "labels.csv")
KINDS = ("paths", "ids")
NAMING = " ".join(BESIDE[kind] for kind in KINDS).split()
"""What names a face: kinds of what stands beside its vector, columns beside its label."""


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
    columns = ("file", *declared.asked.axes)
    table = tables.only(folder, TABLES, columns)
    rows, digest = tables.read(table, columns)
    names = [tables.inside(row["file"], f"{table}, line {line}") for line, row in rows]
    _refuse_mismatch(names, folder, table)
    about = {
        "dataset": f"faces and {table.name}, local folder",
        "revision": f"sha256:{digest}",
        "files": content_digest({name: folder / name for name in names}),
        "n": len(names),
    }
    labels = ([row[name] for _, row in rows] for name in declared.asked.axes)
    faces = Faces.of(declared, *labels, where=str(table), lines=[line for line, _ in rows])
    return FaceImages([upright(folder / name) for name in names], names, faces, about)


def from_hub(declared: Declared) -> FaceImages:
    """FairFace's validation split, 10,954 faces, from the hub at a pinned revision, into the Hugging Face cache."""
    files, revision = hub.fetched("FairFace", HUB_DATASET, HUB_REVISION, HUB_FILES, BY_HAND)
    rows = hub.read_parquet(files, "image", declared.asked.axes)
    labels = (_in_words(rows.columns[name], rows.names.get(name)) for name in declared.asked.axes)
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
    faces = Faces.of(declared, *labels, where=f"{HUB_DATASET}, {HUB_FILES}")
    return FaceImages(rows.openers(), ids, faces, about)


def _in_words(labels: Sequence, names: Sequence[str] | None) -> Sequence:
    """Labels by the names that the data set gives its whole numbers; any that has no name becomes no number either."""
    named = None if names is None else dict(enumerate(names))
    return labels if named is None else [named.get(label, f"{label} (unnamed)") for label in labels]


@dataclass(frozen=True)
class Labels:
    """Labels of n faces without pictures, and what says whose they are.

    Attributes:
        ids: for each column of ``NAMING`` that is there, the n names of the faces.
        notes: sentences for whoever reads the numbers.
    """

    path: Path
    faces: Faces
    ids: Sequence[Sequence[str]]
    sha256: str
    notes: tuple[str, ...] = ()

    def matched(self, beside: Mapping[str, Sequence], n: int, where: str) -> tuple[Faces, str]:
        """The faces of n embedded rows, and how they were matched.

        Args:
            beside: ``Embeddings.beside``. Names there and in the table say whose a label is, in any order; else row i
                is row i, and counts must be equal.
            n: number of embedded rows.
            where: what to call them.
        """
        called = named(beside, n)
        if not (called and self.ids):
            if len(self.faces) != n:
                raise UserError(f"{self.path} has {len(self.faces)} rows, but {where} has {n}; write a row for each")
            lacks = where if self.ids else self.path
            return self.faces, f"labels and faces are matched by order, for {lacks} names no faces (ids or files)"
        faces, labels = max(product(called, self.ids), key=lambda both: len({*both[0]} & {*both[1]}))
        place = {name: row for row, name in enumerate(labels)}
        for names, source in ((labels, self.path), (faces, where)):
            if twice := [name for name, times in Counter(names).items() if times > 1]:
                raise UserError(f"{source}: {len(twice)} names stand twice, first {twice[0]!r}; keep one row for each")
        if lost := [name for name in faces if name not in place]:
            what = f"{len(lost)} of {n} faces of {where} have no label, first {lost[0]!r}"
            raise UserError(f"{self.path}: {what}; faces there are called as {labels[0]!r}")
        rows = [place[name] for name in faces]
        more = f"; {len(labels) - n} further labels not used" if len(labels) > n else ""
        return self.faces.take(rows), f"labels are matched to faces by name, as {faces[0]}{more}"


def named(beside: Mapping[str, Sequence], n: int) -> list[list[str]]:
    """What n rows are called in ``Embeddings.beside``: by their files, by their ids."""
    return [np.asarray(beside[kind]).astype(str).tolist() for kind in KINDS if len(beside.get(kind, ())) == n]


def labels_of(path: Path, declared: Declared) -> Labels:
    """Labels in a file without pictures, of any format that ``util.readers`` reads: a column for each attribute.

    Columns for ids or files (``NAMING``) are read with them. Numbers mean what the data set itself says in the file,
    else what ``declared`` says.
    """
    axes, lines = declared.asked.axes, None
    if path.suffix.lower() in (".csv", *tables.TABBED):
        rows, _ = tables.read(path, axes, NAMING)
        columns, lines = {name: [row[name] for _, row in rows] for name in rows[0][1]}, [line for line, _ in rows]
    else:
        found = {name: array.tolist() for name, array in read(path)[0].items() if array.ndim == 1}
        if lacking := [name for name in axes if name not in found]:
            what = f"no column {lacking[0]!r}; the audit asks for {', '.join(axes)}, found {', '.join(found)}"
            raise UserError(f"{path}: {what}")
        names = _class_names(path) if kind_of(path) == ".parquet" else {}
        columns = {name: _in_words(labels, names.get(name)) for name, labels in found.items()}
    faces = Faces.of(declared, *(columns[name] for name in axes), where=str(path), lines=lines)
    ids = [list(map(str, columns[name])) for name in NAMING if name in columns]
    notes = [
        f"{path}: {name} in numbers, {', '.join(f'{k} {level}' for k, level in enumerate(attribute.numbers))}"
        for name, attribute in zip(axes, declared.both, strict=True)
        if attribute.numbers and any(as_whole(label) is not None for label in columns[name])
    ]
    return Labels(path, faces, ids, sha256(path), tuple(notes))


def _class_names(path: Path) -> dict[str, list[str]]:
    """The names that a parquet file of the hub gives the numbers of its columns."""
    import datasets
    from pyarrow import parquet

    features = datasets.Features.from_arrow_schema(parquet.read_schema(path))
    return {name: kind.names for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)}


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
