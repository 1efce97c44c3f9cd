"""Figure 3 (a-d), drawn from the record of ``loss_landscape.py``."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from util import figures
from util.records import Record

SMALL_CLIP = "small CLIP, generated scenes"
"""Name of the embeddings that every checkout has."""
PANELS = (1 / 100, 1 / 50, 1.0)
"""Temperatures of panels b, c and d."""


def draw(record: Record) -> Figure:
    """The figure laid out as the paper's: one row of panels a-d for each set of embeddings."""
    names, present = list(record.about["results"]), record.tables[""]["temperature"].unique()
    chosen = [t for t in present if np.isclose(t, PANELS).any()] or list(present[:3])
    figure = plt.figure(figsize=(9.6, 2.75 * len(names)), layout="constrained")
    for name, row in zip(names, np.atleast_1d(figure.subfigures(len(names), 1, hspace=0.06)), strict=True):
        axes = draw_row(row, record, name, chosen, "bcd", released=True)
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def draw_strip(record: Record) -> Figure:
    """Three panels of the last set of embeddings: both modalities, and the loss at two temperatures."""
    present = record.tables[""]["temperature"]
    figure = plt.figure(figsize=(9.0, 2.7), layout="constrained")
    axes = draw_row(figure, record, list(record.about["results"])[-1], [present.min(), present.max()], "bd")
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles[1:], labels[1:], loc="outside lower right", ncols=2)
    return figure


def draw_row(figure, record: Record, name: str, chosen: Sequence[float], letters: str, released: bool = False):
    """Panel a and the loss at each chosen temperature, for one set of embeddings; returns the axes."""
    facts, table, points = record.about["results"][name], record.tables[""], record.tables["points"]
    table = table[table["embeddings"] == name].sort_values("signed_gap_distance")
    note = f"  ({figures.EMBEDDED_NOTE})" if name == SMALL_CLIP else ""
    figure.suptitle(f"{figures.plain(name)}: {facts['n_pairs']} pairs{note}", x=0.01, ha="left", fontsize=9)
    axes = figure.subplots(1, 1 + len(chosen), width_ratios=[1.15] + [1] * len(chosen))
    draw_points(axes[0], points[points["embeddings"] == name], facts)
    for letter, temperature, ax in zip(letters, chosen, axes[1:], strict=False):
        curve = table[table["temperature"] == temperature]
        if released:
            style = {"color": figures.MUTED, "lw": 0.9, "ls": ":", "label": "as released (image to text)"}
            ax.plot(curve["signed_gap_distance"], curve["loss_as_released"], **style)
        draw_curve(ax, curve, figures.INK, "symmetric")
        figures.panel_title(ax, letter, f"temperature {figures.temperature_label(temperature)}")
    axes[1].set_ylabel("contrastive loss (nats)")
    marks(axes[1])
    return axes


def draw_points(ax: Axes, points: pd.DataFrame, facts: Mapping) -> None:
    """Both modalities on two principal components, with an arrow from each centroid along the shift."""
    colours = (figures.NON_TEXT, figures.TEXT)
    for (modality, part), colour in zip(points.groupby("modality", sort=False), colours, strict=True):
        ax.scatter(part["pc1"], part["pc2"], s=4, color=colour, alpha=0.45, linewidths=0, label=figures.plain(modality))
    for at, sign in zip(np.array(facts["centroids"]), (-1, 1), strict=True):
        tip = at + sign * np.array(facts["direction"]) * 0.42 * facts["gap_distance"]
        style = {"arrowstyle": "-|>", "color": figures.INK, "lw": 1.4, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", xy=tip, xytext=at, arrowprops=style, zorder=4)
        ax.plot(*at, "o", color=figures.INK, ms=3.5, zorder=5)
    ratio = facts["explained_variance_ratio"]
    ax.set_xlabel(f"principal component 1 ({ratio[0]:.0%} of variance)")
    ax.set_ylabel(f"principal component 2 ({ratio[1]:.0%})")
    ax.legend(loc="best", markerscale=2.5, handletextpad=0.1)
    ax.margins(0.08)
    figures.panel_title(ax, "a", f"gap distance {facts['gap_distance']:.2f}")


def draw_curve(ax: Axes, curve: pd.DataFrame, colour: str, label: str) -> None:
    """Loss against signed gap distance, with the default gap and the minimum marked."""
    curve = curve.sort_values("signed_gap_distance")
    best = curve.loc[curve["loss"].idxmin()]
    ax.plot(curve["signed_gap_distance"], curve["loss"], color=colour, label=label)
    ax.axvline(curve.loc[curve["shift"] == 0, "signed_gap_distance"].item(), color=colour, ls="--", lw=0.9)
    ax.plot(best["signed_gap_distance"], best["loss"], "o", ms=5, mfc="white", mec=colour, mew=1.4)
    ax.set(xlabel="signed gap distance", xlim=(-2, 2))


def marks(ax: Axes) -> None:
    """What the dashed line and the ring mean, for the legend."""
    ax.plot([], [], color=figures.MUTED, ls="--", lw=0.9, label="default gap")
    ax.plot([], [], "o", ms=5, mfc="white", mec=figures.MUTED, mew=1.4, label="lowest loss")


def draw_temperatures(record: Record) -> Figure:
    """Every temperature in a panel of its own, one curve for each set of embeddings."""
    groups = list(record.tables[""].groupby("temperature", sort=False))
    rows = -(-len(groups) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(9.0, 2.5 * rows), layout="constrained", squeeze=False)
    for ax, (temperature, table) in zip(axes.flat, groups, strict=False):
        for (name, curve), colour in zip(table.groupby("embeddings", sort=False), cycle(figures.SERIES), strict=False):
            draw_curve(ax, curve, colour, figures.plain(name))
        ax.set_title(f"temperature {figures.temperature_label(temperature)}")
    for ax in axes.flat[len(groups) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("contrastive loss (nats)")
    if SMALL_CLIP in record.about["results"]:
        figure.suptitle(f"{SMALL_CLIP}: {figures.EMBEDDED_NOTE}", x=0.01, ha="left", fontsize=8)
    marks(axes[0, 0])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
