"""The notebook of Figure 1 runs on the record of any run of its script."""

import nbformat

import scripts
from util import cli
from util.reporting import notebooks

NOTEBOOK = scripts.REPOSITORY / "Figure_1_Modality_Gap" / "figure_1.ipynb"


def test_the_notebook_draws_the_record_of_a_smoke_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    script = scripts.load("Figure_1_Modality_Gap/modality_gap.py")
    script.main(cli.parse(script.PRESETS, "", ("--preset", "smoke", "--output", str(tmp_path / "records"))))
    done = notebooks.execute(NOTEBOOK, tmp_path / "records", tmp_path / "figure_1.ipynb")
    cells = [cell for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "code"]
    pictures = [o for cell in cells for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 1
    said = "".join(o.get("text", "") for cell in cells for o in cell.outputs)
    assert "features_clip.npy" in said and "small CLIP" in said
