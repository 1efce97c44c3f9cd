"""Rows and errors of the hub, and faces with labels: a folder laid out as FairFace's, and files as the hub has them."""

import json
from unittest.mock import Mock

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

import labelled_faces
from picture_files import (
    DECLARED,
    FACE_COLOURS,
    FACE_ROWS,
    HUB_NAMES,
    cells,
    encoded,
    shown,
    write_face_parquet,
    write_faces,
    write_parquet,
)
from util import NoConnection, UserError
from util.corpora import captioned
from util.files import hub_or_cache, sha256

pytestmark = pytest.mark.usefixtures("own_cache")

TINTS = ("red", "green", "blue", "red")
STORED = {"size": (8, 4), "turned": True}
"""A picture is shown as it is stored, whatever its EXIF data say."""
CLASSES = datasets.ClassLabel(names=["no", "yes"])


def write(path, label="label", times=1):
    return write_parquet(
        path, {"image": cells(TINTS * times, **STORED), label: [0, 1, 0, 1] * times}, **{label: CLASSES}
    )


def test_rows_keep_their_pictures_encoded_and_know_the_data_sets_classes(tmp_path):
    table = captioned.read_parquet([write(tmp_path / f"{part}.parquet") for part in "ab"], "image", ["label"])
    assert list(table["label"]) == [0, 1, 0, 1] * 2
    assert table.features["label"].names == ["no", "yes"]
    _, contents = captioned.stored(table, "image")
    assert [content() for content in contents] == [encoded(tint, **STORED) for tint in TINTS * 2]
    openers, _ = captioned.stored(table.select([2, 4]), "image")
    assert shown(openers) == ["blue", "red"]
    assert openers[0]().size == (8, 4)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        *((nothing, "there is no picture in this row") for nothing in (None, {"bytes": None, "path": None})),
        ({"bytes": b"", "path": "a.png"}, "names the file 'a.png' in place of a picture; put the pictures into it"),
    ],
)
def test_a_row_without_a_picture_says_so(cell, reason):
    with pytest.raises(ValueError, match=reason):
        captioned.encoded(cell)
    assert captioned.encoded({"bytes": b"here", "path": "/out.png"}) == b"here"


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (ConnectionError("no\nway " + "x" * 500), NoConnection, "no way " + "x" * 153),
        (KeyError(), UserError, "KeyError"),
    ],
)
def test_an_error_of_the_hub_is_one_short_line_and_of_the_network_its_own_kind(monkeypatch, error, kind, reason):
    monkeypatch.setattr("util.files.reachable", lambda url: True)
    monkeypatch.setattr("huggingface_hub.snapshot_download", Mock(side_effect=error))
    with pytest.raises(kind) as caught:
        captioned.fetched("Set", "me/set", None, "*.parquet", "do this")
    assert type(caught.value) is kind
    where = "https://huggingface.co/datasets/me/set (*.parquet)"
    assert str(caught.value) == f"Set: {where} could not be fetched ({reason}); do this"


def test_the_hubs_settings_are_put_back_and_an_error_of_an_answering_hub_is_its_own(monkeypatch):
    from huggingface_hub import constants

    for answers, kind in ((True, KeyError), (False, ConnectionError)):
        monkeypatch.setattr("util.files.reachable", lambda url, answers=answers: answers)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        seen = []
        with pytest.raises(kind), hub_or_cache():
            seen.append(constants.HF_HUB_OFFLINE)
            raise KeyError("of the block")
        assert seen == [not answers]
        assert constants.HF_HUB_OFFLINE is False


@pytest.mark.parametrize("damaged", [slice(None), slice(-40, None), slice(4, 5000)])
def test_of_several_files_the_damaged_one_is_named(tmp_path, damaged):
    files = [write(tmp_path / f"{number}.parquet", times=10) for number in range(3)]
    content = bytearray(files[1].read_bytes())
    content[damaged] = b"\xff" * 40
    files[1].write_bytes(content)
    with pytest.raises(UserError, match=rf"^{files[1]}: not readable as parquet \([^\n]*$"):
        captioned.read_parquet(files, "image", ["label"])


def test_files_of_different_columns_or_classes_are_no_one_table(tmp_path):
    files = [write(tmp_path / "a.parquet"), write(tmp_path / "b.parquet", "class")]
    with pytest.raises(UserError, match=r"b\.parquet: expected columns image, label; found image, class"):
        captioned.read_parquet(files, "image", ["label"])
    write_parquet(files[1], {"image": cells(TINTS), "label": [0, 1, 0, 1]})
    with pytest.raises(UserError, match="its parts differ in their columns or number classes differently"):
        captioned.read_parquet(files, "image", ["label"])


@pytest.fixture
def folder(tmp_path):
    return write_faces(tmp_path / "fairface")


@pytest.fixture
def from_hub(tmp_path, monkeypatch):
    """``from_hub`` of a folder that stands in for the hub's, with a cache of its own."""

    def load(folder):
        monkeypatch.setattr(captioned, "fetched", lambda *_: (sorted(folder.glob(labelled_faces.HUB_FILES)), "0" * 40))
        return labelled_faces.from_hub(DECLARED)

    return load


