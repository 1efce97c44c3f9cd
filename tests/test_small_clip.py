"""The shipped small CLIP: it reads its words, refuses others, and meets every bar when measured again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from open_clip.model import CLIP
from PIL import Image
from safetensors.torch import save_file

from refusals import refuses
from tiny_encoders import agree, only_the_seed_decides, rows_of_both
from util.corpora.generated import pictures
from util.encoders import small_clip
from util.encoders.small_clip import COMMAND, SmallClipSettings, train_small_clip
from util.files import sha256
from util.training import TrainingSettings

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def clip():
    return small_clip.load()


@pytest.fixture(scope="module")
def scenes():
    return pictures.scenes(40, seed=77, split="all")


@pytest.fixture(scope="module")
def record():
    return json.loads(small_clip.RECORD.read_text())


@pytest.fixture(scope="module")
def figures(clip):
    return small_clip.evaluate(clip)


def test_embeddings_are_unit_rows_however_pictures_are_grouped_and_leave_them_as_they_were(clip, scenes):
    before, given = scenes.images.copy(), [Image.fromarray(each) for each in scenes.images]
    together = rows_of_both(clip, given, scenes.captions)
    for size in (1, 6):
        grouped = clip.non_text.encode(scenes.images, size), clip.text.encode(scenes.captions, size)
        assert agree(together, grouped, 2e-5)
    assert np.array_equal(before, scenes.images)


def test_a_picture_is_centred_and_scaled_channels_first():
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    pixels[0, 2, 5] = 255, 51, 0
    prepared = small_clip.prepare(small_clip.channels_first(pixels))
    assert prepared.shape == (1, 3, 32, 32) and prepared.dtype == torch.float32
    about = small_clip.config()["pixels"]
    expected = [(value - about["mean"]) / about["std"] for value in (1.0, 0.2, 0.0)]
    assert prepared[0, :, 2, 5].tolist() == pytest.approx(expected, rel=1e-5)


def test_tokens_are_start_words_end_and_padding():
    tokenizer = small_clip.Tokenizer(["a", "red", "star"], context_length=6)
    assert tokenizer(["a red star", "Star"]).tolist() == [[1, 2, 3, 4, 5, 0], [1, 4, 5, 0, 0, 0]]
    assert tokenizer.end == 5


def test_the_vocabulary_is_that_of_the_corpus_and_fits_the_architecture():
    config = small_clip.config()
    assert config["words"] == sorted({word for c in pictures.training_corpus(6000, 0).captions for word in c.split()})
    assert config["model"]["text_cfg"]["vocab_size"] == small_clip.Tokenizer(config["words"], 9).end + 1
    longest = max(len(caption.split()) for caption in pictures.distinct_scenes(2560, 0).captions)
    assert longest + 2 <= config["model"]["text_cfg"]["context_length"]


SIZE = "takes pictures of 32x32 pixels only, RGB in uint8"
test_other_words_pictures_checkpoints_and_seeds_are_refused = refuses(
    (lambda: small_clip.load().text.encode(["a red star", "a red zebra"]), "'zebra' of 'a red zebra'"),
    (lambda: small_clip.load().text.encode(["a " * 40]), r"may have \d+ words"),
    (lambda: small_clip.load().non_text.encode([np.zeros((32, 32, 3), np.float32)]), SIZE),
    (lambda: small_clip.load().non_text.encode([np.zeros((30, 30, 3), np.uint8)]), SIZE),
    (lambda: small_clip.load(Path("none.safetensors")), "train-small-clip"),
    (lambda: small_clip.load(Path(__file__)), r"test_small_clip\.py"),
    (lambda: SmallClipSettings(training=TrainingSettings(steps=1, seed=pictures.TEST_SEED)), "test pictures"),
)


def test_a_random_twin_is_fixed_by_its_seed_and_has_the_architecture_of_the_trained_one(clip):
    only_the_seed_decides(lambda seed: small_clip.random(seed).text.encode(["a red star"]))
    twin = small_clip.random(1).model
    shapes = ({name: value.shape for name, value in model.state_dict().items()} for model in (twin, clip.model))
    assert next(shapes) == next(shapes)
    assert isinstance(twin, CLIP) and not twin.training


def test_the_settings_of_a_pair_are_plain_and_tell_other_weights_apart(clip, tmp_path):
    about = clip.settings
    assert json.loads(json.dumps(about)) == about
    assert (about["encoder"], about["model"]) == (f"open_clip {open_clip.__version__}", "small CLIP")
    assert about["weights_sha256"] == sha256(small_clip.CHECKPOINT)
    save_file(small_clip.random(2).model.state_dict(), tmp_path / "other.safetensors")
    others = [*map(small_clip.random, (1, 2, 1)), small_clip.load(tmp_path / "other.safetensors")]
    assert len({json.dumps(settings) for settings in (about, *(pair.settings for pair in others))}) == 4


def test_the_checkpoint_is_small_and_its_record_says_how_it_was_made_and_chosen(record):
    assert small_clip.CHECKPOINT.stat().st_size <= 16e6
    assert record["command"] == COMMAND
    assert record["settings"]["training"]["seed"] == record["seeds"]["training"] == 0
    assert {"torch", "open_clip_torch", "numpy"} <= set(record["versions"])
    assert record["seconds"] < 45 * 60 and record["machine"]["device"] == "cpu"
    default = SmallClipSettings()
    used = dict(record["settings"]["training"])
    assert used.pop("fixed_share") == 1 and used.pop("first_temperature") == 0.01, "no schedule of the temperature"
    assert TrainingSettings(**used | {"betas": (0.9, 0.98)}) == default.training
    assert record["settings"]["pictures"] == default.pictures
    log, steps = record["log"], default.training.steps
    assert log[-1]["step"] == steps and log[-1]["loss"] < log[0]["loss"] / 3
    assert all(entry["temperature"] == 0.01 for entry in log if entry["step"] > 0.8 * steps)
    validated = [(entry["validation_loss"], entry["step"]) for entry in log if "validation_loss" in entry]
    assert min(validated)[1] == record["chosen_step"]


def test_the_shipped_checkpoint_meets_every_bar_when_measured_again(figures):
    gap, lowest = figures["landscape"]["gap_distance"], figures["landscape"]["lowest_loss_at"]
    tasks, harm = figures["tasks"], figures["harm"]["rate"].values()
    assert gap >= 0.5 and abs(lowest["1/100"] - gap) <= 0.1
    assert abs(lowest["1/50"]) <= 0.8 * gap and abs(lowest["1/1"]) < 0.1
    assert figures["retrieval"]["image_recall_at_1"] >= 0.5
    assert tasks["colour_shape"]["accuracy"] >= 0.75 and tasks["digit"]["accuracy"] >= 0.9
    assert all(task["ci_low"] > 3 * task["chance"] for task in tasks.values())
    assert sum(0.01 <= rate <= 0.2 for rate in harm) >= 3


def test_the_figures_are_those_of_the_record(figures, record):
    for name, tolerance in {"tasks": 0.002, "harm": 0.002, "retrieval": 0.005, "landscape": 0.06}.items():
        ours, recorded = (pd.json_normalize(found[name]) for found in (figures, record["figures"]))
        pd.testing.assert_frame_equal(ours, recorded, check_like=True, check_dtype=False, rtol=0, atol=tolerance)


def test_the_model_card_has_the_figures_of_the_record(record):
    figures, card = record["figures"], small_clip.RECORD.with_name("README.md").read_text()
    shown = [figures["landscape"]["gap_distance"], *(task["accuracy"] for task in figures["tasks"].values())]
    lowest = figures["landscape"]["lowest_loss_at"]
    shown += [*(lowest[tau] for tau in ("1/100", "1/50", "1/1")), figures["retrieval"]["image_recall_at_1"]]
    assert [number for number in shown if f"| {number:.4f} |" not in card] == []


def test_harm_falls_as_a_group_becomes_more_frequent_in_training(figures):
    rates = np.array(list(figures["harm"]["rate"].values()))
    rank = lambda values: np.argsort(np.argsort(values))  # noqa: E731
    assert np.corrcoef(rank(-pictures.GROUP_WEIGHTS), rank(rates))[0, 1] > 0.6
    assert rates[4:].mean() > 2 * rates[:2].mean()


def test_the_untrained_twin_meets_none_of_the_accuracy_bars():
    twin = small_clip.random(0)
    some = pictures.scenes(300, 5)
    found = small_clip.zero_shot(twin, "colour_shape", some, twin.non_text.encode(some.images))
    assert found["accuracy"] < 0.1 and found["chance"] == 1 / 64


def test_recall_counts_the_images_whose_own_caption_is_nearest(clip):
    described = pictures.distinct_scenes(60, 4)
    right = small_clip.recall_at_1(clip, described)
    turned = replace(described, captions=described.captions[1:] + described.captions[:1])
    assert right > 0.5 and small_clip.recall_at_1(clip, turned) < 0.1


def test_a_short_training_writes_a_checkpoint_and_a_record_that_load_again_bit_for_bit(tmp_path, monkeypatch):
    short = TrainingSettings(steps=3, batch=32, log_every=1, validate_every=2)
    settings = SmallClipSettings(pictures=300, validation_pictures=50, threads=1, training=short)
    for name, value in {"SCENES": 100, "DESCRIPTIONS": 20, "BADGES_PER_GROUP": 10}.items():
        monkeypatch.setattr(small_clip, name, value)
    record = train_small_clip(tmp_path / "one", seed=3, settings=settings)
    train_small_clip(tmp_path / "two", seed=3, settings=settings)
    one, two = (tmp_path / name / "small_clip.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    names = ["small_clip.json", "small_clip.safetensors", "small_clip_record.json"]
    assert sorted(path.name for path in one.parent.iterdir()) == names
    assert small_clip.load(one).text.encode(["a star"]).shape == (1, 128)
    written = json.loads((tmp_path / "one" / "small_clip_record.json").read_text())
    assert written["seeds"]["training"] == 3 and written["chosen_step"] == record["chosen_step"] in (2, 3)
