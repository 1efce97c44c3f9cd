"""The notebook of Figure 1 regenerates its figure, of the project's systems or of your own embeddings."""

import nbformat
import pytest

import reference
import scripts
from util import Embeddings
from util.reporting import notebooks

NOTEBOOK = scripts.REPOSITORY / "Figure_1_Modality_Gap" / "figure_1.ipynb"


@pytest.mark.parametrize("is_own", [False, True])
def test_the_notebook_runs_from_an_empty_folder(tmp_path, rng, is_own):
    own, place, said = None, "Figure_1_Modality_Gap", ("small CLIP", "features_clip.npy", ">shown<")
    if is_own:
        own, place = tmp_path / "mine.npz", "own/mine-smoke"
        said = ("mine.npz", "no matched cosine", "does not apply")
        both = {"image": reference.cone(rng, 30, 6), "text": reference.cone(rng, 20, 6)}
        Embeddings.of(both).save(own)
    folders = {"MODALITY_GAP_DATA": str(tmp_path / "cache"), "MODALITY_GAP_OUTPUTS": str(tmp_path / "outputs")}
    done = notebooks.execute(NOTEBOOK, tmp_path / "figure_1.ipynb", preset="smoke", embeddings=own, environment=folders)
    outputs = [o for cell in nbformat.read(done, as_version=4).cells for o in cell.get("outputs", ())]
    assert len([o for o in outputs if "image/png" in o.get("data", {})]) == 2
    shown = "".join(o.get("text", "") + o.get("data", {}).get("text/html", "") for o in outputs)
    assert all(words in shown for words in said)
    assert (tmp_path / "outputs" / place / "modality_gap.csv").is_file()