def loaded(folder):
    return labelled_faces.from_folder(folder, DECLARED)


def labels_of(found):
    """Race and gender of every face in words, and the strongest colour of its picture."""
    return *(list(found.faces[name]) for name in ("race", "gender")), [
        int(np.asarray(opener())[4, 4].argmax()) for opener in found.openers
    ]


def test_labels_and_pictures_come_in_the_order_of_the_table_and_their_source_with_them(folder, tmp_path):
    found = loaded(folder)
    assert list(found.ids) == list(FACE_COLOURS)
    assert labels_of(found) == (["White", "Black", "Latino"], ["Male", "Female", "Female"], [0, 1, 2])
    table = folder / "fairface_label_val.csv"
    again, (said,) = labelled_faces.labels_of(table, DECLARED, {"paths": np.array([*FACE_COLOURS])}, 3, "mine")
    assert again.equals(found.faces) and "paths are the same, row by row" in said
    source = found.source
    assert source["revision"] == f"sha256:{sha256(table)}" and json.loads(json.dumps(source)) == source
    elsewhere = folder.rename(tmp_path / "elsewhere")
    assert loaded(elsewhere).source == source
    Image.new("RGB", (16, 16), "white").save(elsewhere / "val" / "2.jpg")
    other = loaded(elsewhere).source
    assert other["files"] != source["files"] and other["revision"] == source["revision"]


def test_labels_and_pictures_that_do_not_match_are_both_named(folder):
    Image.new("RGB", (8, 8)).save(folder / "val" / "9.ppm")
    (folder / "val" / "2.jpg").unlink()
    (folder / "val" / "3.jpg").unlink()
    with pytest.raises(UserError) as error:
        loaded(folder)
    said = str(error.value)
    assert "2 labels without a picture, first 'val/2.jpg'; 1 pictures without a label, first 'val/9.ppm'" in said
    assert str(folder / "fairface_label_val.csv") in said and "\n" not in said


@pytest.mark.parametrize(
    ("name", "gender", "race", "said"),
    [
        ("val/1.jpg", "Male", "Martian", r"1 of 3 have no declared race, first 'Martian' in line 2; declared are "),
        ("val/1.jpg", "Other", "White", r"no declared gender, first 'Other' in line 2; declared are Male, Female, by"),
        ("val/1.jpg", "", "White", r"no declared gender, first '' in line 2"),
        ("val/2.jpg", "Male", "White", r"1 names more than once, first 'val/2.jpg'"),
        (f"{'x' * 300}.jpg", "Male", "White", r"1 labels without a picture, first 'x+\.jpg'; 1 pictures"),
        (f"{'x' * 300}/1.jpg", "Male", "White", r"1 labels without a picture, first 'x+/1\.jpg'"),
        ("val/\0.jpg", "Male", "White", r"first 'val/\\x00\.jpg'; 1 pictures without a label"),
        ("val/../val/2.jpg", "Male", "White", r"leads out of the folder"),
    ],
)
def test_a_bad_row_is_one_line(folder, name, gender, race, said):
    write_faces(folder, rows=((name, "", gender, race, ""), *FACE_ROWS[1:]))
    with pytest.raises(UserError, match=said) as error:
        loaded(folder)
    assert "fairface_label_val.csv" in str(error.value) and "\n" not in str(error.value)


def test_the_hubs_numbers_are_read_by_their_names(tmp_path, from_hub):
    labels = [(5, 0, 1), (2, 1, 8), (3, 1, 0)]
    found = from_hub(write_face_parquet(tmp_path / "hub", labels))
    assert labels_of(found) == (["Latino", "Black", "White"], ["Male", "Female", "Female"], [0, 1, 2])
    assert found.source["split"] == "validation" and found.source["padding"] == "0.25"
    assert found.source["licence"] == "CC BY 4.0" and json.loads(json.dumps(found.source)) == found.source
    other = write_face_parquet(tmp_path / "other", labels, race=[*HUB_NAMES["race"][1:], HUB_NAMES["race"][0]])
    assert labels_of(from_hub(other))[0] == ["Southeast Asian", "White", "Middle Eastern"]


@pytest.mark.parametrize("label", [-1, None, 9])
@pytest.mark.parametrize("name", ["race", "gender"])
def test_a_label_of_the_hub_that_is_missing_or_has_no_name_is_refused(tmp_path, from_hub, name, label):
    """-1 is how the hub writes that a label is missing, and no count from the end."""
    folder = write_face_parquet(tmp_path / "hub", [(5, 0, 1)] * 3)
    file = next(folder.glob("0.25/*.parquet"))
    table = parquet.read_table(file)
    place, values = table.schema.get_field_index(name), pa.array([0, 0, label], pa.int64())
    parquet.write_table(table.set_column(place, table.schema.field(place), values), file)
    said = rf"validation-\*.parquet: 1 of 3 have no declared {name}, first '{label} \(unnamed\)' in row 2;"
    with pytest.raises(UserError, match=said):
        from_hub(folder)
