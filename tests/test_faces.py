"""Faces with labels: a folder laid out as FairFace's, and parquet files laid out as the hub's."""

import json

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

import faces
from face_files import COLOURS, DECLARED, HUB_NAMES, ROWS, write_folder, write_parquet
from util import UserError
from util.corpora import hub
from util.published import NoConnection


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "fairface")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))


def loaded(folder, **options):
    return faces.load(folder, DECLARED, **options)


def test_labels_and_pictures_come_in_the_order_of_the_table(folder):
    found = loaded(folder)
    assert list(found.ids) == list(COLOURS)
    assert [found.faces.races[k] for k in found.faces.race] == ["White", "Black", "Latino"]
    assert [found.faces.genders[k] for k in found.faces.gender] == ["Male", "Female", "Female"]
    assert [found.faces.ages[k] for k in found.faces.age] == ["3-9", "more than 70", "3-9"]
    middle = [np.asarray(opener())[8, 8] for opener in found.openers]
    assert [int(pixel.argmax()) for pixel in middle] == [0, 1, 2]


def test_ages_stand_in_their_order_and_may_be_missing(folder):
    assert loaded(folder).faces.ages[:2] == ("0-2", "3-9")
    (folder / "fairface_label_val.csv").rename(folder / "labels.csv")
    text = (folder / "labels.csv").read_text().replace("age", "how_old")
    (folder / "labels.csv").write_text(text)
    assert loaded(folder).faces.age is None


def test_ages_that_are_not_asked_for_are_not_looked_at(folder, tmp_path, cache):
    write_folder(folder, rows=(ROWS[0], ("val/2.jpg", "", "Female", "Black", "False"), ROWS[2]))
    assert loaded(folder, aged=False).faces.age is None
    with pytest.raises(UserError, match=r"1 of 3 have an age that is not declared, first '' in line 3;"):
        loaded(folder)
    table = tmp_path / "labels.csv"
    table.write_text("race,gender,age\nWhite,Male,\n")
    assert len(faces.labels_of(table, DECLARED, aged=False)[0]) == 1
    with pytest.raises(UserError, match=r"have an age .* first '' in line 2"):
        faces.labels_of(table, DECLARED)
    hub_files = write_parquet(tmp_path / "hub", [(5, 0, -1)], colours=("red",))
    assert faces.from_hub(DECLARED, path=hub_files, aged=False).faces.age is None


def test_the_first_n_faces_are_taken(folder):
    assert list(loaded(folder, n=2).ids) == ["val/1.jpg", "val/2.jpg"]
    with pytest.raises(UserError, match="faces must be at least 1"):
        loaded(folder, n=0)


def test_the_source_tells_labels_and_pictures_apart_but_not_places(folder, tmp_path):
    source = loaded(folder).source
    assert json.loads(json.dumps(source)) == source and source["n"] == 3
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    assert loaded(elsewhere).source == source
    Image.new("RGB", (16, 16), "white").save(elsewhere / "val" / "2.jpg")
    assert loaded(elsewhere).source["files"] != source["files"]
    assert loaded(elsewhere).source["revision"] == source["revision"]
    write_folder(elsewhere, rows=(ROWS[0], ROWS[1], (*ROWS[2][:3], "White", "True")))
    assert loaded(elsewhere).source["revision"] != source["revision"]


def test_labels_and_pictures_that_do_not_match_are_both_named(folder):
    Image.new("RGB", (8, 8)).save(folder / "val" / "9.ppm")
    (folder / "val" / "2.jpg").unlink()
    (folder / "val" / "3.jpg").unlink()
    with pytest.raises(UserError) as error:
        loaded(folder)
    said = str(error.value)
    assert "2 labels without a picture, first val/2.jpg; 1 pictures without a label, first val/9.ppm" in said
    assert str(folder / "fairface_label_val.csv") in said and "\n" not in said


def test_a_missing_picture_is_named(folder):
    (folder / "val" / "1.jpg").unlink()
    with pytest.raises(UserError, match=r"1 labels without a picture, first val/1.jpg; put the pictures there"):
        loaded(folder)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            ("val/1.jpg", "3-9", "Male", "Martian", "True"),
            r"1 of 3 have a race .* 'Martian' in line 2; declared are ",
        ),
        (("val/1.jpg", "3-9", "Other", "White", "True"), r"a gender .* 'Other' in line 2; declared are Male, Female$"),
        (("val/1.jpg", "old", "Male", "White", "True"), r"have an age .* 'old' in line 2; declared are 0-2, "),
        (("val/1.jpg", "3-9", "", "White", "True"), r"a gender that is not declared, first '' in line 2"),
        (("val/2.jpg", "3-9", "Male", "White", "True"), r"1 names stand there more than once, first val/2.jpg"),
        (
            (f"{'x' * 300}.jpg", "3-9", "Male", "White", "True"),
            r"1 labels without a picture, first x{40}\.\.\.x{36}\.jpg \(304 characters\); 1 pictures without a label",
        ),
        ((f"{'x' * 300}/1.jpg", "3-9", "Male", "White", "True"), r"1 labels without a picture, first x{40}\.\.\."),
        (("val/\x1b1.jpg", "3-9", "Male", "White", "True"), r"first 'val/\\x1b1\.jpg'; 1 pictures without a label"),
        (("val/\0.jpg", "3-9", "Male", "White", "True"), r"first 'val/\\x00\.jpg'; 1 pictures without a label"),
        (("val/../val/2.jpg", "3-9", "Male", "White", "True"), r"leads out of the folder"),
    ],
)
def test_a_bad_row_is_one_line(folder, row, said):
    write_folder(folder, rows=(row, *ROWS[1:]))
    with pytest.raises(UserError, match=said) as error:
        loaded(folder)
    assert "fairface_label_val.csv" in str(error.value) and "\n" not in str(error.value)


