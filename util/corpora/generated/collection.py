"""A corpus of pictures: images with captions, their kind, and the attributes they were drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

NOT_APPLICABLE = -1
"""Value of an attribute that a picture of this kind does not have."""


@dataclass(frozen=True)
class Pictures:
    """n captioned pictures.

    Args:
        images: uint8 array (n, 32, 32, 3), RGB.
        captions: n strings; row i describes image i.
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
    names = dict.fromkeys(name for part in parts for name in part.attributes)
    blanks = [dict.fromkeys(names, np.full(len(part), NOT_APPLICABLE)) for part in parts]
    filled = [blank | dict(part.attributes) for blank, part in zip(blanks, parts, strict=True)]
    return Pictures(
        np.concatenate([part.images for part in parts]),
        [caption for part in parts for caption in part.captions],
        np.concatenate([part.kind for part in parts]),
        {name: np.concatenate([values[name] for values in filled]) for name in names},
    )


def generator(purpose: int, seed: int) -> np.random.Generator:
    """A stream of its own for every (purpose, seed), so that no two corpora share a random number."""
    return np.random.default_rng([purpose, seed])
