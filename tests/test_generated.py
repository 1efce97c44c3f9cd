"""The generated inputs of Figure 1: the same for the same seed, true to their captions and to their statistics."""

import hashlib
import json
import math

import numpy as np
import pytest
from scipy.stats import chisquare

from systems import moving, radiographs, random_proteins
from systems.generated_inputs import GENERATED
from systems.proteins import ALPHABET
from util import UserError
from util.corpora.generated import pictures, scenes
from util.corpora.generated.pictures import TEST_SEED
from util.encoders import small_clip

MODALITIES = {"clip": "image", "videoclip": "video", "convirt": "image", "clasp": "amino acid"}


def items(captioned):
    """The content of all items, as bytes."""
    opened = [opener() for opener in captioned.openers]
    return [item.encode() if isinstance(item, str) else np.stack([np.asarray(item)]).tobytes() for item in opened]


@pytest.mark.parametrize("system", GENERATED)
def test_the_same_seed_gives_the_same_inputs_to_the_bit_and_another_gives_others(system):
    first, again, other = (GENERATED[system](6, seed) for seed in (3, 3, 4))
    assert items(first) == items(again)
    assert (first.captions, first.source) == (again.captions, again.source)
    assert first.source["files"] != other.source["files"]
    assert not set(items(first)) & set(items(other))
    assert len(set(items(first))) == 6


@pytest.mark.parametrize("system", GENERATED)
def test_every_source_says_that_it_is_generated(system):
    captioned = GENERATED[system](5, 0)
    source = captioned.source
    assert json.loads(json.dumps(source)) == source
    assert (source["generated"], source["n"], source["n_captions"]) == (True, 5, 5)
    assert source["dataset"].startswith("generated ")
    assert captioned.modality == MODALITIES[system]
    assert captioned.item_of.tolist() == list(range(5))
    assert all(caption.strip() for caption in captioned.captions)


@pytest.mark.parametrize("system", GENERATED)
def test_no_inputs_or_a_negative_seed_are_refused(system):
    with pytest.raises(UserError, match="must be at least 1, not 0"):
        GENERATED[system](0, 0)
    with pytest.raises(UserError, match="seed must be a whole number"):
        GENERATED[system](2, -1 - TEST_SEED)


def test_scenes_are_the_small_clips_test_pictures_and_its_tower_takes_them():
    captioned = GENERATED["clip"](4, 1)
    drawn = pictures.scenes(4, TEST_SEED + 1, split="all")
    assert np.array_equal(np.stack([opener() for opener in captioned.openers]), drawn.images)
    assert captioned.captions == drawn.captions
    clip = small_clip.load()
    assert np.allclose(
        clip.pair("small CLIP").encode_non_text(captioned.readable({})), clip.encode_images(drawn.images), atol=1e-5
    )


def test_drawing_clips_leaves_the_frozen_scenes_as_they_were():
    digest = hashlib.sha256(pictures.scenes(50, 7).images.tobytes()).hexdigest()
    moving.clips(3, 7)
    assert hashlib.sha256(pictures.scenes(50, 7).images.tobytes()).hexdigest() == digest
    assert np.array_equal(moving.RADII, scenes._RADII)


def test_the_subject_moves_where_its_caption_says_and_has_its_colour():
    images, captions = moving.clips(200, 0)
    assert images.shape == (200, 8, 32, 32, 3)
    still = np.median(images.astype(float), axis=1)
    agreed = 0
    for clip, ground, caption in zip(images, still, captions, strict=True):
        words = caption.split()
        assert words[4] == "moving"
        places = [subject(frame - ground) for frame in (clip[0].astype(float), clip[-1].astype(float))]
        moved = places[1] - places[0]
        agreed += moved @ moving.DIRECTIONS[words[5]] > 0.8 * np.linalg.norm(moved) > 8
    assert agreed >= 190  # faded and grainy clips may hide their subject from this test


def subject(difference):
    """Where (x, y) a frame differs most from the clip's median frame: the middle of its strongest pixels."""
    strength = np.abs(difference).sum(-1)
    y, x = np.unravel_index(np.argsort(strength, axis=None)[-20:], strength.shape)
    return np.array([np.median(x), np.median(y)])


