"""Pictures of one's own: a folder and a table, in the order of the table, told apart by their content."""

import json

import numpy as np
import pytest
from PIL import Image

from util import UserError
from util.corpora import folder

TABLE = "file,text\nb.png,second\nsub/a.jpg,first of a\nb.png,second again\n"


@pytest.fixture
def pictures(tmp_path):
    """A 16-bit greyscale PNG that fills an eighth of its range, and a greyscale JPEG."""
    (tmp_path / "sub").mkdir()
    Image.fromarray((np.arange(64, dtype=np.uint16) * 130).reshape(8, 8)).save(tmp_path / "b.png")
    Image.new("L", (8, 8), 90).save(tmp_path / "sub" / "a.jpg")
    (tmp_path / "captions.csv").write_text(TABLE)
    return tmp_path


@pytest.mark.parametrize(
    ("rule", "captions"),
    [
        ("first", ["second", "first of a"]),
        ("last", ["second again", "first of a"]),
        ("all", ["second", "second again", "first of a"]),
    ],
)
def test_pictures_and_captions_come_in_the_order_of_the_table(pictures, rule, captions):
    loaded = folder.load(pictures, rule)
    assert (loaded.modality, list(loaded.ids), loaded.captions) == ("image", ["b.png", "sub/a.jpg"], captions)
    assert loaded.item_of.tolist() == [0] * (len(captions) - 1) + [1]
    radiograph, grey = loaded.readable({})
    assert radiograph.mode == grey.mode == "RGB"
    assert np.asarray(radiograph)[..., 0].ravel().tolist() == [round(i * 255 / 63) for i in range(64)]
    assert np.asarray(grey)[4, 4, 1] == 90


def test_the_source_tells_contents_and_captions_apart_but_not_places(pictures, tmp_path_factory):
    source = folder.load(pictures).source
    assert json.loads(json.dumps(source)) == source
    assert (source["n"], source["n_captions"], source["caption_rule"], source["skipped"]) == (2, 2, "first", [])
    elsewhere = tmp_path_factory.mktemp("x") / "copy"
    pictures.rename(elsewhere)
    assert folder.load(elsewhere).source == source
    (elsewhere / "captions.csv").write_text(TABLE + "b.png,a third\n")
    assert folder.load(elsewhere).source["revision"] != source["revision"]
    Image.new("L", (8, 8), 91).save(elsewhere / "sub" / "a.jpg")
    assert folder.load(elsewhere).source["files"] != source["files"]


def test_a_picture_stands_upright_as_its_exif_data_say(tmp_path):
    image, exif = Image.new("RGB", (16, 8), "black"), Image.Exif()
    image.paste("white", (0, 0, 8, 8))
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise: what is left goes to the top
    image.save(tmp_path / "a.png", exif=exif)
    (tmp_path / "captions.csv").write_text("file,text\na.png,half\n")
    (upright,) = folder.load(tmp_path).readable({})
    assert upright.size == (8, 16)
    assert np.asarray(upright)[:, 0, 0].tolist() == [255] * 8 + [0] * 8


def test_a_damaged_picture_is_left_out_and_a_picture_without_caption_is_named(pictures):
    (pictures / "captions.csv").write_text(TABLE + "c.png,\n")
    (pictures / "b.png").write_bytes((pictures / "b.png").read_bytes()[:50])
    (pictures / "c.png").write_bytes(b"")
    loaded, skipped = folder.load(pictures, "all"), {}
    assert len(list(loaded.readable(skipped))) == 1
    kept = loaded.without(skipped)
    assert kept.captions == ["first of a"]
    assert [line.split(":")[0] for line in kept.source["skipped"]] == ["c.png", "b.png"]


def test_missing_pictures_are_counted_and_only_the_first_n_are_asked_for(pictures):
    (pictures / "captions.csv").write_text(TABLE + "sub,a folder\nd.png,nothing\n")
    with pytest.raises(UserError, match=r"2 of the 4 captioned pictures are missing, first sub; put") as caught:
        folder.load(pictures)
    assert "\n" not in str(caught.value)
    assert list(folder.load(pictures, n=1).ids) == ["b.png"]
    with pytest.raises(UserError, match="number of photographs must be at least 1"):
        folder.load(pictures, n=0)
