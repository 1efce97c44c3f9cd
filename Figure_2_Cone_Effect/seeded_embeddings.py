"""Embeddings of the same inputs by an encoder with trained weights, or with random ones of many seeds, made once."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from tower_inputs import Inputs
from util import cli
from util.encoders.named import FOLDER, HUB, KINDS, Named
from util.encoders.tower import Precision, Tower
from util.errors import UserError
from util.files import cached_path, replacing

FORMAT = 2
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
    tensors, kept = {}, named.kind != "python"
    for seed in tqdm(seeds, desc=f"{named.kind}:{named.name}", unit="seed", leave=False, disable=None):
        towers, tower = {}, None  # so that one network is gone before the next is made: its memory is used again
        towers = {tower.modality: tower for tower in named.load(seed, device, precision)}
        for k, each in enumerate(inputs):
            if (tower := towers.get(each.modality)) is None:
                continue
            path = _path(tower, each)
            rows = _cached(path, each) if kept else None
            if rows is None:
                if k not in tensors:
                    tensors[k] = each.tensor(tower)
                rows = tower.encode(tensors[k])
                kept = kept and _keep(path, rows, each)
            yield Rows(label(named, each.modality), each, seed, rows, dict(tower.settings))


def label(named: Named, modality: str) -> str:
    """A tower's name in figures and tables, the paper's where it has one."""
    name = PAPERS.get(named.name, named.name)
    if named.kind == "python" and name.endswith(".py"):
        name = Path(name).stem
    if name.startswith((HUB, FOLDER)):
        name = Path(name.split(":", 1)[1]).name
    return name if not KINDS[named.kind].text else f"{name} {'vision' if modality == 'image' else 'text'}"


def _path(tower: Tower, inputs: Inputs) -> Path:
    encoder = {**tower.settings, "versions": {name: version(name) for name in PACKAGES}}
    key = {"format": FORMAT, "encoder": encoder, "modality": inputs.modality, "inputs": dict(inputs.about)}
    return cached_path("rows", key, ".safetensors")


def _cached(path: Path, inputs: Inputs) -> np.ndarray | None:
    """Rows of an earlier run; which inputs were left out comes back with them."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            rows, skipped = file.get_tensor("rows"), dict(json.loads(file.metadata()["skipped"]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None
    inputs.skipped.update({int(row): reason for row, reason in skipped.items()})
    return rows


def _keep(path: Path, rows: np.ndarray, inputs: Inputs) -> bool:
    """Writes rows into the cache; False, and a line on the terminal, where it cannot be written."""
    try:
        with replacing(path) as part:
            save_file({"rows": rows}, part, metadata={"skipped": json.dumps(inputs.skipped)})
    except UserError as error:
        cli.say(f"[cache] embeddings are not kept for the next time ({' '.join(str(error).split())[-160:]})")
        return False
    return True
