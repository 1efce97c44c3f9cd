"""Pairs on a sphere whose modalities are moved apart, in the two ways of the paper's simulations.

At position zero image j and text j are one point, and their cosines are those of the points. Moved apart, every cosine
c becomes a c + b with the same a, the ``contrast``, and b for all of them:

    ``Meridians``  a = cos(position), b = 0;       ``Caps``  a = 1 - z^2, b = -z^2.

A softmax does not see b. So the loss of pairs that lie apart is the loss of the same pairs without a gap at logit scale
a/tau: a gap does what a higher temperature would do, and nothing else.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from util.errors import UserError
from util.numerics.arrays import as_count, as_matrix, as_numbers, check_unit_rows

RIGHT_ANGLE = 90.0
"""Degrees; the polar angle of the equator, and how far the texts may move from it either way."""


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

    A position is the angle theta from the equator in degrees, in [-90, 90]: text j has polar angle 90 + theta, so it
    lies north of the equator where theta is negative. At -90 and 90 all texts are one pole.

    Paper: Figure 3 (e-g).
    """

    azimuths: Float[np.ndarray, "n"]

    @property
    def cosines(self) -> Float[np.ndarray, "n n"]:
        """Cosines of the points, images in rows and texts in columns, at position zero."""
        angles = np.radians(_azimuths(self.azimuths))
        return np.cos(angles[:, None] - angles)

    def move(self, positions) -> Moved:
        """The pairs at p positions.

        Raises:
            UserError: a position outside [-90, 90], fewer than two azimuths, or anything but finite numbers.
        """
        theta, azimuths = _within(positions, RIGHT_ANGLE), _azimuths(self.azimuths)
        images = np.broadcast_to(on_sphere(azimuths, RIGHT_ANGLE), (len(theta), len(azimuths), 3))
        return Moved(images, on_sphere(azimuths, RIGHT_ANGLE + theta[:, None]))

    def position(self, contrast: float) -> float:
        """The position theta >= 0 in degrees with this contrast in [0, 1]."""
        return float(np.degrees(np.arccos(contrast)))


@dataclass(frozen=True)
class Caps:
    """The same n points as images at height z and as texts at height -z: both modalities move, along a new dimension.

    Attributes:
        points: (n, d - 1), n >= 2 unit rows.

    A position is z, in [-1, 1]: image j is (sqrt(1 - z^2) p_j, z), text j is (sqrt(1 - z^2) p_j, -z). The gap is
    2z exactly, whatever the points and whichever text belongs to which image. At -1 and 1 each modality is one point.

    Paper: the nine-point simulation of the appendix, where the points lie on a circle and d = 3.
    """

    points: Float[np.ndarray, "n k"]

    @property
    def cosines(self) -> Float[np.ndarray, "n n"]:
        """Cosines of the points, images in rows and texts in columns, at position zero."""
        return self.points @ self.points.T

    def move(self, positions) -> Moved:
        """The pairs at p positions.

        Raises:
            UserError: a position outside [-1, 1], fewer than two points, rows that are not unit-norm.
        """
        z = _within(positions, 1.0)
        check_unit_rows(as_matrix(self.points, "points", least_rows=2), "points")
        flat = np.sqrt(1 - z**2)[:, None, None] * self.points
        height = np.broadcast_to(z[:, None, None], (*flat.shape[:2], 1))
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
    angles = np.radians(_azimuths(azimuths))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def random_points(n: int, dim: int, generator: np.random.Generator) -> Float[np.ndarray, "n dim"]:
    """n points, uniform on the unit sphere of R^dim.

    Raises:
        UserError: n or dim below 2.
    """
    points = generator.normal(size=(as_count(n, "n", least=2), as_count(dim, "dim", least=2)))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _azimuths(azimuths) -> np.ndarray:
    angles = as_numbers(azimuths, "azimuths")
    if len(angles) < 2:
        raise UserError("a simulation needs at least 2 pairs, not 1; give more azimuths")
    return angles


def _within(positions, limit: float) -> np.ndarray:
    array = as_numbers(positions, "positions")
    if (abs(array) > limit).any():
        raise UserError(f"positions must be from {-limit:g} to {limit:g}, not {array[abs(array).argmax()]:g}")
    return array
