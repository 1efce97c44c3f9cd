"""Figure 3 (e-g) and the appendix: mismatched pairs, a low temperature, and a gap that lowers the loss.

Six pairs on a sphere, two of them mismatched, as the texts move past the images. Nine pairs on two rings, the labels of
two neighbours swapped. The claim: below some temperature the loss of mismatched pairs is lowest with a gap, otherwise
without one.

    python Figure_3_Contrastive_Learning/simulation.py                       (under 5 s on 2 cores, and the imports)

Expect, for the six pairs, the lowest loss at |gap| 1.18 at temperature 1/100, 1.02 at 1/50, 0.86 at 1/35 and 0 at 1/5
and 1. Their critical temperature is 1/21. They stand 20 degrees apart, as in the notebooks; 15, as in the paper's
appendix, are measured as well.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

import simulation_curves
from landscape_minima import temperature_label
from simulation_figure import draw, draw_ring
from util import cli, published
from util.numerics.arrays import as_count
from util.records import Comparison, Record

NAME = "simulation"
DRAWS = {"": draw, "_ring": draw_ring}


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


def run(settings: Settings, reuse: bool = False) -> Record:
    """Measures on a CPU, whatever the device, records and draws."""
    cli.resolve_device(settings.device)
    settings = replace(settings, device="cpu")
    return cli.publish_run(NAME, settings, measure, DRAWS, **cli.words(__file__), reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
