"""The shipped small CLIP: it reads its words, refuses others, and meets every bar when measured again."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from open_clip.model import CLIP
from PIL import Image
from safetensors.torch import save_file

from util.corpora.generated import pictures
from util.encoders import small_clip, small_clip_evaluation
from util.encoders.small_clip_training import COMMAND, SmallClipSettings, train_small_clip
from util.errors import UserError
from util.extraction import cache_path
from util.files import sha256
from util.training import TrainingSettings

CHECKED_CALLS = """
from jaxtyping import install_import_hook
NAMES = ("collection", "drawing", "scenes", "digits", "badges", "pictures")
MODULES = ["util.corpora.generated." + name for name in NAMES]
MODULES += ["util.encoders.small_clip", "util.training"]
with install_import_hook(MODULES, "beartype.beartype"):
    import numpy as np
    from util import training
    from util.corpora.generated import pictures
    from util.encoders import small_clip
clip = small_clip.random(0)
corpus = pictures.training_corpus(40, 0)
assert clip.encode_images(corpus.images).shape == clip.encode_texts(corpus.captions).shape == (40, 128)
assert len(pictures.distinct_scenes(5, 0)) == 5 and len(pictures.badges(14, 0, None)) == 14
assert pictures.task_labels("digit", pictures.digits("held_out")).shape == (450,)
pairs = training.Pairs(small_clip.channels_first(corpus.images), clip.tokenizer(corpus.captions))
settings = training.TrainingSettings(steps=2, batch=8)
assert len(training.train(clip.model, pairs, settings, clip.prepare, progress=False)) == 1
try:
    clip.prepare(pairs.images[:, :2])
except Exception as error:
    assert "jaxtyping" in type(error).__module__, type(error)
else:
    raise AssertionError("the hook checked nothing")
print("shapes hold")
"""


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
    return small_clip_evaluation.evaluate(clip)


def test_the_shapes_in_the_annotations_hold():
    """In a process of its own, because jaxtyping's hook must come before the import."""
    done = subprocess.run([sys.executable, "-c", CHECKED_CALLS], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "shapes hold", done.stderr[-3000:]


def test_embeddings_are_unit_float32_rows(clip, scenes):
    for rows in (clip.encode_images(scenes.images), clip.encode_texts(scenes.captions)):
        assert rows.shape == (40, 128) and rows.dtype == np.float32
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_how_pictures_are_grouped_in_calls_does_not_matter(clip, scenes):
    together = clip.encode_images(scenes.images), clip.encode_texts(scenes.captions)
    alone = (
        np.concatenate([clip.encode_images(scenes.images[i : i + 7]) for i in range(0, 40, 7)]),
        np.concatenate([clip.encode_texts([caption]) for caption in scenes.captions]),
    )
    for a, b in zip(together, alone, strict=True):
        assert np.abs(a - b).max() < 2e-5


def test_blocks_do_not_change_what_a_row_is(clip, monkeypatch):
    images = pictures.scenes(20, 3).images
    whole = clip.encode_images(images)
    monkeypatch.setattr(small_clip, "BLOCK", 6)
    assert np.abs(clip.encode_images(images) - whole).max() < 2e-5


def test_nothing_encoded_gives_no_rows(clip):
    assert clip.encode_texts([]).shape == (0, 128)
    assert clip.encode_images(np.empty((0, 32, 32, 3), np.uint8)).shape == (0, 128)


def test_equal_captions_have_equal_rows_in_their_places(clip):
    rows = clip.encode_texts(["a red star", "a ring", "a red star"])
    assert np.array_equal(rows[0], rows[2]) and not np.allclose(rows[0], rows[1])


def test_inputs_are_left_as_they_were(clip, scenes):
    before = scenes.images.copy()
    clip.encode_images(scenes.images)
    assert np.array_equal(before, scenes.images)


def test_a_picture_is_centred_and_scaled_channels_first(clip):
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    pixels[0, 2, 5] = 255, 51, 0
    prepared = clip.prepare(small_clip.channels_first(pixels))
    assert prepared.shape == (1, 3, 32, 32) and prepared.dtype == torch.float32
    expected = [(value - clip.mean) / clip.std for value in (1.0, 0.2, 0.0)]
    assert prepared[0, :, 2, 5].tolist() == pytest.approx(expected, rel=1e-5)


def test_tokens_are_start_words_end_and_padding():
    tokenizer = small_clip.Tokenizer(["a", "red", "star"], length=6)
    assert tokenizer(["a red star", "Star"]).tolist() == [[1, 2, 3, 4, 5, 0], [1, 4, 5, 0, 0, 0]]
    assert tokenizer.size == 6 and tokenizer.end == 5


def test_the_vocabulary_is_that_of_the_corpus_and_fits_the_architecture():
    config = small_clip.config()
    assert config["words"] == pictures.vocabulary()
    assert config["model"]["text_cfg"]["vocab_size"] == small_clip.Tokenizer(config["words"], 9).size
    longest = max(len(caption.split()) for caption in pictures.distinct_scenes(2560, 0).captions)
    assert longest + 2 <= config["model"]["text_cfg"]["context_length"]


def test_an_unknown_word_is_named(clip):
    with pytest.raises(UserError, match="'zebra' of 'a red zebra'"):
        clip.encode_texts(["a red star", "a red zebra"])


def test_a_caption_that_is_too_long_is_refused(clip):
    with pytest.raises(UserError, match=r"may have \d+ words"):
        clip.encode_texts(["a " * 40])


def test_one_string_instead_of_many_is_refused(clip):
    with pytest.raises(UserError, match="list of strings"):
        clip.encode_texts("a red star")


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 32, 32, 3), np.float32), np.zeros((2, 3, 32, 32), np.uint8), np.zeros((32, 32, 3), np.uint8), [[0]]],
)
def test_pictures_of_another_form_are_refused(clip, images):
    with pytest.raises(UserError, match="uint8 array"):
        clip.encode_images(images)