def test_a_folder_without_a_table_says_what_to_fetch(tmp_path, folder):
    with pytest.raises(UserError, match=r"expected fairface_label_val.csv or labels.csv .*neither .*joojs/fairface"):
        loaded(tmp_path / "nowhere")
    (folder / "labels.csv").write_text("file,race,gender\n")
    with pytest.raises(UserError, match="both are there"):
        loaded(folder)
    (folder / "fairface_label_val.csv").unlink()
    with pytest.raises(UserError, match="no rows under the header"):
        loaded(folder)


def test_the_hubs_numbers_are_read_by_their_names(tmp_path, cache):
    labels = [(5, 0, 1), (2, 1, 8), (3, 1, 0)]
    found = faces.from_hub(DECLARED, path=write_parquet(tmp_path / "hub", labels))
    assert [found.faces.races[k] for k in found.faces.race] == ["Latino", "Black", "White"]
    assert [found.faces.genders[k] for k in found.faces.gender] == ["Male", "Female", "Female"]
    assert [found.faces.ages[k] for k in found.faces.age] == ["3-9", "more than 70", "0-2"]
    middle = [np.asarray(opener())[8, 8] for opener in found.openers]
    assert [int(pixel.argmax()) for pixel in middle] == [0, 1, 2]
    assert found.source["split"] == "validation" and found.source["padding"] == "0.25"
    assert found.source["licence"] == "CC BY 4.0" and json.loads(json.dumps(found.source)) == found.source
    other = write_parquet(tmp_path / "other", labels, race=[*HUB_NAMES["race"][1:], HUB_NAMES["race"][0]])
    again = faces.from_hub(DECLARED, path=other, n=2)
    assert [again.faces.races[k] for k in again.faces.race] == ["Southeast Asian", "White"]


@pytest.mark.parametrize("label", [-1, None, 9])
@pytest.mark.parametrize("column", range(3))
def test_a_label_of_the_hub_that_is_missing_or_has_no_name_is_refused(tmp_path, cache, column, label):
    """-1 is how the hub writes that a label is missing, and no count from the end."""
    good, number = [(5, 0, 1)] * 3, [7, 2, 9][column] if label == 9 else label
    bad = tuple(number if place == column else code for place, code in enumerate(good[0]))
    folder, name = write_parquet(tmp_path / "hub", good), faces.HUB_LABELS[column]
    file = next(folder.glob("0.25/*.parquet"))
    table = parquet.read_table(file)
    values = pa.array([good[0][column], good[0][column], bad[column]], pa.int64())
    place = table.schema.get_field_index(name)
    parquet.write_table(table.set_column(place, table.schema.field(place), values), file)
    with pytest.raises(UserError) as error:
        faces.from_hub(DECLARED, path=folder)
    line = str(error.value)
    assert f"0.25/validation-*.parquet: {name} of 1 of 3 rows is missing or has no name" in line
    assert f"first {number!r} in row 2; the labels are 0 to {len(HUB_NAMES[name]) - 1} (" in line and "\n" not in line


def test_a_padding_that_is_not_there_and_a_column_that_is_lacking(tmp_path, cache):
    folder = write_parquet(tmp_path / "hub", [(5, 0, 1)], colours=("red",))
    with pytest.raises(UserError, match=r"no files 1.25/validation-\*.parquet there; .*--data DIR"):
        faces.from_hub(DECLARED, "1.25", path=folder)
    with pytest.raises(UserError, match=r"paddings 0.25, 1.25, not '2'"):
        faces.from_hub(DECLARED, "2", path=folder)
    file = next(folder.glob("0.25/*.parquet"))
    datasets.Dataset.from_parquet(str(file)).remove_columns("race").to_parquet(str(file))
    with pytest.raises(UserError, match=r"expected columns image, race, gender, age; found image, gender, age"):
        faces.from_hub(DECLARED, path=folder)


def test_without_a_network_one_line_says_what_to_fetch_and_where_to_put_it(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no connection to https://huggingface.co, and not whole in its cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    monkeypatch.setattr(hub, "reachable", lambda url: False)
    with pytest.raises(NoConnection) as error:
        faces.load(None, DECLARED)
    said = str(error.value)
    assert "HuggingFaceM4/FairFace (0.25/validation-*.parquet)" in said and "\n" not in said
    assert "https://github.com/joojs/fairface" in said and "--data DIR" in said
