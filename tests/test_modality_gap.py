"""Figure 1's script, end to end: published embeddings, one's own, and the systems that run."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gap_figure
import reference
import scripts
from util import Embeddings, UserError, cli, figures, geometry, published, records

script = scripts.load("Figure_1_Modality_Gap/modality_gap.py")

CONTRACT = [
    "system", "weights", "source", "n_pairs", "dim", "gap_distance", "matched_cosine", "mean_cosine_other",
    "mean_cosine_text", "relative_gap", "separability",
]  # fmt: skip
POINTS = ["system", "weights", "source", "modality", "pair", "method", "x", "y"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, with nothing in it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    found = os.environ.get("MODALITY_GAP_DATA")
    monkeypatch.setenv("MODALITY_GAP_DATA", str(folder))
    return Path(found) if found else None


def run(tmp_path, *words, name="out"):
    words = ("--output", tmp_path / name, *words)
    return script.run(cli.parse(script.PRESETS, "", list(map(str, words))))


@pytest.fixture
def own(tmp_path, rng):
    """Three files: paired .npy, unpaired .npz of another width, safetensors with three modalities."""
    x, y = reference.pairs(rng, 30, 8)
    np.save(tmp_path / "a.npy", np.stack([2 * x, y]))
    Embeddings.of({"video": reference.cone(rng, 12, 5), "text": reference.cone(rng, 20, 5)}).save(tmp_path / "b.npz")
    three = {"image": x, "audio": reference.cone(rng, 30, 8), "text": y}
    Embeddings.of(three).save(tmp_path / "c.safetensors")
    return [tmp_path / name for name in ("a.npy", "b.npz", "c.safetensors")]


def test_own_embeddings_of_any_size_and_format_in_one_call(tmp_path, own):
    record = run(tmp_path, *(word for path in own for word in ("--embeddings", path)))
    table, points = record.tables[""], record.tables["points"]
    assert list(table.columns)[: len(CONTRACT)] == CONTRACT and list(points.columns)[: len(POINTS)] == POINTS
    assert list(table["system"]) == ["a", "b", "c: image, audio", "c: image, text", "c: audio, text"]
    assert list(table["n_pairs"]) == [30, 0, 30, 30, 30] and list(table["dim"]) == [8, 5, 8, 8, 8]
    assert (
        table["matched_cosine"].isna().tolist() == table["relative_gap"].isna().tolist() == [False, True] + 3 * [False]
    )
    x, y = Embeddings.load(own[0]).paired()
    assert table["gap_distance"][0] == pytest.approx(geometry.gap_distance(x, y), abs=1e-6)
    assert table["relative_gap"][0] == pytest.approx(geometry.relative_gap(x, y), abs=1e-6)
    for file in ("modality_gap.png", "modality_gap.pdf", "modality_gap.csv", "modality_gap_points.csv"):
        assert (tmp_path / "out" / file).stat().st_size > 0
    assert [part["path"] for part in record.about["data"]][:2] == [str(path) for path in own[:2]]


def test_own_embeddings_go_to_a_folder_of_their_own_and_are_reused(tmp_path, own, monkeypatch):
    monkeypatch.setattr(cli, "OUTPUTS", tmp_path / "outputs")
    settings = cli.parse(script.PRESETS, "", ["--preset", "smoke", "--embeddings", str(own[0])])
    assert script.run(settings).folder == tmp_path / "outputs" / "own" / "a"
    monkeypatch.setattr(script, "numbers", lambda *a: pytest.fail("measured again"))
    assert script.run(settings, reuse=True).tables[""]["system"].tolist() == ["a"]


def test_points_are_a_stated_subset_of_pairs_in_three_views(tmp_path, own):
    record = run(tmp_path, "--embeddings", own[0], "--points", 10)
    points = record.tables["points"]
    assert set(points["method"]) == {"umap", "pca", "svd"}
    for _, part in points.groupby("method"):
        image, text = (part[part["modality"] == name] for name in ("image", "text"))
        assert len(image) == len(text) == 10
        assert list(image["row"]) == list(text["row"]) and list(image["pair"]) == list(text["pair"])
    x, y = Embeddings.load(own[0]).paired()
    rows = points[(points["method"] == "svd") & (points["modality"] == "image")]["row"].to_numpy()
    together = np.concatenate([x[rows], y[rows]]).astype(float)
    svd = points[points["method"] == "svd"][["x", "y"]].to_numpy()
    _, _, vt = np.linalg.svd(together, full_matrices=False)
    assert np.abs(svd) == pytest.approx(np.abs(together @ vt[:2].T), abs=1e-5)


def test_unpaired_points_have_no_pair(tmp_path, own):
    points = run(tmp_path, "--embeddings", own[1]).tables["points"]
    assert points["pair"].isna().all()
    assert points.groupby(["method", "modality"]).size().unique().tolist() == [12]


def test_the_same_seed_gives_the_same_coordinates_and_another_one_others(tmp_path, own):
    first, again, other = (
        run(tmp_path, "--embeddings", own[0], "--seed", seed, name=name).tables["points"]
        for seed, name in ((3, "first"), (3, "again"), (4, "other"))
    )
    assert first.equals(again)
    umap = [table[table["method"] == "umap"][["x", "y"]].to_numpy() for table in (first, other)]
    assert not np.allclose(*umap)


def test_two_files_of_one_name_are_told_apart(tmp_path, own):
    (tmp_path / "d").mkdir()
    shutil.copy(own[0], tmp_path / "d" / "a.npy")
    words = ("--embeddings", own[0], "--embeddings", tmp_path / "d" / "a.npy")
    assert list(run(tmp_path, *words).tables[""]["system"]) == [str(words[1]), str(words[3])]


@pytest.mark.parametrize("method", ["pca", "svd"])
def test_the_other_views_are_drawn_by_option(tmp_path, own, method):
    record = run(tmp_path, "--embeddings", own[0], "--method", method)
    figure = gap_figure.draw(record)
    assert figure.legends[0].get_title().get_text().startswith(gap_figure.METHODS[method])
    drawn = np.concatenate([np.asarray(part.get_offsets()) for part in figure.axes[0].collections[1:]])
    points = record.tables["points"]
    assert drawn == pytest.approx(points[points["method"] == method][["x", "y"]].to_numpy())


def test_what_is_not_in_the_cache_is_named_and_the_rest_drawn(tmp_path, capsys):
    record = run(tmp_path)
    table = record.tables[""]
    assert list(table["weights"]) == ["trained", "random"]
    assert list(table["system"]) == ["small CLIP"] * 2 and list(table["source"]) == ["generated scenes"] * 2
    said = capsys.readouterr().out
    for name in published.files():
        assert name in said and name in " ".join(record.about["left_out"])
    assert table["separability"].min() > 0.95 and table["gap_distance"].min() > 0.5
    told = [(c["key"], c["agrees"], c["own"], c["on"]) for c in record.about["comparisons"]]
    assert told == [
        (f"figure_1.separate.{weights}", True, False, f"small CLIP, {weights} weights, generated scenes")
        for weights in ("trained", "random")
    ]
    assert len(gap_figure.draw(record).axes) == 2, "no empty panels for what is left out"


def test_the_published_files_of_clip(tmp_path, cache):
    if cache is None or not (cache / "features_clip_random.npy").is_file():
        pytest.skip("MODALITY_GAP_DATA names no folder with the published CLIP embeddings")
    for name in ("features_clip.npy", "features_clip_random.npy"):
        shutil.copy(cache / name, tmp_path / "cache")
    record = run(tmp_path, "--systems")
    table = record.tables[""].set_index("weights")
    assert table.loc["trained", "gap_distance"] == pytest.approx(0.851, abs=5e-4)
    assert table.loc["random", "gap_distance"] == pytest.approx(1.136, abs=5e-4)
    assert list(table["n_pairs"]) == [500, 500] and list(table["separability"]) == [1, 1]
    assert "features_clip.npy" not in " ".join(record.about["left_out"])
    assert [(c["agrees"], c["own"]) for c in record.about["comparisons"]] == [(True, True)] * 2


def test_a_published_file_that_is_not_the_right_one_is_named(tmp_path):
    np.save(tmp_path / "cache" / "features_clip.npy", np.ones((2, 4, 3), np.float32))
    left_out = run(tmp_path).about["left_out"]
    assert any("features_clip.npy" in line and "wrong sha256" in line for line in left_out)


def written(folder, what):
    """A file that must be refused, and what is said of it."""
    path = folder / "bad.npy"
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    if what == "truncated":
        np.save(path, x)
        path.write_bytes(path.read_bytes()[:-20])
        return path, "not readable as .npy"
    if what == "pickled":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
        return path, "pickled"
    if what == "shape":
        np.save(path, x[0])
        return path, r"shape \(2, pairs, width\); this one has \(6, 4\)"
    if what == "nan":
        x[1, 3, 2] = np.nan
        np.save(path, x)
        return path, "text: row 3 holds a value that is not finite"
    x[0, 2] = 0
    np.save(path, x)
    return path, "image: row 2 is zero"


@pytest.mark.parametrize("what", ["truncated", "pickled", "shape", "nan", "zero"])
def test_bad_files_are_refused_by_name_and_leave_nothing(tmp_path, what):
    path, said = written(tmp_path, what)
    with pytest.raises(UserError, match=f"bad.npy.*{said}"):
        run(tmp_path, "--embeddings", path)
    assert not (tmp_path / "out").exists()


def test_nothing_to_draw_is_an_error(tmp_path):
    with pytest.raises(UserError, match="there is nothing to draw"):
        run(tmp_path, "--systems")


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--points", 1), "--points must be a whole number of at least 2"),
     (("--min-dist", 2), "--min-dist must be from 0 to 1, not 2.0"),
     (("--seed", 2**40), "--seed must be at most 2147483648")],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(tmp_path, words, said):
    with pytest.raises(UserError, match=said):
        run(tmp_path, *words)


def test_a_file_given_twice_and_a_bad_one_at_the_end_are_refused_before_any_is_measured(tmp_path, own, monkeypatch):
    monkeypatch.setattr(script, "numbers", lambda *a: pytest.fail("measured"))
    with pytest.raises(UserError, match="--embeddings names a file twice"):
        run(tmp_path, "--embeddings", own[0], "--embeddings", own[1], "--embeddings", own[0])
    with pytest.raises(UserError, match=r"none\.npy: no such file"):
        run(tmp_path, "--embeddings", own[0], "--embeddings", tmp_path / "none.npy")


def test_what_cannot_be_drawn_is_said_with_its_file(tmp_path, rng):
    np.save(tmp_path / "flat.npy", np.sign(rng.normal(size=(2, 6, 1))))
    with pytest.raises(UserError, match=r"flat.npy: components must be from 1 to 1"):
        run(tmp_path, "--embeddings", tmp_path / "flat.npy")


def test_the_panel_states_its_subsets_and_the_record_the_file(tmp_path, own):
    words = ("--points", 10, "--separability-rows", 12, "--embeddings", own[0])
    record = run(tmp_path, *words)
    title = gap_figure.draw(record).axes[0].get_title(loc="left")
    assert "30 pairs, 10 of each shown" in title and "(12 of each)" in title
    data = record.about["data"][0]
    assert data["sha256"] == hashlib.sha256(own[0].read_bytes()).hexdigest() and data["dtype"] == ["float32"]
    assert data["row_norms_before"]["image"] == pytest.approx([2, 2], abs=1e-5) and data["normalised_here"]


def test_nothing_on_the_figure_leaves_it(tmp_path):
    record = run(tmp_path)
    figures.use_style()
    figure = gap_figure.draw(record)
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    note = figure._suptitle.get_window_extent()
    assert "inputs are generated" in figure._suptitle.get_text()
    assert note.x0 >= 0 and note.x1 <= width and note.y1 <= height
    for ax in figure.axes:
        title = ax._left_title.get_window_extent()
        assert title.x1 <= width and title.y1 <= height


def test_the_record_holds_all_that_the_figure_is_drawn_from(tmp_path, own):
    run(tmp_path, "--embeddings", own[0])
    moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "out", moved)
    own[0].unlink()
    figure = gap_figure.draw(records.load(moved, "modality_gap"))
    assert len(figure.axes) == 1
    about = json.loads((moved / "modality_gap.json").read_text())
    assert pd.read_csv(moved / "modality_gap.csv").columns.tolist() == about["tables"]["modality_gap.csv"]
