"""A task at every shift: the curves that the figure shows and the chosen shifts that the table lists.

Every task is measured along the gap vector of its own images and prompts, two-sided and image-only. Where there is a
caption corpus, it is also measured along that of the corpus. A shift and a direction that one random half chose are
judged on the other: both ways for the first split, whose halves have curves of their own, and one way for further ones.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from .. import cli
from ..errors import UserError
from ..geometry import Side, signed_gap_distances, unit_gap_vector
from ..numerics import items
from . import selection, shifted
from .outcomes import Hits, Margins, Outcomes
from .task import TWO, EmbeddedTask

ALL = "all"
CLASS = "accuracy of class"

CURVE_COLUMNS = (
    "dataset", "metric", "gap_direction", "split", "shift", "signed_gap_distance", "value", "model", "side",
    "value_low", "value_high", "n",
)  # fmt: skip
TABLE_COLUMNS = (
    "dataset", "metric", "gap_direction", "selection", "default", "modified", "ci_low", "ci_high", "p_value", "shift",
    "direction", "model", "side", "group", "n", "chance", "default_low", "default_high", "gain", "gain_low",
    "gain_high", "discordant", "shift_first_half", "shift_second_half", "splits", "halves_that_chose",
)  # fmt: skip


class Sweep(NamedTuple):
    """What a task's items do at every shift."""

    outcomes: Mapping[str, Outcomes]
    others: Mapping[str, tuple[Float[np.ndarray, "k"], int]]
    """Metrics that no shift is chosen by, and how many items each is of."""


def evaluate(task: EmbeddedTask, settings) -> dict[str, pd.DataFrame]:
    """Every metric of a task at every shift, along every direction and from every side, and the shifts chosen.

    ``settings`` has the options side, shift_step, splits, resamples, permutations, seed and per_class, as zero_shot.py
    and ``modality-gap evaluate`` explain them. Rows of ``zero_shot.csv`` are under "", those of ``zero_shot_table.csv``
    under "table".
    """
    curves, table = [], []
    try:
        task = wide(task)
        for direction in ("task",) if task.caption_gap is None else ("task", "captions"):
            for side in settings.side:
                about = {"dataset": task.dataset, "gap_direction": direction, "model": task.model, "side": side}
                found = _measured(task, direction, side, settings)
                curves += [pd.DataFrame({**about, **curve}) for curve in found[0]]
                table += [{**about, **row} for row in found[1]]
    except UserError as error:
        raise UserError(f"{task.dataset}: {error}") from error
    curves = pd.concat(curves, ignore_index=True)
    return {"": curves[list(CURVE_COLUMNS)], "table": pd.DataFrame(table)[list(TABLE_COLUMNS)]}


def wide(task: EmbeddedTask) -> EmbeddedTask:
    """The task in float64, converted once."""
    return replace(task, images=task.images.astype(np.float64), texts=task.texts.astype(np.float64))


def sweep(task: EmbeddedTask, shifts: Float[np.ndarray, "k"], direction: Float[np.ndarray, "d"], side: Side) -> Sweep:
    """Outcomes by metric after every shift, of images, but texts for text-to-image recall; and further metrics."""
    given, how = (task.images, task.texts), (shifts, direction, side)
    if task.is_retrieval:
        ways = zip(task.ways, shifted.retrieve(*given, task.labels, *how), task.groups, strict=True)
        return Sweep({f"{way} recall@{k}": Hits(of < k, groups) for way, of, groups in ways for k in (1, 5, 10)}, {})
    labels, groups, n, outcomes, others = task.labels, task.groups[0], len(task.images), {}, {}
    if task.metric != "ROC-AUC":
        ranks, classes = shifted.class_ranks(*given, labels, *how), len(task.texts)
        outcomes = {f"top-{k}": Hits(ranks < k, groups) for k in (1, 5) if k == 1 or classes > k}
        order = np.argsort(labels, kind="stable")
        there, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
        recalls = np.add.reduceat(ranks[:, order] < 1, starts, axis=1, dtype=np.int64) / counts
        others = {"mean per-class recall": (recalls.mean(1), n)}
        for number, recall, count in zip(there, recalls.T, counts.tolist(), strict=True):
            others[f"{CLASS} {task.class_name(number)}"] = recall, count
    if task.metric in ("ROC-AUC", TWO):
        margins = np.stack([each[:, 1] - each[:, 0] for each in shifted.scores(*given, *how)])
        outcomes["ROC-AUC"] = Margins(margins, groups, labels)
    return Sweep(outcomes, others)


