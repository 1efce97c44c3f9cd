"""Pictures of one colour as files and in tables, photographs laid out as MSCOCO's, faces as FairFace's or the hub's."""

import io
import json

import datasets
import numpy as np
from PIL import Image

from declared_audit import Declared
from util.corpora.captioned import Readable

TINTS = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250)}


def encoded(tint, size=(6, 6), form="png", turned=False):
    """The file of a picture of one colour; ``turned``: its EXIF data ask for a quarter turn clockwise."""
    file, exif = io.BytesIO(), Image.Exif()
    if turned:
        exif[0x112] = 6
    Image.new("RGB", size, TINTS.get(tint, tint)).save(file, form, exif=exif)
    return file.getvalue()


def shown(openers, skipped=None):
    """The colours that are seen, one after the other; ``skipped`` receives what does not open."""
    images = Readable(openers, {} if skipped is None else skipped)
    return [list(TINTS)[int(np.asarray(image).mean((0, 1)).argmax())] for image in images]


def write_parquet(path, columns, **kinds):
    """A parquet file of columns; ``kinds``: their features in ``datasets``, by default pictures and whole numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"image": datasets.Image(), "label": datasets.Value("int64")} | kinds
    features = datasets.Features({name: kinds[name] for name in columns})
    datasets.Dataset.from_dict(columns, features=features).to_parquet(str(path))
    return path


def cells(tints, **options):
    """Pictures as tables of the hub hold them."""
    return [{"bytes": encoded(tint, **options), "path": None} for tint in tints]


PHOTOGRAPHS = {"000000000009.jpg": "red", "000000000003.jpg": "green", "000000000007.jpg": "blue"}
CAPTIONS = {
    "000000000009.jpg": ["red, first", "red, second", "red, third"],
    "000000000003.jpg": ["green, only"],
    "000000000007.jpg": ["blue, first", "blue, second"],
}


def photograph(name, **options):
    return encoded(PHOTOGRAPHS[name], **{"size": (16, 16), "form": "jpeg", **options})


def write_coco(folder, split="val2017"):
    """Three photographs of one colour each, listed by descending usefulness; captions of an image not together."""
    ids = {name: int(name[:12]) for name in PHOTOGRAPHS}
    texts = [(name, text) for turn in range(3) for name in PHOTOGRAPHS for text in CAPTIONS[name][turn : turn + 1]]
    annotations = {
        "images": [{"id": ids[name], "file_name": name} for name in PHOTOGRAPHS],
        "annotations": [{"id": 90 - i, "image_id": ids[n], "caption": text} for i, (n, text) in enumerate(texts)],
    }
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations" / f"captions_{split}.json").write_text(json.dumps(annotations))
    (folder / split).mkdir()
    for name in PHOTOGRAPHS:
        (folder / split / name).write_bytes(photograph(name))
    return folder


def write_coco_parquet(folder, captions=CAPTIONS, columns=("question_id", "image", "answer")):
    """Two files of the hub's schema: a photograph's bytes, its file name, a list of captions."""
    for part, names in enumerate((list(captions)[:2], list(captions)[2:])):
        rows = {
            "question_id": names,
            "image": [{"bytes": photograph(n), "path": n} for n in names],
            "answer": [captions[n] for n in names],
        }
        text = datasets.Value("string")
        path = folder / "data" / f"val-0000{part}-of-00002.parquet"
        write_parquet(path, {name: rows[name] for name in columns}, question_id=text, answer=[text])
    return folder


DECLARED = Declared.read()
HUB_NAMES = {name: DECLARED.attributes[name].numbers for name in DECLARED.asked.axes}
HUB_NAMES["age"] = ["0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"]
FACE_ROWS = (
    ("val/1.jpg", "3-9", "Male", "White", "True"),
    ("val/2.jpg", "more than 70", "Female", "Black", "False"),
    ("val/3.jpg", "3-9", "Female", "Latino_Hispanic", "True"),
)
FACE_COLOURS = {"val/1.jpg": "red", "val/2.jpg": "lime", "val/3.jpg": "blue"}


def write_faces(folder, rows=FACE_ROWS, pictures=FACE_COLOURS, table="fairface_label_val.csv"):
    """Plain coloured squares and a label csv."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in pictures.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(encoded(colour))
    lines = ["file,age,gender,race,service_test", *(",".join(row) for row in rows)]
    (folder / table).write_text("\n".join(lines) + "\n")
    return folder


def write_face_parquet(folder, labels, colours=("red", "lime", "blue"), **names):
    """Rows as the hub has them: whole numbers, their names in the file's metadata, pictures in the table."""
    columns = {"image": cells(colours)}
    columns |= dict(zip(("race", "gender", "age"), zip(*labels, strict=True), strict=True))
    kinds = {name: datasets.ClassLabel(names=list(words)) for name, words in (HUB_NAMES | names).items()}
    file = folder / "0.25" / "validation-00000-of-00001-0123456789abcdef.parquet"
    write_parquet(file, columns, image=datasets.Image(decode=False), **kinds)
    return folder
