"""Options and embeddings that panels (a) and (c) share: real inputs and noise through encoders, over seeds, once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

import tower_inputs as inputs
from tower_inputs import Inputs
from util import UserError, cli
from util.encoders.named import FOLDER, HUB, KINDS, ModelName, Named
from util.extraction import Part, Store
from util.files import cache_folder, digest
from util.numerics.arrays import as_count

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
    return bool(n >= LEAST_NOISE if name == inputs.NOISE else n >= ENOUGH and name.startswith("MSCOCO val2017"))


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
                found = inputs.mscoco(chosen.coco, chosen.images, chosen.captions, chosen.every_caption)
            else:
                _, captions = inputs.scenes(chosen.captions, chosen.seed)
                found = [inputs.photograph_crops(chosen.images, chosen.seed), captions]
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
        found = [inputs.noise(modality, n, self.settings.seed) for modality, n in counts.items()]
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
