"""A task at every shift: ``modality-gap evaluate``, the curves that a figure shows, and the chosen shifts of a table.

Every task is measured along the gap vector of its own images and prompts, two-sided and image-only. Where there is a
caption corpus, it is also measured along that of the corpus. A shift and a direction that one random half chose are
judged on the other: both ways for the first split, whose halves have curves of their own, and one way for further ones.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from .. import UserError, cli
from ..files import replacing
from ..geometry import Side, side_of, signed_gap_distances, unit_gap_vector
from ..measures.commands import OfFiles, note
from ..numerics import items
from ..numerics.arrays import as_count
from . import selection
from .selection import Hits, Margins, Outcomes
from .tasks import TWO, EmbeddedTask, tasks_of

CURVE_COLUMNS = (
    "dataset", "metric", "gap_direction", "split", "shift", "signed_gap_distance", "value", "model", "side",
    "value_low", "value_high", "n",
)  # fmt: skip
TABLE_COLUMNS = (
    "dataset", "metric", "gap_direction", "selection", "default", "modified", "ci_low", "ci_high", "p_value", "shift",
    "direction", "model", "side", "group", "n", "chance", "default_low", "default_high", "gain", "gain_low",
    "gain_high", "discordant", "shift_first_half", "shift_second_half", "splits", "halves_that_chose",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Choosing:
    """Options of which shifts there are, how one is chosen, and how sure that is."""

    shift_step: float = 0.25
    """Distance between shifts, which run from -5 up to 5."""
    splits: int = 50
    """Random splits into halves, each of which chooses a shift that is tested on the other."""
    resamples: int = 2000
    """Resamples per bootstrap."""
    permutations: int = 2000
    """Permutations per max-gain test."""

    def check(self) -> None:
        """Refuses a step that gives no shifts, and numbers below 1."""
        cli.shift_grid(self.shift_step)
        for name in ("splits", "resamples", "permutations"):
            as_count(getattr(self, name), f"--{name}")


@dataclass(frozen=True, kw_only=True)
class Evaluate(Choosing, OfFiles):
    """Zero-shot classes or retrieval on your embeddings, without a shift of the gap and at every shift.

    With labels and a text for each class: top-1 and top-5 accuracy, mean per-class recall, ROC-AUC of two classes.
    With pairs: recall@1, @5 and @10, both ways. Best: the best shift on these items, whose p knows that it is the best
    of many. Held out: the gain of a shift that one half chose, on the other half.
    """

    labels: str | None = None
    """A file with the class of each row: an array, a column, lines of a .txt, or a column of 0 and 1 for each class."""
    label_column: str | None = None
    """The column of --labels that holds them."""
    prompts: str | None = None
    """A file with the embeddings of the classes, with their names where labels are names."""
    pairs: str | None = None
    """Retrieval: "rows" (by ids, where these pair them), or a file of row numbers: columns image and text, (pairs, 2),
    or each text's image (m,)."""
    per_class: bool = False
    """Print the accuracy of each class too."""
    side: str = "both"
    """both: half each. The name of a modality, first or second: that one alone (text is never the first)."""
    seed: int = 0
    """Seed of everything random."""
    csv: Path | None = None
    """Write every metric at every shift, with intervals, into this file."""
    json: bool = False
    """Print json, one object for each metric."""

    def __call__(self) -> None:
        import pandas as pd

        self.check()
        if self.label_column and not self.labels:
            raise UserError("--label-column is of the file of --labels; give that too, or leave it out")
        beside = self.labels, self.label_column, self.prompts, self.pairs
        left_out: list[str] = []
        tasks = tasks_of(self.given(), cli.named_columns(self.columns), left_out, *beside)
        if self.per_class and any(each.is_retrieval for each in tasks):
            raise UserError("--per-class is for labels; leave it out")
        note(*(said for each in tasks for said in notes(each)), *(f"left out: {why}" for why in left_out))
        sides = [(side_of(each.modalities, self.side),) for each in tasks]
        found = [evaluate(each, replace(self, side=side)) for each, side in zip(tasks, sides, strict=True)]
        cards = [card(part) for part in found]
        if self.csv is not None:
            with replacing(self.csv) as part:
                pd.concat([part[""] for part in found]).to_csv(part, index=False)
        if self.json:
            rows = pd.concat(cards, ignore_index=True).astype(object)
            cli.say(json.dumps(rows.where(rows.notna(), None).to_dict("records"), indent=1))
            return
        for each, rows in zip(tasks, cards, strict=True):
            cli.say(f"{self._about(each)}; gap distance {rows['gap_distance'].iloc[0]:.4f}\n{as_text(rows)}")
        cli.say(f"wrote {self.csv}" if self.csv else "--csv OUT.csv keeps every metric at every shift")

    def _about(self, task: EmbeddedTask) -> str:
        """What a task is of, and who moves."""
        first, last = task.modalities
        what = f"{len(task.labels)} pairs" if task.is_retrieval else f"{len(task.texts)} classes"
        moved = {"both": f"{first} and {last} move by half each", "first": f"{first} alone moves"}
        moved = moved.get(side_of(task.modalities, self.side), f"{last} alone moves")
        return f"{task.dataset}: {len(task.images)} {first}, {what}; {moved}"


