"""Pairs on a sphere whose modalities move apart, some of them mismatched, and the gap that lowers their loss.

At position zero image j and text j are one point. Moved apart, every cosine c becomes a c + b, with the same a (the
*contrast*) and b for all of them. A softmax does not see b. So pairs that lie apart have the loss of the same pairs
without a gap at logit scale a/tau: a gap does what a higher temperature would do, and nothing else.

"Mismatched" is the paper's word: the text that belongs to an image is not the one that lies beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

TIE = 1e-12
"""Largest difference between mean cosines that is rounding."""


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
