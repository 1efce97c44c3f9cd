"""Captioned photographs from a folder laid out as MSCOCO's, and from parquet files laid out as the hub's."""

import json
import os

import numpy as np
import pytest

from coco_files import CAPTIONS, COLOURS, picture, write_folder, write_parquet
from picture_files import encoded, shown
from util import UserError
from util.corpora import coco, tasks
from util.corpora.captioned import Readable

pytestmark = pytest.mark.usefixtures("own_cache")

RED, GREEN, BLUE = COLOURS
"""Names of the photographs, in their order."""


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "coco")


@pytest.fixture
def parquet(tmp_path, monkeypatch):
    """A folder in place of the hub's; what is written there is what the hub has."""
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path / "revision"))
    return tmp_path / "revision"


@pytest.fixture(params=["folder", "hub"])
def place(request, folder, parquet):
    """Where MSCOCO is read from, the folder or, None, the hub."""
    write_parquet(parquet)
    return folder if request.param == "folder" else None


@pytest.mark.parametrize(
    ("rule", "expected", "item_of"),
    [
        ("first", ["red, first", "green, only", "blue, first"], [0, 1, 2]),
        ("last", ["red, third", "green, only", "blue, second"], [0, 1, 2]),
        ("all", [text for texts in CAPTIONS.values() for text in texts], [0, 0, 0, 1, 2, 2]),
    ],
)
def test_the_caption_rule_chooses_captions_in_the_order_of_the_file(place, rule, expected, item_of):
    captioned = tasks.mscoco(place, caption=rule)
    assert (captioned.captions, captioned.item_of.tolist()) == (expected, item_of)
    assert list(captioned.ids) == list(COLOURS)
    assert shown(captioned.openers) == ["red", "green", "blue"]
    source = captioned.source
    assert json.loads(json.dumps(source)) == source
    assert (source["caption_rule"], source["n"], source["n_captions"]) == (rule, 3, len(expected))
    assert set(source) >= {"dataset", "revision", "split", "skipped"}


def test_only_the_first_n_images_are_taken(place):
    assert list(tasks.mscoco(place, n=2).ids) == [RED, GREEN]
    assert len(tasks.mscoco(place, n=99)) == 3


def test_a_photograph_is_shown_as_it_is_stored_whatever_its_exif_data_say_and_left_out_where_it_is_none(folder):
    source = tasks.mscoco(folder).source
    (folder / "val2017" / RED).write_bytes(encoded("red", (8, 4), "jpeg", turned=True))
    (folder / "val2017" / GREEN).write_bytes(picture(GREEN)[:300])
    captioned, skipped = tasks.mscoco(folder, caption="all"), {}
    assert [image.size for image in Readable(captioned.openers, skipped)] == [(8, 4), (16, 16)]
    kept = captioned.without(skipped)
    assert kept.captions == [*CAPTIONS[RED], *CAPTIONS[BLUE]]
    assert kept.source["skipped"][0].startswith(f"{GREEN}: ")
    assert captioned.source["photographs"] != source["photographs"]


def test_missing_photographs_are_counted_in_one_line_and_captions_can_be_read_without_them(folder):
    (folder / "val2017" / GREEN).unlink()
    with pytest.raises(UserError, match=rf"^[^\n]*val2017: 1 of the 3 [^\n]* first {GREEN}; get val2017.zip[^\n]*$"):
        tasks.mscoco(folder)
    assert len(tasks.mscoco(folder, n=1)) == 1
    rows, digest = coco.read_captions(folder)
    assert rows == [(name, CAPTIONS[name]) for name in COLOURS]
    assert len(digest) == 64


def test_an_unknown_split_names_those_that_are_there(folder, tmp_path):
    with pytest.raises(UserError, match="'test2017' there; it has captions of val2017"):
        tasks.mscoco(folder, split="test2017")
    with pytest.raises(UserError, match=r"expected annotations/captions_<split>.json"):
        tasks.mscoco(folder / "val2017")
    with pytest.raises(UserError, match="no split 'train2017'; there are val2017"):
        tasks.mscoco(None, split="train2017")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"images": [{"id": 1, "file_na',
        b"[]",
        b'{"images": []}',
        b'{"images": [{"id": 1}], "annotations": []}',
        b'{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 2, "caption": "of nothing"}]}',
        b"\xff\xfe\xff",
    ],
)
def test_a_damaged_annotation_file_is_one_line(folder, content):
    (folder / "annotations" / "captions_val2017.json").write_bytes(content)
    with pytest.raises(UserError, match=r"^[^\n]*captions_val2017.json: not a whole MSCOCO caption file[^\n]*$"):
        tasks.mscoco(folder)


@pytest.mark.skipif("MODALITY_GAP_COCO" not in os.environ, reason="MODALITY_GAP_COCO names no COCO folder")
def test_a_real_coco_folder_loads():
    captioned, skipped = tasks.mscoco(os.environ["MODALITY_GAP_COCO"], "train2017", "all", n=20), {}
    assert (len(shown(captioned.openers, skipped)), skipped) == (20, {})
    assert (np.bincount(captioned.item_of) >= 5).all()
