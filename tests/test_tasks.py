"""Declared tasks: the shipped ones, refusals that name the field, and data of the hub sets' own schemas."""

import hashlib
import io
import json

import datasets
import numpy as np
import pytest
from PIL import Image

from coco_files import write_folder, write_parquet
from util import UserError, errors, published
from util.corpora import coco, hub, tasks
from util.corpora.captioned import Readable
from util.corpora.tasks import Task

NAMES = ("red", "green", "blue")
TINTS = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250)}
LABELS = ["red", "red", "blue", "green", "blue", "red"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


def png(name, size=6):
    file = io.BytesIO()
    Image.new("RGB", (size, size), TINTS[name]).save(file, "png")
    return file.getvalue()


def colours(of):
    """Three classes in a data set of the hub."""
    fields = {"title": "Colours", "group": "coarse-grained", "metric": "top-1", "dataset": "someone/colours"}
    return Task(**{"key": "colours", **fields, "class_names": NAMES, "prompts": ("a {} square",), **of})


def write(folder, name, columns, features, rows):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    content = {column: [row[column] for row in rows] for column in columns}
    kinds = None if features is None else datasets.Features({column: features[column] for column in columns})
    datasets.Dataset.from_dict(content, features=kinds).to_parquet(str(folder / name))


def write_colours(folder, name="data/test-00000-of-00001.parquet", order=NAMES, labels=LABELS, image="image"):
    """Parquet as the hub has it: a struct of bytes and path, and a ClassLabel."""
    features = {image: datasets.Image(), "label": datasets.ClassLabel(names=list(order))}
    cell = [{"bytes": png(label), "path": f"{number}.png"} for number, label in enumerate(labels)]
    rows = [{image: c, "label": order.index(label)} for c, label in zip(cell, labels, strict=True)]
    write(folder, name, (image, "label"), features, rows)
    return folder


def shown(found):
    images = Readable(found.openers, {})
    return [NAMES[int(np.asarray(image).mean((0, 1)).argmax())] for image in images]


def test_the_shipped_tasks_are_those_of_table_1_and_two_of_retrieval():
    found = tasks.read()
    rows = [row["dataset"] for row in published.values()["table_1"]["rows"]]
    assert [task.published for task in found.values() if task.published] == rows
    assert [key for key, task in found.items() if task.is_retrieval] == ["mscoco", "flickr30k"]
    by_row = {row["dataset"]: row for row in published.values()["table_1"]["rows"]}
    for task in found.values():
        assert hub.COMMIT.fullmatch(task.commit)
        assert task.sources["dataset"]
        if task.published:
            assert (task.group, task.metric) == (by_row[task.published]["group"], by_row[task.published]["metric"])


def test_the_papers_single_prompts_are_the_default():
    found, prompts = tasks.read(), published.values()["table_1"]["prompts"]
    for key, task in found.items():
        if key not in ("hateful_memes", "mscoco", "flickr30k"):
            assert task.prompts == (prompts.get(task.published, prompts["default"]),)
    assert found["hateful_memes"].texts() == [["a meme."], ["a hatespeech meme."]]
    assert found["svhn"].texts()[7] == ['a street sign of the number: "7".']
    assert found["cifar100"].texts()[1] == ["a photo of a aquarium_fish."]
    assert found["cifar100"].with_names("clip").texts()[1] == ["a photo of a aquarium fish."]


def test_other_class_names_keep_the_order_of_the_data():
    eurosat = tasks.read()["eurosat"]
    pairs = list(zip(eurosat.own_names, eurosat.class_names, eurosat.with_names("mteb").class_names, strict=True))
    assert pairs[8] == ("River", "river", "river")
    assert pairs[2] == ("HerbaceousVegetation", "brushland or shrubland", "brushland or shrubland")
    assert eurosat.with_names("torchvision").classes.numbers(eurosat.own_names, "here") == list(range(10))


OWN = """
[mine]
title = "Mine"
group = "coarse-grained"
metric = "top-1"
dataset = "me/mine"
class_names = ["cat", "dog"]
prompts = ["a {}."]
"""


def test_a_file_of_your_own_is_read_in_the_same_way(tmp_path):
    (tmp_path / "own.toml").write_text(OWN)
    mine = tasks.read(tmp_path / "own.toml")["mine"]
    assert (mine.key, mine.split, mine.commit, mine.classes.own) == ("mine", "test", None, ("cat", "dog"))
    assert mine.texts() == [["a cat."], ["a dog."]]


@pytest.mark.parametrize(
    ("change", "to", "reason"),
    [
        ('["a {}."]', '["a picture."]', "prompts: at least one is needed, each with {}, the place"),
        ('["a {}."]', "[]", "prompts: at least one is needed"),
        ('["a {}."]', '"a {}."', "prompts: expected a list, found 'a {}.'"),
        ('["a {}."]', '["a {}.", 3]', "prompts[1]: expected a text, found 3"),
        ('["cat", "dog"]', '["cat", "cat"]', "class_names: every class needs a name of its own"),
        ('["cat", "dog"]', '["cat"]', "class_names: at least two are needed, found 1"),
        ('"top-1"', '"accuracy"', "metric: input should be 'top-1', 'ROC-AUC' or 'retrieval', found 'accuracy'"),
        ('"dog"]', '"dog", "cow"]\nown_names = ["a", "b"]', "own_names: 2 names, but class_names has 3"),
        ('metric = "top-1"', "", "metric: missing"),
        ('title = "Mine"', 'title = "Mine"\nprompt = "a"', "prompt: not a known key"),
        ('title = "Mine"', 'title = "Mine"\nkey = "a"', "key: not a known key"),
        ('title = "Mine"', 'title = ""', "title: must not be empty"),
        ('title = "Mine"', 'title = "Mine"\nitems = 0', "items: input should be greater than 0, found 0"),
        ('title = "Mine"', 'title = "Mine"\nfiles = "x"', "files: expected a table, found 'x'"),
        ('title = "Mine"', 'title = "M"\nspellings = {kitten = "cats"}', "spellings: 'cats' is not a name of the data"),
        ('title = "Mine"', 'title = "M"\nalternatives = {b = ["x"]}', "alternatives.b: 1 names, but class_names has 2"),
    ],
)
def test_a_wrong_field_is_one_line_with_file_task_and_field(tmp_path, change, to, reason):
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace(change, to))
    with pytest.raises(UserError) as caught:
        tasks.read(path)
    assert str(caught.value).startswith(f"{path}: [mine] {reason}")


