"""A task at every shift: the curves that the figure shows and the chosen shifts that the table lists.

Every task is measured along the gap vector of its own images and prompts, two-sided and image-only. Where there is a
caption corpus, it is also measured along that of the corpus. A shift and a direction that one random half chose are
judged on the other: both ways for the first split, whose halves have curves of their own, and one way for further ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from .. import cli
from ..errors import UserError
from ..geometry import Side, gap_distance, signed_gap_distances, unit_gap_vector
from . import metrics, selection, shifted
from .outcomes import Hits, Margins, Outcomes, Shares
from .reach import COLUMNS, reach
from .resampling import paired_p_value
from .task import SEVERAL, TWO, EmbeddedTask

ALL = "all"
SPLITS = (ALL, "first half", "second half")
RECALLS = (1, 5, 10)
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
    "gain_high", "discordant", "shift_first_half", "shift_second_half", "p_value_scaled", "splits", "halves_that_chose",
)  # fmt: skip


class Settings(Protocol):
    """The options that ``evaluate`` reads: of zero_shot.py, and of modality-gap evaluate."""

    side: tuple[Side, ...]
    shift_step: float
    splits: int
    resamples: int
    permutations: int
    seed: int


class Sweep(NamedTuple):
    """What a task's items do at every shift: the outcomes of each metric, and metrics that no shift is chosen by."""

    outcomes: Mapping[str, Outcomes]
    others: Mapping[str, Float[np.ndarray, "k"]]


class Split(NamedTuple):
    """All items at every shift along the direction of some images, and what the shifts do to the gap of these."""

    name: str
    rows: Int[np.ndarray, "r"]
    gaps: Float[np.ndarray, "k"]
    swept: Sweep


def evaluate(task: EmbeddedTask, settings: Settings) -> dict[str, pd.DataFrame]:
    """Every metric of a task at every shift, along every direction and from every side, and the shifts chosen.

    Rows of ``zero_shot.csv`` are under "", those of ``zero_shot_table.csv`` under "table", and so on.
    """
    curves, table, reached = [], [], []
    try:
        task = replace(task, images=task.images.astype(np.float64), texts=task.texts.astype(np.float64))  # wide once
        for direction in ("task",) if task.caption_gap is None else ("task", "captions"):
            for side in settings.side:
                about = {"dataset": task.dataset, "gap_direction": direction, "model": task.model, "side": side}
                found = _measured(task, direction, side, settings)
                curves += [{**about, **curve} for curve in found[0]]
                table += [{**about, **row} for row in found[1]]
                reached += found[2]
    except UserError as error:
        raise UserError(f"{task.dataset}: {error}") from error
    curves = pd.concat([pd.DataFrame(curve) for curve in curves], ignore_index=True)
    more = {"gaps": pd.DataFrame([gaps_of(task)]), "reach": pd.DataFrame(reached, columns=COLUMNS)}
    return {"": curves[list(CURVE_COLUMNS)], "table": pd.DataFrame(table)[list(TABLE_COLUMNS)], **more}


def sweep(
    task: EmbeddedTask, shifts: Float[np.ndarray, "k"], direction: Float[np.ndarray, "d"] | None, side: Side
) -> Sweep:
    """Outcomes by metric after every shift, of images, but texts for text-to-image recall; and further metrics."""
    given, how = (task.images, task.texts), (shifts, direction, side)
    if task.metric == SEVERAL:
        found = [(metrics.ranking_precision(each, task.labels), metrics.mean_average_precision(each, task.labels))
                 for each in shifted.scores(*given, *how)]  # fmt: skip
        by_item, by_class = zip(*found, strict=True)
        return Sweep({"LRAP": Shares(np.stack(by_item))}, {"mAP": np.array(by_class)})
    if task.is_retrieval:
        ranks = shifted.retrieve(*given, task.labels, *how)
        together = (None if len(np.unique(each)) == len(each) else each for each in task.groups)
        ways = zip(task.ways, ranks, together, strict=True)
        return Sweep({f"{way} recall@{k}": Hits(of < k, groups) for way, of, groups in ways for k in RECALLS}, {})
    outcomes, others = {}, {}
    if task.metric != "ROC-AUC":
        found, classes = shifted.classify(*given, task.labels, *how), len(task.texts)
        outcomes = {f"top-{k}": Hits(found.ranks < k) for k in (1, 5) if k == 1 or classes > k}
        others = {"mean per-class recall": metrics.mean_per_class_recall(found.predicted, task.labels, classes)}
    if task.metric in ("ROC-AUC", TWO):
        margins = np.stack([each[:, 1] - each[:, 0] for each in shifted.scores(*given, *how)])
        outcomes["ROC-AUC"] = Margins(margins, task.labels)
    return Sweep(outcomes, others)


