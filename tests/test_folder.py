"""Pictures of one's own: a folder and a table, in the order of the table, told apart by their content."""

import json

import numpy as np
import pytest
from PIL import Image

from picture_files import encoded
from util import UserError
from util.corpora import folder

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
        loaded = folder.load(pictures, rule)
        assert (loaded.modality, list(loaded.ids)) == ("image", ["b.png", "sub/a.jpg"])
        assert (loaded.captions, loaded.item_of.tolist()) == ([*captions, "first of a"], [0] * len(captions) + [1])
    radiograph, upright = loaded.readable({})
    assert radiograph.mode == upright.mode == "RGB"
    assert np.asarray(radiograph)[..., 0].ravel().tolist() == [round(i * 255 / 63) for i in range(64)]
    assert upright.size == (8, 16)


def test_the_source_tells_contents_and_captions_apart_but_not_places(pictures, tmp_path_factory):
    source = folder.load(pictures).source
    assert json.loads(json.dumps(source)) == source
    assert (source["n"], source["n_captions"], source["caption_rule"], source["skipped"]) == (2, 2, "first", [])
    elsewhere = pictures.rename(tmp_path_factory.mktemp("x") / "copy")
    assert folder.load(elsewhere).source == source
    (elsewhere / "captions.csv").write_text(TABLE + "b.png,a third\n")
    assert folder.load(elsewhere).source["revision"] != source["revision"]
    Image.new("L", (8, 8), 91).save(elsewhere / "sub" / "a.jpg")
    assert folder.load(elsewhere).source["files"] != source["files"]


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
    with pytest.raises(UserError, match=r"^[^\n]*2 of the 4 captioned pictures are missing, first sub; put[^\n]*$"):
        folder.load(pictures)
    assert list(folder.load(pictures, n=1).ids) == ["b.png"]
    with pytest.raises(UserError, match="number of photographs must be at least 1"):
        folder.load(pictures, n=0)
