"""The whole paper in one command: stand-ins write records of the real format, and are stopped, broken and changed."""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from util import UserError, commands, records
from util.reporting import paper_run as paper
from util.reporting import paper_steps as steps

SCRIPT = '''
"""A stand-in: its record is a copy of one that was made before, with the settings of its own command line."""

import json, os, shutil, sys, time
from pathlib import Path

HERE = Path(__file__).resolve()

if __name__ == "__main__":
    words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    root, name, output = HERE.parent.parent, HERE.stem, Path(words["--output"])
    with (root / "runs.txt").open("a") as runs:
        runs.write(name + "\\n")
    behaviour = json.loads((root / "behaviour.json").read_text()).get(name, "")
    print("working on", name)
    if behaviour == "fails":
        print("error: no such data; give --coco", file=sys.stderr)
        sys.exit(2)
    if behaviour == "sleeps":
        (root / "sleeper").write_text(str(os.getpid()))
        time.sleep(60)
    if behaviour != "writes nothing":
        output.mkdir(parents=True, exist_ok=True)
        about = json.loads((root / "template" / f"{name}.json").read_text())
        about["settings"] = {"preset": "paper", "output": str(output), "device": words["--device"], "seed": 0,
                             "coco": words.get("--coco"), "n": int(words.get("--n", 5))}
        about["left_out"] = [behaviour] if behaviour.startswith("lacks") else []
        shutil.copyfile(root / "template" / f"{name}.csv", output / f"{name}.csv")
        for suffix in ("png", "pdf"):
            shutil.copyfile(root / "template" / f"picture.{suffix}", output / f"{name}.{suffix}")
        (output / f"{name}.json").write_text(json.dumps(about))
    sys.exit(0)

from dataclasses import dataclass
from util import cli

@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = Path("nowhere")
    coco: Path | None = None
    n: int = 5

PRESETS = {"embedded": Settings(), "paper": Settings(preset="paper"), "smoke": Settings(preset="smoke")}
'''

PLACES = {
    "depth": "Figure_2_Cone_Effect",
    "theorems": "Figure_2_Cone_Effect",
    "simulation": "Figure_3_Contrastive_Learning",
}


@dataclass(frozen=True)
class Nothing:
    preset: str = "paper"
    seed: int = 0


class Stage:
    """Three stand-ins, and what they are to do."""

    def __init__(self, root: Path):
        self.root, self.output = root, root / "out"
        (root / "template").mkdir(parents=True)
        for name, folder in PLACES.items():
            (root / folder).mkdir(exist_ok=True)
            (root / folder / f"{name}.py").write_text(SCRIPT)
            records.save(
                root / "template", name, {"": pd.DataFrame({"layers": [1, 2]})}, settings=Nothing(), seconds=1.0,
                device="cpu", dtype="float32", data=[], captions={name: "A picture."},
            )  # fmt: skip
        for suffix in ("png", "pdf"):
            Image.effect_noise((64, 64), 50).save(root / "template" / f"picture.{suffix}")
        self.steps = [steps.Step(folder, name, root=root) for name, folder in PLACES.items()]
        self.behave()

    def behave(self, **behaviour: str) -> None:
        (self.root / "behaviour.json").write_text(json.dumps(behaviour))

    def options(self, **more) -> paper.Options:
        return paper.Options(output=self.output, device="cpu", steps=self.steps, **more)

    def run(self, **more) -> list[str]:
        """The stand-ins that ran, in order."""
        (self.root / "runs.txt").unlink(missing_ok=True)
        paper.run(self.options(**more))
        return self.ran()

    def ran(self) -> list[str]:
        path = self.root / "runs.txt"
        return path.read_text().split() if path.is_file() else []

    def record(self, name: str) -> Path:
        return self.output / PLACES[name] / f"{name}.json"


