"""Figure 3 (e-g), the appendix' nine pairs and the dial, drawn from the record of ``simulation.py``."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from mpl_toolkits.mplot3d.axes3d import Axes3D

from util import figures
from util.records import Record

CLIP_TEMPERATURE, DRAWN_TEMPERATURE = 1 / 100, 1 / 50
"""CLIP's after training; and the one, or the nearest to it, that the dial's curves are drawn at."""
WRONG = "#C00000"
"""Mismatched pairs, red as in the paper."""


def draw(record: Record) -> Figure:
    """Panels e to g, and the appendix' loss of the same pairs matched right."""
    table, found, edges, points = tables_of(record, "sphere")
    edge = edges.set_index("mismatched").loc[True, "critical_temperature"]
    figure, right = with_pairs(points, azimuth=30)
    figures.panel_title(figure.axes[0], "e", "two of six pairs mismatched")
    axes = right.subplots(1, 3, sharey=True)
    wrong, low, limit = table["mismatched"], table["temperature"] < edge, f"1/{1 / edge:.0f}"
    for ax, rows in zip(axes, (wrong & low, wrong & ~low, ~wrong), strict=True):
        draw_curves(ax, table[rows], found)
        ax.set(xlabel="angle of the texts (degrees)", xticks=[-90, -45, 0, 45, 90])
    figures.panel_title(axes[0], "f", f"mismatched, below {limit}")
    figures.panel_title(axes[1], "g", f"mismatched, above {limit}")
    axes[2].set_title("matched right (appendix)", loc="left")
    axes[0].set_ylabel("contrastive loss (nats)")
    temperature_legend(right, axes[2])
    return figure


def draw_ring(record: Record) -> Figure:
    """The appendix' nine pairs: where they lie, and the loss with and without swapped labels."""
    table, found, _, points = tables_of(record, "ring")
    figure, right = with_pairs(points, azimuth=255)
    figure.axes[0].set_title(f"labels of two neighbours swapped, z = {points['position'].iloc[0]:g}", loc="left")
    axes = right.subplots(1, 2)
    for ax, swapped, title in zip(axes, (True, False), ("labels swapped", "not swapped"), strict=True):
        draw_curves(ax, table[table["mismatched"] == swapped], found)
        loss_axis(ax, [0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1, 2])
        ax.set_xlabel("height z (|gap| = 2|z|)")
        ax.set_title(title, loc="left")
    axes[0].set_ylabel("contrastive loss (nats)")
    axes[1].plot([], [], color=figures.MUTED, lw=0.8, ls=":", label="as released")
    temperature_legend(right, axes[1])
    return figure


def tables_of(record: Record, simulation: str) -> list[pd.DataFrame]:
    """The curves, minima, critical temperatures and drawn points of one simulation."""
    tables = [record.tables[name] for name in ("", "minima", "critical", "points")]
    return [table[table["simulation"] == simulation] for table in tables]


def with_pairs(points: pd.DataFrame, azimuth: float):
    """A figure with the pairs at its left, and the part that is left for curves."""
    figure = plt.figure(figsize=(9.6, 2.9), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 2.8])
    draw_pairs(left.add_subplot(projection="3d"), points, azimuth)
    return figure, right


def draw_curves(ax: Axes, table: pd.DataFrame, found: pd.DataFrame) -> None:
    """Loss against position, a curve for each temperature, lowest places ringed; dotted where as released differs."""
    colours = shades(found["temperature"].unique())
    for (swapped, tau), curve in table.groupby(["mismatched", "temperature"], sort=False):
        ax.plot(curve["position"], curve["loss"], color=colours[tau], label=figures.temperature_label(tau))
        if not np.allclose(curve["loss"], curve["loss_as_released"]):
            ax.plot(curve["position"], curve["loss_as_released"], color=colours[tau], lw=0.8, ls=":")
        best = found[(found["mismatched"] == swapped) & (found["temperature"] == tau)].iloc[0]
        ring(ax, best["position_at_minimum"], best["lowest_loss"], colours[tau])


def ring(ax: Axes, place: float, height: float, colour) -> None:
    """Marks a pair of minima, at a place and at its opposite."""
    ax.plot([-place, place], [height] * 2, "o", ms=4.5, mfc="white", mec=colour, mew=1.3, zorder=4)


def shades(values: Sequence[float]) -> dict[float, tuple]:
    """A colour for each value, light for the largest and dark for the smallest."""
    order = sorted(values, reverse=True)
    return {value: plt.colormaps["viridis_r"](0.1 + 0.9 * k / max(1, len(order) - 1)) for k, value in enumerate(order)}


def temperature_legend(figure, ax: Axes) -> None:
    """A legend of temperatures to the right of the panels."""
    handles = ax.get_legend_handles_labels()
    figure.legend(*handles, loc="outside right center", title="temperature", title_fontsize=7)


