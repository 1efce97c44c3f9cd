"""The generated inputs of Figure 1: the same for the same seed, true to their captions and to their statistics."""

import hashlib
import json

import numpy as np
import pytest
from scipy.stats import chisquare

from systems import SYSTEMS, generated_inputs
from systems.clasp import ALPHABET
from util import published
from util.corpora.generated import pictures
from util.corpora.generated.pictures import TEST_SEED
from util.encoders import small_clip


def items(captioned):
    return [opener() for opener in captioned.openers]


def as_bytes(captioned):
    return [item.encode() if isinstance(item, str) else np.asarray(item).tobytes() for item in items(captioned)]


def drawn(n, seed):
    """The frames of n clips as they were drawn, 32 pixels wide, and their captions."""
    clips = generated_inputs.clips(n, seed)
    assert [(frame.mode, frame.size) for frame in items(clips)[1]] == [("RGB", (224, 224))] * 8
    frames = np.stack([[np.asarray(frame.resize((32, 32), 4)) for frame in clip] for clip in items(clips)])
    return frames.astype(float), [caption.split() for caption in clips.captions]


DIGESTS = {"clip": "b8c664cb2703ab70", "videoclip": "a061cf0d2767c944", "convirt": "b32648f231ab7f90"}
DIGESTS |= {"clasp": "3bf161b042e291e4"}


@pytest.mark.parametrize(("key", "digest"), DIGESTS.items())
def test_a_seed_gives_the_inputs_of_the_committed_results_to_the_bit_and_another_gives_others(key, digest):
    first, other = (SYSTEMS[key].generate(6, seed) for seed in (3, 4))
    about = [first.captions, dict(first.source), list(first.ids), first.modality]
    seen = hashlib.sha256(b"".join(as_bytes(first)) + json.dumps(about).encode())
    assert seen.hexdigest()[:16] == digest
    assert first.source["files"] != other.source["files"]
    assert not set(as_bytes(first)) & set(as_bytes(other)) and len(set(as_bytes(first))) == 6
    assert json.loads(json.dumps(first.source)) == first.source
    assert (first.source["generated"], first.source["n"], first.source["n_captions"]) == (True, 6, 6)
    assert first.source["dataset"].startswith("generated ")
    assert first.modality == published.SYSTEMS[key]["modality"]
    assert first.item_of.tolist() == list(range(6)) and all(caption.strip() for caption in first.captions)


def test_scenes_are_the_small_clips_test_pictures_and_its_tower_takes_them():
    captioned, clip = SYSTEMS["clip"].generate(4, 1), small_clip.load()
    drawn = pictures.scenes(4, TEST_SEED + 1, split="all")
    assert np.array_equal(np.stack(items(captioned)), drawn.images) and captioned.captions == drawn.captions
    assert clip.non_text.encode(items(captioned)).shape == (4, 128)
    assert np.array_equal(generated_inputs.RADII, pictures._RADII)


def test_the_subject_moves_where_its_caption_says():
    images, captions = drawn(100, 0)
    agreed = 0
    for clip, words in zip(images, captions, strict=True):
        assert words[4] == "moving"
        start, end = (subject(clip[k] - np.median(clip, axis=0)) for k in (0, -1))
        way = generated_inputs.DIRECTIONS[words[5]]
        agreed += (end - start) @ way > 0.8 * np.linalg.norm(end - start) > 8
    assert agreed >= 95  # faded and grainy clips may hide their subject from this test


def subject(difference):
    """Where (x, y) a frame differs most from the clip's median frame: the middle of its strongest pixels."""
    strength = np.abs(difference).sum(-1)
    y, x = np.unravel_index(np.argsort(strength, axis=None)[-20:], strength.shape)
    return np.array([np.median(x), np.median(y)])


def test_every_frame_of_a_clip_keeps_its_ground():
    images, captions = drawn(60, 1)
    corners = images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].mean(-1)  # (clip, frame, corner)
    assert np.abs(corners - corners.mean(1, keepdims=True)).mean() < 12  # grain alone
    assert {words[-2] for words in captions} == set(generated_inputs.BACKGROUNDS)


def test_attributes_of_clips_are_equally_likely():
    words = [caption.split() for caption in generated_inputs.clips(500, 2).captions]
    for name, place in {"size": 1, "colour": 2, "shape": 3, "direction": 5, "background": 8}.items():
        counts = [sum(row[place] == word for row in words) for word in generated_inputs.ATTRIBUTES[name]]
        assert sum(counts) == 500 and chisquare(counts).pvalue > 1e-3, name


def test_noise_radiographs_have_the_amplitude_spectrum_they_claim():
    radiographs = generated_inputs.noise_radiographs(20, 0)
    images = np.stack([np.asarray(image) for image in items(radiographs)])
    assert images.shape == (20, 224, 224, 3) and np.ptp(images, axis=-1).max() == 0
    images = images[..., 0].astype(float)
    assert abs(images.mean() - generated_inputs.MEAN) < 0.5
    assert abs(images.std((1, 2)).mean() - generated_inputs.DEVIATION) < 1
    amplitude = np.abs(np.fft.rfft2(images)).mean(0)
    frequency = np.hypot(np.fft.fftfreq(224)[:, None], np.fft.rfftfreq(224)[None])
    inside = (frequency > 0.01) & (frequency < 0.4)
    slope = np.polyfit(np.log(frequency[inside]), np.log(amplitude[inside]), 1)[0]
    assert slope == pytest.approx(-1, abs=0.03)
    for caption in radiographs.captions:
        said = [sentence for sentence in generated_inputs.FINDINGS if sentence in caption]
        assert len(said) == 2 and len(caption) == sum(map(len, said)) + 1


def test_amino_acids_come_at_their_natural_frequencies_in_every_length():
    proteins, percent = generated_inputs.random_sequences(2000, 1), generated_inputs.PERCENT
    assert sorted(percent) == sorted(set(ALPHABET) - set("XUO"))
    assert sum(percent.values()) == pytest.approx(99.92, abs=1e-9)
    letters = "".join(items(proteins)[:500])
    expected = np.array(list(percent.values())) * len(letters) / sum(percent.values())
    counts = [letters.count(letter) for letter in percent]
    assert chisquare(counts, expected).pvalue > 1e-3 > 1e-9 > chisquare(counts).pvalue
    lengths = [len(sequence) for sequence in items(proteins)]
    assert (min(lengths), max(lengths)) == generated_inputs.LENGTHS and np.mean(lengths) == pytest.approx(110, abs=3)
    assert len(set(proteins.captions)) == np.prod([len(words) for words in generated_inputs.WORDS.values()])
