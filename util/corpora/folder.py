"""Pictures of your own with captions: a folder that holds them and captions.csv or captions.tsv.

The table has a column ``file`` (a path inside the folder) and a column ``text``; several rows of one file are several
captions of it (``util.corpora.tables``). Whatever PIL opens is a picture. Greyscale of more than 8 bits is scaled from
the picture's own range (``util.corpora.captioned``). A picture is turned upright where its EXIF data say so.
"""

from pathlib import Path

from ..errors import UserError
from . import tables
from .captioned import Captioned, CaptionRule, assemble, content_digest, upright


def load(folder: str | Path, caption: CaptionRule = "first", n: int | None = None) -> Captioned:
    """The first n pictures of a folder (None: all) with their captions, in the order of the table.

    ``source["revision"]`` is the sha256 of the table and ``source["files"]`` one of names and contents.
    """
    folder = Path(folder)
    rows, table, digest = tables.captions_of_files(folder)
    rows = rows[:n]
    names = [name for name, _ in rows]
    if missing := [name for name in names if not (folder / name).is_file()]:
        said = f"{len(missing)} of the {len(names)} captioned pictures are missing, first {missing[0]}"
        raise UserError(f"{folder}: {said}; put them there or take their rows out of the table")
    about = {"dataset": f"pictures and {table}, local folder", "revision": f"sha256:{digest}"}
    about["files"] = content_digest({name: folder / name for name in names})
    openers = [upright(folder / name) for name in names]
    return assemble("image", openers, names, [texts for _, texts in rows], caption, about)
