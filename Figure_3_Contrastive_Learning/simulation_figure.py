"""Figure 3 (e-g) and the appendix' nine pairs, drawn from the record of ``simulation.py``."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.axes3d import Axes3D

from landscape_figure import grid, legend, log_losses, share_heights
from landscape_minima import temperature_label
from util import figures
from util.records import Record

WRONG = "#C00000"
"""Mismatched pairs, red as in the paper."""


def draw(record: Record) -> Figure:
    """Panels e to g, and the appendix' loss of the same pairs matched right."""
    table, found, edges, points = tables_of(record, "sphere")
    edge = edges.set_index("mismatched").loc[True, "critical_temperature"]
    figure, axes = grid(record, 4, 4, 2, 1.9, projection="3d")
    draw_pairs(axes[0], points, azimuth=30)
    wrong, low, limit = table["mismatched"], table["temperature"] < edge, f"1/{1 / edge:.0f}"
    for ax, rows in zip(axes[1:], (wrong & low, wrong & ~low, ~wrong), strict=True):
        draw_curves(ax, table[rows], found)
        ax.set(xlabel="angle (degrees)", xticks=[-90, -45, 0, 45, 90], ylabel="contrastive loss (nats)")
    share_heights(axes[1:])
    titles = ("two of six mismatched", f"τ < {limit}", f"τ > {limit}", "matched right")
    return lettered(figure, axes, "efgh", titles)


def draw_ring(record: Record) -> Figure:
    """The appendix' nine pairs: where they lie, and the loss with and without swapped labels."""
    table, found, _, points = tables_of(record, "ring")
    figure, axes = grid(record, 3, 3, 1, 2.1, projection="3d")
    draw_pairs(axes[0], points, azimuth=255)
    for ax, swapped in zip(axes[1:], (True, False), strict=True):
        draw_curves(ax, table[table["mismatched"] == swapped], found)
        log_losses(ax)
        ax.set(xlabel="height z (|gap| = 2|z|)", xticks=[-1, -0.5, 0, 0.5, 1], ylabel="contrastive loss (nats)")
    titles = (f"nine pairs at z = {points['position'].iloc[0]:g}", "two labels swapped", "not swapped")
    return lettered(figure, axes, "abc", titles)


def lettered(figure: Figure, axes: Sequence[Axes], letters: str, titles: Sequence[str]) -> Figure:
    """The figure with its panels' letters and titles, and the legend."""
    for ax, letter, title in zip(axes, letters, titles, strict=True):
        figures.panel_title(ax, letter, title)
    return legend(figure, columns=7)


def tables_of(record: Record, simulation: str) -> list[pd.DataFrame]:
    """The curves, minima, critical temperatures and drawn points of one simulation."""
    tables = [record.tables[name] for name in ("", "minima", "critical", "points")]
    return [table[table["simulation"] == simulation] for table in tables]


def draw_curves(ax: Axes, table: pd.DataFrame, found: pd.DataFrame) -> None:
    """Loss against position, a curve for each temperature, lowest places ringed; dotted where as released differs."""
    order = sorted(found["temperature"].unique(), reverse=True)  # light for the largest, dark for the smallest
    colours = {tau: plt.colormaps["viridis_r"](0.2 + 0.8 * k / max(1, len(order) - 1)) for k, tau in enumerate(order)}
    for (swapped, tau), curve in table.groupby(["mismatched", "temperature"], sort=False):
        ax.plot(curve["position"], curve["loss"], color=colours[tau], label=f"τ = {temperature_label(tau)}")
        if not np.allclose(curve["loss"], curve["loss_as_released"]):
            released = {"color": colours[tau], "lw": 0.9, "ls": ":", "label": "as released"}
            ax.plot(curve["position"], curve["loss_as_released"], **released)
        best = found[(found["mismatched"] == swapped) & (found["temperature"] == tau)].iloc[0]
        style = {"ls": "", "ms": 4.5, "mfc": "white", "mec": colours[tau], "mew": 1.3, "label": "lowest loss"}
        place = best["position_at_minimum"]
        ax.plot([-place, place], [best["lowest_loss"]] * 2, "o", **style, zorder=4)


def draw_pairs(ax: Axes3D, points: pd.DataFrame, azimuth: float) -> None:
    """A light unit sphere, the pairs at the first position, joined as they belong, and the texts' paths through all."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
    ax.computed_zorder = False
    ax.plot_wireframe(np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v), color=figures.GRID, lw=0.5, zorder=0)
    around = np.linspace(0, 2 * np.pi, 100)
    ax.plot(np.cos(around), np.sin(around), 0, color=figures.MUTED, lw=0.6, zorder=1)
    place = ["x", "y", "z"]
    for _, path in points[points["modality"] == "text"].groupby("point"):
        if len(path) > 1:
            at = path[place].to_numpy()
            ax.plot(*at.T, color=figures.TEXT, lw=0.8, alpha=0.55, label="path of the texts")
            ax.quiver(*at[-2], *(at[-1] - at[-2]), color=figures.TEXT, arrow_length_ratio=1.0, lw=1.0)
    first = points[points["position"] == points["position"].iloc[0]]
    images, texts = (first[first["modality"] == name] for name in ("image", "text"))
    for image, text in zip(images["point"], images["belongs_to"], strict=True):
        style = {"color": figures.INK, "lw": 0.8, "alpha": 0.5, "label": "matched pair"}
        style = style if image == text else {"color": WRONG, "lw": 1.3, "label": "mismatched pair"}
        ax.plot(*np.stack([images[place].to_numpy()[image], texts[place].to_numpy()[text]], axis=1), **style)
    for name, rows, colour in (("images", images, figures.NON_TEXT), ("texts", texts, figures.TEXT)):
        ax.scatter(*rows[place].to_numpy().T, s=12, color=colour, depthshade=False, label=name, zorder=5)
    ax.view_init(elev=16, azim=azimuth)
    ax.set_box_aspect((1, 1, 1), zoom=1.7)
    ax.set_axis_off()
