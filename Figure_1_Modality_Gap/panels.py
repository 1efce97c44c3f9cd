"""Sources of Figure 1's panels: files of your own, published embeddings, and the four systems run here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import tyro

from systems import SYSTEMS
from util import cli, published
from util.corpora import coco
from util.corpora.captioned import Captioned
from util.embeddings import Embeddings, Stored
from util.encoders.tower import EncoderPair
from util.errors import UserError
from util.files import CACHE_VARIABLE, cache_folder, sha256
from util.numerics.arrays import as_count

PUBLISHED, OWN = "published embeddings", "your own"
SMALL_NOTE = "the project's small CLIP, trained on generated scenes, in the place of CLIP"
ON_A_HUB = ("hf-hub:", "open_clip:hf-hub:", "huggingface:")
SystemKey = Literal["clip", "videoclip", "convirt", "clasp"]


@dataclass(frozen=True, kw_only=True)
class Inputs(cli.Common):
    """Options that say what is embedded, or read."""

    embeddings: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Your own .npy, .npz or .safetensors, in place of all else; repeatable, of any sizes and widths."""
    fetch: bool = False
    """Ask the network for published embeddings and trained weights that are not here."""
    systems: tuple[SystemKey, ...] = ("clip", "videoclip", "convirt", "clasp")
    """Which systems to run here, beside their published embeddings; "--systems" alone: none."""
    images: int | None = None
    """Images to embed with their texts, at most; by default 500 generated ones or MSCOCO's, all of your own."""
    videos: int | None = None
    """Videos; by default 12 generated ones, all of your own."""
    radiographs: int | None = None
    """Medical images; by default 32 generated ones, all of your own."""
    sequences: int | None = None
    """Amino-acid sequences; by default 24 generated ones, all of your own."""
    image_data: Path | None = None
    """A folder of your own pictures with captions.csv or captions.tsv (columns file, text), for CLIP."""
    coco: Path | None = None
    """A local MSCOCO folder (annotations/, val2017/ or train2017/), for CLIP."""
    video_data: Path | None = None
    """A folder of videos, or of folders of frames, with the same table."""
    medical_data: Path | None = None
    """A folder of medical images with the same table."""
    protein_data: Path | None = None
    """A FASTA file, or a tab-separated one (columns sequence, text)."""
    caption: Literal["first", "last"] = "last"
    """Which caption of an item that has several; last, as released for this figure."""
    model: str = SYSTEMS["clip"].default
    """open_clip model and its trained weights (a tag or a checkpoint file), or huggingface:NAME; in paper, or with
    --image-data or --coco."""
    video_model: str = SYSTEMS["videoclip"].default
    """X-CLIP on the hub, or a folder."""
    medical_model: str = SYSTEMS["convirt"].default
    """The trained medical model, named as in --model."""
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    """Precision of the networks; auto takes bfloat16 where the hardware has it."""

    def own_data(self, key: str) -> Path | None:
        """Place of your own data for a system."""
        own = getattr(self, SYSTEMS[key].data)
        return self.coco if own is None and key == "clip" else own

    def check(self) -> None:
        """Refuses counts below two, and options that would do nothing."""
        for key, system in SYSTEMS.items():
            if getattr(self, system.count) is not None:
                as_count(getattr(self, system.count), f"--{system.count}", least=2)
            if self.own_data(key) is not None and key not in self.systems:
                raise UserError(f"{self.own_data(key)}: data for {key}, which --systems does not name")
        if self.coco and self.image_data:
            raise UserError("--coco and --image-data are both images for CLIP; give one of them")
        if self.model != SYSTEMS["clip"].default and self.own_data("clip") is None and self.preset != "paper":
            raise UserError("--model only applies to --image-data, --coco or --preset paper; give one of them")


@dataclass(frozen=True)
class Panel:
    """The embeddings of one panel, and what they are of.

    Attributes:
        kind, system: ``System.kind`` and the model's name in print; of your own files the file's name.
        weights: "trained", "random" or "given".
        source: what was embedded, or that the embeddings are published or your own.
        about: what the record says of it besides the embeddings' source.
    """

    kind: str
    system: str
    weights: str
    source: str
    embeddings: Embeddings | Stored
    modalities: tuple[str, str]
    about: dict = field(default_factory=dict)


def collect(inputs: Inputs, left_out: list[str]) -> Iterator[Panel]:
    """Every panel that can be had, one at a time; ``left_out`` receives a line with the reason for every other."""
    if inputs.embeddings:
        yield from own_files(inputs.embeddings)
        return
    if inputs.fetch:
        published.fetch_all(cli.say)
    yield from from_published(left_out)
    for key in inputs.systems:
        yield from run_here(key, inputs, left_out)


