"""Rows that belong together by ids, paths or names, in files whose rows lie in different orders."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from embedding_files import ORDER, UNIT, D, N, X, Y
from util import commands

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
