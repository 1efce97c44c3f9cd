"""Figure 1's script, end to end: published embeddings, your own, and the small CLIP."""

import hashlib
import os
import shutil
from dataclasses import replace
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


def run(folder, *words):
    words = ("--preset", "smoke", "--output", folder, *words)
    return script.run(cli.parse(script.PRESETS, "", list(map(str, words))))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, with nothing in it; gives the one that was named before."""
    found = Path(os.environ.get("MODALITY_GAP_DATA", "nowhere"))
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return found


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with paired a.npy, unpaired b.npz of another width, c.safetensors with three modalities."""
    folder, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    x, y = reference.pairs(rng, 30, 8)
    np.save(folder / "a.npy", np.stack([2 * x, y]))
    Embeddings.of({"video": reference.cone(rng, 12, 5), "text": reference.cone(rng, 20, 5)}).save(folder / "b.npz")
    Embeddings.of({"image": x, "audio": reference.cone(rng, 30, 8), "text": y}).save(folder / "c.safetensors")
    return folder


@pytest.fixture(scope="module")
def paired(own, tmp_path_factory):
    """The record of a.npy with 10 points shown and 12 rows separated."""
    words = ("--points", 10, "--separability-rows", 12, "--embeddings", own / "a.npy")
    return run(tmp_path_factory.mktemp("paired"), *words)


def test_own_embeddings_of_any_size_and_format_in_one_call(tmp_path, own):
    shutil.copy(own / "a.npy", tmp_path / "b.npy")  # of the name of b.npz
    files = [tmp_path / "b.npy", own / "b.npz", own / "c.safetensors"]
    record = run(tmp_path / "out", *(word for path in files for word in ("--embeddings", path)))
    table, points = record.tables[""], record.tables["points"]
    assert list(table.columns)[: len(CONTRACT)] == CONTRACT and list(points.columns)[: len(POINTS)] == POINTS
    three = [f"{files[2]}: {names}" for names in ("image, audio", "image, text", "audio, text")]
    assert list(table["system"]) == [str(files[0]), str(files[1]), *three]
    assert list(table["n_pairs"]) == [30, 0, 30, 30, 30] and list(table["dim"]) == [8, 5, 8, 8, 8]
    for column in ("matched_cosine", "relative_gap"):
        assert table[column].isna().tolist() == [False, True, False, False, False]
    x, y = Embeddings.load(files[0]).paired()
    assert table["gap_distance"][0] == pytest.approx(geometry.gap_distance(x, y), abs=1e-6)
    assert table["relative_gap"][0] == pytest.approx(geometry.relative_gap(x, y), abs=1e-6)
    unpaired = points[points["system"] == str(files[1])]
    assert unpaired["pair"].isna().all() and (unpaired.groupby(["method", "modality"]).size() == 12).all()
    for file in ("modality_gap.png", "modality_gap.pdf", "modality_gap.csv", "modality_gap_points.csv"):
        assert (tmp_path / "out" / file).stat().st_size > 0
    assert [part["path"] for part in record.about["data"]][:2] == [str(path) for path in files[:2]]


def test_own_embeddings_go_to_a_folder_of_their_own_and_are_reused(tmp_path, own, monkeypatch):
    monkeypatch.setattr(cli, "OUTPUTS", tmp_path / "outputs")
    settings = replace(script.PRESETS["smoke"], embeddings=(own / "a.npy",))
    assert script.run(settings).folder == tmp_path / "outputs" / "own" / "a-smoke"
    monkeypatch.setattr(script, "numbers", lambda *a: pytest.fail("measured again"))
    assert script.run(settings, reuse=True).tables[""]["system"].tolist() == ["a"]


def test_points_are_a_stated_subset_of_pairs_in_three_views(own, paired):
    points = paired.tables["points"]
    assert set(points["method"]) == {"umap", "pca", "svd"}
    for _, part in points.groupby("method"):
        image, text = (part[part["modality"] == name] for name in ("image", "text"))
        assert len(image) == len(text) == 10
        assert list(image["row"]) == list(text["row"]) and list(image["pair"]) == list(text["pair"])
    x, y = Embeddings.load(own / "a.npy").paired()
    rows = points[(points["method"] == "svd") & (points["modality"] == "image")]["row"].to_numpy()
    together = np.concatenate([x[rows], y[rows]]).astype(float)
    svd = points[points["method"] == "svd"][["x", "y"]].to_numpy()
    _, _, vt = np.linalg.svd(together, full_matrices=False)
    assert np.abs(svd) == pytest.approx(np.abs(together @ vt[:2].T), abs=1e-5)


@pytest.mark.parametrize("method", ["umap", "pca", "svd"])
def test_the_view_that_is_drawn_is_named_on_the_picture(paired, method):
    record = replace(paired, about={**paired.about, "settings": {**paired.about["settings"], "method": method}})
    figure, points = gap_figure.draw(record), paired.tables["points"]
    assert figure.legends[0].get_title().get_text().startswith(gap_figure.METHODS[method])
    drawn = np.concatenate([np.asarray(part.get_offsets()) for part in figure.axes[0].collections[1:]])
    assert drawn == pytest.approx(points[points["method"] == method][["x", "y"]].to_numpy())


