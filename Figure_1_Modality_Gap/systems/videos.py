"""Videos of your own with captions: video files or folders of frames, and captions.csv or captions.tsv beside them.

The table's column ``file`` names a video file (whatever FFmpeg reads) or a sub-folder whose pictures are the frames.
Of ``count`` frames a video gives 8: number floor((i + 1/2) count / 8) for i = 0 ... 7, some twice where count < 8.
Segments count frames, not seconds. Files are decoded from beginning to end: seeking lands on the wrong frame in some
containers. Nothing but the file itself is opened, so a playlist is no video. What is not whole is left out and named.
"""

import io
import re
from functools import partial
from pathlib import Path

from PIL import Image

from util.corpora import captioned, tables
from util.corpora.captioned import Captioned, CaptionRule, Unreadable
from util.errors import reason
from util.files import digest, sha256

FRAMES = 8
"""Frames of a video: the number that X-CLIP takes."""
ALONE = {"protocol_whitelist": "none"}
"""Options under which FFmpeg opens nothing by name, neither a file nor an address: no protocol is called "none"."""
CUT_OFF = 0.1
"""Share of the stated length that may be missing: last frames of unstated duration, not of a file cut short."""
NOT_WHOLE = "not a whole video"


def load(folder: Path, caption: CaptionRule = "first", n: int | None = None) -> Captioned:
    """The first n videos of a folder (None: all) with their captions, in the order of the table.

    Items are lists of ``FRAMES`` RGB pictures, turned upright where the file says so.
    """
    rows, table, revision = tables.captions_of_files(folder)
    rows = rows[: captioned.checked_count(n, "videos")]
    names = [name for name, _ in rows]
    tables.require(folder, names, Path.exists, "videos")
    about = {
        "dataset": f"videos and {table}, local folder",
        "revision": f"sha256:{revision}",
        "files": f"sha256:{digest([[name, _content(folder / name)] for name in names])}",
        "frames": FRAMES,
        "frame_rule": f"the middle frame of each of {FRAMES} equal segments",
    }
    openers = [partial(frames_of, folder / name) for name in names]
    return captioned.assemble("video", openers, names, [texts for _, texts in rows], caption, about)


def middle_frames(count: int) -> list[int]:
    """Numbers of the frames that are taken of ``count``: the middle one of each of ``FRAMES`` equal segments."""
    return [(2 * i + 1) * count // (2 * FRAMES) for i in range(FRAMES)]


def frames_of(path: Path) -> list[Image.Image]:
    """The frames that are taken of a video file or of a folder of frames, as RGB pictures; ``Unreadable`` if broken."""
    if not path.is_dir():
        return _decoded(path)
    if not (taken := _taken(path)):
        raise Unreadable(f"no frames in this folder ({', '.join(captioned.PICTURE_SUFFIXES)})")
    return [_frame(file) for file in taken]


def _taken(folder: Path) -> list[Path]:
    """Files of the frames that are taken; numbers inside names count as numbers, so frame2 comes before frame10."""
    files = [file for file in folder.iterdir() if captioned.is_picture(file) and file.is_file()]
    files.sort(key=lambda file: (_natural(file.name), file.name))
    return [files[i] for i in middle_frames(len(files))] if files else []


def _natural(name: str) -> list[str | int]:
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name.lower()))]


def _content(path: Path) -> str | list:
    """Hashes of all that the embeddings of a video depend on."""
    if not path.is_dir():
        return sha256(path)
    return [[file.name, sha256(file)] for file in dict.fromkeys(_taken(path))]


def _frame(file: Path) -> Image.Image:
    try:
        return captioned.upright(file)()
    except Unreadable as error:
        raise Unreadable(f"{file.name}: {error}") from error


class _File(io.FileIO):
    """A file as FFmpeg has it: it tries places that are not there, and goes on when it is told so."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except OSError:
            return -1


def _decoded(path: Path) -> list[Image.Image]:
    """At most two passes: the second where the container does not say, or not rightly, how many frames there are."""
    from av.error import FFmpegError

    try:
        count, stated, found = _one_pass(path)
        if count != stated:
            count, _, found = _one_pass(path, count)
    except (FFmpegError, OSError) as error:
        raise Unreadable(f"{NOT_WHOLE} ({error.strerror or reason(error)})") from error
    return [found[i] for i in middle_frames(count)]


def _one_pass(path: Path, count: int | None = None) -> tuple[int, int, dict[int, Image.Image]]:
    """How many frames there are, how many are stated (or ``count``), and the middle ones of those by number."""
    import av

    with _File(path) as file, av.open(file, options=ALONE) as container:
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None:
            raise Unreadable("no video stream in it" if stream is None else "no decoder for its video stream")
        stream.thread_type = "AUTO"
        stated, seen, found, first = count or stream.frames, 0, {}, None
        wanted = set(middle_frames(stated)) if stated else ()
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise Unreadable(f"{NOT_WHOLE} (damaged after frame {seen})")
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise Unreadable(f"{NOT_WHOLE} (frame {seen} is damaged)")
                if seen in wanted:
                    found[seen] = _upright(frame)
                first, last, seen = first or frame, frame, seen + 1
        if first is None:
            raise Unreadable("no frames in it")
        _check_length(container, stream, first, last)
        return seen, stated, found


def _upright(frame) -> Image.Image:
    return frame.to_image().rotate(frame.rotation, expand=True)


def _check_length(container, stream, first, last) -> None:
    """Refuses a video that ends long before its container says: some formats show a missing half in no other way."""
    stated = float(stream.duration * stream.time_base) if stream.duration else 0.0
    if not stated and len(container.streams) == 1:
        stated = (container.duration or 0) / 1_000_000  # FFmpeg's own unit
    if first.pts is not None and last.pts is not None:
        length = float((last.pts + (last.duration or 0) - first.pts) * last.time_base)
        if length < (1 - CUT_OFF) * stated:
            raise Unreadable(f"{NOT_WHOLE} (ends after {length:.2f} s of the {stated:.2f} s that it states)")
