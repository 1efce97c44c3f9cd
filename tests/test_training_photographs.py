"""Section 4's training on photographs: the paper preset on few files of the same schema, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import training_pairs
from coco_files import write_folder
from tiny_open_clip import tiny_models  # noqa: F401  (registers the tiny models)
from training_tables import run, script
from util import UserError
from util.corpora import tasks
from util.corpora.captioned import Readable
from util.encoders.named import Named

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def tiny(tmp_path):
    """A tiny open_clip model by name, its weights in a file, and a COCO folder of three photographs in both splits."""
    weights = Named.parse("tiny").pair(7, "cpu").model.state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "tiny.safetensors")
    coco = write_folder(tmp_path / "coco", "train2017")
    held_out = write_folder(tmp_path / "held out", "val2017")
    for part in ("val2017", "annotations/captions_val2017.json"):
        (held_out / part).rename(coco / part)
    for number, name in enumerate(tasks.read()["cifar10"].class_names):
        (folder := tmp_path / "data" / "cifar10" / "test" / name).mkdir(parents=True)
        Image.fromarray(np.full((32, 32, 3), 20 * number, np.uint8)).save(folder / "0.png")
    return replace(
        script.PRESETS["paper"], coco=coco, model=f"open_clip:tiny:{tmp_path / 'tiny.safetensors'}", pairs=3,
        held_out=3, batch=2, seeds=1, steps=2, random_steps=2, temperatures=(0.1, 0.01), data=tmp_path / "data",
    )  # fmt: skip


def test_the_paper_preset_runs_on_a_local_coco_folder_and_classifies_cifar10(tiny, tmp_path):
    record = run(tiny, tmp_path / "out")
    table = record.tables[""]
    steps = table.groupby(["experiment", "temperature", "initialization"])["step"].apply(list)
    assert steps.tolist() == [[0, 1, 2]] * 4
    assert record.about["data"][0]["held_out"]["split"] == "val2017" and record.about["left_out"] == []
    assert record.about["data"][0]["zero_shot"]["n"] == 10
    assert set(np.round(10 * table["zero_shot_accuracy"], 6) % 1) == {0} and (table["zero_shot_gap_distance"] > 0).all()
    assert record.about["settings"]["weight_decay"] == 0.2 and record.about["results"]["generated"] is False
    numbers = [row for row in record.about["comparisons"] if isinstance(row["published"], float) and not row["own"]]
    assert any("cifar10_accuracy" in row["key"] for row in numbers)
    assert all(row["agrees"] is None for row in numbers), "a tiny model is not the paper's"


def test_the_prompts_of_cifar10_are_the_papers(tiny):
    model = training_pairs.load("open_clip:tiny", 0, "cpu")
    corpus = training_pairs.photographs(model, tiny.coco, 3, 3)
    task = training_pairs.with_task(corpus, model, tiny.data).task
    assert torch.equal(task.prompts[3], model.tokenize(["a photo of a cat."])[0])
    assert task.labels.tolist() == [*range(10)]
    assert task.pictures.shape == (10, *corpus.held_out.images.shape[1:])


def test_without_trained_weights_the_rest_is_run_and_what_is_left_out_is_said(tiny, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"unknown pretrained tag.*missing\.pt"):
        run(replace(tiny, model=f"open_clip:tiny:{tmp_path / 'missing.pt'}"), tmp_path / "misspelt")
    with pytest.raises(UserError, match="unknown to training: huggingface:a/b; it takes small-clip"):
        run(replace(tiny, model="huggingface:a/b"), tmp_path / "other kind")
    load = training_pairs.load

    def offline(model, seed, device):
        if seed is None:
            raise UserError("weights could not be loaded from the hub")
        return load(model, seed, device)

    monkeypatch.setattr(training_pairs, "load", offline)
    (tiny.data / "cifar10" / "test" / "cat").rename(tiny.data / "cifar10" / "test" / "lion")
    record = run(tiny, tmp_path / "out")
    assert set(record.tables[""]["experiment"]) == {"initialization"}
    said = record.about["left_out"]
    assert said[0] == "temperature: weights could not be loaded from the hub"
    assert said[1].startswith("zero-shot classification: ") and "lion" in said[1]
    assert record.tables[""]["zero_shot_accuracy"].isna().all()
    with pytest.raises(UserError, match="could not be loaded from the hub"):
        run(replace(tiny, experiments=("temperature",)), tmp_path / "none")


def test_pictures_are_the_models_own_preprocessing_in_whole_numbers(tiny, rng):
    pair = Named.parse("tiny").pair(0, "cpu")
    model = training_pairs.load("open_clip:tiny", 0, "cpu")
    picture = Image.fromarray(rng.integers(0, 256, (40, 57, 3), dtype=np.uint8))
    pixels = torch.from_numpy(model.pixels(picture).copy())[None]
    assert pixels.dtype == torch.uint8
    assert torch.allclose(model.prepare(pixels), pair.non_text.prepare([picture]), atol=1e-6)
    assert all(p.requires_grad for p in model.model.parameters())


def test_photographs_that_cannot_be_read_are_left_out(tiny):
    broken = sorted((tiny.coco / "train2017").iterdir())[1:]
    broken[0].write_bytes(broken[0].read_bytes()[:40])
    model = training_pairs.load("open_clip:tiny", 0, "cpu")
    corpus = training_pairs.photographs(model, tiny.coco, 3, 3)
    assert len(corpus.training) == 2 and broken[0].name in corpus.about["data"]["skipped"][0]
    whole = training_pairs.photographs(model, tiny.coco, 3, 2).held_out
    assert len(whole) == 2 and whole.images.dtype == torch.uint8 and not torch.equal(whole.images[0], whole.images[1])
    broken[1].write_bytes(b"")
    with pytest.raises(UserError, match="1 photographs can be read; two are needed"):
        training_pairs.photographs(model, tiny.coco, 3, 3)


def test_what_photographs_lack_is_said_before_the_first_is_decoded(tiny, monkeypatch):
    model = training_pairs.load("open_clip:tiny", 0, "cpu")
    monkeypatch.setattr(Readable, "__iter__", lambda self: pytest.fail("decoded"))
    (tiny.coco / "val2017").rename(tiny.coco / "elsewhere")
    with pytest.raises(UserError, match="val2017: 3 of the 3 captioned pictures are missing"):
        training_pairs.photographs(model, tiny.coco, 3, 3)
