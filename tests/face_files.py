"""Faces on disk: a folder laid out as FairFace's, and parquet files laid out as the hub's."""

import datasets

import picture_files
from util.fairness.declared import Declared

DECLARED = Declared.read()
HUB_NAMES = {name: DECLARED.attributes[name].numbers for name in DECLARED.asked.axes}
HUB_NAMES["age"] = ["0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"]
ROWS = (
    ("val/1.jpg", "3-9", "Male", "White", "True"),
    ("val/2.jpg", "more than 70", "Female", "Black", "False"),
    ("val/3.jpg", "3-9", "Female", "Latino_Hispanic", "True"),
)
COLOURS = {"val/1.jpg": "red", "val/2.jpg": "lime", "val/3.jpg": "blue"}


def write_folder(folder, rows=ROWS, pictures=COLOURS, table="fairface_label_val.csv"):
    """Plain coloured squares and a label csv."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in pictures.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(picture_files.encoded(colour))
    lines = ["file,age,gender,race,service_test", *(",".join(row) for row in rows)]
    (folder / table).write_text("\n".join(lines) + "\n")
    return folder


def write_parquet(folder, labels, colours=("red", "lime", "blue"), **names):
    """Rows as the hub has them: whole numbers, their names in the file's metadata, pictures in the table."""
    columns = {"image": picture_files.cells(colours)}
    columns |= dict(zip(("race", "gender", "age"), zip(*labels, strict=True), strict=True))
    kinds = {name: datasets.ClassLabel(names=list(words)) for name, words in (HUB_NAMES | names).items()}
    file = folder / "0.25" / "validation-00000-of-00001-0123456789abcdef.parquet"
    picture_files.write_parquet(file, columns, image=datasets.Image(decode=False), **kinds)
    return folder
