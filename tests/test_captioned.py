"""Captioned items: what does not decode is left out, pictures of every mode are RGB, your own folder is read."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from picture_files import encoded
from util import UserError
from util.corpora.captioned import Captioned, Readable, Unreadable, assemble, from_folder, picture, upright


def broken():
    raise Unreadable("half of it is missing")


def sequences(openers):
    captions, item_of = ["a", "b", "b too", "c"], np.array([0, 1, 1, 2])
    source = {"n": len(openers), "n_captions": len(captions), "skipped": ["z: no caption"]}
    return Captioned(openers, [f"protein {i}" for i in range(3)], source, "amino acid", captions, item_of)


def test_what_does_not_decode_is_left_out_with_its_captions_and_named_after_what_was_left_out_before():
    captioned, skipped = sequences([lambda: "MA", broken, lambda: "MD"]), {}
    readable = Readable(captioned.openers, skipped)
    assert (len(readable), list(readable)) == (3, ["MA", "MD"])
    kept = captioned.without(skipped)
    assert (list(kept.ids), kept.captions, kept.item_of.tolist()) == (["protein 0", "protein 2"], ["a", "c"], [0, 1])
    assert kept.modality == "amino acid"
    assert kept.source["skipped"] == ["z: no caption", "protein 1: half of it is missing"]
    assert (kept.source["n"], kept.source["n_captions"]) == (2, 2)
    assert captioned.source["skipped"] == ["z: no caption"]
    with pytest.raises(ZeroDivisionError):
        list(Readable([lambda: 1 / 0], {}))  # an error of our own


@pytest.mark.parametrize(
    ("rule", "captions", "item_of"),
    [("first", ["a", "c"], [0, 1]), ("last", ["b", "c"], [0, 1]), ("all", ["a", "b", "c"], [0, 0, 1])],
)
def test_the_rule_chooses_among_captions_that_say_something(rule, captions, item_of):
    made = assemble("image", [None] * 3, ["x", "y", "z"], [["a", " ", "b"], [""], ["c"]], rule, {"dataset": "made"})
    assert (made.captions, made.item_of.tolist(), list(made.ids)) == (captions, item_of, ["x", "z"])
    counts = {"n": 2, "n_captions": len(captions), "caption_rule": rule, "skipped": ["y: no caption"]}
    assert made.source == {"dataset": "made", **counts, "empty_captions": 2}


@pytest.mark.parametrize(("kind", "mode"), [(">u2", "I;16B"), ("<u2", "I;16"), ("i4", "I"), ("f4", "F")])
def test_deep_greyscale_is_not_clipped_but_left_to_whoever_knows_its_range(kind, mode):
    file = io.BytesIO()
    Image.frombytes(mode, (2, 1), np.array([1000, 2000], kind).tobytes()).save(file, "tiff")
    assert Image.open(file).mode == mode
    with pytest.raises(Unreadable, match="greyscale of more than 8 bits; scale it to 8"):
        picture(lambda: Image.open(file))()


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_every_other_mode_becomes_rgb_without_scaling(mode):
    image = picture(lambda: Image.new("L", (2, 2), 255).convert(mode))()
    assert (image.mode, np.asarray(image).min()) == ("RGB", 255)
    grey = picture(lambda: Image.fromarray(np.array([[100, 120]], np.uint8)))()
    assert np.asarray(grey)[0, :, 0].tolist() == [100, 120]


def test_your_own_picture_stands_upright_as_its_exif_data_say(tmp_path):
    image, exif = Image.new("RGB", (16, 8), "black"), Image.Exif()
    image.paste("white", (0, 0, 8, 8))
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise: what is left goes to the top
    image.save(tmp_path / "a.png", exif=exif)
    assert np.asarray(upright(tmp_path / "a.png")())[:, 0, 0].tolist() == [255] * 8 + [0] * 8


@pytest.mark.parametrize("content", [b"", b"no picture", encoded("red", (64, 64))[:60]])
def test_a_damaged_picture_is_unreadable_with_a_reason_of_one_line(content):
    with pytest.raises(Unreadable, match=r"^[^\n]+$"):
        picture(lambda: Image.open(io.BytesIO(content)))()


TABLE = "file,text\nb.png,second\nsub/a.jpg,first of a\nb.png,second again\n"


@pytest.fixture
def pictures(tmp_path):
    """A greyscale PNG, and a JPEG that is to be turned by a quarter."""
    (tmp_path / "sub").mkdir()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "b.png")
    (tmp_path / "sub" / "a.jpg").write_bytes(encoded("green", (16, 8), "jpeg", turned=True))
    (tmp_path / "captions.csv").write_text(TABLE)
    return tmp_path


def test_pictures_and_captions_come_in_the_order_of_the_table(pictures):
    for rule, captions in {"first": ["second"], "last": ["second again"], "all": ["second", "second again"]}.items():
        loaded = from_folder(pictures, rule)
        assert (loaded.modality, list(loaded.ids)) == ("image", ["b.png", "sub/a.jpg"])
        assert (loaded.captions, loaded.item_of.tolist()) == ([*captions, "first of a"], [0] * len(captions) + [1])
    grey, upright = Readable(loaded.openers, {})
    assert grey.mode == upright.mode == "RGB"
    assert np.asarray(grey)[..., 0].ravel().tolist() == list(range(64))
    assert upright.size == (8, 16)


def test_the_source_tells_contents_and_captions_apart_but_not_places(pictures, tmp_path_factory):
    source = from_folder(pictures).source
    assert json.loads(json.dumps(source)) == source
    assert (source["n"], source["n_captions"], source["caption_rule"], source["skipped"]) == (2, 2, "first", [])
    elsewhere = pictures.rename(tmp_path_factory.mktemp("x") / "copy")
    assert from_folder(elsewhere).source == source
    (elsewhere / "captions.csv").write_text(TABLE + "b.png,a third\n")
    assert from_folder(elsewhere).source["revision"] != source["revision"]
    Image.new("L", (8, 8), 91).save(elsewhere / "sub" / "a.jpg")
    assert from_folder(elsewhere).source["files"] != source["files"]


def test_missing_pictures_are_counted_and_only_the_first_n_are_asked_for(pictures):
    (pictures / "captions.csv").write_text(TABLE + "sub,a folder\nd.png,nothing\n")
    with pytest.raises(UserError, match=r"^[^\n]*2 of the 4 captioned pictures are missing, first sub; put[^\n]*$"):
        from_folder(pictures)
    assert list(from_folder(pictures, n=1).ids) == ["b.png"]
