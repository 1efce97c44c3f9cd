"""Drawing of Figure 2 (a) from its record: a column for each encoder, a row for each kind of weights and input."""

from enum import StrEnum
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from encoder_options import RESNET, TEXT, VISION
from tower_inputs import NOISE
from util import figures, published, records
from util.encoders.named import Named

TITLES = ("ResNet-18", "Vision Transformer", "Text Transformer")
PUBLISHED = {RESNET: "resnet", VISION: "vision_transformer", TEXT: "text_transformer"}
KEY = "figure_2a_mean_cosine"
SMALL_CLIP = "small CLIP"
OWN_WEIGHTS = "your own"


class Row(StrEnum):
    """Rows of the figure, from above."""

    TRAINED_REAL = "pretrained_real"
    RANDOM_REAL = "random_real"
    RANDOM_NOISE = "random_noise"
    OWN = "own"


KINDS = {NOISE: "noise", "scenes": "generated scenes", "captions of scenes": "generated scenes"}
"""Inputs that are not real data."""
SMALL_NOTE = (
    f"First row: {SMALL_CLIP}; {figures.EMBEDDED_NOTE}.\n"
    "Other rows: architectures at full size, random weights, on few inputs."
)


def draw(record: records.Record) -> plt.Figure:
    """The paper's grid: a column for each encoder, a row for each kind of weights and input."""
    table, histograms = record.tables[""], record.tables["histograms"]
    columns, rows = layout(table, record.about["settings"]["model"]), [row for row in Row if row in set(table["row"])]
    size = (min(3.2 * len(columns), 16), 1.9 * len(rows) + 0.7)
    figure, axes = plt.subplots(len(rows), len(columns), figsize=size, layout="constrained", squeeze=False)
    heading = {"xycoords": "axes fraction", "ha": "center", "va": "center"}
    for (i, row), (k, (title, encoders)) in product(enumerate(rows), enumerate(columns.items())):
        ax, here = axes[i, k], f"row == '{row}' and encoder in {encoders!r}"
        if len(part := table.query(here)):
            draw_panel(ax, part, histograms.query(here), title)
        else:
            ax.set_axis_off()
            reason = "trained weights are a download\n(--preset paper)" if row == Row.TRAINED_REAL else "see the record"
            ax.text(0.5, 0.5, f"left out: {reason}", ha="center", va="center", color=figures.MUTED, fontsize=7.5)
        if i == 0:
            ax.annotate(figures.plain(title), (0.5, 1.5), fontsize=9.5, weight="bold", **heading)
        if k == 0:
            label = row_label(table[table["row"] == row])
            ax.annotate(label, (-0.1, 0.5), fontsize=8, rotation=90, **heading)
        if i == len(rows) - 1:
            ax.set_xlabel("cosine of two embeddings")
    handles = [
        Line2D([], [], color=figures.INK, lw=1.2, label="mean over all pairs (and seeds)"),
        Line2D([], [], color=figures.INK, lw=1, ls="--", label="published mean"),
        Patch(color=figures.INK, alpha=0.1, lw=0, label="range of the seeds' means"),
        Line2D([], [], color=figures.MUTED, lw=0.5, label="one seed"),
    ]
    note = SMALL_NOTE if table["encoder"].str.startswith(SMALL_CLIP).any() else None
    figure.legend(handles=handles, title=note, loc="outside lower center", ncols=4, title_fontsize=7, alignment="left")
    return figure


def titles(model: str) -> dict[str, str]:
    """The paper's encoders and the titles of their columns; CLIP's towers are those of the model."""
    clip = Named("open_clip", model)
    return dict(zip((RESNET, clip.label("image"), clip.label("text")), TITLES, strict=True))


def layout(table: pd.DataFrame, model: str) -> dict[str, list[str]]:
    """Columns, title -> encoders: the paper's first; the small CLIP's towers stand in them where they have room."""
    papers, done = titles(model), set(table.loc[table["row"] == Row.TRAINED_REAL, "encoder"])
    free = {title for name, title in papers.items() if name not in done}
    small = {f"{SMALL_CLIP} vision": TITLES[1], f"{SMALL_CLIP} text": TITLES[2]}
    papers |= {name: title for name, title in small.items() if title in free}
    columns = {title: [] for title in TITLES}
    for name in table["encoder"].unique():
        columns.setdefault(papers.get(name, name), []).append(name)
    return {title: names for title, names in columns.items() if names}


def row_label(table: pd.DataFrame) -> str:
    """The weights and the inputs that a row holds."""
    if table["row"].iloc[0] == Row.OWN:
        return "your own embeddings"
    kinds = {OWN_WEIGHTS: "your own weights", "random": "random weights"}
    weights = " and ".join(sorted({kinds.get(name, "trained weights") for name in table["weights"]}))
    data = sorted({KINDS.get(name, "real data") for name in table["input"]}, reverse=True)
    return f"{weights},\n{', '.join(data)}"


def draw_panel(ax: plt.Axes, table: pd.DataFrame, histograms: pd.DataFrame, title: str) -> None:
    """Histograms of every seed, their mean, our mean cosine and the published one."""
    encoder, row, name, n = table[["encoder", "row", "input", "n"]].iloc[0]
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
            ax.stairs(part["density"], edges, color=colour, lw=0.5, alpha=0.4)
        ax.axvspan(low, high, color=figures.INK, alpha=0.1, lw=0)
    ax.axvline(mean, color=figures.INK, lw=1.2)
    who = "" if encoder in (title, *PUBLISHED) else f"{encoder}, "
    lines = [figures.plain(f"{who}{name}, n = {n}"), ours]
    paper = encoder.replace(SMALL_CLIP, "CLIP ViT-B/32")
    if paper in PUBLISHED:
        theirs = published.numbers()[f"{KEY}.{row}.{PUBLISHED[paper]}"].value
        lines.append(f"published{'' if paper == encoder else f', {paper}'}: {theirs:.{digits}f}")
        if row == Row.RANDOM_NOISE or edges[0] < theirs < edges[-1]:
            ax.axvline(theirs, color=figures.INK, lw=1, ls="--")
    ax.set_title("\n".join(lines), loc="left", fontsize=7)
    ax.set(yticks=[], ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.get_major_formatter().set_useOffset(False)
    ax.spines["left"].set_visible(False)