def by_class(task: EmbeddedTask, shifts: Float[np.ndarray, "k"], side: Side) -> pd.DataFrame:
    """Accuracy within each class at every shift along the task's own gap vector, as rows of a curve.

    The metrics are called ``CLASS`` and the name or number of the class; a class that no item has is left out.
    """
    predicted = shifted.predict(task.images, task.texts, shifts, None, side)
    accuracy = metrics.per_class_recall(predicted, task.labels, len(task.texts))
    gaps = signed_gap_distances(task.images, task.texts, shifts, None, side)
    about = {"dataset": task.dataset, "gap_direction": "task", "model": task.model, "side": side, "split": ALL}
    rows = []
    for number, count in enumerate(np.bincount(task.labels, minlength=len(task.texts))):
        name = task.classes[number] if task.classes else number
        curve = {"metric": f"{CLASS} {name}", "shift": shifts, "signed_gap_distance": gaps, "n": int(count)}
        rows += [pd.DataFrame({**about, **curve, "value": accuracy[:, number]})] if count else []
    return pd.concat(rows).reindex(columns=CURVE_COLUMNS)


def card(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row for each metric of ``evaluate``, by the paper's protocol: without a shift, and how a shift was chosen.

    Columns of the choice are NaN for metrics that no shift is chosen by.
    """
    curves, table = (shown(found[name]) for name in ("", "table"))
    rows = curves[(curves["split"] == ALL) & (curves["shift"] == 0)].set_index("metric")
    test, held = (table[table["selection"] == way].set_index("metric") for way in ("test", "held_out"))
    at_best = curves[curves["split"] == ALL].set_index(["metric", "shift"])["signed_gap_distance"]
    best = {name: at_best.get((name, shift)) for name, shift in test["shift"].items()}
    rows = rows.rename(columns={"signed_gap_distance": "gap_distance"})
    rows = rows[["dataset", "n", "value", "value_low", "value_high", "gap_distance", "model", "side"]]
    chosen = {"best": test["modified"], "best_shift": test["shift"], "best_gap_distance": pd.Series(best, dtype=float)}
    chosen |= {"best_p": test["p_value_scaled"], "held_out_gain": held["gain"], "held_out_low": held["gain_low"]}
    chosen |= {"held_out_high": held["gain_high"], "held_out_p": held["p_value"]}
    return rows.join(pd.DataFrame(chosen)).reset_index()


def other_order(task: EmbeddedTask) -> str | None:
    """A warning where the classes look as if labels and texts had them in another order; nothing is changed.

    The order that fits the confusion matrix of one half best is held against the given one on the other half, both
    ways. None for retrieval, several labels, or more than 2,000 classes.
    """
    classes = len(task.texts)
    if task.is_retrieval or task.metric == SEVERAL or classes > 2000 or len(task.images) < 4:
        return None
    labels, (predicted,) = task.labels, shifted.predict(task.images, task.texts, [0.0])
    given, other = labels == predicted, np.empty(len(labels), bool)
    halves = selection.halves(len(labels), labels, 0)
    for mine, others in (halves, halves[::-1]):
        order = metrics.best_order(predicted[mine], labels[mine], classes)
        other[others] = order[labels[others]] == predicted[others]
    if other.mean() < given.mean() + BETTER_ORDER or paired_p_value(other.astype(int) - given) > SURE:
        return None
    return (
        f"{task.dataset}: the order of the classes looks permuted: top-1 is {given.mean():.4f} as given, and "
        f"{other.mean():.4f} in an order that other items chose; do labels and texts count the classes alike?"
    )


def gaps_of(task: EmbeddedTask) -> dict:
    """How far apart a task's images and prompts are, and how like the caption corpus' gap vector theirs is."""
    own = unit_gap_vector(task.images, task.texts)
    corpus = np.full(len(own), np.nan) if task.caption_gap is None else task.caption_gap
    length = float(np.linalg.norm(corpus))
    (n, dim), distance = task.images.shape, gap_distance(task.images, task.texts)
    about = {"dataset": task.dataset, "model": task.model, "n": n, "n_texts": len(task.texts), "dim": dim}
    return {**about, "task_gap": distance, "captions_gap": length, "cosine_of_directions": float(own @ corpus / length)}


def notes(task: EmbeddedTask) -> list[str]:
    """What whoever reads the numbers of a task should know."""
    warning = other_order(task)
    return [*task.source.get("notes", ()), *([warning] if warning else [])]


def main_side(table: pd.DataFrame) -> str:
    """The side that pictures and comparisons show: both modalities moved where that was measured, or the only one."""
    return "both" if (table["side"] == "both").any() else table["side"].iloc[0]


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the paper's protocol: along the task's own gap vector, from ``main_side``."""
    return table[(table["side"] == main_side(table)) & (table["gap_direction"] == "task")]


def chosen_both_ways(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The shown rows whose shift was chosen on the test data, and those held out, by dataset and metric."""
    mine = shown(table)
    test, held = (mine[mine["selection"] == name] for name in ("test", "held_out"))
    return test.set_index(["dataset", "metric"]), held.set_index(["dataset", "metric"])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each task and metric by the paper's protocol, with both ways of choosing."""
    test, held = chosen_both_ways(table)
    best = {"modified": "best_on_test", "direction": "gap", "p_value_scaled": "p_best"}
    other = {"modified": "held_out", "gain": "gain_held_out", "p_value": "p_held_out"}
    columns = ["held_out", "gain_held_out", "gain_low", "gain_high", "p_held_out"]
    test = test.rename(columns=best)[["n", "default", *best.values()]]
    return test.join(held.rename(columns=other)[columns]).reset_index()


def _measured(task: EmbeddedTask, direction: str, side: Side, settings: Settings) -> tuple[list[dict], ...]:
    """Curves, table and reach along one direction: of all items, both halves of a split, one of each further split."""
    alike = task.is_retrieval or task.metric == SEVERAL
    strata, shifts = None if alike else task.labels, cli.shift_grid(settings.shift_step)
    everything = _split(task, ALL, np.arange(len(task.images)), direction, side, shifts)
    curves, tested = list(_curves(task, everything, settings)), {metric: [] for metric in task.headlines}
    papers = direction == "task" and side == main_side(pd.DataFrame({"side": settings.side}))
    for number in range(settings.splits if papers else 1):
        halves = selection.halves(int(task.groups[0].max()) + 1, strata, settings.seed, number)
        one, other = (np.flatnonzero(np.isin(task.groups[0], half)) for half in halves)
        ways = zip(SPLITS[1:], (one, other), (other, one), strict=True)
        for name, rows, others in islice(ways, 1 if number else 2):
            half = _split(task, name, rows, direction, side, shifts, everything)
            curves += _curves(task, half, settings) if number == 0 else []
            for metric, found in tested.items():
                both = (_taken(task, half, metric, part) for part in (rows, others))
                found.append(selection.cross_tested(*both, shifts, half.gaps, settings.seed, settings.resamples))
    headline = {metric: everything.swept.outcomes[metric] for metric in tested}
    reached = reach(task, headline, shifts, side) if papers else []
    return curves, _choices(task, everything, tested, settings), reached


def _split(
    task: EmbeddedTask, name: str, rows: np.ndarray, direction: str, side: Side, shifts: np.ndarray, of: Split = None
) -> Split:
    """Every shift along the gap vector of some images alone; along the captions', the sweep is that of all images."""
    texts = task.texts[_texts_of(task, rows)] if task.is_retrieval else task.texts
    own = unit_gap_vector(task.images[rows], texts)
    along = own if direction == "task" else task.caption_gap
    gaps = signed_gap_distances(task.images[rows], texts, shifts, along, side, sign_by=own)
    if of and direction == "captions":
        return Split(name, rows, gaps, of.swept)
    return Split(name, rows, gaps, sweep(task, shifts, along, side))


def _taken(task: EmbeddedTask, split: Split, metric: str, rows: Int[np.ndarray, "r"]) -> Outcomes:
    """The outcomes of those items of a metric that belong to some images."""
    of_texts = task.is_retrieval and metric.startswith(task.ways[1])
    return split.swept.outcomes[metric].take(_texts_of(task, rows) if of_texts else rows)


def _texts_of(task: EmbeddedTask, rows: Int[np.ndarray, "r"]) -> Int[np.ndarray, "t"]:
    """The texts that belong to some images."""
    return np.flatnonzero(np.isin(task.groups[1], task.groups[0][rows]))


def _curves(task: EmbeddedTask, split: Split, settings: Settings) -> Iterator[dict]:
    """Columns of every metric of all items, or of the headline ones of a half."""
    same = {"split": split.name, "shift": cli.shift_grid(settings.shift_step), "signed_gap_distance": split.gaps}
    for metric in split.swept.outcomes if split.name == ALL else task.headlines:
        mine = _taken(task, split, metric, split.rows)
        low, high = mine.limits(settings.resamples, settings.seed)
        yield {**same, "metric": metric, "value": mine.values(), "value_low": low, "value_high": high, "n": mine.n}
    for metric, values in split.swept.others.items() if split.name == ALL else ():
        yield {**same, "metric": metric, "value": values, "n": len(split.rows)}


def _choices(task: EmbeddedTask, everything: Split, tested: Mapping, settings: Settings) -> list[dict]:
    """The shift chosen on all items, and on halves for the other halves."""
    rows, shifts, draws = [], cli.shift_grid(settings.shift_step), (settings.seed, settings.resamples)
    for metric, halves in tested.items():
        whole = everything.swept.outcomes[metric]
        test = selection.on_test(whole, shifts, everything.gaps, *draws, settings.permutations)
        held = selection.held_out(test, halves)
        more = dict(zip(("shift_first_half", "shift_second_half"), held.shifts, strict=False))
        more |= {"splits": len(halves) - 1, "halves_that_chose": held.shifts.count(held.shift)}
        same = {"metric": metric, "group": task.group, "chance": task.chance(metric)}
        rows += [{**vars(test), **same, "selection": "test"}, {**vars(held), **same, **more, "selection": "held_out"}]
    return rows
