"""The four systems of Figure 1, in the paper's order: generated inputs, and encoder pairs with random weights.

A further system is one entry of ``systems.toml``, one of ``INPUTS``, and a module beside this one.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from util.cli import Device
from util.corpora.captioned import Captioned
from util.corpora.generated.pictures import captioned_scenes
from util.encoders.tower import EncoderPair, Precision

from . import generated_inputs


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
    "videoclip": generated_inputs.clips,
    "convirt": generated_inputs.noise_radiographs,
    "clasp": generated_inputs.random_sequences,
}
SYSTEMS = {
    key: System(**facts, generate=INPUTS[key])
    for key, facts in tomllib.loads((Path(__file__).parent / "systems.toml").read_text(encoding="utf-8")).items()
}
