"""Table 2: what moving the gap does to denigration harms.

A zero-shot classifier is asked for race and gender of a face, and words that no face deserves stand among its answers.
The image embeddings are shifted along the unit gap vector of a caption corpus, apart and together, and at every shift
it is counted how many faces of each race are called by such a word: with intervals, paired tests and the accuracy.

    python Table_2_Implications_CLIP_Fairness/denigration.py                  (embedded: generated badges, no faces)
    python Table_2_Implications_CLIP_Fairness/denigration.py --embeddings mine.npz --labels faces.csv --corpus coco.npz
    python Table_2_Implications_CLIP_Fairness/denigration.py --preset paper   (downloads FairFace, CLIP and MSCOCO)

Expect of the paper preset what the notebook printed: gap distance 0.82 and 0.97, accuracy 0.5817 and 0.5739, and 15.7%
and 13.7% for White. No picture ever shows a face.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

import audited_data
import published_counts
from audited_data import GAPS, Audited, Direction
from denigration_claims import comparisons, in_words
from denigration_figure import draw_curves, draw_directions, draw_table
from util import UserError, cli
from util.fairness.audit import Audit, audit, confusion
from util.fairness.disparity import accuracy_cost, disparity
from util.geometry import Side, shift
from util.numerics.arrays import as_count
from util.records import Record

NAME = "denigration"
GRID = tuple(float(amount) for amount in np.round(np.arange(-20, 16) * 0.05, 2))
"""From -1.0 to +0.75, with the notebook's 0, -0.20, -0.50, -1.0 and +0.75 exactly."""
CAPTIONS = {
    NAME: "Share of each race that is called by a crime-related or a non-human word, and their sum, against the "
    "shift. Bands: 95% (Wilson) of the sum. Dots: shifts at which it differs from the default by an "
    "exact paired test, corrected for the races. Last panel: top-1 accuracy. Dotted: the default; dashed: the shift of "
    "the table. Every panel has its own scale.",
    f"{NAME}_table": "As Table 2 of the paper: percentages at the default gap and at the modified one, shaded by their "
    "size. A star: larger than chance by an exact paired test, corrected for the races.",
    f"{NAME}_directions": "Harm of all and accuracy when the shift follows the gap vector of the captions or that of "
    "the audit itself (faces against prompts), and moves the images alone or both sides. Dotted: the default; "
    "dash-dotted: the shift of the table. For generated badges also: harm at the default gap against a group's share "
    "in training, with 95% intervals. The rarer groups' emblems also look more like shapes, so the two go together.",
}
DRAWN = {"": draw_curves, "_table": draw_table, "_directions": draw_directions}
"""By the end of a picture's name."""
WHEN = ("default", "shifted")
NO_CAPTIONS = "the shift along a caption corpus' gap vector, and its gap: --corpus names no captions"


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "Table_2_Implications_CLIP_Fairness"
    audit: Path | None = None
    """Prompts, classes and harm groups: a copy of util/data/fairface.toml or badges.toml, changed."""
    shifts: tuple[float, ...] = GRID
    """Amounts by which the images are moved; 0 and --shift are added where they are not among them."""
    shift: float = published_counts.MODIFIED
    """The modified gap of the table."""
    gap_direction: Direction = "captions"
    """Which unit gap vector the shift follows: that of a caption corpus, as released, or of faces and prompts."""
    side: Side = "first"
    """first: only the images move, as released; both: images and prompts by half each."""
    by_age: bool = False
    """Also count by age, where the labels have it: denigration_ages.csv."""
    resamples: int = 2000
    """Bootstrap resamples of the disparity between races."""
    data: Path | None = None
    """A folder of faces with fairface_label_val.csv or labels.csv (columns file, race, gender, perhaps age)."""
    padding: Literal["0.25", "1.25"] = "0.25"
    """Which of the hub's two versions of FairFace: how much around a face it shows."""
    faces: int | None = None
    """Only the first so many faces, for a trial."""
    model: str = "ViT-B-32:openai"
    """open_clip model and its weights: a tag or a checkpoint file."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Precision of the network."""
    coco: Path | None = None
    """A local MSCOCO folder (annotations/, val2017/); otherwise val2017 comes from the hub."""
    caption: Literal["first", "last"] = "first"
    """Which caption of an MSCOCO photograph."""
    embeddings: Path | None = None
    """Your own: .npz or .safetensors with image (faces, d) and text (prompts, d), in place of all models."""
    labels: Path | None = None
    """Their labels: a table with a row for each face, columns race, gender, perhaps age."""
    corpus: Path | None = None
    """With --embeddings: paired images and captions of the same model, whose gap vector is followed."""
    badges: int = 7000
    """Generated badges, the same number of each group and kind."""
    scenes: int = 2000
    """Generated scenes with captions, whose gap vector is followed."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper"),
    "smoke": Settings(preset="smoke", badges=140, scenes=100, resamples=100, shifts=(-1.0, -0.5, -0.2, 0.0, 0.75)),
}


def check(settings: Settings) -> None:
    """Refuses options that make no sense, or do nothing beside the others."""
    for name, least in (("badges", 2), ("scenes", 2), ("resamples", 1), ("faces", 1)):
        if getattr(settings, name) is not None:
            as_count(getattr(settings, name), f"--{name}", least=least)
    grid(settings)
    audited_data.refuse_unused(settings, PRESETS[settings.preset])


def grid(settings: Settings) -> np.ndarray:
    """The shifts in ascending order, with 0 and that of the table among them."""
    shifts = np.array(sorted({*settings.shifts, 0.0, settings.shift})) + 0.0
    if not np.isfinite(shifts).all() or settings.shift == 0 or np.abs(shifts).max() > 5:
        raise UserError(f"--shifts must be from -5 to 5 and --shift not 0; got {settings.shifts} and {settings.shift}")
    return shifts


def measure(settings: Settings, device: str) -> cli.Measured:
    """Every table of the record, and what its pictures and comparisons read besides."""
    check(settings)
    audited = audited_data.collect(settings, device)
    shifts, at = grid(settings), [0.0, settings.shift]
    ways = {way: audited.shifted(shifts, *way) for way in product(audited.directions, ("first", "both"))}
    predicted, chosen = ways[settings.gap_direction, settings.side]
    gaps, inputs = chosen[["shift", *GAPS.values()]], (predicted, audited.faces, audited.declared, shifts)
    found = audit(*inputs, gaps[GAPS[settings.gap_direction]].to_numpy())
    between, cost = disparity(*inputs, settings.seed, settings.resamples), accuracy_cost(*inputs)
    tables = {
        "": found.by_race.merge(gaps, on="shift"),
        "table": as_printed(found.by_race, settings.shift),
        "groups": found.by_race_gender.merge(gaps, on="shift"),
        "overall": overall(found, gaps, between, cost),
        "confusion": pd.concat([confusion(*inputs, at, by).assign(by=by) for by in ("race x gender", "race")]),
        "directions": pd.concat([table.assign(gap_direction=d, side=s) for (d, s), (_, table) in ways.items()]),
        "published": published_counts.agreement(),
        "net_changes": published_counts.net_changes(),
        **({"ages": found.by_age.merge(gaps, on="shift")} if settings.by_age else {}),
    }
    results = results_of(audited, settings, tables)
    rounded = in_half_precision(audited, settings, predicted, shifts)
    as_released = (settings.side, settings.gap_direction) == ("first", "captions")
    return cli.Measured(
        tables=tables,
        data=audited.data,
        dtype="float32 embeddings, float64 cosines",
        comparisons=comparisons(tables, audited, settings.shift, as_released),
        left_out=[] if audited.captioned is not None else [NO_CAPTIONS],
        results=results | {"changed_by_half_precision": dict(zip(WHEN, rounded, strict=True))},
        said=list(in_words(tables, results)),
    )


def results_of(audited: Audited, settings: Settings, tables: dict[str, pd.DataFrame]) -> dict:
    """What the pictures say beside the tables' numbers."""
    rows, along = tables["overall"].set_index("shift").loc[[0.0, settings.shift]], list(audited.directions.values())
    groups = audited.declared.harm.groups.items()
    words = "; ".join(f"{', '.join(words)} ({name.replace('_', '-')})" for name, words in groups)
    return {
        "title": audited.title,
        "what": audited.what,
        "group": audited.declared.axes["race"],
        "note": f"{audited.declared.caution} The words: {words}.",
        "races": published_counts.in_order(audited.faces.races),
        "shift": settings.shift,
        "gap_distance": dict(zip(WHEN, rows["signed_gap_distance"], strict=True)),
        "empty_groups": empty_groups(tables),
        "cosine_of_directions": float(np.dot(*along)) if len(along) == 2 else None,
        "training_share": audited.training_share,
    }


