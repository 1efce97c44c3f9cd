"""`make figures` and `make paper`: stand-ins for the scripts are stopped, broken and changed; notebooks run."""

import json
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import pandas as pd
import pytest

import recorded
from util import UserError, cli, commands, records
from util.reporting import runner
from util.reporting.steps import FOLDERS, STEPS, Figures, Step

SCRIPT = """
import sys, time
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from util import UserError, cli, published

NAME, ROOT = Path(__file__).stem, Path(__file__).parent.parent

@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = Path("nowhere")
    coco: Path | None = None
    n: int = 5

PRESETS = {name: Settings(preset=name) for name in ("embedded", "paper", "smoke")}

def measure(settings, device):
    (ROOT / f"{NAME}.ran").write_text(" ".join(sys.argv[1:]))
    behaviour = (ROOT / f"{NAME}.does").read_text()
    print("working on", NAME)
    if behaviour == "fails":
        raise UserError("no such data;\\n give --coco")
    if behaviour == "breaks":
        raise ZeroDivisionError
    if behaviour == "sleeps":
        (ROOT / "asleep").touch()
        time.sleep(60)
    compared = [published.compare("figure_2b.relu_bias.1", 0.32, "here", True, own=True)] if NAME == "depth" else []
    key, on = "figure_2b.sigmoid_2_layers", published.PRINTED
    compared += [published.compare(key, 0.49, on, True, own=True)] if NAME == "depth" else []
    return cli.Measured(
        tables={"": pd.DataFrame({"layers": [1, 2]})}, data=[], dtype="", comparisons=compared,
        left_out=[behaviour] if behaviour else [],
    )

def run(settings):
    draw = {"": lambda record: plt.figure(figsize=(1, 1))}
    cli.publish_run(NAME, settings, measure, draw, title=NAME, captions={NAME: "A picture."})
"""
PLACES = {
    "depth": "Figure_2_Cone_Effect",
    "theorems": "Figure_2_Cone_Effect",
    "simulation": "Figure_3_Contrastive_Learning",
}

SETTINGS = 'import os\nPRESET = "embedded"\nDEVICE = "auto"\nEMBEDDINGS = None'
SHOW = 'from util import cli\nprint(PRESET, DEVICE, EMBEDDINGS, os.path.basename(os.getcwd()), cli.OUTPUTS, sep=" | ")'


class Stage:
    """Three stand-ins, and what they are to do."""

    def __init__(self, root):
        self.root, self.output = root, root / "out"
        steps = []
        for name, folder in PLACES.items():
            steps.append(Step(folder, name, f"the {name}", 10, 100, 1, root=root))
            (root / folder).mkdir(exist_ok=True)
            steps[-1].script.write_text(SCRIPT)
            self.behave(name)
        self.options = Figures(preset="paper", output=self.output, device="cpu", steps=tuple(steps))

    def behave(self, name, behaviour=""):
        (self.root / f"{name}.does").write_text(behaviour)

    def run(self, **more):
        """Names of the stand-ins that ran."""
        for path in self.root.glob("*.ran"):
            path.unlink()
        runner.run(replace(self.options, **more))
        return self.ran()

    def ran(self):
        return [name for name in PLACES if (self.root / f"{name}.ran").is_file()]

    def record(self, name):
        return self.output / PLACES[name] / f"{name}.json"

    def of_depth(self):
        """Rows of the summary that depth.py measures."""
        table = pd.read_csv(self.output / "summary.csv")
        return table[table["key"].str.startswith("figure_2b.")]


@pytest.fixture
def whole(tmp_path, monkeypatch):
    """With no published files to fetch."""
    monkeypatch.setattr(runner.published, "fetch_all", list)
    return Stage(tmp_path)


@pytest.fixture
def stage(whole, monkeypatch):
    """Without summary and report, which take longer than the stand-ins."""
    monkeypatch.setattr(runner, "_summary", lambda *_: [])
    return whole


