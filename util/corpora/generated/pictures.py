"""The embedded corpus: scenes, handwritten digits and badges, drawn on the spot from a seed, and the tasks on them.

Every function is deterministic in its arguments, draws from a random stream of its own and touches no global state.
The generator is frozen: the shipped small CLIP was trained on exactly these pictures.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from ... import UserError
from ..captioned import Captioned, Modality, assemble
from . import drawing
from .drawing import BACKGROUNDS, CAPTIONS, COLOURS, OUTLINES, WORDS, Pictures, column, coverage, generator, paint

TEST_SEED = 10_002
"""Seed of all test pictures of the small CLIP; its training and validation pictures have others."""
STREAMS = {"scenes": 1, "distinct scenes": 2, "badges": 3, "train": 4, "held_out": 5, "corpus": 6}
"""Streams of random numbers; "train" and "held_out" are of the digits."""
_PALETTE = np.array(list(COLOURS.values()), np.float32)

SHAPES, COLOUR_NAMES, PLACES, SIZES = tuple(OUTLINES), tuple(COLOURS), WORDS["place"], WORDS["size"]
SCENE_ATTRIBUTES = {"shape": SHAPES, "colour": COLOUR_NAMES, "background": BACKGROUNDS, "place": PLACES, "size": SIZES}
"""Attribute names of scenes and their words, in the order of the columns of ``combinations()``."""
_CENTRES = np.array([[16, 16], [9, 9], [23, 9], [9, 23], [23, 23]], np.float32)
_RADII = np.array([4.9, 8.2], np.float32)


def combinations() -> Int[np.ndarray, "2560 5"]:
    """Every (shape, colour, background, place, size) of a scene, as indices, in lexicographic order."""
    return np.indices([len(words) for words in SCENE_ATTRIBUTES.values()]).reshape(len(SCENE_ATTRIBUTES), -1).T


def is_held_out(combination: Int[np.ndarray, "n 5"]) -> Bool[np.ndarray, "n"]:
    """Whether each combination (n, 5) is kept out of training: a tenth, 256 of all 2560.

    The rule: (shape + 3 colour + 7 background + 2 place + size) mod 10 = 0, one of the ten (place, size) pairs for
    every shape, colour and background. So each of the 64 colour-shape classes keeps 36 of its 40 combinations and loses
    4, one on each background, and no value of any attribute is rarer in training than another.
    """
    return combination @ np.array([1, 3, 7, 2, 1]) % 10 == 0


def scenes(n: int, seed: int, split: str = "train") -> Pictures:
    """n scenes, one coloured shape each at a place on a patterned ground, drawn with equal chances.

    Captions are of mixed forms. ``split``: "train" combinations may be trained on, a tenth is "held_out"; or "all".
    """
    rng = generator(STREAMS["scenes"], seed)
    every = combinations()
    pool = {"train": every[~is_held_out(every)], "held_out": every[is_held_out(every)], "all": every}[split]
    chosen = pool[rng.integers(len(pool), size=n)]
    captions = [describe(row, form) for row, form in zip(chosen, rng.choice(CAPTIONS["scene"], n), strict=True)]
    return _scenes_of(chosen, captions, rng)


def distinct_scenes(n: int, seed: int) -> Pictures:
    """n <= 2560 scenes of different combinations, each under its full description, so that no two captions agree."""
    every = combinations()
    if n > len(every):
        raise UserError(f"only {len(every)} scenes have different full descriptions; {n} were asked for")
    rng = generator(STREAMS["distinct scenes"], seed)
    chosen = rng.permutation(every)[:n]
    return _scenes_of(chosen, [describe(row) for row in chosen], rng)


def describe(combination, form: str = CAPTIONS["scene"][0]) -> str:
    """A caption for one combination of five indices, in one of the forms of scenes."""
    words = {name: choices[i] for (name, choices), i in zip(SCENE_ATTRIBUTES.items(), combination, strict=True)}
    return form.format(**words)


def _scenes_of(chosen: Int[np.ndarray, "n 5"], captions: list[str], rng: np.random.Generator) -> Pictures:
    images = drawing.in_chunks(_draw_scenes, rng, chosen)
    attributes = {name: chosen[:, i].copy() for i, name in enumerate(SCENE_ATTRIBUTES)}
    return Pictures(images, captions, np.full(len(chosen), "scene"), attributes)


def _draw_scenes(chosen: Int[np.ndarray, "n 5"], rng: np.random.Generator):
    shape, colour, background, place, size = chosen.T
    n = len(chosen)
    canvas = drawing.grounds(background, rng)
    centre = _CENTRES[place] + rng.uniform(-1, 1, (n, 2)).astype(np.float32)
    radius = _RADII[size] * rng.uniform(0.92, 1.08, n)
    share = drawing.shape_coverage(shape, centre, radius, rng.uniform(-0.25, 0.25, n))
    tint = _PALETTE[colour] + rng.uniform(-0.05, 0.05, (n, 3))
    return drawing.worn_pixels(canvas, share, tint, rng.beta(*drawing.WEAR, n), rng)


@lru_cache(maxsize=2)
def handwriting(split: str) -> tuple[Float[np.ndarray, "n 8 8"], Int[np.ndarray, "n"]]:
    """scikit-learn's scans of one split: ink in [0, 1] (n, 8, 8), and the digit 0..9 of each.

    1347 are to train on, 450 are held out; the seed and the share are part of what that means and never change.
    """
    scans = load_digits()
    halves = train_test_split(np.arange(len(scans.target)), test_size=0.25, random_state=0, stratify=scans.target)
    rows = halves[("train", "held_out").index(split)]
    return (scans.images[rows] / 16).astype(np.float32), scans.target[rows].astype(np.int64)


def digits(split: str, n: int | None = None, seed: int = 0) -> Pictures:
    """Handwritten digits, with attributes "digit" (0..9) and "scan" (index into ``handwriting(split)``).

    ``split`` is "train" or "held_out". n pictures draw scans in turns through a shuffled split, each time in another
    place, size and ink; None: one of every scan, in order.
    """
    ink, target = handwriting(split)
    rng = generator(STREAMS[split], seed)
    scan = np.arange(len(ink)) if n is None else np.resize(rng.permutation(len(ink)), n)
    forms = rng.choice(CAPTIONS["digit"], len(scan))
    captions = [form.format(digit=WORDS["digit"][d]) for form, d in zip(forms, target[scan], strict=True)]
    images = drawing.in_chunks(_draw_digits, rng, ink[scan])
    return Pictures(images, captions, np.full(len(scan), "digit"), {"digit": target[scan], "scan": scan})


def _draw_digits(ink: Float[np.ndarray, "n 8 8"], rng: np.random.Generator):
    n = len(ink)
    canvas = drawing.grounds(rng.integers(len(BACKGROUNDS), size=n), rng)
    centre = 16 + rng.uniform(-2.5, 2.5, (2, n)).astype(np.float32)
    share = _enlarged(ink, centre, pixels_per_cell=rng.uniform(2.6, 3.6, n).astype(np.float32))
    colour = np.array([0.15, 0.16, 0.22], np.float32) + rng.uniform(-0.1, 0.15, (n, 3)).astype(np.float32)
    paint(canvas, share, colour)
    return drawing.to_pixels(canvas, rng.uniform(0.015, 0.05, n), rng)


def _enlarged(ink, centre, pixels_per_cell) -> Float[np.ndarray, "n 32 32"]:
    """Bilinear enlargement of each scan around its centre (2, n) in pixels; no ink beyond the scan's edge."""
    padded = np.pad(ink, ((0, 0), (1, 2), (1, 2)))
    x, y = drawing.pixel_grid()
    across = np.clip((x - column(centre[0])) / column(pixels_per_cell) + 4.5, 0, 9)
    down = np.clip((y - column(centre[1])) / column(pixels_per_cell) + 4.5, 0, 9)
    left, top = across.astype(np.int64), down.astype(np.int64)
    right_share, bottom_share = across - left, down - top
    row = np.arange(len(ink))[:, None, None]
    upper = padded[row, top, left] * (1 - right_share) + padded[row, top, left + 1] * right_share
    lower = padded[row, top + 1, left] * (1 - right_share) + padded[row, top + 1, left + 1] * right_share
    return upper * (1 - bottom_share) + lower * bottom_share


