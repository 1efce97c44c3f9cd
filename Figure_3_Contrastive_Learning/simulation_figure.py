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
    tables = {what: table.query("simulation == 'sphere'") for what, table in record.tables.items()}
    table, edge = tables[""], tables["critical"].set_index("mismatched").loc[True, "critical_temperature"]
    figure = plt.figure(figsize=(9.6, 2.8), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 2.9])
    ax = left.add_subplot(projection="3d")
    draw_pairs(ax, tables["points"], azimuth=30)
    figures.panel_title(ax, "e", "two of six pairs mismatched")
    axes = right.subplots(1, 3, sharey=True)
    wrong, low, limit = table["mismatched"], table["temperature"] < edge, f"1/{1 / edge:.0f}"
    draw_curves(axes[0], table[wrong & low], tables["minima"])
    draw_curves(axes[1], table[wrong & ~low], tables["minima"])
    draw_curves(axes[2], table[~wrong], tables["minima"])
    figures.panel_title(axes[0], "f", f"mismatched, below {limit}")
    figures.panel_title(axes[1], "g", f"mismatched, above {limit}")
    axes[2].set_title("matched right (appendix)", loc="left")
    for ax in axes:
        ax.set(xlabel="angle of the texts (degrees)", xticks=[-90, -45, 0, 45, 90])
    axes[0].set_ylabel("contrastive loss (nats)")
    temperature_legend(right, axes[2])
    return figure


def draw_ring(record: Record) -> Figure:
    """The appendix' nine pairs: where they lie, and the loss with and without swapped labels."""
    tables = {what: table.query("simulation == 'ring'") for what, table in record.tables.items()}
    table, points = tables[""], tables["points"]
    figure = plt.figure(figsize=(9.6, 2.9), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 2.6])
    ax = left.add_subplot(projection="3d")
    draw_pairs(ax, points, azimuth=255)
    ax.set_title(f"labels of two neighbours swapped, z = {points['position'].iloc[0]:g}", loc="left")
    axes = right.subplots(1, 2)
    for ax, swapped, title in zip(axes, (True, False), ("labels swapped", "not swapped"), strict=True):
        draw_curves(ax, table[table["mismatched"] == swapped], tables["minima"])
        loss_axis(ax, [0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1, 2] if swapped else [0.003, 0.01, 0.03, 0.1, 0.3, 1])
        ax.set_xlabel("height z (|gap| = 2|z|)")
        ax.set_title(title, loc="left")
    axes[0].set_ylabel("contrastive loss (nats)")
    axes[1].plot([], [], color=figures.MUTED, lw=0.8, ls=":", label="as released")
    temperature_legend(right, axes[1])
    return figure


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
    """Loss curves at one temperature, |gap| at the lowest loss, and the critical temperature, by mismatch fraction."""
    names = ("", "minima", "critical")
    table, found, edges = (record.tables[name].query("simulation == 'dial'") for name in names)
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.0), layout="constrained")
    temperatures = found["temperature"].unique()
    shown = temperatures[np.abs(np.log(temperatures / DRAWN_TEMPERATURE)).argmin()]
    for fraction, colour in shades(edges["mismatch_fraction"]).items():
        curve = table[(table["mismatch_fraction"] == fraction) & (table["temperature"] == shown)]
        part = found[found["mismatch_fraction"] == fraction]
        draw_dial_loss(axes[0], curve, part[part["temperature"] == shown].iloc[0], colour)
        draw_dial_gap(axes[1], part, edges[edges["mismatch_fraction"] == fraction].iloc[0], colour)
    loss_axis(axes[0], 10.0 ** np.arange(-9, 4))
    axes[0].set(xlabel="signed gap distance", ylabel="contrastive loss (nats)")
    axes[0].set_title(f"loss at temperature {figures.temperature_label(shown)}", loc="left")
    axes[1].set(xlabel="temperature", ylabel="|gap| at the lowest loss")
    axes[1].set_title("the gap that the loss asks for", loc="left")
    temperature_axis(axes[1].xaxis, temperatures)
    draw_critical(axes[2], edges, temperatures)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=9)
    return figure


def draw_dial_loss(ax: Axes, curve: pd.DataFrame, best: pd.Series, colour) -> None:
    """Loss against the signed gap at one temperature and mismatch."""
    fraction, gap = best["mismatch_fraction"], curve["signed_gap_distance"]
    ax.fill_between(gap, curve["loss_low"], curve["loss_high"], color=colour, alpha=0.2, linewidth=0)
    ax.plot(gap, curve["loss"], color=colour, label=f"{100 * fraction:.3g}%" + (" mismatched" if fraction == 0 else ""))
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


