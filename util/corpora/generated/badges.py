"""Badges: plates with abstract emblems, 7 groups x 2 kinds, whose groups are very unequally frequent in training.

A badge stands for nothing and looks like nobody. Its group is the emblem on its plate, its kind the plate's outline.
The plate may have worn off in part or altogether, which leaves an emblem on the ground, much like the shape of a scene.
Colours, ground, place and wear are drawn in the same way for every group, so whatever a trained model does worse on
one group than on another comes from the group's frequency and from what its emblem looks like. Trap: the two go
together, for the rarer groups' emblems are also nearer to the scenes' shapes.
"""

import numpy as np
from jaxtyping import Float, Int

from . import drawing
from .drawing import BACKGROUNDS, CAPTIONS, COLOURS, WORST_FADE, Pictures, column, coverage, generator, paint

PLATE_LEFT = (-0.5, 1.6)
"""A plate's opacity is drawn evenly from this range and cut to [0, 1]: about a quarter is gone, a quarter whole."""

_PURPOSE = 3
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
    """n badges (attributes "group" and "badge_kind") with captions of mixed forms.

    ``group_weights`` are chances of the 7 groups, on any positive scale. None: equal numbers, picture i being of group
    i mod 7 and kind (i div 7) mod 2.
    """
    rng = generator(_PURPOSE, seed)
    if group_weights is None:
        kind, group = np.divmod(np.arange(n) % (len(GROUPS) * len(KINDS)), len(GROUPS))
    else:
        group = rng.choice(len(GROUPS), size=n, p=group_weights / np.sum(group_weights))
        kind = rng.integers(len(KINDS), size=n)
    forms = rng.choice(CAPTIONS["badge"], n)
    captions = [form.format(group=GROUPS[g], kind=KINDS[k]) for form, g, k in zip(forms, group, kind, strict=True)]
    images = drawing.in_chunks(_draw_chunk, rng, group, kind)
    return Pictures(images, captions, np.full(n, "badge"), {"group": group, "badge_kind": kind})


def _draw_chunk(group: Int[np.ndarray, "n"], kind: Int[np.ndarray, "n"], rng: np.random.Generator):
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
    plate_left = column(np.clip(rng.uniform(*PLATE_LEFT, n), 0, 1) * (1 - WORST_FADE * wear))
    inside = coverage(plate + column(_RIM_WIDTH / radius), radius)
    palette = np.array(list(COLOURS.values()), np.float32)
    field = rng.integers(len(palette), size=n)
    charge = (field + rng.integers(1, len(palette), size=n)) % len(palette)  # another colour
    ground = canvas.copy()
    paint(canvas, coverage(plate, radius), np.repeat(_RIM, n, axis=0))
    paint(canvas, inside, palette[field])
    canvas = ground + plate_left[..., None] * (canvas - ground)
    return drawing.worn_pixels(canvas, coverage(emblem, radius * EMBLEM_SCALE), palette[charge], wear, rng)
