"""Figure 3 (e-g) and the appendix: mismatched pairs, a low temperature, and a gap that lowers the loss.

Six image-text pairs on a sphere, two of them mismatched: the loss as the texts move towards the images and past them.
Nine pairs on two rings that move apart, with the labels of two neighbours swapped. And beyond the paper a dial: any
number of random points in any dimension, and any fraction of them mismatched up to one half. The paper's claim: below
some temperature the loss of mismatched pairs is lowest with a gap; above it, or without a mismatch, without one.

    python Figure_3_Contrastive_Learning/simulation.py                       (under 5 s on 2 cores, and the imports)
    python Figure_3_Contrastive_Learning/simulation.py --pairs 200 --dim 33 --mismatch 0 0.02 0.1 0.5
    python Figure_3_Contrastive_Learning/simulation.py --temperatures 0.01 0.07 1 --seeds 10

Nothing is downloaded. The paper preset has the released grids: 181 angles, 100 heights (which leave zero out). Expect,
for the six pairs, the lowest loss at |gap| 1.18 at temperature 1/100, 1.02 at 1/50, 0.86 at 1/35 and 0 at 1/5 and 1;
the critical temperature is 1/21. Matched right, it is at 0 everywhere.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import NullLocator
from tqdm import tqdm

import mismatched_pairs as simulations
from globe import draw_pairs
from mismatch import mismatched
from util import UserError, cli, figures, files, published, records
from util.contrastive import LEAST_TEMPERATURE
from util.numerics.arrays import as_count, as_numbers

NAME = "simulation"
CLIP_TEMPERATURE, DRAWN_TEMPERATURE = 1 / 100, 1 / 50
"""Of CLIP after training; and the one, or the nearest to it, that the dial's curves are drawn at."""
WHERE = "where the loss is lowest"
PANELS = {
    ("sphere", True): "Figure 3 (f, g)",
    ("sphere", False): "appendix, Figure 9",
    ("ring", True): "appendix, nine points",
    ("ring", False): "appendix, nine points",
    ("dial", True): "section 4, more pairs",
    ("dial", False): "section 4, more pairs",
}
CAPTIONS = {
    NAME: "Panel e: six images on the equator and their texts, which move along the meridians as the arrows show; "
    "lines join pairs, red where the pair is mismatched. Panels f and g: contrastive loss of the mismatched pairs "
    "against the angle of the texts, below and above the critical temperature; rings mark the lowest loss. Right: the "
    "same pairs matched right, at every temperature (the appendix).",
    f"{NAME}_ring": "Nine pairs on two rings at heights z and -z (the appendix): the pairs with the labels of two "
    "neighbours swapped, in red; the loss against z with and without the swap. Rings mark the lowest loss. Dotted: the "
    "loss as released, where a slip gives both images the same text.",
    f"{NAME}_dial": "Random pairs with a fraction of them mismatched: mean over seeds, and a band from the lowest seed "
    "to the highest. Left: loss against the signed gap at one temperature; rings mark the lowest. Middle: |gap| at the "
    "lowest loss against the temperature, points where it was measured on the curves, lines from the critical "
    "temperature. Right: the critical temperature, below which the lowest loss has a gap.",
}


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "Figure_3_Contrastive_Learning"
    angle_step: float = 1.0
    """Degrees between the angles of the six pairs' texts, from 90 to -90 (the paper: 1)."""
    heights: int = 101
    """Heights z of the rings, from -1 to 1 (the paper: 100)."""
    pairs: int = 100
    """Random pairs of the dial."""
    dim: int = 8
    """Their dimension, the one that they move apart along included."""
    mismatch: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5)
    """Fractions of mismatched pairs, from 0 to 0.5."""
    temperatures: tuple[float, ...] = tuple(1 / s for s in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200))
    """Values of tau for the dial; the paper's simulations keep theirs."""
    positions: int = 41
    """Heights z of the dial, from -1 to 1."""
    seeds: int = 5
    """Random sets of pairs: seed, seed + 1, ..."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", heights=100),
    "smoke": Settings(
        preset="smoke",
        angle_step=10.0,
        heights=21,
        pairs=20,
        mismatch=(0.0, 0.1, 0.5),
        temperatures=(1.0, 0.1, 0.01),
        positions=11,
        seeds=2,
    ),
}


def simulate(settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every curve, and where each is lowest with a row for each seed; the dial's curves are means over its seeds."""
    paper = published.values()["figure_3"]
    tables, minima = [], []
    for cases, positions, section in (
        (simulations.sphere_cases(), simulations.angles(settings.angle_step), "sphere_simulation"),
        (simulations.ring_cases(), simulations.heights(settings.heights), "nine_point_simulation"),
    ):
        temperatures = [1 / scale for scale in paper[section]["logit_scales"]]
        tables.append(simulations.curves(cases, positions, temperatures))
        minima.append(simulations.lowest(cases, temperatures))
    dials = []
    for seed in tqdm(range(settings.seed, settings.seed + settings.seeds), desc=NAME, unit="seed"):
        cases = simulations.dial_cases(settings.pairs, settings.dim, settings.mismatch, seed)
        dials.append(simulations.curves(cases, simulations.heights(settings.positions), settings.temperatures))
        minima.append(simulations.lowest(cases, settings.temperatures))
    mean = dials[0].copy()
    every = np.stack([dial["loss"] for dial in dials])
    mean["loss"], mean["loss_low"], mean["loss_high"] = every.mean(0), every.min(0), every.max(0)
    return pd.concat([*tables, mean], ignore_index=True), pd.concat(minima, ignore_index=True)


