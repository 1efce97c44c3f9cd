"""Declared tasks: the shipped ones, refusals that name the field, data of the hub sets' own schemas, class folders."""

import hashlib
import json
import re

import datasets
import numpy as np
import pytest

from picture_files import TINTS, cells, encoded, shown, write_coco_parquet, write_parquet
from refusals import refused
from util import NoConnection, UserError, published
from util.corpora import tasks
from util.corpora.tasks import Task

pytestmark = pytest.mark.usefixtures("own_cache")

NAMES = tuple(TINTS)
LABELS = ["red", "red", "blue", "green", "blue", "red"]
NUMBERS = [NAMES.index(name) for name in LABELS]
TEXT = datasets.Value("string")


def colours(**of):
    """Three classes in a data set of the hub."""
    fields = {"title": "Colours", "group": "coarse-grained", "metric": "top-1", "dataset": "someone/colours"}
    return Task(**{"key": "colours", **fields, "class_names": NAMES, "prompts": ("a {} square",), **of})


def of_split(task, split):
    return task.model_copy(update={"split": split})


def write_colours(folder, name="data/test-00000-of-00001.parquet", order=NAMES, labels=LABELS, image="image"):
    """Parquet as the hub has it: a struct of bytes and path, and a ClassLabel."""
    columns = {image: cells(labels), "label": [order.index(label) for label in labels]}
    write_parquet(folder / name, columns, **{image: datasets.Image(), "label": datasets.ClassLabel(names=list(order))})
    return folder


def named(found):
    return [found.class_names[label] for label in found.labels]


def test_the_shipped_tasks_are_those_of_table_1_and_one_of_retrieval():
    found, rows = tasks.read(), {row["dataset"]: row for row in published.values()["table_1"]["rows"]}
    assert [task.published for task in found.values() if task.published] == list(rows)
    assert [key for key, task in found.items() if task.is_retrieval] == ["mscoco"]
    for task in found.values():
        assert re.fullmatch("[0-9a-f]{40}", task.revision)
        assert task.sources["dataset"]
        if task.published:
            assert (task.group, task.metric) == (rows[task.published]["group"], rows[task.published]["metric"])


def test_the_papers_single_prompts_are_the_default():
    found, prompts = tasks.read(), published.values()["table_1"]["prompts"]
    for key, task in found.items():
        if key not in ("hateful_memes", "mscoco"):
            assert task.prompts == (prompts.get(task.published, prompts["default"]),)
    assert found["hateful_memes"].texts() == [["a meme."], ["a hatespeech meme."]]
    assert found["svhn"].texts()[7] == ['a street sign of the number: "7".']
    assert found["cifar100"].texts()[1] == ["a photo of a aquarium_fish."]
    names = dict(zip(found["eurosat"].own_names, found["eurosat"].class_names, strict=True))
    assert names["River"] == "river" and names["HerbaceousVegetation"] == "brushland or shrubland"


OWN = """
[mine]
title = "Mine"
group = "coarse-grained"
metric = "top-1"
dataset = "me/mine"
class_names = ["cat", "dog"]
prompts = ["a {}."]
"""


@pytest.mark.parametrize("metric", ["top-1", "ROC-AUC"])
def test_a_file_of_your_own_is_read_in_the_same_way(tmp_path, metric):
    (tmp_path / "own.toml").write_text(OWN.replace("top-1", metric))
    mine = tasks.read(tmp_path / "own.toml")["mine"]
    assert (mine.key, mine.split, mine.revision, mine.own) == ("mine", "test", None, ("cat", "dog"))
    assert (mine.metric, mine.texts()) == (metric, [["a cat."], ["a dog."]])


TITLE = 'title = "Mine"'
OF_TWO = 'metric = "top-1"\ndataset = "me/mine"\nclass_names = ["cat", "dog"]'
OF_THREE = 'metric = "ROC-AUC"\ndataset = "me/mine"\nclass_names = ["cat", "dog", "cow"]'