def test_every_step_runs_once_and_is_kept_the_next_time(whole, capsys):
    assert whole.run() == ["depth", "theorems", "simulation"]
    before = {path: path.stat().st_mtime_ns for path in whole.output.glob("*/*.json")}
    assert len(before) == 3
    assert whole.run() == []
    assert {path: path.stat().st_mtime_ns for path in whole.output.glob("*/*.json")} == before
    said = capsys.readouterr().out
    assert said.count("kept: its record is there") == 3 and "[summary] Figure 2: 1 yes, " in said
    assert "1 follows from print" in said
    assert (whole.output / "report.html").is_file()
    assert set(whole.of_depth()["verdict"]) == {"yes", "not run"}
    assert [line[11:] for line in said.splitlines() if line.startswith("working on")] == list(PLACES)
    assert whole.run(again=True, only=["theorems"]) == ["theorems"]


def test_a_script_runs_under_its_own_command_line_and_progress_is_told(stage, capsys):
    before = list(sys.argv)
    stage.options.steps[1].script.write_text(SCRIPT + 'SHORT = {"n": 2}\n')
    stage.run(preset="embedded")
    assert sys.argv == before
    words = ["--preset", "embedded", "--n", "2", "--output", str(stage.output / PLACES["theorems"]), "--device", "cpu"]
    assert (stage.root / "theorems.ran").read_text().split() == words
    assert json.loads(stage.record("theorems").read_text())["settings"]["n"] == 2
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[1/3]")]
    assert told == ["[1/3] the depth, about 10 seconds, 1.5 minutes left"]


def test_a_step_that_fails_is_named_with_its_reason_and_the_others_go_on(whole, capsys):
    whole.behave("depth", "fails")
    words = r"1 of 3 steps failed: depth \(no such data; give --coco\); the same command goes on"
    with pytest.raises(UserError, match=words):
        whole.run()
    assert whole.ran() == ["depth", "theorems", "simulation"]
    assert set(whole.of_depth()["note"]) == {"no such data; give --coco"}
    whole.behave("depth", "breaks")
    with pytest.raises(UserError, match=r"depth \(ZeroDivisionError\)"):
        whole.run()
    assert whole.ran() == ["depth"] and "Traceback" in capsys.readouterr().out
    whole.behave("depth")
    assert whole.run() == ["depth"]
    assert "no such data" not in (whole.output / "summary.csv").read_text()


def test_a_damaged_record_of_a_step_that_fails_again_hides_neither_that_nor_the_others(whole):
    whole.run()
    whole.record("depth").write_bytes(whole.record("depth").read_bytes()[:300])
    for name in ("summary.csv", "report.html"):
        (whole.output / name).unlink()
    whole.behave("depth", "fails")
    words = r"1 of 3 steps failed: depth \(no such data; .*depth\.json: damaged .* left out of summary and report"
    with pytest.raises(UserError, match=words):
        whole.run()
    assert set(whole.of_depth()["note"]) == {"no such data; give --coco"}
    page = (whole.output / "report.html").read_text()
    assert 'id="Figure_2_Cone_Effect-theorems"' in page and 'id="Figure_2_Cone_Effect-depth"' not in page
    with pytest.raises(UserError, match=r"^[^;]*depth\.json: damaged"):
        whole.run(only=["theorems"])
    assert set(whole.of_depth()["verdict"]) == {"not run"}


def test_notebooks_run_when_all_that_they_read_is_there_and_the_others_where_one_fails(stage, monkeypatch, capsys):
    done = []

    def execute(job, environment):
        values = job.values["PRESET"], job.values.get("COCO"), environment[cli.OUTPUTS_VARIABLE]
        done.append((job.notebook.name, *values))
        if job.notebook.name == "broken.ipynb":
            raise UserError("broken.ipynb: a cell failed: NameError: nothing")
        job.output.write_text("{}")

    monkeypatch.setattr(runner, "execute", execute)
    for folder, name in (("depth", "figure_2.ipynb"), ("simulation", "figure_3.ipynb")):
        (stage.root / PLACES[folder] / name).write_text("{}")
    stage.run(only=["depth"])
    assert done == [] and f"none of {PLACES['depth']}: no record here of theorems" in capsys.readouterr().out
    stage.run(only=["theorems"], coco=Path("photographs"))
    assert done == [("figure_2.ipynb", "paper", str(Path("photographs").resolve()), str(stage.output))]
    stage.run(only=["simulation"])
    assert [name for name, *_ in done] == ["figure_2.ipynb", "figure_3.ipynb"]
    (stage.root / PLACES["depth"] / "broken.ipynb").write_text("{}")
    for again in (True, False):
        done.clear()
        with pytest.raises(UserError, match=r"^broken\.ipynb: a cell failed: NameError"):
            stage.run(only=["depth", "theorems"], again=again)
        assert {name for name, *_ in done} == {"broken.ipynb", *(["figure_2.ipynb"] if again else [])}
    os.utime(stage.record("simulation"), (2e9, 2e9))  # made by a run that was stopped before its notebooks
    assert stage.run(only=["simulation"]) == [] and done[-1][0] == "figure_3.ipynb"