def compare(found: pd.DataFrame) -> list[records.Comparison]:
    """The paper's claims, each computed from the exact minima."""
    rows = []
    for (simulation, swapped, fraction), part in found.groupby(simulations.KEYS, sort=False):
        edge, panel = part["gap_at_minimum"].to_numpy(), PANELS[simulation, swapped]
        on = f"{simulation}, {fraction:.0%} of pairs mismatched"
        if not swapped:
            claim, ours = "no gap at any temperature", f"largest |gap| {edge.max():.4f}"
            rows.append(records.Comparison(panel, WHERE, claim, ours, on, bool(edge.max() == 0)))
            continue
        order = part.sort_values("temperature")
        low, high = order.iloc[0], order.iloc[-1]
        claim = "a gap at low temperature, none at high"
        ours = ", ".join(
            f"|gap| {end.gap_at_minimum:.3f} at {figures.temperature_label(end.temperature)}" for end in (low, high)
        )
        agrees = bool(low.gap_at_minimum > 0 and high.gap_at_minimum == 0)
        rows.append(records.Comparison(panel, WHERE, claim, ours, on, agrees))
    return rows


def draw(record: records.Record) -> plt.Figure:
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


def draw_ring(record: records.Record) -> plt.Figure:
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


def draw_curves(ax: plt.Axes, table: pd.DataFrame, found: pd.DataFrame) -> None:
    """Loss against position, a curve for each temperature, lowest places ringed; dotted where as released differs."""
    colours = shades(found["temperature"].unique())
    for (swapped, tau), curve in table.groupby(["mismatched", "temperature"], sort=False):
        ax.plot(curve["position"], curve["loss"], color=colours[tau], label=figures.temperature_label(tau))
        if not np.allclose(curve["loss"], curve["loss_as_released"]):
            ax.plot(curve["position"], curve["loss_as_released"], color=colours[tau], lw=0.8, ls=":")
        best = found[(found["mismatched"] == swapped) & (found["temperature"] == tau)].iloc[0]
        ring(ax, best["position_at_minimum"], best["lowest_loss"], colours[tau])


def ring(ax: plt.Axes, place: float, height: float, colour) -> None:
    """Marks a pair of minima, at a place and at its opposite."""
    ax.plot([-place, place], [height] * 2, "o", ms=4.5, mfc="white", mec=colour, mew=1.3, zorder=4)


def shades(values: Sequence[float]) -> dict[float, tuple]:
    """A colour for each value, light for the largest and dark for the smallest."""
    order = sorted(values, reverse=True)
    return {value: plt.colormaps["viridis_r"](0.1 + 0.9 * k / max(1, len(order) - 1)) for k, value in enumerate(order)}


def temperature_legend(figure, ax: plt.Axes) -> None:
    """A legend of temperatures to the right of the panels."""
    handles = ax.get_legend_handles_labels()
    figure.legend(*handles, loc="outside right center", title="temperature", title_fontsize=7)


def draw_dial(record: records.Record) -> plt.Figure:
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


def draw_dial_loss(ax: plt.Axes, curve: pd.DataFrame, best: pd.Series, colour) -> None:
    """Loss against the signed gap at one temperature and mismatch."""
    fraction, gap = best["mismatch_fraction"], curve["signed_gap_distance"]
    ax.fill_between(gap, curve["loss_low"], curve["loss_high"], color=colour, alpha=0.2, linewidth=0)
    ax.plot(gap, curve["loss"], color=colour, label=f"{100 * fraction:.3g}%" + (" mismatched" if fraction == 0 else ""))
    ring(ax, best["gap_on_grid"], best["lowest_loss"], colour)