FINISH = paper.finish


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Without summary, report and notebooks, which take longer than the stand-ins."""
    monkeypatch.setattr(paper, "finish", lambda *_: [])
    return Stage(tmp_path)


@pytest.fixture
def whole(stage, monkeypatch):
    """With them."""
    monkeypatch.setattr(paper, "finish", FINISH)
    return stage


def of_depth(stage):
    """Rows of the summary that depth.py measures."""
    table = pd.read_csv(stage.output / "summary.csv")
    return table[table["key"].str.startswith("figure_2b.")]


def test_every_step_runs_once_and_is_kept_the_next_time(whole, capsys):
    assert whole.run() == ["depth", "theorems", "simulation"]
    before = {path: path.stat().st_mtime_ns for path in whole.output.glob("*/*.json")}
    assert len(before) == 3
    assert whole.run() == []
    assert {path: path.stat().st_mtime_ns for path in whole.output.glob("*/*.json")} == before
    assert capsys.readouterr().out.count("kept, its record is there") == 3
    assert (whole.output / "report.html").is_file()
    assert set(of_depth(whole)["verdict"]) == {"not run"}


def test_what_the_scripts_say_is_kept_in_a_log_of_its_own(stage):
    stage.run()
    log = (stage.output / "paper.log").read_text()
    assert [line for line in log.splitlines() if line.startswith("working on")] == [
        "working on depth", "working on theorems", "working on simulation",
    ]  # fmt: skip
    assert not list(stage.output.glob("*/*.log"))


def test_a_failing_step_is_named_with_its_last_line_and_the_others_go_on(whole):
    whole.behave(depth="fails")
    with pytest.raises(UserError, match=r"1 of 3 steps failed: depth \(no such data; give --coco\); .*paper.log"):
        whole.run()
    assert whole.ran() == ["depth", "theorems", "simulation"]
    assert set(of_depth(whole)["note"]) == {"no such data; give --coco"}
    whole.behave()
    assert whole.run() == ["depth"]
    assert "no such data" not in (whole.output / "summary.csv").read_text()


def test_a_damaged_record_of_a_step_that_fails_again_hides_neither_that_nor_the_others(whole):
    whole.run()
    cut(whole.record("depth"), 0.5)
    for name in ("summary.csv", "report.html"):
        (whole.output / name).unlink()
    whole.behave(depth="fails")
    words = r"1 of 3 steps failed: depth \(no such data; .*depth\.json: damaged .* left out of summary and report"
    with pytest.raises(UserError, match=words):
        whole.run()
    assert set(of_depth(whole)["note"]) == {"no such data; give --coco"}
    page = (whole.output / "report.html").read_text()
    assert 'id="Figure_2_Cone_Effect-theorems"' in page and 'id="Figure_2_Cone_Effect-depth"' not in page
    with pytest.raises(UserError, match=r"^[^;]*depth\.json: damaged"):
        whole.run(only=["theorems"])
    assert set(of_depth(whole)["verdict"]) == {"not run"}


def test_a_notebook_is_executed_when_all_that_it_reads_is_there(whole, monkeypatch, capsys):
    from util.reporting import notebooks

    (whole.root / PLACES["depth"] / "figure_2.ipynb").write_text("{}")
    done = []
    monkeypatch.setattr(notebooks, "execute", lambda *paths, **values: done.append((*paths, values["preset"])))
    whole.run(only=["depth"])
    assert done == [] and "no notebook, which reads theorems too" in capsys.readouterr().out
    whole.run(only=["theorems"])
    folder = whole.output / PLACES["depth"]
    assert done == [(whole.root / PLACES["depth"] / "figure_2.ipynb", folder / "figure_2.ipynb", "paper")]
    whole.run()
    assert len(done) == 1


def test_a_notebook_that_fails_is_named_at_the_end(whole, monkeypatch):
    from util.reporting import notebooks

    def fail(notebook, *_, **__):
        raise UserError(f"{notebook.name}: a cell failed: NameError: nothing")

    monkeypatch.setattr(notebooks, "execute", fail)
    (whole.root / PLACES["depth"] / "figure_2.ipynb").write_text("{}")
    with pytest.raises(UserError, match=r"^figure_2\.ipynb: a cell failed: NameError"):
        whole.run()
    assert (whole.output / "report.html").is_file()


def test_a_step_that_ends_well_without_a_record_failed(stage):
    stage.behave(theorems="writes nothing")
    with pytest.raises(UserError, match=r"theorems \(no record\)"):
        stage.run()


def test_a_run_that_is_killed_goes_on_where_it_was(stage):
    stage.behave(theorems="sleeps")
    runner = multiprocessing.get_context("fork").Process(target=paper.run, args=(stage.options(),))
    runner.start()
    sleeper = stage.root / "sleeper"
    deadline = time.monotonic() + 30
    while not (sleeper.is_file() and sleeper.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        os.kill(runner.pid, signal.SIGKILL)
        runner.join(30)
        assert runner.exitcode == -signal.SIGKILL
        with pytest.raises(UserError, match="or a script that it started, is at work there"):
            paper.run(stage.options())
    finally:
        os.kill(int(sleeper.read_text()), signal.SIGKILL)
    deadline = time.monotonic() + 30
    stage.behave()
    while True:
        try:
            assert stage.run() == ["theorems", "simulation"]
            break
        except UserError as error:  # the system lets go of a killed process's lock when it gets to it
            assert "is at work there" in str(error) and time.monotonic() < deadline
            time.sleep(0.1)


def test_a_record_of_other_settings_is_made_again(stage, capsys):
    stage.run()
    assert stage.run(extra=["depth --n 7"]) == ["depth"]
    assert "other settings: n 5 -> 7" in capsys.readouterr().out
    assert json.loads(stage.record("depth").read_text())["settings"]["n"] == 7
    assert stage.run(extra=["depth --n 7"]) == []


def cut(path, kept):
    """The file's first bytes; a share of them where ``kept`` is below 1."""
    content = path.read_bytes()
    path.write_bytes(content[: kept if kept >= 1 else int(kept * len(content))])


