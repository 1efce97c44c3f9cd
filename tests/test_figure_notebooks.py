"""The notebooks of Figures 1 to 3 regenerate their figures, of the project's systems or of your own embeddings."""

import shutil

import numpy as np
import pytest

import notebook_runs
import reference
import scripts
import smoke_runs
from util import Embeddings

PANELS = ("cosine_similarity", "initializations", "theorems", "depth")


@pytest.mark.parametrize("is_own", [False, True])
def test_figure_1_runs_from_an_empty_folder(tmp_path, rng, is_own):
    own, place, said = None, "Figure_1_Modality_Gap", ("small CLIP", "features_clip.npy", ">shown<")
    if is_own:
        own, place = tmp_path / "mine.npz", "own/mine-smoke"
        said = ("mine.npz", "no matched cosine", "does not apply")
        both = {"image": reference.cone(rng, 30, 6), "text": reference.cone(rng, 20, 6)}
        Embeddings.of(both).save(own)
    shown, pictures = notebook_runs.run("figure_1", tmp_path, embeddings=own)
    assert pictures == 2 and all(words in shown for words in said)
    assert (tmp_path / "outputs" / place / "modality_gap.csv").is_file()


def test_figure_2_makes_what_is_not_there_and_shows_every_record_and_figure(tmp_path, tmp_path_factory):
    folder = tmp_path / "outputs" / "Figure_2_Cone_Effect"
    made = [smoke_runs.record(scripts.load(f"{name}.py"), tmp_path_factory).folder for name in PANELS[:3]]
    shutil.copytree(made[0], folder, ignore=shutil.ignore_patterns("depth*"))
    shown, pictures = notebook_runs.run("figure_2", tmp_path, smoke_runs.cache(tmp_path_factory))
    assert all((folder / f"{name}.{suffix}").is_file() for name in PANELS for suffix in ("json", "csv", "png", "pdf"))
    assert pictures == 11
    assert shown.count("the record that is there is used") == 3 and "[depth] wrote" in shown
    assert "the seed explains" in shown and "ResNet-18 with trained weights" in shown


def test_figure_2_measures_your_own_file_and_says_what_is_not_about_it(tmp_path, tmp_path_factory, rng):
    rows = rng.normal(size=(2, 20, 8)) + 1
    Embeddings.of({"image": rows[0], "text": rows[1]}).save(tmp_path / "mine.npz")
    cache = smoke_runs.cache(tmp_path_factory)
    shown, pictures = notebook_runs.run("figure_2", tmp_path, cache, tmp_path / "mine.npz")
    assert (tmp_path / "outputs" / "own" / "mine-smoke" / "cosine_similarity.csv").is_file()
    assert not (tmp_path / "outputs" / "Figure_2_Cone_Effect").exists()
    assert pictures == 3
    assert "image: 20 rows" in shown and shown.count("skipped.") == 3


@pytest.mark.parametrize("own", [False, True])
def test_figure_3_makes_what_is_not_there_and_shows_it(tmp_path, tmp_path_factory, rng, own):
    outputs, mine = tmp_path / "outputs" / "Figure_3_Contrastive_Learning", tmp_path / "mine.npy"
    if own:
        np.save(mine, np.stack(reference.pairs(rng, 40, 8)))
    else:
        made = smoke_runs.record(scripts.load("training.py"), tmp_path_factory).folder
        shutil.copytree(made, outputs, ignore=lambda _, names: [each for each in names if "training" not in each])
    cache = smoke_runs.cache(tmp_path_factory)
    shown, pictures = notebook_runs.run("figure_3", tmp_path, cache, mine if own else None)
    assert pictures == (3 if own else 6)
    assert ("mine" in shown) == own and ("small CLIP" in shown) != own
    assert "util.geometry.shift gives the same: True True" in shown and "lowest at" in shown
    assert shown.count("the record that is there is used") == (0 if own else 1)
    written = {path.stem for path in outputs.glob("*.json")}
    assert written == (set() if own else {"loss_landscape", "simulation", "training"})
    assert len(list((outputs.parent / "own").glob("mine*/loss_landscape.json"))) == own