def draw_dial_gap(ax: plt.Axes, part: pd.DataFrame, edge: pd.Series, colour) -> None:
    """|gap| at the lowest loss against temperature: as measured, and 2 sqrt(1 - temperature/critical) as a line."""
    grid = np.geomspace(part["temperature"].min(), part["temperature"].max(), 400)
    low, mid, high = (
        2 * np.sqrt(1 - np.minimum(1, grid / edge[name])) if edge[name] else np.zeros(len(grid))
        for name in ("critical_low", "critical_temperature", "critical_high")
    )
    ax.fill_between(grid, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.plot(grid, mid, color=colour)
    ax.plot(part["temperature"], part["gap_on_grid"], "o", ms=3, color=colour)


def draw_critical(ax: plt.Axes, edges: pd.DataFrame, temperatures: Sequence[float]) -> None:
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


def loss_axis(ax: plt.Axes, ticks: Sequence[float]) -> None:
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


def prepare(settings: Settings) -> None:
    """Refuses settings that make no sense, named as the options.

    Raises:
        UserError: a count that is too small, a temperature of zero or below, a fraction outside [0, 0.5], or of one
            pair, or the same as another.
    """
    for name, least in (("heights", 3), ("pairs", 2), ("dim", 3), ("positions", 3), ("seeds", 1)):
        as_count(getattr(settings, name), f"--{name}", least)
    for name in ("temperatures", "mismatch"):
        values = as_numbers(getattr(settings, name), f"--{name}")
        if len(set(values)) < len(values):
            raise UserError(f"--{name} has the same value twice: {' '.join(f'{v:g}' for v in values)}")
    low = min(settings.temperatures)
    if low < LEAST_TEMPERATURE:
        raise UserError(f"--temperatures must be above 0, at least {LEAST_TEMPERATURE:g} (CLIP's is 0.01), not {low:g}")
    shares = [
        mismatched(settings.pairs, fraction, np.arange(settings.pairs)).fraction for fraction in settings.mismatch
    ]
    if len(set(shares)) < len(shares):
        raise UserError(f"--mismatch: two fractions are the same number of {settings.pairs} pairs; raise --pairs")
    simulations.angles(settings.angle_step)


def source(settings: Settings) -> list[Mapping]:
    """What stands in the record in place of data sets."""
    paper = published.values()["figure_3"]
    return [
        {"name": "sphere", "data": paper["sphere_simulation"]["note"], "where": paper["sphere_simulation"]["where"]},
        {
            "name": "ring",
            "data": paper["nine_point_simulation"]["what"],
            "where": paper["nine_point_simulation"]["where"],
        },
        {
            "name": "dial",
            "data": f"drawn: {settings.pairs} points, uniform on the unit sphere of R^{settings.dim - 1}; a fraction "
            "of the pairs, in random order, mismatched in one cycle",
            "seeds": list(range(settings.seed, settings.seed + settings.seeds)),
        },
    ]


def main(settings: Settings) -> None:
    """Measures, records, draws."""
    start = time.perf_counter()
    cli.resolve_device(settings.device)
    prepare(settings)
    table, minima = simulate(settings)
    found, edges = simulations.summarise(table, minima), simulations.critical(table, minima)
    with files.publishing(settings.output) as folder:
        record = records.save(
            folder,
            NAME,
            {"": table, "minima": found, "critical": edges, "points": simulations.scene()},
            settings=settings,
            seconds=time.perf_counter() - start,
            device="cpu",
            dtype="float64",
            data=source(settings),
            comparisons=compare(found),
            title="Figure 3 (e-g): the contrastive loss of mismatched pairs",
            captions=CAPTIONS,
        )
        figures.use_style()
        figures.save(draw(record), folder, NAME)
        for picture, name in ((draw_ring, f"{NAME}_ring"), (draw_dial, f"{NAME}_dial")):
            figure = picture(record)  # a vector copy of these two would take a third of the run
            figure.savefig(folder / f"{name}.png", metadata={"Software": None})
            plt.close(figure)
    for row in edges.itertuples():
        what = f"{row.simulation}, {row.mismatch_fraction:.3g} mismatched"
        said = f"below temperature {row.critical_temperature:.4f}" if row.critical_temperature else "at no temperature"
        cli.say(f"[{NAME}] {what}: the loss is lowest with a gap {said}")
    cli.say(f"[{NAME}] wrote {settings.output}/{NAME}.png, .pdf, .csv, .json in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(PRESETS, __doc__)))
