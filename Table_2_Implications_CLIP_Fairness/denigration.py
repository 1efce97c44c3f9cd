"""Table 2: what moving the gap does to denigration harms.

A zero-shot classifier is asked for race and gender of a face, and words that no face deserves stand among its answers.
The image embeddings are shifted along the unit gap vector of a caption corpus, apart and together, and at every shift
it is counted how many faces of each race are called by such a word: with intervals, paired tests and the accuracy.

    python Table_2_Implications_CLIP_Fairness/denigration.py                  (embedded: generated badges, no faces)
    python Table_2_Implications_CLIP_Fairness/denigration.py --embeddings mine.npz --labels faces.csv --corpus coco.npz
    python Table_2_Implications_CLIP_Fairness/denigration.py --data faces/ --audit mine.toml --gap-direction audit
    python Table_2_Implications_CLIP_Fairness/denigration.py --preset paper   (downloads FairFace, CLIP and MSCOCO)

Expect of the paper preset what the notebook printed: gap distance 0.82 and 0.97, accuracy 0.5817 and 0.5739, and 15.7%
and 13.7% for White. No picture ever shows a face.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import tyro

import audited_data
import published_counts
from audited_data import GAPS, Audited, Direction
from denigration_claims import against, comparisons, in_words
from denigration_figure import draw_confusion, draw_curves, draw_directions, draw_table
from util import UserError, cli
from util.encoders.named import ModelName
from util.fairness.audit import Answers, audit, disparity, paired_change
from util.geometry import Side
from util.numerics.arrays import as_count
from util.numerics.statistics import mcnemar
from util.records import Record

NAME = "denigration"
GRID = tuple(float(amount) for amount in np.round(np.arange(-20, 16) * 0.05, 2))
"""From -1.0 to +0.75, with the notebook's 0, -0.20, -0.50, -1.0 and +0.75 exactly."""
DRAWN = {
    "": draw_curves,
    "_table": draw_table,
    "_confusion": draw_confusion,
    "_confusion_published": partial(draw_confusion, published=True),
    "_directions": draw_directions,
}
"""By the end of a picture's name."""


@dataclass(frozen=True, kw_only=True)
class Settings(cli.WithEmbeddings):
    output: Path = cli.OUTPUTS / "Table_2_Implications_CLIP_Fairness"
    audit: Path | None = None
    """Prompts, any two attributes, any harm groups: a changed copy of util/data/fairface.toml."""
    shifts: tuple[float, ...] = GRID
    """Amounts by which the images are moved; 0 and --shift are added where they are not among them."""
    shift: float = published_counts.MODIFIED
    """The modified gap of the table."""
    gap_direction: Direction = "captions"
    """Which unit gap vector the shift follows: that of a caption corpus, as released, or of faces and prompts."""
    side: Side = "first"
    """first: only the images move, as released; both: images and prompts by half each."""
    resamples: int = 2000
    """Bootstrap resamples of the disparity between groups."""
    data: Path | None = None
    """A folder of faces with fairface_label_val.csv or labels.csv: columns file and the audit's (race, gender)."""
    model: ModelName = audited_data.PAPER_MODEL
    """open_clip:MODEL:TAG (or a checkpoint file), huggingface:NAME, python:MODULE or FILE.py:FUNCTION."""
    coco: Path | None = None
    """A local MSCOCO folder (annotations/, val2017/); otherwise val2017 comes from the hub."""
    labels: Path | None = None
    """With --embeddings (faces, and the audit's prompts): .csv, .tsv, .parquet or .npz with the audit's columns (race,
    gender), matched to the faces by id or file where both have them, else by order."""
    corpus: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """With --embeddings: paired images and captions of the same model, whose gap vector is followed; repeatable."""
    badges: int = 7000
    """Generated badges, the same number of each group and kind."""
    scenes: int = 2000
    """Generated scenes with captions, whose gap vector is followed."""
    ONLY: ClassVar = audited_data.ONLY

    def own(self) -> tuple:
        return *self.embeddings, self.data if self.preset != "paper" else None, self.audit, *super().own()


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper"),
    "smoke": Settings(preset="smoke", badges=140, scenes=100, resamples=100, shifts=(-1.0, -0.5, -0.2, 0.0, 0.75)),
}


