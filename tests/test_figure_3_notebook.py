"""The notebook of Figure 3 regenerates the figure, of the project's embeddings or of your own."""

import numpy as np
import pytest

import notebook_runs
import smoke_runs


@pytest.mark.parametrize("own", [False, True])
def test_the_notebook_makes_what_is_not_there_and_shows_it(tmp_path, tmp_path_factory, rng, own):
    outputs = tmp_path / "outputs" / "Figure_3_Contrastive_Learning"
    mine = [str(tmp_path / f"mine_{name}.npy") for name in ("images", "texts")]
    if own:
        for file, rows, centre in zip(mine, rng.normal(size=(2, 60, 1024)), (1, -1), strict=True):
            np.save(file, rows + 0.02 * centre)
    else:
        notebook_runs.with_records(outputs, ("loss_landscape", "training"), tmp_path_factory)
    cache = smoke_runs.cache(tmp_path_factory)
    shown, pictures = notebook_runs.run("figure_3", tmp_path, cache, mine if own else None)
    assert pictures == (3 if own else 6)
    assert ("mine" in shown) == own and ("small CLIP" in shown) != own
    assert ("none (flat curve)" in shown) == own
    assert "util.geometry.shift gives the same: True True" in shown and "lowest at" in shown
    assert shown.count("the record that is there is used") == (0 if own else 2)
    written = {path.stem for path in outputs.glob("*.json")}
    assert written == (set() if own else {"loss_landscape", "simulation", "training"})
    assert len(list((outputs.parent / "own").glob("mine*/loss_landscape.json"))) == own
