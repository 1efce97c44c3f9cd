"""Table 1 beside the paper: the published rows, and the claim that a shift improves a task."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import pandas as pd

import published_gains
import zero_shot_figure as figure
from prepared import Prepared
from util import cli, published
from util.corpora import tasks as declared_tasks
from util.numerics.statistics import holm
from util.records import Comparison

PAPER_MODEL = "ViT-B-16:openai"
AGREES = 0.005
"""How far our default may be from the published one and still agree."""
ALPHA = 0.05


class Options(Protocol):
    """What is read of a script's settings."""

    model: str
    tasks_file: object
    n: int | None
    class_names: str | None
    shift_step: float


def compare(table: pd.DataFrame, tasks: Sequence[Prepared], options: Options) -> list[Comparison]:
    """The published rows beside ours, and the claim that a shift helps beside what held-out data say.

    Args:
        table: rows of ``zero_shot_table.csv``.
        tasks: what they were measured on.
        options: of the run.
    """
    side = figure.main_side(table)
    mine = table[(table["side"] == side) & (table["gap_direction"] == "task")]
    ran = {task.published: task for task in tasks if task.published}
    rows = []
    for row in published.values()["table_1"]["rows"]:
        task = ran.get(row["dataset"])
        rows += [absent(row)] if task is None else beside(row, task, mine, options)
    held, test = (mine[mine["selection"] == name] for name in ("held_out", "test"))
    adjusted = holm(held["p_value"].to_numpy())
    return rows + [claim(*each) for each in zip(held.itertuples(), test.itertuples(), adjusted, strict=True)]


def absent(row: Mapping) -> Comparison:
    """A published row whose data set was not measured."""
    both = f"{row['default']:.4f}, best shift {row['modified']:.4f} ({row['direction']})"
    return Comparison("Table 1", f"{row['dataset']}, {row['metric']}", both, "not run here", "-")


def beside(row: Mapping, task: Prepared, table: pd.DataFrame, options: Options) -> list[Comparison]:
    """A published row beside ours on the same data set: without a shift, and at the best one on the test data."""
    found = table[(table["dataset"] == task.dataset) & (table["selection"] == "test")].iloc[0]
    on = f"{task.dataset}, {task.model}, n = {found['n']:,}"
    rows = []
    for name, interval in (("default", "default"), ("modified", "ci")):
        differs = difference(task, found, options, name)
        low, high = (float(found[f"{interval}_{end}"]) for end in ("low", "high"))
        off = found[name] - row[name]
        agrees = None if differs else bool(abs(off) < AGREES)
        note = differs or f"{off:+.4f}"
        if name == "modified":
            note += f"; best shift {found['shift']:+.2f}, gap {found['direction']} (published: {row['direction']})"
        quantity = f"{row['dataset']}, {row['metric']}, {name}"
        rows.append(Comparison("Table 1", quantity, row[name], float(found[name]), on, agrees, note, low, high))
    return rows


def difference(task: Prepared, found: Mapping, options: Options, what: str) -> str:
    """In what a measured row differs from the published one, so that the two need not agree; "" where in nothing.

    Args:
        task: what was measured.
        found: its row of the table.
        options: of the run.
        what: "default", or "modified", which the shifts and the sides shape as well.
    """
    shipped = declared_tasks.read().get(task.key)
    shifts = cli.shift_grid(options.shift_step)
    reasons = {
        "another model": options.model != PAPER_MODEL,
        "a task of one's own": options.tasks_file is not None or shipped is None,
        "other prompts": options.class_names is not None,
        "part of the data": options.n is not None or (shipped is not None and found["n"] != shipped.items),
        "other shifts": what == "modified" and not np.array_equal(shifts, published_gains.SHIFTS),
        "images moved alone": what == "modified" and found["side"] != "both",
    }
    return ", ".join(reason for reason, holds in reasons.items() if holds)


def claim(held, test, adjusted: float) -> Comparison:
    """Whether a shift chosen on other data improves a metric; the p-value is adjusted for the number of claims."""
    agrees = bool(held.gain > 0 and adjusted < ALPHA)
    note = f"p = {held.p_value:.3g}, adjusted for all rows (Holm) {adjusted:.3g}; "
    note += f"chosen on the test data {test.gain:+.4f}, p = {test.p_value_scaled:.3g}"
    quantity = f"gain in {held.metric}, shift chosen on held-out halves"
    on = f"{held.dataset}, {held.model}, n = {held.n:,}"
    interval = float(held.gain_low), float(held.gain_high)
    return Comparison("Table 1", quantity, "a shift improves it", float(held.gain), on, agrees, note, *interval)