def test_the_panel_states_its_subsets_and_the_record_holds_all_of_it(tmp_path, own, paired):
    shutil.copytree(paired.folder, tmp_path / "elsewhere")
    record = records.load(tmp_path / "elsewhere", "modality_gap")
    title = gap_figure.draw(record).axes[0].get_title(loc="left")
    assert "30 pairs, 10 of each shown" in title and "(12 of each)" in title
    columns = pd.read_csv(tmp_path / "elsewhere" / "modality_gap.csv").columns.tolist()
    assert columns == record.about["tables"]["modality_gap.csv"]
    data = record.about["data"][0]
    assert data["sha256"] == hashlib.sha256((own / "a.npy").read_bytes()).hexdigest()
    assert data["row_norms_before"]["image"] == pytest.approx([2, 2], abs=1e-5) and data["normalised_here"]
    assert data["dtype"] == ["float32"]


def test_the_same_seed_gives_the_same_coordinates_and_another_one_others(tmp_path, own):
    words = ("--embeddings", own / "a.npy", "--seed")
    first, again, other = (run(tmp_path, *words, seed).tables["points"] for seed in (3, 3, 4))
    assert first.equals(again)
    umap = [table[table["method"] == "umap"][["x", "y"]].to_numpy() for table in (first, other)]
    assert not np.allclose(*umap)


def test_what_is_not_in_the_cache_is_named_and_the_rest_drawn(tmp_path, cache, capsys):
    np.save(tmp_path / "cache" / "features_clip.npy", np.ones((2, 4, 3), np.float32))
    record = run(tmp_path / "out")
    table, said, (left_out,) = record.tables[""], capsys.readouterr().out, record.about["left_out"]
    assert list(table["weights"]) == ["trained", "random"]
    assert list(table["system"]) == ["small CLIP"] * 2 and list(table["source"]) == ["generated scenes"] * 2
    assert all(name in said and name in left_out for name in published.files())
    assert "or has damaged: features_clip.npy: wrong sha256" in left_out
    assert table["separability"].min() > 0.95 and table["gap_distance"].min() > 0.5
    assert [(c["key"], c["agrees"], c["own"], c["on"]) for c in record.about["comparisons"]] == [
        (f"figure_1.separate.{weights}", True, False, f"small CLIP, {weights} weights, generated scenes")
        for weights in ("trained", "random")
    ]
    nothing_leaves_the_figure(record)


def nothing_leaves_the_figure(record):
    figures.use_style()
    figure = gap_figure.draw(record)
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    note = figure._suptitle.get_window_extent()
    assert "inputs are generated" in figure._suptitle.get_text()
    assert note.x0 >= 0 and note.x1 <= width and note.y1 <= height
    assert len(figure.axes) == 2, "what is left out has no empty panel"
    for ax in figure.axes:
        title = ax._left_title.get_window_extent()
        assert title.x1 <= width and title.y1 <= height


def test_the_published_files_of_clip(tmp_path, cache):
    if not (cache / "features_clip_random.npy").is_file():
        pytest.skip("MODALITY_GAP_DATA names no folder with the published CLIP embeddings")
    for name in ("features_clip.npy", "features_clip_random.npy"):
        shutil.copy(cache / name, tmp_path / "cache")
    record = run(tmp_path / "out", "--systems")
    table = record.tables[""].set_index("weights")
    assert table.loc["trained", "gap_distance"] == pytest.approx(0.851, abs=5e-4)
    assert table.loc["random", "gap_distance"] == pytest.approx(1.136, abs=5e-4)
    assert list(table["n_pairs"]) == [500, 500] and list(table["separability"]) == [1, 1]
    assert "features_clip.npy" not in " ".join(record.about["left_out"])
    assert [(c["agrees"], c["own"]) for c in record.about["comparisons"]] == [(True, True)] * 2


@pytest.mark.parametrize(
    ("array", "said"),
    [(np.full((2, 6, 4), np.nan), "image: row 0 holds a value that is not"),
     (np.sign(np.arange(12) - 4.5).reshape(2, 6, 1), "components must be from 1 to 1")],
)  # fmt: skip
def test_bad_files_are_refused_by_name_and_leave_nothing(tmp_path, array, said):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(UserError, match=f"bad.npy.*{said}"):
        run(tmp_path / "out", "--embeddings", tmp_path / "bad.npy")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--points", 1), "--points must be a whole number of at least 2"),
     (("--embeddings", "a.npy", "--embeddings", "../tests/a.npy"), "--embeddings names a file twice"),
     (("--seed", 2**40), "--seed must be a whole number from 0 to 2147483648"),
     (("--systems",), "there is nothing to draw")],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(tmp_path, cache, monkeypatch, words, said):
    monkeypatch.chdir(Path(__file__).parent)
    with pytest.raises(UserError, match=said):
        run(tmp_path, *words)