def test_roc_auc_is_of_two_classes(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace("top-1", "ROC-AUC"))
    assert tasks.read(path)["mine"].metric == "ROC-AUC"
    path.write_text(OWN.replace("top-1", "ROC-AUC").replace('"dog"', '"dog", "cow"'))
    with pytest.raises(UserError, match=r"\[mine\] metric: ROC-AUC is of two classes, but class_names has 3"):
        tasks.read(path)


def test_a_file_needs_a_table_for_each_task_and_a_title_of_its_own(tmp_path):
    path = tmp_path / "own.toml"
    for content, reason in (
        ("", "it declares no task"),
        ("a = 1", "a: expected a table"),
        (OWN + OWN.replace("[mine]", "[other]"), r"\[other\] title: 'Mine' is that of \[mine\]"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=f"^{path}: {reason}"):
            tasks.read(path)


def test_parquet_of_the_hubs_schema_is_read_by_the_declared_columns(tmp_path):
    found = tasks.load(colours({"image_column": "img"}), write_colours(tmp_path, image="img"))
    assert [NAMES[label] for label in found.labels] == shown(found) == LABELS
    assert found.ids[:2] == ["test/0", "test/1"]
    assert (found.source["task"], found.source["split"], found.source["n"]) == ("colours", "test", 6)
    assert json.loads(json.dumps(found.source)) == found.source


def test_the_data_sets_own_order_of_classes_is_mapped_to_the_declared_one(tmp_path):
    found = tasks.load(colours({}), write_colours(tmp_path, order=("blue", "red", "green")))
    assert [NAMES[label] for label in found.labels] == LABELS


def test_a_misspelt_class_of_the_data_set_is_known_by_its_spelling(tmp_path):
    order = [name.replace("crab", "cra") for name in tasks.read()["cifar100"].class_names]
    features = {"img": datasets.Image(), "fine_label": datasets.ClassLabel(names=order)}
    rows = [{"img": {"bytes": png("red"), "path": None}, "fine_label": number} for number in (26, 99)]
    write(tmp_path, "cifar100/test-00000-of-00001.parquet", tuple(features), features, rows)
    found = tasks.load(tasks.read()["cifar100"], tmp_path)
    assert [found.class_names[label] for label in found.labels] == ["crab", "worm"]


def test_joined_splits_come_one_after_the_other(tmp_path):
    own = tasks.read()["eurosat"]
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(own.own_names))}
    for split, numbers in {"test": [9], "train": [0, 1], "validation": [4]}.items():
        rows = [{"image": {"bytes": png("red"), "path": None}, "label": number} for number in numbers]
        write(tmp_path, f"data/{split}-00000-of-00001.parquet", tuple(features), features, rows)
    found = tasks.load(own, tmp_path)
    assert found.labels.tolist() == [0, 1, 4, 9]
    assert found.ids == ["train/0", "train/1", "validation/0", "test/0"]
    assert found.source["split"] == "train+validation+test"
    assert tasks.load(own, tmp_path, split="test").labels.tolist() == [9]
    with pytest.raises(UserError, match="no parquet files of split 'dev' there; it has test, train, validation"):
        tasks.load(own, tmp_path, split="dev")


