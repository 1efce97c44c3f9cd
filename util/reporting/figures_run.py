"""``make figures``: every figure and table in one process, then the notebooks and the report."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import cli, published
from ..errors import UserError
from . import report
from .paper_steps import STEPS, Step, in_words, load_script

TAKE_PHOTOGRAPHS = ("cosine_similarity", "initializations")
"""Scripts that take MSCOCO's photographs in every preset; the others only in the paper preset."""
TAKE_NONE = ("modality_gap", "depth", "theorems", "simulation")

NOTEBOOKS = "the notebooks and the report"
PLAN = {
    "modality_gap": ("Figure 1: the gap of four systems, trained and random", 60),
    "cosine_similarity": ("Figure 2 (a): cosines of full-size networks, ten seeds", 45),
    "depth": ("Figure 2 (b): mean cosine by depth", 10),
    "initializations": ("Figure 2 (c): 25 random initializations of each encoder", 75),
    "theorems": ("Theorems 1 and 2", 10),
    "loss_landscape": ("Figure 3 (a-d): the loss landscape", 10),
    "simulation": ("Figure 3 (e-g): mismatched pairs", 5),
    "training": ("section 4: training", 70),
    "zero_shot": ("Table 1: the gap moved, zero-shot classification and retrieval", 15),
    "denigration": ("Table 2: the gap moved, denigration harms", 10),
    NOTEBOOKS: (NOTEBOOKS, 60),
}
"""Title and, on two cores with the embedded preset, seconds of each step."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``modality-gap figures``; see ``util.commands.Figures``."""

    preset: cli.Preset = "embedded"
    coco: Path | None = None
    steps: Sequence[Step] = STEPS


def run(options: Options) -> Path:
    """Runs the scripts in order into ``util.cli.OUTPUTS``, then the notebooks; returns the report's path."""
    from . import notebooks

    if absent := [step.shown for step in options.steps if not step.script.is_file()]:
        raise UserError(f"{absent[0]}: not here; run modality-gap figures in a checkout of the repository")
    published.fetch_all(say=cli.say)
    start, names = time.perf_counter(), [*(step.name for step in options.steps), NOTEBOOKS]
    for place, step in enumerate(options.steps):
        _announce(names, place, time.perf_counter() - start, options.preset)
        if step.name == "training" and options.preset == "paper" and options.coco is None:
            cli.say("[training] left out: training at the paper's settings needs COCO=DIR")
            continue
        try:
            _call(step, words(step.name, options))
        except UserError as error:
            raise UserError(f"{step.shown}: {error}") from error
    _announce(names, len(names) - 1, time.perf_counter() - start, options.preset)
    notebooks.execute_all(cli.OUTPUTS, preset=None if options.preset == "embedded" else options.preset)
    path = report.write(cli.OUTPUTS)
    cli.say(f"[figures] done in {in_words(time.perf_counter() - start)}: open {path}")
    return path


def words(name: str, options: Options) -> list[str]:
    """Command line of one script."""
    real = options.coco and (name in TAKE_PHOTOGRAPHS or (options.preset == "paper" and name not in TAKE_NONE))
    coco = ["--coco", str(Path(options.coco).resolve())] if real else []
    return ["--preset", options.preset, *coco]


def _call(step: Step, arguments: Sequence[str]) -> None:
    """Runs a script in this process under its own command line, which its record holds."""
    before, module = sys.argv, load_script(step)
    if "embedded" in arguments:  # a short version, where the script has one
        short = getattr(module, "SHORT", {}).items()
        arguments = [
            *arguments,
            *(word for name, value in short for word in (f"--{name.replace('_', '-')}", str(value))),
        ]
    try:
        sys.argv = [str(step.script), *arguments]
        module.run(cli.parse(module.PRESETS, module.__doc__ or "", arguments))
    finally:
        sys.argv = before


def _announce(names: Sequence[str], place: int, elapsed: float, preset: str) -> None:
    """A line such as "[3/11] Figure 2 (b): mean cosine by depth, about 10 s, 4 min left"."""
    title, seconds = PLAN[names[place]]
    line = f"[{place + 1}/{len(names)}] {title}"
    if preset == "embedded":
        past, left = (sum(PLAN[name][1] for name in part) for part in (names[:place], names[place:]))
        pace = max(0.5, elapsed / past) if past > 30 else 1.0
        line += f", about {seconds} s, {in_words(left * pace)} left"
    cli.say(line)