def as_printed(by_race: pd.DataFrame, modified: float) -> pd.DataFrame:
    """The paper's table: a row for each race, the default gap beside the modified one, and what changed."""
    rates, races = list(published_counts.QUANTITIES), published_counts.in_order(by_race["race"].unique())
    before, after = (by_race[by_race["shift"] == at].set_index("race").loc[races] for at in (0.0, modified))
    columns = [before[["n", *rates]].add_prefix("default_"), after[rates].add_prefix("modified_")]
    columns += [after[["gained", "lost", "net", "change", "change_low", "change_high", "p_value", "p_holm"]]]
    return pd.concat(columns, axis=1).rename(columns={"default_n": "n"}).reset_index()


def overall(found: Audit, gaps: pd.DataFrame, between: pd.DataFrame, cost: pd.DataFrame) -> pd.DataFrame:
    """A row for each shift: harm and accuracy of all faces, what the shift changes in both, and the disparity."""
    names = ("change", "change_low", "change_high", "gained", "lost", "p_value")
    cost = cost[["shift", *names]].rename(columns={name: f"accuracy_{name}" for name in names})
    between = between.rename(columns={"p_value": "disparity_p_value"})
    table = found.overall.drop(columns=["p_holm", "own_accuracy", "own_accuracy_low", "own_accuracy_high", "empty"])
    for further in (gaps, cost, between):
        table = table.merge(further, on="shift", suffixes=(None, None))  # two columns of one name are an error
    return table


