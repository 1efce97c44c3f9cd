"""Pairs on a sphere whose modalities move apart, some of them mismatched, and the gap that lowers their loss.

At position zero image j and text j are one point. Moved apart, every cosine c becomes a c + b, with the same a (the
*contrast*) and b for all of them:

    ``Meridians``  a = cos(position), b = 0;       ``Caps``  a = 1 - z^2, b = -z^2.

A softmax does not see b. So pairs that lie apart have the loss of the same pairs without a gap at logit scale a/tau: a
gap does what a higher temperature would do, and nothing else.

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

RIGHT_ANGLE = 90.0
"""Degrees; the polar angle of the equator, and the furthest that the texts may move from it."""

MOST_FRACTION = 0.5
"""Largest fraction of mismatched pairs."""

TIE = 1e-12
"""Largest difference between mean cosines that is rounding."""


class Moved(NamedTuple):
    """Both modalities at p positions, unit rows: images (p, n, d) and texts (p, n, d)."""

    images: Float[np.ndarray, "p n d"]
    texts: Float[np.ndarray, "p n d"]

    def gap_distances(self) -> Float[np.ndarray, "p"]:
        """Euclidean distance between the centroids at every position, in [0, 2]."""
        return np.linalg.norm(self.images.mean(1) - self.texts.mean(1), axis=1)


@dataclass(frozen=True)
class Meridians:
    """Images fixed on the equator of the sphere in three dimensions; the texts move together, each on its meridian.

    Attributes:
        azimuths: n >= 2 angles in degrees.

    A position is the angle from the equator in degrees, in [-90, 90]. Text j has polar angle 90 + position, so it lies
    north of the equator where the position is negative. At -90 and 90 all texts are one pole.

    Paper: Figure 3 (e-g).
    """

    azimuths: Float[np.ndarray, "n"]

    @property
    def cosines(self) -> Float[np.ndarray, "n n"]:
        """Cosines of the points, images in rows and texts in columns, at position zero."""
        angles = np.radians(self.azimuths)
        return np.cos(angles[:, None] - angles)

    def move(self, positions) -> Moved:
        """The pairs at p positions."""
        theta = np.atleast_1d(np.asarray(positions, dtype=np.float64))
        images = on_sphere(self.azimuths, RIGHT_ANGLE)
        texts = on_sphere(self.azimuths, RIGHT_ANGLE + theta[:, None])
        return Moved(np.broadcast_to(images, texts.shape), texts)

    def position(self, contrast: float) -> float:
        """The position >= 0 in degrees with this contrast in [0, 1]."""
        return float(np.degrees(np.arccos(contrast)))


@dataclass(frozen=True)
class Caps:
    """The same n points as images at height z and as texts at height -z: both modalities move, along a new dimension.

    Attributes:
        points: (n, d - 1), n >= 2 unit rows.

    A position is z, in [-1, 1]: image j is (sqrt(1 - z^2) p_j, z), text j is (sqrt(1 - z^2) p_j, -z). The gap is 2z
    exactly, whatever the points and their matches. At -1 and 1 each modality is one point.

    Paper: the nine-point simulation of the appendix, where the points lie on a circle and d = 3.
    """

    points: Float[np.ndarray, "n k"]

    @property
    def cosines(self) -> Float[np.ndarray, "n n"]:
        """Cosines of the points, images in rows and texts in columns, at position zero."""
        return self.points @ self.points.T

    def move(self, positions) -> Moved:
        """The pairs at p positions."""
        z = np.atleast_1d(np.asarray(positions, dtype=np.float64))[:, None, None]
        flat = np.sqrt(1 - z**2) * self.points
        height = np.broadcast_to(z, (*flat.shape[:2], 1))
        return Moved(np.concatenate([flat, height], 2), np.concatenate([flat, -height], 2))

    def position(self, contrast: float) -> float:
        """The position z >= 0 with this contrast in [0, 1]."""
        return float(np.sqrt(1 - contrast))


def on_sphere(azimuths, polar) -> Float[np.ndarray, "... 3"]:
    """Points of the unit sphere from azimuth and polar angle in degrees (0: the north pole), broadcast together."""
    u, v = np.broadcast_arrays(np.radians(azimuths), np.radians(polar))
    return np.stack([np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v)], axis=-1)


def on_circle(azimuths) -> Float[np.ndarray, "n 2"]:
    """Points of the unit circle from azimuths in degrees."""
    angles = np.radians(azimuths)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def random_points(n: int, dim: int, generator: np.random.Generator) -> Float[np.ndarray, "n dim"]:
    """n points, uniform on the unit sphere of R^dim."""
    points = generator.normal(size=(n, dim))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


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
    """Matches in which a fraction of n pairs is mismatched: the first round(fraction n) of an order, in a cycle.

    Args:
        n: number of pairs, at least 2.
        fraction: in [0, 0.5].
        order: (n,) the pairs in the order in which they become mismatched, usually a random permutation. One order
            for several fractions gives nested sets.

    Returns:
        a derangement of the chosen pairs: image ``order[k]`` belongs to text ``order[k + 1]``, the last to the first.
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


def losses(moved: Moved, temperatures: Sequence[float], matches: Sequence[Matches]) -> Float[np.ndarray, "m p t"]:
    """The symmetric contrastive loss of n pairs as one batch, for every matching, position and temperature, exactly.

    Args:
        moved: the pairs at p positions.
        temperatures: t values of tau > 0.
        matches: m matchings. The sums over the batch do not depend on them and are computed once.

    Returns:
        float64 losses (m, p, t) in nats, each equal to ``contrastive.contrastive_loss`` of the matched rows.

    Paper: equation 1, Figure 3 (e-g).
    """
    scales = 1 / np.asarray(temperatures, dtype=np.float64)
    found = np.empty((len(matches), len(moved.images), len(scales)))
    for position, (images, texts) in enumerate(zip(*moved, strict=True)):
        cosines = images @ texts.T
        sums = [sum(logsumexp(scale * cosines, axis).mean() for axis in (0, 1)) / 2 for scale in scales]
        for k, each in enumerate(matches):
            found[k, position] = sums - matched_cosine(cosines, each) * scales
    return found


def best_logit_scale(cosines: Float[np.ndarray, "n n"], matches: Matches) -> float:
    """The logit scale at which the symmetric loss of pairs with these cosines is lowest.

    Args:
        cosines: (n, n), images in rows and texts in columns, without a gap.
        matches: the text that belongs to each image.

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
