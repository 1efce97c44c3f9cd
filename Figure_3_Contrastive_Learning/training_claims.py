"""Section 4's published numbers and claims beside what a set of training runs gives."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from landscape_minima import temperature_label
from util import published
from util.numerics.statistics import jackknife_interval, prediction_interval
from util.records import Comparison

PREFIX = "section_4_training."
PAPER_TEMPERATURES = (1.0, 1 / 10, 1 / 20, 1 / 30, 1 / 50, 1 / 100)
FINE_TUNED = {
    "gap_distance": "gap_distance",
    "image_to_text_recall_at_1": "image_recall_at_1",
    "text_to_image_recall_at_1": "text_recall_at_1",
    "cifar10_gap_distance": "zero_shot_gap_distance",
    "cifar10_accuracy": "zero_shot_accuracy",
}
"""Published after fine-tuning at each of these temperatures: the name in a key, and our column."""

Found = Iterator[tuple[str, float | str, bool | None, str, Mapping[str, Any]]]
"""(rest of the key, ours, whether they agree, note, limits)."""


def compare(tables: Mapping[str, pd.DataFrame], on: str, same: bool, epoch: int) -> list[Comparison]:
    """Published numbers and claims beside ours, as means over seeds; expected to agree where ``same``.

    ``epoch``: steps of one, after which the paper measures fine-tuned models; elsewhere it is done at the end.
    """
    curve, summary, landscape = (table.groupby("experiment") for table in map(tables.get, ("", "summary", "landscape")))
    found: list = []
    if "temperature" in curve.groups:
        tuned = curve.get_group("temperature")
        tuned = tuned[tuned["step"] <= (epoch if same else np.inf)]
        first, ends = (tuned[tuned["step"] == step] for step in (0, tuned["step"].max()))
        found += [*_temperatures(first, ends), *_steps_down(first, ends), *_minima(landscape.get_group("temperature"))]
    if "initialization" in curve.groups:
        started, paths = (table.get_group("initialization") for table in (summary, curve))
        found += [*_initializations(started), *_amended(started, paths[paths["step"] > 0])]
    if "learning_rate" in curve.groups:
        found += _optimisers(curve.get_group("learning_rate"))
    numbers = published.numbers(PREFIX)
    ours = []
    for key, value, agrees, note, limits in found:
        judged = agrees if same or not isinstance(numbers[PREFIX + key].value, float) else None
        ours.append(published.compare(PREFIX + key, value, on, judged, note, own=same, **limits))
    return [*ours, *derived(seeds_of_the_paper(), tuned_by_the_paper())]


def seeds_of_the_paper() -> dict[str, Sequence[float]]:
    """Published gaps of every seed from random weights, "original_init" and so on."""
    about = published.values()["section_4_training"]["initialisation_and_optimisation"]
    return {name: gaps for name, gaps in about.items() if isinstance(gaps, list)}


def tuned_by_the_paper() -> dict[str, list[float]]:
    """Published numbers after fine-tuning, by the names of ``FINE_TUNED``, from the highest temperature down."""
    prefix = f"{PREFIX}temperature_fine_tuning."
    return {name: [each.value for each in published.numbers(f"{prefix}{name}.").values()] for name in FINE_TUNED}


def threshold(claim: str) -> float:
    """That of a claim's rule."""
    return published.numbers()[f"{PREFIX}claims.{claim}"].judged_by.tolerance


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """The paper's interval of a mean, Student's t over the seeds; empty for one seed, or where all are equal."""
    error = stats.sem(values) if len(values) > 1 else 0.0
    if not error > 0:
        return {}
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
    return {"low": float(low), "high": float(high), "interval": f"95% Student t, {len(values)} seeds"}


def ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, dict[str, Any]]:
    """The ratio of two means over the same seeds, with its interval; that is empty for one seed."""
    a, b = np.asarray(above), np.asarray(below)
    value, k = float(a.mean() / b.mean()), len(a)
    if k < 2:
        return value, {}
    low, high = jackknife_interval(value, [np.delete(a, i).mean() / np.delete(b, i).mean() for i in range(k)])
    return value, {"low": low, "high": high, "interval": f"95% jackknife, {k} seeds"}


