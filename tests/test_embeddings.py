"""Embeddings: arrays checked and normalised, files of every format, and refusals that name the file."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

import reference
from refusals import refuses
from util import Embeddings, UserError
from util import readers as formats


@pytest.fixture
def arrays(rng):
    x, y = reference.pairs(rng, 6, 4)
    return {"image": x, "text": y}


def test_rows_are_normalised_text_comes_last_and_the_source_says_so(arrays):
    scaled = {"text": arrays["text"], "image": 3 * arrays["image"]}
    embeddings = Embeddings.of(scaled, source={"model": "mine"})
    assert embeddings.names == ("image", "text")
    assert embeddings.modalities["image"] == pytest.approx(arrays["image"], abs=1e-6)
    assert embeddings.source["normalised_here"] is True
    assert embeddings.source["row_norms_before"]["image"] == pytest.approx([3, 3], abs=1e-5)
    assert embeddings.source["model"] == "mine"


@pytest.mark.parametrize("suffix", formats.WRITTEN)
def test_what_is_saved_is_what_is_loaded_from_names_in_capitals_too(arrays, tmp_path, suffix):
    before = Embeddings.of(arrays)
    path = before.save(tmp_path / f"e{suffix}")
    source = Embeddings.load(path).source
    assert json.loads(json.dumps(source)) == source and source["path"] == str(path)
    shutil.copy(path, tmp_path / f"E{suffix.upper()}")
    for place in (path, tmp_path / f"E{suffix.upper()}"):
        after = Embeddings.load(place)
        assert after.names == ("image", "text") and after.paired_by_row
        for name in after.names:
            assert after.modalities[name] == pytest.approx(before.modalities[name], abs=1e-6)
        with pytest.raises(UserError, match="were read from it; choose another file"):
            after.save(place)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_pairs_and_labels_survive_and_safetensors_keep_the_source(arrays, tmp_path, suffix):
    audio = reference.unit(np.arange(1, 13).reshape(3, 4))
    pairs = np.array([[0, 2, 1], [5, 0, 3]])
    three = {"image": arrays["image"], "audio": audio, "text": arrays["text"]}
    before = Embeddings.of(three, pairs, np.arange(6), {"model": "mine", "n": 6})
    after = Embeddings.load(before.save(tmp_path / f"e{suffix}"))
    assert after.names == before.names == ("image", "audio", "text")
    assert after.labels.tolist() == list(range(6))
    assert after.pairs.tolist() == pairs.tolist()
    assert after.source.get("model") == ("mine" if suffix == ".safetensors" else None)
    with pytest.raises(UserError, match="holds image, audio, text; choose two of them"):
        after.paired()
    x, y = after.duo(("image", "text")).paired()
    assert x == pytest.approx(after.modalities["image"][[0, 5]])
    assert y == pytest.approx(after.modalities["text"][[1, 3]])


def test_what_is_not_paired_says_so_where_pairs_are_needed_and_stays_so(arrays, tmp_path):
    unequal = Embeddings.of({"image": arrays["image"][:4], "text": arrays["text"]})
    assert unequal.pairs is None and not unequal.paired_by_row
    with pytest.raises(UserError, match="pairs are needed"):
        unequal.paired()
    unpaired = Embeddings.of(arrays, pairs=np.empty((0, 2), int))
    saved = [Embeddings.load(unpaired.save(tmp_path / name)) for name in ("e.npz", "e.safetensors")]
    assert [each.pairs_between(each.names) for each in (unpaired, *saved)] == [None] * 3
    with pytest.raises(UserError, match="paired row by row"):
        unpaired.save(tmp_path / "e.npy")


def test_half_precision_and_long_doubles_are_welcome_and_stay_as_they_were(arrays, tmp_path):
    image, text = torch.from_numpy(arrays["image"]).bfloat16(), 2 * arrays["text"].astype(np.longdouble)
    before = text.copy()
    made = Embeddings.of({"image": image.requires_grad_(), "text": text})
    assert made.modalities["text"] == pytest.approx(arrays["text"], abs=1e-6) and (text == before).all()
    halves = {"image": image.detach(), "text": torch.from_numpy(arrays["text"]).half()}
    save_file(halves, tmp_path / "e.safetensors")
    for each in (made, Embeddings.load(tmp_path / "e.safetensors")):
        assert each.modalities["image"].dtype == np.float32
        assert each.modalities["image"] == pytest.approx(arrays["image"], abs=1e-2)
        assert each.modalities["text"] == pytest.approx(arrays["text"], abs=1e-2)


ROWS = np.eye(4, dtype=np.float32)


def of(changes=None, **extra):
    """Two modalities of four rows, some of them others or (None) left out."""
    arrays = {"image": ROWS, "text": ROWS} | (changes or {})
    return Embeddings.of({name: array for name, array in arrays.items() if array is not None}, **extra)


test_bad_arrays_pairs_labels_and_sources_are_refused_in_words = refuses(
    (lambda: of({"text": None}).two(), "holds image; two modalities are needed here"),
    (lambda: Embeddings.of([ROWS, ROWS]), "given as {name: array}"),
    (lambda: of({"text": np.eye(5)}), "one width"),
    (lambda: of({"text": ROWS[:0]}), "text needs at least 1 rows"),
    (lambda: of({"text": ROWS * 0}), "text: row 0 is zero"),
    (lambda: of({"text": np.where(ROWS == 1, np.inf, 0)}), "text holds a value that is not finite, first in row 0"),
    (lambda: of({"image": ROWS[None]}), "image must have two axes"),
    (lambda: of({"image": ROWS.astype(object)}), "image must be .* of real numbers, not an array of object"),
    (lambda: of({"image": ROWS.astype(bool)}), "image must be .* not an array of bool"),
    (lambda: of({"image": np.eye(4) * 1e-200}), "outside"),
    (lambda: of({"labels": ROWS}), "cannot be called 'labels'"),
    (lambda: of({"../text": ROWS}), "cannot be called '../text'"),
    (lambda: of(pairs=[[0, 9], [0, 1]]), "row numbers below"),
    (lambda: of(pairs=[[0, 1]]), "at least two rows"),
    (lambda: of(pairs=[[0, 1], [2]]), "pairs must be whole numbers"),
    (lambda: of(labels=[1, 2]), "labels must be 4"),
    (lambda: of(source=3), "source must be a mapping"),
)


def test_a_format_that_cannot_hold_them_is_refused_and_writes_nothing(arrays, tmp_path):
    labelled = Embeddings.of(arrays, labels=list("abcdef"))
    for name, words in (("e.npy", "npz"), ("e.safetensors", "npz"), ("e.parquet", ".parquet cannot be written")):
        with pytest.raises(UserError, match=words):
            labelled.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


FULL = "No space left on device"


@pytest.mark.parametrize(
    "name, writer, error",
    [
        ("e.npz", "numpy.lib.format.write_array", OSError(28, FULL)),
        ("e.safetensors", "util.readers.save_file", SafetensorError(FULL)),
    ],
)
def test_a_save_that_fails_midway_keeps_the_old_file(arrays, tmp_path, monkeypatch, name, writer, error):
    path = Embeddings.of(arrays).save(tmp_path / name)
    before = path.read_bytes()
    monkeypatch.setattr(writer, lambda *_, **__: (_ for _ in ()).throw(error))
    with pytest.raises(UserError, match=FULL):
        Embeddings.of(arrays).save(path)
    assert path.read_bytes() == before and [part.name for part in tmp_path.iterdir()] == [name]
