"""Captioned photographs from a folder laid out as MSCOCO's, and from parquet files laid out as the hub's."""

import hashlib
import json
import os

import numpy as np
import pytest
from PIL import Image

from coco_files import CAPTIONS, COLOURS, picture, write_folder, write_parquet
from util import UserError
from util.corpora import coco
from util.corpora.captioned import Readable


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "coco")


@pytest.fixture
def parquet(tmp_path):
    return write_parquet(tmp_path / "hub")


def colours(captioned):
    """What the photographs show, by the brightest channel, and which were skipped."""
    skipped = {}
    shown = ["rgb"[int(np.asarray(image).mean((0, 1)).argmax())] for image in captioned.readable(skipped)]
    return "".join(shown), skipped


@pytest.mark.parametrize("origin", ["folder", "hub"])
@pytest.mark.parametrize(
    ("rule", "expected", "item_of"),
    [
        ("first", ["red, first", "green, only", "blue, first"], [0, 1, 2]),
        ("last", ["red, third", "green, only", "blue, second"], [0, 1, 2]),
        ("all", [text for texts in CAPTIONS.values() for text in texts], [0, 0, 0, 1, 2, 2]),
    ],
)
def test_the_caption_rule_chooses_captions_in_the_order_of_the_file(request, origin, rule, expected, item_of):
    if origin == "folder":
        captioned = coco.load(request.getfixturevalue("folder"), caption=rule)
    else:
        captioned = coco.from_hub(caption=rule, path=request.getfixturevalue("parquet"))
    assert captioned.captions == expected
    assert captioned.item_of.tolist() == item_of
    assert list(captioned.ids) == list(COLOURS)
    assert colours(captioned) == ("rgb", {})
    assert captioned.source["caption_rule"] == rule
    assert (captioned.source["n"], captioned.source["n_captions"]) == (3, len(expected))


def test_the_source_says_which_data_it_was(folder, parquet):
    source = coco.load(folder).source
    assert set(source) >= {"dataset", "revision", "split", "n", "caption_rule", "skipped", "photographs"}
    assert json.loads(json.dumps(source)) == source
    (folder / "val2017" / "000000000007.jpg").write_bytes(picture("000000000007.jpg", 24))
    assert coco.load(folder).source["photographs"] != source["photographs"]


@pytest.mark.parametrize("change", ["photograph", "caption"])
def test_the_source_of_local_parquet_tells_contents_apart_and_not_places(tmp_path, monkeypatch, change):
    source = coco.from_hub(path=write_parquet(tmp_path / "one")).source
    assert (source["dataset"], source["revision"]) == ("MSCOCO, local parquet files", None)
    assert coco.from_hub(path=write_parquet(tmp_path / "two")).source == source
    by_hand = hashlib.sha256()
    for name, texts in CAPTIONS.items():
        by_hand.update(json.dumps([name, texts, len(picture(name))]).encode() + picture(name))
    assert source["split_sha256"] == by_hand.hexdigest()
    captions = CAPTIONS
    if change == "photograph":
        monkeypatch.setitem(COLOURS, "000000000007.jpg", (10, 20, 250))
    else:
        captions = CAPTIONS | {"000000000007.jpg": ["blue, first", "blue, mended"]}
    other = coco.from_hub(path=write_parquet(tmp_path / "three", captions)).source
    assert other["split_sha256"] != source["split_sha256"]


def test_a_photograph_is_shown_as_it_is_stored_whatever_its_exif_data_say(folder):
    turned = Image.Exif()
    turned[0x112] = 6  # the orientation: a quarter turn clockwise
    Image.new("RGB", (8, 4)).save(folder / "val2017" / "000000000009.jpg", exif=turned)
    assert coco.load(folder).openers[0]().size == (8, 4)


def test_photographs_are_opened_only_when_they_are_needed(folder, parquet):
    opened = []
    for captioned in (coco.load(folder), coco.from_hub(path=parquet)):
        openers = [lambda o=o, i=i: opened.append(i) or o() for i, o in enumerate(captioned.openers)]
        images = iter(Readable(openers, {}))
        assert opened == []
        assert next(images).mode == "RGB"
        assert opened == [0]
        opened.clear()


