"""Theorems 1 and 2: why random networks make cones, and why every initialization makes its own.

Theorem 1: a random ReLU layer raises the cosine of two vectors, with probability at least 1 - O(1/d_out), if it is
below 2/(r + 1/r), r the ratio of their norms. Theorem 2: the share of the initialization in the variance of a
pre-activation is at least the average cosine of the previous layer.

    python Figure_2_Cone_Effect/theorems.py
    python Figure_2_Cone_Effect/theorems.py --cosines 0.8 0.99 --norm-ratios 1 3 --norms 2 --trials 50000

Nothing is downloaded: the embedded and the paper preset are the same.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

import theorem_1
import theorem_2
from theorem_2 import AS_FIGURE, ON_SPHERE, ONE_LAYER
from util import cli, figures, records
from util.numerics.arrays import as_count
from util.reporting.comparisons import number

NAME = "theorems"
COLUMNS = "theorem cosine norm_ratio norm d_out layers in_condition n_trials estimate ci_low ci_high predicted case"
JOINT = "pairs of pre-activations drawn from their exact joint normal distribution; cells share the normals"
INSIDE, GROWS, FALLS = figures.SERIES[0], figures.SERIES[1], figures.SERIES[5]


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "Figure_2_Cone_Effect"
    trials: int = 5000
    """Theorem 1: random layers of the largest d_out; their units make up several narrower ones each."""
    widest: int = 4096
    """Theorem 1: the largest d_out, a power of two; the others are 8, 16, ..."""
    cosines: tuple[float, ...] = (-0.5, 0.0, 0.25, 0.5, 0.75, 0.9, 0.95)
    """Theorem 1: cosines of the two vectors u and v."""
    norm_ratios: tuple[float, ...] = (1.0, 1.5, 2.0, 4.0)
    """Theorem 1: r = |u| / |v|."""
    norms: tuple[float, ...] = (0.25, 1.0, 4.0, 16.0)
    """Theorem 1: |v|."""
    seeds: int = 64
    """Theorem 2: random initializations."""
    items: int = 64
    """Theorem 2: inputs, the same for every initialization."""
    units: int = 256
    """Theorem 2: width of the networks by depth; the single layers have half of it."""
    layers: int = 25
    """Theorem 2: depth of the networks."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper"),
    "smoke": Settings(preset="smoke", trials=200, widest=512, seeds=8, items=16, units=64, layers=4),
}


def draw(record: records.Record) -> plt.Figure:
    """Theorem 1: the probability, and d_out times the failure rate."""
    cells = record.tables[""].query("theorem == 1")
    figure, axes = two_panels(record)
    draw_probability(axes[0], cells)
    draw_failures(axes[1], cells.query("in_condition"))
    for ax in axes:
        ax.set_xscale("log", base=2)
        ticks = 8 * 4 ** np.arange(np.log(cells["d_out"].max() / 8) // np.log(4) + 1, dtype=int)
        ax.set_xticks(ticks, ticks)
        ax.set_xlabel("$d_{out}$, units")
    return figure


def draw_second(record: records.Record) -> plt.Figure:
    """Theorem 2: the share after one layer, and by depth."""
    figure, axes = two_panels(record)
    draw_one_layer(axes[0], record.tables[""])
    draw_depth(axes[1], record.tables[""])
    for ax in axes:
        ax.set(yticks=np.linspace(0, 1, 6), ylabel="share of the initialization in the variance")
    return figure


def two_panels(record: records.Record):
    """A figure and two axes, beside each other on a page and one above the other in a column."""
    width = figures.width(record)
    rows, columns, height = (2, 1, 5.6) if width < 5 else (1, 2, 3.0)
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained")


def draw_lines(ax: plt.Axes, cells: pd.DataFrame, values: str, label: str, style: str, **look) -> None:
    """A line against d_out for each cell, one of them in the legend."""
    drawn = ax.plot(cells.pivot(index="d_out", columns=theorem_1.CELL, values=values), style, lw=0.8, **look)
    plt.setp(drawn[:1], label=label.format(len(drawn)))


def draw_probability(ax: plt.Axes, cells: pd.DataFrame) -> None:
    """Probability that the cosine grows, coloured by condition and closed form."""
    for label, where, colour in (
        ("inside the condition ({})", "in_condition", INSIDE),
        ("outside, limit above the cosine ({})", "not in_condition and predicted == 1", GROWS),
        ("outside, limit below it ({})", "not in_condition and predicted == 0", FALLS),
    ):
        draw_lines(ax, cells.query(where), "estimate", label, "-", color=colour, alpha=0.7)
    ax.set(ylim=(-0.36, 1.03), yticks=np.linspace(0, 1, 6), ylabel="probability that the cosine grows")
    ax.legend(loc="lower left", borderaxespad=0.2)
    figures.panel_title(ax, "a", "Theorem 1, every cell")


def draw_failures(ax: plt.Axes, cells: pd.DataFrame) -> None:
    """d_out times the failure rate where there is one, coloured by the cosine before the layer."""
    cells = cells.assign(failures=(cells["d_out"] * (1 - cells["estimate"])).where(cells["estimate"] < 1))
    count = cells["cosine"].nunique()
    colours = plt.get_cmap("viridis_r")(np.linspace(0.08, 1, count))
    for (cosine, part), colour in zip(cells.groupby("cosine"), colours, strict=True):
        draw_lines(ax, part, "failures", f"{cosine:g}", ".-", ms=2.5, color=colour)
    ax.set(yscale="log", ylabel="$d_{out}$ x failure rate")
    if count:
        ax.legend(title="cosine before", loc="best", ncols=2, title_fontsize=6.5, handlelength=1.2)
    figures.panel_title(ax, "b", "Theorem 1, inside the condition")


def draw_one_layer(ax: plt.Axes, table: pd.DataFrame) -> None:
    """Share of the initialization after one layer against the average cosine, with closed forms and the bound."""
    grid = np.linspace(0, 1, 200)
    ax.fill_between([0, 1], [0, 1], color=figures.MUTED, alpha=0.12, linewidth=0, label="below the bound")
    ax.plot([0, 1], [0, 1], color=figures.INK, ls="--", lw=1, zorder=3, label="bound: the average cosine")
    for (case, (relu, bias)), colour in zip(ONE_LAYER.items(), figures.SERIES, strict=False):
        ax.plot(grid, theorem_2.seed_share(grid, relu=relu, bias=bias), color=colour, lw=1)
        draw_shares(ax, "cosine", table[table["case"] == case], colour, case)
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.34), xlabel="average cosine of the inputs")
    ax.legend(loc="upper left", handletextpad=0.3, borderaxespad=0.2)
    figures.panel_title(ax, "a", "Theorem 2, one layer, unit inputs")


