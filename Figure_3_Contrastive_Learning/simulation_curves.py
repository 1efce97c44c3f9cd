"""The simulations of Figure 3 and its appendix, and a dial beyond them: their pairs, curves and minima.

``sphere`` is the six pairs of panel e and ``ring`` the appendix' nine pairs. ``dial`` is any number of random pairs, of
which any fraction up to one half is mismatched.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mismatched_pairs import (
    RIGHT_ANGLE,
    TIE,
    Caps,
    Matches,
    Meridians,
    best_logit_scale,
    losses,
    mismatched,
    on_circle,
    random_points,
)
from util import published
from util.errors import UserError

RING_AZIMUTHS = (0.0, 180.0, 90.0, 270.0, 45.0, 135.0, 315.0, 225.0, 1.53 * 180)
"""Degrees, in the released order; the last is a near neighbour of 270."""
RING_SWAPPED = (3, 8)
"""The two neighbours whose labels are swapped."""
DRAWN_ANGLES, DRAWN_HEIGHT = np.arange(-30.0, 30.5, 5.0), 0.6
"""Degrees: the part of the movement that panel e shows, as the released picture does; and the height of the rings'."""
KEYS = ["simulation", "mismatched", "mismatch_fraction"]
COLUMNS = ["simulation", "mismatched", "temperature", "position", "signed_gap_distance", "loss", "n_pairs", "dim"]
COLUMNS += ["mismatch_fraction", "loss_as_released", "loss_low", "loss_high"]


@dataclass(frozen=True)
class Case:
    """One set of pairs with one matching: what a curve is drawn for.

    Attributes:
        simulation: sphere, ring or dial.
        pairs: the points and how they move.
        matches: which of them belong together.
        released: the same with the labels of the released notebook; None where there is no notebook.
    """

    simulation: str
    pairs: Meridians | Caps
    matches: Matches
    released: Matches | None

    @property
    def labels(self) -> dict:
        fraction, swapped = self.matches.fraction, self.matches.fraction > 0
        return {"simulation": self.simulation, "mismatched": swapped, "mismatch_fraction": fraction}


def sphere_cases() -> list[Case]:
    """The six pairs as published, and the same pairs matched right."""
    paper = published.values()["figure_3"]["sphere_simulation"]
    azimuths = paper["azimuth_degrees_images"]
    pairs = Meridians(np.array(azimuths, dtype=np.float64))
    swapped = Matches.of([azimuths.index(angle) for angle in paper["azimuth_degrees_texts"]])
    return [Case("sphere", pairs, each, each) for each in (swapped, Matches.of(range(len(azimuths))))]


def ring_cases() -> list[Case]:
    """The nine pairs with the labels of two neighbours swapped, and without.

    The released swap assigns one tensor element from another in place, so both labels become the second one's: images
    3 and 8 both belong to text 8, and texts 3 and 8 to image 8. ``Case.released`` has those labels.
    """
    pairs = Caps(on_circle(RING_AZIMUTHS))
    right, (first, second) = np.arange(len(RING_AZIMUTHS)), RING_SWAPPED
    swapped, slip = right.copy(), right.copy()
    swapped[[first, second]] = second, first
    slip[first] = second
    both = Matches.of(right)
    return [Case("ring", pairs, Matches.of(swapped), Matches(slip, slip)), Case("ring", pairs, both, both)]


def dial_cases(n: int, dim: int, fractions: Sequence[float], seed: int) -> list[Case]:
    """n random pairs in R^dim with every fraction of them mismatched; the larger mismatched sets hold the smaller.

    The points are uniform on the unit sphere of R^(dim - 1), and the modalities move apart along the last dimension.
    """
    generator = np.random.default_rng(seed)
    pairs = Caps(random_points(n, dim - 1, generator))
    order = generator.permutation(n)
    return [Case("dial", pairs, mismatched(n, fraction, order), None) for fraction in fractions]