def draw_dial(record: Record) -> Figure:
    """Loss curves at one temperature, and |gap| at the lowest loss against temperature, by mismatch fraction."""
    table, found, edges, _ = tables_of(record, "dial")
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.2), layout="constrained")
    temperatures = found["temperature"].unique()
    shown = temperatures[np.abs(np.log(temperatures / DRAWN_TEMPERATURE)).argmin()]
    for fraction, colour in shades(edges["mismatch_fraction"]).items():
        curve, part, edge = (rows[rows["mismatch_fraction"] == fraction] for rows in (table, found, edges))
        at_shown = part[part["temperature"] == shown].iloc[0]
        draw_dial_loss(axes[0], curve[curve["temperature"] == shown], at_shown, colour)
        draw_dial_gap(axes[1], part, edge.iloc[0], colour)
    loss_axis(axes[0], 10.0 ** np.arange(-9, 4))
    axes[0].set(xlabel="signed gap distance", ylabel="contrastive loss (nats)")
    axes[0].set_title(f"loss at temperature {figures.temperature_label(shown)}", loc="left")
    axes[1].axvline(CLIP_TEMPERATURE, color=figures.TEXT, ls="--", lw=1)
    axes[1].text(CLIP_TEMPERATURE * 1.05, 0.1, "CLIP's temperature", color=figures.TEXT, fontsize=7)
    axes[1].set(xlabel="temperature", ylabel="|gap| at the lowest loss", xscale="log")
    ticks = [1 / scale for scale in (1, 3, 10, 30, 100, 300, 1000) if 1 / scale >= min(temperatures) * 0.9]
    axes[1].set_xticks(ticks, [figures.temperature_label(tick) for tick in ticks])
    axes[1].xaxis.set_minor_locator(NullLocator())
    axes[1].set_title("the gap that the loss asks for", loc="left")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=9, title="pairs mismatched")
    return figure


def draw_dial_loss(ax: Axes, curve: pd.DataFrame, best: pd.Series, colour) -> None:
    """Loss against the signed gap at one temperature and mismatch."""
    gap = curve["signed_gap_distance"]
    ax.fill_between(gap, curve["loss_low"], curve["loss_high"], color=colour, alpha=0.2, linewidth=0)
    ax.plot(gap, curve["loss"], color=colour, label=f"{100 * best['mismatch_fraction']:.3g}%")
    ring(ax, best["gap_on_grid"], best["lowest_loss"], colour)


def draw_dial_gap(ax: Axes, part: pd.DataFrame, edge: pd.Series, colour) -> None:
    """|gap| at the lowest loss against temperature: as measured, and 2 sqrt(1 - temperature/critical) as a line."""
    grid = np.geomspace(part["temperature"].min(), part["temperature"].max(), 400)
    low, mid, high = (
        2 * np.sqrt(1 - np.minimum(1, grid / edge[name])) if edge[name] else np.zeros(len(grid))
        for name in ("critical_low", "critical_temperature", "critical_high")
    )
    ax.fill_between(grid, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.plot(grid, mid, color=colour)
    ax.plot(part["temperature"], part["gap_on_grid"], "o", ms=3, color=colour)


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
            ax.plot(*at.T, color=figures.TEXT, lw=0.8, alpha=0.55)
            ax.quiver(*at[-2], *(at[-1] - at[-2]), color=figures.TEXT, arrow_length_ratio=1.0, lw=1.0)
    first = points[points["position"] == points["position"].iloc[0]]
    images, texts = (first[first["modality"] == name] for name in ("image", "text"))
    for image, text in zip(images["point"], images["belongs_to"], strict=True):
        style = {"color": figures.INK, "lw": 0.8, "alpha": 0.5} if image == text else {"color": WRONG, "lw": 1.3}
        ax.plot(*np.stack([images[place].to_numpy()[image], texts[place].to_numpy()[text]], axis=1), **style)
    for name, rows, colour in (("images", images, figures.NON_TEXT), ("texts", texts, figures.TEXT)):
        ax.scatter(*rows[place].to_numpy().T, s=20, color=colour, depthshade=False, label=name, zorder=5)
    ax.legend(loc="lower center", ncols=2, handletextpad=0.1, bbox_to_anchor=(0.5, -0.02))


def draw_globe(ax: Axes3D, azimuth: float) -> None:
    """A light wire of the unit sphere, seen from the side of the pairs."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
    ax.computed_zorder = False
    ax.plot_wireframe(np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v), color=figures.GRID, lw=0.5, zorder=0)
    around = np.linspace(0, 2 * np.pi, 100)
    ax.plot(np.cos(around), np.sin(around), 0, color=figures.MUTED, lw=0.6, zorder=1)
    ax.view_init(elev=16, azim=azimuth)
    ax.set_box_aspect((1, 1, 1), zoom=1.45)
    ax.set_axis_off()
