"""The generated inputs of Figure 1's four systems: no download, the same for the same (n, seed), and no one's data."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from systems import moving, radiographs, random_proteins

from ..captioned import Captioned, Modality, assemble, checked_count
from . import pictures


def scenes(n: int, seed: int) -> Captioned:
    """Scenes of all combinations for the small CLIP: items are uint8 arrays (32, 32, 3), as its tower takes them.

    They are its test pictures, at ``TEST_SEED + seed``: the plain seeds are those of training.
    """
    from ...encoders.small_clip_evaluation import TEST_SEED

    drawn = pictures.scenes(checked_count(n, "scenes"), TEST_SEED + seed, split="all")
    openers = [lambda image=image: image for image in drawn.images]
    return _captioned("image", "generated scenes", openers, _bytes(drawn.images), drawn.captions, TEST_SEED + seed)


def clips(n: int, seed: int) -> Captioned:
    """Scenes in motion: items are lists of 8 RGB pictures of 224 pixels a side."""
    drawn, captions = moving.clips(checked_count(n, "clips"), seed)
    openers = [lambda frames=frames: moving.enlarged(frames) for frames in drawn]
    return _captioned("video", "generated scenes in motion", openers, _bytes(drawn), captions, seed)


def noise_radiographs(n: int, seed: int) -> Captioned:
    """Grey noise beside sentences that have nothing to do with it: RGB pictures of 224 pixels a side."""
    drawn, captions = radiographs.radiographs(checked_count(n, "radiographs"), seed)
    openers = [lambda grey=grey: Image.fromarray(grey).convert("RGB") for grey in drawn]
    name = "generated noise radiographs, random sentences"
    return _captioned("image", name, openers, _bytes(drawn), captions, seed)


def random_sequences(n: int, seed: int) -> Captioned:
    """Random amino-acid sequences beside texts that have nothing to do with them: items are strings."""
    drawn, texts = random_proteins.sequences(checked_count(n, "sequences"), seed)
    openers = [lambda sequence=sequence: sequence for sequence in drawn]
    name = "generated amino-acid sequences at natural frequencies, random texts"
    return _captioned("amino acid", name, openers, (sequence.encode() for sequence in drawn), texts, seed)


GENERATED: Mapping[str, Callable[[int, int], Captioned]] = {
    "clip": scenes,
    "videoclip": clips,
    "convirt": noise_radiographs,
    "clasp": random_sequences,
}
"""By the system of Figure 1: (n, seed) to n captioned items, one caption each.

Raises:
    UserError: n below 1, or a seed that is not a whole number of at least 0.
"""


def _captioned(
    modality: Modality,
    name: str,
    openers: Sequence[Callable[[], Any]],
    content: Iterable[bytes],
    captions: Sequence[str],
    seed: int,
) -> Captioned:
    hashes = [hashlib.sha256(part).digest() for part in (*content, *(caption.encode() for caption in captions))]
    about = {"dataset": name, "generated": True, "seed": seed}
    about["files"] = f"sha256:{hashlib.sha256(b''.join(hashes)).hexdigest()}"
    ids = [str(row) for row in range(len(openers))]
    return assemble(modality, openers, ids, [[caption] for caption in captions], "first", about)


def _bytes(arrays: np.ndarray) -> Iterable[bytes]:
    return (array.tobytes() for array in arrays)