def own_files(paths: Sequence[Path]) -> Iterator[Panel]:
    """A panel for every two modalities of every file; all files are looked at before the first is measured."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError(f"--embeddings names a file twice: {', '.join(map(str, paths))}")
    unique = len({path.stem for path in paths}) == len(paths)
    for path, stored in [(path, Stored.open(path)) for path in paths]:
        about = {"sha256": sha256(path), "dtype": sorted({str(a.dtype) for a in stored.modalities.values()})}
        for names in combinations(stored.names, 2):
            name = path.stem if unique else str(path)
            name = name if len(stored.names) == 2 else f"{name}: {names[0]}, {names[1]}"
            yield Panel(name, name, "given", OWN, stored, names, about)


def from_published(left_out: list[str]) -> Iterator[Panel]:
    """The authors' eight files as far as they are in the cache; those that are not there are named in one line."""
    absent = [name for name in published.files() if not (cache_folder() / name).exists()]
    for name, (key, weights) in published.files().items():
        if name in absent:
            continue
        title = published.SYSTEMS[key].title
        try:
            found = published.load(key, weights, fetch=False)
        except UserError as error:
            left_out.append(f"published {title}, {weights} weights: {error}")
        else:
            yield Panel(SYSTEMS[key].kind, title, weights, PUBLISHED, found, (found.names[0], found.names[-1]))
    if absent:
        place = f"get them from {published.address('')} and put them into the folder that {CACHE_VARIABLE} names"
        left_out.append(
            f"published embeddings that are not in the cache: {', '.join(absent)}; `make published` brings them; "
            f"by hand, {place}"
        )


def run_here(key: str, inputs: Inputs, left_out: list[str]) -> Iterator[Panel]:
    """One system: trained where weights can be had and the data are real, and random."""
    from util.extraction import extract

    title = published.SYSTEMS[key].title
    try:
        items = read(key, inputs)
    except UserError as error:
        if inputs.own_data(key) is not None:
            raise
        left_out.append(f"{title}: {error}")
        return
    generated = items.source.get("generated", False)
    for weights in ("trained", "random"):
        try:
            name, note, pair = encoder(key, weights, generated, inputs)
        except UserError as error:
            left_out.append(f"{title}, {weights} weights, run here: {error}")
            continue
        found = extract(pair, items, say=cli.say)
        source = {name: value for name, value in found.source.items() if name != "path"}  # that of the cache
        found, modalities = replace(found, source=source), (found.names[0], found.names[-1])
        about = {"note": note, "generated": generated}
        yield Panel(SYSTEMS[key].kind, name, weights, items.source["dataset"], found, modalities, about)


def read(key: str, inputs: Inputs) -> Captioned:
    """Items and captions of a system: your own, MSCOCO's in the paper preset, or generated ones."""
    system, own = SYSTEMS[key], getattr(inputs, SYSTEMS[key].data)
    n = getattr(inputs, system.count)
    if own is not None:
        return system.read(own, inputs.caption, n)
    n = n or system.items
    if key == "clip" and (inputs.coco is not None or inputs.preset == "paper"):
        here = inputs.coco is not None and not (inputs.coco / "val2017").is_dir()
        return coco.load(inputs.coco, "train2017" if here else "val2017", inputs.caption, n)
    return system.generate(n, inputs.seed)


def encoder(key: str, weights: str, generated: bool, inputs: Inputs) -> tuple[str, str, EncoderPair]:
    """Name in print of what is run, what it stands in the place of, and the encoder pair.

    On generated scenes that is the project's small CLIP. No other trained model is run on generated inputs.
    """
    system, random = SYSTEMS[key], weights == "random"
    if key == "clip" and generated:
        from util.encoders import small_clip

        device = cli.resolve_device(inputs.device)
        small = small_clip.random(inputs.seed, device) if random else small_clip.load(device=device)
        return "small CLIP", SMALL_NOTE, small.pair(weights)
    model = getattr(inputs, system.model) if system.model else None
    if model is not None and not random and generated:
        raise UserError(f"trained weights are run on real data alone: --{system.data.replace('_', '-')}")
    if not inputs.fetch and downloads(key, model, random):
        what = f"the architecture of {model} is" if random else "trained weights are"
        raise UserError(f"{what} a download; allow it with --fetch")
    pair = system.load(model, random, inputs.seed, inputs.device, inputs.precision)
    if model == system.default:
        return (system.random_name if random else system.trained_name), system.note, pair
    name = pair.settings["model"] if random else pair.name
    return name, f"{name}, chosen by option for the place of {published.SYSTEMS[key].title}", pair


def downloads(key: str, model: str | None, random: bool) -> bool:
    """Whether a model is neither a folder or checkpoint file here nor, with random weights, of a library."""
    if model is None:
        return False
    if any(Path(part).exists() for part in (model, model.partition(":")[2], model.rpartition(":")[2]) if part):
        return False
    return not random or (model != SYSTEMS[key].default and (key == "videoclip" or model.startswith(ON_A_HUB)))
