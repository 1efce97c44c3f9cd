"""Section 4's published numbers and claims beside what a set of training runs gives, and the two pictures of both."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from landscapes import temperature_label
from util import figures, published
from util.numerics.statistics import jackknife_interval, prediction_interval
from util.records import Comparison, Record

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


HELD_OUT = "gap distance, held-out pairs"
INITIALIZATIONS = {"original": figures.SERIES[0], "amended": figures.TEXT}
QUALITY = {
    "image_recall_at_1": ("image to text recall@1", figures.SERIES[0]),
    "text_recall_at_1": ("text to image recall@1", figures.SERIES[1]),
    "zero_shot_accuracy": ("zero-shot accuracy", figures.SERIES[2]),
}
GAPS = {
    "gap_distance": ("held-out pairs", "MSCOCO", figures.SERIES[0], "gap_distance"),
    "zero_shot_gap_distance": ("zero-shot data", "CIFAR10", figures.SERIES[2], "cifar10_gap_distance"),
}


def draw(record: Record) -> Figure:
    """Fine-tuning: four panels, below each other in a column."""
    figure, axes = panels(record, 4, 2.3)
    table, landscape = (record.tables[what].query("experiment == 'temperature'") for what in ("", "landscape"))
    fixed = sorted(table["temperature"].unique(), reverse=True)
    colours = dict(zip(fixed, plt.get_cmap("viridis_r")(np.linspace(0.08, 1, max(2, len(fixed)))), strict=False))
    for tau, colour in colours.items():
        curves(axes[0], table[table["temperature"] == tau], temperature_label(tau), color=colour)
    axes[0].set(ylabel=HELD_OUT, ylim=(0, 1.7 * table["gap_distance"].max() if len(table) else None))
    above = {"loc": "upper center", "ncols": 4}
    finish(axes[0], "a", "fine-tuned at each temperature", title="temperature", columnspacing=1.0, **above)
    draw_ends(*axes[1:3], *(table[table["step"] == step] for step in (0, table["step"].max())))
    draw_landscape(axes[3], landscape, colours)
    finish(axes[3], "d", "where each temperature wants the gap", title="evaluated at", **above)
    return figure


def draw_random(record: Record) -> Figure:
    """From random weights: both first weights, and what the optimiser's settings do to the original ones."""
    table = record.tables[""]
    figure, axes = panels(record, 2, 2.6)
    draw_initializations(axes[0], table.query("experiment == 'initialization'"))
    chance = record.tables["summary"]["chance_loss"].max()
    draw_optimisers(axes[1], table[table["initialization"] == "original"], chance)
    return figure


def panels(record: Record, count: int, height: float) -> tuple[Figure, list[Axes]]:
    """Axes two in a row on a page, one in a column, under the name of model and data."""
    width, about = figures.width(record), record.about["results"]
    across = 2 if width > figures.WIDTHS["column"] else 1
    rows = count // across
    figure, axes = plt.subplots(rows, across, figsize=(width, height * rows), layout="constrained", squeeze=False)
    note = f"\n{figures.EMBEDDED_NOTE}" if about["generated"] else ""
    note = note.replace("; ", ";\n") if across == 1 else note
    figure.suptitle(figures.plain(about["on"]) + note, x=0.01, ha="left", fontsize=7)
    return figure, list(axes.flat)


def curves(ax: Axes, runs: pd.DataFrame, name: str, **style) -> pd.DataFrame:
    """A thin line for each seed and the mean over them; returns the gaps by step and seed."""
    grid = runs.pivot_table(index="step", columns="seed", values="gap_distance")
    if grid.shape[1] > 1:
        ax.plot(grid.index, grid, lw=0.5, alpha=0.6, **style)
    ax.plot(grid.index, grid.mean(axis=1), lw=1.5, label=name, **style)
    ax.set_xscale("symlog", linthresh=1, linscale=0.3)
    ax.set(xlim=(0, None), xlabel="step")
    ax.xaxis.set_major_formatter("{x:g}")
    return grid


def draw_ends(gaps: Axes, quality: Axes, first: pd.DataFrame, ends: pd.DataFrame) -> None:
    """After training, by temperature: gaps beside the published ones; recall@1 and accuracy beside those before it."""
    tuned, at = tuned_by_the_paper(), [1 / tau for tau in PAPER_TEMPERATURES]
    for column, (name, paper, colour, key) in GAPS.items():
        by_tau(gaps, ends, column, color=colour, label=name)
        gaps.plot(at, tuned[key], "D--", ms=3, lw=0.8, color=colour, mfc="none", label=f"published, {paper}")
    gaps.set(ylabel="gap distance after training", ylim=(0, 1.9))
    finish(gaps, "b", "the gap by temperature", loc="upper left", ncols=2, columnspacing=1.0)
    for column, (name, colour) in QUALITY.items():
        by_tau(quality, ends, column, color=colour, label=name)
        quality.axhline(first[column].mean(), color=colour, lw=0.8, ls=":")
    if len(ends):
        quality.plot([], [], color=figures.MUTED, lw=0.8, ls=":", label="before fine-tuning")
    quality.set(ylim=(-0.03, 1.6), yticks=np.linspace(0, 1, 6), ylabel="share")
    finish(quality, "c", "what the models can do", loc="upper left")


