"""Records of runs that measured nothing."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from util import records

TABLE = pd.DataFrame({"system": ["a", "b"], "gap_distance": [0.1, np.float32(0.25)]})


@dataclass(frozen=True)
class Settings:
    preset: str
    seed: int = 3
    output: Path = Path("somewhere")
    device: str = "cpu"
    embeddings: tuple = ()


def save(folder, name, *comparisons, preset="embedded", embeddings=(), captions=None, title="", own="", **measured):
    """A record in a folder, which is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    measured = {"tables": {"": TABLE, "points": TABLE}, "data": [{"n": 2}], "dtype": "float32", **measured}
    facts = {"seconds": 1.5, "device": "cpu", "title": title, "captions": captions or {}, "own": own}
    found = records.Measured(**measured, comparisons=comparisons)
    return records.save(folder, name, found, settings=Settings(preset, embeddings=embeddings), **facts)
