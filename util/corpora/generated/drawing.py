"""Pictures, and drawing on many 32-pixel canvases at once: outlines as signed distances, patterned grounds, wear.

Coordinates are pixels, x to the right and y downwards, with (16, 16) the middle of a picture. A signed distance is
negative inside an outline; coverage is the share of a pixel that lies inside, which gives smooth edges. Colours and
canvases are float32 in [0, 1] until ``to_pixels``.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8
from numpy.random import Generator

from ...files import PACKAGE

SIDE, CHUNK = 32, 2000
"""Width and height of every picture in pixels; pictures drawn at a time, 25 MB a canvas of three colours."""

PATTERNS = {
    "striped": lambda x, y: 0.5 + 1.5 * np.sin((x + y) * (2 * np.pi / 6 / np.sqrt(2))),
    "dotted": lambda x, y: 1.7 + 0.5 - np.hypot(x % 6.0 - 3, y % 6.0 - 3),
    "checkered": lambda x, y: 0.5 + 4 * np.sin(x * (2 * np.pi / 10)) * np.sin(y * (2 * np.pi / 10)),
}
"""How dark a ground is at (x, y) in pixels, before it is cut to [0, 1]."""
BACKGROUNDS = ("plain", *PATTERNS)

DECLARED = tomllib.loads((PACKAGE / "data" / "pictures.toml").read_text(encoding="utf-8"))
COLOURS, WORDS, CAPTIONS = (DECLARED[name] for name in ("colours", "words", "captions"))
"""Colour words and their RGB values in [0, 1]; further words; forms of captions by the kind of picture."""

PAPER, PATTERN_DEPTH = np.array([0.93, 0.92, 0.89], np.float32), 0.15
"""Mean tone of a ground, RGB in [0, 1], a picture's own within 0.05 of it; how much darker its pattern is."""

WEAR, WORST_FADE = (1.0, 3.0), 0.85
"""Parameters of the beta distribution of a picture's wear in [0, 1]; the share of its colour that full wear takes."""

LEAST_GRAIN, WORST_GRAIN = 0.015, 0.12
"""Standard deviation of the grain in units of full scale: of a new picture, and what full wear adds."""

NOT_APPLICABLE = -1
"""Value of an attribute that a picture of this kind does not have."""


@dataclass(frozen=True)
class Pictures:
    """n captioned pictures.

    Args:
        images, captions: uint8 array (n, 32, 32, 3), RGB, and n strings; row i describes image i.
        kind: array (n,) of "scene", "digit" or "badge".
        attributes: by name, an int array (n,) of indices into that attribute's words, or ``NOT_APPLICABLE``.
    """

    images: UInt8[np.ndarray, "n 32 32 3"]
    captions: list[str]
    kind: np.ndarray
    attributes: Mapping[str, Int[np.ndarray, "n"]]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices) -> "Pictures":
        """The pictures at ``indices`` (an int or boolean array), in that order."""
        indices = np.arange(len(self))[indices]
        return Pictures(
            self.images[indices],
            [self.captions[i] for i in indices],
            self.kind[indices],
            {name: values[indices] for name, values in self.attributes.items()},
        )


def join(parts: list[Pictures]) -> Pictures:
    """One corpus of several, in their order; attributes that a part lacks are ``NOT_APPLICABLE`` there."""
    table = pd.concat([pd.DataFrame(dict(part.attributes)) for part in parts]).fillna(NOT_APPLICABLE).astype(np.int64)
    return Pictures(
        np.concatenate([part.images for part in parts]),
        [caption for part in parts for caption in part.captions],
        np.concatenate([part.kind for part in parts]),
        {name: values.to_numpy() for name, values in table.items()},
    )


def generator(purpose: int, seed: int) -> Generator:
    """A stream of its own for every (purpose, seed), so that no two corpora share a random number."""
    return np.random.default_rng([purpose, seed])


def pixel_grid() -> tuple[Float[np.ndarray, "1 32 32"], Float[np.ndarray, "1 32 32"]]:
    """x and y of every pixel's middle, each (1, 32, 32) so that they broadcast over pictures."""
    y, x = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5, indexing="ij")
    return x.astype(np.float32)[None], y.astype(np.float32)[None]


def column(values) -> Float[np.ndarray, "n 1 1"]:
    """One float32 number per picture, shaped (n, 1, 1) to broadcast over its pixels."""
    return np.asarray(values, np.float32)[:, None, None]


def local_frame(centre_x, centre_y, radius, angle):
    """Coordinates (u, v) of n pictures in units of the radius, each figure turned clockwise by ``angle`` radians.

    u runs to the right of the turned figure, v downwards. All arguments are float arrays (n,).
    """
    x, y = pixel_grid()
    dx, dy = (x - column(centre_x)) / column(radius), (y - column(centre_y)) / column(radius)
    cosine, sine = column(np.cos(angle)), column(np.sin(angle))
    return cosine * dx + sine * dy, cosine * dy - sine * dx


