"""`make figures` in one process: stand-ins for the scripts, with the command line that each is given."""

import sys
from pathlib import Path

import pytest

from util import UserError, cli, commands
from util.reporting import figures_run, notebooks, paper_steps, report

SCRIPT = """
from dataclasses import dataclass
import sys
from pathlib import Path
from util import UserError, cli, commands

@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = Path("nowhere")
    steps: int = 80
    seeds: int = 3
    evaluations: int = 5
    held_out: int = 500

PRESETS = {"embedded": Settings(), "paper": Settings(preset="paper"), "smoke": Settings(preset="smoke", seed=13)}

def run(settings):
    if settings.seed == 13:
        raise UserError("no such data; give --coco")
    print(Path(sys.argv[0]).name, *sys.argv[1:], settings.steps)
"""
SHORT = 'SHORT = {"steps": 20, "seeds": 2, "evaluations": 2, "held_out": 300}'
PLACES = {"depth": "Figure_2_Cone_Effect", "training": "Figure_3_Contrastive_Learning"}


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """Two stand-ins; no published files, notebooks and report."""
    for name, folder in PLACES.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text(SCRIPT + (SHORT if name == "training" else ""))
    monkeypatch.setattr(cli, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr(figures_run.published, "fetch_all", lambda say: {})
    monkeypatch.setattr(notebooks, "execute_all", lambda outputs, preset: [outputs / "one.ipynb"])
    monkeypatch.setattr(report, "write", lambda outputs: outputs / "report.html")
    return [paper_steps.Step(folder, name, root=tmp_path) for name, folder in PLACES.items()]


def test_each_script_runs_under_its_own_command_line_and_progress_is_told(steps, capsys):
    before = list(sys.argv)
    figures_run.run(figures_run.Options(steps=steps))
    assert sys.argv == before
    assert capsys.readouterr().out.splitlines() == [
        "[1/3] Figure 2 (b): mean cosine by depth, about 10 s, 2.3 minutes left",
        "depth.py --preset embedded 80",
        "[2/3] section 4: training, about 70 s, 2.2 minutes left",
        "training.py --preset embedded --steps 20 --seeds 2 --evaluations 2 --held-out 300 20",
        "[3/3] the notebooks and the report, about 60 s, 30 seconds left",
        f"[figures] done in 0 seconds: open {cli.OUTPUTS / 'report.html'}",
    ]


def test_training_at_the_papers_settings_is_left_out_without_photographs(steps, capsys):
    figures_run.run(figures_run.Options(preset="paper", steps=steps))
    assert "[training] left out: training at the paper's settings needs COCO=DIR" in capsys.readouterr().out


def test_a_script_that_fails_is_named_and_ends_the_run(steps, capsys):
    with pytest.raises(UserError, match=r"^Figure_2_Cone_Effect/depth.py: no such data; give --coco$"):
        figures_run.run(figures_run.Options(preset="smoke", steps=steps))
    assert "training" not in capsys.readouterr().out


def test_without_a_checkout_the_command_says_so(tmp_path):
    step = paper_steps.Step(PLACES["depth"], "depth", root=tmp_path)
    with pytest.raises(UserError, match=r"depth\.py: not here; run modality-gap figures in a checkout"):
        figures_run.run(figures_run.Options(steps=[step]))


def test_photographs_go_to_the_scripts_that_take_them():
    given = figures_run.Options(coco=Path("/photographs"))
    takes = {step.name for step in paper_steps.STEPS if "--coco" in figures_run.words(step.name, given)}
    assert takes == {"cosine_similarity", "initializations"}
    paper = figures_run.Options(coco=Path("/photographs"), preset="paper")
    takes = {step.name for step in paper_steps.STEPS if "--coco" not in figures_run.words(step.name, paper)}
    assert takes == {"modality_gap", "depth", "theorems", "simulation"}


def test_every_step_has_a_title_and_seconds():
    assert set(figures_run.PLAN) == {step.name for step in paper_steps.STEPS} | {figures_run.NOTEBOOKS}


def test_the_command_hands_its_options_on(monkeypatch):
    given = []
    monkeypatch.setattr(figures_run, "run", given.append)
    commands.main(["figures", "--preset", "smoke", "--coco", "c"])
    assert given == [figures_run.Options(preset="smoke", coco=Path("c"))]
