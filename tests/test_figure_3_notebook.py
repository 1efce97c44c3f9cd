"""The notebook of Figure 3 regenerates the figure, of the project's embeddings or of your own."""

import nbformat
import numpy as np
import pytest

import reference
import scripts
from util.reporting import notebooks

NOTEBOOK = scripts.REPOSITORY / "Figure_3_Contrastive_Learning" / "figure_3.ipynb"


@pytest.mark.parametrize("own", [False, True])
def test_the_notebook_runs_from_an_empty_folder(tmp_path, rng, own):
    if own:
        np.save(tmp_path / "mine.npy", np.stack(reference.pairs(rng, 40, 8)))
    folders = {"MODALITY_GAP_DATA": str(tmp_path / "cache"), "MODALITY_GAP_OUTPUTS": str(tmp_path / "outputs")}
    embeddings = tmp_path / "mine.npy" if own else None
    done = notebooks.execute(NOTEBOOK, tmp_path / "done.ipynb", "smoke", None, embeddings, folders)
    cells = [cell for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(cells) <= 15 and len(pictures) == (3 if own else 5)
    shown = "".join(o.get("text", "") + o.get("data", {}).get("text/html", "") for o in outputs)
    assert ("mine" in shown) == own and ("small CLIP" in shown) != own
    assert "util.geometry.shift gives the same: True True" in shown and "lowest at" in shown
    assert done.stat().st_size < 500_000
    written = {path.stem for path in (tmp_path / "outputs").glob("*/*.json")}
    assert written == (set() if own else {"loss_landscape", "simulation", "training"})
    assert (tmp_path / "outputs" / "own" / "mine-smoke" / "loss_landscape.json").is_file() == own
