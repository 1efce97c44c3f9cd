"""Digits: the real handwritten digits that come with scikit-learn, inked on the scenes' papers.

``sklearn.datasets.load_digits`` holds 1797 digits of 8 x 8 pixels. A fixed stratified three quarters of them are for
training; the rest is never trained on. One digit gives many pictures: size, place, ink and paper vary.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from .drawing import (
    BACKGROUNDS,
    CAPTIONS,
    WORDS,
    Pictures,
    column,
    generator,
    grounds,
    in_chunks,
    paint,
    pixel_grid,
    to_pixels,
)

SPLITS = ("train", "held_out")

SPLIT_SEED, HELD_OUT_SHARE = 0, 0.25
"""Of scikit-learn's stratified split; part of what "held out" means, so they never change."""

_PURPOSE = {"train": 4, "held_out": 5}


@lru_cache(maxsize=2)
def handwriting(split: str) -> tuple[Float[np.ndarray, "n 8 8"], Int[np.ndarray, "n"]]:
    """The scans of one split: ink in [0, 1] (n, 8, 8), and the digit 0..9 of each; 1347 to train on, 450 held out."""
    scans = load_digits()
    rows = train_test_split(
        np.arange(len(scans.target)), test_size=HELD_OUT_SHARE, random_state=SPLIT_SEED, stratify=scans.target
    )[SPLITS.index(split)]
    return (scans.images[rows] / 16).astype(np.float32), scans.target[rows].astype(np.int64)


def digits(split: str, n: int | None = None, seed: int = 0) -> Pictures:
    """Handwritten digits, with attributes "digit" (0..9) and "scan" (index into ``handwriting(split)``).

    ``split`` is "train" or "held_out". n pictures draw scans in turns through a shuffled split, each time in another
    place, size and ink; None: one of every scan, in order.
    """
    ink, target = handwriting(split)
    rng = generator(_PURPOSE[split], seed)
    scan = np.arange(len(ink)) if n is None else np.resize(rng.permutation(len(ink)), n)
    forms = rng.choice(CAPTIONS["digit"], len(scan))
    captions = [form.format(digit=WORDS["digit"][d]) for form, d in zip(forms, target[scan], strict=True)]
    images = in_chunks(_draw_chunk, rng, ink[scan])
    return Pictures(images, captions, np.full(len(scan), "digit"), {"digit": target[scan], "scan": scan})


def _draw_chunk(ink: Float[np.ndarray, "n 8 8"], rng: np.random.Generator):
    n = len(ink)
    canvas = grounds(rng.integers(len(BACKGROUNDS), size=n), rng)
    centre = 16 + rng.uniform(-2.5, 2.5, (2, n)).astype(np.float32)
    share = _enlarged(ink, centre, pixels_per_cell=rng.uniform(2.6, 3.6, n).astype(np.float32))
    colour = np.array([0.15, 0.16, 0.22], np.float32) + rng.uniform(-0.1, 0.15, (n, 3)).astype(np.float32)
    paint(canvas, share, colour)
    return to_pixels(canvas, rng.uniform(0.015, 0.05, n), rng)


def _enlarged(ink, centre, pixels_per_cell) -> Float[np.ndarray, "n 32 32"]:
    """Bilinear enlargement of each scan around its centre (2, n) in pixels; no ink beyond the scan's edge."""
    padded = np.pad(ink, ((0, 0), (1, 2), (1, 2)))
    x, y = pixel_grid()
    across = np.clip((x - column(centre[0])) / column(pixels_per_cell) + 4.5, 0, 9)
    down = np.clip((y - column(centre[1])) / column(pixels_per_cell) + 4.5, 0, 9)
    left, top = across.astype(np.int64), down.astype(np.int64)
    right_share, bottom_share = across - left, down - top
    row = np.arange(len(ink))[:, None, None]
    upper = padded[row, top, left] * (1 - right_share) + padded[row, top, left + 1] * right_share
    lower = padded[row, top + 1, left] * (1 - right_share) + padded[row, top + 1, left + 1] * right_share
    return upper * (1 - bottom_share) + lower * bottom_share
