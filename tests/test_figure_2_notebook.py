"""The notebook of Figure 2 runs on the records of any run of its four scripts."""

import nbformat
import pytest

import scripts
from util import UserError, cli
from util.reporting import notebooks

FOLDER = scripts.REPOSITORY / "Figure_2_Cone_Effect"
NAMES = ("cosine_similarity", "depth", "initializations", "theorems")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path_factory.getbasetemp() / "cone_cache"))


def test_the_notebook_draws_the_records_of_four_smoke_runs(tmp_path):
    for name in NAMES:
        script = scripts.load(f"Figure_2_Cone_Effect/{name}.py")
        script.main(cli.parse(script.PRESETS, "", ("--preset", "smoke", "--output", str(tmp_path / "records"))))
    done = notebooks.execute(FOLDER / "figure_2.ipynb", tmp_path / "records", tmp_path / "figure_2.ipynb")
    cells = [cell for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "code"]
    pictures = [o for cell in cells for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 5
    assert done.stat().st_size < 500_000


def test_the_notebook_names_the_record_that_is_missing(tmp_path):
    wanted = r"figure_2.ipynb: a cell failed: .*no record here; run cosine_similarity.py first"
    with pytest.raises(UserError, match=wanted):
        notebooks.execute(FOLDER / "figure_2.ipynb", tmp_path, tmp_path / "out.ipynb")
