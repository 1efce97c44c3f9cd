"""Figure 3 (e-g) and the appendix: mismatched pairs, a low temperature, and a gap that lowers the loss.

Six pairs on a sphere, two of them mismatched, as the texts move past the images. Nine pairs on two rings, the labels of
two neighbours swapped. The claim: below some temperature the loss of mismatched pairs is lowest with a gap, otherwise
without one.

    python Figure_3_Contrastive_Learning/simulation.py                       (under 5 s on 2 cores, and the imports)

Expect, for the six pairs, the lowest loss at |gap| 1.18 at temperature 1/100, 1.02 at 1/50, 0.86 at 1/35 and 0 at 1/5
and 1. Their critical temperature is 1/21. They stand 20 degrees apart, as in the notebooks; 15, as in the paper's
appendix, are measured as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.axes3d import Axes3D

import simulation_curves
from landscapes import grid, legend, log_losses, share_heights, temperature_label
from util import cli, figures, published
from util.numerics.arrays import as_count
from util.records import Comparison, Record

WRONG = "#C00000"
"""Mismatched pairs, red as in the paper."""
NAME = "simulation"


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "Figure_3_Contrastive_Learning"
    heights: int = 101
    """Heights z of the rings, from -1 to 1 (the paper: 100)."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", heights=100),
    "smoke": Settings(preset="smoke", heights=21),
}


def compare(found: pd.DataFrame) -> list[Comparison]:
    """The paper's claims, each computed from the exact minima."""
    rows, least = [], published.numbers()["mismatched_pairs.sphere.mismatched"].judged_by.tolerance
    for (simulation, swapped, fraction), part in found.groupby(simulation_curves.KEYS, sort=False):
        order = part.sort_values("temperature")
        coldest, hottest, largest = order.iloc[0], order.iloc[-1], part["gap_at_minimum"].max()
        at = [f"|gap| {e.gap_at_minimum:.3f} at {temperature_label(e.temperature)}" for e in (coldest, hottest)]
        ours = ", ".join(at) if swapped else f"largest |gap| {largest:.4f}"
        agrees = coldest.gap_at_minimum > least and hottest.gap_at_minimum == 0 if swapped else largest == 0
        kind, matches = simulation.split()[0], "mismatched" if swapped else "matched"
        on, note = f"{simulation}, {fraction:.0%} of pairs mismatched", ""
        if swapped and kind == "ring":
            note = f"as released, where a slip gives two images one text: {coldest.gap_as_released:.3f} and "
            note += f"{hottest.gap_as_released:.3f}"
        rows.append(published.compare(f"mismatched_pairs.{kind}.{matches}", ours, on, bool(agrees), note, own=True))
    return rows


def measure(settings: Settings, device: str) -> cli.Measured:
    """Every curve, where each is lowest, and the critical temperatures."""
    as_count(settings.heights, "--heights", least=3)
    paper = published.values()["figure_3"]
    sphere, ring = paper["sphere_simulation"], paper["nine_point_simulation"]
    taus, ring_taus = ([1 / scale for scale in of["logit_scales"]] for of in (sphere, ring))
    spacings, said = sphere["spacing_degrees"].values(), []
    parts = [(simulation_curves.sphere_cases(each), simulation_curves.ANGLES, taus) for each in spacings]
    parts.append((simulation_curves.ring_cases(), simulation_curves.heights(settings.heights), ring_taus))
    table = pd.concat([simulation_curves.curves(*part) for part in parts])[simulation_curves.COLUMNS]
    minima = pd.concat([simulation_curves.lowest(cases, temperatures) for cases, _, temperatures in parts])
    found = minima[simulation_curves.MINIMA].join(simulation_curves.on_grid(table), on=simulation_curves.CURVE)
    edges = minima[simulation_curves.CRITICAL].drop_duplicates()
    for row in edges.itertuples():
        edge = f"below temperature {row.critical_temperature:.4f}" if row.critical_temperature else "at no temperature"
        said.append(f"{row.simulation}, {row.mismatch_fraction:.3g} mismatched: the loss is lowest with a gap {edge}")
    return cli.Measured(
        tables={"": table, "minima": found, "critical": edges, "points": simulation_curves.scene()},
        data=[
            {"name": "sphere", "data": sphere["note"], "where": sphere["where"]},
            {"name": "ring", "data": ring["what"], "where": ring["where"]},
        ],
        dtype="float64",
        comparisons=compare(found),
        said=said,
    )


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


DRAWS = {"": draw, "_ring": draw_ring}


def run(settings: Settings, reuse: bool = False) -> Record:
    """Measures on a CPU, whatever the device, records and draws."""
    cli.resolve_device(settings.device)
    settings = replace(settings, device="cpu")
    return cli.publish_run(NAME, settings, measure, DRAWS, **cli.words(__file__), reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
