"""Videos of your own: the frames that are taken, their order, and folders that are not whole."""

import json

import numpy as np
import pytest
from PIL import Image

from systems import videos
from util import UserError
from util.corpora.captioned import Unreadable


def write_frames(folder, names):
    """Frame i has one grey level, 10 i + 5."""
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        Image.new("L", (8, 8), 10 * i + 5).save(folder / name)
    return folder


def write_table(folder, *names):
    lines = [f"{name},about {name}" for name in names]
    (folder / "captions.csv").write_text("\n".join(["file,text", *lines]))
    return folder


def numbers(frames):
    """Which frames these are, by their grey."""
    assert {(frame.mode, frame.size) for frame in frames} == {("RGB", (8, 8))}
    return [round((float(np.asarray(frame).mean()) - 5) / 10) for frame in frames]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(10, [0, 1, 3, 4, 5, 6, 8, 9]),  # segments of 1.25 frames, middles 0.625, 1.875, 3.125, ...
     (3, [0, 0, 0, 1, 1, 2, 2, 2]), (1, [0] * 8), (8, list(range(8))), (80, [5, 15, 25, 35, 45, 55, 65, 75])],
)  # fmt: skip
def test_the_middle_frame_of_each_segment_is_taken(count, expected):
    assert videos.middle_frames(count) == expected


def test_frames_of_a_folder_come_in_the_order_of_their_numbers(tmp_path):
    folder = write_frames(tmp_path / "clip", [f"frame{i}.png" for i in range(12)])
    (folder / "Thumbs.db").write_bytes(b"no frame")
    (folder / "._frame0.png").write_bytes(b"no frame")
    (folder / "frame3b.png").mkdir()
    assert numbers(videos.frames_of(folder)) == videos.middle_frames(12)
    mixed = write_frames(tmp_path / "mixed", ["A2.PNG", "a03.png", "a10.png"])
    assert numbers(videos.frames_of(mixed)) == videos.middle_frames(3)


def test_videos_are_named_by_their_table_and_missing_ones_are_refused(tmp_path):
    write_frames(tmp_path / "a", [f"{i}.png" for i in range(10)])
    write_frames(tmp_path / "b", ["1.png", "2.png"])
    loaded = videos.load(write_table(tmp_path, "b/", "a"))
    assert (loaded.modality, list(loaded.ids)) == ("video", ["b", "a"])
    assert loaded.captions == ["about b/", "about a"]
    assert [numbers(item) for item in loaded.readable({})] == [videos.middle_frames(2), videos.middle_frames(10)]
    assert json.loads(json.dumps(loaded.source)) == loaded.source
    assert loaded.source["frame_rule"] == "the middle frame of each of 8 equal segments"
    assert list(videos.load(tmp_path, n=1).ids) == ["b"]
    (tmp_path / "c.mp4").touch()
    with pytest.raises(UserError, match=r"2 of the 3 captioned folders of frames are missing, first c.mp4"):
        videos.load(write_table(tmp_path, "b", "c.mp4", "d"))


def test_the_source_tells_contents_apart(tmp_path):
    frames = write_frames(tmp_path / "b", ["1.png", "2.png", "3.png"])
    write_table(tmp_path, "b")
    changes = (
        lambda: None,
        lambda: Image.new("L", (8, 8), 77).save(frames / "2.png"),
        lambda: (frames / "3.png").rename(frames / "4.png"),
    )
    seen = set()
    for change in changes:
        change()
        seen.add(videos.load(tmp_path).source["files"])
    assert len(seen) == len(changes)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, r"no frames in this folder \(.jpg, .jpeg"), (b"?", "1.png: cannot ident")]
)
def test_a_folder_that_is_not_whole_is_left_out_and_named(tmp_path, content, reason):
    bad = write_frames(tmp_path / "bad", [])
    if content:
        (bad / "1.png").write_bytes(content)
    write_frames(tmp_path / "good", ["1.png"])
    loaded, skipped = videos.load(write_table(tmp_path, "bad", "good")), {}
    assert [numbers(item) for item in loaded.readable(skipped)] == [[0] * 8]
    kept = loaded.without(skipped)
    assert (kept.captions, len(kept.source["skipped"])) == (["about good"], 1)
    with pytest.raises(Unreadable, match=reason):
        videos.frames_of(bad)
    assert kept.source["skipped"][0].startswith("bad: ") and "\n" not in kept.source["skipped"][0]