def grid(settings: Settings) -> np.ndarray:
    """The shifts in ascending order, with 0 and that of the table among them."""
    shifts = np.array(sorted({*settings.shifts, 0.0, settings.shift})) + 0.0
    if not np.isfinite(shifts).all() or settings.shift == 0 or np.abs(shifts).max() > 5:
        raise UserError(f"--shifts must be from -5 to 5 and --shift not 0; got {settings.shifts} and {settings.shift}")
    return shifts


def measure(settings: Settings, device: str) -> cli.Measured:
    """Every table of the record, and what its pictures and comparisons read besides."""
    for name, least in (("badges", 2), ("scenes", 2), ("resamples", 1)):
        as_count(getattr(settings, name), f"--{name}", least=least)
    shifts, audited = grid(settings), audited_data.collect(settings, device)
    ways = {way: audited.shifted(shifts, *way) for way in product(audited.directions, ("first", "both"))}
    answers, chosen = ways[settings.gap_direction, settings.side]
    tables = audit_tables(answers, chosen, settings)
    everywhere = [table.assign(gap_direction=name, side=side) for (name, side), (_, table) in ways.items()]
    tables["directions"] = pd.concat(everywhere)
    found: list = []
    if own := any(settings.own()):
        tables["changed"] = changed(answers, settings.shift, audited.ids)
    else:  # the paper's numbers beside
        tables |= {"published": published_counts.agreement(), "net_changes": published_counts.net_changes()}
        tables |= {"confusion_published": published_counts.matrices(), "against": against(tables, audited.title)}
        as_released = (settings.side, settings.gap_direction) == ("first", "captions")
        found = comparisons(tables, audited.title, audited.as_published, settings.shift, as_released)
    results = results_of(audited, settings, tables)
    return cli.Measured(
        tables=tables,
        data=(*audited.data, audited_data.classes(settings)),
        dtype="float32 embeddings, float64 cosines",
        comparisons=found,
        undrawn=["_confusion_published"] if own else [],
        results=results,
        said=[*audited.notes, *in_words(tables, results)],
    )


def accuracy_cost(answers: Answers) -> pd.DataFrame:
    """Changes of the accuracy of all faces at each shift, paired with shift 0.

    Returns shift, accuracy_change (in [-1, 1]; negative: the shift costs) and its paired 95% interval _low, _high,
    accuracy_gained and accuracy_lost (faces that became right, and wrong), and accuracy_p_value (exact McNemar).
    """
    gained, lost = (part.sum(1) for part in answers.changes(answers.right))
    columns = {"shift": answers.shifts} | paired_change("accuracy_change", gained, lost, np.array(len(answers.faces)))
    columns |= {"accuracy_gained": gained, "accuracy_lost": lost, "accuracy_p_value": mcnemar(gained, lost)}
    return pd.DataFrame(columns)


def audit_tables(answers: Answers, shifted: pd.DataFrame, settings: Settings) -> dict[str, pd.DataFrame]:
    """The tables of one way to shift: by group, of all faces, as printed, and who is taken for whom."""
    declared, columns = answers.declared, answers.declared.asked.columns
    gaps, followed = shifted[["shift", *GAPS.values()]], shifted[GAPS[settings.gap_direction]].to_numpy()
    groups = {"": columns[:1], "groups": columns, "overall": ()}
    tables = {what: audit(answers, followed, by).merge(gaps, on="shift") for what, by in groups.items()}
    further = accuracy_cost(answers).merge(disparity(answers, settings.seed, settings.resamples), on="shift")
    own = tables["overall"].filter(like="own_accuracy")  # of all faces the accuracy again
    everyone = tables["overall"].drop(columns=["p_holm", "empty", *own])
    tables["overall"] = everyone.merge(further, on="shift", suffixes=(None, None))  # two columns of a name: an error
    tables["table"] = as_printed(tables[""], settings.shift, columns[0], [*declared.groups, "sum"])
    both = [confusion(answers, [0.0, settings.shift], by).assign(by=" x ".join(by)) for by in (columns, columns[:1])]
    return tables | {"confusion": pd.concat(both, ignore_index=True)}