def test_a_checkpoint_that_is_missing_or_foreign_is_refused(tmp_path):
    with pytest.raises(UserError, match="train-small-clip"):
        small_clip.load(tmp_path / "none.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"foreign\.safetensors"):
        small_clip.load(foreign)


def test_a_random_twin_is_fixed_by_its_seed_and_leaves_the_global_generator_alone(clip):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = small_clip.random(1), small_clip.random(1), small_clip.random(2)
    assert torch.equal(torch.rand(3), expected)
    a, b, c = (twin.model.state_dict() for twin in (one, same, other))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["text_projection"], c["text_projection"])
    trained = clip.model.state_dict()
    assert {n: t.shape for n, t in a.items()} == {n: t.shape for n, t in trained.items()}
    assert isinstance(one.model, CLIP) and not one.model.training


def test_the_settings_of_a_pair_are_plain_and_say_all_that_its_embeddings_depend_on(clip):
    pair = clip.pair("trained")
    settings = pair.describe()
    assert json.loads(json.dumps(settings)) == settings == dict(pair.non_text.settings) == dict(pair.text.settings)
    assert (settings["checkpoint"], settings["seed"]) == (sha256(small_clip.CHECKPOINT), None)
    assert (settings["open_clip"], settings["dtype"], settings["device"]) == (open_clip.__version__, "float32", "cpu")
    assert (settings["encoder"], settings["weights"]) == ("small CLIP", "trained")
    random = small_clip.random(7).pair("random").settings
    assert (random["checkpoint"], random["seed"]) == (None, 7)
    assert random["configuration"] == settings["configuration"]
    assert small_clip.random(7).pair("random").settings == random


def test_the_settings_tell_other_weights_and_other_pixels_apart(clip, tmp_path):
    path, twin = tmp_path / "other.safetensors", small_clip.random(1)
    save_file(twin.model.state_dict(), path)
    unknown = replace(twin, origin=small_clip.Origin())
    several = [clip, twin, small_clip.random(2), small_clip.load(path), unknown, replace(twin, mean=0.25)]
    found = [each.pair("one word for all").settings for each in several]
    with torch.no_grad():
        unknown.model.logit_scale.add_(1)
    found.append(unknown.pair("one word for all").settings)
    assert len({json.dumps(settings) for settings in found}) == len(found)
    assert len({cache_path(settings) for settings in found}) == len(found)


def test_the_digest_of_weights_is_that_of_their_bytes_and_names():
    model = torch.nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0]]))
        model.bias.fill_(3)
    names = b'[["weight", "torch.float32", [1, 2]], ["bias", "torch.float32", [1]]]'
    expected = hashlib.sha256(names + np.array([1, 2, 3], "<f4").tobytes()).hexdigest()
    assert small_clip.weights_digest(model) == expected


def test_the_checkpoint_is_small_and_its_record_says_how_it_was_made(record):
    assert small_clip.CHECKPOINT.stat().st_size <= 16e6
    assert record["command"] == COMMAND
    assert record["settings"]["training"]["seed"] == record["seeds"]["training"] == 0
    assert {"torch", "open_clip_torch", "numpy"} <= set(record["versions"])
    assert record["seconds"] < 45 * 60 and record["machine"]["device"] == "cpu"
    default = SmallClipSettings()
    assert TrainingSettings(**record["settings"]["training"] | {"betas": (0.9, 0.98)}) == default.training
    assert record["settings"]["pictures"] == default.pictures


