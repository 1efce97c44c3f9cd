"""Embeddings over seeds are made once; inputs that cannot be read are counted and move nothing else."""

import numpy as np
import pytest

import tower_inputs as inputs
from coco_files import write_folder
from encoder_options import EncoderOptions, Gathered, label
from tiny_open_clip import tiny_models  # noqa: F401  (registers the tiny models)
from tiny_transformers import MAKERS
from util import UserError
from util.encoders.named import Named
from util.encoders.tower import Tower

RESNET = Named("torchvision", "resnet18")


@pytest.fixture(autouse=True)
def cache(own_cache):
    return own_cache / "rows"


@pytest.fixture
def encoded(monkeypatch):
    """The seeds that inputs were encoded for."""
    seeds, encode = [], Tower.encode
    monkeypatch.setattr(Tower, "encode", lambda tower, *a: (seeds.append(tower.settings["seed"]), encode(tower, *a))[1])
    return seeds


def embed(named, what, seeds):
    return Gathered(EncoderOptions(), "cpu").embed(named, what, seeds)


def rows(seeds, *what):
    return {(r.inputs.name, r.seed): r.rows for r in embed(RESNET, what, seeds)}


def test_every_input_is_embedded_for_every_seed_and_once_only(encoded):
    what = inputs.noise("image", 2, 0), inputs.photograph_crops(3, 0), inputs.noise("text", 4, 0)
    first = rows([0, 1], *what)
    assert list(first) == [(n, s) for s in (0, 1) for n in ("noise", inputs.CROPS)]
    assert [len(r) for r in first.values()] == [2, 3, 2, 3]
    again = list(embed(RESNET, what, [0, 1, 2]))
    assert encoded == [0, 0, 1, 1, 2, 2]
    assert all(np.array_equal(first[each.inputs.name, each.seed], each.rows) for each in again[:4])
    assert {(each.settings["dtype"], each.settings["seed"]) for each in again} == {("float32", s) for s in (0, 1, 2)}


def test_a_stopped_run_goes_on_where_it_was_and_other_inputs_are_embedded_anew(encoded):
    noise = inputs.noise("image", 2, 0)
    steps = embed(RESNET, [noise], [0, 1, 2])
    for _ in range(2):
        next(steps)
    steps.close()
    rows([0, 1, 2], noise)
    assert encoded == [0, 1, 2]
    rows([0], inputs.noise("image", 2, 1), inputs.noise("image", 3, 0))
    assert encoded == [0, 1, 2, 0, 0]


def test_a_model_of_transformers_is_known_by_what_its_folder_holds(tmp_path, encoded):
    for part in MAKERS["clip"](tmp_path):
        part.save_pretrained(tmp_path / "clip")
    what, named = [inputs.noise("image", 2, 0), inputs.noise("text", 3, 0)], Named("huggingface", f"{tmp_path}/clip")
    first, again = ([each.rows for each in embed(named, what, [0, None])] for _ in range(2))
    assert len(encoded) == 4, "the second time from the cache"
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.allclose(first[0], first[2], atol=1e-3), "random and trained weights differ"
    path = tmp_path / "clip" / "preprocessor_config.json"
    path.write_text(path.read_text().replace('"do_normalize": true', '"do_normalize": false'))
    list(embed(named, what, [0]))
    assert len(encoded) == 6, "another configuration is another encoder"


def test_an_unreadable_photograph_is_counted_and_moves_no_other(tmp_path):
    whole, holed = (write_folder(tmp_path / name) for name in ("whole", "holed"))
    victim = holed / "val2017" / "000000000003.jpg"
    victim.write_bytes(victim.read_bytes()[:100])
    good, _ = inputs.mscoco(whole, 5, 5)
    bad, _ = inputs.mscoco(holed, 5, 5)
    a, b = rows([0], good)["MSCOCO val2017 photographs", 0], rows([0], bad)["MSCOCO val2017 photographs", 0]
    assert len(a) == 3
    assert np.allclose(a[[0, 2]], b, atol=1e-6)
    assert bad.describe()["skipped"][0].startswith("1: ")
    again, _ = inputs.mscoco(holed, 5, 5)
    assert len(rows([0], again)["MSCOCO val2017 photographs", 0]) == 2
    assert again.describe()["skipped"] == bad.describe()["skipped"], "the cache keeps what was left out"


def test_one_readable_photograph_has_no_pairs(tmp_path):
    folder = write_folder(tmp_path / "coco")
    for name in ("000000000003.jpg", "000000000009.jpg"):
        (folder / "val2017" / name).write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"photographs: a cosine needs two inputs or more; the first of 2 left out"):
        rows([0], inputs.mscoco(folder, 5, 5)[0])


def test_a_folder_with_captions_alone_gives_those_that_are_not_empty(tmp_path):
    folder = write_folder(tmp_path / "coco")
    (folder / "val2017").rename(folder / "elsewhere")
    (captions,) = inputs.mscoco(folder, 5, 5)
    assert list(captions.items) == ["red, first", "green, only", "blue, first"]
    path = folder / "annotations" / "captions_val2017.json"
    path.write_text(path.read_text().replace("green, only", "   ").replace("red, first", ""))
    (captions,) = inputs.mscoco(folder, 5, 5)
    assert list(captions.items) == ["red, second", "blue, first"] and captions.describe()["n"] == 2


def test_photographs_come_from_the_split_that_the_folder_has_and_an_empty_one_is_refused(tmp_path):
    write_folder(tmp_path / "coco", "train2017")
    images, captions = inputs.mscoco(tmp_path / "coco", 5, 5)
    assert (images.name, captions.name) == ("MSCOCO train2017 photographs", "MSCOCO train2017 captions")
    with pytest.raises(UserError, match="no captions of split 'val2017'"):
        inputs.mscoco(tmp_path, 5, 5)


@pytest.mark.parametrize("counts", [{"images": 1}, {"captions": 1}])
def test_one_input_has_no_pairs(counts):
    with pytest.raises(UserError, match="must be a whole number of at least 2, not 1"):
        Gathered(EncoderOptions(**counts), "cpu")


def test_crops_are_those_of_the_seed_however_many():
    five, two, other = inputs.crops(5, 3), inputs.crops(2, 3), inputs.crops(2, 4)
    assert all(np.array_equal(a, b) for a, b in zip(five, two, strict=False))
    assert not np.array_equal(two[0], other[0])
    assert all(96 <= crop.width == crop.height <= 400 for crop in five)
    assert np.asarray(five[0]).std() > 5


def test_towers_have_the_papers_names_where_it_has_them():
    assert label(Named("torchvision", "resnet18"), "image") == "ResNet-18"
    assert label(Named("open_clip", "ViT-B-32-quickgelu"), "text") == "CLIP ViT-B/32 text"
    assert label(Named("open_clip", "RN50"), "image") == "RN50 vision"
    assert label(Named("python", "/somewhere/mine.py", "towers"), "image") == "mine vision"
    assert label(Named("open_clip", "hf-hub:org/name", "own"), "text") == "name text"
    assert label(Named("open_clip", "local-dir:folder", "own"), "image") == "folder vision"
