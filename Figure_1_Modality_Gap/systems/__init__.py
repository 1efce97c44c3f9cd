"""The four systems of Figure 1, in the paper's order: inputs, and encoder pairs with random or trained weights.

A further system is one entry of ``systems.toml``, one of ``READERS``, and a module beside this one.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from util.cli import Device
from util.corpora import folder
from util.corpora.captioned import Captioned
from util.corpora.generated.captioned_scenes import scenes
from util.encoders.tower import EncoderPair, Precision

from . import generated_inputs, videos


@dataclass(frozen=True, kw_only=True)
class System:
    """A multi-modal model, one modality beside text; ``util.published.SYSTEMS`` has its title and modality.

    Attributes:
        kind: both modalities in words, the column ``kind`` of the tables.
        module: module here whose ``load`` takes model, random, seed, device and precision.
        random_name, trained_name, note: the networks that are run, in print, and what stands in for what.
        default: the model with trained weights, unless --model names another CLIP; None where there is none.
        items: number of generated items unless told otherwise.
        read: (path, caption rule, n or None for all) to your own items with captions; None where no trained weights
            can be had.
        generate: (n, seed) to n generated items, one caption each.
    """

    kind: str
    module: str
    random_name: str
    trained_name: str | None = None
    note: str
    default: str | None = None
    items: int
    read: Callable[[Path, str, int | None], Captioned] | None
    generate: Callable[[int, int], Captioned]

    def load(self, model: str | None, random: bool, seed: int, device: Device, precision: Precision) -> EncoderPair:
        """The encoder pair; its module is imported only now, for open_clip and transformers take seconds."""
        how = {"seed": seed, "device": device, "precision": precision}
        return import_module(f".{self.module}", __package__).load(model, random, **how)


READERS = {
    "clip": (folder.load, scenes),
    "videoclip": (videos.load, generated_inputs.clips),
    "convirt": (folder.load, generated_inputs.noise_radiographs),
    "clasp": (None, generated_inputs.random_sequences),
}
SYSTEMS = {
    key: System(**facts, read=READERS[key][0], generate=READERS[key][1])
    for key, facts in tomllib.loads((Path(__file__).parent / "systems.toml").read_text(encoding="utf-8")).items()
}
