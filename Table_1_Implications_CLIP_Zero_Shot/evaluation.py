"""A task at every shift: the curves that the figure shows and the chosen shifts that the table lists.

Every task is measured along the gap vector of its own images and prompts, two-sided and image-only. Where there is a
caption corpus, it is also measured along that of the corpus. A shift and a direction that one random half chose are
judged on the other: both ways for the first split, whose halves have curves of their own, and one way for further ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from embedded_tasks import EmbeddedTask
from reach import reach
from util import UserError, cli
from util.geometry import Side, gap_distance, signed_gap_distances, unit_gap_vector
from util.zero_shot import metrics, selection, shifted
from util.zero_shot.outcomes import Hits, Margins, Outcomes

ALL = "all"
SPLITS = (ALL, "first half", "second half")
RECALLS = (1, 5, 10)
IMAGE_TO_TEXT, TEXT_TO_IMAGE = "image-to-text", "text-to-image"
HEADLINES = {
    "top-1": ("top-1",),
    "ROC-AUC": ("ROC-AUC",),
    "retrieval": (f"{IMAGE_TO_TEXT} recall@1", f"{TEXT_TO_IMAGE} recall@1"),
}
"""The metrics that a shift is chosen by, for each kind of task."""

CURVE_COLUMNS = (
    "dataset", "metric", "gap_direction", "split", "shift", "signed_gap_distance", "value", "model", "side",
    "value_low", "value_high", "n",
)  # fmt: skip
TABLE_COLUMNS = (
    "dataset", "metric", "gap_direction", "selection", "default", "modified", "ci_low", "ci_high", "p_value", "shift",
    "direction", "model", "side", "group", "n", "chance", "default_low", "default_high", "gain", "gain_low",
    "gain_high", "discordant", "shift_first_half", "shift_second_half", "p_value_scaled", "splits", "halves_that_chose",
)  # fmt: skip


class Split(NamedTuple):
    """All items at every shift along the direction of some images, and what the shifts do to the gap of these."""

    name: str
    rows: Int[np.ndarray, "r"]
    gaps: Float[np.ndarray, "k"]
    outcomes: Mapping[str, Outcomes]
    predicted: Int[np.ndarray, "k n"] | None = None


def evaluate(task: EmbeddedTask, settings: cli.Common) -> dict[str, pd.DataFrame]:
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
    more = {"gaps": pd.DataFrame([gaps_of(task)]), "reach": pd.DataFrame(reached)}
    return {"": curves[list(CURVE_COLUMNS)], "table": pd.DataFrame(table)[list(TABLE_COLUMNS)], **more}


def sweep(
    task: EmbeddedTask, shifts: Float[np.ndarray, "k"], direction: Float[np.ndarray, "d"], side: Side
) -> tuple[Mapping[str, Outcomes], Int[np.ndarray, "k n"] | None]:
    """Outcomes by metric after every shift, of images, but texts for text-to-image recall; and predicted classes."""
    given = (task.images, task.texts)
    if task.metric == "ROC-AUC":
        margins = shifted.binary_margins(*given, shifts, direction, side)
        return {"ROC-AUC": Margins(margins, task.labels)}, None
    if task.is_retrieval:
        found = shifted.retrieve(*given, task.labels, shifts, direction, side)
        together = task.labels if len(task.texts) > len(task.images) else None
        ways = ((IMAGE_TO_TEXT, found.image_ranks, None), (TEXT_TO_IMAGE, found.text_ranks, together))
        return {f"{way} recall@{k}": Hits(ranks < k, groups) for way, ranks, groups in ways for k in RECALLS}, None
    found, classes = shifted.classify(*given, task.labels, shifts, direction, side), len(task.texts)
    return {f"top-{k}": Hits(found.ranks < k) for k in (1, 5) if k == 1 or classes > k}, found.predicted


def gaps_of(task: EmbeddedTask) -> dict:
    """How far apart a task's images and prompts are, and how like the caption corpus' gap vector theirs is."""
    own = unit_gap_vector(task.images, task.texts)
    corpus = np.full(len(own), np.nan) if task.caption_gap is None else task.caption_gap
    length = float(np.linalg.norm(corpus))
    (n, dim), distance = task.images.shape, gap_distance(task.images, task.texts)
    about = {"dataset": task.dataset, "model": task.model, "n": n, "n_texts": len(task.texts), "dim": dim}
    return {**about, "task_gap": distance, "captions_gap": length, "cosine_of_directions": float(own @ corpus / length)}


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


def _measured(task: EmbeddedTask, direction: str, side: Side, settings: cli.Common) -> tuple[list[dict], ...]:
    """Curves, table and reach along one direction: of all items, both halves of a split, one of each further split."""
    strata, shifts = None if task.is_retrieval else task.labels, cli.shift_grid(settings.shift_step)
    everything = _split(task, ALL, np.arange(len(task.images)), direction, side, shifts)
    curves, tested = list(_curves(task, everything, settings)), {metric: [] for metric in HEADLINES[task.metric]}
    papers = direction == "task" and side == main_side(pd.DataFrame({"side": settings.side}))
    for number in range(settings.splits if papers else 1):
        one, other = selection.halves(len(task.images), strata, settings.seed, number)
        ways = zip(SPLITS[1:], (one, other), (other, one), strict=True)
        for name, rows, others in islice(ways, 1 if number else 2):
            half = _split(task, name, rows, direction, side, shifts, everything)
            curves += _curves(task, half, settings) if number == 0 else []
            for metric, found in tested.items():
                both = (_taken(task, half, metric, part) for part in (rows, others))
                found.append(selection.cross_tested(*both, shifts, half.gaps, settings.seed, settings.resamples))
    headline = {metric: everything.outcomes[metric] for metric in tested}
    reached = reach(task, headline, shifts, side) if papers else []
    return curves, _choices(task, everything, tested, settings), reached


def _split(
    task: EmbeddedTask, name: str, rows: np.ndarray, direction: str, side: Side, shifts: np.ndarray, of: Split = None
) -> Split:
    """Every shift along the gap vector of some images alone; along the captions', the sweep is that of all images."""
    texts = task.texts[np.isin(task.labels, rows)] if task.is_retrieval else task.texts
    own = unit_gap_vector(task.images[rows], texts)
    along = own if direction == "task" else task.caption_gap
    gaps = signed_gap_distances(task.images[rows], texts, shifts, along, side, sign_by=own)
    if of and direction == "captions":
        return Split(name, rows, gaps, of.outcomes)
    return Split(name, rows, gaps, *sweep(task, shifts, along, side))


