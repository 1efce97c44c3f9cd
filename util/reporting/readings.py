"""Published numbers that a script's record holds in its tables but not among its comparisons, read from there.

Each function takes a record and gives comparisons with the quantities of ``util.reporting.numbers``. Whether they are
judged follows the record's own comparison of the same panel: where that is not comparable, neither are these.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from .. import figures, published
from ..numerics.statistics import prediction_interval
from ..records import Comparison, Record
from . import numbers

NEAR = 0.005
"""How far a number may lie from one published of the same model and the same data, as for Figure 3's gap distance."""
RECALL_NEAR = 0.05
"""The same for recall@1 after fine-tuning, another run of training."""


def further(record: Record) -> list[Comparison]:
    """What a record's tables say of published numbers, beyond its comparisons."""
    return list(READINGS[record.name](record)) if record.name in READINGS else []


def _judged(record: Record, panel: str, on: str) -> tuple[bool, str]:
    """Whether a record's own comparisons of a panel are judged on these data, and if not why not."""
    same = [row for row in record.about["comparisons"] if row["panel"].startswith(panel) and row["on"] == on]
    notes = [row["note"] for row in same if row["agrees"] is None]
    return any(row["agrees"] is not None for row in same), (notes or ["another model or other data"])[0]


def _near(panel, quantity, theirs: float, ours: float, on: str, judged: tuple[bool, str], near=NEAR) -> Comparison:
    """Judged by the distance alone: both are of the same model and data, without a spread."""
    if not judged[0]:
        return Comparison(panel, quantity, theirs, ours, on, None, judged[1])
    return Comparison(
        panel, quantity, theirs, ours, on, abs(ours - theirs) <= near, f"{near:g} apart at most asked for"
    )


def _deviations(record: Record) -> Iterator[Comparison]:
    """Figure 2 (a): standard deviations of the cosines, where there are several seeds by their spread."""
    paper, table = published.values()["figure_2a_mean_cosine"]["std"], record.tables[""]
    for row in numbers.CONES:
        for k, encoder in enumerate(numbers.ENCODERS.values()):
            chosen = table[(table["row"] == row) & (table["encoder"] == encoder)]
            for name, part in chosen.groupby("input", sort=False):
                on, ours = f"{name}, n = {part['n'].iloc[0]}", part["std"].to_numpy()
                quantity = f"standard deviation of the cosine, {encoder}, {numbers.CONES[row]}"
                mean = [c for c in record.about["comparisons"] if c["on"] == on and c["quantity"].endswith(
                    f"{encoder}, {numbers.CONES[row]}")]  # fmt: skip
                judged = any(c["agrees"] is not None for c in mean), (mean or [{"note": ""}])[0]["note"]
                if len(ours) < 2 or not judged[0]:
                    yield _near("Figure 2 (a)", quantity, paper[row][k], float(ours.mean()), on, judged)
                else:
                    low, high = prediction_interval(ours)
                    fits, note = bool(low <= paper[row][k] <= high), f"interval for one further seed, {len(ours)} seeds"
                    yield Comparison("Figure 2 (a)", quantity, paper[row][k], ours.mean(), on, fits, note, low, high)


def _spectrum(record: Record) -> Iterator[Comparison]:
    """Figure 2 (c): the components of the spectrum that the script does not compare itself."""
    paper = published.values()["figure_2c"]["pca_explained_variance_ratio_vision"]
    vision = numbers.ENCODERS["vision_transformer"]
    table = record.tables["spectrum"].query("encoder == @vision")
    for row in table.itertuples():
        if row.component <= len(paper):
            quantity = f"share of the variance of principal component {row.component}, {vision}"
            judged = _judged(record, "Figure 2 (c)", row.input)
            theirs, ours = paper[row.component - 1], row.explained_variance_ratio
            yield _near("Figure 2 (c)", quantity, theirs, ours, row.input, judged)


def _landscape(record: Record) -> Iterator[Comparison]:
    """Figure 3: shares of the joint principal components, and gap distances after two-sided shifts."""
    paper, table = published.values()["figure_3"], record.tables[""]
    for name, facts in record.about["results"].items():
        judged = _gap_judged(record, name)
        for k, theirs in enumerate(paper["pca_explained_variance_ratio"]):
            if k < len(facts["explained_variance_ratio"]):
                ours = facts["explained_variance_ratio"][k]
                yield _near("Figure 3 (a)", numbers.component(k), theirs, ours, name, judged)
        yield from _shifted(table[table["embeddings"] == name], "two_sided", "both", name, judged)


def _gap_judged(record: Record, on: str) -> tuple[bool, str]:
    found = [c for c in record.about["comparisons"] if c["on"] == on and c["quantity"] == "gap distance"]
    return any(c["agrees"] is not None for c in found), next((c["note"] for c in found), "another model or other data")


