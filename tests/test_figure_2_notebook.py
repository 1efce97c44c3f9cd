"""The notebook of Figure 2 regenerates its figures and shows them, and measures a file of your own."""

import numpy as np

import notebook_runs
import smoke_runs

NAMES = ("cosine_similarity", "initializations", "theorems", "depth")


def test_the_notebook_makes_what_is_not_there_and_shows_every_record_and_figure(tmp_path, tmp_path_factory):
    folder = tmp_path / "outputs" / "Figure_2_Cone_Effect"
    notebook_runs.with_records(folder, NAMES[:3], tmp_path_factory)
    shown, pictures = notebook_runs.run("figure_2", tmp_path, smoke_runs.cache(tmp_path_factory))
    assert all((folder / f"{name}.{suffix}").is_file() for name in NAMES for suffix in ("json", "csv", "png", "pdf"))
    assert pictures == 11
    assert shown.count("the record that is there is used") == 3 and "[depth] wrote" in shown
    assert "the seed explains" in shown and "ResNet-18 with trained weights" in shown


def test_the_notebook_measures_your_own_file_and_says_what_is_not_about_it(tmp_path, tmp_path_factory, rng):
    rows = rng.normal(size=(2, 20, 8)) + 1
    files = [str(tmp_path / name) for name in ("images.npy", "texts.npy")]
    for file, each in zip(files, rows, strict=True):
        np.save(file, each)
    cache = smoke_runs.cache(tmp_path_factory)
    shown, pictures = notebook_runs.run("figure_2", tmp_path, cache, files)
    assert (tmp_path / "outputs" / "own" / "images+texts-smoke" / "cosine_similarity.csv").is_file()
    assert not (tmp_path / "outputs" / "Figure_2_Cone_Effect").exists()
    assert pictures == 3
    assert "image: 20 rows" in shown and "in 8 dimensions: 0, with a standard deviation of 0.35" in shown
    assert shown.count("skipped.") == 3
