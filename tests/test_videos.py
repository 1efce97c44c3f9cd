"""Videos of your own: the frames that are taken, their order, and files that are not whole."""

import json
import socket
import threading

import av
import numpy as np
import pytest
from PIL import Image

from systems import videos
from util import UserError
from util.corpora.captioned import Unreadable

SIDE = 64
TURN_CLOCKWISE = b"".join(v.to_bytes(4, "big", signed=True) for v in (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))


def grey(i):
    """The level of frame i; ten levels apart, so that compression does not confuse two of them."""
    return 10 * (i % 25) + 5


def noisy(i):
    """Frame i is grey(i), a strip of noise at its top so that frames cost bytes."""
    pixels = np.full((SIDE, SIDE, 3), grey(i), np.uint8)
    pixels[:16] = np.random.default_rng(i).integers(0, 255, (16, SIDE, 3))
    return pixels


def write_video(path, count=20, codec="libx264", draw=noisy, **options):
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, _ = draw(0).shape
        stream.pix_fmt = "yuv420p"
        for i in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(i), format="rgb24")))
        container.mux(stream.encode())
    return path


def write_frames(folder, names):
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        Image.new("L", (8, 8), grey(i)).save(folder / name)
    return folder


def write_table(folder, *names):
    lines = [f"{name},about {name}" for name in names]
    (folder / "captions.csv").write_text("\n".join(["file,text", *lines]))
    return folder


