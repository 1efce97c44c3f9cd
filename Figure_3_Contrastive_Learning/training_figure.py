"""The two pictures of section 4's training runs, drawn from their record: temperatures, and random weights."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape_minima import temperature_label
from training_claims import PAPER_TEMPERATURES, over_seeds, seeds_of_the_paper, tuned_by_the_paper
from util import figures
from util.records import Record

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
