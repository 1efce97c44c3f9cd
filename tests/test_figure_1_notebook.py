"""The notebook of Figure 1 regenerates its figure, of the project's systems or of your own embeddings."""

import numpy as np
import pytest

import notebook_runs
import reference


@pytest.mark.parametrize("is_own", [False, True])
def test_the_notebook_runs_from_an_empty_folder(tmp_path, rng, is_own):
    own, place, said = None, "Figure_1_Modality_Gap", ("small CLIP", "features_clip.npy", ">shown<")
    if is_own:
        own, place = [str(tmp_path / "images.npy"), str(tmp_path / "texts.npy")], "own/images+texts-smoke"
        said = ("images+texts", "no matched cosine", "does not apply")
        for path, rows in zip(own, (30, 20), strict=True):
            np.save(path, reference.cone(rng, rows, 6))
    shown, pictures = notebook_runs.run("figure_1", tmp_path, embeddings=own)
    assert pictures == 2 and all(words in shown for words in said)
    assert (tmp_path / "outputs" / place / "modality_gap.csv").is_file()
