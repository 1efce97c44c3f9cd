"""Section 4's published numbers and claims beside what a set of training runs gives."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from util import figures, published
from util.numerics import statistics
from util.records import Comparison

PANEL = "section 4"
FOLD = 5.0
"""The amended gap is said to grow when it becomes at least this many times as large; published: 19 times."""

TRAINED = 0.98
"""A model has learned something where its held-out loss is below this part of log(batch), the loss of chance."""

MONOTONE = 0.9
"""Least Spearman correlation of the gap with the fall of the temperature, in every seed; published: 1."""

NEAR = 0.1
"""How far, in gap distance, a minimum of the loss may lie from a model's own gap and still count as there; two steps of
the landscape's shifts."""

CLOSE = 0.05
"""How far a gap distance may lie from a single published run of the same model and data."""


def compare(tables: Mapping[str, pd.DataFrame], on: str, same: bool) -> tuple[pd.DataFrame, list[Comparison]]:
    """Published values beside ours.

    Args:
        tables: "" (``training.csv``), "summary" and "landscape".
        on: model and data in words.
        same: whether they are the paper's, so that numbers are expected to agree.

    Returns:
        a table (experiment, quantity, temperature, initialization, published, ours) of every published number, ours
        the mean over seeds or missing, and the comparisons: gap distances and claims.
    """
    curve, summary = tables[""], tables["summary"]
    beside = pd.DataFrame([*_temperatures(curve, same), *_initializations(summary)])
    beside = beside.astype({"temperature": float, "ours": float})
    gaps = [_number(row, on, same, summary) for row in beside.itertuples() if row.quantity.startswith("gap")]
    fixed = summary[(summary["experiment"] == "temperature") & ~summary["learned"]]
    started = summary[summary["experiment"] == "initialization"]
    paths = curve[(curve["experiment"] == "initialization") & (curve["step"] > 0)]
    claims = [*_falling(fixed, on), *_amended(started, paths, on), *_absorbed(started, on)]
    claims += _held(tables["landscape"], on)
    return beside, [gap for gap in gaps if gap] + claims


def _temperatures(curve: pd.DataFrame, same: bool) -> list[dict]:
    """The fine-tuning of section 4: published after epoch 1; ours at the first measurement there, else at the end."""
    paper = published.values()["section_4_training"]["temperature_fine_tuning"]
    ours = curve[(curve["experiment"] == "temperature") & (curve["step"] > 0)]
    ours = ours[(ours["initialization"] == "trained") & ~ours["learned"]]
    steps = ours.groupby("temperature")["step"]
    ours = ours[ours["step"] == (steps.transform("min") if same else steps.transform("max"))]
    rows = []
    for quantity in ("gap_distance", "image_recall_at_1", "text_recall_at_1"):
        for name, value in zip(paper["temperatures"], paper[quantity], strict=True):
            tau = 1 / float(name.removeprefix("1/"))
            found = ours[np.isclose(ours["temperature"], tau)][quantity]
            rows.append(_row("temperature", quantity, tau, "trained", value, found))
    return rows


def _initializations(summary: pd.DataFrame) -> list[dict]:
    """From random weights: means over the published seeds."""
    paper, rows = published.values()["section_4_training"]["initialisation_and_optimisation"], []
    started = summary[summary["experiment"] == "initialization"]
    for name in ("original", "amended"):
        for ours, theirs in (("gap_before", "init"), ("gap_after", "trained")):
            found = started[started["initialization"] == name][ours]
            rows.append(_row("initialization", ours, None, name, float(np.mean(paper[f"{name}_{theirs}"])), found))
    return rows


def _row(experiment, quantity, tau, initialization, value: float, found: pd.Series) -> dict:
    ours = float(found.mean()) if len(found) else None
    parts = {"experiment": experiment, "quantity": quantity, "temperature": tau, "initialization": initialization}
    return {**parts, "published": value, "ours": ours}


def _number(row, on: str, same: bool, summary: pd.DataFrame) -> Comparison | None:
    """One published gap distance beside ours."""
    if np.isnan(row.ours):
        return None
    if row.experiment == "temperature":
        what = f"gap distance after fine-tuning at temperature {figures.temperature_label(row.temperature)}"
        agrees = abs(row.ours - row.published) <= CLOSE if same else None
    else:
        what = f"gap distance {row.quantity.removeprefix('gap_')} training, {row.initialization} initialization"
        paper = published.values()["section_4_training"]["initialisation_and_optimisation"]
        low, high = statistics.prediction_interval(
            paper[f"{row.initialization}_{'init' if row.quantity == 'gap_before' else 'trained'}"]
        )
        agrees = low <= row.ours <= high if same else None
    return Comparison(PANEL, what, row.published, row.ours, on, agrees, "" if same else "another model or other data")


