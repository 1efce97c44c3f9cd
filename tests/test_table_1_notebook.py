"""The notebook of Table 1 runs on the record of any run of its script."""

import nbformat

import scripts
from util import cli
from util.reporting import notebooks

NOTEBOOK = scripts.REPOSITORY / "Table_1_Implications_CLIP_Zero_Shot" / "table_1.ipynb"


def test_the_notebook_draws_the_record_of_a_smoke_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    script = scripts.load("Table_1_Implications_CLIP_Zero_Shot/zero_shot.py")
    words = (
        "--preset",
        "smoke",
        "--tasks",
        "digit",
        "retrieval",
        "--side",
        "first",
        "--output",
        str(tmp_path / "records"),
    )
    script.main(cli.parse(script.PRESETS, "", words))
    done = notebooks.execute(NOTEBOOK, tmp_path / "records", tmp_path / "table_1.ipynb")
    cells = [cell for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert len([o for o in outputs if "image/png" in o.get("data", {})]) == 2
    shown = "".join(o.get("text", "") + o.get("data", {}).get("text/html", "") for o in outputs)
    assert "p_value_scaled" in shown and "Empty DataFrame" not in shown
    assert "not run here" in shown and "handwritten digits" in shown and "most_discordant" in shown
