"""Sources of Figure 1's panels: files of your own, published embeddings, and the four systems run here."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import ClassVar, Literal

from PIL import Image

from systems import SYSTEMS
from util import UserError, cli, published
from util.cli import Only
from util.corpora import captioned, tasks
from util.corpora.captioned import Captioned
from util.embeddings import Embeddings, duos, open_sets
from util.encoders.named import FOLDER, SMALL_CLIP, ModelName, Named
from util.encoders.tower import EncoderPair
from util.files import CACHE_VARIABLE, cache_folder
from util.numerics.arrays import as_count

PUBLISHED, OWN = "published embeddings", "your own"
SMALL_NOTE = "the project's small CLIP, trained on generated scenes, in the place of CLIP"
MODEL = "open_clip:ViT-B-16:openai"
"""The paper's."""


@dataclass(frozen=True, kw_only=True)
class Inputs(cli.WithEmbeddings):
    """Options that say what is embedded, or read."""

    fetch: bool = False
    """Ask the network for published embeddings and trained weights that are not here."""
    systems: tuple[Literal["clip", "videoclip", "convirt", "clasp"], ...] = tuple(SYSTEMS)
    """Which systems to run here, beside their published embeddings; "--systems" alone: none."""
    own_data: Path | None = None
    """A folder of your own pictures, with captions.csv or captions.tsv (columns file, text), for --systems clip."""
    coco: Path | None = None
    """A local MSCOCO folder (annotations/, val2017/ or train2017/), for CLIP."""
    items: int | None = None
    """Items of each system, at most; by default 500 images, 12 videos, 32 radiographs, 24 proteins, all your own."""
    caption: Literal["first", "last"] = "last"
    """Which caption of an item that has several; last, as released for this figure."""
    model: ModelName | None = None
    """For --systems clip: open_clip:MODEL:TAG (or a checkpoint file), huggingface:NAME, python:MODULE or
    FILE.py:FUNCTION; by default the paper's, and on generated scenes the small CLIP."""
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    """Precision of the networks; auto takes bfloat16 on a GPU that has it, else float32."""

    ONLY: ClassVar = (
        Only("fetch systems own_data coco items caption model precision", "runs without --embeddings",
             lambda chosen: not chosen.embeddings),
        Only("own_data", "--systems clip alone", lambda chosen: chosen.systems == ("clip",)),
        Only("coco", "clip among --systems, without --own-data",
             lambda chosen: "clip" in chosen.systems and chosen.own_data is None),
        Only("items", "one of --systems or more", lambda chosen: chosen.systems),
        Only("model", "clip among --systems", lambda chosen: "clip" in chosen.systems),
        Only("caption", "clip among --systems, with --own-data, --coco or --preset paper",
             lambda chosen: chosen.photographs()),
        Only("precision", "networks made here, but the small CLIP", lambda chosen: {*chosen.systems} - {"clip"} or
             (not own_functions(chosen) and (chosen.photographs() or chosen.model not in (None, SMALL_CLIP)))),
    )  # fmt: skip

    def photographs(self) -> bool:
        """Whether CLIP is run here on real pictures."""
        return "clip" in self.systems and bool(self.own_data or self.coco or self.preset == "paper")

    def own(self) -> tuple:
        return (self.own_data, *super().own())

    def check(self) -> None:
        """Refuses a count below two."""
        if self.items is not None:
            as_count(self.items, "--items", least=2)


@dataclass(frozen=True)
class Panel:
    """The embeddings of one panel, and the columns that name them; ``about`` is for the record alone.

    ``weights`` is "trained" or "random", and "your own" of your files and functions, for nobody said what those are. Of
    your files ``kind`` and ``system`` are the file's name.
    """

    kind: str
    system: str
    weights: str
    source: str
    embeddings: Embeddings
    modalities: tuple[str, str]
    about: dict = field(default_factory=dict)


def collect(inputs: Inputs, left_out: list[str]) -> Iterator[Panel]:
    """Every panel that can be had, one at a time; ``left_out`` receives a line with the reason for every other."""
    if inputs.embeddings:  # all files are looked at before the first is measured
        for name, stored in duos(open_sets(inputs.embeddings, cli.named_columns(inputs.columns))).items():
            about = {**stored.digest(), "dtype": sorted({str(a.dtype) for a in stored.modalities.values()})}
            yield Panel(name, name, OWN, OWN, stored, stored.names, about)
        return
    if inputs.fetch:
        published.fetch_all()
    yield from from_published(left_out)
    for key in inputs.systems:
        yield from run_here(key, inputs, left_out)