def _taken(task: EmbeddedTask, split: Split, metric: str, rows: Int[np.ndarray, "r"]) -> Outcomes:
    """The outcomes of those items of a metric that belong to some images."""
    items = np.flatnonzero(np.isin(task.labels, rows)) if metric.startswith(TEXT_TO_IMAGE) else rows
    return split.outcomes[metric].take(items)


def _curves(task: EmbeddedTask, split: Split, settings: cli.Common) -> Iterator[dict]:
    """Columns of every metric of all items, or of the headline ones of a half."""
    same = {"split": split.name, "shift": cli.shift_grid(settings.shift_step), "signed_gap_distance": split.gaps}
    for metric in split.outcomes if split.name == ALL else HEADLINES[task.metric]:
        mine = _taken(task, split, metric, split.rows)
        low, high = mine.limits(settings.resamples, settings.seed)
        yield {**same, "metric": metric, "value": mine.values(), "value_low": low, "value_high": high, "n": mine.n}
    if split.name == ALL and split.predicted is not None:
        recall = metrics.mean_per_class_recall(split.predicted, task.labels, len(task.texts))
        yield {**same, "metric": "mean per-class recall", "value": recall, "n": len(split.rows)}


def _choices(task: EmbeddedTask, everything: Split, tested: Mapping, settings: cli.Common) -> list[dict]:
    """The shift chosen on all items, and on halves for the other halves."""
    rows, shifts, draws = [], cli.shift_grid(settings.shift_step), (settings.seed, settings.resamples)
    for metric, halves in tested.items():
        whole = everything.outcomes[metric]
        test = selection.on_test(whole, shifts, everything.gaps, *draws, settings.permutations)
        held = selection.held_out(test, halves)
        more = dict(zip(("shift_first_half", "shift_second_half"), held.shifts, strict=False))
        more |= {"splits": len(halves) - 1, "halves_that_chose": held.shifts.count(held.shift)}
        same = {"metric": metric, "group": task.group, "chance": task.chance}
        rows += [{**vars(test), **same, "selection": "test"}, {**vars(held), **same, **more, "selection": "held_out"}]
    return rows
