"""Captioned photographs from a folder laid out as MSCOCO's, and from parquet files laid out as the hub's."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from coco_files import CAPTIONS, COLOURS, picture, write_folder, write_parquet
from picture_files import encoded, shown
from util import UserError
from util.corpora import coco, hub
from util.corpora.captioned import Readable

RED, GREEN, BLUE = COLOURS
"""Names of the photographs, in their order."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "coco")


@pytest.fixture
def parquet(tmp_path, monkeypatch):
    """A folder in place of the hub's; what is written there is what the hub has."""
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path / "revision"))
    return tmp_path / "revision"


@pytest.mark.parametrize("origin", ["folder", "hub"])
@pytest.mark.parametrize(
    ("rule", "expected", "item_of"),
    [
        ("first", ["red, first", "green, only", "blue, first"], [0, 1, 2]),
        ("last", ["red, third", "green, only", "blue, second"], [0, 1, 2]),
        ("all", [text for texts in CAPTIONS.values() for text in texts], [0, 0, 0, 1, 2, 2]),
    ],
)
def test_the_caption_rule_chooses_captions_in_the_order_of_the_file(folder, parquet, origin, rule, expected, item_of):
    write_parquet(parquet)
    captioned = coco.load(folder if origin == "folder" else None, caption=rule)
    assert captioned.captions == expected
    assert captioned.item_of.tolist() == item_of
    assert list(captioned.ids) == list(COLOURS)
    assert shown(captioned.openers) == ["red", "green", "blue"]
    source = captioned.source
    assert json.loads(json.dumps(source)) == source
    assert (source["caption_rule"], source["n"], source["n_captions"]) == (rule, 3, len(expected))
    assert set(source) >= {"dataset", "revision", "split", "skipped"}


def test_the_source_tells_photographs_apart(folder):
    source = coco.load(folder).source
    (folder / "val2017" / BLUE).write_bytes(picture(BLUE, size=(24, 24)))
    assert coco.load(folder).source["photographs"] != source["photographs"]


def test_a_photograph_is_shown_as_it_is_stored_whatever_its_exif_data_say(folder):
    (folder / "val2017" / RED).write_bytes(encoded("red", (8, 4), "jpeg", turned=True))
    assert coco.load(folder).openers[0]().size == (8, 4)


def test_photographs_are_opened_only_when_they_are_needed(folder, parquet, monkeypatch):
    write_parquet(parquet)
    for opens, owner in (("encoded", hub), ("open", Image)):
        monkeypatch.setattr(owner, opens, lambda *_: pytest.fail("opened"))
    assert len(coco.load(folder)) == len(coco.load(None)) == 3
    monkeypatch.undo()
    images = iter(Readable([*coco.load(folder).openers[:1], lambda: pytest.fail("opened")], {}))
    assert next(images).mode == "RGB"


def test_only_the_first_n_images_are_taken(folder, parquet):
    write_parquet(parquet)
    for place in (folder, None):
        assert list(coco.load(place, n=2).ids) == [RED, GREEN]
        assert len(coco.load(place, n=99)) == 3
        with pytest.raises(UserError, match="at least 1"):
            coco.load(place, n=0)


@pytest.mark.parametrize("damage", [b"", b"not a picture at all", "half"])
def test_an_unreadable_photograph_is_left_out_with_its_captions_and_named(folder, damage):
    (folder / "val2017" / GREEN).write_bytes(picture(GREEN)[:300] if damage == "half" else damage)
    captioned, skipped = coco.load(folder, caption="all"), {}
    assert shown(captioned.openers, skipped) == ["red", "blue"]
    kept = captioned.without(skipped)
    assert list(kept.ids) == [RED, BLUE]
    assert kept.captions == [*CAPTIONS[RED], *CAPTIONS[BLUE]]
    assert kept.item_of.tolist() == [0, 0, 0, 1, 1]
    assert kept.source["skipped"][0].startswith(f"{GREEN}: ")
    assert shown(kept.openers) == ["red", "blue"]


def test_an_unreadable_photograph_on_the_hub_is_left_out_too(parquet):
    write_parquet(parquet, damaged=[RED])
    captioned, skipped = coco.load(None), {}
    assert shown(captioned.openers, skipped) == ["green", "blue"]
    assert captioned.without(skipped).captions == ["green, only", "blue, first"]


def test_missing_photographs_are_counted_in_one_line(folder):
    (folder / "val2017" / GREEN).unlink()
    with pytest.raises(UserError, match=rf"val2017: 1 of the 3 .* first {GREEN}; get val2017.zip") as caught:
        coco.load(folder)
    assert "\n" not in str(caught.value)
    assert len(coco.load(folder, n=1)) == 1


def test_captions_can_be_read_without_the_photographs(folder):
    (folder / "val2017").rename(folder / "elsewhere")
    rows, digest = coco.read_captions(folder)
    assert [(i, texts) for i, _, texts in rows] == [(int(n[:12]), CAPTIONS[n]) for n in COLOURS]
    assert len(digest) == 64


def test_an_unknown_split_names_those_that_are_there(folder, tmp_path):
    with pytest.raises(UserError, match="'test2017' there; it has captions of val2017"):
        coco.load(folder, split="test2017")
    with pytest.raises(UserError, match=r"expected annotations/captions_<split>.json"):
        coco.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="val2017, not of 'train2017'; use a COCO folder"):
        coco.load(None, split="train2017")


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
    with pytest.raises(UserError, match=r"captions_val2017.json: not a whole MSCOCO caption file") as caught:
        coco.load(folder)
    assert "\n" not in str(caught.value)


def test_parquet_files_of_another_schema_or_none_are_refused(parquet):
    with pytest.raises(UserError, match=r"MSCOCO captions: .*COCO-Caption2017 has no files data/val-\*.parquet"):
        coco.load(None)
    write_parquet(parquet, columns=("question_id", "image"))
    with pytest.raises(UserError, match=r"expected columns image, answer, question_id; found question_id, image$"):
        coco.load(None)


def test_without_a_network_the_hub_is_one_line_soon(no_network):
    with pytest.raises(UserError, match=r"Caption2017.*no connection to http://127.0.0.1:9.*COCO folder") as caught:
        coco.load(None)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif("MODALITY_GAP_COCO" not in os.environ, reason="MODALITY_GAP_COCO names no COCO folder")
def test_a_real_coco_folder_loads():
    captioned, skipped = coco.load(os.environ["MODALITY_GAP_COCO"], "train2017", "all", n=20), {}
    assert (len(shown(captioned.openers, skipped)), skipped) == (20, {})
    assert (np.bincount(captioned.item_of) >= 5).all()