@pytest.mark.parametrize("kind", ["numbers", "names", "bytes", "paths"])
def test_labels_may_be_numbers_or_names_and_pictures_bytes_or_paths(tmp_path, kind):
    pictures = {"image": [{"bytes": png(name), "path": None} for name in LABELS]}
    features = {"image": datasets.Image(), "label": datasets.Value("int64")}
    values = [NAMES.index(name) for name in LABELS]
    if kind == "names":
        features["label"], values = datasets.Value("string"), [name.upper() for name in LABELS]
    if kind == "bytes":
        features["image"], pictures = datasets.Value("binary"), {"image": [png(name) for name in LABELS]}
    if kind == "paths":
        for number, name in enumerate(LABELS):
            (tmp_path / f"{number}.png").write_bytes(png(name))
        features["image"], pictures = datasets.Value("string"), {"image": [f"{n}.png" for n in range(len(LABELS))]}
    rows = [{"image": each, "label": value} for each, value in zip(pictures["image"], values, strict=True)]
    write(tmp_path, "test.parquet", ("image", "label"), features, rows)
    found = tasks.load(colours({}), tmp_path)
    assert [NAMES[label] for label in found.labels] == shown(found) == LABELS
    by_hand = hashlib.sha256()
    for number, name in enumerate(LABELS):
        by_hand.update(json.dumps([f"test/{number}", NAMES.index(name), len(png(name))]).encode() + png(name))
    assert found.source["split_sha256"] == by_hand.hexdigest()


def test_class_names_and_labels_that_do_not_match_are_one_line_with_both(tmp_path):
    other = colours({"class_names": ("red", "green", "yellow")})
    with pytest.raises(UserError, match=r"the data have 3 \(red, green, blue\), declared are 3 \(red, green, yellow\)"):
        tasks.load(other, write_colours(tmp_path))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0, 3, 1, 7, 0, 0], r"column 'label': 2 of 6 labels are outside 0..2 \(3 classes\), first 3 in row 1"),
        ([0, None, 1, None, 0, 0], "2 of 6 rows have no label, first row 1"),
        ([0.5, 1, 1, 1, 0, 0], "labels must be whole numbers"),
    ],
)
def test_labels_that_cannot_be_are_counted_and_the_first_named(tmp_path, values, reason):
    kind = datasets.Value("float64" if 0.5 in values else "int64")
    rows = [{"image": {"bytes": png("red"), "path": None}, "label": value} for value in values]
    write(tmp_path, "test.parquet", ("image", "label"), {"image": datasets.Image(), "label": kind}, rows)
    with pytest.raises(UserError, match=reason) as caught:
        tasks.load(colours({}), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there_lists_those_that_are(tmp_path):
    with pytest.raises(UserError, match="expected columns image, fine_label; found image, label"):
        tasks.load(colours({"label_column": "fine_label"}), write_colours(tmp_path))
    with pytest.raises(UserError, match="column 'label' holds no pictures"):
        tasks.load(colours({"image_column": "label", "label_column": "image"}), tmp_path)


def test_a_damaged_picture_of_a_table_is_left_to_whoever_opens_it(tmp_path):
    rows = [{"image": {"bytes": each, "path": None}, "label": 0} for each in (png("red"), b"none", png("red"))]
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))}
    write(tmp_path, "test.parquet", ("image", "label"), features, rows)
    found, skipped = tasks.load(colours({}), tmp_path), {}
    assert len(list(Readable(found.openers, skipped))) == 2
    assert skipped == {1: "cannot identify image file <_io.BytesIO>"}