def draw_depth(ax: plt.Axes, table: pd.DataFrame) -> None:
    """Share of the initialization in the pre-activations by depth, and the average cosine that bounds it."""
    for case, colour, label in ((ON_SPHERE, INSIDE, "unit inputs"), (AS_FIGURE, FALLS, "as in Figure 2 (b)")):
        part = table[table["case"] == case]
        draw_shares(ax, "layers", part, colour, f"share, {label}")
        ax.plot("layers", "cosine", "--", data=part, color=colour, lw=1, label=f"bound: average cosine, {label}")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set(ylim=(-0.03, 1.03), xlabel="layer")
    ax.legend(loc="lower right")
    figures.panel_title(ax, "b", "Theorem 2, ReLU network with biases")


def draw_shares(ax: plt.Axes, x: str, part: pd.DataFrame, colour: str, label: str) -> None:
    """Estimates with their intervals."""
    bars = np.abs(part[["ci_low", "ci_high"]].to_numpy().T - part["estimate"].to_numpy())
    ax.errorbar(x, "estimate", bars, data=part, fmt="o", ms=3, mew=0, elinewidth=0.8, color=colour, label=label)


def measure(settings: Settings, device: str) -> cli.Measured:
    """Both theorems' tables and comparisons."""
    for name, least in (("trials", 1), ("seeds", 3), ("items", 2), ("units", 16), ("layers", 1)):
        as_count(getattr(settings, name), f"--{name}", least)
    grid = (settings.cosines, settings.norm_ratios, settings.norms)
    first = theorem_1.measure(grid, widest=settings.widest, trials=settings.trials, seed=settings.seed)
    counts = {name: getattr(settings, name) for name in ("seeds", "items", "layers", "seed")}
    second = theorem_2.measure(**counts, width=settings.units, device=device)
    inputs = f"drawn: one layer, inputs of equal cosines; by depth, {settings.items} inputs N(0, I)"
    seeds = list(range(settings.seed, settings.seed + settings.seeds))
    found = theorem_1.comparisons(first) + theorem_2.comparisons(second)
    return cli.Measured(
        tables={"": pd.concat([first, second], ignore_index=True)[COLUMNS.split()]},
        data=[
            {"name": "theorem 1, ReLU layer, bias", "data": JOINT, "seed": settings.seed},
            {"name": "theorem 2, the same inputs for every initialization", "data": inputs, "seeds": seeds},
        ],
        dtype="float32 normals, float64 sums",
        comparisons=found,
        said=[f"{c.panel}, {c.on}: {c.quantity}: {number(c.ours)}" for c in found],
    )


DRAWS = {"": draw, "_2": draw_second}


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records, draws; with ``reuse`` a record of the same settings and code is taken."""
    return cli.publish_run(NAME, settings, measure, DRAWS, **cli.words(__file__), reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
