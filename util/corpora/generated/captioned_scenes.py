"""Generated items with captions, as extraction takes them: no download, and nobody's data."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..captioned import Captioned, Modality, assemble
from . import pictures


def scenes(n: int, seed: int) -> Captioned:
    """Scenes of all combinations for the small CLIP: items are uint8 arrays (32, 32, 3), as its tower takes them.

    They are its test pictures, at ``TEST_SEED + seed``: the plain seeds are those of training.
    """
    test_seed = pictures.TEST_SEED + seed
    drawn = pictures.scenes(n, test_seed, split="all")
    openers = [lambda image=image: image for image in drawn.images]
    content = (image.tobytes() for image in drawn.images)
    return captioned("image", "generated scenes", openers, content, drawn.captions, test_seed)


def captioned(
    modality: Modality,
    name: str,
    openers: Sequence[Callable[[], Any]],
    content: Iterable[bytes],
    captions: Sequence[str],
    seed: int,
) -> Captioned:
    """Generated items with one caption each; ``content``, the bytes of every item, is hashed into the source."""
    hashes = [hashlib.sha256(part).digest() for part in (*content, *(caption.encode() for caption in captions))]
    about = {"dataset": name, "generated": True, "seed": seed}
    about["files"] = f"sha256:{hashlib.sha256(b''.join(hashes)).hexdigest()}"
    ids = [str(row) for row in range(len(openers))]
    return assemble(modality, openers, ids, [[caption] for caption in captions], "first", about)
