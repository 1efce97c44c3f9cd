"""``modality-gap evaluate``: zero-shot classification or retrieval on your own embeddings, at every shift."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from .. import cli
from ..errors import UserError
from ..files import replacing
from ..geometry import side_of
from ..interventions.commands import OfFiles, note
from ..numerics.arrays import as_count
from .tasks import EmbeddedTask, tasks_of


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

        from . import evaluation

        self.check()
        if self.label_column and not self.labels:
            raise UserError("--label-column is of the file of --labels; give that too, or leave it out")
        beside = self.labels, self.label_column, self.prompts, self.pairs
        left_out: list[str] = []
        tasks = tasks_of(self.given(), cli.named_columns(self.columns), left_out, *beside)
        if self.per_class and any(each.is_retrieval for each in tasks):
            raise UserError("--per-class is for labels; leave it out")
        note(*(said for each in tasks for said in evaluation.notes(each)), *(f"left out: {why}" for why in left_out))
        sides = [(side_of(each.modalities, self.side),) for each in tasks]
        found = [evaluation.evaluate(each, replace(self, side=side)) for each, side in zip(tasks, sides, strict=True)]
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