@pytest.mark.parametrize(
    ("change", "to", "reason"),
    [
        ('["a {}."]', '["a picture."]', "mine: prompts: at least one is needed, each with {}, the place"),
        ('["a {}."]', "[]", "mine: prompts: at least one is needed"),
        ('["cat", "dog"]', '["cat", "cat"]', "mine: class_names: every class needs a name of its own"),
        ('["cat", "dog"]', '["cat"]', "mine: class_names: at least two are needed, found 1"),
        (OF_TWO, OF_THREE, "mine: metric: ROC-AUC is of two classes, but class_names has 3"),
        ('"top-1"', '"accuracy"', "mine.metric: Input should be 'top-1', 'ROC-AUC' or 'retrieval'"),
        ('"dog"]', '"dog", "cow"]\nown_names = ["a", "b"]', "mine: own_names: 2 names, but class_names has 3"),
        (TITLE, f"{TITLE}\nitems = 0", "mine.items: Input should be greater than 0"),
        (TITLE, f"{TITLE}\nitems = true", "mine.items: Input should be a valid integer"),
        (TITLE, f'{TITLE}\nspellings = {{kitten = "cats"}}', "mine: spellings: 'cats' is not a name of the data"),
        (OWN, "", "it declares no task"),
        (OWN, "a = 1", "a: Input should be a valid dictionary"),
        (OWN, OWN + OWN.replace("[mine]", "[other]"), "[other] title: 'Mine' is that of [mine]"),
    ],
)
def test_a_wrong_field_is_one_line_with_file_task_and_field(tmp_path, change, to, reason):
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace(change, to))
    with pytest.raises(UserError) as caught:
        tasks.read(path)
    assert str(caught.value).startswith(f"{path}: {reason}")


@pytest.mark.parametrize("order", [NAMES, ("blue", "red", "green")])
def test_parquet_of_the_hubs_schema_is_read_by_the_declared_columns_and_in_the_declared_order(tmp_path, order):
    found = tasks.load(colours(image_column="img"), write_colours(tmp_path, image="img", order=order))
    assert named(found) == shown(found.openers) == LABELS
    assert found.ids[:2] == ["test/0", "test/1"]
    assert (found.source["task"], found.source["split"], found.source["n"]) == ("colours", "test", 6)
    assert json.loads(json.dumps(found.source)) == found.source
    some = tasks.load(colours(image_column="img"), tmp_path, n=3)
    assert (some.ids, some.source["taken"]) == (["test/0", "test/2", "test/4"], "of 6, evenly spaced")
    assert some.source["split_sha256"] != found.source["split_sha256"]


def test_a_misspelt_class_of_the_data_set_is_known_by_its_spelling(tmp_path):
    task = tasks.read()["cifar100"]
    order = datasets.ClassLabel(names=[name.replace("crab", "cra") for name in task.class_names])
    columns = {"img": cells(["red", "red"]), "fine_label": [26, 99]}
    write_parquet(tmp_path / "test-00000-of-00001.parquet", columns, img=datasets.Image(), fine_label=order)
    assert named(tasks.load(task, tmp_path)) == ["crab", "worm"]


def test_joined_splits_come_one_after_the_other_and_number_their_classes_alike(tmp_path):
    own = tasks.read()["eurosat"]
    order = datasets.ClassLabel(names=list(own.own_names))
    for split, numbers in {"test": [9], "train": [0, 1], "validation": [4]}.items():
        columns = {"image": cells(["red"] * len(numbers)), "label": numbers}
        write_parquet(tmp_path / f"data/{split}-00000-of-00001.parquet", columns, label=order)
    found = tasks.load(own, tmp_path)
    assert found.labels.tolist() == [0, 1, 4, 9]
    assert found.ids == ["train/0", "train/1", "validation/0", "test/0"]
    assert found.source["split"] == "train+validation+test"
    assert tasks.load(of_split(own, "test"), tmp_path).labels.tolist() == [9]
    with pytest.raises(UserError, match="no parquet files of split 'dev' there; it has test, train, validation"):
        tasks.load(of_split(own, "dev"), tmp_path)