def test_nothing_is_decoded_before_it_is_needed(tmp_path, monkeypatch):
    opened, decode = [], hub.decode
    monkeypatch.setattr(hub, "decode", lambda cell, folder=None: opened.append(1) or decode(cell, folder))
    found = tasks.load(colours({}), write_colours(tmp_path))
    assert (len(found), opened) == (6, [])
    assert found.openers[3]().mode == "RGB"
    assert opened == [1]


def test_some_rows_are_evenly_spaced_and_the_hash_is_of_what_was_taken(tmp_path):
    write_colours(tmp_path)
    some, whole = tasks.load(colours({}), tmp_path, n=3), tasks.load(colours({}), tmp_path)
    assert some.ids == ["test/0", "test/2", "test/4"]
    assert some.source["taken"] == "of 6, evenly spaced"
    assert some.source["split_sha256"] != whole.source["split_sha256"]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_data_set_laid_out_as_the_hub_finds_it_is_read_streamed_or_not(tmp_path, streaming):
    for split in ("train", "test"):
        write_colours(
            tmp_path / "repo", f"data/{split}-00000-of-00001.parquet", labels=LABELS[: 6 if split == "test" else 1]
        )
    task = colours({"dataset": str(tmp_path / "repo")})
    found = tasks.load(task, streaming=streaming)
    assert [NAMES[label] for label in found.labels] == shown(found) == LABELS
    assert found.source["split_sha256"] == tasks.load(task, tmp_path / "repo").source["split_sha256"]
    assert len(tasks.load(task, streaming=streaming, split="train+test")) == 7
    some = tasks.load(task, streaming=streaming, n=2)
    assert some.ids == (["test/0", "test/1"] if streaming else ["test/0", "test/3"])
    with pytest.raises(UserError, match=r"Colours: no split 'dev'; there are (train, test|test, train)"):
        tasks.load(task, streaming=streaming, split="dev")


def test_declared_files_are_fetched_alone_and_the_commit_stands_in_the_source(tmp_path, monkeypatch):
    folder, asked = tmp_path / ("0123456789" * 4), []
    write_colours(folder)

    def snapshot_download(dataset, **options):
        asked.append((dataset, options))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    task = colours({"files": {"test": "data/test-*.parquet", "train": "data/train-*.parquet"}})
    found = tasks.load(task)
    assert found.source["revision"] == folder.name
    assert (found.source["dataset"], [NAMES[label] for label in found.labels]) == ("someone/colours", LABELS)
    dataset, options = asked[0]
    assert (dataset, options["allow_patterns"], options["revision"]) == ("someone/colours", "data/test-*.parquet", None)
    with pytest.raises(UserError, match="Colours: no split 'dev'; there are test, train"):
        tasks.load(task, split="dev")
    with pytest.raises(UserError, match=r"datasets/someone/colours has no files data/train-\*.parquet"):
        tasks.load(task, split="train")