def test_only_the_first_n_images_are_taken(folder, parquet):
    assert list(coco.load(folder, n=2).ids) == list(COLOURS)[:2]
    assert list(coco.from_hub(path=parquet, n=2).ids) == list(COLOURS)[:2]
    assert len(coco.load(folder, n=99)) == len(coco.from_hub(path=parquet, n=99)) == 3
    with pytest.raises(UserError, match="at least 1"):
        coco.load(folder, n=0)


@pytest.mark.parametrize("damage", [b"", b"not a picture at all", "half"])
def test_an_unreadable_photograph_is_left_out_with_its_captions_and_named(folder, damage):
    path = folder / "val2017" / "000000000003.jpg"
    path.write_bytes(picture(path.name)[:300] if damage == "half" else damage)
    captioned = coco.load(folder, caption="all")
    shown, skipped = colours(captioned)
    kept = captioned.without(skipped)
    assert (shown, list(skipped)) == ("rb", [1])
    assert list(kept.ids) == ["000000000009.jpg", "000000000007.jpg"]
    assert kept.captions == [*CAPTIONS["000000000009.jpg"], *CAPTIONS["000000000007.jpg"]]
    assert kept.item_of.tolist() == [0, 0, 0, 1, 1]
    assert (kept.source["n"], kept.source["n_captions"]) == (2, 5)
    assert kept.source["skipped"][0].startswith("000000000003.jpg: ")
    assert colours(kept) == ("rb", {})
    assert (captioned.source["n"], captioned.source["skipped"]) == (3, [])


def test_an_unreadable_photograph_on_the_hub_is_left_out_too(tmp_path):
    captioned = coco.from_hub(path=write_parquet(tmp_path / "damaged", damaged=["000000000009.jpg"]))
    shown, skipped = colours(captioned)
    assert (shown, list(skipped)) == ("gb", [0])
    assert captioned.without(skipped).captions == ["green, only", "blue, first"]


def test_missing_photographs_are_counted_in_one_line(folder):
    (folder / "val2017" / "000000000003.jpg").unlink()
    with pytest.raises(UserError, match=r"val2017: 1 of the 3 .* first 000000000003.jpg; get val2017.zip") as caught:
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


def test_an_unknown_caption_rule_names_the_valid_ones(folder):
    with pytest.raises(UserError, match="'second'; choose from first, last, all"):
        coco.load(folder, caption="second")


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"images": [{"id": 1, "file_na',
        "[]",
        '{"images": []}',
        '{"images": [{"id": 1}], "annotations": []}',
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 2, "caption": "of nothing"}]}',
        b"\xff\xfe\xff",
    ],
)
def test_a_damaged_annotation_file_is_one_line(folder, content):
    path = folder / "annotations" / "captions_val2017.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"captions_val2017.json: not a whole MSCOCO caption file") as caught:
        coco.load(folder)
    assert "\n" not in str(caught.value)


def test_parquet_files_of_another_schema_are_refused_with_their_columns(tmp_path):
    with pytest.raises(UserError, match=r"found question_id, image$"):
        coco.from_hub(path=write_parquet(tmp_path / "other", columns=("question_id", "image")))


def test_damaged_or_missing_parquet_files_are_one_line(tmp_path, parquet):
    with pytest.raises(UserError, match=r"no files val-\*.parquet"):
        coco.from_hub(path=tmp_path / "nowhere")
    file = next(parquet.glob("*00000*"))
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(UserError, match="not readable as parquet") as caught:
        coco.from_hub(path=parquet)
    assert "\n" not in str(caught.value)


def test_without_a_network_the_hub_is_one_line_soon_and_its_settings_are_put_back(no_network):
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    with pytest.raises(
        UserError, match=r"COCO-Caption2017.*no connection to http://127.0.0.1:9.*COCO folder"
    ) as caught:
        coco.load(None)
    assert "\n" not in str(caught.value)
    assert before == constants.HF_HUB_OFFLINE


@pytest.mark.skipif("MODALITY_GAP_COCO" not in os.environ, reason="MODALITY_GAP_COCO names no COCO folder")
def test_a_real_coco_folder_loads():
    captioned = coco.load(os.environ["MODALITY_GAP_COCO"], "train2017", "all", n=20)
    shown, skipped = colours(captioned)
    assert (len(shown), skipped) == (20, {})
    assert (np.bincount(captioned.item_of) >= 5).all()
