"""Scenes: one coloured shape at a place on a patterned ground, with a tenth of all combinations held out.

Eight shapes x 8 colours x 4 backgrounds x 5 places x 2 sizes make 2560 combinations. Held out of training are the 256
with

    (shape + 3 colour + 7 background + 2 place + size) mod 10 = 0,

one of the ten (place, size) pairs for every shape, colour and background. So each of the 64 colour-shape classes
keeps 36 of its 40 combinations in training and loses 4, one on each background, and no value of any attribute
is rarer in training than another: a held-out picture shows known words in a combination that was never seen.
"""

import numpy as np
from jaxtyping import Bool, Int

from ...errors import UserError
from . import drawing
from .drawing import BACKGROUNDS, CAPTIONS, COLOURS, OUTLINES, WORDS, Pictures, generator

SHAPES = tuple(OUTLINES)
COLOUR_NAMES = tuple(COLOURS)
PLACES, SIZES = WORDS["place"], WORDS["size"]

ATTRIBUTES = {"shape": SHAPES, "colour": COLOUR_NAMES, "background": BACKGROUNDS, "place": PLACES, "size": SIZES}
"""Attribute names and their words, in the order of the columns of ``combinations()``."""

_CENTRES = np.array([[16, 16], [9, 9], [23, 9], [9, 23], [23, 23]], np.float32)
_RADII = np.array([4.9, 8.2], np.float32)
_PURPOSE, _PURPOSE_DISTINCT = 1, 2


def combinations() -> Int[np.ndarray, "2560 5"]:
    """Every (shape, colour, background, place, size), as indices into ``ATTRIBUTES``, in lexicographic order."""
    return np.indices([len(words) for words in ATTRIBUTES.values()]).reshape(len(ATTRIBUTES), -1).T


def is_held_out(combination: Int[np.ndarray, "n 5"]) -> Bool[np.ndarray, "n"]:
    """Whether each combination (n, 5) is kept out of training; the rule is in the module's docstring."""
    return combination @ np.array([1, 3, 7, 2, 1]) % 10 == 0


def scenes(n: int, seed: int, split: str = "train") -> Pictures:
    """n scenes with captions of mixed forms and the attributes of ``ATTRIBUTES``, drawn with equal chances.

    ``split`` is "train", combinations that training may use; "held_out", the tenth it never sees; or "all".
    """
    rng = generator(_PURPOSE, seed)
    every = combinations()
    pool = {"train": every[~is_held_out(every)], "held_out": every[is_held_out(every)], "all": every}[split]
    chosen = pool[rng.integers(len(pool), size=n)]
    captions = [describe(row, form) for row, form in zip(chosen, rng.choice(CAPTIONS["scene"], n), strict=True)]
    return _draw(chosen, captions, rng)


def distinct_scenes(n: int, seed: int) -> Pictures:
    """n <= 2560 scenes of different combinations, each under its full description, so that no two captions agree."""
    every = combinations()
    if n > len(every):
        raise UserError(f"only {len(every)} scenes have different full descriptions; {n} were asked for")
    rng = generator(_PURPOSE_DISTINCT, seed)
    chosen = rng.permutation(every)[:n]
    return _draw(chosen, [describe(row) for row in chosen], rng)


def full_descriptions(pictures: Pictures) -> list[str]:
    """The caption that names all five attributes of each scene: equal only where all attributes are."""
    return [describe(row) for row in zip(*(pictures.attributes[name] for name in ATTRIBUTES), strict=True)]


def describe(combination, form: str = CAPTIONS["scene"][0]) -> str:
    """A caption for one combination of five indices, in one of the forms of scenes."""
    words = {name: choices[i] for (name, choices), i in zip(ATTRIBUTES.items(), combination, strict=True)}
    return form.format(**words)


def _draw(chosen: Int[np.ndarray, "n 5"], captions: list[str], rng: np.random.Generator) -> Pictures:
    images = drawing.in_chunks(_draw_chunk, rng, chosen)
    attributes = {name: chosen[:, i].copy() for i, name in enumerate(ATTRIBUTES)}
    return Pictures(images, captions, np.full(len(chosen), "scene"), attributes)


def _draw_chunk(chosen: Int[np.ndarray, "n 5"], rng: np.random.Generator):
    shape, colour, background, place, size = chosen.T
    n = len(chosen)
    canvas = drawing.grounds(background, rng)
    centre = _CENTRES[place] + rng.uniform(-1, 1, (n, 2)).astype(np.float32)
    radius = _RADII[size] * rng.uniform(0.92, 1.08, n)
    share = drawing.shape_coverage(shape, centre, radius, rng.uniform(-0.25, 0.25, n))
    tint = np.array(list(COLOURS.values()), np.float32)[colour] + rng.uniform(-0.05, 0.05, (n, 3))
    return drawing.worn_pixels(canvas, share, tint, rng.beta(*drawing.WEAR, n), rng)
