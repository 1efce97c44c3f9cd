"""Notebooks run in their own folder with the values that are asked for, and a failing cell is one line."""

import nbformat
import pytest

from util import UserError
from util.reporting import notebooks
from util.reporting.steps import FOLDERS

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
    given = {"preset": "smoke", "device": "cpu", "embeddings": mine, "coco": tmp_path / "photographs"}
    done = notebooks.execute(notebook, tmp_path / "out.ipynb", **given, environment=other)
    assert printed(done).splitlines() == [
        f"smoke | cpu | {mine} | Folder | {tmp_path / 'results'}",
        f"notebook {notebook} | {tmp_path / 'photographs'}",
    ]
    assert notebook.read_bytes() == before


def test_all_notebooks_run_into_the_folders_of_their_results(tmp_path):
    for folder in FOLDERS[:2]:
        write(tmp_path / folder / "figure.ipynb", SETTINGS, SHOW)
    done = notebooks.execute_all(tmp_path / "results", tmp_path, coco=tmp_path)
    assert done == [tmp_path / "results" / folder / "figure.ipynb" for folder in FOLDERS[:2]]
    told = f"embedded | auto | None | {FOLDERS[1]} | {tmp_path / 'results'}"
    assert printed(done[1]) == told


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
        notebooks.execute(notebook, tmp_path / "out.ipynb", preset="smoke")
    assert not (tmp_path / "out.ipynb").exists()
