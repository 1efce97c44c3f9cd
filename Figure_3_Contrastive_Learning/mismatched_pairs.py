"""Pairs on a sphere whose modalities move apart, some of them mismatched, and the gap that lowers their loss.

At position zero image j and text j are one point. Moved apart, every cosine c becomes a c + b, with the same a (the
*contrast*) and b for all of them. A softmax does not see b. So pairs that lie apart have the loss of the same pairs
without a gap at logit scale a/tau: a gap does what a higher temperature would do, and nothing else.

"Mismatched" is the paper's word: the text that belongs to an image is not the one that lies beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

from util.errors import UserError

MOST_FRACTION = 0.5
"""Largest fraction of mismatched pairs."""

TIE = 1e-12
"""Largest difference between mean cosines that is rounding."""


@dataclass(frozen=True)
class Pairs:
    """n points, each an image and a text, which move apart along a new dimension and stay on the unit sphere.

    Attributes:
        points: (n, d - 1), n >= 2 unit rows.
    """

    points: Float[np.ndarray, "n k"]

    def heights(self, positions: Float[np.ndarray, "p"]) -> tuple[np.ndarray, np.ndarray]:
        """Place of the images and of the texts along the new dimension, in [-1, 1]."""
        raise NotImplementedError

    @property
    def cosines(self) -> Float[np.ndarray, "n n"]:
        """Cosines at position zero, images in rows and texts in columns."""
        return self.points @ self.points.T

    def move(self, positions) -> tuple[Float[np.ndarray, "p n d"], Float[np.ndarray, "p n d"]]:
        """Unit rows of images and of texts at p positions."""
        moved = []
        for height in self.heights(np.atleast_1d(np.asarray(positions, dtype=np.float64))):
            flat = np.sqrt(1 - height**2)[:, None, None] * self.points
            last = np.broadcast_to(height[:, None, None], (*flat.shape[:2], 1))
            moved.append(np.concatenate([flat, last], axis=2))
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


class Matches(NamedTuple):
    """The text that belongs to each image (n,), and the image that belongs to each text (n,), as row numbers."""

    text_of: Int[np.ndarray, "n"]
    image_of: Int[np.ndarray, "n"]

    @classmethod
    def of(cls, text_of) -> "Matches":
        """Matches from the text of each image, a permutation of 0 to n - 1."""
        return cls(np.asarray(text_of), np.argsort(text_of))

    @property
    def fraction(self) -> float:
        """Fraction of images whose text does not lie beside them at position zero."""
        return float((self.text_of != np.arange(len(self.text_of))).mean())


def mismatched(n: int, fraction: float, order: Int[np.ndarray, "n"]) -> Matches:
    """Matches of n pairs of which a fraction is mismatched: the first round(fraction n) of an order, in a cycle.

    Image ``order[k]`` belongs to text ``order[k + 1]``, the last to the first. One order for several fractions gives
    nested sets.
    """
    if not 0 <= fraction <= MOST_FRACTION:
        raise UserError(f"a mismatch fraction must be from 0 to {MOST_FRACTION}, not {fraction}")
    count = math.floor(fraction * n + 0.5)
    if fraction > 0 and count < 2:
        raise UserError(
            f"a mismatch fraction of {fraction:g} is {count} of {n} pairs, and a mismatch takes two; "
            f"choose 0, or at least {2 / n:.2g}, or more pairs"
        )
    text_of, moved = np.arange(n), np.asarray(order)[:count]
    text_of[moved] = np.roll(moved, -1)
    return Matches.of(text_of)


def losses(
    pairs: Pairs, positions, temperatures: Sequence[float], matches: Sequence[Matches]
) -> Float[np.ndarray, "m p t"]:
    """The symmetric contrastive loss of all pairs as one batch, in nats, for every matching, position and temperature.

    Each is ``contrastive.contrastive_loss`` of the moved and matched rows. Paper: equation 1, Figure 3 (e-g).
    """
    cosines = pairs.cosines
    scales = pairs.contrasts(positions)[:, None] / np.asarray(temperatures, dtype=np.float64)
    sums = [sum(logsumexp(scale * cosines, axis).mean() for axis in (0, 1)) / 2 for scale in scales.flat]
    sums = np.reshape(sums, scales.shape)
    return np.stack([sums - scales * matched_cosine(cosines, each) for each in matches])


def best_logit_scale(cosines: Float[np.ndarray, "n n"], matches: Matches) -> float:
    """The logit scale s at which the symmetric loss of pairs with these cosines, without a gap, is lowest.

    Returns:
        s in [0, inf]: infinite where every matched pair is the most similar one of its row and column, as without a
        mismatch; 0 where matched pairs are no more similar than any others on average.

    The loss is convex in s, being a mean of logsumexp(s c) less s times the mean matched cosine, so there is one such
    s, where its slope changes sign. A gap of contrast a has the loss of logit scale a/tau. So along positions the loss
    is lowest without a gap while 1/tau <= s, and at contrast s tau where 1/tau > s: 1/s is the critical temperature,
    below which the lowest loss has a gap.
    """
    matched = matched_cosine(cosines, matches)

    def slope(scale: float) -> float:
        rows, columns = (softmax(scale * cosines, axis) * cosines for axis in (1, 0))
        return (rows.sum() + columns.sum()) / (2 * len(cosines)) - matched

    if (cosines.max(1).mean() + cosines.max(0).mean()) / 2 - matched <= TIE:
        return math.inf
    if slope(0.0) >= -TIE:
        return 0.0
    upper = 1.0
    while slope(upper) <= 0:
        upper *= 2
    return float(brentq(slope, 0.0, upper, xtol=1e-12))


def matched_cosine(cosines: Float[np.ndarray, "n n"], matches: Matches) -> float:
    """Mean cosine of the pairs that belong together, both ways averaged."""
    every = np.arange(len(cosines))
    return float(cosines[every, matches.text_of].mean() + cosines[matches.image_of, every].mean()) / 2