def test_a_run_that_is_killed_goes_on_where_it_was_and_only_one_works_in_a_folder(stage):
    stage.behave("theorems", "sleeps")
    process = multiprocessing.get_context("fork").Process(target=runner.run, args=(stage.options,))
    process.start()
    deadline = time.monotonic() + 30
    while not (stage.root / "asleep").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        with pytest.raises(UserError, match="out: another run is at work there; wait for it"):
            stage.run()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in stage.output.glob("*/*.json")] == ["depth.json"]
    stage.behave("theorems")
    assert stage.run() == ["theorems", "simulation"]


def test_a_record_that_left_something_out_is_kept_and_other_code_makes_figures_again_but_not_the_paper(stage, capsys):
    stage.behave("depth", "a photograph: not there")
    for preset, ran in (("paper", []), ("embedded", ["depth"])):
        stage.output = stage.root / preset
        stage.run(preset=preset, output=stage.output)
        about = json.loads(stage.record("depth").read_text())
        stage.record("depth").write_text(json.dumps({**about, "code": "0123"}))
        assert stage.run(preset=preset, output=stage.output) == ran
    told = capsys.readouterr().out
    assert "[depth] kept: its record is there; made by other code" in told
    assert "left out in it: a photograph: not there; --only depth --again tries again" in told
    assert "[depth] made by other code, or with other published files; running it" in told


@pytest.mark.parametrize("again", [False, True])
def test_records_of_another_preset_are_never_written_over(stage, again):
    stage.run(preset="embedded", only=["depth"])
    before = stage.record("depth").read_bytes()
    with pytest.raises(UserError, match=r"depth\.json is of the embedded preset, and would be lost; give another"):
        stage.run(preset="smoke", again=again)
    assert stage.record("depth").read_bytes() == before and stage.ran() == []
    assert stage.run(preset="smoke", output=stage.output / "smoke") == list(PLACES)
    stage.record("depth").write_text("damaged")
    assert stage.run(preset="smoke", only=["depth"]) == ["depth"]


def test_what_no_run_can_do_is_refused_before_anything_runs(stage, tmp_path):
    with pytest.raises(UserError, match="no step dept; the steps are depth, theorems, simulation"):
        stage.run(only=["dept"])
    script = stage.options.steps[1].script
    script.rename(stage.root / "away.py")
    with pytest.raises(UserError, match=r"theorems\.py: not here; run this in a checkout of the repository"):
        stage.run()
    assert stage.ran() == [] and not stage.output.exists()
    (stage.root / "away.py").rename(script)
    stage.output.write_text("in the way")
    with pytest.raises(UserError, match="out: cannot be written"):
        stage.run()


def test_the_papers_scripts_are_there_and_photographs_go_to_those_that_take_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    takes = {}
    for preset in ("paper", "embedded"):
        options = Figures(preset=preset, output=Path("out"), device="cpu", coco=Path("photographs"))
        read = {step.name: runner.read(step, options)[2] for step in STEPS}
        assert all(each.preset == preset and each.device == "cpu" for each in read.values())
        takes[preset] = {name for name, each in read.items() if getattr(each, "coco", None)}
        assert {read[name].coco for name in takes[preset]} == {tmp_path / "photographs"}
    assert takes["paper"] == set(read) - {"depth", "theorems", "simulation"}
    assert takes["embedded"] == {"cosine_similarity", "initializations"}
    for step in STEPS:
        module, _, settings = runner.read(step, Figures())
        assert settings == replace(module.PRESETS["embedded"], **getattr(module, "SHORT", {}))


