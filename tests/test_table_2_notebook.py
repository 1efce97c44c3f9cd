"""The notebook of Table 2 runs on the record of any run of its script."""

import nbformat

import scripts
from util import cli
from util.reporting import notebooks

NOTEBOOK = scripts.REPOSITORY / "Table_2_Implications_CLIP_Fairness" / "table_2.ipynb"


def test_the_notebook_draws_the_record_of_a_smoke_run(tmp_path, monkeypatch):
    script = scripts.load("Table_2_Implications_CLIP_Fairness/denigration.py")
    monkeypatch.setattr(script, "DRAWN", {})  # the notebook draws
    script.main(cli.parse(script.PRESETS, "", ("--preset", "smoke", "--output", str(tmp_path / "records"))))
    done = notebooks.execute(NOTEBOOK, tmp_path / "records", tmp_path / "table_2.ipynb")
    cells = [cell for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "code"]
    pictures = [o for cell in cells for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == len(script.CAPTIONS) and len(cells) <= 15
    said = "".join(o.get("text", "") for cell in cells for o in cell.outputs)
    tables = "".join(o["data"].get("text/plain", "") for cell in cells for o in cell.outputs if "data" in o)
    assert "stands for nothing else" in said and "cannot be told from chance" in tables
    assert "the published counts" in tables and "small CLIP, generated badges" in tables