@pytest.mark.parametrize("kind", ["numbers", "names", "bytes"])
def test_labels_may_be_numbers_or_names_and_pictures_may_be_bytes(tmp_path, kind):
    columns, kinds = {"image": cells(LABELS), "label": NUMBERS}, {}
    if kind == "names":
        columns["label"], kinds["label"] = [name.upper() for name in LABELS], TEXT
    if kind == "bytes":
        columns["image"], kinds["image"] = [encoded(name) for name in LABELS], datasets.Value("binary")
    write_parquet(tmp_path / "test.parquet", columns, **kinds)
    found = tasks.load(colours(), tmp_path)
    assert named(found) == shown(found.openers) == LABELS


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0, 3, 1, 7, 0, 0], "'label': labels must be 0 to 2 for 3 classes; 2 of 6 are not, the first is 3, at 1"),
        ([0, -1, 1, 2, 0, 0], "for 3 classes; 1 of 6 are not, the first is -1, at 1"),
        ([0, None, 1, None, 0, 0], "2 of 6 rows have no label, first row 1"),
        ([0.5, 1, 1, 1, 0, 0], "labels must be 6 whole numbers in a row, one for each image, not float64"),
    ],
)
def test_labels_that_cannot_be_are_counted_and_the_first_named(tmp_path, values, reason):
    kind = datasets.Value("float64" if 0.5 in values else "int64")
    write_parquet(tmp_path / "test.parquet", {"image": cells(LABELS), "label": values}, label=kind)
    with pytest.raises(UserError, match=reason) as caught:
        tasks.load(colours(), tmp_path)
    assert "\n" not in str(caught.value)


def test_nothing_is_decoded_before_it_is_needed_and_what_cannot_be_is_left_to_whoever_opens_it(tmp_path):
    pictures = [{"bytes": content, "path": None} for content in (encoded("red"), b"none", encoded("blue"))]
    write_parquet(tmp_path / "data/test-0.parquet", {"image": pictures, "label": [0] * 3})
    found, skipped = tasks.load(colours(), tmp_path), {}
    assert len(found) == 3 and shown(found.openers, skipped) == ["red", "blue"]
    assert skipped == {1: "cannot identify image file <_io.BytesIO>"}
    with pytest.raises(UserError, match="column 'label' holds no pictures"):
        tasks.load(colours(image_column="label", label_column="image"), tmp_path)


def test_declared_files_are_fetched_alone_and_the_commit_stands_in_the_source(tmp_path, monkeypatch):
    folder, asked = write_colours(tmp_path / ("0123456789" * 4)), []
    columns = {"photo": cells(["red"]), "said": ["red"], "name": ["r"]}
    write_parquet(folder / "mine/dev-0.parquet", columns, photo=datasets.Image(), said=TEXT, name=TEXT)
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda dataset, **options: asked.append((dataset, options)) or str(folder)
    )
    task = colours(files={"test": "data/test-*.parquet", "train": "data/train-*.parquet"})
    found = tasks.load(task)
    assert (found.source["dataset"], found.source["revision"]) == ("someone/colours", folder.name)
    assert named(found) == LABELS
    with pytest.raises(UserError, match="Colours: files names no split 'dev'; there are test, train"):
        tasks.load(of_split(task, "dev"))
    with pytest.raises(UserError, match="Colours: files names no split 'test'; there are none"):
        tasks.load(colours())
    with pytest.raises(UserError, match=r"datasets/someone/colours has no files data/train-\*.parquet"):
        tasks.load(of_split(task, "train"))
    own = {"revision": "5" * 40, "files": {"dev": "mine/dev-*.parquet"}, "split": "dev"}
    own |= {"image_column": "photo", "caption_column": "said", "id_column": "name"}
    found = tasks.load(colours(metric="retrieval", dataset="me/set", **own))
    assert (list(found.ids), found.captions, shown(found.openers)) == (["r"], ["red"], ["red"])
    assert [(dataset, options["revision"], options["allow_patterns"]) for dataset, options in asked] == [
        ("someone/colours", None, "data/test-*.parquet"),
        ("someone/colours", None, "data/train-*.parquet"),
        ("me/set", "5" * 40, "mine/dev-*.parquet"),
    ]


def test_without_a_network_one_line_says_what_to_fetch_and_where_to_put_it(no_network):
    with pytest.raises(NoConnection) as caught:
        tasks.load(colours(files={"test": "data/test-*.parquet"}, megabytes=24))
    line = str(caught.value)
    assert "\n" not in line
    for part in ("https://huggingface.co/datasets/someone/colours", "no connection to http://127.0.0.1:9", "(24 MB)"):
        assert part in line
    assert "put them into DIR/colours (--data DIR)" in line


