"""The notebook of Table 1 regenerates its table, of the project's tasks or of your own embeddings."""

import nbformat
import numpy as np
import pytest

import scripts
from util import Embeddings
from util.reporting import notebooks

NOTEBOOK = scripts.REPOSITORY / "Table_1_Implications_CLIP_Zero_Shot" / "table_1.ipynb"


@pytest.mark.parametrize("kind", ["preset", "labels", "pairs"])
def test_the_notebook_runs_from_an_empty_folder(tmp_path, rng, kind):
    own = None
    if kind != "preset":
        own, text = tmp_path / "mine.npz", rng.normal(size=(30, 6))
        image = text + rng.normal(size=(30, 6)) - 0.5
        about = {"labels": np.arange(30) % 5} if kind == "labels" else {}
        Embeddings.of({"image": image, "text": text[: 5 if about else 30]}, **about).save(own)
    folders = {"MODALITY_GAP_DATA": str(tmp_path / "cache"), "MODALITY_GAP_OUTPUTS": str(tmp_path / "outputs")}
    done = notebooks.execute(NOTEBOOK, tmp_path / "table_1.ipynb", preset="smoke", embeddings=own, environment=folders)
    outputs = [o for cell in nbformat.read(done, as_version=4).cells for o in cell.get("outputs", ())]
    assert len([o for o in outputs if "image/png" in o.get("data", {})]) == 2
    shown = "".join(o.get("text", "") + o.get("data", {}).get("text/html", "") for o in outputs)
    assert ("mine" in shown) == bool(own) and ("handwritten digits" in shown) != bool(own)
    assert all(word in shown for word in ("p_value_scaled", "decisions change", "lowest", "n_of_published_p"))
    place = "own/mine-smoke" if own else "Table_1_Implications_CLIP_Zero_Shot"
    assert (tmp_path / "outputs" / place / "zero_shot_table.html").is_file()