def confusion(answers: Answers, at: Sequence[float], by: Sequence[str]) -> pd.DataFrame:
    """Which class the faces of each group are given, at some of the shifts: shift, true, predicted and count.

    Every pair is there, by both attributes R * G rows and R * G + H columns at a shift; by one the other is added up.
    """
    declared, (names, within) = answers.declared, answers.groups(by)
    true = [" ".join(group) for group in names]
    both = pd.DataFrame(product(*(each.levels for each in declared.axes)), columns=list(declared.asked.columns))
    said = np.array([*both[list(by)].agg(" ".join, axis=1), *declared.harm_words])
    given = said[answers.predicted[[answers.row(shift) for shift in at]]]
    columns = [np.repeat(at, given.shape[1]), np.tile(np.array(true)[within.argmax(1)], len(at)), given.ravel()]
    every = pd.MultiIndex.from_product([at, true, [*true, *declared.harm_words]], names=["shift", "true", "predicted"])
    counts = pd.MultiIndex.from_arrays(columns).value_counts()
    return counts.reindex(every, fill_value=0).rename("count").reset_index()


def as_printed(by_group: pd.DataFrame, modified: float, column: str, rates: list[str]) -> pd.DataFrame:
    """The paper's table: a row for each race, the default gap beside the modified one, and what changed."""
    groups = published_counts.in_order(by_group[column].unique())
    before, after = (by_group[by_group["shift"] == at].set_index(column).loc[groups] for at in (0.0, modified))
    columns = [before[["n", *rates]].add_prefix("default_"), after[rates].add_prefix("modified_")]
    columns += [after[["gained", "lost", "net", "change", "change_low", "change_high", "p_value", "p_holm"]]]
    return pd.concat(columns, axis=1).rename(columns={"default_n": "n"}).reset_index()


def changed(answers: Answers, modified: float, ids: Sequence[str] | None) -> pd.DataFrame:
    """The faces that are newly harmed at the modified gap, or no longer: their names or rows, labels and answers."""
    rows = [answers.row(at) for at in (0.0, modified)]
    said = np.array([*answers.declared.classes, *answers.declared.harm_words])[answers.predicted[rows]]
    table = answers.faces.astype(str).assign(default=said[0], modified=said[1])
    table.insert(0, "face", range(len(table)) if ids is None else ids)
    return table[np.logical_xor(*answers.harmed[rows])]


def results_of(audited: Audited, settings: Settings, tables: dict[str, pd.DataFrame]) -> dict:
    """What the pictures say beside the tables' numbers."""
    rows, along = tables["overall"].set_index("shift").loc[[0.0, settings.shift]], list(audited.directions.values())
    declared, empty = audited.declared, tables["groups"].query("shift == 0 and empty")
    columns, words = list(declared.asked.columns), "; ".join(map(", ".join, declared.harm.groups.values()))
    return {
        "title": audited.title,
        "group": declared.asked.axes[0],
        "columns": columns,
        "names": audited.names,
        "note": f"{declared.caution} The words: {words}.",
        "caution": f"{declared.caution.partition('. ')[0].rstrip('.')}.",
        "labels": {**audited_data.labels(declared), "sum": "sum"},
        "races": published_counts.in_order(declared.axes[0].levels),
        "shift": settings.shift,
        "gap_distance": dict(zip(("default", "shifted"), rows["signed_gap_distance"], strict=True)),
        "empty_groups": [" ".join(group) for group in empty[columns].values],
        "cosine_of_directions": float(np.dot(*along)) if len(along) == 2 else None,
    }


def run(settings: Settings, reuse: bool = False) -> Record:
    """Embeds or reads, measures, records, draws."""
    declared, words = audited_data.declared_by(settings), cli.words(__file__)
    if settings.audit is not None or settings.embeddings:
        words["title"] = f"{declared.title}: harm words against the modality gap"
    places = {"axis": declared.asked.axes[0], "groups": "; ".join(audited_data.labels(declared).values())}
    words["captions"] = {stem: caption.format(**places) for stem, caption in words["captions"].items()}
    return cli.publish_run(NAME, settings, measure, DRAWN, **words, reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
