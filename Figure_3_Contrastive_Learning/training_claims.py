"""Section 4's published numbers and claims beside what a set of training runs gives."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from util import figures, published
from util.numerics.statistics import prediction_interval
from util.records import Comparison

PREFIX = "section_4_training."
PAPER_TEMPERATURES = (1.0, 1 / 10, 1 / 20, 1 / 30, 1 / 50, 1 / 100)
QUANTITIES = ("gap_distance", "image_recall_at_1", "text_recall_at_1")
"""Published after fine-tuning at each of these temperatures."""
FOLD = 5.0
"""The amended gap is said to grow when it becomes at least this many times as large; published: 19 times."""
TRAINED = 0.98
"""A model has learned something where its held-out loss is below this part of log(batch), the loss of chance."""
MONOTONE = 0.9
"""Least Spearman correlation of the gap with the fall of the temperature, in every seed; published: 1."""
NEAR = 0.1
"""Gap distance between a minimum of the loss and a model's own gap that counts as none: two shifts of the landscape."""
CLOSE = 0.05
"""Largest distance of a gap or a recall from a single published run of the same model and data."""

Found = Iterator[tuple[str, float | str, bool | None, str]]
"""(rest of the key, ours, whether they agree, note)."""


def compare(tables: Mapping[str, pd.DataFrame], on: str, same: bool) -> list[Comparison]:
    """Published numbers and claims beside ours, as means over seeds; expected to agree where ``same``."""
    curve, summary = tables[""], tables["summary"]
    tuned = curve[(curve["experiment"] == "temperature") & (curve["step"] > 0) & ~curve["learned"]]
    fixed = summary[(summary["experiment"] == "temperature") & ~summary["learned"]]
    started = summary[summary["experiment"] == "initialization"]
    paths = curve[(curve["experiment"] == "initialization") & (curve["step"] > 0)]
    found = [*_temperatures(tuned, same), *_initializations(started, same), *_falling(fixed)]
    found += [*_amended(started, paths), *_absorbed(started), *_minima(tables["landscape"])]
    return [published.compare(PREFIX + key, ours, on, agrees, note, own=same) for key, ours, agrees, note in found]


def _temperatures(tuned: pd.DataFrame, same: bool) -> Found:
    """Fine-tuning: published after epoch 1; ours at the first measurement there, else at the end."""
    steps = tuned.groupby("temperature")["step"]
    means = tuned[tuned["step"] == steps.transform("min" if same else "max")].groupby("temperature")[list(QUANTITIES)]
    for tau, ours in means.mean().iterrows():
        for k in np.flatnonzero(np.isclose(PAPER_TEMPERATURES, tau)):
            for quantity in QUANTITIES:
                key, mean = f"temperature_fine_tuning.{quantity}.{k}", float(ours[quantity])
                agrees = abs(mean - published.numbers()[PREFIX + key].value) <= CLOSE if same else None
                yield key, mean, agrees, f"{CLOSE:g} apart at most asked for" if same else ""


def _initializations(started: pd.DataFrame, same: bool) -> Found:
    """From random weights: beside the interval of one further run that the published seeds give."""
    paper = published.values()["section_4_training"]["initialisation_and_optimisation"]
    means = started.groupby("initialization")[["gap_before", "gap_after"]].mean()
    for name in means.index.intersection(["original", "amended"]):
        for when, column in (("init", "gap_before"), ("trained", "gap_after")):
            key, mean = f"{name}_{when}", float(means.loc[name, column])
            low, high = prediction_interval(paper[key])
            note = f"{low:.3f} to {high:.3f} asked for" if same else ""
            yield f"initialisation_and_optimisation.{key}", mean, low <= mean <= high if same else None, note