def _falling(fixed: pd.DataFrame, on: str) -> list[Comparison]:
    """The gap grows as the temperature falls, in every seed; one swap of neighbours among six is noise of training."""
    grid = fixed.pivot_table(index="seed", columns="temperature", values="gap_after")
    if grid.shape[1] < 2:
        return []
    ranks = [float(stats.spearmanr(-np.array(grid.columns), gaps).statistic) for gaps in grid.to_numpy()]
    strictly = (np.diff(grid.to_numpy(), axis=1) < 0).all(axis=1)
    agrees = min(ranks) >= MONOTONE and bool((grid.iloc[:, 0] > grid.iloc[:, -1]).all())
    ends = [f"{figures.temperature_label(tau)}: {_span(grid[tau])}" for tau in (grid.columns[-1], grid.columns[0])]
    ours = f"lowest Spearman correlation over {len(grid)} seeds {min(ranks):.2f}"
    what = "the gap after training grows as the temperature falls"
    note = f"{MONOTONE:g} asked for; at every step down in {strictly.sum()} of {len(grid)} seeds; "
    note += f"gap at {'; at '.join(ends)}"
    return [Comparison(PANEL, what, "grows", ours, on, agrees, note)]


def _amended(started: pd.DataFrame, paths: pd.DataFrame, on: str) -> list[Comparison]:
    """The amended gap grows, and stays below the original's, in every seed; not judged where nothing was learned."""
    amended, rows = started[started["initialization"] == "amended"].set_index("seed"), []
    original = started[started["initialization"] == "original"].set_index("seed")
    paper = published.values()["section_4_training"]["initialisation_and_optimisation"]
    means = {name: float(np.mean(values)) for name, values in paper.items() if isinstance(values, list)}
    along = paths.pivot_table(index=["seed", "step"], columns="initialization", values="gap_distance")
    if len(amended):
        learned = bool((amended["loss"] < TRAINED * amended["chance_loss"]).all())
        fold = amended["gap_after"] / amended["gap_before"]
        way = along["amended"] / amended["gap_before"].reindex(along.index, level="seed")
        ours = f"at least {fold.min():.1f} times"
        note = (
            f"{FOLD:g} asked for; after {amended['steps'].max()} steps, on the way {way.min():.1f} to {way.max():.1f}; "
        )
        note += f"held-out loss {_span(amended['loss'])}, by chance {amended['chance_loss'].max():.2f}"
        note += "" if learned else ": not judged, for not every model has learned anything yet"
        what = f"the amended gap grows in every one of {len(fold)} seeds"
        theirs = f"{means['amended_trained'] / means['amended_init']:.1f} times"
        rows.append(Comparison(PANEL, what, theirs, ours, on, bool(fold.min() >= FOLD) if learned else None, note))
    if len(amended) and len(original):
        below = (along["original"] - along["amended"]).dropna()
        ours = f"lower by at least {(original['gap_after'] - amended['gap_after']).min():.3f}"
        note = (
            f"original {_span(original['gap_after'])}; at all {len(below)} measurements by at least {below.min():.3f}"
        )
        what = "the amended gap stays below the original's in training"
        theirs = f"lower by {means['original_trained'] - means['amended_trained']:.3f} after it"
        rows.append(Comparison(PANEL, what, theirs, ours, on, bool((below > 0).all()), note))
    return rows


def _absorbed(started: pd.DataFrame, on: str) -> list[Comparison]:
    """The map beside the model and the map inside the text projection: the same before training, not after Adam."""
    after = started.pivot_table(index="seed", columns="initialization", values=["gap_before", "gap_after"])
    if not {"amended", "absorbed"} <= set(started["initialization"]):
        return []
    before, after = (after[name]["absorbed"] - after[name]["amended"] for name in ("gap_before", "gap_after"))
    what = "gap distance with the map absorbed into the text projection minus that with the map beside the model"
    note = f"{before.abs().max():.1e} at most before training; after it, by seed"
    return [Comparison(PANEL, what, None, ", ".join(f"{value:+.3f}" for value in after), on, None, note)]


def _held(landscape: pd.DataFrame, on: str) -> list[Comparison]:
    """Whether models lie at the minimum of the loss at their own temperature, and where it is at others."""
    fixed = landscape[(landscape["experiment"] == "temperature") & ~landscape["learned"]]
    off = fixed["gap_at_minimum"].abs() - fixed["own_gap"]
    own = np.isclose(fixed["temperature"], fixed["evaluated_temperature"])
    hotter = (fixed["evaluated_temperature"] > fixed["temperature"]) & ~own
    past = f"{int((fixed['gap_at_minimum'] < -NEAR).sum())} of all {len(fixed)} minima lie at a gap below -{NEAR:g}"
    rows = []
    if own.any():
        what = f"models whose lowest loss at their own temperature is within {NEAR:g} of their own gap"
        ours = f"{int((off[own].abs() <= NEAR).sum())} of {int(own.sum())}"
        rows.append(Comparison(PANEL, what, None, ours, on, None, f"trained there; {past}"))
    for name, chosen, sign in (("higher", hotter, -1), ("lower", ~own & ~hotter, 1)):
        if chosen.any():
            move = "a smaller" if sign < 0 else "a larger"
            what = f"models and {name} temperatures whose lowest loss is at {move} gap, in size, than the model's own"
            ours = f"{int((sign * off[chosen] > 0).sum())} of {int(chosen.sum())}"
            rows.append(Comparison(PANEL, what, None, ours, on, None, f"on average {off[chosen].mean():+.3f}"))
    return rows


def _span(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"
