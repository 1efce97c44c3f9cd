"""The simulations of Figure 3 and its appendix, ``sphere`` and ``ring``: their pairs, curves and minima."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mismatched_pairs import TIE, Caps, Meridians, best_logit_scale, losses, on_circle
from util import published

RING_AZIMUTHS = (0.0, 180.0, 90.0, 270.0, 45.0, 135.0, 315.0, 225.0, 1.53 * 180)
"""Degrees, in the released order; the last is a near neighbour of 270."""
RING_SWAPPED = (3, 8)
"""The two neighbours whose labels are swapped."""
ANGLES = np.arange(90.0, -91.0, -1.0)
"""Degrees: where the texts of the sphere stand, as released."""
DRAWN = {"sphere": np.arange(-30.0, 30.5, 5.0), "ring": np.array([0.6])}
"""Positions that the pictures of the pairs show: the part of the texts' movement that panel e has, and a height."""
KEYS = ["simulation", "mismatched", "mismatch_fraction"]
CURVE = [*KEYS, "temperature"]
COLUMNS = ["simulation", "mismatched", "temperature", "position", "signed_gap_distance", "loss", "n_pairs", "dim"]
COLUMNS += ["mismatch_fraction", "loss_as_released"]
MINIMA = [*CURVE, "position_at_minimum", "gap_at_minimum", "gap_as_released"]
CRITICAL = [*KEYS, "n_pairs", "dim", "critical_temperature"]


@dataclass(frozen=True)
class Case:
    """One set of pairs and the text that belongs to each image, ``released`` as the notebook labels it."""

    simulation: str
    pairs: Meridians | Caps
    text_of: np.ndarray
    released: np.ndarray

    @property
    def labels(self) -> dict:
        n, flat = self.pairs.points.shape
        fraction = float((self.text_of != np.arange(n)).mean())
        names = {"simulation": self.simulation, "mismatched": fraction > 0, "mismatch_fraction": fraction}
        return {**names, "n_pairs": n, "dim": flat + 1}


def sphere_cases(spacing: float = 20) -> list[Case]:
    """The six pairs as published, so many degrees apart, and the same pairs matched right."""
    paper = published.values()["figure_3"]["sphere_simulation"]
    azimuths = paper["azimuth_degrees_images"]
    name = "sphere" if spacing == azimuths[1] - azimuths[0] else f"sphere {spacing} degrees"
    swapped = np.array([azimuths.index(angle) for angle in paper["azimuth_degrees_texts"]])
    pairs = Meridians(on_circle(np.array(azimuths) * spacing / (azimuths[1] - azimuths[0])))
    return [Case(name, pairs, text_of, text_of) for text_of in (swapped, np.arange(len(azimuths)))]


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
    return [Case("ring", pairs, swapped, slip), Case("ring", pairs, right, right)]


def scene() -> pd.DataFrame:
    """Where the mismatched pairs of the two pictures lie: rows of ``simulation_points.csv``."""
    frames = []
    for case in (sphere_cases()[0], ring_cases()[0]):
        positions, numbers = DRAWN[case.simulation], range(len(case.text_of))
        belongs_to = {"image": case.text_of, "text": np.argsort(case.text_of)}
        for modality, rows in zip(belongs_to, case.pairs.move(positions), strict=True):
            columns = {"position": positions, "point": numbers}
            part = pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)
            part[["x", "y", "z"]] = rows.reshape(-1, 3)
            part["belongs_to"] = np.tile(belongs_to[modality], len(positions))
            frames.append(part.assign(simulation=case.simulation, modality=modality))
    points = pd.concat(frames).sort_values(["simulation", "position"], ascending=[False, True], kind="stable")
    return points[["simulation", "position", "modality", "point", "belongs_to", "x", "y", "z"]]


def curves(cases: Sequence[Case], positions: np.ndarray, temperatures: Sequence[float]) -> pd.DataFrame:
    """The loss at every position and temperature, for cases of the same pairs: rows of ``simulation.csv``."""
    pairs = cases[0].pairs
    found = losses(pairs, positions, temperatures, [each for case in cases for each in (case.text_of, case.released)])
    columns = {"temperature": temperatures, "position": positions}
    grid = pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)
    grid["signed_gap_distance"] = np.tile(np.sign(positions) * pairs.gap_distances(positions), len(temperatures))
    frames = []
    for case, loss, released in zip(cases, found[::2], found[1::2], strict=True):
        frames.append(grid.assign(**case.labels, loss=loss.T.ravel(), loss_as_released=released.T.ravel()))
    return pd.concat(frames, ignore_index=True)


def lowest(cases: Sequence[Case], temperatures: Sequence[float]) -> pd.DataFrame:
    """Where the loss of each case is lowest, exactly and not on a grid: one row for each case and temperature.

    The lowest loss has a gap below ``critical_temperature``, which is 0 where it never has one.
    """
    frames = []
    for case in cases:
        scales = [best_logit_scale(case.pairs.cosines, each) for each in (case.text_of, case.released)]
        places = [case.pairs.position(np.minimum(1, scale * np.array(temperatures))) for scale in scales]
        frame = pd.DataFrame({**case.labels, "temperature": temperatures, "position_at_minimum": places[0]})
        frame["gap_at_minimum"], frame["gap_as_released"] = (case.pairs.gap_distances(place) for place in places)
        frames.append(frame.assign(critical_temperature=1 / scales[0]))
    return pd.concat(frames, ignore_index=True)


def heights(count: int) -> np.ndarray:
    """Heights from -1 to 1; 0 is among them, exactly, where the count is odd."""
    return np.arange(1 - count, count, 2) / (count - 1)


def on_grid(table: pd.DataFrame) -> pd.DataFrame:
    """|gap| and loss of each curve's lowest row; of several, as minima come in pairs, of that with the least |gap|."""
    least = table.groupby(CURVE)["loss"].transform("min")
    ties = table[table["loss"] <= least + TIE * least.abs().clip(lower=1)]
    ties = ties.assign(gap_on_grid=ties["signed_gap_distance"].abs(), lowest_loss=ties["loss"])
    return ties.sort_values("gap_on_grid", kind="stable").groupby(CURVE)[["gap_on_grid", "lowest_loss"]].first()