def test_the_commands_hand_their_options_on(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(runner, "run", given.append)
    words = ["--coco", "c", "--output", str(tmp_path), "--device", "cpu", "--only", "cosine_similarity", "--again"]
    commands.main(["figures", "--preset", "smoke", *words])
    commands.main(["paper", *words])
    for options, preset in zip(given, ("smoke", "paper"), strict=True):
        assert (options.preset, options.output, options.coco) == (preset, tmp_path, Path("c"))
        assert (options.device, options.only, options.again) == ("cpu", ("cosine_similarity",), True)
        assert options.steps == STEPS


def notebook_of(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_markdown_cell("Words."), *map(nbformat.v4.new_code_cell, cells)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def printed(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(part.text for cell in cells if cell.cell_type == "code" for part in cell.outputs).strip()


def test_a_notebook_runs_in_its_folder_with_the_values_that_are_asked_for(tmp_path):
    named = 'from util import records\nprint(records.command(), COCO, sep=" | ")'
    notebook = notebook_of(tmp_path / "Folder" / "figure.ipynb", f"{SETTINGS}\nCOCO = None", SHOW, named)
    before = notebook.read_bytes()
    mine, other = tmp_path / "mine.npz", {"MODALITY_GAP_OUTPUTS": str(tmp_path / "results")}
    given = {"PRESET": "smoke", "DEVICE": "cpu", "EMBEDDINGS": mine, "COCO": tmp_path / "photographs"}
    done = runner.execute(runner.Job(notebook, tmp_path / "out.ipynb", given), other)
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
    notebook = notebook_of(tmp_path / "figure.ipynb", *cells)
    with pytest.raises(UserError, match=words):
        runner.execute(runner.Job(notebook, tmp_path / "out.ipynb", {"PRESET": "smoke"}), {})
    assert not (tmp_path / "out.ipynb").exists()


@pytest.fixture
def executed(monkeypatch):
    """What is executed: the notebook's name, and the values that it is given."""
    done = []

    def execute(job, environment):
        done.append((job.notebook.name, job.values))
        return job.output

    monkeypatch.setattr(runner, "execute", execute)
    return done


def test_notebooks_take_any_folder_that_holds_the_records_they_read(tmp_path, executed, capsys):
    there = tmp_path / "mine"
    with pytest.raises(UserError, match="mine: no records of a figure or table"):
        runner.execute_there(there)
    recorded.save(there / "some", "loss_landscape", preset="smoke")
    recorded.save(there, "zero_shot", preset="smoke")
    done = runner.execute_there(there)
    assert done == [there / FOLDERS[3] / "table_1.ipynb"]
    assert executed == [("table_1.ipynb", {"PRESET": "smoke", "DEVICE": "cpu"})]
    assert f"none of {FOLDERS[2]}: no record here of simulation, training" in capsys.readouterr().out


@pytest.mark.parametrize(
    "folder, files", [("own/mine-smoke", ["/there/mine.npz"]), (".", ["/there/a.npy", "text=/there/b.npy"])]
)
def test_notebooks_show_the_records_of_your_own_data_with_their_files(tmp_path, executed, folder, files):
    recorded.save(tmp_path / "out" / folder, "loss_landscape", preset="smoke", embeddings=tuple(files), own="mine")
    runner.execute_there(tmp_path / "out")
    (found,) = executed
    own = {"EMBEDDINGS": files if len(files) > 1 else files[0]}
    assert found == ("figure_3.ipynb", {"PRESET": "smoke", "DEVICE": "cpu"} | own)


def test_a_script_takes_a_record_that_lies_in_the_folder_of_all_results_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "OUTPUTS", tmp_path)
    monkeypatch.setenv(records.REUSE_VARIABLE, records.AS_THEY_ARE)
    kept = recorded.save(tmp_path, "depth", preset="smoke")
    settings = cli.Common(preset="smoke", output=tmp_path / FOLDERS[1])
    words = {"title": "", "captions": {}, "reuse": True}
    found = cli.publish_run("depth", settings, lambda *_: pytest.fail("measured"), {}, **words)
    assert found.about == kept.about
