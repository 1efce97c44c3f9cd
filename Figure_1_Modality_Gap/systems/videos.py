"""Videos of your own with captions: video files or folders of frames, and captions.csv or captions.tsv beside them.

The table is that of ``util.corpora.folder``; its column ``file`` names a video file (mp4, webm, avi, mov, mkv, ...:
whatever FFmpeg reads) or a sub-folder whose pictures are the frames, frame2 before frame10.

A video gives k frames, the middle one of each of k equal segments: of ``count`` frames, number
floor((i + 1/2) count / k) for i = 0 ... k - 1. A video of fewer than k frames repeats some by the same rule. Segments
count frames, not seconds, which differs where the frame rate varies. Files are decoded from the first frame to the
last: seeking would be faster, but lands on the wrong frame in some containers. Only the file itself is opened: one that
names others, such as a playlist, is no video here.

A video that is not whole is left out, counted and named, like a picture: one that FFmpeg cannot decode to its end, that
holds a frame marked corrupt, or that ends more than a tenth before the length which its container states.
"""

import hashlib
import io
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from util.corpora import tables
from util.corpora.captioned import (
    PICTURE_SUFFIXES,
    Captioned,
    CaptionRule,
    Unreadable,
    assemble,
    checked_count,
    is_picture,
    one_line,
    picture,
)
from util.files import sha256

FRAMES = 8
"""Frames of a video unless told otherwise: what X-CLIP takes."""

FRAME_RULE = "the middle frame of each of {frames} equal segments"

ALONE = {"protocol_whitelist": "none"}
"""Options under which FFmpeg opens nothing by name, neither a file nor an address: no protocol is called "none"."""

CUT_OFF = 0.1
"""Share of the stated length that may be missing: last frames of unstated duration, not of a file cut short."""


def load(folder: str | Path, caption: CaptionRule = "first", n: int | None = None, frames: int = FRAMES) -> Captioned:
    """Videos and captions of a folder, in the order in which the table first names each video.

    ``source["revision"]`` is the sha256 of the table and ``source["files"]`` one of names and contents (of a folder of
    frames: of those that are taken).

    Args:
        folder: holds the videos and the table.
        caption: which captions of a video: "first", "last" or "all" in the order of the table.
        n: take only the first n videos.
        frames: k, how many frames each item has.

    Returns:
        items are lists of k RGB pictures, turned upright where the file says so.

    Raises:
        UserError: as ``tables.captions_of_files``; missing videos; an unknown caption rule; fewer frames than one.
    """
    checked_count(frames, "frames")
    folder = Path(folder)
    rows, table, digest = tables.captions_of_files(folder)
    rows = rows[: checked_count(n, "videos")]
    names = [name for name, _ in rows]
    tables.require(folder, names, Path.exists, "videos")
    content = json.dumps([[name, _content(folder / name, frames)] for name in names])
    about = {"dataset": f"videos and {table}, local folder", "revision": f"sha256:{digest}"}
    about["files"] = f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
    about |= {"frames": frames, "frame_rule": FRAME_RULE.format(frames=frames)}
    openers = [lambda path=folder / name: frames_of(path, frames) for name in names]
    return assemble("video", openers, names, [texts for _, texts in rows], caption, about)


