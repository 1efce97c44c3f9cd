"""Embeddings of the same inputs by an encoder with trained weights, or with random ones of many seeds, made once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from tower_inputs import Inputs
from util import cli
from util.encoders.named import Named
from util.encoders.tower import Precision, Tower
from util.errors import UserError
from util.files import cached_path, replacing

FORMAT = 1
"""Raise it when encoding itself changes, so that nothing made before is taken for the new."""


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
    The cache folder keeps one file a seed and set of inputs, found by all its settings: a run that was stopped goes
    on where it was.
    """
    inputs, tensors, keeping = [each for each in inputs if each.modality in named.modalities], {}, True
    for seed in tqdm(seeds, desc=f"{named.kind}:{named.name}", unit="seed", leave=False, disable=None):
        towers: dict[str, Tower] = {}
        tower = None  # so that one network is gone before the next is made: its memory is used again
        identity = named.identity(seed, device, precision)
        for k, each in enumerate(inputs):
            found = _cached(identity, each)
            if found is None:
                towers = towers or {tower.modality: tower for tower in named.load(seed, device, precision)}
                tower = towers.get(each.modality)
                if tower is None:
                    continue
                if named.kind == "huggingface":  # its identity is known now: commit and digests
                    identity = tower.settings
                    found = _cached(identity, each)
            if found is None:
                if k not in tensors:
                    tensors[k] = each.tensor(tower)
                found = tower.encode(tensors[k]), dict(tower.settings)
                keeping = keeping and _keep(identity, *found, each)
            yield Rows(named.label(each.modality), each, seed, *found)


def _path(identity: Mapping, inputs: Inputs):
    key = {"format": FORMAT, "encoder": dict(identity), "modality": inputs.modality, "inputs": dict(inputs.about)}
    return cached_path("rows", key, ".safetensors")


def _cached(identity: Mapping | None, inputs: Inputs) -> tuple[np.ndarray, dict] | None:
    """Rows of an earlier run and their tower's settings; which inputs were left out comes back with them."""
    if identity is None or not (path := _path(identity, inputs)).is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            rows, told = file.get_tensor("rows"), json.loads((file.metadata() or {}).get("told", "{}"))
        skipped, settings = dict(told["skipped"]), dict(told["settings"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None
    inputs.skipped.update({int(row): reason for row, reason in skipped.items()})
    return rows, settings


def _keep(identity: Mapping | None, rows: np.ndarray, settings: dict, inputs: Inputs) -> bool:
    """Writes rows into the cache; False, and a line on the terminal, where it cannot be written."""
    if identity is None:
        return True
    told = json.dumps({"skipped": inputs.skipped, "settings": settings})
    try:
        with replacing(_path(identity, inputs)) as part:
            save_file({"rows": rows}, part, metadata={"told": told})
    except (UserError, SafetensorError, OSError) as error:
        cli.say(f"[cache] embeddings are not kept for the next time ({' '.join(str(error).split())[-160:]})")
        return False
    return True