@pytest.mark.parametrize("files", [{}, {"test": "data/test-*.parquet"}])
@pytest.mark.parametrize("streaming", [False, True])
def test_without_a_network_one_line_says_what_to_fetch_and_where_to_put_it(tmp_path, monkeypatch, files, streaming):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
    with pytest.raises(errors.NoConnection) as caught:
        tasks.load(colours({"files": files, "megabytes": 24}), streaming=streaming)
    line = str(caught.value)
    assert "\n" not in line
    for part in ("https://huggingface.co/datasets/someone/colours", "no connection to http://127.0.0.1:9", "(24 MB)"):
        assert part in line
    assert "put them into DIR/colours (--data DIR)" in line


def test_a_stream_that_breaks_off_is_one_line(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("the connection\nbroke off")

    monkeypatch.setattr(hub, "reachable", lambda url: True)
    monkeypatch.setattr(hub, "rows_of", broken)
    task = colours({"dataset": str(write_colours(tmp_path / "repo"))})
    with pytest.raises(UserError, match=r"could not be fetched \(the connection broke off\); get its parquet files"):
        tasks.load(task, streaming=True)


def test_class_folders_do_in_place_of_parquet(tmp_path):
    for split in ("train", "test"):
        for name in NAMES:
            (tmp_path / "colours" / split / name).mkdir(parents=True)
            (tmp_path / "colours" / split / name / "0.png").write_bytes(png(name))
    place = tasks.folder_of(colours({}), tmp_path)
    found = tasks.load(colours({}), place)
    assert shown(found) == sorted(NAMES) == [NAMES[label] for label in found.labels]
    assert found.source["dataset"] == "Colours, local folder"
    assert tasks.folder_of(colours({"key": "others"}), tmp_path) is tasks.folder_of(colours({}), None) is None
    with pytest.raises(UserError, match="no such folder; expected the data of Colours there"):
        tasks.load(colours({}), tmp_path / "nowhere")


def write_flickr(folder):
    """The columns of nlphuji/flickr30k: every split in one table."""
    text = [datasets.Value("string")]
    features = {"image": datasets.Image(), "caption": text, "sentids": text}
    features |= {name: datasets.Value("string") for name in ("split", "img_id", "filename")}
    rows = [
        {
            "image": {"bytes": png(name), "path": f"{number}.jpg"},
            "caption": [f"{name} {turn}" for turn in range(5)],
            "sentids": [str(5 * number + turn) for turn in range(5)],
            "split": split,
            "img_id": str(number),
            "filename": f"{number}.jpg",
        }
        for number, (name, split) in enumerate([("red", "train"), ("green", "test"), ("blue", "val"), ("blue", "test")])
    ]
    write(folder, "TEST/test/0000.parquet", tuple(features), features, rows)
    return folder


@pytest.mark.parametrize(("rule", "per_image"), [("all", 5), ("last", 1), ("first", 1)])
def test_flickr30k_is_the_rows_of_its_split_with_their_captions(tmp_path, rule, per_image):
    found = tasks.load(tasks.read()["flickr30k"], write_flickr(tmp_path), caption=rule)
    assert shown(found) == ["green", "blue"]
    assert list(found.ids) == ["1.jpg", "3.jpg"]
    assert found.item_of.tolist() == [0] * per_image + [1] * per_image
    assert found.captions[-1] == {"all": "blue 4", "last": "blue 4", "first": "blue 0"}[rule]
    assert found.source["caption_rule"] == rule and len(found.source["split_sha256"]) == 64
    assert json.loads(json.dumps(found.source)) == found.source


def test_a_split_that_the_column_does_not_have_lists_those_it_has(tmp_path):
    task = tasks.read()["flickr30k"]
    write_flickr(tmp_path)
    with pytest.raises(UserError, match="Flickr30k: no split 'dev' in column 'split'; it has train, test, val"):
        tasks.load(task, tmp_path, split="dev")
    assert shown(tasks.load(task, tmp_path, split="train+val")) == ["red", "blue"]
    assert shown(tasks.load(task, tmp_path, n=1)) == ["green"]


def test_mscoco_is_read_from_its_archives_or_from_the_hubs_parquet(tmp_path):
    task = tasks.read()["mscoco"]
    folder = tasks.load(task, write_folder(tmp_path / "coco"))
    table = tasks.load(task, write_parquet(tmp_path / "hub"), caption="last", n=2)
    (tmp_path / "deep").mkdir()
    (tmp_path / "hub").rename(tmp_path / "deep" / "data")
    assert len(folder.captions) == 6
    assert table.captions == ["red, third", "green, only"]
    assert tasks.load(task, tmp_path / "deep", caption="last", n=2).captions == table.captions


def test_mscocos_parquet_of_your_own_is_known_by_its_content(tmp_path):
    task = tasks.read()["mscoco"]
    found = tasks.load(task, write_parquet(tmp_path / "hub"))
    alone = coco.from_hub(caption="all", path=tmp_path / "hub")
    assert found.source["split_sha256"] == alone.source["split_sha256"]
    assert (found.source["dataset"], found.source["split"]) == ("MSCOCO, local parquet files", "val2017")
    other = write_parquet(tmp_path / "other", {name: ["mended"] for name in found.ids})
    assert tasks.load(task, other).source["split_sha256"] != found.source["split_sha256"]
    (tmp_path / "other" / "val2017-0.parquet").write_bytes((other / "val-00000-of-00002.parquet").read_bytes())
    assert list(tasks.load(task, other).ids) == list(found.ids)[:2]
    with pytest.raises(UserError, match="no parquet files of split 'dev' there; it has val, val2017"):
        tasks.load(task, other, split="dev")


def test_a_task_of_mscocos_data_set_keeps_its_own_revision_files_and_columns(tmp_path, monkeypatch):
    folder, asked = tmp_path / ("0123456789" * 4), []
    text = datasets.Value("string")
    features = {"photo": datasets.Image(), "said": [text], "name": text}
    rows = [{"photo": {"bytes": png("red"), "path": None}, "said": ["red"], "name": "r"}]
    write(folder, "mine/dev-0.parquet", tuple(features), features, rows)
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda dataset, **options: asked.append((dataset, options)) or str(folder)
    )
    own = {"revision": "5" * 40, "files": {"dev": "mine/dev-*.parquet"}, "split": "dev"}
    declared = {"key": "own", "title": "Own", "group": "retrieval", "metric": "retrieval", "dataset": coco.HUB_DATASET}
    columns = {"image_column": "photo", "caption_column": "said", "id_column": "name"}
    found = tasks.load(Task(**declared, **own, **columns))
    assert (asked[0][0], asked[0][1]["revision"]) == (coco.HUB_DATASET, "5" * 40)
    assert asked[0][1]["allow_patterns"] == "mine/dev-*.parquet"
    assert (list(found.ids), found.captions, shown(found)) == (["r"], ["red"], ["red"])
    assert found.source["revision"] == folder.name


