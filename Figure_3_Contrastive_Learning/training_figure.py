"""The two pictures of section 4's training runs, drawn from their record: temperatures, and random weights."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape_terms import temperature_label
from training_claims import PAPER_TEMPERATURES, PREFIX, over_seeds
from util import figures, published
from util.records import Record

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
    ends = table[table["step"] == table["step"].max()]
    draw_temperatures(axes[0], table, colours)
    draw_gaps(axes[1], ends)
    draw_quality(axes[2], ends, table[table["step"] == 0])
    draw_landscape(axes[3], landscape, colours)
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


def draw_temperatures(ax: Axes, table: pd.DataFrame, colours: dict) -> None:
    """Gap over the steps, a line for each temperature and seed."""
    for tau, colour in colours.items():
        curves(ax, table[table["temperature"] == tau], temperature_label(tau), color=colour)
    ax.set(ylabel="gap distance, held-out pairs", ylim=(0, 1.7 * table["gap_distance"].max() if len(table) else None))
    place = {"loc": "upper center", "ncols": 4, "columnspacing": 1.0}
    finish(ax, "a", "fine-tuned at each temperature", title="temperature", **place)


def curves(ax: Axes, runs: pd.DataFrame, name: str, **style) -> pd.DataFrame:
    """A thin line for each seed and the mean over them; returns the gaps by step and seed."""
    grid = runs.pivot_table(index="step", columns="seed", values="gap_distance")
    if grid.shape[1] > 1:
        ax.plot(grid.index, grid, lw=0.5, alpha=0.6, **style)
    ax.plot(grid.index, grid.mean(axis=1), lw=1.5, label=name, **style)
    ax.set_xscale("symlog", linthresh=1, linscale=0.3)
    ax.set_xlim(0, None)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("step")
    return grid


def draw_gaps(ax: Axes, ends: pd.DataFrame) -> None:
    """Gap after training against the temperature, on both kinds of data, with the published values."""
    for column, (name, paper, colour, key) in GAPS.items():
        by_tau(ax, ends, column, color=colour, label=name)
        numbers = published.numbers(f"{PREFIX}temperature_fine_tuning.{key}.").values()
        at, values = [1 / tau for tau in PAPER_TEMPERATURES], [number.value for number in numbers]
        ax.plot(at, values, "D--", ms=3, lw=0.8, color=colour, mfc="none", label=f"published, {paper}")
    ax.set(ylabel="gap distance after training", ylim=(0, 1.9))
    finish(ax, "b", "the gap by temperature", loc="upper left", ncols=2, columnspacing=1.0)


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


def draw_quality(ax: Axes, ends: pd.DataFrame, first: pd.DataFrame) -> None:
    """Recall@1 both ways and zero-shot accuracy after training, fixed temperatures."""
    for column, (name, colour) in QUALITY.items():
        by_tau(ax, ends, column, color=colour, label=name)
        ax.axhline(first[column].mean(), color=colour, lw=0.8, ls=":")
    if len(ends):
        ax.plot([], [], color=figures.MUTED, lw=0.8, ls=":", label="before fine-tuning")
    ax.set(ylim=(-0.03, 1.6), yticks=np.linspace(0, 1, 6), ylabel="share")
    finish(ax, "c", "what the models can do", loc="upper left")


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
    finish(ax, "d", "where each temperature wants the gap", title="evaluated at", ncols=4, loc="upper center")


def draw_initializations(ax: Axes, table: pd.DataFrame) -> None:
    """Gap over the steps, each initialization, its interval over seeds, and the published gaps before and after."""
    paper = published.values()["section_4_training"]["initialisation_and_optimisation"]
    for name, colour in INITIALIZATIONS.items():
        runs = table[table["initialization"] == name]
        if not len(runs):
            continue
        grid = curves(ax, runs, name, color=colour)
        limits = [over_seeds(row.dropna()) for _, row in grid.iterrows()]
        low, high = ([each.get(end, np.nan) for each in limits] for end in ("low", "high"))
        ax.fill_between(grid.index, low, high, color=colour, alpha=0.15, lw=0)
        for place, when in ((0.03, "init"), (0.97, "trained")):
            if gaps := paper.get(f"{name}_{when}"):
                half = over_seeds(gaps)["high"] - np.mean(gaps)
                style = {"fmt": "_", "ms": 9, "mew": 1.6, "lw": 1.2, "capsize": 2, "zorder": 5, "color": colour}
                ax.errorbar(place, np.mean(gaps), half, transform=ax.get_yaxis_transform(), mec=figures.INK, **style)
    ax.plot([], [], "_", ms=9, mew=1.6, color=figures.INK, label="published")
    ax.set(ylabel="gap distance, held-out pairs", ylim=(0, 1.9))
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
    ax.set(xlabel="held-out loss, nats", ylabel="gap distance, held-out pairs")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.5 * (high - low))
    finish(ax, "b", "the gap as a model learns", title="learning rate, weight decay", loc="upper center", ncols=3)


def finish(ax: Axes, letter: str, text: str, **legend) -> None:
    """The panel's title, and a compact legend where there is anything to name."""
    figures.panel_title(ax, letter, text)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(title_fontsize=6.5, borderaxespad=0.2, **legend)
    else:
        ax.text(0.5, 0.5, "not run", transform=ax.transAxes, ha="center", color=figures.MUTED)
