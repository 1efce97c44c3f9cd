"""Rows and errors of the hub: whether it answers, one line for what fails, pictures that stay encoded."""

from unittest.mock import Mock

import datasets
import pytest

from picture_files import cells, encoded, shown, write_parquet
from util import UserError
from util.corpora import captioned
from util.errors import NoConnection
from util.files import hub_or_cache

TINTS = ("red", "green", "blue", "red")
STORED = {"size": (8, 4), "turned": True}
"""A picture is shown as it is stored, whatever its EXIF data say."""
CLASSES = datasets.ClassLabel(names=["no", "yes"])


pytestmark = pytest.mark.usefixtures("own_cache")


def write(path, label="label", times=1):
    return write_parquet(
        path, {"image": cells(TINTS * times, **STORED), label: [0, 1, 0, 1] * times}, **{label: CLASSES}
    )


def test_rows_keep_their_pictures_encoded_and_know_the_data_sets_classes(tmp_path):
    table = captioned.read_parquet([write(tmp_path / f"{part}.parquet") for part in "ab"], "image", ["label"])
    assert list(table["label"]) == [0, 1, 0, 1] * 2
    assert table.features["label"].names == ["no", "yes"]
    assert [content() for content in captioned.contents(table, "image")] == [
        encoded(tint, **STORED) for tint in TINTS * 2
    ]
    openers = captioned.openers(table.select([2, 4]), "image")
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