def test_pictures_that_a_table_names_outside_its_folder_are_left_out_and_named(tmp_path):
    (tmp_path / "out.png").write_bytes(png("green"))
    (tmp_path / "set" / "data").mkdir(parents=True)
    (tmp_path / "set" / "in.png").write_bytes(png("red"))
    names = ["in.png", "../out.png", str(tmp_path / "out.png")]
    features = {"image": datasets.Value("string"), "label": datasets.Value("int64")}
    rows = [{"image": name, "label": 0} for name in names]
    write(tmp_path / "set", "data/test-0.parquet", ("image", "label"), features, rows)
    for task, place in ((colours({}), tmp_path / "set"), (colours({"dataset": str(tmp_path / "set")}), None)):
        found, skipped = tasks.load(task, place), {}
        assert [np.asarray(each)[0, 0].tolist() for each in Readable(found.openers, skipped)] == [list(TINTS["red"])]
        assert list(skipped) == [1, 2]
        assert all("leads out of the folder" in reason for reason in skipped.values())


def test_pictures_with_a_table_of_captions_do_for_retrieval(tmp_path):
    (tmp_path / "a.png").write_bytes(png("red"))
    (tmp_path / "captions.csv").write_text("file,text\na.png,red\na.png,also red\n")
    found = tasks.load(tasks.read()["flickr30k"], tmp_path)
    assert found.captions == ["red", "also red"]
    assert found.source["dataset"] == "pictures and captions.csv, local folder"
