"""The notebook of Figure 2 regenerates its figures and shows them, and measures a file of your own."""

import shutil

import nbformat
import pytest

import scripts
import smoke_runs
from util import Embeddings
from util.reporting import notebooks

NOTEBOOK = scripts.REPOSITORY / "Figure_2_Cone_Effect" / "figure_2.ipynb"
NAMES = ("cosine_similarity", "initializations", "theorems", "depth")


@pytest.fixture
def execute(tmp_path, tmp_path_factory):
    """Runs the notebook with the smoke preset in an empty folder; gives its text and the number of its pictures."""
    folders = {"MODALITY_GAP_OUTPUTS": str(tmp_path / "outputs"), "MODALITY_GAP_REUSE": ""}
    folders["MODALITY_GAP_DATA"] = str(smoke_runs.cache(tmp_path_factory))

    def work(**given):
        done = notebooks.execute(NOTEBOOK, tmp_path / "done.ipynb", preset="smoke", environment=folders, **given)
        assert done.stat().st_size < 500_000
        cells = [cell for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "code"]
        assert len(cells) <= 15
        outputs = [output for cell in cells for output in cell.outputs]
        text = "".join(output.get("text", "") for output in outputs)
        return text, sum("image/png" in output.get("data", {}) for output in outputs)

    return work


def test_the_notebook_makes_what_is_not_there_and_shows_every_record_and_figure(execute, tmp_path, tmp_path_factory):
    folder = tmp_path / "outputs" / "Figure_2_Cone_Effect"
    made = [smoke_runs.record(scripts.load(f"{name}.py"), tmp_path_factory).folder for name in NAMES[:3]]
    shutil.copytree(made[0], folder, ignore=shutil.ignore_patterns("depth*"))
    text, pictures = execute()
    assert all((folder / f"{name}.{suffix}").is_file() for name in NAMES for suffix in ("json", "csv", "png", "pdf"))
    assert pictures == 11
    assert text.count("the record that is there is used") == 3 and "[depth] wrote" in text
    assert "the seed explains" in text and "ResNet-18 with trained weights" in text


def test_the_notebook_measures_your_own_file_and_says_what_is_not_about_it(execute, tmp_path, rng):
    rows = rng.normal(size=(2, 20, 8)) + 1
    Embeddings.of({"image": rows[0], "text": rows[1]}).save(tmp_path / "mine.npz")
    text, pictures = execute(embeddings=tmp_path / "mine.npz")
    assert (tmp_path / "outputs" / "own" / "mine-smoke" / "cosine_similarity.csv").is_file()
    assert not (tmp_path / "outputs" / "Figure_2_Cone_Effect").exists()
    assert pictures == 3
    assert "image: 20 rows" in text and text.count("skipped.") == 3
