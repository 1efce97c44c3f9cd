"""The figure of section 4's training runs, drawn from their record."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training_claims import PAPER_TEMPERATURES
from util import figures, published
from util.records import Record

CAPTION = (
    "Fine-tuning at fixed temperatures and a learned one: (a) the gap on held-out pairs over the steps, a thin line "
    "for each seed; (b) the gap after training, beside the published values; (c) recall@1 and zero-shot accuracy "
    "after training. (d) Where each trained model's loss is lowest when images and texts are moved along the gap, at "
    "every temperature, a row for each seed: the bar is the model's own gap, the ringed dot the temperature that it "
    "was trained at. From random weights: (e) the gap over the steps with the original texts, and with texts mapped "
    "onto the images first, the map beside the model (amended) or inside its text projection (absorbed), and the "
    "published gaps after training (dash-dotted); (f) before and after, published means as short black lines."
)
INITIALIZATIONS = {"original": figures.SERIES[0], "amended": figures.TEXT, "absorbed": figures.SERIES[1]}
LEARNED = figures.INK
STARTED = "section_4_training.initialisation_and_optimisation."
OPEN = {"marker": "o", "ls": "", "ms": 4, "mfc": "none"}
QUALITY = {
    "image_recall_at_1": "image recall@1",
    "text_recall_at_1": "text recall@1",
    "zero_shot_accuracy": "zero-shot accuracy",
}


def draw(record: Record) -> Figure:
    """Two rows of three panels: temperature, and what it holds; initialization."""
    tuned, started = (
        {what: table[table["experiment"] == experiment] for what, table in record.tables.items()}
        for experiment in ("temperature", "initialization")
    )
    figure, axes = plt.subplots(2, 3, figsize=(9.8, 6.2), layout="constrained")
    fixed = sorted(tuned[""].query("not learned")["temperature"].unique(), reverse=True)
    shades = plt.get_cmap("viridis_r")(np.linspace(0.08, 1, max(2, len(fixed))))
    colours = dict(zip(fixed, shades, strict=False))
    draw_temperatures(axes[0, 0], tuned[""], colours)
    draw_gaps(axes[0, 1], tuned["summary"])
    draw_quality(axes[0, 2], tuned["summary"])
    draw_landscape(axes[1, 0], tuned["landscape"], colours)
    draw_initializations(axes[1, 1], started[""])
    draw_before_after(axes[1, 2], started["summary"])
    note = f"   ({figures.EMBEDDED_NOTE})" if record.about["results"]["generated"] else ""
    figure.suptitle(f"{figures.plain(record.about['results']['on'])}{note}", x=0.01, ha="left", fontsize=9)
    return figure


def draw_temperatures(ax: Axes, table: pd.DataFrame, colours: dict) -> None:
    """Gap over the steps, a line for each temperature and seed."""
    for (tau, learned), runs in sorted(table.groupby(["temperature", "learned"]), key=lambda each: -each[0][0]):
        colour, style = (LEARNED, "--") if learned else (colours[tau], "-")
        curves(ax, runs, colour, style, "learned" if learned else figures.temperature_label(tau))
    ax.set(xlabel="step", ylabel="gap distance, held-out pairs")
    ax.set_ylim(0, 1.5 * table["gap_distance"].max() if len(table) else None)
    style = {"loc": "upper center", "ncols": 3, "columnspacing": 1.0}
    finish(ax, "a", "fine-tuned at each temperature", title="temperature", **style)


def curves(ax: Axes, runs: pd.DataFrame, colour, style: str, name: str) -> None:
    """A thin line for each seed and the mean over them."""
    grid = runs.pivot_table(index="step", columns="seed", values="gap_distance")
    if grid.shape[1] > 1:
        ax.plot(grid.index, grid, color=colour, lw=0.5, ls=style, alpha=0.6)
    ax.plot(grid.index, grid.mean(axis=1), color=colour, lw=1.6, ls=style, label=name)


def draw_gaps(ax: Axes, summary: pd.DataFrame) -> None:
    """Gap after training against the temperature, every seed, with the published values."""
    fixed, learned = summary[~summary["learned"]], summary[summary["learned"]]
    if len(fixed):
        mean = fixed.groupby("temperature")["gap_after"].mean()
        ax.plot(1 / mean.index, mean, color=figures.NON_TEXT, lw=1)
        ax.plot(1 / fixed["temperature"], fixed["gap_after"], **OPEN, color=figures.NON_TEXT, label="here, fixed")
    if len(learned):
        ax.plot(1 / learned["tau"], learned["gap_after"], **OPEN, color=LEARNED, label="here, learned")
    paper = published.numbers("section_4_training.temperature_fine_tuning.gap_distance.").values()
    style = {"ms": 3.5, "lw": 0.9, "color": figures.TEXT, "label": "published: ViT-B/16, MSCOCO"}
    ax.plot([1 / tau for tau in PAPER_TEMPERATURES], [number.value for number in paper], "D--", **style)
    temperature_axis(ax)
    ax.set(ylabel="gap distance after training", ylim=(0, None))
    finish(ax, "b", "the lower the temperature, the wider", loc="upper left")


def temperature_axis(ax: Axes) -> None:
    """1/tau on a logarithmic axis, labelled as temperatures."""
    ax.set_xscale("log")
    ax.set_xticks(at := [1, 10, 20, 50, 100], [figures.temperature_label(1 / scale) for scale in at])
    ax.minorticks_off()
    ax.set_xlabel("temperature (colder to the right)")


def draw_quality(ax: Axes, summary: pd.DataFrame) -> None:
    """Recall@1 both ways and zero-shot accuracy after training, fixed temperatures."""
    fixed = summary[~summary["learned"]]
    for (column, name), colour in zip(QUALITY.items(), figures.SERIES, strict=False):
        mean = fixed.groupby("temperature")[column].mean().dropna()
        ax.plot(1 / mean.index, mean, "o-", ms=3, lw=1, color=colour, label=name if len(mean) else None)
    temperature_axis(ax)
    ax.set(ylim=(-0.03, 1.03), ylabel="share of held-out pairs")
    finish(ax, "c", "what the models can do", loc="lower right")


def draw_landscape(ax: Axes, landscape: pd.DataFrame, colours: dict) -> None:
    """For every model, its own gap and the gap at the lowest loss at each temperature; seeds one below the other."""
    fixed = landscape[~landscape["learned"]]
    present, seeds = list(colours), sorted(fixed["seed"].unique())
    for (tau, seed), model in fixed.groupby(["temperature", "seed"]):
        place = present.index(tau) + 0.6 * ((seeds.index(seed) + 0.5) / len(seeds) - 0.5)
        half = 0.3 / len(seeds)
        ax.plot([model["own_gap"].iloc[0]] * 2, [place - half, place + half], color=figures.INK, lw=2.2, zorder=2)
        for row in model.itertuples():
            ringed = bool(np.isclose(row.evaluated_temperature, tau))
            style = {"ms": 5, "mec": figures.INK, "mew": 1.1} if ringed else {"ms": 3.5, "mec": "white", "mew": 0.3}
            colour = colours[row.evaluated_temperature]
            ax.plot(row.gap_at_minimum, place, "o", color=colour, zorder=3 + ringed, **style)
    for tau, colour in colours.items():
        ax.plot([], [], "o", ms=4.5, color=colour, label=figures.temperature_label(tau))
    if len(fixed):
        ax.plot([], [], "|", ms=8, mew=2, color=figures.INK, label="own gap")
    ax.set_yticks(range(len(present)), [figures.temperature_label(tau) for tau in present])
    ax.set(ylim=(len(present) - 0.4, -0.6 - 0.35 * max(1, len(present))), ylabel="trained at")
    ax.set_xlabel("signed gap distance at the lowest loss")
    style = {"loc": "upper center", "ncols": 4, "handletextpad": 0.1, "columnspacing": 1.0}
    finish(ax, "d", "where each temperature wants the gap", title="evaluated at", **style)


def draw_initializations(ax: Axes, table: pd.DataFrame) -> None:
    """Gap over the steps from random weights, each initialization, and the published gaps after training."""
    paper = published.numbers(STARTED)
    for name, colour in INITIALIZATIONS.items():
        runs = table[table["initialization"] == name]
        if len(runs):
            curves(ax, runs, colour, ":" if name == "absorbed" else "-", name)
            if number := paper.get(f"{STARTED}{name}_trained"):
                ax.axhline(number.value, color=colour, lw=0.8, ls="-.", zorder=1)
    ax.set(xlabel="step", ylabel="gap distance, held-out pairs", ylim=(0, None))
    finish(ax, "e", "from random weights")


def draw_before_after(ax: Axes, summary: pd.DataFrame) -> None:
    """Gap before and after training, a line for each seed; published means beside them."""
    paper = published.numbers(STARTED)
    present = [name for name in INITIALIZATIONS if (summary["initialization"] == name).any()]
    for place, name in enumerate(present):
        colour, runs = INITIALIZATIONS[name], summary[summary["initialization"] == name]
        at = np.array([place - 0.2, place + 0.2])
        ax.plot(at, runs[["gap_before", "gap_after"]].T, "o-", ms=4, lw=1, color=colour)
        for x, when in zip(at, ("init", "trained"), strict=True):
            if number := paper.get(f"{STARTED}{name}_{when}"):
                ax.plot([x - 0.09, x + 0.09], [number.value] * 2, color=figures.INK, lw=1.6, zorder=4)
    if present:
        ax.plot([], [], color=figures.INK, lw=1.6, label="published: ViT-B/16, MSCOCO")
    ax.set_xticks(range(len(present)), [f"{name}\nbefore    after" for name in present])
    ax.set(xlim=(-0.5, len(present) - 0.5 if present else 0.5), ylabel="gap distance", ylim=(0, None))
    finish(ax, "f", "before and after training")


def finish(ax: Axes, letter: str, text: str, **legend) -> None:
    """The panel's title, and a compact legend where there is anything to name."""
    figures.panel_title(ax, letter, text)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(title_fontsize=7, borderaxespad=0.2, **legend)
    else:
        ax.text(0.5, 0.5, "not run", transform=ax.transAxes, ha="center", color=figures.MUTED)
