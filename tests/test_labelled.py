"""Labelled images: classes matched by name, labels in range, folders by class, hashes that tell data apart."""

import hashlib
import json

import numpy as np
import pytest

from encoder_checks import refused
from picture_files import encoded, shown
from util import UserError
from util.corpora.labelled import Classes, from_folder, spread

TINTS = {"Annual Crop": "red", "forest": "green", "SeaLake": "blue"}
DECLARED = Classes(("red fields", "green woods", "blue water"), ("AnnualCrop", "Forest", "sea_lake"))


def write(folder, names=TINTS, per_class=2):
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            (folder / name / f"{number}.png").write_bytes(encoded(TINTS[name], (8 + number, 8 + number)))
    return folder


def test_classes_are_numbered_as_declared_whatever_their_order_on_disk_and_whatever_else_lies_there(tmp_path):
    write(tmp_path)
    (tmp_path / "forest" / "notes.txt").write_text("not a picture")
    (tmp_path / "forest" / ".hidden.png").write_bytes(encoded("green"))
    (tmp_path / ".cache").mkdir()
    found = from_folder(tmp_path, "test", DECLARED, {"dataset": "fields"})
    assert shown(found.openers) == ["red"] * 2 + ["blue"] * 2 + ["green"] * 2  # capital letters sort first
    assert (found.labels.tolist(), found.labels.dtype) == ([0, 0, 2, 2, 1, 1], np.int64)
    assert found.class_names == DECLARED.names
    assert found.ids[:3] == ["Annual Crop/0.png", "Annual Crop/1.png", "SeaLake/0.png"]
    source = found.source
    assert (source["split"], source["n"], source["dataset"]) == ("all of the folder", 6, "fields")
    assert json.loads(json.dumps(source)) == source


def test_folders_may_be_named_as_the_prompts_or_by_another_spelling(tmp_path):
    classes = Classes(("a", "b"), ("Annual Crop", "x"), {"forest": "x"})
    assert from_folder(write(tmp_path, ["Annual Crop", "forest"]), "test", classes, {}).labels.tolist() == [0, 0, 1, 1]
    assert DECLARED.numbers(["green woods", "AnnualCrop", "Sea-Lake"], "here") == [1, 0, 2]


MANY = Classes(tuple(map(str, range(40))), tuple(map(str, range(40))))
SIGNS = Classes(("a", "b", "c"), ("C", "C++", "basic"))


@pytest.mark.parametrize(
    ("classes", "found", "shows"),
    [
        (DECLARED, ["AnnualCrop", "Forest"], r"2 \(AnnualCrop, Forest\), declared are 3 \(AnnualCrop, .*, sea_lake\)"),
        (DECLARED, ["AnnualCrop", "Forest", "Desert"], r"3 \(AnnualCrop, Forest, Desert\), declared"),
        (DECLARED, ["AnnualCrop", "annual crop", "Forest", "SeaLake"], r"4 \(AnnualCrop, annual crop"),
        (MANY, ["a"], r"1 \(a\), declared are 40 \(0, 1, .*, 11, \.\.\. 28 more\)"),
        (SIGNS, ["c", "C++", "basic"], r"3 \(c, C\+\+, basic\)"),
    ],
)
def test_class_names_that_do_not_match_are_both_shown(classes, found, shows):
    with pytest.raises(UserError, match=f"^here: class names and labels do not match; the data have {shows}"):
        classes.numbers(found, "here")


def test_names_that_differ_in_signs_only_are_told_apart_and_of_names_as_labels_only_those_that_occur_need_be_known():
    assert SIGNS.numbers(["C++", "Basic", "C"], "here") == [1, 2, 0]
    assert DECLARED.numbers(["Forest"], "here", whole=False) == [1]
    with pytest.raises(UserError, match="do not match"):
        DECLARED.numbers(["Desert"], "here", whole=False)


def test_splits_of_a_folder_are_chosen_joined_and_listed(tmp_path):
    for split, per_class in (("train", 2), ("test", 1)):
        write(tmp_path / split, per_class=per_class)
    assert len(from_folder(tmp_path, "test", DECLARED, {})) == 3
    both = from_folder(tmp_path, "test+train", DECLARED, {})
    first = [f"test/{name}/0.png" for name in ("Annual Crop", "SeaLake", "forest")]
    assert both.ids[:4] == [*first, "train/Annual Crop/0.png"]
    assert both.source["split"] == "test+train"
    with pytest.raises(UserError, match="or a split 'val' that holds them, or parquet files; found test, train"):
        from_folder(tmp_path, "test+val", DECLARED, {})