def test_every_frame_of_a_clip_keeps_its_ground():
    images, captions = moving.clips(60, 1)
    corners = images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].astype(float).mean(-1)  # (clip, frame, corner)
    assert np.abs(corners - corners.mean(1, keepdims=True)).mean() < 12  # grain alone
    assert {caption.split()[-2] for caption in captions} == set(moving.BACKGROUNDS)


def test_attributes_of_clips_are_equally_likely():
    words = [caption.split() for caption in moving.clips(2000, 2)[1]]
    for name, place in {"size": 1, "colour": 2, "shape": 3, "direction": 5, "background": 8}.items():
        counts = [sum(row[place] == word for row in words) for word in moving.ATTRIBUTES[name]]
        assert sum(counts) == 2000
        assert chisquare(counts).pvalue > 1e-3, name


def test_a_clip_is_eight_rgb_frames_of_224_pixels_that_show_the_drawing():
    captioned = GENERATED["videoclip"](2, 5)
    drawn, captions = moving.clips(2, 5)
    frames = captioned.openers[1]()
    assert captioned.captions == captions
    assert [(frame.mode, frame.size) for frame in frames] == [("RGB", (224, 224))] * 8
    reduced = np.asarray(frames[3]).reshape(32, 7, 32, 7, 3).mean((1, 3))
    assert np.corrcoef(reduced.ravel(), drawn[1, 3].ravel())[0, 1] > 0.97


def test_noise_radiographs_have_the_amplitude_spectrum_they_claim():
    images, _ = radiographs.radiographs(20, 0)
    assert images.shape == (20, 224, 224)
    assert abs(images.mean() - radiographs.MEAN) < 0.5
    assert abs(images.std((1, 2)).mean() - radiographs.DEVIATION) < 1
    amplitude = np.abs(np.fft.rfft2(images.astype(float))).mean(0)
    frequency = np.hypot(np.fft.fftfreq(224)[:, None], np.fft.rfftfreq(224)[None])
    inside = (frequency > 0.01) & (frequency < 0.4)
    slope = np.polyfit(np.log(frequency[inside]), np.log(amplitude[inside]), 1)[0]
    assert slope == pytest.approx(-1, abs=0.03)


def test_radiographs_are_grey_rgb_pictures_under_two_different_sentences():
    captioned = GENERATED["convirt"](30, 0)
    image = captioned.openers[0]()
    assert (image.mode, image.size) == ("RGB", (224, 224))
    assert np.ptp(np.asarray(image), axis=-1).max() == 0
    for caption in captioned.captions:
        said = [sentence for sentence in radiographs.FINDINGS if sentence in caption]
        assert len(said) == 2
        assert len(caption) == sum(map(len, said)) + 1


def test_amino_acids_come_at_their_natural_frequencies():
    letters = "".join(random_proteins.sequences(500, 0)[0])
    percent = random_proteins.PERCENT
    assert sorted(percent) == sorted(set(ALPHABET) - set("XUO"))
    assert math.isclose(sum(percent.values()), 99.92, abs_tol=1e-9)
    expected = np.array(list(percent.values())) * len(letters) / sum(percent.values())
    assert chisquare([letters.count(letter) for letter in percent], expected).pvalue > 1e-3
    assert chisquare([letters.count(letter) for letter in percent]).pvalue < 1e-9


def test_lengths_of_sequences_fill_their_range_and_texts_are_made_of_the_words():
    drawn, texts = random_proteins.sequences(2000, 1)
    lengths = [len(sequence) for sequence in drawn]
    assert (min(lengths), max(lengths)) == random_proteins.LENGTHS
    assert np.mean(lengths) == pytest.approx(110, abs=3)
    words = random_proteins.KINDS, random_proteins.PLACES, random_proteins.PARTNERS
    possible = {
        random_proteins.TEXT.format(kind=k, place=p, partner=q) for k in words[0] for p in words[1] for q in words[2]
    }
    assert set(texts) == possible
