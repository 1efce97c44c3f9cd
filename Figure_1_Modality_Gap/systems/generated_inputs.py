"""The generated inputs of Figure 1's four systems: no download, the same for the same (n, seed), and nobody's data."""

from collections.abc import Callable, Mapping

from PIL import Image

from systems import moving, radiographs, random_proteins
from util.corpora.captioned import Captioned, checked_count
from util.corpora.generated.captioned_scenes import captioned, scenes


def clips(n: int, seed: int) -> Captioned:
    """Scenes in motion: items are lists of 8 RGB pictures of 224 pixels a side."""
    drawn, captions = moving.clips(checked_count(n, "clips"), seed)
    openers = [lambda frames=frames: moving.enlarged(frames) for frames in drawn]
    content = (frames.tobytes() for frames in drawn)
    return captioned("video", "generated scenes in motion", openers, content, captions, seed)


def noise_radiographs(n: int, seed: int) -> Captioned:
    """Grey noise beside sentences that have nothing to do with it: RGB pictures of 224 pixels a side."""
    drawn, captions = radiographs.radiographs(checked_count(n, "radiographs"), seed)
    openers = [lambda grey=grey: Image.fromarray(grey).convert("RGB") for grey in drawn]
    content = (grey.tobytes() for grey in drawn)
    return captioned("image", "generated noise radiographs, random sentences", openers, content, captions, seed)


def random_sequences(n: int, seed: int) -> Captioned:
    """Random amino-acid sequences beside texts that have nothing to do with them: items are strings."""
    drawn, texts = random_proteins.sequences(checked_count(n, "sequences"), seed)
    openers = [lambda sequence=sequence: sequence for sequence in drawn]
    name = "generated amino-acid sequences at natural frequencies, random texts"
    return captioned("amino acid", name, openers, (sequence.encode() for sequence in drawn), texts, seed)


GENERATED: Mapping[str, Callable[[int, int], Captioned]] = {
    "clip": scenes,
    "videoclip": clips,
    "convirt": noise_radiographs,
    "clasp": random_sequences,
}
"""By the system of Figure 1: (n, seed) to n captioned items, one caption each."""
