"""The notebook of Figure 1 regenerates its figure, of the project's systems or of your own embeddings."""

import pytest

import notebook_runs
import reference
from util import Embeddings


@pytest.mark.parametrize("is_own", [False, True])
def test_the_notebook_runs_from_an_empty_folder(tmp_path, rng, is_own):
    own, place, said = None, "Figure_1_Modality_Gap", ("small CLIP", "features_clip.npy", ">shown<")
    if is_own:
        own, place = tmp_path / "mine.npz", "own/mine-smoke"
        said = ("mine.npz", "no matched cosine", "does not apply")
        both = {"image": reference.cone(rng, 30, 6), "text": reference.cone(rng, 20, 6)}
        Embeddings.of(both).save(own)
    shown, pictures = notebook_runs.run("figure_1", tmp_path, embeddings=own)
    assert pictures == 2 and all(words in shown for words in said)
    assert (tmp_path / "outputs" / place / "modality_gap.csv").is_file()
