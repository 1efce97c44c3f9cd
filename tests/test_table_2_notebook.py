"""The notebook of Table 2 regenerates its table and figures from nothing, and takes embeddings of your own."""

import numpy as np

import notebook_runs
import reference


def test_the_notebook_runs_from_an_empty_folder_with_embeddings_that_have_no_groups(tmp_path, rng):
    np.save(tmp_path / "own.npy", np.stack(reference.pairs(rng, 40, 16)))
    shown, pictures = notebook_runs.run("table_2", tmp_path, embeddings=tmp_path / "own.npy")
    assert pictures == 4
    assert (tmp_path / "outputs" / "Table_2_Implications_CLIP_Fairness" / "denigration.json").is_file()
    assert "Without LABELS your images have no groups" in shown and "stands for nothing else" in shown
    assert "cannot be told from chance" in shown and "paper is wrong" in shown
    assert "15.7" in shown  # the paper's percentage of White, recomputed