def test_the_record_holds_the_log_and_the_choice_by_validation_loss(record):
    log, steps = record["log"], record["settings"]["training"]["steps"]
    assert log[-1]["step"] == steps and log[-1]["loss"] < log[0]["loss"] / 3
    assert all(entry["temperature"] == 0.01 for entry in log if entry["step"] > 0.8 * steps)
    validated = [(entry["validation_loss"], entry["step"]) for entry in log if "validation_loss" in entry]
    assert min(validated)[1] == record["chosen_step"]


def test_the_shipped_checkpoint_meets_every_bar_when_measured_again(figures):
    assert {name for name, reached in small_clip_evaluation.bars(figures).items() if not reached} == set()


def test_the_figures_are_those_of_the_record(figures, record):
    def close(ours, recorded, tolerance):
        if isinstance(ours, dict):
            assert ours.keys() == recorded.keys()
            for name in ours:
                close(ours[name], recorded[name], tolerance)
        else:
            assert ours == pytest.approx(recorded, abs=tolerance)

    close(figures["tasks"], record["figures"]["tasks"], 0.002)
    close(figures["harm"], record["figures"]["harm"], 0.002)
    close(figures["retrieval"], record["figures"]["retrieval"], 0.005)
    close(figures["landscape"], record["figures"]["landscape"], 0.06)


def test_harm_falls_as_a_group_becomes_more_frequent_in_training(figures):
    rates = np.array(list(figures["harm"]["rate"].values()))
    rank = lambda values: np.argsort(np.argsort(values))  # noqa: E731
    assert np.corrcoef(rank(-pictures.GROUP_WEIGHTS), rank(rates))[0, 1] > 0.6
    assert rates[4:].mean() > 2 * rates[:2].mean()


def test_the_untrained_twin_meets_none_of_the_accuracy_bars():
    twin = small_clip.random(0)
    some = pictures.scenes(300, 5)
    found = small_clip_evaluation.zero_shot(twin, "colour_shape", some, twin.encode_images(some.images))
    assert found["accuracy"] < 0.1 and found["chance"] == 1 / 64


def test_recall_counts_the_images_whose_own_caption_is_nearest(clip):
    described = pictures.distinct_scenes(60, 4)
    right = small_clip_evaluation.recall_at_1(clip, described)
    turned = described.with_captions(described.captions[1:] + described.captions[:1])
    assert right > 0.5 and small_clip_evaluation.recall_at_1(clip, turned) < 0.1


def test_a_short_training_writes_a_checkpoint_and_a_record_that_load_again_bit_for_bit(tmp_path):
    short = TrainingSettings(steps=3, batch=32, log_every=1, validate_every=2)
    settings = SmallClipSettings(pictures=300, validation_pictures=50, training=short)
    small = {"SCENES": 100, "DESCRIPTIONS": 20, "BADGES_PER_GROUP": 10}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in small.items():
            patch.setattr(small_clip_evaluation, name, value)
        record = train_small_clip(tmp_path / "one", seed=3, settings=settings, progress=False)
        train_small_clip(tmp_path / "two", seed=3, settings=settings, progress=False)
    one, two = (tmp_path / name / "small_clip.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert sorted(p.name for p in one.parent.iterdir()) == [
        "small_clip.json", "small_clip.safetensors", "small_clip_record.json",
    ]  # fmt: skip
    assert small_clip.load(one).encode_texts(["a star"]).shape == (1, 128)
    written = json.loads((tmp_path / "one" / "small_clip_record.json").read_text())
    assert written["seeds"]["training"] == 3 and written["chosen_step"] == record["chosen_step"] in (2, 3)


def test_a_training_seed_that_belongs_to_the_test_pictures_is_refused():
    taken = replace(TrainingSettings(steps=1), seed=small_clip_evaluation.TEST_SEED)
    with pytest.raises(UserError, match="test pictures"):
        SmallClipSettings(training=taken)


def test_the_pair_takes_pil_pictures_of_any_size_and_arrays_as_they_are(clip, scenes):
    encode = clip.pair("small CLIP").encode_non_text
    arrays = list(scenes.images[:4])
    pictures_of = [Image.fromarray(array) for array in arrays]
    assert np.array_equal(encode(pictures_of), encode(arrays))
    larger = [picture.resize((90, 60), Image.Resampling.NEAREST) for picture in pictures_of]
    resized = [np.asarray(picture.resize((32, 32), Image.Resampling.BICUBIC)) for picture in larger]
    assert np.array_equal(encode(larger), encode(resized))
    assert (encode(larger) * encode(arrays)).sum(1).min() > 0.8
    grey = [Image.new("L", (5, 7), 128)]
    assert np.array_equal(encode(grey), encode([np.full((32, 32, 3), 128, np.uint8)]))
