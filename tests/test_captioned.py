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


def saved(image, form="png"):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, form)
    return file


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


@pytest.mark.parametrize(
    ("image", "form", "mode"),
    [
        (np.array([[1000, 2000], [3000, 5000]], np.uint16), "png", "I;16"),
        (Image.frombytes("I;16B", (2, 2), np.array([1000, 2000, 3000, 5000], ">u2").tobytes()), "tiff", "I;16B"),
        (np.array([[-1000, 0], [1000, 3000]], np.int32), "tiff", "I"),
        (np.array([[0.125, 0.25], [0.375, 0.625]], np.float32), "tiff", "F"),
    ],
)
def test_deep_greyscale_is_scaled_from_its_own_range_and_not_clipped(image, form, mode):
    file = saved(image, form)
    assert Image.open(file).mode == mode
    image = picture(lambda: Image.open(file))()
    assert image.mode == "RGB"
    assert np.asarray(image).tolist() == [[[0] * 3, [64] * 3], [[128] * 3, [255] * 3]]  # 63.75, 127.5 to even


def test_a_deep_picture_of_one_value_is_black_and_one_that_is_not_finite_is_not_read():
    flat, infinite = saved(np.full((2, 2), 4000, np.uint16)), saved(np.full((2, 2), np.inf, np.float32), "tiff")
    assert np.asarray(picture(lambda: Image.open(flat))()).max() == 0
    with pytest.raises(Unreadable, match="not finite"):
        picture(lambda: Image.open(infinite))()


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
    """A 16-bit greyscale PNG of an eighth of its range, and a JPEG that is to be turned by a quarter."""
    (tmp_path / "sub").mkdir()
    Image.fromarray((np.arange(64, dtype=np.uint16) * 130).reshape(8, 8)).save(tmp_path / "b.png")
    (tmp_path / "sub" / "a.jpg").write_bytes(encoded("green", (16, 8), "jpeg", turned=True))
    (tmp_path / "captions.csv").write_text(TABLE)
    return tmp_path


def test_pictures_and_captions_come_in_the_order_of_the_table(pictures):
    for rule, captions in {"first": ["second"], "last": ["second again"], "all": ["second", "second again"]}.items():
        loaded = from_folder(pictures, rule)
        assert (loaded.modality, list(loaded.ids)) == ("image", ["b.png", "sub/a.jpg"])
        assert (loaded.captions, loaded.item_of.tolist()) == ([*captions, "first of a"], [0] * len(captions) + [1])
    radiograph, upright = Readable(loaded.openers, {})
    assert radiograph.mode == upright.mode == "RGB"
    assert np.asarray(radiograph)[..., 0].ravel().tolist() == [round(i * 255 / 63) for i in range(64)]
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
