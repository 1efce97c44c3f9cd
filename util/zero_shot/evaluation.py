"""A task at every shift: the curves that the figure shows and the chosen shifts that the table lists.

Every task is measured along the gap vector of its own images and prompts, two-sided and image-only. Where there is a
caption corpus, it is also measured along that of the corpus. A shift and a direction that one random half chose are
judged on the other: both ways for the first split, whose halves have curves of their own, and one way for further ones.
"""

from collections.abc import Iterable, Iterator, Mapping
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
from . import metrics, selection, shifted
from .outcomes import Hits, Margins, Outcomes, Shares
from .resampling import paired_p_value
from .task import SEVERAL, TWO, EmbeddedTask

ALL = "all"
SPLITS = (ALL, "first half", "second half")
CLASS = "accuracy of class"
BETTER_ORDER, SURE = 0.1, 0.001
"""Another order of the classes is said where it gains so much accuracy on items that did not choose it, at this p."""

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


class Split(NamedTuple):
    """All items at every shift along the direction of some images, and what the shifts do to the gap of these."""

    name: str
    groups: Int[np.ndarray, "g"]
    """Of the items that the direction is of."""
    gaps: Float[np.ndarray, "k"]
    swept: Sweep


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


def sweep(
    task: EmbeddedTask, shifts: Float[np.ndarray, "k"], direction: Float[np.ndarray, "d"] | None, side: Side
) -> Sweep:
    """Outcomes by metric after every shift, of images, but texts for text-to-image recall; and further metrics."""
    given, how = (task.images, task.texts), (shifts, direction, side)
    if task.is_retrieval:
        ways = zip(task.ways, shifted.retrieve(*given, task.labels, *how), task.groups, strict=True)
        return Sweep({f"{way} recall@{k}": Hits(of < k, groups) for way, of, groups in ways for k in (1, 5, 10)}, {})
    labels, groups, n, outcomes, others = task.labels, task.groups[0], len(task.images), {}, {}
    if task.metric == SEVERAL:
        found = [(metrics.ranking_precision(each, labels), metrics.mean_average_precision(each, labels))
                 for each in shifted.scores(*given, *how)]  # fmt: skip
        by_item, by_class = zip(*found, strict=True)
        return Sweep({"LRAP": Shares(np.stack(by_item), groups)}, {"mAP": (np.array(by_class), n)})
    if task.metric != "ROC-AUC":
        ranks, classes = shifted.class_ranks(*given, labels, *how), len(task.texts)
        outcomes = {f"top-{k}": Hits(ranks < k, groups) for k in (1, 5) if k == 1 or classes > k}
        recalls, counts = metrics.per_class_recall(ranks < 1, labels, classes), np.bincount(labels, minlength=classes)
        others = {"mean per-class recall": (np.nanmean(recalls, axis=1), n)}
        others |= {f"{CLASS} {task.class_name(c)}": (recalls[:, c], int(counts[c])) for c in np.flatnonzero(counts)}
    if task.metric in ("ROC-AUC", TWO):
        margins = np.stack([each[:, 1] - each[:, 0] for each in shifted.scores(*given, *how)])
        outcomes["ROC-AUC"] = Margins(margins, groups, labels)
    return Sweep(outcomes, others)


def other_order(task: EmbeddedTask) -> str | None:
    """A warning where the classes look as if labels and texts had them in another order; nothing is changed.

    The order that fits the confusion matrix of one half best is held against the given one on the other half, both
    ways. None for retrieval, several labels, or more than 2,000 classes.
    """
    classes = len(task.texts)
    if task.is_retrieval or task.metric == SEVERAL or classes > 2000 or task.groups[0].max() < 3:
        return None
    labels, (predicted,) = task.labels, shifted.predict(task.images, task.texts, [0.0])
    right = np.stack([labels == predicted, np.empty(len(labels), bool)])
    halves = [np.isin(task.groups[0], half) for half in _halves(task, 0)]
    for mine, others in (halves, halves[::-1]):
        order = metrics.best_order(predicted[mine], labels[mine], classes)
        right[1, others] = order[labels[others]] == predicted[others]
    given, other = right.mean(1)
    changes = Hits(right, task.groups[0]).contributions(0)[:, 1]
    if other - given < BETTER_ORDER or paired_p_value(changes) > SURE:
        return None
    return (
        f"{task.dataset}: the order of the classes looks permuted: top-1 is {given:.4f} as given, and {other:.4f} in "
        "an order that other items chose; do labels and texts count the classes alike?"
    )


