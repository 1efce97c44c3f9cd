"""The simulations of Figure 3 and its appendix, ``sphere`` and ``ring``: their mismatched pairs, curves and minima.

"Mismatched" is the paper's word: the text that belongs to an image is not the one that lies beside it. At position zero
image j and text j are one point. Moved apart, every cosine c becomes a c + b, with the same a (the *contrast*) and b
for all of them. A softmax does not see b. So pairs that lie apart have the loss of the same pairs without a gap at
logit scale a/tau: a gap does what a higher temperature would do, and nothing else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

from util import published

TIE = 1e-12
"""Largest difference between mean cosines that is rounding."""
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
class Pairs:
    """n unit rows, each an image and a text, which move apart along a new dimension and stay on the unit sphere.

    A subclass has ``heights``: p positions to the place of the images and of the texts along the new dimension.
    """

    points: Float[np.ndarray, "n k"]

    @property
    def cosines(self) -> Float[np.ndarray, "n n"]:
        """Cosines at position zero, images in rows and texts in columns."""
        return self.points @ self.points.T

    def move(self, positions) -> tuple[Float[np.ndarray, "p n d"], Float[np.ndarray, "p n d"]]:
        """Unit rows of images and of texts at p positions."""
        moved = []
        for height in self.heights(np.atleast_1d(np.asarray(positions, dtype=np.float64))):
            flat = np.sqrt(1 - height**2)[:, None, None] * self.points
            moved.append(np.insert(flat, flat.shape[2], height[:, None], axis=2))
        return tuple(moved)

    def contrasts(self, positions) -> Float[np.ndarray, "p"]:
        """The factor of all differences between cosines at p positions, in [0, 1]."""
        images, texts = self.heights(np.asarray(positions, dtype=np.float64))
        return np.sqrt(1 - images**2) * np.sqrt(1 - texts**2)

    def gap_distances(self, positions) -> Float[np.ndarray, "p"]:
        """Euclidean distance between the centroids at p positions, in [0, 2]."""
        images, texts = self.move(positions)
        return np.linalg.norm(images.mean(1) - texts.mean(1), axis=1)


class Meridians(Pairs):
    """Images stay on the equator. The texts move together, each on its meridian.

    A position is the angle of the texts in degrees, in [-90, 90], negative in the north. At both ends all texts are
    one pole. Paper: Figure 3 (e-g), where d = 3.
    """

    def heights(self, positions):
        texts = -np.sin(np.radians(positions))
        return np.zeros_like(texts), texts

    def position(self, contrast):
        """The position >= 0 in degrees with this contrast in [0, 1]."""
        return np.degrees(np.arccos(contrast))


class Caps(Pairs):
    """Images at height z and texts at height -z: a position is z, in [-1, 1].

    The gap is 2z exactly, whatever the points and their matches. At both ends each modality is one point. Paper: the
    nine points of the appendix, on a circle.
    """

    def heights(self, positions):
        return positions, -positions

    def position(self, contrast):
        """The position z >= 0 with this contrast in [0, 1]."""
        return np.sqrt(1 - contrast)


def on_circle(azimuths) -> Float[np.ndarray, "n 2"]:
    """Points of the unit circle from azimuths in degrees."""
    angles = np.radians(azimuths)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def losses(
    pairs: Pairs, positions, temperatures: Sequence[float], matches: Sequence[Sequence[int]]
) -> Float[np.ndarray, "m p t"]:
    """The symmetric contrastive loss of all pairs as one batch, in nats, for every matching, position and temperature.

    A matching names the text that belongs to each image. Cosines at position zero are symmetric, so both directions of
    the loss are equal. Each is ``contrastive.contrastive_loss`` of the moved and matched rows. Paper: equation 1.
    """
    cosines = pairs.cosines
    scales = pairs.contrasts(positions)[:, None] / np.asarray(temperatures, dtype=np.float64)
    sums = np.reshape([logsumexp(scale * cosines, axis=1).mean() for scale in scales.flat], scales.shape)
    return np.stack([sums - scales * matched_cosine(cosines, text_of) for text_of in matches])


def best_logit_scale(cosines: Float[np.ndarray, "n n"], text_of: Sequence[int]) -> float:
    """The logit scale s in [0, inf] at which the loss of pairs with these symmetric cosines, without a gap, is lowest.

    It is infinite without a mismatch, and 0 where matched pairs are no more similar than others on average. The loss is
    convex in s: a mean of logsumexp(s c) less s times the mean matched cosine. So there is one such s. A gap of
    contrast a has the loss of logit scale a/tau: it is lowest without a gap while 1/tau <= s, else at contrast s tau.
    """
    matched = matched_cosine(cosines, text_of)

    def slope(scale: float) -> float:
        return (softmax(scale * cosines, axis=1) * cosines).sum() / len(cosines) - matched

    if cosines.max(1).mean() - matched <= TIE:
        return math.inf
    if slope(0.0) >= -TIE:
        return 0.0
    upper = 1.0
    while slope(upper) <= 0:
        upper *= 2
    return float(brentq(slope, 0.0, upper, xtol=1e-12))


def matched_cosine(cosines: Float[np.ndarray, "n n"], text_of: Sequence[int]) -> float:
    """Mean cosine of the images and the texts that belong to them."""
    return float(cosines[np.arange(len(cosines)), text_of].mean())


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
        positions = DRAWN[case.simulation]
        belongs_to = {"image": case.text_of, "text": np.argsort(case.text_of)}
        for modality, rows in zip(belongs_to, case.pairs.move(positions), strict=True):
            part = pd.DataFrame(product(positions, range(len(case.text_of))), columns=["position", "point"])
            part[["x", "y", "z"]] = rows.reshape(-1, 3)
            part["belongs_to"] = np.tile(belongs_to[modality], len(positions))
            frames.append(part.assign(simulation=case.simulation, modality=modality))
    points = pd.concat(frames).sort_values(["simulation", "position"], ascending=[False, True], kind="stable")
    return points[["simulation", "position", "modality", "point", "belongs_to", "x", "y", "z"]]


def curves(cases: Sequence[Case], positions: np.ndarray, temperatures: Sequence[float]) -> pd.DataFrame:
    """The loss at every position and temperature, for cases of the same pairs: rows of ``simulation.csv``."""
    pairs = cases[0].pairs
    found = losses(pairs, positions, temperatures, [each for case in cases for each in (case.text_of, case.released)])
    grid = pd.DataFrame(product(temperatures, positions), columns=["temperature", "position"])
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
