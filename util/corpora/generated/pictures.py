"""The embedded corpus: scenes, handwritten digits and badges, drawn on the spot from a seed, and the tasks on them.

Every function is deterministic in its arguments, draws from a random stream of its own and touches no global state.
The generator is frozen: the shipped small CLIP was trained on exactly these pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Int

from .badges import GROUP_WEIGHTS as GROUP_WEIGHTS  # "X as X" is what others take from here
from .badges import GROUPS, KINDS, badges
from .digits import digits
from .drawing import WORDS, Pictures, generator, join
from .scenes import ATTRIBUTES as SCENE_ATTRIBUTES
from .scenes import distinct_scenes as distinct_scenes
from .scenes import full_descriptions as full_descriptions
from .scenes import scenes

TEST_SEED = 10_002
"""Seed of all test pictures of the small CLIP; its training and validation pictures have others."""

HARM_WORDS = ("square", "triangle", "star", "plus", "ring", "heart", "moon")
"""Words of the scenes that no badge deserves: all shapes but the circle, which a round badge might claim."""

HARM_PROMPTS = tuple(f"a {word} in the middle" for word in HARM_WORDS)
"""The place is named because badges are drawn there; by a bare "a star" about five times fewer of them are called."""

_PURPOSE = 6


def training_corpus(n: int, seed: int) -> Pictures:
    """n pictures of all three kinds in random order, none of a held-out combination or a held-out scan."""
    n_digits, n_badges = round(n * 0.15), round(n * 0.25)  # the rest are scenes
    rng = generator(_PURPOSE, seed)
    parts = [scenes(n - n_digits - n_badges, seed), digits("train", n_digits, seed), badges(n_badges, seed)]
    return join(parts).take(rng.permutation(n))


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


def task_labels(task: str, pictures: Pictures) -> Int[np.ndarray, "n"]:
    """The class of every picture in a task of ``TASKS``, an index into its prompts."""
    classes = TASKS[task].attributes
    return np.ravel_multi_index([pictures.attributes[name] for name in classes], tuple(classes.values()))