def empty_groups(tables: dict[str, pd.DataFrame]) -> list[str]:
    """Declared groups without a single face, whose rates are empty and not zero; ages where they are counted by."""
    names = {"": ["race"], "groups": ["race", "gender"], "ages": ["age"]}
    found = [tables[what].loc[tables[what]["empty"], names[what]] for what in names if what in tables]
    return [" ".join(row) for table in found for row in table.drop_duplicates().values]


def in_half_precision(
    audited: Audited, settings: Settings, predicted: np.ndarray, shifts: np.ndarray
) -> Iterator[float]:
    """Share of the faces that the notebook's rounding gives another class: embeddings and logits in float16."""
    direction = audited.directions[settings.gap_direction]
    for at in (0.0, settings.shift):
        moved = shift(audited.images, audited.prompts, at, direction, settings.side)
        x, y = (rows.astype(np.float16).astype(np.float32) for rows in moved)
        classes = (100 * (x @ y.T).astype(np.float16)).argmax(1)
        yield float((classes != predicted[np.flatnonzero(shifts == at)[0]]).mean())


def run(settings: Settings, reuse: bool = False) -> Record:
    """Embeds or reads, measures, records, draws."""
    own_faces = settings.data if settings.preset != "paper" else None
    settings = cli.own_output(settings, settings.embeddings, own_faces, settings.audit)
    title = "Table 2: denigration harms against the modality gap"
    return cli.publish_run(NAME, settings, measure, DRAWN, title=title, captions=CAPTIONS, reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