def notes(task: EmbeddedTask) -> list[str]:
    """What whoever reads the numbers of a task should know."""
    copies = [] if task.is_retrieval else items.copies_said({task.modalities[0]: task.images})
    others = [note for note in task.source.get("notes", ()) if not copies or not note.endswith(tuple(copies))]
    said = "all count, and copies together in intervals and p-values"
    return [*others, *(f"{task.dataset}: {each}; {said}" for each in copies)]


def main_side(sides: Iterable[str]) -> str:
    """The side that pictures and comparisons show: both modalities moved where that was measured, or the first one."""
    sides = list(sides)
    return "both" if "both" in sides else sides[0]


def _measured(task: EmbeddedTask, direction: str, side: Side, settings) -> tuple[list[dict], list[dict]]:
    """Curves and table along one direction: of all items, both halves of a split, one of each further split."""
    shifts, everyone = cli.shift_grid(settings.shift_step), np.unique(task.groups[0])
    draws = settings.seed, settings.resamples, settings.permutations
    gaps, swept = _along(task, everyone, direction, side, shifts)
    same = {"split": ALL, "shift": shifts, "signed_gap_distance": gaps}
    curves = _curves(swept.outcomes, everyone, settings, same)
    for metric, (values, n) in swept.others.items():
        if settings.per_class or not metric.startswith(CLASS):
            limits = {"value_low": np.nan, "value_high": np.nan}
            curves.append({**same, "metric": metric, "value": values, **limits, "n": n})
    tested = {metric: [] for metric in task.headlines}
    papers = direction == "task" and side == main_side(settings.side)
    for number in range(settings.splits if papers else 1):
        one, other = _halves(task, settings.seed, number)
        ways = zip(("first half", "second half"), (one, other), (other, one), strict=True)
        for name, mine, others in islice(ways, 1 if number else 2):
            of_half, half = _along(task, mine, direction, side, shifts, swept)
            found = {metric: half.outcomes[metric] for metric in task.headlines}
            if number == 0:
                same = {"split": name, "shift": shifts, "signed_gap_distance": of_half}
                curves += _curves(found, mine, settings, same)
            for metric, outcomes in found.items():
                both = (outcomes.of_groups(part) for part in (mine, others))
                tested[metric].append(selection.cross_tested(*both, shifts, of_half, *draws))
    rows = []
    for metric, halves in tested.items():
        test = selection.on_test(swept.outcomes[metric], shifts, gaps, *draws)
        held = selection.held_out(test, halves)
        more = dict(zip(("shift_first_half", "shift_second_half"), held.shifts, strict=False))
        more |= {"splits": len(halves) - 1, "halves_that_chose": held.shifts.count(held.shift)}
        same = {"metric": metric, "group": task.group, "chance": task.chance(metric)}
        rows += [{**vars(test), **same, "selection": "test"}, {**vars(held), **same, **more, "selection": "held_out"}]
    return curves, rows


def _halves(task: EmbeddedTask, seed: int, number: int = 0) -> tuple[Int[np.ndarray, "a"], Int[np.ndarray, "b"]]:
    """The groups of two random halves; every class is as even as it can be."""
    groups = task.groups[0]
    strata = None if task.is_retrieval else task.labels[np.unique(groups, return_index=True)[1]]
    return selection.halves(int(groups.max()) + 1, strata, seed, number)


def _along(
    task: EmbeddedTask, groups: np.ndarray, direction: str, side: Side, shifts: np.ndarray, of_all: Sweep | None = None
) -> tuple[Float[np.ndarray, "k"], Sweep]:
    """All items at every shift along the gap vector of some groups alone, and what the shifts do to the gap of these.

    The captions' vector is the same for any groups, and so is its sweep, ``of_all``.
    """
    images, texts = task.images[np.isin(task.groups[0], groups)], task.texts
    texts = texts[np.isin(task.groups[1], groups)] if task.is_retrieval else texts
    own = unit_gap_vector(images, texts)
    along = own if direction == "task" else task.caption_gap
    gaps = signed_gap_distances(images, texts, shifts, along, side, sign_by=own)
    return gaps, of_all if of_all and direction == "captions" else sweep(task, shifts, along, side)


def _curves(outcomes: Mapping[str, Outcomes], groups: np.ndarray, settings, same: Mapping) -> list[dict]:
    """Columns of every metric of the items of some groups, and the ``same`` for all metrics."""
    curves = []
    for metric, found in outcomes.items():
        mine = found.of_groups(groups)
        limits = dict(zip(("value_low", "value_high"), mine.limits(settings.resamples, settings.seed), strict=True))
        curves.append({**same, "metric": metric, "value": mine.values(), **limits, "n": mine.n})
    return curves
