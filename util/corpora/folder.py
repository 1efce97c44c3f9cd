"""Pictures of your own with captions: a folder that holds them and captions.csv or captions.tsv.

The table has a column ``file`` (a path inside the folder) and a column ``text``; several rows of one file are several
captions of it (``util.corpora.tables``). Whatever PIL opens is a picture: radiographs as 8- or 16-bit greyscale PNG,
JPEG, and so on; deeper greyscale than 8 bits is scaled from the picture's own range (``util.corpora.captioned``). A
picture is turned upright where its EXIF data say so.
"""

import hashlib
import json
from pathlib import Path

from PIL import Image, ImageOps

from ..files import sha256
from . import tables
from .captioned import Captioned, CaptionRule, assemble, checked_count, picture


def load(folder: str | Path, caption: CaptionRule = "first", n: int | None = None) -> Captioned:
    """Pictures and captions of a folder, in the order in which the table first names each picture.

    ``source["revision"]`` is the sha256 of the table and ``source["files"]`` one of names and contents, so that a
    picture mended since counts as other data.

    Args:
        folder: holds the pictures and the table.
        caption: which captions of a picture: "first", "last" or "all" in the order of the table.
        n: take only the first n pictures.

    Raises:
        UserError: as ``tables.captions_of_files``; missing pictures; an unknown caption rule.
    """
    folder = Path(folder)
    rows, table, digest = tables.captions_of_files(folder)
    rows = rows[: checked_count(n, "photographs")]
    names = [name for name, _ in rows]
    tables.require(folder, names, Path.is_file, "pictures")
    content = json.dumps([[name, sha256(folder / name)] for name in names])
    about = {"dataset": f"pictures and {table}, local folder", "revision": f"sha256:{digest}"}
    about["files"] = f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
    openers = [picture(lambda path=folder / name: ImageOps.exif_transpose(Image.open(path))) for name in names]
    return assemble("image", openers, names, [texts for _, texts in rows], caption, about)
