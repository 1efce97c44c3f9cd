"""Photographs and captions stored as MSCOCO's archives and as the hub's parquet files are."""

import json

import datasets

import picture_files

COLOURS = {"000000000009.jpg": "red", "000000000003.jpg": "green", "000000000007.jpg": "blue"}
CAPTIONS = {
    "000000000009.jpg": ["red, first", "red, second", "red, third"],
    "000000000003.jpg": ["green, only"],
    "000000000007.jpg": ["blue, first", "blue, second"],
}


def picture(name, **options):
    return picture_files.encoded(COLOURS[name], **{"size": (16, 16), "form": "jpeg", **options})


def write_folder(folder, split="val2017"):
    """Three photographs of one colour each, listed by descending usefulness; captions of an image not together."""
    ids = {name: int(name[:12]) for name in COLOURS}
    texts = [(name, text) for turn in range(3) for name in COLOURS for text in CAPTIONS[name][turn : turn + 1]]
    annotations = {
        "images": [{"id": ids[name], "file_name": name} for name in COLOURS],
        "annotations": [{"id": 90 - i, "image_id": ids[n], "caption": text} for i, (n, text) in enumerate(texts)],
    }
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations" / f"captions_{split}.json").write_text(json.dumps(annotations))
    (folder / split).mkdir()
    for name in COLOURS:
        (folder / split / name).write_bytes(picture(name))
    return folder


def write_parquet(folder, captions=CAPTIONS, columns=("question_id", "image", "answer")):
    """Two files of the hub's schema: a photograph's bytes, its file name, a list of captions."""
    for part, names in enumerate((list(captions)[:2], list(captions)[2:])):
        rows = {
            "question_id": names,
            "image": [{"bytes": picture(n), "path": n} for n in names],
            "answer": [captions[n] for n in names],
        }
        text = datasets.Value("string")
        path = folder / "data" / f"val-0000{part}-of-00002.parquet"
        picture_files.write_parquet(path, {name: rows[name] for name in columns}, question_id=text, answer=[text])
    return folder
