"""A task at every shift: the curves that the figure shows and the chosen shifts that the table lists.

Every task is measured along the gap vector of its own images and prompts, two-sided and image-only. Where there is a
caption corpus, it is also measured along that of the corpus. Each of two random halves has curves of its own, so that
a shift and a direction chosen on one are judged on the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from embedded_tasks import EmbeddedTask
from util import UserError, cli, interventions
from util.geometry import Side, gap_distance, signed_gap_distances, unit_gap_vector
from util.numerics.statistics import wilson_interval
from util.zero_shot import metrics, selection, shifted
from util.zero_shot.outcomes import Hits, Outcomes

SPLITS = ("all", "first half", "second half")
RECALLS = (1, 5, 10)
IMAGE_TO_TEXT, TEXT_TO_IMAGE = "image-to-text", "text-to-image"
HEADLINES = {
    "top-1": ("top-1",),
    "ROC-AUC": ("ROC-AUC",),
    "retrieval": (f"{IMAGE_TO_TEXT} recall@1", f"{TEXT_TO_IMAGE} recall@1"),
}
"""The metrics that a shift is chosen by, for each kind of task."""


@dataclass(frozen=True)
class Protocol:
    """How every task is measured.

    Attributes:
        shifts: amounts (k,), 0 among them once.
        sides: which modalities move: "both", "first" or the two one after the other.
        seed: of the halves, the resamples and the permutations.
        resamples: of every bootstrap.
        permutations: of every test of the largest gain.
    """

    shifts: Float[np.ndarray, "k"]
    sides: Sequence[Side] = ("both", "first")
    seed: int = 0
    resamples: int = 2000
    permutations: int = 2000


@dataclass(frozen=True)
class Swept:
    """A task after every shift along one direction.

    Attributes:
        outcomes: by metric, of all items: images, but texts for text-to-image recall.
        recall: mean per-class recall (k,) where there are classes.
    """

    outcomes: Mapping[str, Outcomes]
    recall: Float[np.ndarray, "k"] | None = None


@dataclass(frozen=True)
class Evaluated:
    """Rows of ``zero_shot.csv``, of ``zero_shot_table.csv`` and one of ``zero_shot_gaps.csv``, of one task."""

    curves: pd.DataFrame
    table: pd.DataFrame
    gaps: Mapping


def evaluate(task: EmbeddedTask, protocol: Protocol) -> Evaluated:
    """Every metric of a task at every shift, along every direction and from every side, and the shifts chosen."""
    curves, table = [], []
    try:
        halves = selection.halves(len(task.images), None if task.is_retrieval else task.labels, protocol.seed)
        parts = [np.arange(len(task.images)), *halves]
        for name in ("task", "captions") if task.caption_gap is not None else ("task",):
            for side in protocol.sides:
                about = {"dataset": task.dataset, "gap_direction": name, "model": task.model, "side": side}
                sweeps, gaps = _along(task, name, parts, protocol.shifts, side)
                curves += _curves(about, task, sweeps, gaps, parts, protocol)
                table += _rows(about, task, sweeps, gaps, parts, protocol)
    except UserError as error:
        raise UserError(f"{task.dataset}: {str(error).removeprefix(f'{task.dataset}: ')}") from error
    curves = pd.concat([frame[list(CURVE_COLUMNS)] for frame in curves], ignore_index=True)
    return Evaluated(curves, pd.DataFrame(table)[list(TABLE_COLUMNS)], gaps_of(task))


def sweep(task: EmbeddedTask, shifts: Float[np.ndarray, "k"], direction: Float[np.ndarray, "d"], side: Side) -> Swept:
    """Every metric of a task after every shift along a direction, from one product."""
    given = (task.images, task.texts)
    if task.metric == "ROC-AUC":
        margins = shifted.binary_margins(*given, shifts, direction, side)
        return Swept({"ROC-AUC": Outcomes.of_margins(margins, task.labels)})
    if task.is_retrieval:
        found = shifted.retrieve(*given, task.labels, shifts, direction, side)
        together = task.labels if len(task.texts) > len(task.images) else None
        ways = ((IMAGE_TO_TEXT, found.image_ranks, None), (TEXT_TO_IMAGE, found.text_ranks, together))
        hits = {
            f"{way} recall@{k}": Outcomes.of_hits(ranks < k, groups) for way, ranks, groups in ways for k in RECALLS
        }
        return Swept(hits)
    found, classes = shifted.classify(*given, task.labels, shifts, direction, side), len(task.texts)
    top = (1, 5) if classes > 5 else (1,)
    recall = metrics.mean_per_class_recall(found.predicted, task.labels, classes)
    return Swept({f"top-{k}": Outcomes.of_hits(found.ranks < k) for k in top}, recall)


def gaps_of(task: EmbeddedTask) -> dict:
    """How far apart a task's images and prompts are, and how like the caption corpus' gap vector theirs is."""
    own = unit_gap_vector(task.images, task.texts)
    corpus = task.caption_gap
    return {
        "dataset": task.dataset,
        "model": task.model,
        "n": len(task.images),
        "n_texts": len(task.texts),
        "dim": task.images.shape[1],
        "task_gap": gap_distance(task.images, task.texts),
        "captions_gap": np.nan if corpus is None else float(np.linalg.norm(corpus)),
        "cosine_of_directions": np.nan if corpus is None else float(own @ corpus / np.linalg.norm(corpus)),
    }


def main_side(table: pd.DataFrame) -> str:
    """The side that pictures and comparisons show: both modalities moved where that was measured, or the only one."""
    return "both" if (table["side"] == "both").any() else table["side"].iloc[0]


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the paper's protocol: along the task's own gap vector, from ``main_side``."""
    return table[(table["side"] == main_side(table)) & (table["gap_direction"] == "task")]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each task and metric by the paper's protocol, with both ways of choosing."""
    where, mine = ["dataset", "metric"], shown(table)
    test, held = (mine[mine["selection"] == name].set_index(where) for name in ("test", "held_out"))
    columns = {
        "n": test["n"],
        "default": test["default"],
        "best_on_test": test["modified"],
        "gap": test["direction"],
        "p_best": test["p_value_scaled"],
        "held_out": held["modified"],
        "gain_held_out": held["gain"],
        "gain_low": held["gain_low"],
        "gain_high": held["gain_high"],
        "p_held_out": held["p_value"],
    }
    return pd.DataFrame(columns).reset_index()


