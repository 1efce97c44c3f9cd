"""Videos of your own with captions: folders of frames, and captions.csv or captions.tsv beside them.

The table's column ``file`` names a sub-folder whose pictures are the frames; FFmpeg makes one of a video. Of ``count``
frames a video gives 8: number floor((i + 1/2) count / 8) for i = 0 ... 7, some twice where count < 8. A folder with a
broken frame, or without any, is left out and named.
"""

import re
from functools import partial
from pathlib import Path

from PIL import Image

from util.corpora import captioned, tables
from util.corpora.captioned import Captioned, CaptionRule, Unreadable
from util.files import digest, sha256

FRAMES = 8
"""Frames of a video: the number that X-CLIP takes."""


def load(folder: Path, caption: CaptionRule = "first", n: int | None = None) -> Captioned:
    """The first n videos of a folder (None: all) with their captions, in the order of the table.

    Items are lists of ``FRAMES`` RGB pictures, turned upright where the file says so.
    """
    rows, table, revision = tables.captions_of_files(folder)
    rows = rows[: captioned.checked_count(n, "videos")]
    names = [name for name, _ in rows]
    tables.require(folder, names, Path.is_dir, "folders of frames")
    hashes = [[name, [[file.name, sha256(file)] for file in dict.fromkeys(_taken(folder / name))]] for name in names]
    about = {
        "dataset": f"videos and {table}, local folder",
        "revision": f"sha256:{revision}",
        "files": f"sha256:{digest(hashes)}",
        "frames": FRAMES,
        "frame_rule": f"the middle frame of each of {FRAMES} equal segments",
    }
    openers = [partial(frames_of, folder / name) for name in names]
    return captioned.assemble("video", openers, names, [texts for _, texts in rows], caption, about)


def middle_frames(count: int) -> list[int]:
    """Numbers of the frames that are taken of ``count``: the middle one of each of ``FRAMES`` equal segments."""
    return [(2 * i + 1) * count // (2 * FRAMES) for i in range(FRAMES)]


def frames_of(folder: Path) -> list[Image.Image]:
    """The frames that are taken of a folder, as RGB pictures; ``Unreadable`` if one is broken or none is there."""
    if not (taken := _taken(folder)):
        raise Unreadable(f"no frames in this folder ({', '.join(captioned.PICTURE_SUFFIXES)})")
    return [_frame(file) for file in taken]


def _taken(folder: Path) -> list[Path]:
    """Files of the frames that are taken; numbers inside names count as numbers, so frame2 comes before frame10."""
    files = [file for file in folder.iterdir() if captioned.is_picture(file) and file.is_file()]
    files.sort(key=lambda file: (_natural(file.name), file.name))
    return [files[i] for i in middle_frames(len(files))] if files else []


def _natural(name: str) -> list[str | int]:
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name.lower()))]


def _frame(file: Path) -> Image.Image:
    try:
        return captioned.upright(file)()
    except Unreadable as error:
        raise Unreadable(f"{file.name}: {error}") from error