def _star(u, v):
    outer, inner, sector = 1.12, 0.48, np.pi / 5
    angle = np.abs((np.arctan2(u, -v) + sector) % (2 * sector) - sector)
    radius = np.hypot(u, v)
    across, along = radius * np.sin(angle), radius * np.cos(angle) - outer
    rise, run = inner * np.sin(sector), outer - inner * np.cos(sector)
    return (across * run + along * rise) / np.hypot(rise, run)


def _heart(u, v):
    u, v, half_side = abs(u), v - 0.06, 0.57
    lobe = half_side / np.sqrt(2)
    return np.minimum((u + abs(v)) / np.sqrt(2) - half_side, np.hypot(u - lobe, v + lobe) - half_side)


OUTLINES = {
    "circle": lambda u, v: np.hypot(u, v) - 0.94,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) - 0.82,
    "triangle": lambda u, v: np.maximum(v - 0.22, (np.sqrt(3) * abs(u) - (v - 0.22)) / 2) - 0.58,
    "star": _star,
    "plus": lambda u, v: np.maximum(np.maximum(abs(u), abs(v)) - 0.96, np.minimum(abs(u), abs(v)) - 0.33),
    "ring": lambda u, v: abs(np.hypot(u, v) - 0.74) - 0.24,
    "heart": _heart,
    "moon": lambda u, v: np.maximum(np.hypot(u + 0.12, v) - 1, 0.78 - np.hypot(u - 0.38, v + 0.1)),
}
"""Shape words and their signed distances, in units of the radius, of (u, v) in the local frame."""


def coverage(distance, radius) -> Float[np.ndarray, "n 32 32"]:
    """Share of every pixel inside an outline, in [0, 1], from its signed distance in units of ``radius`` pixels."""
    return np.clip(0.5 - distance * column(radius), 0, 1)


def shape_coverage(shape, centre: Float[np.ndarray, "n 2"], radius, angle) -> Float[np.ndarray, "n 32 32"]:
    """Coverage of n shapes, ``shape`` (n,) being indices into ``OUTLINES``."""
    share = np.empty((len(shape), SIDE, SIDE), np.float32)
    for index, outline in enumerate(OUTLINES.values()):
        mine = shape == index
        frame = local_frame(centre[mine, 0], centre[mine, 1], radius[mine], angle[mine])
        share[mine] = coverage(outline(*frame), radius[mine])
    return share


def paint(canvas: Float[np.ndarray, "n 32 32 3"], share: Float[np.ndarray, "n 32 32"], colour) -> None:
    """Lays a colour (n, 3) over a canvas *in place*, where and as much as ``share`` in [0, 1] says."""
    canvas += share[..., None] * (np.asarray(colour, np.float32)[:, None, None] - canvas)


def grounds(background, rng: Generator) -> Float[np.ndarray, "n 32 32 3"]:
    """Patterned papers: one canvas for every number of ``background`` (n,), an index into ``BACKGROUNDS``."""
    n = len(background)
    tone = PAPER + rng.uniform(-0.05, 0.05, (n, 1)).astype(np.float32)
    tone = tone + rng.uniform(-0.02, 0.02, (n, 3)).astype(np.float32)
    x, y = pixel_grid()
    x = x + column(rng.uniform(0, SIDE, n))
    y = y + column(rng.uniform(0, SIDE, n))
    pattern = np.zeros((n, SIDE, SIDE), np.float32)
    for index, darkness in enumerate(PATTERNS.values(), 1):
        chosen = background == index
        pattern[chosen] = np.clip(darkness(x[chosen], y[chosen]), 0, 1)
    return tone[:, None, None] * (1 - PATTERN_DEPTH * pattern[..., None])


def worn_pixels(canvas: Float[np.ndarray, "n 32 32 3"], share, colour, wear, rng: Generator):
    """Paints a figure as faded as its wear (n,) in [0, 1], adds as much grain, and rounds to 0..255."""
    paint(canvas, share * column(1 - WORST_FADE * wear), colour)
    return to_pixels(canvas, LEAST_GRAIN + WORST_GRAIN * wear, rng)


def to_pixels(canvas: Float[np.ndarray, "n 32 32 3"], noise, rng: Generator) -> UInt8[np.ndarray, "n 32 32 3"]:
    """Adds grain with standard deviation ``noise`` (n,), in units of full scale, and rounds to 0..255."""
    grain = rng.standard_normal(canvas.shape, dtype=np.float32) * column(noise)[..., None]
    return np.clip((canvas + grain) * 255 + 0.5, 0, 255).astype(np.uint8)


def in_chunks(draw: Callable, rng: Generator, *attributes) -> UInt8[np.ndarray, "n 32 32 3"]:
    """Pictures of ``draw(*attributes, rng)``, ``CHUNK`` at a time: the order of random numbers depends on that."""
    images = np.empty((len(attributes[0]), SIDE, SIDE, 3), np.uint8)
    for start in range(0, len(images), CHUNK):
        part = slice(start, start + CHUNK)
        images[part] = draw(*(values[part] for values in attributes), rng)
    return images