DAMAGES = (
    ("damaged record", lambda path: cut(path, 0.5)),
    ("schema 99", lambda path: path.write_text('{"schema_version": 99}')),
    ("damaged record (no settings, commit", lambda path: path.write_text('{"schema_version": 1}')),
    ("No such file", lambda path: path.with_suffix(".csv").unlink()),
    ("other content in simulation.csv", lambda path: path.with_suffix(".csv").write_text("layers\n1\n")),
    ("other content in simulation.csv", lambda path: cut(path.with_suffix(".csv"), 0.6)),
    ("simulation.png missing or cut off", lambda path: path.with_suffix(".png").unlink()),
    ("simulation.png missing or cut off", lambda path: cut(path.with_suffix(".png"), 0)),
    ("simulation.png missing or cut off", lambda path: cut(path.with_suffix(".png"), 100)),
    ("simulation.png missing or cut off", lambda path: cut(path.with_suffix(".png"), 0.99)),
    ("simulation.pdf missing or cut off", lambda path: path.with_suffix(".pdf").unlink()),
    ("simulation.pdf missing or cut off", lambda path: cut(path.with_suffix(".pdf"), 0.9)),
    ("list indices", lambda path: path.write_text("[]")),
    ("no record", lambda path: path.unlink()),
    ("n (not there) -> 5", lambda path: change(path, lambda settings: settings.pop("n"))),
    ("old 1 -> (not there)", lambda path: change(path, lambda settings: settings.update(old=1))),
)


def change(path, how):
    about = json.loads(path.read_text())
    how(about["settings"])
    path.write_text(json.dumps(about))


def test_a_record_that_is_not_whole_or_of_older_code_is_made_again(stage):
    stage.run()
    path, kept = stage.record("simulation"), stage.root / "kept"
    shutil.copytree(path.parent, kept)
    ready = steps.read(stage.steps[2], stage.output, "cpu", None)
    for words, damage in DAMAGES:
        damage(path)
        assert words in steps.reason_to_run(ready, stage.output)
        shutil.copytree(kept, path.parent, dirs_exist_ok=True)
        assert steps.reason_to_run(ready, stage.output) == ""
    cut(path, 0.5)
    assert stage.run() == ["simulation"]


def test_a_record_that_left_something_out_is_kept_and_tried_again_when_asked(stage, capsys):
    stage.behave(depth="lacks a photograph")
    stage.run()
    assert stage.run() == []
    assert "left out in it: lacks a photograph; --left-out tries again" in capsys.readouterr().out
    assert stage.run(left_out=True) == ["depth"]
    stage.behave()
    assert stage.run(again=True, only=["theorems"]) == ["theorems"]


