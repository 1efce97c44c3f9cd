"""Table 1: what moving the modality gap does to zero-shot classification and retrieval.

Images and class prompts are moved along the gap vector, towards each other and past each other, and the zero-shot
metric is measured at every shift. The paper reports the best of 40 shifts on the test data that it was chosen on. Here
stand beside it the probability that choice alone makes such a gain, and what a shift chosen on one half of the data
gives on the other.

    python Table_1_Implications_CLIP_Zero_Shot/zero_shot.py                   (embedded: under a minute on 2 cores)
    python Table_1_Implications_CLIP_Zero_Shot/zero_shot.py --embeddings mine.npz        (with labels, or pairs)
    python Table_1_Implications_CLIP_Zero_Shot/zero_shot.py --preset paper               (downloads CLIP and data sets)

Expect, embedded: the small CLIP names 94% of the shapes, and no shift does reliably better. Published, ViT-B/16:
CIFAR10 0.9013 and 0.9081 at the best shift.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import tyro
from tqdm import tqdm

import checks
import embedded_tasks as sources
import evaluation
import kept
import published_gains
import zero_shot_claims as claims
import zero_shot_figure as figure
from prepared import Prepared
from util import UserError, cli, figures, files, interventions, published, records
from util.geometry import Side

NAME = "zero_shot"
FROM_COUNTS = {
    "counts": [
        "dataset", "n", "gain", "net_items", "most_discordant", "most_discordant_corrected", "note",
        "most_discordant_low", "most_discordant_high",
    ],
    "areas": ["dataset", "n", "gain", "se_default", "correlation", "correlation_corrected", "note"],
}  # fmt: skip
"""What the README shows of the published gains: of accuracies, and of ROC-AUC."""
CAPTIONS = {
    NAME: "Each panel: a zero-shot metric of one task against the signed gap distance after the shift (below zero: the "
    "modalities have moved past each other), with the 95% interval of each point. Dashed: the default gap. Ring: the "
    "shift that is best on the data themselves, as the paper chooses it; triangles: those chosen on each half, where "
    "that half's own gap and metric are, along its own gap vector. Thin: the same along the gap vector of a caption "
    "corpus; a break in it is where the gap changes its sign without having been small.",
    f"{NAME}_table": "Table 1 as the paper prints it, published values beside ours where the data set is the same, "
    "ours below. The interval of every number stands in zero_shot_table.csv.",
}


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "Table_1_Implications_CLIP_Zero_Shot"
    embeddings: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Your own .npz or .safetensors, in place of all else, repeatable: image (n, d), text (C, d) and labels (n,), or
    pairs without labels for retrieval."""
    tasks: tuple[str, ...] = ()
    """Names of tasks; by default the generated ones, in paper all of the tasks file."""
    tasks_file: Path | None = None
    """Your own tasks in TOML, as util/data/tasks.toml has them."""
    data: Path | None = None
    """A folder with local copies of data sets, a folder for each task by its name; others come from the hub."""
    streaming: bool = False
    """Read data sets of the hub as a stream, without keeping them."""
    n: int | None = None
    """Take only n images of each task that is embedded here, and of MSCOCO where it is the caption corpus."""
    model: str = "small-clip"
    """small-clip; an open_clip model and its weights (ViT-B-16:openai); huggingface:NAME; python:FILE.py:FUNCTION."""
    class_names: str | None = None
    """Other class names, in those tasks that declare some under this word (clip, mteb, torchvision, words)."""
    coco: Path | None = None
    """A local MSCOCO folder (annotations/, val2017/), for the captions' gap vector and for retrieval."""
    caption: tuple[Literal["all", "first", "last"], ...] = ("all", "last")
    """Which captions of an image count in retrieval where it has several, your own pairs included; last is what was
    released."""
    captioned: int = 2000
    """Generated captioned scenes for the captions' gap vector of the small CLIP."""
    side: tuple[Side, ...] = ("both", "first")
    """both: images and texts move by half each; first: the images move alone."""
    shift_step: float = 0.25
    """Distance between shifts, which run from -5 up to 5."""
    resamples: int = 2000
    """Of every bootstrap."""
    permutations: int = 2000
    """Of every test of the largest gain."""
    save_shift: Path | None = None
    """A .safetensors file for the gap vector and the shift that is best on all items of --save-task."""
    save_task: str | None = None
    """Which task, by its name as in --tasks, where several ran; of retrieval the first rule of --caption."""
    save_direction: Literal["task", "captions"] = "task"
    """Along which gap vector: the task's own, or that of the caption corpus."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", model=claims.PAPER_MODEL),
    "smoke": Settings(preset="smoke", n=80, captioned=100, resamples=100, permutations=100, shift_step=0.5),
}


def draw(record: records.Record):
    """Every metric against the gap."""
    return figure.draw(record)


def draw_table(record: records.Record):
    """The table as the paper prints it."""
    return figure.draw_table(record, published.values()["table_1"])


def main(settings: Settings) -> None:
    """Embeds or reads, measures, records, draws."""
    start, device = time.perf_counter(), cli.resolve_device(settings.device)
    checks.check(settings, PRESETS[settings.preset])
    left_out: list[str] = []
    tasks, found = measure(settings, device, left_out)
    table = pd.concat([part.table for part in found], ignore_index=True)
    calibration = kept.calibration(tasks, table, settings, left_out)
    for line in left_out:
        cli.say(f"[{NAME}] left out: {line}")
    with files.publishing(settings.output) as folder:
        record = records.save(
            folder,
            NAME,
            tables(found, table),
            settings=settings,
            seconds=time.perf_counter() - start,
            device=device,
            dtype="float32 embeddings, float64 cosines",
            data=[{"name": task.dataset, **task.source} for task in tasks],
            comparisons=claims.compare(table, tasks, settings),
            left_out=left_out,
            results={"published_as": {task.dataset: task.published for task in tasks}},
            title="Table 1: zero-shot classification and retrieval against the modality gap",
            captions=CAPTIONS,
        )
        figures.use_style()
        figures.save(draw(record), folder, NAME)
        figures.save(draw_table(record), folder, f"{NAME}_table")
        if calibration is not None:
            interventions.save(settings.save_shift, calibration)
    report(table)
    cli.say(f"[{NAME}] wrote {settings.output}/{NAME}.png, .pdf, .csv, .json in {time.perf_counter() - start:.1f} s")


def measure(settings: Settings, device: str, left_out: list[str]) -> tuple[list[Prepared], list[evaluation.Evaluated]]:
    """The tasks and what each gives; what cannot be had is named in ``left_out``.

    Raises:
        UserError: none could be had, or data that cannot be used.
    """
    shifts = cli.shift_grid(settings.shift_step)
    protocol = evaluation.Protocol(shifts, settings.side, settings.seed, settings.resamples, settings.permutations)
    tasks, found = [], []
    collected = sources.collect(settings, device, left_out)
    for task in tqdm(collected, desc=NAME, unit="task", leave=False, delay=1):
        found.append(evaluation.evaluate(task, protocol))
        tasks.append(task)
    if not found:
        raise UserError(f"no task could be had: {left_out[0]}")
    return tasks, found


def tables(found: Sequence[evaluation.Evaluated], table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables of the record; ``table`` is that of all tasks."""
    curves = pd.concat([part.curves for part in found], ignore_index=True)
    gaps = pd.DataFrame([part.gaps for part in found])
    counted = published_gains.table()
    kinds = {"counts": counted["metric"] != "ROC-AUC", "areas": counted["metric"] == "ROC-AUC"}
    of_counts = {what: counted.loc[rows, FROM_COUNTS[what]] for what, rows in kinds.items()}
    ours = {"": curves, "table": table, "summary": evaluation.summary(table), "gaps": gaps}
    return ours | {"published": counted, **of_counts}


def report(table: pd.DataFrame) -> None:
    """One line for each task and metric on the terminal."""
    mine = table[(table["side"] == figure.main_side(table)) & (table["gap_direction"] == "task")]
    for (dataset, metric), rows in mine.groupby(["dataset", "metric"], sort=False):
        test, held = (rows[rows["selection"] == name].iloc[0] for name in ("test", "held_out"))
        best = f"best shift {test['shift']:+g}: {test['modified']:.4f} (p = {test['p_value_scaled']:.2g})"
        other = f"held out {held['modified']:.4f} (p = {held['p_value']:.2g})"
        cli.say(f"[{NAME}] {dataset}, {metric}: {test['default']:.4f}; {best}; {other}")


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(PRESETS, __doc__)))