def card(found: dict):
    """A row for each metric of ``evaluate``, by the paper's protocol: without a shift, and how a shift was chosen.

    Columns of the choice are NaN for metrics that no shift is chosen by.
    """
    curves = found[""][found[""]["split"] == "all"].rename(columns={"signed_gap_distance": "gap_distance"})
    columns = ["dataset", "n", "value", "value_low", "value_high", "gap_distance", "model", "side"]
    rows = curves[curves["shift"] == 0].set_index("metric")[columns]
    ways = dict(iter(found["table"].set_index("metric").groupby("selection")))
    best = {"modified": "best", "shift": "best_shift", "p_value": "best_p"}
    held = {"gain": "held_out_gain", "gain_low": "held_out_low", "gain_high": "held_out_high", "p_value": "held_out_p"}
    chosen = ways["test"].rename(columns=best)[[*best.values()]]
    gaps = chosen.merge(curves, left_on=["metric", "best_shift"], right_on=["metric", "shift"]).set_index("metric")
    chosen.insert(2, "best_gap_distance", gaps["gap_distance"])
    return rows.join([chosen, ways["held_out"].rename(columns=held)[[*held.values()]]]).reset_index()


def as_text(card) -> str:
    """The rows of ``card`` for a terminal; what was not chosen by is blank."""
    import pandas as pd

    rows = []
    for row in card.itertuples():
        between = "" if pd.isna(row.value_low) else f" [{row.value_low:.4f}, {row.value_high:.4f}]"
        cells = {"metric": row.metric, "n": str(row.n), "no shift [95%]": f"{row.value:.4f}{between}"}
        if not pd.isna(row.best):
            cells |= {"best": f"{row.best:.4f} at {row.best_shift:+g} (signed gap {row.best_gap_distance:z.4f})"}
            held = f"{row.held_out_gain:+.4f} [{row.held_out_low:+.4f}, {row.held_out_high:+.4f}]"
            best_p, held_p = ("< 0.001" if p < 0.001 else f"{p:.2g}" for p in (row.best_p, row.held_out_p))
            cells |= {"p": best_p, "held-out gain [95%]": held, "p (held out)": held_p}
        rows.append(cells)
    return pd.DataFrame(rows).fillna("").to_string(index=False)


def evaluate(task: EmbeddedTask, settings) -> dict:
    """Every metric of a task at every shift, along every direction and from every side, and the shifts chosen.

    ``settings`` has the options side, shift_step, splits, resamples, permutations, seed and per_class, as zero_shot.py
    and ``modality-gap evaluate`` explain them. Under "" is ``zero_shot.csv``, under "table" ``zero_shot_table.csv``.
    """
    import pandas as pd

    curves, table = [], []
    try:
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