def test_coco_goes_to_the_scripts_that_take_it_by_its_whole_path(stage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ready = paper.prepare(stage.options(coco=Path("photographs")))
    assert all(each.settings["coco"] == str(tmp_path / "photographs") for each in ready)
    assert all(each.arguments[:2] == ("--preset", "paper") for each in ready)


@pytest.mark.parametrize(
    "more, words",
    [
        ({"only": ["dept"]}, "no step dept; the steps are depth, theorems, simulation"),
        ({"extra": ["dept --n 3"]}, "does not start with the name of a step"),
        ({"extra": [""]}, "does not start with the name of a step"),
    ],
)
def test_names_that_no_step_has_are_refused_before_anything_runs(stage, more, words):
    with pytest.raises(UserError, match=words):
        stage.run(**more)
    assert stage.ran() == [] and not stage.output.exists()


def test_a_script_that_is_broken_is_a_step_that_failed(stage):
    (stage.root / PLACES["depth"] / "depth.py").write_text("import nowhere_at_all\n")
    with pytest.raises(UserError, match=r"depth \(ModuleNotFoundError: No module named 'nowhere_at_all'"):
        stage.run()
    assert stage.ran() == ["theorems", "simulation"]


def test_an_option_that_a_script_does_not_have_is_its_failure(stage):
    ready = paper.prepare(stage.options(extra=["depth --unheard-of 3"]))
    assert ready[0].problem.startswith("its command line was refused: --preset paper") and not ready[1].problem


def test_other_code_is_said_and_no_reason_to_run_again(stage, capsys):
    stage.run()
    path = stage.record("depth")
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "code": "0123"}))
    assert stage.run() == []
    assert "depth.py: kept, its record is there (made by other code)" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_named(stage):
    (stage.root / "out").write_text("in the way")
    with pytest.raises(UserError, match="out: cannot be written"):
        stage.run()


def test_the_steps_are_the_papers_scripts_and_each_command_line_is_read():
    cheap = [step for step in steps.STEPS if step.name != "training"]  # which takes seconds to import
    ready = [steps.read(step, Path("out"), "cpu", Path("/photographs")) for step in cheap]
    assert {each.step.name: each.problem for each in ready} == {step.name: "" for step in cheap}
    assert all(each.settings["preset"] == "paper" and each.settings["device"] == "cpu" for each in ready)
    assert ready[0].settings["fetch"] is True
    takes = {each.step.name for each in ready if each.settings.get("coco") == "/photographs"}
    assert takes == {each.step.name for each in ready} - {"depth", "theorems", "simulation"}
    assert all(step.script.is_file() for step in steps.STEPS)


def in_this_process(ready, log, lock):
    """In the place of a process of its own, whose imports take longer than its work."""
    sys.modules[type(ready.parsed).__module__].run(ready.parsed)
    return "", 0


def test_a_step_of_the_paper_is_made_and_compared_and_then_kept(tmp_path, monkeypatch, capsys):
    from util.reporting import notebooks

    monkeypatch.setattr(paper, "_call", in_this_process)
    monkeypatch.setattr(notebooks, "execute", lambda *paths, **values: None)
    options = paper.Options(output=tmp_path / "out", device="cpu", only=["simulation"])
    paper.run(options)
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    mine = summary[summary["key"].str.startswith("mismatched_pairs.")]
    assert len(mine) >= 6 and set(mine["verdict"]) == {"yes", "shown"}
    capsys.readouterr()
    assert paper.run(options) == tmp_path / "out" / "report.html"
    assert "simulation.py: kept, its record is there" in capsys.readouterr().out


def test_the_command_hands_its_options_on(stage, monkeypatch):
    given = []
    monkeypatch.setattr(paper, "run", given.append)
    words = [
        "paper",
        "--coco",
        "c",
        "--output",
        str(stage.output),
        "--only",
        "depth",
        "--extra",
        "depth --n 3",
        "--again",
    ]
    commands.main(words)
    assert given == [
        paper.Options(output=stage.output, coco=Path("c"), only=("depth",), extra=("depth --n 3",), again=True)
    ]