def derived(seeds: Mapping[str, Sequence[float]], tuned: Mapping[str, Sequence[float]]) -> list[Comparison]:
    """What the paper's own numbers imply, beside what it prints: intervals, the 57%, and what falls or grows."""
    default = published.numbers()["table_1.rows.0.default"].value
    ours = {f"half_width.{name}": (over_seeds(gaps)["high"] - np.mean(gaps), {}) for name, gaps in seeds.items()}
    ours["amended_to_original"] = ratio(seeds["amended_trained"], seeds["original_trained"])
    for data, name in (("mscoco", "gap_distance"), ("cifar10", "cifar10_gap_distance")):
        ours[f"{data}_steps"] = (np.diff(tuned[name]) > 0).sum(), {}
    ours["cifar10_below"] = (np.array(tuned["cifar10_accuracy"]) < default).sum(), {}
    beside = partial(published.compare, on=published.PRINTED, own=True)
    return [beside(f"{PREFIX}derived.{key}", float(value), **limits) for key, (value, limits) in ours.items()]


def _temperatures(first: pd.DataFrame, ends: pd.DataFrame) -> Found:
    """Before fine-tuning, where all runs are one model, and after it."""
    for name in ("gap_distance", "cifar10_gap_distance"):
        yield from _mean(f"temperature_fine_tuning.before.{name}", first[FINE_TUNED[name]].head(1))
    for tau, runs in ends.groupby("temperature"):
        for k in np.flatnonzero(np.isclose(PAPER_TEMPERATURES, tau)):
            for name, column in FINE_TUNED.items():
                yield from _mean(f"temperature_fine_tuning.{name}.{k}", runs[column])


def _mean(key: str, values: pd.Series) -> Found:
    """That over the seeds, with its interval; nothing where there is no task to measure.

    A published value without a tolerance, one run, is judged by where one further seed would lie.
    """
    if (known := values.dropna()).size:
        number, agrees, note = published.numbers()[PREFIX + key], None, ""
        if number.judged_by.tolerance is None and known.size > 1:
            low, high = prediction_interval(known)
            agrees, note = bool(low <= number.value <= high), f"one further seed: {low:.4f} to {high:.4f}"
        yield key, float(known.mean()), agrees, note, over_seeds(known)


def _steps_down(first: pd.DataFrame, ends: pd.DataFrame) -> Found:
    """Whether the gap grows at every step down in temperature, in every seed; the zero-shot task's gap and accuracy."""
    names = ("gap_distance", "zero_shot_gap_distance", "zero_shot_accuracy")
    grid, gaps, right = (ends.pivot_table(name, "seed", "temperature").iloc[:, ::-1] for name in names)
    if grid.shape[1] > 1:
        grows = np.diff(grid) > 0
        said = [f"{temperature_label(tau)}: {_span(grid[tau])}" for tau in (grid.columns[0], grid.columns[-1])]
        ours = f"at {_count(grows)} steps down, over {len(grid)} seeds"
        yield "claims.grows", ours, bool(grows.all()), f"gap at {'; at '.join(said)}", {}
    if gaps.shape[1] > 1:
        gaps, right, before = gaps.to_numpy(), right.to_numpy(), first["zero_shot_accuracy"].iloc[0]
        yield "other_data.steps", _count(np.diff(gaps) > 0), None, f"gaps {gaps.min():.3f} to {gaps.max():.3f}", {}
        note = f"before {before:.3f}, after {right.min():.3f} to {right.max():.3f}"
        yield "other_data.below", _count(right < before), None, note, {}


def _initializations(started: pd.DataFrame) -> Found:
    """The gap from random weights, before and after training, over the seeds; and the two after it."""
    for name, runs in started.groupby("initialization"):
        for when, column in (("init", "gap_before"), ("trained", "gap_after")):
            yield from _mean(f"initialisation_and_optimisation.{name}_{when}", runs[column])
    after = started.pivot_table(index="seed", columns="initialization", values="gap_after")
    value, limits = ratio(after["amended"], after["original"])
    yield "initialisation_and_optimisation.amended_to_original", value, None, "", limits


