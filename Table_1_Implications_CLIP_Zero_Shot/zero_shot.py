"""Table 1: zero-shot classification and retrieval while the modality gap is moved.

Images, and the texts of classes or captions, are moved along the gap vector, towards each other and past each other.
Accuracy, ROC-AUC or recall is measured at every shift. The paper reports the best of 40 shifts on the items that it
was chosen on. Two numbers stand beside it here: the p-value of so large a best gain if no shift changed anything, and
the held-out gain, of a shift that was chosen on one half of the items and tested on the other.

    python Table_1_Implications_CLIP_Zero_Shot/zero_shot.py                   (embedded: about a minute on 2 cores)
    python Table_1_Implications_CLIP_Zero_Shot/zero_shot.py --embeddings mine.npz        (with labels, or with pairs)
    python Table_1_Implications_CLIP_Zero_Shot/zero_shot.py --tasks-file mine.toml --data DIR --model KIND:NAME:TAG
    python Table_1_Implications_CLIP_Zero_Shot/zero_shot.py --preset paper    (downloads CLIP and six data sets)

Expect, embedded: the small CLIP names 94% of the shapes, and no shift is significantly better on held-out items.
Published, ViT-B/16: CIFAR10 0.9013, and 0.9081 at the best shift.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
from tqdm import tqdm

import published_gains
import reach
import requested_tasks
import zero_shot_figure as figure
from util import UserError, cli, records
from util.encoders.named import SMALL_CLIP, ModelName
from util.geometry import Side
from util.zero_shot import evaluation
from util.zero_shot.evaluation import Choosing

NAME = "zero_shot"


@dataclass(frozen=True, kw_only=True)
class Settings(Choosing, cli.WithEmbeddings):
    output: Path = cli.OUTPUTS / "Table_1_Implications_CLIP_Zero_Shot"
    labels: Path | None = None
    """A file with the class of each row of your embeddings, as modality-gap evaluate takes it."""
    prompts: Path | None = None
    """A file with the embeddings of their classes."""
    tasks: tuple[str, ...] = ()
    """Names of tasks; by default the generated ones, in paper all of the tasks file."""
    tasks_file: Path | None = None
    """Your own tasks in TOML, as util/data/tasks.toml has them."""
    data: Path | None = None
    """A folder with local copies of data sets, a folder for each task by its name; others come from the hub."""
    n: int | None = None
    """Take only n images of each task that is embedded here, and of the caption corpus."""
    model: ModelName = SMALL_CLIP
    """small-clip, open_clip:ViT-B-16:openai, huggingface:NAME, python:MODULE or FILE.py:FUNCTION."""
    coco: Path | None = None
    """A local MSCOCO folder (annotations/, val2017/), for the captions' gap vector and for retrieval."""
    caption: tuple[Literal["all", "first", "last"], ...] = ("all", "last")
    """Which captions of an image count in retrieval where it has several, your own pairs included; last is what was
    released."""
    side: tuple[Side, ...] = ("both", "first")
    """both: images and texts move by half each; first: the images move alone."""
    ONLY: ClassVar = requested_tasks.ONLY
    per_class: ClassVar = False

    def own(self) -> tuple:
        return (*self.embeddings, self.tasks_file, *super().own())


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", model=published_gains.PAPER_MODEL),
    "smoke": Settings(preset="smoke", n=80, splits=5, resamples=100, permutations=100, shift_step=0.5),
}


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Embeds or reads, measures, records, draws."""
    requested_tasks.check(settings)
    own = any(settings.own())
    title = f"{'Your own' if own else 'Table 1'}: zero-shot classification and retrieval against the modality gap"
    captions = figure.WORDS["captions"] | (figure.WORDS["own_captions"] if own else {})
    drawn = {"": figure.draw, "_table": figure.draw_table}
    return cli.publish_run(NAME, settings, measure, drawn, title=title, captions=captions, reuse=reuse)


def measure(settings: Settings, device: str) -> cli.Measured:
    """Every task at every shift, and the shifts chosen; what cannot be had is named and left out."""
    left_out = []
    collected = requested_tasks.collect(settings, device, left_out)
    with tqdm(collected, desc=NAME, unit="task", leave=False, delay=1, disable=None) as bar:  # closed on errors
        found = [(task, evaluation.evaluate(task, settings)) for task in bar]
    if not found:
        raise UserError(f"no task could be had: {left_out[0]}")
    tasks, parts = zip(*found, strict=True)
    tables = {what: pd.concat([part[what] for part in parts], ignore_index=True) for what in parts[0]}
    shifts, side = cli.shift_grid(settings.shift_step), evaluation.main_side(settings.side)
    reached = [row for task in tasks for row in reach.reach(task, shifts, side)]
    tables["reach"] = pd.DataFrame(reached, columns=reach.COLUMNS)
    tables["gaps"] = pd.DataFrame([reach.gaps_of(task) for task in tasks])
    tables["summary"] = summary(tables["table"])
    notes = [*dict.fromkeys(note for task in tasks for note in evaluation.notes(task))]
    rows = tables["summary"].to_dict("records")
    if not any(settings.own()):
        tables["published"], tables["chi_squared"] = published_gains.table(), published_gains.chi_squared()
    return cli.Measured(
        tables=tables,
        data=[{"name": task.dataset, **task.source} for task in tasks],
        dtype="float32 embeddings, float64 cosines",
        comparisons=published_gains.comparisons(tables["table"], tasks, settings),
        left_out=left_out,
        results={"published_as": {task.dataset: task.published for task in tasks}, "notes": notes},
        said=[*(f"note: {note}" for note in notes), *map(figure.WORDS["said"].format_map, rows)],
    )


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each task and metric by the paper's protocol, with both ways of choosing."""
    test, held = published_gains.chosen_both_ways(table)
    best = {"modified": "best_on_test", "direction": "gap", "p_value": "p_best"}
    other = {"modified": "held_out", "gain": "gain_held_out", "p_value": "p_held_out"}
    columns = ["held_out", "gain_held_out", "gain_low", "gain_high", "p_held_out"]
    test = test.rename(columns=best)[["n", "default", *best.values()]]
    return test.join(held.rename(columns=other)[columns]).reset_index()


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
