"""Inputs for one tower, named and described: real ones, ready for its preprocessing, or noise that the tower draws."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from util.corpora import tasks
from util.corpora.captioned import Readable, read_coco
from util.corpora.generated import pictures
from util.encoders.tower import Tower
from util.errors import UserError
from util.numerics.arrays import as_count

NOISE = "noise"
CHUNK = 64

CROPS = "crops of two photographs"
CROPS_OF = "scikit-learn's sample images china.jpg and flower.jpg (640 x 427)"
FIRST = "MSCOCO {} captions"
"""The first of each image, as the released code takes them."""
SMALLEST, LARGEST = 96, 400
"""Sides of a crop in pixels."""


@dataclass(frozen=True)
class Inputs:
    """n inputs of one modality, "image" or "text", called ``name`` in words.

    ``about`` is all that they depend on, as plain values for records and cache keys. ``items`` are raw and iterable
    more than once (None: noise). Those that cannot be read are left out, and noted in ``skipped``, row -> reason, on
    reading. ``first`` are the rows of the first caption of each image, where there are all of them.
    """

    name: str
    modality: str
    n: int
    about: Mapping
    items: Iterable | None = field(repr=False, default=None)
    skipped: dict[int, str] = field(repr=False, default_factory=dict)
    first: Sequence[int] = field(repr=False, default=())

    def tensor(self, tower: Tower) -> Tensor:
        """The inputs as the network of a ``Tower`` takes them, (n, ...), for any number of seeds."""
        if self.items is None:
            return draw_noise(tower, self.n, self.about["seed"])
        remaining, parts = iter(self.items), []
        while chunk := list(islice(remaining, CHUNK)):
            parts.append(tower.prepare(chunk))
        if sum(map(len, parts)) < 2:
            reason = f"; the first of {len(self.skipped)} left out: {min(self.skipped.items())}" if self.skipped else ""
            raise UserError(f"{self.name}: a cosine needs two inputs or more{reason}")
        return torch.cat(parts)

    def describe(self) -> dict:
        """All that they depend on, and what reading them found, for a record."""
        left_out = [f"{row}: {reason}" for row, reason in sorted(self.skipped.items())]
        return {"name": self.name, "modality": self.modality, **self.about, "skipped": left_out}


def draw_noise(tower: Tower, n: int, seed: int) -> Tensor:
    """n inputs without content as a network takes them: pixels N(0, 1) after any normalisation, or uniform tokens.

    The first k of n are those that k alone would give.
    """
    rng = np.random.default_rng([seed, 1 if tower.modality == "image" else 2])
    if tower.modality == "image":
        size = tower.prepare([Image.new("RGB", (64, 64))]).shape[1:]
        return torch.from_numpy(rng.standard_normal((n, *size), dtype=np.float32))
    length = tower.prepare(["a"]).shape[1]
    return torch.from_numpy(rng.integers(0, tower.settings["vocabulary"], (n, length)))


def noise(modality: str, n: int, seed: int) -> Inputs:
    """Noise for the towers of a modality, which ``draw_noise`` draws."""
    return Inputs(NOISE, modality, n, {"dataset": "standard normal pixels, uniform tokens", "n": n, "seed": seed})


def photograph_crops(n: int, seed: int) -> Inputs:
    """Crops of the two photographs that ship inside scikit-learn."""
    drawn = crops(n, seed)
    digest = _digest(crop.tobytes() for crop in drawn)
    about = {"dataset": CROPS, "source": CROPS_OF, "n": n, "seed": seed, "sha256": digest}
    return Inputs(CROPS, "image", n, about, drawn)


def crops(n: int, seed: int = 0) -> list[Image.Image]:
    """n square RGB crops, 96 to 400 pixels, of the one photograph and the other in turn, their place drawn at random.

    Crop i depends on the seed and on i alone. Trap: two photographs only, so crops of one of them are alike.
    """
    from sklearn.datasets import load_sample_images

    photographs, drawn = [Image.fromarray(array) for array in load_sample_images().images], []
    for i in range(n):
        photograph, rng = photographs[i % len(photographs)], np.random.default_rng([seed, i])
        side = int(rng.integers(SMALLEST, LARGEST + 1))
        left, top = (int(rng.integers(0, length - side + 1)) for length in photograph.size)
        drawn.append(photograph.crop((left, top, left + side, top + side)))
    return drawn


def scenes(n: int, seed: int) -> tuple[Inputs, Inputs]:
    """Generated scenes, 32 x 32 pixels, and their captions."""
    drawn = pictures.scenes(n, seed=seed, split="all")
    about = {"dataset": "generated scenes (util.corpora.generated.pictures)", "split": "all", "n": n, "seed": seed}
    pixels, captions = list(drawn.images), list(drawn.captions)
    images = {**about, "sha256": _digest(p.tobytes() for p in pixels)}
    texts = {**about, "sha256": _digest(caption.encode() for caption in captions)}
    captions_of = Inputs("captions of generated scenes", "text", n, texts, captions)
    return Inputs("generated scenes", "image", n, images, pixels), captions_of


def mscoco(folder: Path | None, n_images: int, n_captions: int, every: bool = False) -> list[Inputs]:
    """MSCOCO photographs and captions: from a local folder, or from the hub where none is given (val2017).

    Photographs are those of val2017 if the folder has them, else of train2017; a folder without either gives captions
    alone. Captions are the first that is not empty of each image of val2017, else of the photographs' split; with
    ``every``, all of all its images.
    """
    if folder is None:
        said = tasks.mscoco(None, n=n_captions)
        about = {"what": "captions", **said.source}
        captions = Inputs(FIRST.format("val2017"), "text", len(said.captions), about, list(said.captions))
        return [_photographs(None, "val2017", n_images), captions]
    splits = [split for split in ("val2017", "train2017") if (folder / split).is_dir()]
    found = [_photographs(folder, split, n_images) for split in splits[:1]]
    return [*found, _captions(folder, [*splits, "val2017"][0], n_captions, every)]


def _photographs(folder: Path | None, split: str, n: int) -> Inputs:
    captioned, skipped = tasks.mscoco(folder, split, n=n), {}
    about, readable = {**captioned.source, "what": "photographs"}, Readable(captioned.openers, skipped)
    return Inputs(f"MSCOCO {split} photographs", "image", len(captioned), about, readable, skipped)


def _captions(folder: Path, split: str, n: int, every: bool) -> Inputs:
    split = "val2017" if (folder / "annotations" / "captions_val2017.json").is_file() else split
    rows, revision = read_coco(folder, split)
    written = [list(filter(str.strip, texts)) for _, texts in rows]
    written = list(filter(None, written if every else [texts[:1] for texts in written[:n]]))
    texts = [text for of_one in written for text in of_one]
    as_count(len(texts), f"the number of captions in {folder}", least=2)
    about = {"dataset": "MSCOCO captions 2017, local folder", "revision": f"sha256:{revision}", "split": split}
    about |= {"caption_rule": "every" if every else "first", "n": len(texts)}
    name = f"captions (all) of MSCOCO {split}" if every else FIRST.format(split)
    first = np.cumsum([0, *map(len, written[:-1])]) if every else ()
    return Inputs(name, "text", len(texts), about, texts, first=first)


def _digest(parts: Iterable[bytes]) -> str:
    """One sha256 of the sha256 of every part: the content, and where one part ends."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
