"""The notebook of Figure 3 regenerates the figure, of the project's embeddings or of your own."""

import shutil

import nbformat
import numpy as np
import pytest

import reference
import scripts
import smoke_runs
from util.reporting import notebooks

NOTEBOOK = scripts.REPOSITORY / "Figure_3_Contrastive_Learning" / "figure_3.ipynb"


@pytest.mark.parametrize("own", [False, True])
def test_the_notebook_makes_what_is_not_there_and_shows_it(tmp_path, tmp_path_factory, rng, own):
    outputs = tmp_path / "outputs" / NOTEBOOK.parent.name
    if own:
        np.save(tmp_path / "mine.npy", np.stack(reference.pairs(rng, 40, 8)))
    else:
        made = smoke_runs.record(scripts.load("training.py"), tmp_path_factory).folder
        outputs.mkdir(parents=True)
        for path in made.glob("training*"):
            shutil.copy(path, outputs)
    folders = {"MODALITY_GAP_OUTPUTS": str(outputs.parent), "MODALITY_GAP_REUSE": ""}
    folders["MODALITY_GAP_DATA"] = str(smoke_runs.cache(tmp_path_factory))
    embeddings = tmp_path / "mine.npy" if own else None
    done = notebooks.execute(NOTEBOOK, tmp_path / "done.ipynb", "smoke", None, embeddings, folders)
    cells = [cell for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "code"]
    shown = [output for cell in cells for output in cell.outputs]
    pictures = [output for output in shown if "image/png" in output.get("data", {})]
    assert len(cells) <= 15 and len(pictures) == (3 if own else 6) and done.stat().st_size < 500_000
    text = "".join(o.get("text", "") + o.get("data", {}).get("text/html", "") for o in shown)
    assert ("mine" in text) == own and ("small CLIP" in text) != own
    assert "util.geometry.shift gives the same: True True" in text and "lowest at" in text
    assert text.count("the record that is there is used") == (0 if own else 1)
    written = {path.stem for path in outputs.glob("*.json")}
    assert written == (set() if own else {"loss_landscape", "simulation", "training"})
    assert len(list((outputs.parent / "own").glob("mine*/loss_landscape.json"))) == own