def numbers(frames):
    """Which frames these are, by their grey in the lower half."""
    return [round((float(np.asarray(frame)[-frame.height // 3 :].mean()) - 5) / 10) for frame in frames]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(10, [0, 1, 3, 4, 5, 6, 8, 9]),  # segments of 1.25 frames, middles 0.625, 1.875, 3.125, ...
     (3, [0, 0, 0, 1, 1, 2, 2, 2]), (1, [0] * 8), (8, list(range(8))), (80, [5, 15, 25, 35, 45, 55, 65, 75])],
)  # fmt: skip
def test_the_middle_frame_of_each_segment_is_taken(count, expected):
    assert videos.middle_frames(count) == expected


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx"), ("a.mkv", "libx264")]
)
@pytest.mark.parametrize("count", [1, 3, 20])
def test_every_container_gives_the_frames_of_the_rule_and_no_more_are_ever_held(
    tmp_path, monkeypatch, name, codec, count
):
    made, turn = [], videos._upright
    monkeypatch.setattr(videos, "_upright", lambda frame: made.append(frame.pts) or turn(frame))
    frames = videos.frames_of(write_video(tmp_path / name, count, codec))
    assert len(set(made)) == len(set(videos.middle_frames(count)))
    assert numbers(frames) == videos.middle_frames(count)
    assert {(frame.mode, frame.size) for frame in frames} == {("RGB", (SIDE, SIDE))}


def test_a_container_that_misstates_its_frames_is_counted_by_decoding(tmp_path):
    path = write_video(tmp_path / "a.avi", 20, "mpeg4")
    content = bytearray(path.read_bytes())
    stated = content.index(b"strh") + 4 + 4 + 32  # dwLength of the stream header
    assert int.from_bytes(content[stated : stated + 4], "little") == 20
    content[stated : stated + 4] = (17).to_bytes(4, "little")
    path.write_bytes(content)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 17
    assert numbers(videos.frames_of(path)) == videos.middle_frames(20)


def test_a_video_that_was_cut_by_its_edit_list_is_whole_and_gives_frames_of_what_is_shown(tmp_path):
    path = write_video(tmp_path / "a.mp4", 20)
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 4 + 8  # segment duration, then media time, after version and number of entries
    duration, start = (int.from_bytes(content[i : i + 4], "big") for i in (at, at + 4))
    content[at : at + 8] = (duration // 2).to_bytes(4, "big") + (start + 5 * 1024).to_bytes(4, "big")  # 5 to 14
    path.write_bytes(content)
    assert numbers(videos.frames_of(path)) == [5 + i for i in videos.middle_frames(10)]


def test_a_video_is_turned_upright_as_its_container_says(tmp_path):
    left_is_bright = np.repeat([200, 0], 32)[None, :, None] * np.ones((32, 64, 3), np.uint8)
    path = write_video(tmp_path / "a.mp4", 1, draw=lambda _: left_is_bright.astype(np.uint8))
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    content[at : at + 36] = TURN_CLOCKWISE
    path.write_bytes(content)
    frame = videos.frames_of(path)[0]
    assert frame.size == (32, 64)
    assert np.asarray(frame)[:24].min() > 150
    assert np.asarray(frame)[-24:].max() < 50


def test_frames_of_a_folder_come_in_the_order_of_their_numbers(tmp_path):
    folder = write_frames(tmp_path / "clip", [f"frame{i}.png" for i in range(12)])
    (folder / "Thumbs.db").write_bytes(b"no frame")
    (folder / "._frame0.png").write_bytes(b"no frame")
    (folder / "frame3b.png").mkdir()
    assert numbers(videos.frames_of(folder)) == videos.middle_frames(12)
    mixed = write_frames(tmp_path / "mixed", ["A2.PNG", "a03.png", "a10.png"])
    assert numbers(videos.frames_of(mixed)) == videos.middle_frames(3)


def test_videos_and_folders_of_frames_share_a_table_and_missing_ones_are_refused(tmp_path):
    write_video(tmp_path / "a.mp4", 10)
    write_frames(tmp_path / "b", ["1.png", "2.png"])
    loaded = videos.load(write_table(tmp_path, "b/", "a.mp4"))
    assert (loaded.modality, list(loaded.ids)) == ("video", ["b", "a.mp4"])
    assert loaded.captions == ["about b/", "about a.mp4"]
    assert [numbers(item) for item in loaded.readable({})] == [videos.middle_frames(2), videos.middle_frames(10)]
    assert json.loads(json.dumps(loaded.source)) == loaded.source
    assert loaded.source["frame_rule"] == "the middle frame of each of 8 equal segments"
    assert list(videos.load(tmp_path, n=1).ids) == ["b"]
    with pytest.raises(UserError, match=r"2 of the 3 captioned videos are missing, first c.mp4"):
        videos.load(write_table(tmp_path, "b", "c.mp4", "d.mp4"))


def test_the_source_tells_contents_apart(tmp_path):
    write_video(tmp_path / "a.mp4", 10)
    write_frames(tmp_path / "b", ["1.png", "2.png", "3.png"])
    write_table(tmp_path, "a.mp4", "b")
    changes = (
        lambda: None,
        lambda: Image.new("L", (8, 8), 77).save(tmp_path / "b" / "2.png"),
        lambda: (tmp_path / "b" / "3.png").rename(tmp_path / "b" / "4.png"),
        lambda: write_video(tmp_path / "a.mp4", 11),
    )
    seen = set()
    for change in changes:
        change()
        seen.add(videos.load(tmp_path).source["files"])
    assert len(seen) == len(changes)


def with_sound_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())


def cut(path, share, **how):
    content = write_video(path, 60, **how).read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def unknown_codec(path):
    path.write_bytes(write_video(path, 10).read_bytes().replace(b"avc1", b"zzzz"))


def playlist(path, address):
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:3", "#EXTINF:2.0,", str(address), "#EXT-X-ENDLIST", ""]
    path.write_text("\n".join(lines))


def concatenation(path):
    write_video(path.with_name("part.mkv"))
    path.write_text("ffconcat version 1.0\nfile 'part.mkv'\n")


def pattern(path):
    write_frames(path.with_name("still"), ["1.png"])
    (path.with_name("still") / "1.png").rename(path.with_name("frame1.png"))
    path.write_bytes(path.with_name("frame1.png").read_bytes()[:60])


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("list.m3u8", lambda path: playlist(path, write_video(path.with_name("part.ts")).name), "not a whole video"),
        ("cat.mp4", concatenation, "not a whole video"),
        ("frame%d.png", pattern, "not a whole video"),
        ("empty.mp4", lambda path: path.write_bytes(b""), "not a whole video .Invalid data"),
        ("text.mp4", lambda path: path.write_text("no video\n" * 99), "not a whole video .Invalid data"),
        ("sound.mp4", with_sound_only, "no video stream in it"),
        ("codec.mp4", unknown_codec, "no decoder for its video stream"),
        ("index_last.mp4", lambda path: cut(path, 0.7), "not a whole video .Invalid data"),
        ("index_first.mp4", lambda path: cut(path, 0.7, movflags="faststart"), "not a whole video"),
        ("nearly.mp4", lambda path: cut(path, 0.99, codec="mpeg4", movflags="faststart"), "not a whole video .damaged"),
        ("cut.avi", lambda path: cut(path, 0.6, codec="mpeg4"), "not a whole video"),
        ("cut.webm", lambda path: cut(path, 0.7, codec="libvpx"), r"ends after \d.* s of the 6.00 s that it states"),
        ("cut.mkv", lambda path: cut(path, 0.7), r"ends after \d.* s of the 6.00 s that it states"),
        ("no_frames", lambda path: path.mkdir(), r"no frames in this folder \(.jpg, .jpeg"),
        ("bad_frame", lambda path: (write_frames(path, ["1.png"]) / "1.png").write_bytes(b"?"), "1.png: cannot ident"),
    ],
)
def test_a_video_that_is_not_whole_is_left_out_and_named(tmp_path, name, make, reason):
    make(tmp_path / name)
    write_frames(tmp_path / "good", ["1.png"])
    loaded, skipped = videos.load(write_table(tmp_path, name, "good")), {}
    assert [numbers(item) for item in loaded.readable(skipped)] == [[0] * 8]
    kept = loaded.without(skipped)
    assert (kept.captions, len(kept.source["skipped"])) == (["about good"], 1)
    with pytest.raises(Unreadable, match=reason):
        videos.frames_of(tmp_path / name)
    assert kept.source["skipped"][0].startswith(f"{name}: ")
    assert "\n" not in kept.source["skipped"][0]


def test_a_playlist_opens_no_connection(tmp_path, monkeypatch):
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        hangs_up = threading.Thread(target=lambda: asked.append(server.accept()[0].close()))
        monkeypatch.setattr(threading, "excepthook", lambda _: None)  # nobody came
        hangs_up.start()
        playlist(tmp_path / "list.m3u8", f"http://127.0.0.1:{server.getsockname()[1]}/part.ts")
        with pytest.raises(Unreadable, match="not a whole video"):
            videos.frames_of(tmp_path / "list.m3u8")
        hangs_up.join()
    assert not asked
