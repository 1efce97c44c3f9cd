"""Embeddings of the same inputs by an encoder with trained weights, or with random ones of many seeds, made once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from tower_inputs import Inputs
from util import cli
from util.encoders.named import FOLDER, HUB, KINDS, Named
from util.encoders.tower import Precision
from util.extraction import Part, Store
from util.files import cache_folder, digest

FORMAT = 3
"""Raise it when encoding itself changes, so that nothing made before is taken for the new."""
PACKAGES = ("torch", "torchvision", "pillow")
"""Beside those that the settings of a tower name."""
PAPERS = {"resnet18": "ResNet-18", "resnet50": "ResNet-50", "ViT-B-32-quickgelu": "CLIP ViT-B/32"}


@dataclass(frozen=True)
class Rows:
    """Unit rows of one tower, its name in print and settings, of one set of inputs and one seed, None if trained."""

    encoder: str
    inputs: Inputs
    seed: int | None
    rows: Float[np.ndarray, "n d"] = field(repr=False)
    settings: dict = field(repr=False)


def embed(
    named: Named,
    inputs: Sequence[Inputs],
    seeds: Sequence[int | None],
    device: cli.Device = "auto",
    precision: Precision = "auto",
) -> Iterator[Rows]:
    """Embeddings of every set of inputs for every seed, seed by seed; inputs are prepared once for all of them.

    Inputs that the encoder has no tower for are passed over. None among the seeds stands for the trained weights.
    The cache folder keeps one file a seed and set of inputs, found by all its settings, but nothing of your own
    functions: a run that was stopped goes on where it was.
    """
    tensors, store = {}, Store(cache_folder() / "rows" if named.kind != "python" else None)
    for seed in tqdm(seeds, desc=f"{named.kind}:{named.name}", unit="seed", leave=False, disable=None):
        towers, tower = {}, None  # so that one network is gone before the next is made: its memory is used again
        towers = {tower.modality: tower for tower in named.load(seed, device, precision)}
        for k, each in enumerate(inputs):
            if (tower := towers.get(each.modality)) is None:
                continue

            def encoded(k=k, each=each, tower=tower) -> Part:
                if k not in tensors:
                    tensors[k] = each.tensor(tower)
                left = np.setdiff1d(np.arange(each.n), list(each.skipped))
                return Part(tower.encode(tensors[k]), left, each.skipped, each.n)

            about = {**tower.settings, "versions": {name: version(name) for name in PACKAGES}}
            key = {"format": FORMAT, "encoder": about, "modality": each.modality, "inputs": dict(each.about)}
            part = store.part(digest(key), 0, each.n, encoded)
            each.skipped.update(part.skipped)
            yield Rows(label(named, each.modality), each, seed, part.rows, dict(tower.settings))


def label(named: Named, modality: str) -> str:
    """A tower's name in figures and tables, the paper's where it has one."""
    name = PAPERS.get(named.name, named.name)
    if named.kind == "python" and name.endswith(".py"):
        name = Path(name).stem
    if name.startswith((HUB, FOLDER)):
        name = Path(name.split(":", 1)[1]).name
    return name if not KINDS[named.kind].text else f"{name} {'vision' if modality == 'image' else 'text'}"
