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

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

import simulation_curves
from mismatched_pairs import mismatched
from simulation_figure import draw, draw_dial, draw_ring
from util import UserError, cli, figures, published
from util.contrastive import LEAST_TEMPERATURE
from util.numerics.arrays import as_count, as_numbers
from util.records import Comparison, Record

NAME = "simulation"
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
        (simulation_curves.sphere_cases(), simulation_curves.angles(settings.angle_step), "sphere_simulation"),
        (simulation_curves.ring_cases(), simulation_curves.heights(settings.heights), "nine_point_simulation"),
    ):
        temperatures = [1 / scale for scale in paper[section]["logit_scales"]]
        tables.append(simulation_curves.curves(cases, positions, temperatures))
        minima.append(simulation_curves.lowest(cases, temperatures))
    dials = []
    for seed in tqdm(seeds(settings), desc=NAME, unit="seed", disable=None):
        cases = simulation_curves.dial_cases(settings.pairs, settings.dim, settings.mismatch, seed)
        positions = simulation_curves.heights(settings.positions)
        dials.append(simulation_curves.curves(cases, positions, settings.temperatures))
        minima.append(simulation_curves.lowest(cases, settings.temperatures))
    mean = dials[0].copy()
    every = np.stack([dial["loss"] for dial in dials])
    mean["loss"], mean["loss_low"], mean["loss_high"] = every.mean(0), every.min(0), every.max(0)
    return pd.concat([*tables, mean], ignore_index=True), pd.concat(minima, ignore_index=True)


def seeds(settings: Settings) -> range:
    """One seed for each of the dial's random sets of pairs."""
    return range(settings.seed, settings.seed + settings.seeds)


def compare(found: pd.DataFrame) -> list[Comparison]:
    """The paper's claims, each computed from the exact minima."""
    rows = []
    for (simulation, swapped, fraction), part in found.groupby(simulation_curves.KEYS, sort=False):
        key = f"mismatched_pairs.{simulation}.{'mismatched' if swapped else 'matched'}"
        order = part.sort_values("temperature")
        low, high = order.iloc[0], order.iloc[-1]
        if swapped:
            ours = ", ".join(
                f"|gap| {end.gap_at_minimum:.3f} at {figures.temperature_label(end.temperature)}" for end in (low, high)
            )
            agrees = low.gap_at_minimum > 0 and high.gap_at_minimum == 0
        else:
            ours = f"largest |gap| {part['gap_at_minimum'].max():.4f}"
            agrees = part["gap_at_minimum"].max() == 0
        on = f"{simulation}, {fraction:.0%} of pairs mismatched"
        rows.append(published.compare(key, ours, on, bool(agrees), own=simulation != "dial"))
    return rows


def measure(settings: Settings, device: str) -> cli.Measured:
    """The curves, their minima and the critical temperatures."""
    check(settings)
    table, minima = simulate(settings)
    found = simulation_curves.summarise(table, minima)
    edges = simulation_curves.critical(table, minima)
    said = []
    for row in edges.itertuples():
        edge = f"below temperature {row.critical_temperature:.4f}" if row.critical_temperature else "at no temperature"
        said.append(f"{row.simulation}, {row.mismatch_fraction:.3g} mismatched: the loss is lowest with a gap {edge}")
    return cli.Measured(
        tables={"": table, "minima": found, "critical": edges, "points": simulation_curves.scene()},
        data=sources(settings),
        dtype="float64",
        comparisons=compare(found),
        said=said,
    )


def check(settings: Settings) -> None:
    """
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
    order = np.arange(settings.pairs)
    shares = {mismatched(settings.pairs, fraction, order).fraction for fraction in settings.mismatch}
    if len(shares) < len(settings.mismatch):
        raise UserError(f"--mismatch: two fractions are the same number of {settings.pairs} pairs; raise --pairs")


def sources(settings: Settings) -> list[Mapping]:
    """What the record holds in place of data sets."""
    paper = published.values()["figure_3"]
    sphere, ring = paper["sphere_simulation"], paper["nine_point_simulation"]
    drawn = f"{settings.pairs} points, uniform on the unit sphere of R^{settings.dim - 1}"
    dial = f"drawn: {drawn}; a fraction of the pairs, in random order, mismatched in one cycle"
    return [
        {"name": "sphere", "data": sphere["note"], "where": sphere["where"]},
        {"name": "ring", "data": ring["what"], "where": ring["where"]},
        {"name": "dial", "data": dial, "seeds": list(seeds(settings))},
    ]


def run(settings: Settings, reuse: bool = False) -> Record:
    """Measures on a CPU, whatever the device, records and draws."""
    cli.resolve_device(settings.device)
    settings = replace(settings, device="cpu")
    draws = {"": draw, "_ring": draw_ring, "_dial": draw_dial}
    title = "Figure 3 (e-g): the contrastive loss of mismatched pairs"
    return cli.publish_run(NAME, settings, measure, draws, title=title, captions=CAPTIONS, reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
