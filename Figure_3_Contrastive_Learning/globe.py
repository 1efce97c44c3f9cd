"""Pairs on the unit sphere, drawn in three dimensions."""

import numpy as np
import pandas as pd
from mpl_toolkits.mplot3d.axes3d import Axes3D

from util import figures

WRONG = "#C00000"
"""Mismatched pairs, red as in the paper."""


def draw_pairs(ax: Axes3D, points: pd.DataFrame, azimuth: float) -> None:
    """The unit sphere with images, texts, the texts' paths, and a line from each image to the text that belongs to it.

    Args:
        ax: three-dimensional axes.
        points: rows of ``simulations.scene`` of one simulation. The pairs stand at its first position; the texts'
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
    for (name, part), colour in zip(places.items(), (figures.OTHER, figures.TEXT), strict=True):
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
