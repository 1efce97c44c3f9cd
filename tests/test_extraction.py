"""Extraction: pairs never shift, a cache is trusted only when all settings are equal, parts resume to the same bits."""

import io
import multiprocessing
import os
import re
import signal
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import SafetensorError

from util import UserError, extraction
from util.corpora.captioned import Captioned, picture
from util.extraction import MOST_SKIPPED, class_embeddings, embed_images, extract


class Encoder:
    """Stands in for a model: an image's row follows from its brightness, a caption's from the number in it.

    By place, the row depends also, as those of real hardware may, on where in its batch an image was.
    """

    name, dim, kept = "stand-in", 6, True

    def __init__(self, seed=0, modality="image", by_place=False, dies_at=None):
        self.seed, self.by_place, self.dies_at = seed, by_place, dies_at
        self.calls = self.encoded = self.texts = 0
        self.non_text = SimpleNamespace(modality=modality, encode=self.encode_images)
        self.text = SimpleNamespace(encode=self.encode_captions)
        self.settings = {"encoder": self.name, "seed": seed, "widths": (self.dim,)}

    def encode_images(self, images, batch_size):
        self.calls += 1
        if self.calls == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        levels = [int(np.asarray(image).mean() / 10) for image in images]
        self.encoded += len(levels)
        places = [1 + (i % batch_size) / 64 if self.by_place else 1 for i in range(len(levels))]
        return np.stack([self.row(level, 0) * np.float32(place) for level, place in zip(levels, places, strict=True)])

    def encode_captions(self, captions, batch_size):
        self.texts += 1
        return np.stack([self.row(int(caption.split()[0]), 1) for caption in captions])

    def row(self, level, modality):
        row = np.random.default_rng([self.seed, level, modality]).normal(size=self.dim)
        return (row / np.linalg.norm(row)).astype(np.float32)


def png(level):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (10 * level,) * 3).save(file, "png")
    return file.getvalue()


def pictures(levels=range(1, 9), damaged=(), per_image=1):
    """Grey pictures, each with captions that begin with its level."""
    content = [png(level)[: 40 if level in damaged else None] for level in levels]
    captions = [f"{level} {turn}" for level in levels for turn in range(per_image)]
    item_of = np.repeat(np.arange(len(content)), per_image)
    ids = [f"{level}.png" for level in levels]
    source = {"dataset": "grey", "revision": "1", "n": len(ids), "n_captions": len(captions), "skipped": []}
    openers = [picture(lambda data=data: Image.open(io.BytesIO(data))) for data in content]
    return Captioned(openers, ids, source, "image", captions, item_of)


@pytest.fixture(autouse=True)
def cache(own_cache):
    return own_cache / "parts"