def test_class_folders_do_in_place_of_parquet(tmp_path):
    for split in ("train", "test"):
        for name in NAMES:
            (tmp_path / "colours" / split / name).mkdir(parents=True)
            (tmp_path / "colours" / split / name / "0.png").write_bytes(encoded(name))
    found = tasks.load(colours(), tasks.folder_of(colours(), tmp_path))
    assert shown(found.openers) == sorted(NAMES) == named(found)
    assert found.source["dataset"] == "Colours, local folder"
    assert tasks.folder_of(colours(key="others"), tmp_path) is tasks.folder_of(colours(), None) is None
    with pytest.raises(UserError, match="no such folder; expected the data of Colours there"):
        tasks.load(colours(), tmp_path / "nowhere")


def test_mscoco_is_read_from_the_hubs_parquet_too_and_pictures_beside_a_table_of_captions_do(tmp_path):
    task = tasks.read()["mscoco"]
    found = tasks.load(task, write_coco_parquet(tmp_path / "hub"))
    assert (found.source["dataset"], found.source["split"]) == ("MSCOCO, local parquet files", "val2017")
    assert tasks.load(task, tmp_path / "hub", n=2).captions == found.captions[:4]
    other = write_coco_parquet(tmp_path / "other", {name: ["mended"] for name in found.ids})
    assert tasks.load(task, other).source["split_sha256"] != found.source["split_sha256"]
    first = next((other / "data").glob("val-00000-*"))
    first.rename(other / "data" / "val2017-0.parquet")
    assert list(tasks.load(task, other).ids) == list(found.ids)[:2]
    (tmp_path / "a.png").write_bytes(encoded("red"))
    (tmp_path / "captions.csv").write_text("file,text\na.png,red\na.png,also red\n")
    found = tasks.load(task, tmp_path)
    assert found.captions == ["red", "also red"]
    assert found.source["dataset"] == "pictures and captions.csv, local folder"


FIELDS = {"Annual Crop": "red", "forest": "green", "SeaLake": "blue"}


def of_classes(names, own=(), spellings=()):
    return colours(class_names=names, own_names=own, spellings=dict(spellings))


DECLARED = of_classes(("red fields", "green woods", "blue water"), ("AnnualCrop", "Forest", "sea_lake"))


def write_fields(folder, names=FIELDS, per_class=2):
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            (folder / name / f"{number}.png").write_bytes(encoded(FIELDS[name], (8 + number, 8 + number)))
    return folder


def test_classes_are_numbered_as_declared_whatever_their_order_on_disk_and_whatever_else_lies_there(tmp_path):
    write_fields(tmp_path)
    (tmp_path / "forest" / "notes.txt").write_text("not a picture")
    (tmp_path / "forest" / ".hidden.png").write_bytes(encoded("green"))
    (tmp_path / ".cache").mkdir()
    found = tasks.load(DECLARED, tmp_path)
    assert shown(found.openers) == ["red"] * 2 + ["blue"] * 2 + ["green"] * 2  # capital letters sort first
    assert (found.labels.tolist(), found.labels.dtype) == ([0, 0, 2, 2, 1, 1], np.int64)
    assert found.class_names == DECLARED.class_names
    assert found.ids[:3] == ["Annual Crop/0.png", "Annual Crop/1.png", "SeaLake/0.png"]
    source = found.source
    assert (source["split"], source["n"], source["dataset"]) == ("all of the folder", 6, "Colours, local folder")
    assert json.loads(json.dumps(source)) == source


def test_folders_may_be_named_as_the_prompts_or_by_another_spelling(tmp_path):
    classes = of_classes(("a", "b"), ("Annual Crop", "x"), {"forest": "x"})
    assert tasks.load(classes, write_fields(tmp_path, ["Annual Crop", "forest"])).labels.tolist() == [0, 0, 1, 1]
    assert DECLARED.numbers(["green woods", "AnnualCrop", "Sea-Lake"], "here") == [1, 0, 2]


MANY = of_classes(tuple(map(str, range(40))))
SIGNS = of_classes(("a", "b", "c"), ("C", "C++", "basic"))


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
        write_fields(tmp_path / split, per_class=per_class)
    assert len(tasks.load(DECLARED, tmp_path)) == 3
    both = tasks.load(of_split(DECLARED, "test+train"), tmp_path)
    first = [f"test/{name}/0.png" for name in ("Annual Crop", "SeaLake", "forest")]
    assert both.ids[:4] == [*first, "train/Annual Crop/0.png"]
    assert both.source["split"] == "test+train"
    with pytest.raises(UserError, match="or a split 'val' that holds them, or parquet files; found test, train"):
        tasks.load(of_split(DECLARED, "test+val"), tmp_path)