def _falling(fixed: pd.DataFrame) -> Found:
    """The gap grows as the temperature falls, in every seed; one swap of neighbours among six is noise of training."""
    grid = fixed.pivot_table(index="seed", columns="temperature", values="gap_after")
    if grid.shape[1] < 2:
        return
    ranks = [float(stats.spearmanr(-np.array(grid.columns), gaps).statistic) for gaps in grid.to_numpy()]
    strictly = (np.diff(grid.to_numpy(), axis=1) < 0).all(axis=1)
    agrees = min(ranks) >= MONOTONE and bool((grid.iloc[:, 0] > grid.iloc[:, -1]).all())
    ends = [f"{figures.temperature_label(tau)}: {_span(grid[tau])}" for tau in (grid.columns[-1], grid.columns[0])]
    ours = f"lowest Spearman correlation over {len(grid)} seeds {min(ranks):.2f}"
    note = f"{MONOTONE:g} asked for; at every step down in {strictly.sum()} of {len(grid)} seeds; "
    yield "claims.grows", ours, agrees, f"{note}gap at {'; at '.join(ends)}"


def _amended(started: pd.DataFrame, paths: pd.DataFrame) -> Found:
    """The amended gap grows, and stays below the original's, in every seed; not judged where nothing was learned."""
    if not len(started):
        return
    by_name = started.set_index("seed").groupby("initialization")
    amended, original = by_name.get_group("amended"), by_name.get_group("original")
    along = paths.pivot_table(index=["seed", "step"], columns="initialization", values="gap_distance")
    learned = bool((amended["loss"] < TRAINED * amended["chance_loss"]).all())
    fold = amended["gap_after"] / amended["gap_before"]
    way = along["amended"] / amended["gap_before"].reindex(along.index, level="seed")
    steps, chance = amended["steps"].max(), amended["chance_loss"].max()
    note = f"{FOLD:g} asked for in each of {len(fold)} seeds; after {steps} steps, on the way {way.min():.1f} to "
    note += f"{way.max():.1f}; held-out loss {_span(amended['loss'])}, by chance {chance:.2f}"
    note += "" if learned else ": not judged, for not every model has learned anything yet"
    agrees = bool(fold.min() >= FOLD) if learned else None
    yield "claims.amended_grows", f"at least {fold.min():.1f} times", agrees, note
    below = along["original"] - along["amended"]
    ours = f"lower by at least {(original['gap_after'] - amended['gap_after']).min():.3f}"
    note = f"original {_span(original['gap_after'])}; at all {len(below)} measurements by at least {below.min():.3f}"
    yield "claims.amended_below", ours, bool((below > 0).all()), note


def _absorbed(started: pd.DataFrame) -> Found:
    """The map beside the model and the map inside the text projection: the same before training, not after Adam."""
    if len(started):
        grid = started.pivot_table(index="seed", columns="initialization", values=["gap_before", "gap_after"])
        before, after = (grid[name]["absorbed"] - grid[name]["amended"] for name in ("gap_before", "gap_after"))
        note = f"{before.abs().max():.1e} at most before training; after it, by seed"
        yield "claims.absorbed", ", ".join(f"{value:+.3f}" for value in after), None, note


def _minima(landscape: pd.DataFrame) -> Found:
    """Whether models lie at the minimum of the loss at their own temperature, and its place at others."""
    fixed = landscape[(landscape["experiment"] == "temperature") & ~landscape["learned"]]
    off = fixed["gap_at_minimum"].abs() - fixed["own_gap"]
    own = np.isclose(fixed["temperature"], fixed["evaluated_temperature"])
    hotter = (fixed["evaluated_temperature"] > fixed["temperature"]) & ~own
    if own.any():
        past = f"{int((fixed['gap_at_minimum'] < -NEAR).sum())} of all {len(fixed)} minima lie at a gap below -{NEAR:g}"
        ours = f"{int((off[own].abs() <= NEAR).sum())} of {int(own.sum())}"
        yield "claims.own_minimum", ours, None, f"trained there; {past}"
    for name, chosen, sign in (("higher_smaller", hotter, -1), ("lower_larger", ~own & ~hotter, 1)):
        if chosen.any():
            ours = f"{int((sign * off[chosen] > 0).sum())} of {int(chosen.sum())}"
            yield f"claims.{name}", ours, None, f"on average {off[chosen].mean():+.3f}"


def _span(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"