def draw_critical(ax: Axes, edges: pd.DataFrame, temperatures: Sequence[float]) -> None:
    """The critical temperature against the mismatch, with what the loss asks for on either side of it."""
    edges = edges[edges["critical_temperature"].between(0, np.inf, inclusive="neither")].sort_values(
        "mismatch_fraction"
    )
    percent, middle = 100 * edges["mismatch_fraction"], edges["critical_temperature"]
    ends = (middle - edges["critical_low"], edges["critical_high"] - middle)
    ax.errorbar(percent, middle, yerr=ends, fmt="o-", ms=3, color=figures.INK, capsize=2, elinewidth=0.8)
    ax.axhline(CLIP_TEMPERATURE, color=figures.TEXT, ls="--", lw=1)
    for text, place, colour in (
        ("CLIP's temperature", (0.97, 0.24), figures.TEXT),
        ("lowest without a gap", (0.97, 0.92), figures.MUTED),
        ("lowest with a gap", (0.97, 0.45), figures.MUTED),
    ):
        ax.text(*place, text, color=colour, ha="right", fontsize=7, transform=ax.transAxes)
    ax.set(xlabel="pairs mismatched (%)", ylabel="critical temperature")
    temperature_axis(ax.yaxis, [1.0, 1 / 300])
    ax.set_ylim(1 / 300, 1.2)
    ax.set_title("below it, a gap lowers the loss", loc="left")


def loss_axis(ax: Axes, ticks: Sequence[float]) -> None:
    """A logarithmic axis of losses, with those ticks that lie within it."""
    low, high = ax.dataLim.intervaly
    low = max(low, 1e-9 * high)
    ax.set(yscale="log", ylim=(low / 1.3, high * 1.3))
    inside = [tick for tick in ticks if low / 1.3 <= tick <= high * 1.3]
    ax.set_yticks(inside, [f"{tick:g}" for tick in inside])
    ax.yaxis.set_minor_locator(NullLocator())


def temperature_axis(axis, temperatures: Sequence[float]) -> None:
    """A logarithmic axis of temperatures, its ticks written as the paper writes them."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    ticks = [1 / scale for scale in (1, 3, 10, 30, 100, 300, 1000) if 1 / scale >= min(temperatures) * 0.9]
    axis.set_ticks(ticks, [figures.temperature_label(tick) for tick in ticks])
    axis.set_minor_locator(NullLocator())


def draw_pairs(ax: Axes3D, points: pd.DataFrame, azimuth: float) -> None:
    """The unit sphere with images, texts, the texts' paths, and a line from each image to the text that belongs to it.

    Args:
        ax: three-dimensional axes.
        points: rows of ``simulation_points.csv`` of one simulation. The pairs stand at its first position; the texts'
            paths lead through all positions, if there are several.
        azimuth: where the viewer stands, in degrees.
    """
    draw_globe(ax, azimuth)
    standing = points[points["position"] == points["position"].iloc[0]]
    places = {name: part.set_index("point")[["x", "y", "z"]] for name, part in standing.groupby("modality")}
    paths = points.query("modality == 'text'").groupby("point")
    for _, path in paths if points["position"].nunique() > 1 else ():
        x, y, z = path[["x", "y", "z"]].to_numpy().T
        ax.plot(x, y, z, color=figures.TEXT, lw=0.8, alpha=0.55)
        tip = [x[-1] - x[-2], y[-1] - y[-2], z[-1] - z[-2]]
        ax.quiver(x[-2], y[-2], z[-2], *tip, color=figures.TEXT, arrow_length_ratio=1.0, lw=1.0)
    for row in standing.query("modality == 'image'").itertuples():
        ends = np.stack([places["image"].loc[row.point], places["text"].loc[row.belongs_to]])
        wrong = row.point != row.belongs_to
        ax.plot(*ends.T, color=WRONG if wrong else figures.INK, lw=1.3 if wrong else 0.8, alpha=1.0 if wrong else 0.5)
    for (name, part), colour in zip(places.items(), (figures.NON_TEXT, figures.TEXT), strict=True):
        ax.scatter(*part.to_numpy().T, s=20, color=colour, depthshade=False, label=f"{name}s", zorder=5)
    ax.legend(loc="lower center", ncols=2, handletextpad=0.1, bbox_to_anchor=(0.5, -0.02))


def draw_globe(ax: Axes3D, azimuth: float) -> None:
    """A light wire of the unit sphere, seen from the side of the pairs."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
    sphere = np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v)
    ax.computed_zorder = False
    ax.plot_wireframe(*sphere, color=figures.GRID, lw=0.5, zorder=0)
    around = np.linspace(0, 2 * np.pi, 100)
    ax.plot(np.cos(around), np.sin(around), 0, color=figures.MUTED, lw=0.6, zorder=1)
    ax.view_init(elev=16, azim=azimuth)
    ax.set_box_aspect((1, 1, 1), zoom=1.45)
    ax.set_axis_off()
