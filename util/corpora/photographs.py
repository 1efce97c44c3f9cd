"""Photographs that need no download: crops of the two that ship inside scikit-learn."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from ..numerics.arrays import as_count

NAME = "crops of two photographs"
SOURCE = "scikit-learn's sample images china.jpg and flower.jpg (640 x 427)"

SMALLEST, LARGEST = 96, 400
"""Sides of a crop in pixels."""


def crops(n: int, seed: int = 0) -> list[Image.Image]:
    """Square crops, of the one photograph and the other in turn, their side and place drawn at random.

    Args:
        n: how many, at least 1.
        seed: crop i depends on the seed and on i alone, so that the first k of n are those that k alone would give.

    Returns:
        n RGB images of 96 to 400 pixels a side. Trap: two photographs only, so crops of one of them are alike.

    Raises:
        UserError: n is less than 1.
    """
    photographs = [Image.fromarray(array) for array in load_sample_images().images]
    return [_crop(photographs[i % len(photographs)], np.random.default_rng([seed, i])) for i in range(as_count(n, "n"))]


def _crop(photograph: Image.Image, rng: np.random.Generator) -> Image.Image:
    side = int(rng.integers(SMALLEST, LARGEST + 1))
    left, top = (int(rng.integers(0, length - side + 1)) for length in photograph.size)
    return photograph.crop((left, top, left + side, top + side))