def sweep(
    task: EmbeddedTask, shifts: Float[np.ndarray, "k"], direction: Float[np.ndarray, "d"], side: Side
) -> dict[str, Outcomes]:
    """Outcomes by metric after every shift, of images, but texts for text-to-image recall."""
    from . import shifted

    given, how, groups, found = (task.images, task.texts), (shifts, direction, side), task.groups, {}
    if task.is_retrieval:
        ways = zip(task.ways, shifted.retrieve(*given, task.labels, *how), groups, strict=True)
        return {f"{way} recall@{k}": Hits(of < k, groups) for way, of, groups in ways for k in (1, 5, 10)}
    if task.metric != "ROC-AUC":
        ranks = shifted.class_ranks(*given, task.labels, *how)
        found = {f"top-{k}": Hits(ranks < k, groups[0]) for k in (1, 5) if k == 1 or len(task.texts) > k}
    if task.metric in ("ROC-AUC", TWO):
        margins = np.stack([each[:, 1] - each[:, 0] for each in shifted.scores(*given, *how)])
        found["ROC-AUC"] = Margins(margins, groups[0], task.labels)
    return found


def _recalls(task: EmbeddedTask, right: Bool[np.ndarray, "k n"], per_class: bool) -> list[dict]:
    """Curves that no shift is chosen by: the mean over classes of their accuracies, and these."""
    order = np.argsort(task.labels, kind="stable")
    there, starts, counts = np.unique(task.labels[order], return_index=True, return_counts=True)
    recalls = np.add.reduceat(right[:, order], starts, axis=1, dtype=np.int64) / counts
    curves = [{"metric": "mean per-class recall", "value": recalls.mean(1), "n": len(order)}]
    if per_class:
        names = (f"accuracy of class {number if task.classes is None else task.classes[number]}" for number in there)
        of_classes = zip(names, recalls.T, counts.tolist(), strict=True)
        curves += [{"metric": name, "value": recall, "n": n} for name, recall, n in of_classes]
    return curves


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
    shifts, (everyone, first) = cli.shift_grid(settings.shift_step), np.unique(task.groups[0], return_index=True)
    strata = None if task.is_retrieval else task.labels[first]  # every class is as even as it can be
    draws = settings.seed, settings.resamples, settings.permutations
    gaps, swept = _along(task, everyone, direction, side, shifts)
    same = {"split": "all", "shift": shifts, "signed_gap_distance": gaps}
    curves = _curves(swept, everyone, settings, same)
    if "top-1" in swept:
        recalls = _recalls(task, swept["top-1"].items, settings.per_class)
        curves += [{**same, **each, "value_low": np.nan, "value_high": np.nan} for each in recalls]
    tested = {metric: [] for metric in task.headlines}
    papers = direction == "task" and side == main_side(settings.side)
    for number in range(settings.splits if papers else 1):
        one, other = selection.halves(len(everyone), strata, settings.seed, number)
        ways = zip(("first half", "second half"), (one, other), (other, one), strict=True)
        for name, mine, others in islice(ways, 1 if number else 2):
            of_half, half = _along(task, mine, direction, side, shifts, swept)
            found = {metric: half[metric] for metric in task.headlines}
            if number == 0:
                same = {"split": name, "shift": shifts, "signed_gap_distance": of_half}
                curves += _curves(found, mine, settings, same)
            for metric, outcomes in found.items():
                both = (outcomes.of_groups(part) for part in (mine, others))
                tested[metric].append(selection.cross_tested(*both, shifts, of_half, *draws))
    rows = []
    for metric, halves in tested.items():
        test = selection.on_test(swept[metric], shifts, gaps, *draws)
        held = selection.held_out(test, halves)
        more = dict(zip(("shift_first_half", "shift_second_half"), held.shifts, strict=False))
        more |= {"splits": len(halves) - 1, "halves_that_chose": held.shifts.count(held.shift)}
        same = {"metric": metric, "group": task.group, "chance": task.chance(metric)}
        rows += [{**vars(test), **same, "selection": "test"}, {**vars(held), **same, **more, "selection": "held_out"}]
    return curves, rows


def _along(task: EmbeddedTask, groups: np.ndarray, direction: str, side: Side, shifts: np.ndarray, of_all=None):
    """Signed gap distances (k,) of some groups, and the ``sweep`` of all items, along the gap vector of these groups.

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