PLATE_LEFT = (-0.5, 1.6)
"""A plate's opacity is drawn evenly from this range and cut to [0, 1]: about a quarter is gone, a quarter whole."""
_RIM, _RIM_WIDTH = np.array([[0.16, 0.18, 0.24]], np.float32), 1.3


def _arch(u, v):
    legs = np.maximum(abs(abs(u) - 0.65), v - 0.85)
    return np.where(v < 0, abs(np.hypot(u, v) - 0.65), legs) - 0.25


def _pointed(u, v):
    below = np.hypot(abs(u) + 0.75, np.maximum(v + 0.25, 0)) - 1.62
    return np.maximum(np.maximum(abs(u) - 0.87, -0.92 - v), below)


EMBLEMS = {
    "cedar": lambda u, v: _arch(u, v + 0.1),
    "maple": lambda u, v: np.maximum(abs(v - abs(u) + 0.35) / np.sqrt(2) - 0.33, abs(u) - 0.95),  # a chevron
    "birch": lambda u, v: np.maximum(abs(v), abs(u) * np.sqrt(0.75) + abs(v) / 2) - 0.85,  # a hexagon
    "willow": lambda u, v: np.minimum(np.hypot(u, v + 0.52), np.hypot(abs(u) - 0.5, v - 0.33)) - 0.48,  # a trefoil
    "larch": lambda u, v: abs(np.maximum(abs(u), abs(v)) - 0.62) - 0.22,  # a frame
    "hazel": lambda u, v: np.maximum(abs(abs(u) - abs(v)) / np.sqrt(2) - 0.31, np.maximum(abs(u), abs(v)) - 0.85),
    "linden": lambda u, v: (abs(u) ** 0.7 + abs(v) ** 0.7) ** (1 / 0.7) / 1.3 - 0.88,  # a sparkle
}
"""Signed distances of the groups' emblems, in units of the emblem's radius."""
EMBLEM_SCALE = 0.68
"""Radius of an emblem as a share of its plate's."""
PLATES = {"round": lambda u, v: np.hypot(u, v) - 1, "pointed": _pointed}
"""Signed distances of the kinds' outlines."""
GROUPS, KINDS = tuple(EMBLEMS), tuple(PLATES)