def _shifted(table: pd.DataFrame, name: str, side: str, on: str, judged: tuple[bool, str]) -> Iterator[Comparison]:
    """Gap distances at the published shifts, of a table with the columns shift and signed_gap_distance."""
    for shift, theirs in published.values()["figure_3"][f"{name}_shift_to_distance"].items():
        found = table[np.isclose(table["shift"], float(shift))]["signed_gap_distance"]
        if len(found):
            quantity = numbers.shifted(float(shift), side)
            yield _near("Figure 3", quantity, theirs, abs(float(found.iloc[0])), on, judged)


def _recalls(record: Record) -> Iterator[Comparison]:
    """Section 4: recall@1 after fine-tuning at each temperature."""
    on = record.about["results"]["on"]
    judged = _judged(record, "section 4", on)
    gaps = [c for c in record.about["comparisons"] if c["quantity"].startswith("gap distance after fine-tuning")]
    judged = any(c["agrees"] is not None for c in gaps), judged[1]
    for row in record.tables["numbers"].itertuples():
        if "recall" in row.quantity and not pd.isna(row.ours):
            quantity = numbers.recall(row.quantity, figures.temperature_label(row.temperature))
            yield _near("section 4", quantity, row.published, row.ours, on, judged, RECALL_NEAR)


def _directions(record: Record) -> Iterator[Comparison]:
    """Table 1: which way the gap moves at the best shift, of the data sets that are the paper's."""
    rows = {row["dataset"]: row for row in published.values()["table_1"]["rows"]}
    for dataset, name in record.about["results"]["published_as"].items():
        for found in zero_shot_rows(record, dataset) if name in rows else ():
            quantity = f"{name}, {rows[name]['metric']}, direction"
            modified = f"{name}, {rows[name]['metric']}, modified"
            own = [c for c in record.about["comparisons"] if c["quantity"] == modified]
            judged = any(c["agrees"] is not None for c in own)
            theirs, on = rows[name]["direction"], own[0]["on"] if own else dataset
            agrees = found.direction == theirs if judged else None
            note = f"at the best shift {found.shift:+.2f}, p = {found.p_value:.2g}"
            yield Comparison("Table 1", quantity, theirs, found.direction, on, agrees, note)


def zero_shot_rows(record: Record, dataset: str) -> Iterator:
    """Table 1: a data set's row as the paper chooses the shift: on the test data, along the task's own gap vector."""
    from zero_shot_figure import main_side

    table = record.tables["table"]
    chosen = (table["gap_direction"] == "task") & (table["selection"] == "test")
    chosen &= table["side"] == main_side(table)
    yield from table[chosen & (table["dataset"] == dataset)].itertuples()


def _harms(record: Record) -> Iterator[Comparison]:
    """Table 2: the confusion matrices by race, and gap distances after shifts of the images alone."""
    from denigration_claims import NEAR as HARM_NEAR

    own = [c for c in record.about["comparisons"] if c["quantity"].startswith("gap distance of the captions")]
    judged = any(c["agrees"] is not None for c in own), (own or [{"note": "another model or other data"}])[0]["note"]
    settings, on = record.about["settings"], record.about["results"]["title"]
    if settings["side"] == "first" and settings["gap_direction"] == "captions":
        table = record.tables["overall"][["shift", "caption_gap_distance"]].dropna()
        table = table.set_axis(["shift", "signed_gap_distance"], axis=1)
        yield from _shifted(table, "image_only", "first", on, judged)
    for key, shift in numbers.SHIFTS.items():
        theirs = published.values()["table_2"][numbers.CONFUSION[key]]
        theirs = pd.DataFrame(theirs["counts"], theirs["rows"], theirs["columns"])
        ours = _counts(record.tables["confusion"], shift, list(theirs.index))
        if ours is not None:
            said, moved = _moved(theirs, ours)
            agrees = moved <= HARM_NEAR["accuracy"] * theirs.to_numpy().sum() if judged[0] else None
            note = "" if judged[0] else judged[1]
            yield Comparison("Table 2", numbers.confusion(shift), numbers.counted(key), said, on, agrees, note)


def _moved(theirs: pd.DataFrame, ours: pd.DataFrame) -> tuple[str, int]:
    """Two confusion matrices in words: how many counts are equal, and how many faces lie in other cells."""
    a, b = (part.to_numpy() for part in theirs.align(ours, fill_value=0))
    moved = int(np.abs(a - b).sum() / 2)
    return f"{int((a == b).sum())} of {a.size} equal, {moved} faces elsewhere", moved


def _counts(table: pd.DataFrame, shift: float, races: list[str]) -> pd.DataFrame | None:
    """A confusion matrix by race at a shift; None where the races are others."""
    part = table[(table["by"] == "race") & np.isclose(table["shift"], shift)]
    if set(part["true"]) != set(races):
        return None
    return part.pivot_table(index="true", columns="predicted", values="count", aggfunc="sum", fill_value=0)


READINGS: dict[str, Callable[[Record], Iterator[Comparison]]] = {
    "cosine_similarity": _deviations,
    "initializations": _spectrum,
    "loss_landscape": _landscape,
    "training": _recalls,
    "zero_shot": _directions,
    "denigration": _harms,
}
"""By the script's name."""
