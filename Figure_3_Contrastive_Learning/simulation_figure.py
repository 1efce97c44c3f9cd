"""Figure 3 (e-g), the appendix' nine pairs and the dial, drawn from the record of ``simulation.py``."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from mpl_toolkits.mplot3d.axes3d import Axes3D

from landscape_figure import LOSS, grid, legend, share_heights
from util import figures
from util.records import Record

CLIP_TEMPERATURE = 1 / 100
"""CLIP's, after training."""
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
        ax.set(xlabel="angle (degrees)", xticks=[-90, -45, 0, 45, 90], ylabel=LOSS)
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
        loss_axis(ax, [0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1, 2])
        ax.set(xlabel="height z (|gap| = 2|z|)", ylabel=LOSS)
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
    colours = shades(found["temperature"].unique())
    for (swapped, tau), curve in table.groupby(["mismatched", "temperature"], sort=False):
        ax.plot(curve["position"], curve["loss"], color=colours[tau], label=f"τ = {figures.temperature_label(tau)}")
        if not np.allclose(curve["loss"], curve["loss_as_released"]):
            released = {"color": colours[tau], "lw": 0.9, "ls": ":", "label": "as released"}
            ax.plot(curve["position"], curve["loss_as_released"], **released)
        best = found[(found["mismatched"] == swapped) & (found["temperature"] == tau)].iloc[0]
        ring(ax, best["position_at_minimum"], best["lowest_loss"], colours[tau])


def ring(ax: Axes, place: float, height: float, colour) -> None:
    """Marks a pair of minima, at a place and at its opposite."""
    style = {"ls": "", "ms": 4.5, "mfc": "white", "mec": colour, "mew": 1.3, "label": "lowest loss"}
    ax.plot([-place, place], [height] * 2, "o", **style, zorder=4)


def shades(values: Sequence[float]) -> dict[float, tuple]:
    """A colour for each value, light for the largest and dark for the smallest."""
    order = sorted(values, reverse=True)
    return {value: plt.colormaps["viridis_r"](0.2 + 0.8 * k / max(1, len(order) - 1)) for k, value in enumerate(order)}


def draw_dial(record: Record) -> Figure:
    """|gap| at the lowest loss against temperature, a curve for each fraction of mismatched pairs."""
    _, found, edges, _ = tables_of(record, "dial")
    figure, (ax,) = grid(record, 1, 1, 1, 2.3)
    for fraction, colour in shades(edges["mismatch_fraction"]).items():
        part, edge = (rows[rows["mismatch_fraction"] == fraction] for rows in (found, edges))
        draw_dial_gap(ax, part, edge.iloc[0], colour)
    ax.axvline(CLIP_TEMPERATURE, color=figures.INK, ls="--", lw=1, label="CLIP's temperature")
    ax.set(xlabel="temperature", ylabel="|gap| at the lowest loss", xscale="log")
    ticks = [1 / scale for scale in (1, 3, 10, 30, 100, 300, 1000) if 1 / scale >= found["temperature"].min() * 0.9]
    ax.set_xticks(ticks, [figures.temperature_label(tick) for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    return legend(figure, columns=4)


def draw_dial_gap(ax: Axes, part: pd.DataFrame, edge: pd.Series, colour) -> None:
    """|gap| at the lowest loss against temperature: as measured, and 2 sqrt(1 - temperature/critical) as a line."""
    grid = np.geomspace(part["temperature"].min(), part["temperature"].max(), 400)
    low, mid, high = (
        2 * np.sqrt(1 - np.minimum(1, grid / edge[name])) if edge[name] else np.zeros(len(grid))
        for name in ("critical_low", "critical_temperature", "critical_high")
    )
    ax.fill_between(grid, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.plot(grid, mid, color=colour, label=f"{100 * edge['mismatch_fraction']:.3g}% mismatched")
    ax.plot(part["temperature"], part["gap_on_grid"], "o", ms=3, color=colour, label="on the curves")


def loss_axis(ax: Axes, ticks: Sequence[float]) -> None:
    """A logarithmic axis of losses, with those ticks that lie within it."""
    low, high = ax.dataLim.intervaly
    low, high = max(low, 1e-9 * high) / 1.3, high * 1.3
    ax.set(yscale="log", ylim=(low, high))
    inside = [tick for tick in ticks if low <= tick <= high]
    ax.set_yticks(inside, [f"{tick:g}" for tick in inside])
    ax.yaxis.set_minor_locator(NullLocator())


def draw_pairs(ax: Axes3D, points: pd.DataFrame, azimuth: float) -> None:
    """The unit sphere with the pairs at the first position, joined as they belong, and the texts' paths through all."""
    draw_globe(ax, azimuth)
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


def draw_globe(ax: Axes3D, azimuth: float) -> None:
    """A light wire of the unit sphere, seen from the side of the pairs."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
    ax.computed_zorder = False
    ax.plot_wireframe(np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v), color=figures.GRID, lw=0.5, zorder=0)
    around = np.linspace(0, 2 * np.pi, 100)
    ax.plot(np.cos(around), np.sin(around), 0, color=figures.MUTED, lw=0.6, zorder=1)
    ax.view_init(elev=16, azim=azimuth)
    ax.set_box_aspect((1, 1, 1), zoom=1.7)
    ax.set_axis_off()