def best_shift(task: EmbeddedTask, table: pd.DataFrame, settings: cli.Common) -> interventions.Shift:
    """The shift that is best on all items of a task, fitted on them, with what it came from and what it is worth.

    Args:
        task: with a caption corpus' gap vector where ``--save-direction captions`` asks for it.
        table: rows of ``zero_shot_table.csv``.
        settings: those of the script.
    """
    side, direction = settings.side[0], settings.save_direction
    rows = table[(table["dataset"] == task.dataset) & (table["metric"] == HEADLINES[task.metric][0])]
    rows = rows[(rows["side"] == side) & (rows["gap_direction"] == direction)].set_index("selection")
    test, held = rows.loc["test"], rows.loc["held_out"]
    shifts = len(cli.shift_grid(settings.shift_step))
    about = {
        "model": task.model,
        "data": {key: value for key, value in task.source.items() if key != "prompts"},
        "caption_rule": task.source.get("caption_rule", "one text for each class, from its prompts"),
        "selection": f"best of {shifts} shifts for {test['metric']} on all {test['n']} items",
        "gap_direction": direction,
        "default": test["default"],
        "modified": test["modified"],
        "p_value": test["p_value"],
        "p_value_scaled": test["p_value_scaled"],
        "held_out": {key: held[key] for key in ("modified", "gain", "gain_low", "gain_high", "p_value")},
        "seed": settings.seed,
    }
    along = task.caption_gap if direction == "captions" else None
    return interventions.Shift.fit(task.images, task.texts, float(test["shift"]), along, side, about)


def _along(task: EmbeddedTask, name: str, parts: Sequence, shifts, side: Side) -> tuple[list[Swept], list[np.ndarray]]:
    """The sweeps, and the signed gap distances of each part, along a direction: a part's own, or the captions'."""
    mine = [_part(task, rows) for rows in parts]
    own = [unit_gap_vector(*pair) for pair in mine]
    if name == "task":
        directions, sweeps = own, [sweep(task, shifts, unit, side) for unit in own]
    else:
        directions, sweeps = [task.caption_gap] * len(parts), [sweep(task, shifts, task.caption_gap, side)] * len(parts)
    gaps = [
        signed_gap_distances(*pair, shifts, direction, side, sign_by=unit)
        for pair, direction, unit in zip(mine, directions, own, strict=True)
    ]
    return sweeps, gaps


