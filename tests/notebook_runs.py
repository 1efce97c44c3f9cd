"""A notebook of the repository, run with its smoke preset as a reader runs it."""

import os
import shutil

import nbformat

import smoke_runs
from scripts import REPOSITORY, load
from util import cli, records
from util.reporting import runner

STAND_INS = REPOSITORY / "tests" / "stand_ins"


def with_records(outputs, names, tmp_path_factory):
    """Puts the smoke runs of these scripts into a folder of ``outputs``, where their notebook finds them."""
    outputs.mkdir(parents=True)
    for name in names:
        for path in smoke_runs.record(load(name), tmp_path_factory).folder.glob(f"{name}*"):
            shutil.copy(path, outputs)


def run(name, tmp_path, cache=None, embeddings=None, **more):
    """What the notebook prints and shows in words, and how many pictures; its results go to ``tmp_path/outputs``."""
    (notebook,) = REPOSITORY.glob(f"*/{name}.ipynb")
    folders = {cli.OUTPUTS_VARIABLE: str(tmp_path / "outputs"), "MODALITY_GAP_DATA": str(cache or tmp_path / "cache")}
    folders |= {records.REUSE_VARIABLE: "", "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, STAND_INS)))}
    values = {"PRESET": "smoke", **({"EMBEDDINGS": embeddings} if embeddings else {}), **more}
    done = runner.execute(runner.Job(notebook, tmp_path / "done.ipynb", values), folders)
    cells = [cell for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "code"]
    assert len(cells) <= 15 and done.stat().st_size < 500_000
    shown = [(output.get("text", ""), output.get("data", {})) for cell in cells for output in cell.outputs]
    words = "".join(text + data.get("text/plain", "") + data.get("text/html", "") for text, data in shown)
    return words, sum("image/png" in data for _, data in shown)