def notes(task: EmbeddedTask) -> list[str]:
    """What whoever reads the numbers of a task should know."""
    copies = [] if task.is_retrieval else items.copies_said({task.modalities[0]: task.images})
    others = [note for note in task.source.get("notes", ()) if not copies or not note.endswith(tuple(copies))]
    copies = [f"{task.dataset}: {said}; all count, and copies together in intervals and p-values" for said in copies]
    warning = other_order(task)
    return [*others, *copies, *([warning] if warning else [])]


def main_side(sides: Iterable[str]) -> str:
    """The side that pictures and comparisons show: both modalities moved where that was measured, or the first one."""
    sides = list(sides)
    return "both" if "both" in sides else sides[0]


def _measured(task: EmbeddedTask, direction: str, side: Side, settings) -> tuple[list[dict], ...]:
    """Curves and table along one direction: of all items, both halves of a split, one of each further split."""
    shifts = cli.shift_grid(settings.shift_step)
    everything = _split(task, ALL, np.unique(task.groups[0]), direction, side, shifts)
    curves, tested = list(_curves(task, everything, shifts, settings)), {metric: [] for metric in task.headlines}
    draws = settings.seed, settings.resamples, settings.permutations
    papers = direction == "task" and side == main_side(settings.side)
    for number in range(settings.splits if papers else 1):
        one, other = _halves(task, settings.seed, number)
        ways = zip(SPLITS[1:], (one, other), (other, one), strict=True)
        for name, mine, others in islice(ways, 1 if number else 2):
            half = _split(task, name, mine, direction, side, shifts, everything)
            curves += _curves(task, half, shifts, settings) if number == 0 else []
            for metric, found in tested.items():
                both = (half.swept.outcomes[metric].of_groups(part) for part in (mine, others))
                found.append(selection.cross_tested(*both, shifts, half.gaps, *draws))
    return curves, _choices(task, everything, tested, shifts, draws)


def _halves(task: EmbeddedTask, seed: int, number: int = 0) -> tuple[Int[np.ndarray, "a"], Int[np.ndarray, "b"]]:
    """The groups of two random halves; every class is as even as it can be."""
    groups, several = task.groups[0], task.is_retrieval or task.metric == SEVERAL
    strata = None if several else task.labels[np.unique(groups, return_index=True)[1]]
    return selection.halves(int(groups.max()) + 1, strata, seed, number)


def _split(
    task: EmbeddedTask, name: str, groups: np.ndarray, direction: str, side: Side, shifts: np.ndarray, of: Split = None
) -> Split:
    """Every shift along the gap vector of some items alone; along the captions', the sweep is that of all items."""
    images, texts = task.images[np.isin(task.groups[0], groups)], task.texts
    texts = texts[np.isin(task.groups[1], groups)] if task.is_retrieval else texts
    own = unit_gap_vector(images, texts)
    along = own if direction == "task" else task.caption_gap
    gaps = signed_gap_distances(images, texts, shifts, along, side, sign_by=own)
    swept = of.swept if of and direction == "captions" else sweep(task, shifts, along, side)
    return Split(name, groups, gaps, swept)


def _curves(task: EmbeddedTask, split: Split, shifts: np.ndarray, settings) -> Iterator[dict]:
    """Columns of every metric of all items, or of the headline ones of a half."""
    same = {"split": split.name, "shift": shifts, "signed_gap_distance": split.gaps}
    for metric in split.swept.outcomes if split.name == ALL else task.headlines:
        mine = split.swept.outcomes[metric].of_groups(split.groups)
        low, high = mine.limits(settings.resamples, settings.seed)
        yield {**same, "metric": metric, "value": mine.values(), "value_low": low, "value_high": high, "n": mine.n}
    for metric, (values, n) in split.swept.others.items() if split.name == ALL else ():
        if settings.per_class or not metric.startswith(CLASS):
            yield {**same, "metric": metric, "value": values, "value_low": np.nan, "value_high": np.nan, "n": n}


def _choices(task: EmbeddedTask, everything: Split, tested: Mapping, shifts: np.ndarray, draws) -> list[dict]:
    """The shift chosen on all items, and on halves for the other halves."""
    rows = []
    for metric, halves in tested.items():
        whole = everything.swept.outcomes[metric]
        test = selection.on_test(whole, shifts, everything.gaps, *draws)
        held = selection.held_out(test, halves)
        more = dict(zip(("shift_first_half", "shift_second_half"), held.shifts, strict=False))
        more |= {"splits": len(halves) - 1, "halves_that_chose": held.shifts.count(held.shift)}
        same = {"metric": metric, "group": task.group, "chance": task.chance(metric)}
        rows += [{**vars(test), **same, "selection": "test"}, {**vars(held), **same, **more, "selection": "held_out"}]
    return rows
