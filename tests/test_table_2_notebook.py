"""The notebook of Table 2 regenerates its table and figures from nothing, and takes embeddings of your own."""

import nbformat
import numpy as np

import reference
import scripts
from util import cli
from util.reporting import notebooks

NOTEBOOK = scripts.REPOSITORY / "Table_2_Implications_CLIP_Fairness" / "table_2.ipynb"


def test_the_notebook_runs_from_an_empty_folder_with_embeddings_that_have_no_groups(tmp_path, rng):
    np.save(tmp_path / "own.npy", np.stack(reference.pairs(rng, 40, 16)))
    variables = {cli.OUTPUTS_VARIABLE: str(tmp_path / "outputs")}
    done = notebooks.execute(
        NOTEBOOK, tmp_path / "table_2.ipynb", "smoke", embeddings=tmp_path / "own.npy", environment=variables
    )
    cells = [cell for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert len(cells) <= 15 and sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert (tmp_path / "outputs" / "Table_2_Implications_CLIP_Fairness" / "denigration.json").is_file()
    said = "".join(output.get("text", "") for output in outputs)
    assert "Without LABELS your images have no groups" in said and "stands for nothing else" in said
    tables = "".join(output["data"].get("text/plain", "") for output in outputs if "data" in output)
    assert "cannot be told from chance" in tables and "paper is wrong" in tables
    assert "15.7" in tables  # the paper's percentage of White, recomputed