def test_a_folder_without_classes_or_pictures_is_refused(tmp_path):
    with refused(r"a subfolder for each class \(AnnualCrop, .*, or parquet files; found no folder"):
        tasks.load(DECLARED, tmp_path)
    with pytest.raises(UserError, match="no pictures in the folders of its classes"):
        tasks.load(DECLARED, write_fields(tmp_path, per_class=0))
    (tmp_path / "SeaLake").rename(tmp_path / "Desert")
    with refused(r"each class \(AnnualCrop, Forest, sea_lake\).*found Annual Crop, Desert, forest"):
        tasks.load(DECLARED, tmp_path)
    write_fields(tmp_path / "test", ["forest", "SeaLake"])
    with refused(r"test: class names and labels do not match; the data have 2 \(SeaLake, forest"):
        tasks.load(DECLARED, tmp_path)


@pytest.mark.parametrize("nested", [["forest"], list(FIELDS)])
def test_a_class_that_holds_folders_is_no_split(tmp_path, nested):
    write_fields(tmp_path)
    for name in nested:
        (tmp_path / name / "more").mkdir()
        (tmp_path / name / "more" / "0.png").write_bytes(encoded(FIELDS[name]))
    found = tasks.load(DECLARED, tmp_path)
    assert sorted(shown(found.openers)) == sorted([*FIELDS.values()] * 2 + [FIELDS[name] for name in nested])


@pytest.mark.parametrize("others", [[], ["test"]])
def test_a_split_may_be_named_as_a_class(tmp_path, others):
    classes = of_classes(("a train", "a forest"), ("train", "forest"))
    for split in ["train", *others]:
        for name in classes.own:
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "0.png").write_bytes(encoded("red"))
    assert tasks.load(of_split(classes, "train"), tmp_path).ids == ["train/forest/0.png", "train/train/0.png"]


def test_the_hash_is_of_names_labels_and_content(tmp_path):
    write_fields(tmp_path)
    found = tasks.load(DECLARED, tmp_path)
    by_hand = hashlib.sha256()
    for name, label in zip(found.ids, found.labels.tolist(), strict=True):
        content = (tmp_path / name).read_bytes()
        by_hand.update(json.dumps([name, label, len(content)]).encode() + content)
    assert found.source["split_sha256"] == by_hand.hexdigest()
    (tmp_path / "forest" / "1.png").write_bytes(encoded("green", (20, 20)))
    hashes = {by_hand.hexdigest(), tasks.load(DECLARED, tmp_path).source["split_sha256"]}
    swapped = of_classes(DECLARED.class_names, (DECLARED.own[1], DECLARED.own[0], DECLARED.own[2]))
    hashes.add(tasks.load(swapped, tmp_path).source["split_sha256"])
    (tmp_path / "forest" / "1.png").rename(tmp_path / "forest" / "2.png")
    hashes.add(tasks.load(DECLARED, tmp_path).source["split_sha256"])
    assert len(hashes) == 4


def test_a_picture_is_turned_upright_and_a_damaged_one_is_left_to_whoever_opens_it(tmp_path):
    (write_fields(tmp_path) / "SeaLake" / "0.png").write_bytes(b"no picture")
    (tmp_path / "Annual Crop" / "0.png").write_bytes(encoded("red", (8, 4), turned=True))
    found, skipped = tasks.load(DECLARED, tmp_path), {}
    assert len(shown(found.openers, skipped)) == 5
    assert (list(skipped), found.openers[0]().size) == ([2], (4, 8))


def test_some_of_a_folder_are_evenly_spaced_and_the_source_says_so(tmp_path):
    found = tasks.load(DECLARED, write_fields(tmp_path), n=3)
    assert shown(found.openers) == ["red", "blue", "green"]
    assert found.source["taken"] == "3 of 6, evenly spaced"
    assert "taken" not in tasks.load(DECLARED, tmp_path, n=6).source
    assert tasks.spread(10, 4) == [0, 2, 5, 7]
    assert tasks.spread(3, None) == tasks.spread(3, 9) == [0, 1, 2]