def middle_frames(count: int, frames: int = FRAMES) -> list[int]:
    """Which of ``count`` frames are taken: the middle one of each of ``frames`` equal segments, ascending."""
    return [(2 * i + 1) * count // (2 * frames) for i in range(frames)]


def frames_of(path: Path, frames: int = FRAMES) -> list[Image.Image]:
    """The frames that are taken of a video file or of a folder of frames, as RGB pictures.

    Raises:
        Unreadable: no frames, or not a whole video.
    """
    if not path.is_dir():
        return _frames_of_file(path, frames)
    files = _frame_files(path)
    if not files:
        raise Unreadable(f"no frames in this folder ({', '.join(PICTURE_SUFFIXES)})")
    taken = [files[i] for i in middle_frames(len(files), frames)]
    return [_frame(file) for file in taken]


def _frame(file: Path) -> Image.Image:
    try:
        return picture(lambda: ImageOps.exif_transpose(Image.open(file)))()
    except Unreadable as error:
        raise Unreadable(f"{file.name}: {error}") from error


def _frame_files(folder: Path) -> list[Path]:
    found = [file for file in folder.iterdir() if is_picture(file)]
    return sorted((file for file in found if file.is_file()), key=lambda file: (_natural(file.name), file.name))


def _natural(name: str) -> list[str | int]:
    """A sort key under which numbers inside names count as numbers: text and numbers take turns in it."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name.lower()))]


def _content(path: Path, frames: int) -> Any:
    """What the embeddings of a video depend on: hashes of the file, or of the frames that are taken."""
    if not path.is_dir():
        return sha256(path)
    files = _frame_files(path)
    taken = {files[i] for i in middle_frames(len(files), frames)} if files else ()
    return [[file.name, sha256(file)] for file in files if file in taken]


@dataclass(frozen=True)
class _Decoded:
    """One pass through a file: how many frames it has, how many its container says, and those that were asked for."""

    count: int
    stated: int
    kept: dict[int, Image.Image]


def _frames_of_file(path: Path, frames: int) -> list[Image.Image]:
    """At most two passes: the second where the container does not say, or not rightly, how many frames there are."""
    from av.error import FFmpegError

    try:
        decoded = _decode(path, frames)
        if decoded.count != decoded.stated:
            decoded = _decode(path, frames, decoded.count)
    except FFmpegError as error:
        raise Unreadable(f"not a whole video ({error.strerror or one_line(error)})") from error
    except OSError as error:
        raise Unreadable(one_line(error)) from error
    return [decoded.kept[i] for i in middle_frames(decoded.count, frames)]


class _File(io.FileIO):
    """A file as FFmpeg has it: it tries places that are not there, and goes on when it is told so."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except OSError:
            return -1


def _decode(path: Path, frames: int, count: int | None = None) -> _Decoded:
    """Decodes a file from beginning to end and keeps the middle frames of ``count``, or of what the container says.

    FFmpeg is given the open file, not its name, and may open nothing else.
    """
    import av

    with _File(path) as file, av.open(file, options=ALONE) as container:
        stream = container.streams.best("video")
        if stream is None:
            raise Unreadable("no video stream in it")
        if stream.codec_context is None:
            raise Unreadable("no decoder for its video stream")
        stream.thread_type = "AUTO"
        stated = count or stream.frames
        wanted = set(middle_frames(stated, frames)) if stated else ()
        return _pass(container, stream, stated, wanted)


def _pass(container, stream, stated: int, wanted: Collection[int]) -> _Decoded:
    count, kept, first, last = 0, {}, None, None
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise Unreadable(f"not a whole video (damaged after frame {count})")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise Unreadable(f"not a whole video (frame {count} is damaged)")
            if count in wanted:
                kept[count] = _upright(frame)
            first, last, count = first or frame, frame, count + 1
    if not count:
        raise Unreadable("no frames in it")
    _check_length(container, stream, first, last)
    return _Decoded(count, stated, kept)


def _upright(frame) -> Image.Image:
    image = frame.to_image()
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def _check_length(container, stream, first, last) -> None:
    """Refuses a video that ends long before its container says: some formats show a missing half in no other way."""
    import av

    if stream.duration is not None:
        stated = float(stream.duration * stream.time_base)
    elif container.duration is not None and len(container.streams) == 1:
        stated = container.duration / av.time_base
    else:
        return
    if first.pts is None or last.pts is None or stated <= 0:
        return
    length = float((last.pts + (last.duration or 0) - first.pts) * last.time_base)
    if length < (1 - CUT_OFF) * stated:
        raise Unreadable(f"not a whole video (ends after {length:.2f} s of the {stated:.2f} s that it states)")
