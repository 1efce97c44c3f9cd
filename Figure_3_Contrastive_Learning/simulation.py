"""Figure 3 (e-g) and the appendix: mismatched pairs, a low temperature, and a gap that lowers the loss.

Six pairs on a sphere, two of them mismatched, as the texts move past the images. Nine pairs on two rings, the labels of
two neighbours swapped. Beyond the paper a dial: random pairs in any dimension, any fraction up to one half mismatched.
The claim: below some temperature the loss of mismatched pairs is lowest with a gap, otherwise without one.

    python Figure_3_Contrastive_Learning/simulation.py                       (under 5 s on 2 cores, and the imports)
    python Figure_3_Contrastive_Learning/simulation.py --pairs 200 --dim 33 --mismatch 0 0.02 0.1 0.5

Expect, for the six pairs, the lowest loss at |gap| 1.18 at temperature 1/100, 1.02 at 1/50, 0.86 at 1/35 and 0 at 1/5
and 1. Their critical temperature is 1/21.
"""

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
    NAME: "Panel e: six images on the equator and their texts, which move along the meridians; mismatched pairs are "
    "joined in red. Panels f and g: their loss against the angle of the texts, below and above the critical "
    "temperature; rings mark the lowest. Right: the same pairs matched right, at every temperature (the appendix).",
    f"{NAME}_ring": "Nine pairs on two rings at heights z and -z (the appendix), two labels swapped, in red; the loss "
    "against z with and without the swap. Rings mark the lowest. Dotted: as released, where both images get one text.",
    f"{NAME}_dial": "Random pairs, a fraction of them mismatched: mean over seeds, and a band over all of them. Left: "
    "loss against the signed gap; rings mark the lowest. Right: |gap| at the lowest loss against the temperature, "
    "points as measured on the curves, lines from the critical temperature, at which the gap is gone.",
}
DIAL_HEIGHTS = 41
"""Heights z of the dial, from -1 to 1."""


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "Figure_3_Contrastive_Learning"
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
    seeds: int = 5
    """Random sets of pairs: seed, seed + 1, ..."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", heights=100),
    "smoke": Settings(
        preset="smoke", heights=21, pairs=20, mismatch=(0.0, 0.1, 0.5), temperatures=(1.0, 0.1, 0.01),
        seeds=2,
    ),
}  # fmt: skip


def simulate(settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every curve, and where each is lowest with a row for each seed; the dial's curves are means over its seeds."""
    paper = published.values()["figure_3"]
    scales = [paper[section]["logit_scales"] for section in ("sphere_simulation", "nine_point_simulation")]
    sphere, ring = ([1 / scale for scale in each] for each in scales)
    parts = [
        (simulation_curves.sphere_cases(), simulation_curves.ANGLES, sphere),
        (simulation_curves.ring_cases(), simulation_curves.heights(settings.heights), ring),
    ]
    for seed in range(settings.seed, settings.seed + settings.seeds):
        cases = simulation_curves.dial_cases(settings.pairs, settings.dim, settings.mismatch, seed)
        parts.append((cases, simulation_curves.heights(DIAL_HEIGHTS), settings.temperatures))
    tables = [simulation_curves.curves(*part) for part in tqdm(parts, desc=NAME, disable=None)]
    minima = [simulation_curves.lowest(cases, temperatures) for cases, _, temperatures in parts]
    every = np.stack([dial["loss"] for dial in tables[2:]])
    mean = tables[2].assign(loss=every.mean(0), loss_low=every.min(0), loss_high=every.max(0))
    table, minima = pd.concat([*tables[:2], mean])[simulation_curves.COLUMNS], pd.concat(minima)
    table.loc[table["simulation"] == "dial", "loss_as_released"] = np.nan  # no notebook has it
    minima.loc[minima["simulation"] == "dial", "gap_as_released"] = np.nan
    return table, minima


