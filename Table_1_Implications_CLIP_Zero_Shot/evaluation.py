"""A task at every shift: the curves that the figure shows and the chosen shifts that the table lists.

Every task is measured along the gap vector of its own images and prompts, two-sided and image-only. Where there is a
caption corpus, it is also measured along that of the corpus. Each of two random halves has curves of its own, so that
a shift and a direction chosen on one are judged on the other.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from embedded_tasks import EmbeddedTask
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
    "gain_high", "discordant", "shift_first_half", "shift_second_half", "p_value_scaled",
)  # fmt: skip


class Sweep(NamedTuple):
    """A task after every shift along one direction."""

    outcomes: Mapping[str, Outcomes]
    """By metric, of all items: images, but texts for text-to-image recall."""
    recall: Float[np.ndarray, "k"] | None = None
    """Mean per-class recall where there are classes."""


class Split(NamedTuple):
    """A sweep along the direction of some images, and what the shifts do to the gap of these images."""

    rows: Int[np.ndarray, "r"]
    gaps: Float[np.ndarray, "k"]
    sweep: Sweep


def evaluate(task: EmbeddedTask, settings: cli.Common) -> dict[str, pd.DataFrame]:
    """Every metric of a task at every shift, along every direction and from every side, and the shifts chosen.

    Args:
        task: what is measured.
        settings: those of the script.

    Returns:
        rows of ``zero_shot.csv`` (""), of ``zero_shot_table.csv`` ("table") and one of ``zero_shot_gaps.csv`` ("gaps").
    """
    curves, table = [], []
    try:
        strata = None if task.is_retrieval else task.labels
        halves = selection.halves(len(task.images), strata, settings.seed)
        parts = dict(zip(SPLITS, (np.arange(len(task.images)), *halves), strict=True))
        for direction in ("task",) if task.caption_gap is None else ("task", "captions"):
            for side in settings.side:
                about = {"dataset": task.dataset, "gap_direction": direction, "model": task.model, "side": side}
                splits = _splits(task, parts, direction, side, settings)
                curves += [{**about, **curve} for curve in _curves(task, splits, settings)]
                table += [{**about, **row} for row in _choices(task, splits, settings)]
    except UserError as error:
        raise UserError(f"{task.dataset}: {error}") from error
    curves = pd.concat([pd.DataFrame(curve) for curve in curves], ignore_index=True)
    table = pd.DataFrame(table)
    return {"": curves[list(CURVE_COLUMNS)], "table": table[list(TABLE_COLUMNS)], "gaps": pd.DataFrame([gaps_of(task)])}


def sweep(task: EmbeddedTask, shifts: Float[np.ndarray, "k"], direction: Float[np.ndarray, "d"], side: Side) -> Sweep:
    """Every metric of a task after every shift along a direction, from one product."""
    given = (task.images, task.texts)
    if task.metric == "ROC-AUC":
        margins = shifted.binary_margins(*given, shifts, direction, side)
        return Sweep({"ROC-AUC": Margins(margins, task.labels)})
    if task.is_retrieval:
        found = shifted.retrieve(*given, task.labels, shifts, direction, side)
        together = task.labels if len(task.texts) > len(task.images) else None
        ways = ((IMAGE_TO_TEXT, found.image_ranks, None), (TEXT_TO_IMAGE, found.text_ranks, together))
        return Sweep({f"{way} recall@{k}": Hits(ranks < k, groups) for way, ranks, groups in ways for k in RECALLS})
    found, classes = shifted.classify(*given, task.labels, shifts, direction, side), len(task.texts)
    hits = {f"top-{k}": Hits(found.ranks < k) for k in (1, 5) if k == 1 or classes > k}
    return Sweep(hits, metrics.mean_per_class_recall(found.predicted, task.labels, classes))


def gaps_of(task: EmbeddedTask) -> dict:
    """How far apart a task's images and prompts are, and how like the caption corpus' gap vector theirs is."""
    own = unit_gap_vector(task.images, task.texts)
    corpus = np.full(len(own), np.nan) if task.caption_gap is None else task.caption_gap
    length = float(np.linalg.norm(corpus))
    return {
        "dataset": task.dataset,
        "model": task.model,
        "n": len(task.images),
        "n_texts": len(task.texts),
        "dim": task.images.shape[1],
        "task_gap": gap_distance(task.images, task.texts),
        "captions_gap": length,
        "cosine_of_directions": float(own @ corpus / length),
    }


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


def _splits(task: EmbeddedTask, parts: Mapping, direction: str, side: Side, settings: cli.Common) -> dict[str, Split]:
    """All images and each half, along their own gap vector or all along that of the captions."""
    found, shifts = {}, cli.shift_grid(settings.shift_step)
    for name, rows in parts.items():
        texts = task.texts[np.isin(task.labels, rows)] if task.is_retrieval else task.texts
        own = unit_gap_vector(task.images[rows], texts)
        along = own if direction == "task" else task.caption_gap
        if direction == "task" or name == ALL:  # along the captions' the halves have the sweep of all
            swept = sweep(task, shifts, along, side)
        gaps = signed_gap_distances(task.images[rows], texts, shifts, along, side, sign_by=own)
        found[name] = Split(rows, gaps, swept)
    return found


def _taken(task: EmbeddedTask, split: Split, metric: str, rows: Int[np.ndarray, "r"]) -> Outcomes:
    """The outcomes of those items of a metric that belong to some images."""
    items = np.flatnonzero(np.isin(task.labels, rows)) if metric.startswith(TEXT_TO_IMAGE) else rows
    return split.sweep.outcomes[metric].take(items)


def _curves(task: EmbeddedTask, splits: Mapping[str, Split], settings: cli.Common) -> list[dict]:
    """Columns of every metric of all items, and of the headline ones of each half."""
    curves, shifts = [], cli.shift_grid(settings.shift_step)
    for name, split in splits.items():
        same = {"split": name, "shift": shifts, "signed_gap_distance": split.gaps}
        for metric in split.sweep.outcomes if name == ALL else HEADLINES[task.metric]:
            mine = _taken(task, split, metric, split.rows)
            low, high = mine.limits(settings.resamples, settings.seed)
            curve = {"metric": metric, "value": mine.values(), "value_low": low, "value_high": high, "n": mine.n}
            curves.append({**same, **curve})
        if name == ALL and split.sweep.recall is not None:
            curve = {"metric": "mean per-class recall", "value": split.sweep.recall, "n": len(split.rows)}
            curves.append({**same, **curve, "value_low": np.nan, "value_high": np.nan})
    return curves


def _choices(task: EmbeddedTask, splits: Mapping[str, Split], settings: cli.Common) -> list[dict]:
    """The shift chosen on all items, and on each half for the other."""
    rows, shifts, draws = [], cli.shift_grid(settings.shift_step), (settings.seed, settings.resamples)
    everything, *halves = splits.values()
    for metric in HEADLINES[task.metric]:
        pairs = [
            (_taken(task, one, metric, one.rows), _taken(task, one, metric, other.rows), one.gaps)
            for one, other in (halves, halves[::-1])
        ]
        whole = everything.sweep.outcomes[metric]
        test = selection.on_test(whole, shifts, everything.gaps, *draws, settings.permutations)
        held = selection.held_out(pairs, shifts, *draws)
        for name, chosen, of_halves in (("test", test, (np.nan, np.nan)), ("held_out", held, held.shifts)):
            row = {key: np.nan if value is None else value for key, value in vars(chosen).items()}
            row |= {"metric": metric, "selection": name, "group": task.group, "chance": task.chance}
            rows.append({**row, "shift_first_half": of_halves[0], "shift_second_half": of_halves[1]})
    return rows
