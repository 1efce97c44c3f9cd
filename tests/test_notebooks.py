"""Notebooks run in their own folder with the values that are asked for, and a failing cell is one line."""

from dataclasses import dataclass

import nbformat
import pandas as pd
import pytest

from util import UserError, cli, records
from util.reporting import notebooks
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


@dataclass(frozen=True)
class Settings:
    preset: str = "smoke"
    embeddings: tuple = ()


def made(folder, name, **settings):
    """A record without comparisons, as those of your own data are."""
    folder.mkdir(parents=True, exist_ok=True)
    found = records.Measured(tables={"": pd.DataFrame({"a": [1]})}, data=[], dtype="")
    facts = {"settings": Settings(**settings), "seconds": 1.0, "device": "cpu", "title": name, "captions": {}}
    return records.save(folder, name, found, own=settings.get("embeddings", ""), **facts)


@pytest.fixture
def executed(monkeypatch):
    """What is executed: the notebook's name, and the values that it is given."""
    done = []

    def execute(notebook, output, **values):
        done.append((notebook.name, values["preset"], values["embeddings"]))
        return output

    monkeypatch.setattr(notebooks, "execute", execute)
    return done


def test_notebooks_take_any_folder_that_holds_the_records_they_read(tmp_path, executed, capsys):
    for folder in FOLDERS:
        write(tmp_path / folder / f"{folder[:7]}.ipynb", SETTINGS)
    there = tmp_path / "mine"
    with pytest.raises(UserError, match="mine: no records of a figure or table"):
        notebooks.execute_there(there, tmp_path)
    made(there / "some", "loss_landscape")
    made(there, "zero_shot")
    done = notebooks.execute_there(there, tmp_path)
    assert done == [there / FOLDERS[3] / "Table_1.ipynb"] and executed == [("Table_1.ipynb", "smoke", None)]
    assert f"none of {FOLDERS[2]}: no record here of simulation, training" in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["own/mine-smoke", "."])
def test_notebooks_show_the_records_of_your_own_data_with_their_files(tmp_path, executed, folder):
    write(tmp_path / FOLDERS[2] / "figure_3.ipynb", SETTINGS)
    made(tmp_path / "out" / folder, "loss_landscape", embeddings=("/there/mine.npz",))
    notebooks.execute_there(tmp_path / "out", tmp_path)
    assert executed == [("figure_3.ipynb", "smoke", "/there/mine.npz")]


def test_a_script_takes_a_record_that_lies_in_the_folder_of_all_results_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "OUTPUTS", tmp_path)
    monkeypatch.setenv(records.REUSE_VARIABLE, records.AS_THEY_ARE)
    kept = made(tmp_path, "depth")
    settings = cli.Common(preset="smoke", output=tmp_path / FOLDERS[1])
    words = {"title": "", "captions": {}, "reuse": True}
    found = cli.publish_run("depth", settings, lambda *_: pytest.fail("measured"), {}, **words)
    assert found.about == kept.about
