"""Pictures of one colour, of ``TINTS`` or any, as files and in tables, and what is seen of them."""

import io

import datasets
import numpy as np
from PIL import Image

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