def test_a_folder_without_classes_or_pictures_is_refused(tmp_path):
    with refused(r"a subfolder for each class \(AnnualCrop, .*, or parquet files; found no folder"):
        from_folder(tmp_path, "test", DECLARED, {})
    with pytest.raises(UserError, match="no pictures in the folders of its classes"):
        from_folder(write(tmp_path, per_class=0), "test", DECLARED, {})
    (tmp_path / "SeaLake").rename(tmp_path / "Desert")
    with refused(r"each class \(AnnualCrop, Forest, sea_lake\).*found Annual Crop, Desert, forest"):
        from_folder(tmp_path, "test", DECLARED, {})
    write(tmp_path / "test", ["forest", "SeaLake"])
    with refused(r"test: class names and labels do not match; the data have 2 \(SeaLake, forest"):
        from_folder(tmp_path, "test", DECLARED, {})


@pytest.mark.parametrize("nested", [["forest"], list(TINTS)])
def test_a_class_that_holds_folders_is_no_split(tmp_path, nested):
    write(tmp_path)
    for name in nested:
        (tmp_path / name / "more").mkdir()
        (tmp_path / name / "more" / "0.png").write_bytes(encoded(TINTS[name]))
    found = from_folder(tmp_path, "test", DECLARED, {})
    assert sorted(shown(found.openers)) == sorted([*TINTS.values()] * 2 + [TINTS[name] for name in nested])


@pytest.mark.parametrize("others", [[], ["test"]])
def test_a_split_may_be_named_as_a_class(tmp_path, others):
    classes = Classes(("a train", "a forest"), ("train", "forest"))
    for split in ["train", *others]:
        for name in classes.own:
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "0.png").write_bytes(encoded("red"))
    assert from_folder(tmp_path, "train", classes, {}).ids == ["train/forest/0.png", "train/train/0.png"]


def test_the_hash_is_of_names_labels_and_content(tmp_path):
    write(tmp_path)
    found = from_folder(tmp_path, "test", DECLARED, {})
    by_hand = hashlib.sha256()
    for name, label in zip(found.ids, found.labels.tolist(), strict=True):
        content = (tmp_path / name).read_bytes()
        by_hand.update(json.dumps([name, label, len(content)]).encode() + content)
    assert found.source["split_sha256"] == by_hand.hexdigest()
    (tmp_path / "forest" / "1.png").write_bytes(encoded("green", (20, 20)))
    hashes = {by_hand.hexdigest(), from_folder(tmp_path, "test", DECLARED, {}).source["split_sha256"]}
    swapped = Classes(DECLARED.names, (DECLARED.own[1], DECLARED.own[0], DECLARED.own[2]))
    hashes.add(from_folder(tmp_path, "test", swapped, {}).source["split_sha256"])
    (tmp_path / "forest" / "1.png").rename(tmp_path / "forest" / "2.png")
    hashes.add(from_folder(tmp_path, "test", DECLARED, {}).source["split_sha256"])
    assert len(hashes) == 4


def test_a_picture_is_turned_upright_and_a_damaged_one_is_left_to_whoever_opens_it(tmp_path):
    (write(tmp_path) / "SeaLake" / "0.png").write_bytes(b"no picture")
    (tmp_path / "Annual Crop" / "0.png").write_bytes(encoded("red", (8, 4), turned=True))
    found, skipped = from_folder(tmp_path, "test", DECLARED, {}), {}
    assert len(shown(found.openers, skipped)) == 5
    assert (list(skipped), found.openers[0]().size) == ([2], (4, 8))


def test_some_of_a_folder_are_evenly_spaced_and_the_source_says_so(tmp_path):
    found = from_folder(write(tmp_path), "test", DECLARED, {}, n=3)
    assert shown(found.openers) == ["red", "blue", "green"]
    assert found.source["taken"] == "3 of 6, evenly spaced"
    assert "taken" not in from_folder(tmp_path, "test", DECLARED, {}, n=6).source
    assert spread(10, 4) == [0, 2, 5, 7]
    assert spread(3, None) == spread(3, 9) == [0, 1, 2]