def compare(found: pd.DataFrame) -> list[Comparison]:
    """The paper's claims, each computed from the exact minima."""
    rows = []
    for (simulation, swapped, fraction), part in found.groupby(simulation_curves.KEYS, sort=False):
        order = part.sort_values("temperature")
        coldest, hottest, largest = order.iloc[0], order.iloc[-1], part["gap_at_minimum"].max()
        at = [f"|gap| {e.gap_at_minimum:.3f} at {figures.temperature_label(e.temperature)}" for e in (coldest, hottest)]
        ours = ", ".join(at) if swapped else f"largest |gap| {largest:.4f}"
        agrees = coldest.gap_at_minimum > 0 and hottest.gap_at_minimum == 0 if swapped else largest == 0
        key = f"mismatched_pairs.{simulation}.{'mismatched' if swapped else 'matched'}"
        on = f"{simulation}, {fraction:.0%} of pairs mismatched"
        rows.append(published.compare(key, ours, on, bool(agrees), own=simulation != "dial"))
    return rows


def measure(settings: Settings, device: str) -> cli.Measured:
    """The curves, their minima and the critical temperatures."""
    check(settings)
    table, minima = simulate(settings)
    found, edges = simulation_curves.summarise(table, minima), simulation_curves.critical(minima)
    said = []
    for row in edges.itertuples():
        edge = f"below temperature {row.critical_temperature:.4f}" if row.critical_temperature else "at no temperature"
        said.append(f"{row.simulation}, {row.mismatch_fraction:.3g} mismatched: the loss is lowest with a gap {edge}")
    paper = published.values()["figure_3"]
    sphere, ring = paper["sphere_simulation"], paper["nine_point_simulation"]
    drawn = f"{settings.pairs} points, uniform on the unit sphere of R^{settings.dim - 1}, random ones mismatched"
    seeds = range(settings.seed, settings.seed + settings.seeds)
    return cli.Measured(
        tables={"": table, "minima": found, "critical": edges, "points": simulation_curves.scene()},
        data=[
            {"name": "sphere", "data": sphere["note"], "where": sphere["where"]},
            {"name": "ring", "data": ring["what"], "where": ring["where"]},
            {"name": "dial", "data": drawn, "seeds": list(seeds)},
        ],
        dtype="float64",
        comparisons=compare(found),
        said=said,
    )


def check(settings: Settings) -> None:
    """Refuses counts, temperatures and fractions that make no sense, and two that are the same."""
    for name, least in (("heights", 3), ("pairs", 2), ("dim", 3), ("seeds", 1)):
        as_count(getattr(settings, name), f"--{name}", least)
    for name in ("temperatures", "mismatch"):
        values = as_numbers(getattr(settings, name), f"--{name}")
        if len(set(values)) < len(values):
            raise UserError(f"--{name} has the same value twice: {' '.join(f'{v:g}' for v in values)}")
    low = min(settings.temperatures)
    if low < LEAST_TEMPERATURE:
        raise UserError(f"--temperatures must be above 0, at least {LEAST_TEMPERATURE:g} (CLIP's is 0.01), not {low:g}")
    right = np.arange(settings.pairs)
    counts = {(mismatched(settings.pairs, fraction, right) != right).sum() for fraction in settings.mismatch}
    if len(counts) < len(settings.mismatch):
        raise UserError(f"--mismatch: two fractions are the same number of {settings.pairs} pairs; raise --pairs")


def run(settings: Settings, reuse: bool = False) -> Record:
    """Measures on a CPU, whatever the device, records and draws."""
    cli.resolve_device(settings.device)
    settings = replace(settings, device="cpu")
    draws = {"": draw, "_ring": draw_ring, "_dial": draw_dial}
    title = "Figure 3 (e-g): the contrastive loss of mismatched pairs"
    return cli.publish_run(NAME, settings, measure, draws, title=title, captions=CAPTIONS, reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
