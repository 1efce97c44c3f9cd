"""The notebook of Figure 3 runs on the records of any run of its three scripts."""

import nbformat

import scripts
from util import cli
from util.reporting import notebooks

FOLDER = scripts.REPOSITORY / "Figure_3_Contrastive_Learning"


def test_the_notebook_draws_the_records_of_three_smoke_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    for name in ("loss_landscape", "simulation", "training"):
        script = scripts.load(f"Figure_3_Contrastive_Learning/{name}.py")
        script.main(cli.parse(script.PRESETS, "", ("--preset", "smoke", "--output", str(tmp_path / "records"))))
    done = notebooks.execute(FOLDER / "figure_3.ipynb", tmp_path / "records", tmp_path / "figure_3.ipynb")
    cells = [cell for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "code"]
    pictures = [o for cell in cells for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(cells) <= 15 and len(pictures) == 6
    assert done.stat().st_size < 500_000