@pytest.fixture(autouse=True)
def lines(monkeypatch):
    """What was said."""
    said = []
    monkeypatch.setattr(extraction, "say", said.append)
    return said


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of four images."""
    monkeypatch.setattr(extraction, "ITEMS", 4)


def belongs(embeddings, levels, per_image=1):
    """Whether every pair is an image and a caption of the level that is expected there."""
    encoder = Encoder()
    expected = [level for level in levels for _ in range(per_image)]
    rows = [np.stack([encoder.row(level, modality) for level in expected]) for modality in (0, 1)]
    return all(np.allclose(a, b, atol=1e-6) for a, b in zip(embeddings.paired(), rows, strict=True))


@pytest.mark.parametrize("per_image", [1, 3])
@pytest.mark.parametrize("damaged", [(), (1,), (4, 5), (2, 8)])
def test_captions_belong_to_their_photograph_and_an_unreadable_one_shifts_no_other(damaged, per_image, lines):
    embeddings = extract(Encoder(), pictures(damaged=damaged, per_image=per_image))
    left = [level for level in range(1, 9) if level not in damaged]
    assert embeddings.names == ("image", "text") and embeddings.paired_by_row == (per_image == 1)
    assert [len(rows) for rows in embeddings.modalities.values()] == [len(left), per_image * len(left)]
    assert belongs(embeddings, left, per_image)
    data = embeddings.source["data"]
    assert (data["n"], data["n_captions"]) == (len(left), per_image * len(left))
    assert [entry.split(":")[0] for entry in data["skipped"]] == [f"{level}.png" for level in damaged]
    assert len(lines) == bool(damaged) and all(f"{len(damaged)} of 8 images" in line for line in lines)


@pytest.mark.parametrize(("modality", "words"), [("video", "videos"), ("amino acid", "sequences")])
def test_other_modalities_keep_their_names_and_their_towers_choose_the_batch(modality, words, lines):
    encoder, batches = Encoder(modality=modality), []
    encode = encoder.non_text.encode
    encoder.non_text.encode = lambda items, batch_size: batches.append(batch_size) or encode(items, batch_size)
    embeddings = extract(encoder, replace(pictures(damaged=(3,)), modality=modality))
    assert embeddings.names == (modality, "text")
    assert belongs(embeddings, [1, 2, 4, 5, 6, 7, 8])
    assert batches == [None]
    assert f"1 of 8 {words} left out, first 3.png: " in lines[0]


def test_what_cannot_be_embedded_is_one_line(lines):
    for run in (extract, embed):
        with pytest.raises(UserError, match="stand-in embeds videos, but the data are images; choose an encoder"):
            run(Encoder(modality="video"), pictures())
    with pytest.raises(UserError, match="there are no images to encode"):
        embed(Encoder(), pictures([]))
    with pytest.raises(UserError, match="none of the 3 images can be read"):
        extract(Encoder(), pictures(range(1, 4), damaged=(1, 2, 3)))
    encoder = Encoder()
    encoder.non_text.encode = lambda images, batch_size: np.stack([encoder.row(1, 0) for _ in images][:-1])
    with pytest.raises(UserError, match="8 items were read, but the encoder gave 7 rows"):
        extract(encoder, pictures())
    assert not lines


def test_the_second_time_comes_from_the_cache_and_is_the_same_to_the_bit():
    encoder = Encoder()
    first, second = (extract(encoder, pictures(damaged=(3,), per_image=2)) for _ in range(2))
    assert encoder.calls == encoder.texts == 1
    assert all(np.array_equal(first.modalities[name], second.modalities[name]) for name in first.names)
    assert np.array_equal(first.pairs, second.pairs) and first.source == second.source


@pytest.mark.parametrize("change", ["encoder", "data", "batch"])
def test_any_other_setting_is_computed_anew(cache, change):
    before = extract(Encoder(), pictures(), 64)
    encoder, captioned = Encoder(seed=1 if change == "encoder" else 0), pictures()
    if change == "data":
        captioned = replace(captioned, source={**captioned.source, "revision": "2"})
    after = extract(encoder, captioned, 32 if change == "batch" else 64)
    assert encoder.calls == 1
    assert after.source["settings"] != before.source["settings"]
    assert len(list(cache.iterdir())) == 2


def test_the_cache_can_be_left_alone_and_one_that_cannot_be_written_is_named_once(
    cache, small_parts, lines, monkeypatch
):
    assert belongs(extract(Encoder(), pictures(), cache=False), range(1, 9))
    whole = embed(Encoder(by_place=True), pictures(), cache=False)
    assert not cache.parent.exists() and not lines
    cache.parent.write_text("a file where the folder should be")
    for run, fault in ((extract, ""), (embed, ""), (embed, "no space")):
        if fault:
            cache.parent.unlink()
            monkeypatch.setattr(extraction, "save_file", Mock(side_effect=SafetensorError(fault)))
        found = run(Encoder(by_place=run is embed), pictures())
        assert same(found, whole) if run is embed else belongs(found, range(1, 9))
        assert re.search(f"not kept .*{fault}", lines.pop()) and not lines


def embed(encoder, captioned, batch=2, **options):
    return embed_images(encoder, captioned, batch_size=batch, **options)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one[:2], other[:2], strict=True)) and one[2] == other[2]


def part_files(tmp_path):
    return sorted((tmp_path / "cache" / "parts").rglob("*.safetensors"))


def test_a_killed_extraction_goes_on_at_the_next_part_to_the_same_bits(small_parts, tmp_path):
    captioned = pictures(range(1, 15), damaged=(2, 7, 8, 14))

    def run(encoder, **options):
        return embed(encoder, captioned, most_skipped=1, **options)

    child = multiprocessing.get_context("fork").Process(target=run, args=(Encoder(by_place=True, dies_at=3),))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(part_files(tmp_path)) == 2
    encoder = Encoder(by_place=True)
    found = run(encoder)
    assert same(found, run(Encoder(by_place=True), cache=False))
    assert (encoder.calls, encoder.encoded) == (1, 2)
    assert found[1].tolist() == [0, 2, 3, 4, 5, 8, 9, 10, 11, 12]
    assert [line.split(":")[0] for line in found[2]] == ["2.png", "7.png", "8.png", "14.png"]


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "another"])
def test_a_damaged_part_is_said_and_made_again_and_no_other(damage, small_parts, tmp_path, lines):
    captioned, encoder = pictures(range(1, 13)), Encoder(by_place=True)
    first = embed(encoder, captioned)
    zeroth, path, _ = part_files(tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"cut": content[:-9], "empty": b"", "flipped": content, "another": zeroth.read_bytes()}[damage])
    again = embed(encoder, captioned)
    assert same(first, again)
    assert (encoder.calls, encoder.encoded) == (4, 16)
    assert same(first, embed(encoder, captioned)) and encoder.calls == 4
    assert f"{path}: not a whole part, made again" in lines.pop() and not lines


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 5), st.integers(1, 9), st.sets(st.integers(1, 17), max_size=16))
def test_parts_make_the_rows_of_one_long_run_whatever_cannot_be_read(monkeypatch, batch, items, damaged):
    captioned = pictures(range(1, 18), damaged)
    made = []
    for about in (items, 1000):
        monkeypatch.setattr(extraction, "ITEMS", about)
        encoder = Encoder(by_place=True)
        made.append(embed(encoder, captioned, batch, cache=False, most_skipped=1))
    assert same(*made)
    assert made[0][1].tolist() == [level - 1 for level in range(1, 18) if level not in damaged]


@pytest.mark.parametrize("run", [embed, extract])
def test_more_unreadable_images_than_accepted_stop_the_run_at_their_part(run, small_parts, lines):
    encoder, captioned = Encoder(), pictures([*range(1, 21)] * 5, damaged=(20,))
    run(encoder, captioned, 4, most_skipped=0.05)
    assert "5 of 100" in lines[-1] and "first 20.png: " in lines[-1]
    with pytest.raises(UserError, match=r"^2 of 100 images cannot be read, more than 1%: first 20.png: [^\n]*$"):
        run(encoder, captioned, 4, most_skipped=MOST_SKIPPED)  # the stored ones are refused too
    with pytest.raises(UserError, match="2 of 100 images"):
        run(encoder := Encoder(seed=1), captioned, 4, most_skipped=MOST_SKIPPED)
    assert encoder.calls == 10


def test_an_error_of_a_later_part_says_where_its_count_begins(small_parts):
    encoder = Encoder()
    encode = encoder.non_text.encode

    def wrong_later(images, batch_size):
        if encoder.calls:
            raise UserError("the embedding of image 1 is zero")
        return encode(images, batch_size)

    encoder.non_text.encode = wrong_later
    with pytest.raises(UserError, match=r"image 1 is zero \(counted from number 4 of the images\)"):
        embed(encoder, pictures())


def test_a_class_is_the_unit_mean_of_its_unit_prompts_and_opposite_ones_are_refused():
    known, asked = {"right": [1, 0, 0], "up": [0, 1, 0], "near up": [0, 0.8, 0.6], "left": [-1, 0, 0]}, []

    def encode_texts(captions):
        asked.extend(captions)
        return np.array([known[caption] for caption in captions], np.float32)

    pair = SimpleNamespace(text=SimpleNamespace(encode=encode_texts))
    found = class_embeddings(pair, [["right"], ["right", "up"], ["up", "near up", "near up"]])
    by_hand = [[1, 0, 0], [0.5**0.5, 0.5**0.5, 0], np.array([0, 2.6, 1.2]) / (2.6**2 + 1.2**2) ** 0.5]
    np.testing.assert_allclose(found, by_hand, atol=1e-7)
    assert found.dtype == np.float32 and asked == ["right", "up", "near up"]
    with pytest.raises(UserError, match=r"cancel out; use others: \['right', 'left'\]"):
        class_embeddings(pair, [["up"], ["right", "left"]])