def _part(task: EmbeddedTask, rows: Int[np.ndarray, "r"]) -> tuple[np.ndarray, np.ndarray]:
    """Some images, and all prompts or the texts of these images."""
    return task.images[rows], task.texts[np.isin(task.labels, rows)] if task.is_retrieval else task.texts


def _items(task: EmbeddedTask, metric: str, rows: Int[np.ndarray, "r"]) -> Int[np.ndarray, "i"]:
    """The items of a metric that belong to some images."""
    return np.flatnonzero(np.isin(task.labels, rows)) if metric.startswith(TEXT_TO_IMAGE) else rows


def _curves(about: Mapping, task: EmbeddedTask, sweeps, gaps, parts, protocol: Protocol) -> list[pd.DataFrame]:
    """Every metric of all items, the headline ones of each half."""
    frames = []
    for split, swept, gap, rows in zip(SPLITS, sweeps, gaps, parts, strict=True):
        same = {**about, "split": split, "shift": protocol.shifts, "signed_gap_distance": gap}
        for metric, outcomes in swept.outcomes.items():
            if split == "all" or metric in HEADLINES[task.metric]:
                chosen = outcomes.take(_items(task, metric, rows))
                low, high = _interval(chosen, protocol)
                some = {"metric": metric, "value": chosen.values(), "value_low": low, "value_high": high}
                frames.append(pd.DataFrame({**same, **some, "n": chosen.n}))
        if split == "all" and swept.recall is not None:
            some = {"metric": "mean per-class recall", "value": swept.recall, "n": len(rows)}
            frames.append(pd.DataFrame({**same, **some, "value_low": np.nan, "value_high": np.nan}))
    return frames


def _interval(outcomes: Outcomes, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """95% limits at each shift by itself: Wilson's for hits of independent items, otherwise by bootstrap."""
    if isinstance(outcomes, Hits) and outcomes.groups is None:
        return wilson_interval(outcomes.hits.sum(1), np.full(outcomes.k, outcomes.n))
    drawn = outcomes.resampled(protocol.resamples, protocol.seed)
    return tuple(np.quantile(drawn, (0.025, 0.975), axis=0))


def _rows(about: Mapping, task: EmbeddedTask, sweeps, gaps, parts, protocol: Protocol) -> list[dict]:
    """The shift chosen on all items, and on each half for the other."""
    rows = []
    for metric in HEADLINES[task.metric]:
        everything = [swept.outcomes[metric] for swept in sweeps]
        draws = protocol.seed, protocol.resamples, protocol.permutations
        found = {"test": selection.on_test(everything[0], protocol.shifts, gaps[0], *draws)}
        halves = [_items(task, metric, half) for half in parts[1:]]
        pairs = [
            (outcomes.take(mine), outcomes.take(other), gap)
            for outcomes, mine, other, gap in zip(everything[1:], halves, halves[::-1], gaps[1:], strict=True)
        ]
        found["held_out"] = selection.held_out(pairs, protocol.shifts, protocol.seed, protocol.resamples)
        rows += [_row(about, task, metric, name, chosen) for name, chosen in found.items()]
    return rows


def _row(about: Mapping, task: EmbeddedTask, metric: str, name: str, chosen: selection.Selected) -> dict:
    halves = chosen.shifts if name == "held_out" else (np.nan, np.nan)
    more = {"metric": metric, "selection": name, "group": task.group, "chance": task.chance}
    more |= {"shift_first_half": halves[0], "shift_second_half": halves[1]}
    return {**about, **{key: np.nan if value is None else value for key, value in vars(chosen).items()}, **more}


CURVE_COLUMNS = (
    "dataset", "metric", "gap_direction", "split", "shift", "signed_gap_distance", "value", "model", "side",
    "value_low", "value_high", "n",
)  # fmt: skip
TABLE_COLUMNS = (
    "dataset", "metric", "gap_direction", "selection", "default", "modified", "ci_low", "ci_high", "p_value", "shift",
    "direction", "model", "side", "group", "n", "chance", "default_low", "default_high", "gain", "gain_low",
    "gain_high", "discordant", "shift_first_half", "shift_second_half", "p_value_scaled",
)  # fmt: skip
