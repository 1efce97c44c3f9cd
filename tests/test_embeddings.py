"""Embeddings: arrays checked and normalised, files of every format, rows matched by keys, and refusals by file."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

import reference
from embedding_files import ORDER, UNIT, D, N, X, Y
from refusals import refuses
from util import Embeddings, UserError, commands
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


NAMES, OWN = np.array([f"{k}.jpg" for k in range(N)]), np.arange(N)
NEARLY, MOVED, FIVE = NAMES[np.maximum(OWN, 1)], NAMES[ORDER], np.random.default_rng(2).permutation(5 * N)
CLASSES, LABELS = np.array(["ant", "bee", "cat"]), (UNIT[0] @ UNIT[1][:3].T).argmax(1)


def tables(images, texts, rows=ORDER):
    for name, vectors, beside in (("image", X, images), ("text", Y[rows], texts)):
        table = pd.DataFrame({**beside, "embedding": [*vectors]})
        index = [key for key in ("image_name", "") if key in beside]
        (table.set_index(index).rename_axis(index[0] or None) if index else table).to_parquet(f"{name}.parquet")
    return ["image.parquet", "text.parquet"]


def archive(image, images, text, texts, rows=ORDER):
    np.savez("one.npz", **{f"{image}_emb": X, f"{text}_emb": Y[rows], **images, **texts})
    return ["one.npz"]


def stored(kind):
    told = {"image": (X, NAMES), "text": (Y[ORDER], MOVED)}
    if kind == "json":
        rows = {name: dict(zip(names.tolist(), each.tolist(), strict=True)) for name, (each, names) in told.items()}
        pd.Series(rows).to_json("one.json")
        return ["one.json"]
    torch.save(
        {k: {"features": torch.tensor(each), "ids": names.tolist()} for k, (each, names) in told.items()}, "one.pt"
    )
    return ["one.pt"]


def lines(order, ids):
    for name, vectors in (("image", np.c_[OWN + ids, X]), ("text", np.c_[order % N + ids, Y[order]])):
        np.savetxt(f"{name}.csv", vectors, delimiter=",", fmt=["%d"] + ["%.9f"] * D)
    return ["image.csv", "text.csv"]


FIVE_IDS = {"text_ids": FIVE[::-1], "text_image_ids": FIVE % N}
REFUSED = [
    ("tell other pairs than key and key", lambda: tables({"key": NAMES, "path": NAMES}, {"key": NAMES, "path": MOVED})),
    ("have 39 values in common", lambda: tables({"a": NAMES}, {"b": [*NAMES[1:], "x"]})),
    ("and sku of image and text have 39 values", lambda: tables({"sku": NEARLY}, {"sku": NEARLY[ORDER]})),
    ("id tells another order of rows", lambda: tables({"a": NAMES}, {"id": ORDER})),
    ("row tells another order of rows", lambda: tables({"a": NAMES}, {"image_row": ORDER + 1})),
    ("text_image_ids tells another order", lambda: archive("image", {}, "text", {"text_image_ids": ORDER})),
    ("audio has none", lambda: archive("audio", {"image_emb": X, "image_ids": OWN}, "text", {"text_ids": ORDER})),
    ("holds whole numbers among fractions", lambda: lines(OWN, OWN % 3 - OWN)),
]  # fmt: skip
PAIRED = [
    lambda: tables({"image_path": NAMES}, {"image_id": MOVED}),
    lambda: tables({"id": OWN, "filename": NAMES}, {"id": OWN, "filename": MOVED}),
    lambda: tables({"image_name": NAMES}, {"image_name": MOVED}),
    lambda: tables({"": NAMES}, {"": MOVED}),
    lambda: tables({"id": NAMES.astype("S").tolist()}, {"id": MOVED.astype("S").tolist()}),
    lambda: tables({"id": pd.to_datetime(OWN)}, {"id": pd.to_datetime(ORDER)}),
    lambda: tables({"image_id": OWN}, {"id": np.arange(5 * N), "image_id": FIVE % N}, FIVE % N),
    lambda: tables({"id": OWN + 3}, {"id": FIVE[::-1] + 3, "image_id": FIVE % N + 3}, FIVE % N),
    lambda: tables({"photoId": OWN + 5}, {"imgid": ORDER + 5}),
    lambda: archive("image", {"image_ids": OWN}, "text", FIVE_IDS, FIVE % N),
    lambda: archive("image", {"image_ids": OWN}, "caption", {"caption_ids": ORDER}),
    lambda: archive("video", {"video_ids": OWN}, "query", {"query_ids": ORDER}),
    lambda: archive("img", {"img_paths": NAMES}, "txt", {"txt_paths": MOVED}),
    lambda: archive("image", {"image_filenames": NAMES}, "text", {"text_filenames": MOVED}),
    lambda: archive("image", {"image_names": NAMES}, "text", {"text_names": MOVED}),
    lambda: stored("json"),
    lambda: stored("pt"),
    lambda: lines(OWN, 1),
    lambda: lines(ORDER, 4711),
]


@pytest.mark.parametrize(("words", "write"), [*(("", write) for write in PAIRED), *REFUSED])
def test_rows_are_matched_by_the_keys_that_tell_them_or_refused(tmp_path, words, write, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    paths = write()
    if words:
        with pytest.raises(SystemExit, match="2"):
            commands.main(["measure", *paths])
        assert words in capsys.readouterr().err
        return
    commands.main(["measure", "--json", *paths])
    found = {row["measure"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    assert found["matched_cosine"] == pytest.approx((UNIT[0] * UNIT[1]).sum(1).mean(), abs=1e-6)
    assert found["gap_distance"] == pytest.approx(np.linalg.norm(UNIT[0].mean(0) - UNIT[1].mean(0)), abs=1e-6)


@pytest.mark.parametrize("column", ["file_name", "image", "", "id and file", "json"])
def test_labels_are_matched_by_whatever_names_the_rows(tmp_path, column, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ids = {"ids": OWN} if column == "id and file" else {}
    key, rows = {"image": "image_files", "": "stems"}.get(column, "filenames"), OWN if ids else np.r_[OWN, OWN[::-1]]
    np.savez("a.npz", image=X[rows], text=Y[:3], class_names=CLASSES, **{key: NAMES[rows]}, **ids)
    table = pd.DataFrame({"file": MOVED, "label": CLASSES[LABELS][ORDER]}).rename_axis("id")
    (table if ids else table.set_index("file").rename_axis(column)).to_csv("labels.csv")
    quick = ["--splits", "2", "--resamples", "20", "--permutations", "20", "--shift-step", "1", "--json"]
    table.set_index("file")["label"].to_json("labels.json")
    commands.main(["evaluate", "a.npz", "--labels", "labels.json" if column == "json" else "labels.csv", *quick])
    assert {row["metric"]: row["value"] for row in json.loads(capsys.readouterr().out)}["top-1"] == 1
