"""What panels (a) and (c) share: options, inputs that are real or noise, and their embeddings over seeds, made once."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from util import UserError, cli
from util.corpora import tasks
from util.corpora.captioned import Readable, read_coco
from util.corpora.generated import pictures
from util.encoders.named import FOLDER, HUB, KINDS, ModelName, Named
from util.encoders.tower import Tower
from util.extraction import Part, Store
from util.files import cache_folder, digest
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


RESNET, VISION, TEXT = "ResNet-18", "CLIP ViT-B/32 vision", "CLIP ViT-B/32 text"
"""The paper's three encoders."""
RESNET_18 = Named("torchvision", "resnet18")
ENOUGH, LEAST_NOISE = 2500, 64
"""Least inputs, real and of noise, whose numbers are judged: few are one sample, shared by all seeds."""
PAPER_SEEDS = 25
"""Of panel (c); panel (a) has one."""
PAPERS = {"resnet18": "ResNet-18", "resnet50": "ResNet-50", "ViT-B-32-quickgelu": "CLIP ViT-B/32"}
"""Models and their names in print."""
FORMAT = 3
"""Raise it when encoding itself changes, so that nothing made before is taken for the new."""
PACKAGES = ("torch", "torchvision", "pillow")
"""Beside those that the settings of a tower name."""
PAPER_SIZES = {"images": 5000, "captions": 5000}
SMOKE_SIZES = {"images": 2, "captions": 3, "model": "open_clip:ViT-S-32-alt"}


def is_papers(name: str, n: int) -> bool:
    """Whether n inputs of this name are the paper's data, and enough of them to judge a number by."""
    return bool(n >= LEAST_NOISE if name == NOISE else n >= ENOUGH and name.startswith("MSCOCO val2017"))


@dataclass(frozen=True, kw_only=True)
class EncoderOptions(cli.Common):
    """Options of both scripts; each adds its own."""

    output: Path = cli.OUTPUTS / "Figure_2_Cone_Effect"
    seeds: int = 10
    """Random initializations of each encoder: seed, seed + 1, ..."""
    images: int = 8
    """Pictures for each seed, as many real ones as of noise."""
    captions: int = 16
    """Texts for each seed, as many real captions as sequences of random tokens."""
    coco: Path | None = None
    """A local MSCOCO folder (annotations/, val2017/ or train2017/) for the real pictures and captions."""
    every_caption: bool = False
    """All captions of that folder's split, not the first of each of its first images."""
    model: ModelName = "open_clip:ViT-B-32-quickgelu"
    """Of the vision and text columns, open_clip:MODEL or huggingface:NAME; CLIP as released has QuickGELU."""
    pixels: Literal["own", "imagenet"] = "own"
    """Pixel statistics for CLIP with random weights: its own, or ImageNet's as the released notebooks have it."""
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    """Of the transformers; auto takes bfloat16 on a GPU that has it, else float32. ResNet-18 is always float32."""
    ONLY: ClassVar = (cli.Only("every_caption", "--coco, the folder that has them", lambda chosen: chosen.coco),)


@dataclass(frozen=True)
class Rows:
    """Unit rows of one tower, its name in print and settings, of one set of inputs and one seed, None if trained."""

    encoder: str
    inputs: Inputs
    seed: int | None
    rows: Float[np.ndarray, "n d"] = field(repr=False)
    settings: dict = field(repr=False)


def label(named: Named, modality: str) -> str:
    """A tower's name in figures and tables, the paper's where it has one."""
    name = PAPERS.get(named.name, named.name)
    if named.kind == "python" and name.endswith(".py"):
        name = Path(name).stem
    if name.startswith((HUB, FOLDER)):
        name = Path(name.split(":", 1)[1]).name
    return name if not KINDS[named.kind].text else f"{name} {'vision' if modality == 'image' else 'text'}"


@dataclass
class Gathered:
    """A run's embeddings as they are asked for, and what its record says of them.

    Encoders are the settings of every tower by name; a line of ``left_out`` says what could not be had.
    """

    settings: EncoderOptions
    device: str
    inputs: list[Inputs] = field(default_factory=list)
    encoders: dict[str, dict] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def __post_init__(self):
        as_count(self.settings.images, "--images", least=2)
        as_count(self.settings.captions, "--captions", least=2)

    def real(self) -> list[Inputs]:
        """Real pictures and captions; none where the paper's cannot be had."""
        chosen, download = self.settings, self.settings.preset == "paper"
        try:
            if chosen.coco is not None or download:
                found = mscoco(chosen.coco, chosen.images, chosen.captions, chosen.every_caption)
            else:
                _, captions = scenes(chosen.captions, chosen.seed)
                found = [photograph_crops(chosen.images, chosen.seed), captions]
        except UserError as error:
            if chosen.coco is not None or not download:
                raise
            self.left_out.append(f"real data: {error}")
            return []
        if len(found) == 1:
            self.left_out.append(f"photographs: {chosen.coco} has none in val2017/ or train2017/")
        self.inputs += found
        return found

    def noise(self) -> list[Inputs]:
        """Noise pictures and noise texts."""
        counts = {"image": self.settings.images, "text": self.settings.captions}
        found = [noise(modality, n, self.settings.seed) for modality, n in counts.items()]
        self.inputs += found
        return found

    def embed(self, named: Named, what: Sequence[Inputs], seeds: Sequence[int | None]) -> Iterator[Rows]:
        """Embeddings of every set of inputs for every seed (None: trained weights), seed by seed.

        Inputs are prepared once for all seeds; those that the encoder has no tower for are passed over. The cache
        folder keeps one file a seed and set of inputs, found by all its settings, but nothing of your own functions.
        """
        tensors, store = {}, Store(cache_folder() / "rows" if named.kind != "python" else None)
        for seed in tqdm(seeds, desc=f"{named.kind}:{named.name}", unit="seed", leave=False, disable=None):
            towers, tower = {}, None  # so that one network is gone before the next is made: its memory is used again
            towers = {tower.modality: tower for tower in named.load(seed, self.device, self.settings.precision)}
            for k, each in enumerate(what):
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

    def rows(self, named: Named, what: Sequence[Inputs], tag: str | None = None) -> Iterator[Rows]:
        """Rows with random weights for every seed, or with the trained ones that a tag names.

        A second tag of one model becomes part of the encoder's name.
        """
        first, weights = self.settings.seed, "trained" if tag else "random"
        seeds = [None] if tag else range(first, first + self.settings.seeds)
        for each in self.embed(named, what, seeds):
            about = {**each.settings, "tag": tag}
            known = self.encoders.setdefault(f"{each.encoder}, {weights}", about)
            name = each.encoder if known["tag"] == tag else f"{each.encoder} ({tag})"
            self.encoders.setdefault(f"{name}, {weights}", about)
            yield replace(each, encoder=name)

    def clip(self) -> Named:
        """The CLIP of the vision and text columns; its tag, where it has one, is of trained weights."""
        named = Named.parse(self.settings.model)
        if named.kind not in ("open_clip", "huggingface"):
            kinds = "open_clip:MODEL or huggingface:NAME"
            raise UserError(f"--model {named}: it is drawn with random weights, for which {kinds}")
        if self.settings.pixels != "own" and named.kind != "open_clip":
            raise UserError(f"--pixels only applies to models of open_clip, not to --model {named}")
        return replace(named, pixels=self.settings.pixels)

    def dtypes(self) -> str:
        """Precisions of the networks."""
        return " and ".join(sorted({about.get("dtype", "float32") for about in self.encoders.values()})) or "no"
