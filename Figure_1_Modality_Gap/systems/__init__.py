"""The four systems of Figure 1, in the paper's order: generated inputs, and encoder pairs with random weights.

Inputs need no download, are the same for the same (n, seed), and are nobody's data. Videos are scenes in motion,
radiographs are noise, proteins are random letters. Only the captions of the videos describe what they stand beside:
the other texts are drawn at random and come from no patient and no database.

A further system is one entry of ``systems.toml``, one of ``INPUTS``, and a module beside this one.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from util.cli import Device
from util.corpora.captioned import Captioned
from util.corpora.generated import drawing
from util.corpora.generated.drawing import BACKGROUNDS, COLOURS, SIDE, generator
from util.corpora.generated.pictures import COLOUR_NAMES, SHAPES, SIZES, captioned, captioned_scenes
from util.encoders.tower import EncoderPair, Precision

MOTION, NOISE, PROTEINS = 7, 8, 9
"""Streams of random numbers."""
PIXELS, VIDEO, RADIOGRAPH, PROTEIN = tomllib.loads(
    (Path(__file__).parent / "generated.toml").read_text(encoding="utf-8")
).values()
FRAMES, REACH, DIRECTIONS = VIDEO["frames"], VIDEO["reach"], VIDEO["directions"]
RADII = np.array(VIDEO["radii"], np.float32)
ATTRIBUTES = {
    "size": SIZES, "colour": COLOUR_NAMES, "shape": SHAPES, "direction": tuple(DIRECTIONS), "background": BACKGROUNDS,
}  # fmt: skip
FINDINGS, MEAN, DEVIATION = RADIOGRAPH["findings"], RADIOGRAPH["mean"], RADIOGRAPH["deviation"]
WORDS, PERCENT, LENGTHS = PROTEIN["words"], PROTEIN["percent"], tuple(PROTEIN["lengths"])


def clips(n: int, seed: int) -> Captioned:
    """Generated scenes whose subject crosses the picture: items are lists of 8 RGB pictures of 224 pixels a side.

    A clip is drawn at 32 pixels and enlarged by bicubic interpolation. Every attribute has equal chances.
    """
    rng = generator(MOTION, seed)
    chosen = _choices(ATTRIBUTES, n, rng)
    drawn = np.empty((n, FRAMES, SIDE, SIDE, 3), np.uint8)
    for start in range(0, n, drawing.CHUNK // FRAMES):
        part = slice(start, start + drawing.CHUNK // FRAMES)
        drawn[part] = _draw(chosen[part], rng)
    captions = [_filled(VIDEO["caption"], ATTRIBUTES, row) for row in chosen]
    openers = [partial(_enlarged, frames) for frames in drawn]
    content = (frames.tobytes() for frames in drawn)
    return captioned("video", "generated scenes in motion", openers, content, captions, seed)


def noise_radiographs(n: int, seed: int) -> Captioned:
    """Grey noise beside sentences as in reports: RGB pictures of 224 pixels a side, which show nothing.

    The amplitude of each spatial frequency f falls as 1/f, as in photographs (Field 1987, J. Opt. Soc. Am. A 4, 2379).
    """
    rng = generator(NOISE, seed)
    drawn = [_noise(rng) for _ in range(n)]
    chosen = [rng.choice(len(FINDINGS), 2, replace=False) for _ in drawn]
    captions = [" ".join(FINDINGS[i] for i in row) for row in chosen]
    openers = [lambda grey=grey: Image.fromarray(grey).convert("RGB") for grey in drawn]
    content = (grey.tobytes() for grey in drawn)
    return captioned("image", "generated noise radiographs, random sentences", openers, content, captions, seed)


def random_sequences(n: int, seed: int) -> Captioned:
    """Amino acids drawn one by one at natural frequencies, beside texts about what a protein might do."""
    rng = generator(PROTEINS, seed)
    letters, share = np.array(list(PERCENT)), np.array(list(PERCENT.values()))
    lengths = rng.integers(LENGTHS[0], LENGTHS[1] + 1, size=n)
    drawn = ["".join(rng.choice(letters, size=length, p=share / share.sum())) for length in lengths]
    texts = [_filled(PROTEIN["text"], WORDS, row) for row in _choices(WORDS, n, rng)]
    openers = [lambda sequence=sequence: sequence for sequence in drawn]
    name = "generated amino-acid sequences at natural frequencies, random texts"
    return captioned("amino acid", name, openers, (sequence.encode() for sequence in drawn), texts, seed)


def _choices(words: dict[str, tuple], n: int, rng: np.random.Generator) -> Int[np.ndarray, "n k"]:
    return np.stack([rng.integers(len(choices), size=n) for choices in words.values()], axis=1)


def _filled(form: str, words: dict[str, tuple], row: Int[np.ndarray, "k"]) -> str:
    return form.format(**{name: choices[i] for (name, choices), i in zip(words.items(), row, strict=True)})


def _enlarged(frames: UInt8[np.ndarray, "8 32 32 3"]) -> list[Image.Image]:
    return [Image.fromarray(frame).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC) for frame in frames]


def _draw(chosen: Int[np.ndarray, "n 5"], rng: np.random.Generator) -> UInt8[np.ndarray, "n 8 32 32 3"]:
    size, colour, shape, direction, background = chosen.T
    n = len(chosen)
    ground = drawing.grounds(background, rng)
    middle = SIDE / 2 + rng.uniform(-2, 2, (n, 2))
    step = np.array(list(DIRECTIONS.values()))[direction]
    radius, angle = RADII[size] * rng.uniform(0.92, 1.08, n), rng.uniform(-0.25, 0.25, n)
    tint = np.array(list(COLOURS.values()), np.float32)[colour] + rng.uniform(-0.05, 0.05, (n, 3))
    wear = rng.beta(*drawing.WEAR, n)
    frames = np.empty((n, FRAMES, SIDE, SIDE, 3), np.uint8)
    for t, way in enumerate(np.linspace(-REACH, REACH, FRAMES)):
        share = drawing.shape_coverage(shape, middle + way * step, radius, angle)
        frames[:, t] = drawing.worn_pixels(ground.copy(), share, tint, wear, rng)
    return frames


def _noise(rng: np.random.Generator) -> UInt8[np.ndarray, "224 224"]:
    """White noise whose Fourier amplitudes are divided by the frequency, scaled to ``MEAN`` and ``DEVIATION``."""
    frequency = np.hypot(np.fft.fftfreq(PIXELS)[:, None], np.fft.rfftfreq(PIXELS)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((PIXELS, PIXELS))) / frequency, s=(PIXELS, PIXELS))
    return np.clip(np.rint(MEAN + DEVIATION * noise / noise.std()), 0, 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class System:
    """A multi-modal model, one modality beside text; ``util.published.SYSTEMS`` has its title and modality.

    ``kind`` is both modalities in words, ``name`` the network in print, and ``note`` what stands in for what. The
    ``module`` here has its architecture, CLIP's is open_clip's. ``generate`` takes n and a seed.
    """

    kind: str
    name: str
    note: str
    module: str | None = None
    items: int
    generate: Callable[[int, int], Captioned]

    def load(self, seed: int, device: Device, precision: Precision) -> EncoderPair:
        """Random weights; the module is imported only now, for transformers takes seconds."""
        return import_module(f".{self.module}", __package__).load(seed=seed, device=device, precision=precision)


INPUTS = {
    "clip": captioned_scenes,
    "videoclip": clips,
    "convirt": noise_radiographs,
    "clasp": random_sequences,
}
SYSTEMS = {
    key: System(**facts, generate=INPUTS[key])
    for key, facts in tomllib.loads((Path(__file__).parent / "systems.toml").read_text(encoding="utf-8")).items()
}