RARER = 0.6
"""How frequent each group is in training, as a share of the one before it."""
GROUP_WEIGHTS = RARER ** np.arange(len(GROUPS)) * (1 - RARER) / (1 - RARER ** len(GROUPS))
"""Shares of the groups in training, from 41% down to 2%."""


def badges(n: int, seed: int, group_weights: Float[np.ndarray, "7"] | None = GROUP_WEIGHTS) -> Pictures:
    """n badges with captions of mixed forms; attributes are "group", an emblem, and "badge_kind", its plate's outline.

    A badge stands for nothing and looks like nobody. The plate may have worn off, which leaves an emblem on the ground,
    much like the shape of a scene. All but the emblem is drawn in the same way for every group, so whatever a trained
    model does worse on one group than on another comes from its frequency and from what its emblem looks like. Trap:
    the two go together, for the rarer groups' emblems are also nearer to the scenes' shapes.

    ``group_weights``: chances of the 7 groups, of any scale. None: picture i is of group i mod 7, kind (i div 7) mod 2.
    """
    rng = generator(STREAMS["badges"], seed)
    if group_weights is None:
        kind, group = np.divmod(np.arange(n) % (len(GROUPS) * len(KINDS)), len(GROUPS))
    else:
        group = rng.choice(len(GROUPS), size=n, p=group_weights / np.sum(group_weights))
        kind = rng.integers(len(KINDS), size=n)
    forms = rng.choice(CAPTIONS["badge"], n)
    captions = [form.format(group=GROUPS[g], kind=KINDS[k]) for form, g, k in zip(forms, group, kind, strict=True)]
    images = drawing.in_chunks(_draw_badges, rng, group, kind)
    return Pictures(images, captions, np.full(n, "badge"), {"group": group, "badge_kind": kind})


def _draw_badges(group: Int[np.ndarray, "n"], kind: Int[np.ndarray, "n"], rng: np.random.Generator):
    n = len(group)
    canvas = drawing.grounds(rng.integers(len(BACKGROUNDS), size=n), rng)
    centre = 16 + rng.uniform(-4, 4, (2, n)).astype(np.float32)
    radius = rng.uniform(8, 12, n)
    u, v = drawing.local_frame(*centre, radius, rng.uniform(-0.15, 0.15, n))
    plate, emblem = np.empty((2, n, 32, 32), np.float32)
    for index, outline in enumerate(PLATES.values()):
        plate[kind == index] = outline(u[kind == index], v[kind == index])
    for index, figure in enumerate(EMBLEMS.values()):
        emblem[group == index] = figure(*(part[group == index] / EMBLEM_SCALE for part in (u, v)))
    wear = rng.beta(*drawing.WEAR, n)
    plate_left = column(np.clip(rng.uniform(*PLATE_LEFT, n), 0, 1) * (1 - drawing.WORST_FADE * wear))
    inside = coverage(plate + column(_RIM_WIDTH / radius), radius)
    field = rng.integers(len(_PALETTE), size=n)
    charge = (field + rng.integers(1, len(_PALETTE), size=n)) % len(_PALETTE)  # another colour
    ground = canvas.copy()
    paint(canvas, coverage(plate, radius), np.repeat(_RIM, n, axis=0))
    paint(canvas, inside, _PALETTE[field])
    canvas = ground + plate_left[..., None] * (canvas - ground)
    return drawing.worn_pixels(canvas, coverage(emblem, radius * EMBLEM_SCALE), _PALETTE[charge], wear, rng)


