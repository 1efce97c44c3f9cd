"""The shift that is best on all items of a task, as a calibration to keep in a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import pandas as pd

import evaluation
from prepared import Prepared
from util import cli, interventions
from util.errors import UserError
from util.geometry import Side


class Options(Protocol):
    """What is read of a script's settings."""

    save_shift: Path | None
    save_task: str | None
    save_direction: Literal["task", "captions"]
    side: Sequence[Side]
    shift_step: float
    seed: int


def calibration(
    tasks: Sequence[Prepared], table: pd.DataFrame, options: Options, left_out: list[str]
) -> interventions.Shift | None:
    """What ``--save-shift`` asks for; None where it is not asked for, or cannot be had for want of a network.

    Args:
        tasks: what was measured.
        table: rows of ``zero_shot_table.csv``.
        options: which task and direction.
        left_out: receives a line where it cannot be had.
    """
    if options.save_shift is None:
        return None
    wanted = [task for task in tasks if task.key == (options.save_task or tasks[0].key)]
    if not wanted:
        left_out.append(f"--save-shift: task {options.save_task} could not be had")
        return None
    if options.save_direction == "captions" and wanted[0].captions is None:
        left_out.append("--save-shift: the caption corpus of --save-direction captions could not be had")
        return None
    return chosen_shift(wanted[0], table, options)


def chosen_shift(task: Prepared, table: pd.DataFrame, options: Options) -> interventions.Shift:
    """The shift that is best on all items of a task, fitted on them, with what it came from and what it is worth.

    Raises:
        UserError: no caption corpus to take a gap vector from.
    """
    if options.save_direction == "captions" and task.captions is None:
        raise UserError("--save-direction captions: there is no caption corpus here to take a gap vector from")
    metric = evaluation.HEADLINES[task.metric][0]
    rows = table[(table["dataset"] == task.dataset) & (table["metric"] == metric) & (table["side"] == options.side[0])]
    rows = rows[rows["gap_direction"] == options.save_direction].set_index("selection")
    test, held, shifts = rows.loc["test"], rows.loc["held_out"], len(cli.shift_grid(options.shift_step))
    about = {
        "model": task.model,
        "data": {key: value for key, value in task.source.items() if key != "prompts"},
        "caption_rule": task.source.get("caption_rule", "one text for each class, from its prompts"),
        "selection": f"best of {shifts} shifts for {metric} on all {test['n']} items",
        "gap_direction": options.save_direction,
        "default": test["default"],
        "modified": test["modified"],
        "p_value": test["p_value"],
        "p_value_scaled": test["p_value_scaled"],
        "held_out": {key: held[key] for key in ("modified", "gain", "gain_low", "gain_high", "p_value")},
        "seed": options.seed,
    }
    direction = task.captions if options.save_direction == "captions" else None
    amount, side = float(test["shift"]), options.side[0]
    return interventions.Shift.fit(task.images, task.texts, amount, direction, side, about)