def by_tau(ax: Axes, ends: pd.DataFrame, column: str, **style) -> None:
    """Every seed as a small dot and the mean over them, on a logarithmic axis of 1/tau."""
    known = ends.dropna(subset=column)
    mean = known.groupby("temperature")[column].mean()
    ax.plot(1 / known["temperature"], known[column], ".", ms=3, color=style["color"])
    if len(mean):
        ax.plot(1 / mean.index, mean, "-", lw=1.2, **style)
    ax.set_xscale("log")
    ax.set_xticks(at := [1, 10, 20, 50, 100], [temperature_label(1 / scale) for scale in at])
    ax.minorticks_off()
    ax.set_xlabel("temperature")


def draw_landscape(ax: Axes, fixed: pd.DataFrame, colours: dict) -> None:
    """For every temperature, the models' own gap and the gap at their lowest loss at each temperature."""
    present = list(colours)
    for (tau, at), models in fixed.groupby(["temperature", "evaluated_temperature"]):
        place, gaps, ringed = present.index(tau), models["gap_at_minimum"], bool(np.isclose(tau, at))
        style = {"ms": 5.5, "mec": figures.INK, "mew": 1.1} if ringed else {"ms": 4, "mec": "white", "mew": 0.3}
        ax.plot([gaps.min(), gaps.max()], [place] * 2, color=colours[at], lw=1, zorder=3)
        ax.plot(gaps.mean(), place, "o", color=colours[at], zorder=4 + ringed, **style)
        ax.plot([models["own_gap"].mean()] * 2, [place - 0.3, place + 0.3], color=figures.INK, lw=2, zorder=2)
    for tau, colour in colours.items():
        ax.plot([], [], "o", ms=4, color=colour, label=temperature_label(tau))
    if len(fixed):
        ax.plot([], [], "|", ms=7, mew=2, color=figures.INK, label="own gap")
        ax.plot([], [], "o", ms=5.5, mfc="none", mec=figures.INK, mew=1.1, label="where trained")
    ax.set_yticks(range(len(present)), [temperature_label(tau) for tau in present])
    ax.set(ylim=(len(present) - 0.4, -0.6 - 0.4 * max(1, len(present))), ylabel="trained at")
    ax.set_xlabel("signed gap distance at the lowest loss")


def draw_initializations(ax: Axes, table: pd.DataFrame) -> None:
    """Gap over the steps, each initialization, its interval over seeds, and the published gaps before and after."""
    bar = {"ms": 9, "mew": 1.6, "mec": figures.INK}
    for name in [name for name in INITIALIZATIONS if table["initialization"].eq(name).any()]:
        colour, paper = INITIALIZATIONS[name], seeds_of_the_paper()
        grid = curves(ax, table[table["initialization"] == name], name, color=colour)
        limits = [over_seeds(row.dropna()) for _, row in grid.iterrows()]
        low, high = ([each.get(end, np.nan) for each in limits] for end in ("low", "high"))
        ax.fill_between(grid.index, low, high, color=colour, alpha=0.15, lw=0)
        for place, when in ((0.03, "init"), (0.97, "trained")):
            gaps, style = paper[f"{name}_{when}"], {"lw": 1.2, "capsize": 2, "zorder": 5, "color": colour}
            half = over_seeds(gaps)["high"] - np.mean(gaps)
            ax.errorbar(place, np.mean(gaps), half, fmt="_", transform=ax.get_yaxis_transform(), **style, **bar)
    ax.plot([], [], "_", color=figures.INK, label="published", **bar)
    ax.set(ylabel=HELD_OUT, ylim=(0, 1.9))
    finish(ax, "a", "from random weights", loc="upper center", ncols=3)


def draw_optimisers(ax: Axes, table: pd.DataFrame, chance: float) -> None:
    """Gap against loss on held-out pairs, a line for each pair of settings of the optimiser."""
    groups = table.groupby(["learning_rate", "weight_decay"])
    for colour, ((rate, decay), runs) in zip(figures.SERIES, groups, strict=False):
        mean = runs.groupby("step")[["loss", "gap_distance"]].mean()
        ax.plot(mean["loss"], mean["gap_distance"], ".-", ms=3, lw=1.1, color=colour, label=f"{rate:g}, {decay:g}")
        ax.plot(*mean.iloc[0], "s", ms=5, mfc="none", color=figures.INK, zorder=5)
    ax.plot([], [], "s", ms=5, mfc="none", color=figures.INK, label="first weights")
    ax.axvline(chance, color=figures.MUTED, lw=0.8, ls=":", label="loss of chance")
    ax.invert_xaxis()
    low, high = ax.get_ylim()
    ax.set(xlabel="held-out loss, nats", ylabel=HELD_OUT, ylim=(low, high + 0.5 * (high - low)))
    finish(ax, "b", "the gap as a model learns", title="learning rate, weight decay", loc="upper center", ncols=3)


def finish(ax: Axes, letter: str, text: str, **legend) -> None:
    """The panel's title, and a compact legend where there is anything to name."""
    figures.panel_title(ax, letter, text)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(title_fontsize=6.5, borderaxespad=0.2, **legend)
    else:
        ax.text(0.5, 0.5, "not run", transform=ax.transAxes, ha="center", color=figures.MUTED)
