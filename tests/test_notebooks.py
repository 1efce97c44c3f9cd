"""Notebooks run in their own folder with the values that are asked for, and a failing cell is one line."""

from functools import partial

import nbformat
import pytest

import recorded
from util import UserError, cli, records
from util.reporting import notebooks
from util.reporting.notebooks import Job
from util.reporting.steps import FOLDERS

pytestmark = pytest.mark.usefixtures("committed")
SETTINGS = 'import os\nPRESET = "embedded"\nDEVICE = "auto"\nEMBEDDINGS = None'
SHOW = 'from util import cli\nprint(PRESET, DEVICE, EMBEDDINGS, os.path.basename(os.getcwd()), cli.OUTPUTS, sep=" | ")'


def write(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_markdown_cell("Words."), *map(nbformat.v4.new_code_cell, cells)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def printed(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(part.text for cell in cells if cell.cell_type == "code" for part in cell.outputs).strip()


def test_a_notebook_runs_in_its_folder_with_the_values_that_are_asked_for(tmp_path):
    named = 'from util import records\nprint(records.command(), COCO, sep=" | ")'
    notebook = write(tmp_path / "Folder" / "figure.ipynb", f"{SETTINGS}\nCOCO = None", SHOW, named)
    before = notebook.read_bytes()
    mine, other = tmp_path / "mine.npz", {"MODALITY_GAP_OUTPUTS": str(tmp_path / "results")}
    given = {"PRESET": "smoke", "DEVICE": "cpu", "EMBEDDINGS": mine, "COCO": tmp_path / "photographs"}
    done = notebooks.execute(Job(notebook, tmp_path / "out.ipynb", given), other)
    said = f"smoke | cpu | {mine} | Folder | {tmp_path / 'results'}"
    assert printed(done).splitlines() == [said, f"notebook {notebook} | {tmp_path / 'photographs'}"]
    assert notebook.read_bytes() == before


@pytest.mark.parametrize(
    "cells, words",
    [
        ((SETTINGS, "1 / 0"), "figure.ipynb: a cell failed: ZeroDivisionError: division by zero"),
        (("import os",), "figure.ipynb: its first code cell has no line that begins with PRESET ="),
    ],
)
def test_a_notebook_that_fails_is_named_with_its_error_and_writes_nothing(tmp_path, cells, words):
    notebook = write(tmp_path / "figure.ipynb", *cells)
    with pytest.raises(UserError, match=words):
        notebooks.execute(Job(notebook, tmp_path / "out.ipynb", {"PRESET": "smoke"}), {})
    assert not (tmp_path / "out.ipynb").exists()


made = partial(recorded.save, preset="smoke")


@pytest.fixture
def executed(monkeypatch):
    """What is executed: the notebook's name, and the values that it is given."""
    done = []

    def execute(job, environment):
        done.append((job.notebook.name, job.values))
        return job.output

    monkeypatch.setattr(notebooks, "execute", execute)
    return done


def test_notebooks_take_any_folder_that_holds_the_records_they_read(tmp_path, executed, capsys):
    there = tmp_path / "mine"
    with pytest.raises(UserError, match="mine: no records of a figure or table"):
        notebooks.execute_there(there)
    made(there / "some", "loss_landscape")
    made(there, "zero_shot")
    done = notebooks.execute_there(there)
    assert done == [there / FOLDERS[3] / "table_1.ipynb"]
    assert executed == [("table_1.ipynb", {"PRESET": "smoke", "DEVICE": "cpu"})]
    assert f"none of {FOLDERS[2]}: no record here of simulation, training" in capsys.readouterr().out


@pytest.mark.parametrize(
    "folder, files", [("own/mine-smoke", ["/there/mine.npz"]), (".", ["/there/a.npy", "text=/there/b.npy"])]
)
def test_notebooks_show_the_records_of_your_own_data_with_their_files(tmp_path, executed, folder, files):
    made(tmp_path / "out" / folder, "loss_landscape", embeddings=tuple(files), own="mine")
    notebooks.execute_there(tmp_path / "out")
    (found,) = executed
    own = {"EMBEDDINGS": files if len(files) > 1 else files[0]}
    assert found == ("figure_3.ipynb", {"PRESET": "smoke", "DEVICE": "cpu"} | own)


def test_a_script_takes_a_record_that_lies_in_the_folder_of_all_results_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "OUTPUTS", tmp_path)
    monkeypatch.setenv(records.REUSE_VARIABLE, records.AS_THEY_ARE)
    kept = made(tmp_path, "depth")
    settings = cli.Common(preset="smoke", output=tmp_path / FOLDERS[1])
    words = {"title": "", "captions": {}, "reuse": True}
    found = cli.publish_run("depth", settings, lambda *_: pytest.fail("measured"), {}, **words)
    assert found.about == kept.about
