"""The four systems of Figure 1, run: trained and random weights, on one's own data or on generated ones."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import open_clip

from panels import KINDS, Panel
from systems import generated_inputs, proteins, videos, x_clip
from systems.registry import SYSTEMS
from util import cli
from util.corpora import coco, folder
from util.corpora.captioned import Captioned
from util.encoders import open_clip_pair, small_clip
from util.encoders.named import Named
from util.encoders.tower import EncoderPair
from util.errors import UserError
from util.extraction import extract

NO_DOWNLOAD = "trained weights are a download; allow it with --fetch"
SMALL_NOTE = "the project's small CLIP, trained on generated scenes, in the place of CLIP"


class Options(Protocol):
    """What is read of a script's settings, besides the options that ``RUNS`` names."""

    preset: cli.Preset
    device: cli.Device
    precision: str
    seed: int
    fetch: bool
    systems: tuple[str, ...]
    caption: str
    coco: Path | None


@dataclass(frozen=True)
class Run:
    """How a system is run from a command line.

    Attributes:
        count: the option that says how many pairs.
        default: how many where it does not: of generated inputs, or of MSCOCO. One's own data are taken whole.
        data: the option that names one's own data.
        read: (path, caption rule, at most n items, None for all) to the items and their captions.
        model: the option that names the trained model; None where there is none.
    """

    count: str
    default: int
    data: str
    read: Callable[[Path, str, int | None], Captioned]
    model: str | None = None


RUNS = {
    "clip": Run("images", 500, "image_data", folder.load, "model"),
    "videoclip": Run("videos", 12, "video_data", videos.load, "video_model"),
    "convirt": Run("radiographs", 32, "medical_data", folder.load, "medical_model"),
    "clasp": Run("sequences", 24, "protein_data", lambda path, caption, n: proteins.load(path, n)),
}
"""Full-size networks take seconds on a CPU for the default number of generated inputs."""


def panels(key: str, options: Options, left_out: list[str]) -> Iterator[Panel]:
    """One system: trained where weights can be had and the data are real, and random.

    Args:
        key: of ``RUNS``.
        options: see ``Options``.
        left_out: receives a line for each panel that could not be made, with the reason.

    Raises:
        UserError: data of one's own that cannot be read, or that no system asked for takes.
    """
    check(options)
    title = SYSTEMS[key].title
    try:
        captioned = data(key, options)
    except UserError as error:
        if own_data(key, options) is not None:
            raise
        left_out.append(f"{title}: {error}")
        return
    for weights in ("trained", "random"):
        try:
            pair = encoder(key, weights, captioned, options)
        except UserError as error:
            left_out.append(f"{title}, {weights} weights, run here: {error}")
            continue
        found = extract(pair, captioned, say=cli.say)
        source = {name: value for name, value in found.source.items() if name != "path"}  # that of the cache
        found, names = replace(found, source=source), (found.names[0], found.names[-1])
        system, note = in_words(key, weights, pair, captioned, options)
        made = captioned.source.get("generated", False)
        yield Panel(
            KINDS[key], system, weights, captioned.source["dataset"], found, names, {"note": note, "generated": made}
        )


def check(options: Options) -> None:
    """
    Raises:
        UserError: two places for the same data, or data of a system that is not asked for.
    """
    if options.coco is not None and getattr(options, RUNS["clip"].data) is not None:
        raise UserError("--coco and --image-data are both images for CLIP; give one of them")
    for key in RUNS:
        if own_data(key, options) is not None and key not in options.systems:
            raise UserError(f"{own_data(key, options)}: data for {key}, which --systems does not name")


def own_data(key: str, options: Options) -> Path | None:
    """Where one's own data of a system are; None where none are given."""
    own = getattr(options, RUNS[key].data)
    return options.coco if own is None and key == "clip" else own


def data(key: str, options: Options) -> Captioned:
    """The items and captions of a system: one's own, MSCOCO's in the paper preset, or generated ones.

    Raises:
        UserError: as the readers.
    """
    run, own = RUNS[key], getattr(options, RUNS[key].data)
    n = getattr(options, run.count)
    if own is not None:
        return run.read(own, options.caption, n)
    n = n or run.default
    if key == "clip" and options.coco is not None:
        split = "val2017" if (options.coco / "val2017").is_dir() else "train2017"
        return coco.load(options.coco, split, options.caption, n)
    if key == "clip" and options.preset == "paper":
        return coco.load(None, "val2017", options.caption, n)
    return generated_inputs.GENERATED[key](n, options.seed)


def encoder(key: str, weights: str, captioned: Captioned, options: Options) -> EncoderPair:
    """The system's encoder; for generated scenes, of 32 pixels, the project's small CLIP.

    Raises:
        UserError: weights that cannot be had, or trained ones for inputs that were generated.
    """
    made, model = captioned.source.get("generated", False), chosen(key, options)
    if key == "clip" and made:
        device = cli.resolve_device(options.device)
        return (
            small_clip.random(options.seed, device).pair("random")
            if weights == "random"
            else (small_clip.load(device=device).pair("trained"))
        )
    if weights == "random":
        return twin(key, model, options)
    if model is None:
        raise UserError("no trained weights can be had; its published embeddings are its trained panel")
    if made:
        raise UserError(f"trained weights are run on real data alone: --{RUNS[key].data.replace('_', '-')}")
    if not options.fetch and not is_local(model):
        raise UserError(NO_DOWNLOAD)
    return SYSTEMS[key].trained(options.device, options.precision, model)


def chosen(key: str, options: Options) -> str | None:
    """The trained model that an option names."""
    return getattr(options, RUNS[key].model) if RUNS[key].model else None


def is_local(model: str) -> bool:
    """Whether a model's name is that of a folder or a checkpoint file here."""
    return any(Path(part).exists() for part in (model, model.partition(":")[2]) if part)


def twin(key: str, model: str | None, options: Options) -> EncoderPair:
    """The same architecture with random weights; of a system's default model, the system's own.

    Raises:
        UserError: an architecture that would have to be fetched without --fetch, or is unknown.
    """
    settings = options.seed, options.device, options.precision
    if model == SYSTEMS[key].model:
        return SYSTEMS[key].random(*settings)
    if key == "videoclip":
        if not options.fetch and not is_local(model):
            raise UserError(f"the architecture of {model} is a download; allow it with --fetch")
        return x_clip.load(model, True, *settings)
    named = Named.parse(f"open_clip:{model}")
    if named.name.startswith("hf-hub:") and not options.fetch:
        raise UserError(f"the architecture of {model} is a download; allow it with --fetch")
    return open_clip_pair.load(_as_trained(named), None, *settings)


def _as_trained(named: Named) -> str:
    """open_clip's name of the architecture with the activation that the tag's weights were trained with."""
    quick = f"{named.name}-quickgelu"
    trained = open_clip.get_pretrained_cfg(named.name, named.tag or "") or {}
    return quick if trained.get("quick_gelu") and quick in open_clip.list_models() else named.name


def in_words(key: str, weights: str, pair: EncoderPair, captioned: Captioned, options: Options) -> tuple[str, str]:
    """The model's name in print, and what it stands in the place of."""
    system = SYSTEMS[key]
    if key == "clip" and captioned.source.get("generated"):
        return "small CLIP", SMALL_NOTE
    if chosen(key, options) != system.model:
        name = pair.settings["model"] if weights == "random" else pair.name
        return name, f"{name}, chosen by option for the place of {system.title}"
    words = system.trained_with if weights == "trained" else system.architecture
    return words.split(" (")[0].split(",")[0], system.note