def from_published(left_out: list[str]) -> Iterator[Panel]:
    """The authors' eight files as far as they are in the cache, in the paper's order; others are named in one line."""
    there = published.available()
    for key, weights in product(SYSTEMS, published.WEIGHTS):
        if (key, weights) in there:
            found = published.load(key, weights)
            yield Panel(SYSTEMS[key].kind, published.SYSTEMS[key]["title"], weights, PUBLISHED, found, found.names)
    unused = [name for name, key in published.files().items() if key not in there]
    unused = [f"{name}: {published.WRONG}" if (cache_folder() / name).exists() else name for name in unused]
    if unused:
        by_hand = f"by hand, get them from {published.EMBEDDINGS['base_url']} and put them into the folder"
        what = f"published embeddings that the cache lacks or has damaged: {', '.join(unused)}"
        left_out.append(f"{what}; `make published` brings them; {by_hand} that {CACHE_VARIABLE} names")


def run_here(key: str, inputs: Inputs, left_out: list[str]) -> Iterator[Panel]:
    """One system with random weights, and CLIP with trained ones too."""
    from util.extraction import extract

    title = published.SYSTEMS[key]["title"]
    try:
        items = read(key, inputs)
    except UserError as error:
        if inputs.own_data or inputs.coco:
            raise
        left_out.append(f"{title}: {error}")
        return
    generated = items.source.get("generated", False)
    for weights in ("trained", "random"):
        try:
            name, note, pair = encoder(key, weights == "random", generated, inputs)
        except UserError as error:
            if weights == "trained" and (own_functions(inputs) or str(error).startswith("unknown")):
                raise  # a slip, and not a download that failed
            left_out.append(f"{title}, {weights} weights, run here: {error}")
            continue
        found = extract(pair, items)
        found = replace(found, source={name: value for name, value in found.source.items() if name != "path"})
        about = {"note": note, "generated": generated, "random_in": "every layer", "embedded_in": "evaluation mode"}
        whose = OWN if key == "clip" and own_functions(inputs) else weights
        yield Panel(SYSTEMS[key].kind, name, whose, items.source["dataset"], found, found.names, about)


def read(key: str, inputs: Inputs) -> Captioned:
    """Items and captions of a system: your own, MSCOCO's in the paper preset, or generated ones."""
    if inputs.own_data is not None:
        return captioned.from_folder(inputs.own_data, inputs.caption, inputs.items)
    n = inputs.items or SYSTEMS[key].items
    if key == "clip" and (inputs.coco is not None or inputs.preset == "paper"):
        here = inputs.coco is not None and not (inputs.coco / "val2017").is_dir()
        return tasks.mscoco(inputs.coco, "train2017" if here else "val2017", inputs.caption, n)
    found = SYSTEMS[key].generate(n, inputs.seed)
    if key == "clip" and inputs.model:  # only the small CLIP's own pair takes arrays
        return replace(found, openers=[lambda opener=opener: Image.fromarray(opener()) for opener in found.openers])
    return found


def encoder(key: str, random: bool, generated: bool, inputs: Inputs) -> tuple[str, str, EncoderPair]:
    """Name in print of what is run, what it stands in the place of, and the encoder pair.

    On generated scenes that is the project's small CLIP. Of the other systems random weights alone are run.
    """
    system, seed = SYSTEMS[key], inputs.seed if random else None
    if key == "clip" and generated and not inputs.model:
        named = Named.parse(SMALL_CLIP)
        return named.name, SMALL_NOTE, named.pair(seed, inputs.device)
    if key != "clip":
        if not random:
            raise UserError("random weights alone are run; its published embeddings are its trained panel")
        return system.name, system.note, system.load(inputs.seed, inputs.device, inputs.precision)
    named = Named.parse(inputs.model or MODEL)
    here = named.kind in ("python", SMALL_CLIP) or (random and str(named) == MODEL)
    parts = (named.name.removeprefix(FOLDER), named.tag)  # a folder or a file
    if not (inputs.fetch or here or any(Path(part).exists() for part in parts if part)):
        what = f"the architecture of {named} may be" if random else "trained weights are"
        raise UserError(f"{what} a download; allow it with --fetch")
    pair = named.pair(seed, inputs.device, inputs.precision)
    if str(named) == MODEL:
        return system.name, system.note, pair
    name = pair.settings.get("model", pair.name) if random else pair.name
    return name, f"{name}, chosen by option for the place of CLIP", pair


def own_functions(inputs: Inputs) -> bool:
    """Whether --model names an encoder of your own."""
    return Named.parse(inputs.model or MODEL).kind == "python"