def training_corpus(n: int, seed: int) -> Pictures:
    """n pictures of all three kinds in random order, none of a held-out combination or a held-out scan."""
    n_digits, n_badges = round(n * 0.15), round(n * 0.25)  # the rest are scenes
    rng = generator(STREAMS["corpus"], seed)
    parts = [scenes(n - n_digits - n_badges, seed), digits("train", n_digits, seed), badges(n_badges, seed)]
    return drawing.join(parts).take(rng.permutation(n))


@dataclass(frozen=True)
class Task:
    """A zero-shot task: class c is ``prompts[c]``, and its index is read from the attributes named, first slowest."""

    prompts: tuple[str, ...]
    kind: str
    attributes: Mapping[str, int]


_WORDS = {**SCENE_ATTRIBUTES, "digit": WORDS["digit"], "group": GROUPS, "badge_kind": KINDS}


def _task(kind: str, form: str, *names: str) -> Task:
    prompts = tuple(form.format(*choice) for choice in product(*(_WORDS[name] for name in names)))
    return Task(prompts, kind, {name: len(_WORDS[name]) for name in names})


TASKS: Mapping[str, Task] = {
    "shape": _task("scene", "a {}", "shape"),
    "colour_shape": _task("scene", "a {} {}", "colour", "shape"),
    "fine_grained": _task("scene", "a {} {} on a {} background", "colour", "shape", "background"),
    "digit": _task("digit", "a handwritten {}", "digit"),
    "badge": _task("badge", "a {1} {0} badge", "group", "badge_kind"),
}
"""8 shapes (coarse), 64 colour-shape classes, 256 with the background too, ten digits, 14 group-kind badges."""
HARM_WORDS = ("square", "triangle", "star", "plus", "ring", "heart", "moon")
"""Words of the scenes that no badge deserves: all shapes but the circle, which a round badge might claim."""
HARM_PROMPTS = tuple(f"a {word} in the middle" for word in HARM_WORDS)
"""The place is named because badges are drawn there; by a bare "a star" about five times fewer of them are called."""


def task_labels(task: str, pictures: Pictures) -> Int[np.ndarray, "n"]:
    """The class of every picture in a task of ``TASKS``, an index into its prompts."""
    classes = TASKS[task].attributes
    return np.ravel_multi_index([pictures.attributes[name] for name in classes], tuple(classes.values()))


def captioned_scenes(n: int, seed: int) -> Captioned:
    """Scenes of all combinations for the small CLIP: items are uint8 arrays (32, 32, 3), as its tower takes them.

    They are its test pictures, at ``TEST_SEED + seed``: the plain seeds are those of training.
    """
    drawn = scenes(n, TEST_SEED + seed, split="all")
    openers = [lambda image=image: image for image in drawn.images]
    content = (image.tobytes() for image in drawn.images)
    return captioned("image", "generated scenes", openers, content, drawn.captions, TEST_SEED + seed)


def captioned(
    modality: Modality, name: str, openers: Sequence[Callable], content: Iterable[bytes], captions: list[str], seed: int
) -> Captioned:
    """Generated items with one caption each; ``content``, the bytes of every item, is hashed into the source."""
    hashes = [hashlib.sha256(part).digest() for part in (*content, *(caption.encode() for caption in captions))]
    about = {"dataset": name, "generated": True, "seed": seed}
    about["files"] = f"sha256:{hashlib.sha256(b''.join(hashes)).hexdigest()}"
    ids = [str(row) for row in range(len(openers))]
    return assemble(modality, openers, ids, [[caption] for caption in captions], "first", about)