def curves(cases: Sequence[Case], positions: np.ndarray, temperatures: Sequence[float]) -> pd.DataFrame:
    """The loss at every position and temperature, for cases of the same pairs: rows of ``simulation.csv``.

    ``loss_as_released`` is empty where there is no notebook; ``loss_low`` and ``loss_high`` are for means over seeds.
    """
    moved = cases[0].pairs.move(positions)
    every = iter(losses(moved, temperatures, [m for case in cases for m in (case.matches, case.released) if m]))
    columns = {"temperature": temperatures, "position": positions}
    grid = pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)
    grid["signed_gap_distance"] = np.tile(np.sign(positions) * moved.gap_distances(), len(temperatures))
    frames = []
    for case in cases:
        frame = grid.assign(**case.labels, n_pairs=moved.images.shape[1], dim=moved.images.shape[2])
        frame["loss"] = next(every).T.ravel()
        frame["loss_as_released"] = next(every).T.ravel() if case.released else np.nan
        frames.append(frame.assign(loss_low=np.nan, loss_high=np.nan))
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def lowest(cases: Sequence[Case], temperatures: Sequence[float]) -> pd.DataFrame:
    """Where the loss of each case is lowest, exactly and not on a grid: one row for each case and temperature."""
    rows = []
    for case in cases:
        best = best_logit_scale(case.pairs.cosines, case.matches)
        slip = best_logit_scale(case.pairs.cosines, case.released) if case.released else math.nan
        for tau in temperatures:
            row = {**case.labels, "temperature": tau, "critical_temperature": 1 / best if best else math.inf}
            row["position"], row["gap"] = lowest_at(case.pairs, best * tau)
            row["gap_as_released"] = lowest_at(case.pairs, slip * tau)[1] if case.released else math.nan
            rows.append(row)
    return pd.DataFrame(rows)


def lowest_at(pairs: Meridians | Caps, contrast: float) -> tuple[float, float]:
    """|position| and |gap| at which the loss is lowest, from the contrast that the best logit scale asks for."""
    position = pairs.position(min(1.0, contrast))
    return position, float(pairs.move(position).gap_distances()[0])


def angles(step: float) -> np.ndarray:
    """Angles from 90 down to -90 degrees, with 0 among them."""
    if (
        not 0.01 <= step <= RIGHT_ANGLE
        or abs(RIGHT_ANGLE / step - round(RIGHT_ANGLE / step)) > TIE * RIGHT_ANGLE / step
    ):
        raise UserError(f"--angle-step must be from 0.01 to 90 degrees and divide 90, not {step}")
    count = round(RIGHT_ANGLE / step)
    return np.arange(count, -count - 1, -1) * (RIGHT_ANGLE / count)


def heights(count: int) -> np.ndarray:
    """Heights from -1 to 1; 0 is among them, exactly, where the count is odd."""
    return np.arange(1 - count, count, 2) / (count - 1)


def summarise(table: pd.DataFrame, minima: pd.DataFrame) -> pd.DataFrame:
    """One row for each curve: |gap| at the lowest loss, exactly, over seeds, and on the grid of the curve."""
    groups = minima.groupby([*KEYS, "temperature"], sort=False)
    found = groups[["position", "gap", "gap_as_released"]].mean()
    found = found.rename(columns={"position": "position_at_minimum", "gap": "gap_at_minimum"})
    found["gap_low"], found["gap_high"] = groups["gap"].min(), groups["gap"].max()
    best = pd.DataFrame({keys: on_grid(curve) for keys, curve in table.groupby([*KEYS, "temperature"], sort=False)}).T
    found["gap_on_grid"], found["lowest_loss"] = best["signed_gap_distance"].abs(), best["loss"]
    return found.reset_index()


def on_grid(curve: pd.DataFrame) -> pd.Series:
    """Gap and loss of a curve's lowest row; of several, as minima come in pairs, of the one with the least |gap|."""
    least = curve["loss"].min()
    ties = curve.loc[curve["loss"] <= least + TIE * max(1.0, abs(least)), ["signed_gap_distance", "loss"]]
    return ties.loc[ties["signed_gap_distance"].abs().idxmin()]


def critical(table: pd.DataFrame, minima: pd.DataFrame) -> pd.DataFrame:
    """One row for each simulation and mismatch: the temperature below which the lowest loss has a gap; 0 for none."""
    sizes = table.groupby(KEYS, sort=False)[["n_pairs", "dim"]].first()
    groups = minima.groupby(KEYS, sort=False)["critical_temperature"]
    sizes["seeds"] = groups.size() // minima.groupby(KEYS, sort=False)["temperature"].nunique()
    sizes["critical_temperature"] = groups.mean()
    sizes["critical_low"], sizes["critical_high"] = groups.min(), groups.max()
    return sizes.reset_index()


def scene() -> pd.DataFrame:
    """Rows of ``simulation_points.csv``: the pairs that panel e and the ring's picture show, in three dimensions."""
    rows = []
    for case, positions in ((sphere_cases()[0], DRAWN_ANGLES), (ring_cases()[0], [DRAWN_HEIGHT])):
        moved = case.pairs.move(positions)
        for k, position in enumerate(np.atleast_1d(positions)):
            for modality, points, belongs in zip(("image", "text"), moved, case.matches, strict=True):
                part = pd.DataFrame(points[k], columns=["x", "y", "z"])
                part.insert(0, "belongs_to", belongs)
                part.insert(0, "point", range(len(part)))
                rows.append(part.assign(simulation=case.simulation, position=position, modality=modality))
    columns = ["simulation", "position", "modality", "point", "belongs_to", "x", "y", "z"]
    return pd.concat(rows, ignore_index=True)[columns]