def _amended(started: pd.DataFrame, paths: pd.DataFrame) -> Found:
    """Whether both gaps grow and the amended one stays below, by intervals over seeds at the end of training."""
    by_name = started.set_index("seed").groupby("initialization")
    amended, original = by_name.get_group("amended"), by_name.get_group("original")
    along = paths.pivot_table(index=["seed", "step"], columns="initialization", values="gap_distance")
    learned = bool((started["loss"] < threshold("amended_grows") * started["chance_loss"]).all())
    chance = f"{amended['chance_loss'].max():.2f}"
    chance += "" if learned else ": not judged, for not every model has learned anything yet"
    loss = f"held-out loss {_span(amended['loss'])} after {amended['steps'].max()} steps, by chance {chance}"
    for claim, name, runs in (("amended_grows", "amended", amended), ("original_rises", "original", original)):
        (gain, above), path = _change(runs["gap_after"] - runs["gap_before"]), along[name].groupby("step").mean()
        fold, half = (runs["gap_after"] / runs["gap_before"]).mean(), path.loc[path.index[-1] // 2 :]
        note = f"{loss}; highest at step {path.idxmax()}, {path.max():.3f}; since step {half.index[0]} by "
        note += f"{half.iloc[-1] - half.iloc[0]:+.3f}"
        yield f"claims.{claim}", f"{fold:.1f} times, {gain}", above if learned else None, note, {}
    (below, holds), way = _change(original["gap_after"] - amended["gap_after"]), along["original"] - along["amended"]
    note = f"{loss}; on the way below at {(way > 0).sum()} of {len(way)} measurements"
    yield "claims.amended_below", f"lower by {below}", holds if learned else None, note, {}


def _change(values: pd.Series) -> tuple[str, bool | None]:
    """A mean over seeds with its interval, in words; and whether all of that is above zero, None without one."""
    if not (limits := over_seeds(values)):
        return f"{values.mean():+.3f}", None
    words = f"{values.mean():+.3f} " + "({interval}: {low:+.3f} to {high:+.3f})".format(**limits)
    return words, limits["low"] > 0


def _optimisers(curve: pd.DataFrame) -> Found:
    """The original weights at other settings of the optimiser: how high the mean gap gets, and where it ends."""
    said = []
    for (rate, decay), runs in curve.groupby(["learning_rate", "weight_decay"]):
        path = runs.groupby("step")[["gap_distance", "loss"]].mean()
        first, last, step = path.iloc[0], path.iloc[-1], path["gap_distance"].idxmax()
        gaps = runs.pivot_table("gap_distance", "step", "seed")
        top, (change, _) = path.loc[step], _change(gaps.iloc[-1] - gaps.iloc[0])
        highest = f"{first['gap_distance']:.3f}, {top['gap_distance']:.3f} at step {step} (loss {top['loss']:.2f})"
        said.append(f"{rate:g}, {decay:g}: {highest}, {last['gap_distance']:.3f} (loss {last['loss']:.2f}), {change}")
    note = "learning rate, weight decay: gap at first, highest and last, with the held-out loss; then the change"
    yield "learning_rate.paths", "; ".join(said), None, note, {}


def _minima(fixed: pd.DataFrame) -> Found:
    """Whether models lie at the minimum of the loss at their own temperature, and its place at others."""
    off, near = fixed["gap_at_minimum"].abs() - fixed["own_gap"], threshold("own_minimum")
    own = np.isclose(fixed["temperature"], fixed["evaluated_temperature"])
    hotter = (fixed["evaluated_temperature"] > fixed["temperature"]) & ~own
    past = f"{(fixed['gap_at_minimum'] < -near).sum()} of all {len(fixed)} minima lie at a gap below -{near:g}"
    note = f"nearly bound to be, where training lowered the loss; {past}"
    yield "claims.own_minimum", _count(off[own].abs() <= near), None, note, {}
    sign_test = stats.binomtest(int((off[own] < 0).sum()), int(own.sum()))
    note = f"by {-off[own].mean():.3f} on average; two-sided sign test, were the models independent: p = "
    yield "claims.minimum_below", _count(off[own] < 0), None, f"{note}{sign_test.pvalue:.1e}", {}
    for name, chosen, sign in (("higher_smaller", hotter, -1), ("lower_larger", ~own & ~hotter, 1)):
        if chosen.any():
            yield f"claims.{name}", _count(sign * off[chosen] > 0), None, f"on average {off[chosen].mean():+.3f}", {}


def _count(held: pd.Series | np.ndarray) -> str:
    return f"{held.sum()} of {held.size}"


def _span(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"
