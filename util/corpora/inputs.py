"""Inputs for one tower, named and described: real ones, ready for its preprocessing, or noise that the tower draws."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from util.corpora import coco, photographs, pictures
from util.encoders.tower import Modality, Tower
from util.errors import UserError

NOISE = "noise"
FEW = {"image": 10, "text": 20}
"""Inputs of each modality for each seed where a CPU has to do: what Figure 2 (a) and (c) share, so that (c) finds the
first ten seeds made."""

CHUNK = 64


@dataclass(frozen=True)
class Inputs:
    """n inputs of one modality.

    Attributes:
        name: what they are, in words.
        modality: which towers take them.
        n: how many there are (photographs that cannot be read are found, and left out, on reading).
        about: all that they depend on, as plain values for records and cache keys.
        items: raw inputs, iterable more than once; None for noise.
        skipped: row -> reason, filled while the items are read.
        counts: what else reading them finds: "fill_the_context", captions as long as the tower takes, or cut to it.
    """

    name: str
    modality: Modality
    n: int
    about: Mapping
    items: Iterable | None = field(repr=False, default=None)
    skipped: dict[int, str] = field(repr=False, default_factory=dict)
    counts: dict[str, int] = field(repr=False, default_factory=dict)

    def tensor(self, tower: Tower) -> Tensor:
        """The inputs as the tower's network takes them (n, ...), prepared once for any number of its seeds.

        Raises:
            UserError: fewer than two are left: one has no pairs.
        """
        if self.items is None:
            return tower.noise(self.n, self.about["seed"])
        remaining, parts = iter(self.items), []
        while chunk := list(islice(remaining, CHUNK)):
            parts.append(tower.prepare(chunk))
        if sum(map(len, parts)) < 2:
            reason = f"; the first of {len(self.skipped)} left out: {min(self.skipped.items())}" if self.skipped else ""
            raise UserError(f"{self.name}: a cosine needs two inputs or more{reason}")
        tensor = torch.cat(parts)
        if tower.lengths is not None:
            self.counts["fill_the_context"] = int((tower.lengths(tensor) == tensor.shape[1]).sum())
        return tensor

    def describe(self) -> dict:
        """For a record: all that they depend on, and what reading them found."""
        left_out = [f"{row}: {reason}" for row, reason in sorted(self.skipped.items())]
        return {"name": self.name, "modality": self.modality, **self.about, **self.counts, "skipped": left_out}


def noise(modality: Modality, n: int, seed: int) -> Inputs:
    """Standard normal pixels or uniform tokens, as the tower's ``noise`` draws them.

    Raises:
        UserError: fewer than two.
    """
    _check_count(n, "--noise")
    return Inputs(NOISE, modality, n, {"dataset": "standard normal pixels, uniform tokens", "n": n, "seed": seed})


def photograph_crops(n: int, seed: int) -> Inputs:
    """Crops of the two photographs that ship inside scikit-learn."""
    _check_count(n, "--images")
    about = {"dataset": photographs.NAME, "source": photographs.SOURCE, "n": n, "seed": seed}
    return Inputs(photographs.NAME, "image", n, about, photographs.crops(n, seed))


def scenes(n: int, seed: int) -> tuple[Inputs, Inputs]:
    """Generated scenes, 32 x 32 pixels, and their captions."""
    _check_count(n, "the number of scenes")
    drawn = pictures.scenes(n, seed=seed, split="all")
    about = {"dataset": "generated scenes (util.corpora.pictures)", "split": "all", "n": n, "seed": seed}
    images = Inputs("scenes", "image", n, {**about, "what": "pictures"}, list(drawn.images))
    return images, Inputs("captions of scenes", "text", n, {**about, "what": "captions"}, list(drawn.captions))


def real(folder: Path | None, n_images: int, n_captions: int, seed: int, download: bool) -> tuple[Inputs, Inputs]:
    """Real pictures and captions: MSCOCO's where a folder is given or may be downloaded, else what the package has.

    Raises:
        UserError: as ``mscoco``, or fewer than two of each.
    """
    if folder is not None or download:
        return mscoco(folder, n_images, n_captions)
    return photograph_crops(n_images, seed), scenes(n_captions, seed)[1]


def mscoco(folder: Path | None, n_images: int, n_captions: int) -> tuple[Inputs, Inputs]:
    """MSCOCO photographs and captions: from a local folder, or from the hub where none is given (val2017).

    Photographs are those of val2017 if the folder has them, else of train2017. Captions are the first of each image
    of val2017, else of the photographs' split; empty ones are left out and counted.

    Raises:
        UserError: as ``util.corpora.coco.load``.
    """
    _check_count(n_images, "--images"), _check_count(n_captions, "--captions")
    split = "val2017"
    if folder is not None and not (Path(folder) / split).is_dir() and (Path(folder) / "train2017").is_dir():
        split = "train2017"
    captioned = coco.load(folder, split=split, caption="first", n=n_images)
    skipped: dict[int, str] = {}
    images = Inputs(
        f"MSCOCO {split}",
        "image",
        len(captioned),
        {**captioned.source, "what": "photographs"},
        captioned.readable(skipped),
        skipped,
    )
    return images, _coco_captions(folder, split, n_captions)


def _coco_captions(folder: Path | None, split: str, n: int) -> Inputs:
    if folder is None:
        captioned = coco.load(None, split=split, caption="first", n=n)
        first, about = list(captioned.captions), dict(captioned.source)
    else:
        split = "val2017" if (Path(folder) / "annotations" / "captions_val2017.json").is_file() else split
        rows, revision = coco.read_captions(folder, split)
        first = [texts[0] for _, _, texts in rows[:n]]
        about = {"dataset": "MSCOCO captions 2017, local folder", "revision": f"sha256:{revision}", "split": split}
    kept = [caption for caption in first if caption.strip()]
    about |= {"what": "captions", "caption_rule": "first", "n": len(kept), "empty_captions": len(first) - len(kept)}
    return Inputs(f"MSCOCO {split} captions", "text", len(kept), about, kept)


def _check_count(n: int, what: str) -> None:
    if n < 2:
        raise UserError(f"{what} must be at least 2, not {n}: one input has no pairs")
