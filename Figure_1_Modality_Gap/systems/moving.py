"""Scenes in motion: clips in which the subject of a generated scene crosses the picture in one of four directions.

Shapes, colours, grounds and wear are those of ``util.corpora.generated.scenes``, whose pictures do not
change by this; the stream of random numbers is another. A clip is drawn at 32 pixels and enlarged sevenfold,
without its ground moving.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from util.corpora.generated.collection import generator
from util.corpora.generated.drawing import (
    BACKGROUNDS,
    CHUNK,
    COLOURS,
    LEAST_GRAIN,
    OUTLINES,
    SIDE,
    WEAR,
    WORST_FADE,
    WORST_GRAIN,
    column,
    coverage,
    grounds,
    local_frame,
    paint,
    to_pixels,
)
from util.corpora.generated.scenes import COLOUR_NAMES, SHAPES, SIZES

FRAMES = 8
"""Frames of a clip."""

PIXELS = 224
"""Width and height of a frame as it is given."""

DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""Words and steps (x, y), y downwards."""

ATTRIBUTES = {
    "size": SIZES,
    "colour": COLOUR_NAMES,
    "shape": SHAPES,
    "direction": tuple(DIRECTIONS),
    "background": BACKGROUNDS,
}
CAPTION = "a {size} {colour} {shape} moving {direction} on a {background} background"

RADII = np.array([4.9, 8.2], np.float32)
"""Pixels of the drawing, of small and large subjects; as in the scenes."""

REACH = 8.0
"""How far from the middle of the picture a clip begins and ends, in pixels of the drawing."""

_PURPOSE = 7


def clips(n: int, seed: int) -> tuple[UInt8[np.ndarray, "n 8 32 32 3"], list[str]]:
    """n clips of 8 frames and the caption of each, every attribute drawn with equal chances.

    Raises:
        UserError: the seed is not a whole number of at least 0.
    """
    rng = generator(_PURPOSE, seed)
    chosen = np.stack([rng.integers(len(words), size=n) for words in ATTRIBUTES.values()], axis=1)
    images = np.empty((n, FRAMES, SIDE, SIDE, 3), np.uint8)
    for start in range(0, n, CHUNK // FRAMES):
        part = slice(start, start + CHUNK // FRAMES)
        images[part] = _draw(chosen[part], rng)
    return images, [_caption(row) for row in chosen]


def enlarged(frames: Sequence[UInt8[np.ndarray, "32 32 3"]]) -> list[Image.Image]:
    """Frames as RGB pictures of 224 pixels a side, by bicubic interpolation."""
    return [Image.fromarray(frame).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC) for frame in frames]


def _caption(row: Int[np.ndarray, "5"]) -> str:
    return CAPTION.format(**{name: words[i] for (name, words), i in zip(ATTRIBUTES.items(), row, strict=True)})


def _draw(chosen: Int[np.ndarray, "n 5"], rng: np.random.Generator) -> UInt8[np.ndarray, "n 8 32 32 3"]:
    size, colour, shape, direction, background = chosen.T
    n = len(chosen)
    ground = grounds(background, rng)
    middle = SIDE / 2 + rng.uniform(-2, 2, (n, 2))
    step = np.array(list(DIRECTIONS.values()))[direction]
    radius, angle = RADII[size] * rng.uniform(0.92, 1.08, n), rng.uniform(-0.25, 0.25, n)
    tint = np.array(list(COLOURS.values()), np.float32)[colour] + rng.uniform(-0.05, 0.05, (n, 3))
    wear = rng.beta(*WEAR, n)
    frames = np.empty((n, FRAMES, SIDE, SIDE, 3), np.uint8)
    for t, way in enumerate(np.linspace(-REACH, REACH, FRAMES)):
        share = _share(shape, middle + way * step, radius, angle)
        canvas = ground.copy()
        paint(canvas, share * column(1 - WORST_FADE * wear), tint)
        frames[:, t] = to_pixels(canvas, LEAST_GRAIN + WORST_GRAIN * wear, rng)
    return frames


def _share(shape, centre: Float[np.ndarray, "n 2"], radius, angle) -> Float[np.ndarray, "n 32 32"]:
    share = np.empty((len(shape), SIDE, SIDE), np.float32)
    for index, outline in enumerate(OUTLINES.values()):
        mine = np.flatnonzero(shape == index)
        frame = local_frame(centre[mine, 0], centre[mine, 1], radius[mine], angle[mine])
        share[mine] = coverage(outline(*frame), radius[mine])
    return share
