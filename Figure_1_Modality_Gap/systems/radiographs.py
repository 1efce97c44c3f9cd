"""Noise radiographs: grey noise with the spectrum of natural images, and sentences as in reports. They show nothing.

They stand where radiographs would, so that an untrained network meets pictures of the right size, depth and smoothness.
The amplitude of each spatial frequency f falls as 1/f (Source: Field 1987, J. Opt. Soc. Am. A 4, 2379: in photographs
the amplitude spectrum falls about so), phases are random. Sentences are our own, drawn at random and unrelated to the
picture beside them; nothing comes from a patient.
"""

import numpy as np
from jaxtyping import UInt8

from util.corpora.generated.collection import generator

PIXELS = 224
"""Width and height."""

MEAN, DEVIATION = 127.5, 40.0
"""Of the grey values of every picture, before what leaves 0..255 is clipped."""

FINDINGS = (
    "The lungs are clear.",
    "The heart is of normal size.",
    "The heart is mildly enlarged.",
    "There is no pleural effusion.",
    "There is a small effusion on the left.",
    "There is a small effusion on the right.",
    "No pneumothorax is seen.",
    "There is an opacity at the left base.",
    "There is an opacity at the right base.",
    "The mediastinum is not widened.",
    "No acute fracture is seen.",
    "The diaphragm is flattened on both sides.",
)
"""Sentences of our own; a caption joins ``SENTENCES`` different ones."""

SENTENCES = 2

_PURPOSE = 8


def radiographs(n: int, seed: int) -> tuple[UInt8[np.ndarray, "n 224 224"], list[str]]:
    """n grey pictures of noise and a random caption for each.

    Raises:
        UserError: the seed is not a whole number of at least 0.
    """
    rng = generator(_PURPOSE, seed)
    images = np.empty((n, PIXELS, PIXELS), np.uint8)
    for image in images:
        image[...] = _noise(rng)
    chosen = [rng.choice(len(FINDINGS), SENTENCES, replace=False) for _ in range(n)]
    return images, [" ".join(FINDINGS[i] for i in row) for row in chosen]


def _noise(rng: np.random.Generator) -> UInt8[np.ndarray, "224 224"]:
    """White noise whose Fourier amplitudes are divided by the frequency, scaled to ``MEAN`` and ``DEVIATION``."""
    frequency = np.hypot(np.fft.fftfreq(PIXELS)[:, None], np.fft.rfftfreq(PIXELS)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((PIXELS, PIXELS))) / frequency, s=(PIXELS, PIXELS))
    return np.clip(np.rint(MEAN + DEVIATION * noise / noise.std()), 0, 255).astype(np.uint8)
