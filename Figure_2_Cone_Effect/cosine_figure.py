"""Drawing of Figure 2 (a) from its record: a line for each encoder, a column for each kind of weights and input."""

import textwrap
from enum import StrEnum

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from encoder_inputs import NOISE, RESNET, TEXT, VISION, label
from util import figures, published, records
from util.encoders.named import Named

TITLES = ("ResNet-18", "Vision Transformer", "Text Transformer")
PUBLISHED = {RESNET: "resnet", VISION: "vision_transformer", TEXT: "text_transformer"}
KEY = "figure_2a_mean_cosine"
SMALL_CLIP = "small CLIP"
OWN_WEIGHTS = "your own"
THEIRS = {"lw": 1, "ls": "--"}
"""Line of the published mean, with a triangle above it, for ours may hide it."""
LETTER = 3.9
"""Points that a letter of the smallest text takes on the average, with room to spare."""


class Row(StrEnum):
    """Rows of the paper's figure, from above: columns of ours. Published embeddings are in the tables alone."""

    TRAINED_REAL = "pretrained_real"
    RANDOM_REAL = "random_real"
    RANDOM_NOISE = "random_noise"
    OWN = "own"
    PUBLISHED = "published"


def draw(record: records.Record) -> plt.Figure:
    """A panel for each encoder, kind of weights and input that was measured; the first place left has the legend."""
    histograms, across = record.tables["histograms"], figures.width(record)
    table = record.tables[""].query(f"row != '{Row.PUBLISHED}'")
    lines, columns = layout(table, record.about["settings"]["model"]), [row for row in Row if row in set(table["row"])]
    letters = int(72 * across / len(columns) / LETTER) - 2
    size = (across, (1.2 + 0.4 * (across < max(figures.WIDTHS.values()))) * len(lines) + 0.8)
    shape = {"nrows": len(lines), "ncols": len(columns), "sharex": columns == [Row.OWN], "squeeze": False}
    figure, axes = plt.subplots(**shape, figsize=size, layout="constrained")
    free = []
    for (title, encoders), places in zip(lines.items(), axes, strict=True):
        for row, ax in zip(columns, places, strict=True):
            here = f"row == '{row}' and encoder in {encoders!r}"
            if len(part := table.query(here)):
                most = f"{here} and input == {part.loc[part['n'].idxmax(), 'input']!r}"
                draw_panel(ax, table.query(most), histograms.query(most), letters)
            else:
                free.append(ax)
        places[0].set_ylabel(figures.plain(title), weight="bold")
    for ax in free:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    small = f"{SMALL_CLIP}: {figures.EMBEDDED_NOTE}" if table["encoder"].str.startswith(SMALL_CLIP).any() else ""
    below = textwrap.fill(small, int(72 * across / LETTER))
    figure.supxlabel(f"cosine of two embeddings\n{below}".strip(), fontsize=figures.LEAST_POINTS + 0.5)
    handles = [
        Line2D([], [], color=figures.INK, lw=1.2, label="mean"),
        Line2D([], [], color=figures.INK, marker="v", ms=4, label="mean, paper", **THEIRS),
        Patch(color=figures.INK, alpha=0.1, lw=0, label="range of means"),
        Line2D([], [], color=figures.MUTED, lw=0.5, label="one seed"),
    ]
    drawn = {mark.get_label() for ax in axes.flat for mark in ax.get_children()}
    handles = [mark for mark in handles if mark.get_label() in drawn]
    if free:
        free[0].set_title("not run here", loc="left", fontsize=figures.LEAST_POINTS + 0.2)
        legend = free[0].legend(handles=handles, loc="center left", fontsize=figures.LEAST_POINTS + 0.2, borderpad=0)
        legend.set_in_layout(False)
    else:
        figure.legend(handles=handles, loc="outside upper center", ncols=4 if across > 4 else 2)
    return figure


def titles(model: str) -> dict[str, str]:
    """The paper's encoders and their titles; CLIP's towers are those of the model."""
    clip = Named.parse(model)
    return dict(zip((RESNET, label(clip, "image"), label(clip, "text")), TITLES, strict=True))


def layout(table: pd.DataFrame, model: str) -> dict[str, list[str]]:
    """Lines, title -> encoders: the paper's first; the small CLIP's towers stand in them where they have room."""
    papers, done = titles(model), set(table.loc[table["row"] == Row.TRAINED_REAL, "encoder"])
    free = {title for name, title in papers.items() if name not in done}
    small = {f"{SMALL_CLIP} vision": TITLES[1], f"{SMALL_CLIP} text": TITLES[2]}
    lines: dict[str, list[str]] = {title: [] for title in TITLES}
    for name in table["encoder"].unique():
        title = small[name] if small.get(name) in free else papers.get(name, name)
        lines.setdefault(title, []).append(name)
    return {title: names for title, names in lines.items() if names}


def draw_panel(ax: plt.Axes, table: pd.DataFrame, histograms: pd.DataFrame, letters: int) -> None:
    """Histograms of every seed, their mean, our mean cosine and the published one."""
    encoder, weights, row, name, n = table[["encoder", "weights", "row", "input", "n"]].iloc[0]
    vision = figures.SERIES[1] if "esnet" in encoder.lower() else figures.NON_TEXT
    colour = figures.TEXT if encoder.lower().endswith("text") else vision
    bins = histograms.groupby(["left", "right"])["density"].mean().reset_index()
    edges = np.append(bins["left"], bins["right"].iloc[-1])
    ax.stairs(bins["density"], edges, color=colour, fill=True, alpha=0.3)
    mean, low, high, seeds = table["mean"].agg(["mean", "min", "max", "size"])
    digits = 3 if low < 0.99 else 5
    ours = f"mean {mean:.{digits}f}"
    if seeds > 1:
        ours += f" ({low:.{digits}f} to {high:.{digits}f}, {seeds:.0f} seeds)"
        for _, part in histograms.groupby("seed"):
            ax.stairs(part["density"], edges, color=colour, lw=0.5, alpha=0.4, label="one seed")
        ax.axvspan(low, high, color=figures.INK, alpha=0.1, lw=0, label="range of means")
    ax.axvline(mean, color=figures.INK, lw=1.2, label="mean")
    whose = weights if weights in (SMALL_CLIP, OWN_WEIGHTS) else f"{weights} weights"
    what = f"noise {'texts' if colour == figures.TEXT else 'pictures'}" if name == NOISE else name
    what = f"rows of {name}" if row == Row.OWN else what
    lines = [f"{whose}: {n:,} {what}", ours]
    paper = encoder.replace(SMALL_CLIP, "CLIP ViT-B/32")
    if paper in PUBLISHED:
        theirs = published.numbers()[f"{KEY}.{row}.{PUBLISHED[paper]}"].value
        lines.append(f"paper{'' if paper == encoder else f', {paper}'}: {theirs:.{digits}f}")
        if row == Row.RANDOM_NOISE or edges[0] < theirs < edges[-1]:
            ax.axvline(theirs, color=figures.INK, **THEIRS)
            place = {"transform": ax.get_xaxis_transform(), "clip_on": False}
            ax.plot(theirs, 1, "v", ms=4, color=figures.INK, label="mean, paper", **place)
    wrapped = "\n".join(textwrap.fill(line, letters) for line in lines)
    ax.set_title(figures.plain(wrapped), loc="left", fontsize=figures.LEAST_POINTS + 0.2)
    ax.set(yticks=[], ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(int(np.clip(letters // 13, 2, 6))))
    ax.xaxis.get_major_formatter().set_useOffset(False)
    ax.spines["left"].set_visible(False)
