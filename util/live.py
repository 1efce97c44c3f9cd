"""The four systems of Figure 1, run: trained and random weights, on one's own data or on generated ones."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from util import cli
from util.corpora import coco, folder, generated, proteins, videos
from util.corpora.captioned import Captioned
from util.encoders import open_clip_pair, small_clip
from util.encoders.pair import EncoderPair
from util.encoders.systems import SYSTEMS
from util.errors import UserError
from util.extraction import extract
from util.panels import Panel

NO_DOWNLOAD = "trained weights are a download; allow it with --fetch"


class Options(Protocol):
    """What is read of a script's settings, besides the options that ``RUNS`` names."""

    preset: cli.Preset
    device: cli.Device
    precision: str
    seed: int
    fetch: bool
    caption: str
    coco: Path | None


@dataclass(frozen=True)
class Run:
    """How a system is run from a command line.

    Attributes:
        count: the option that says how many pairs.
        data: the option that names one's own data.
        read: (path, caption rule, at most n items) to the items and their captions.
        model: the option that names the trained model; None where there is none.
    """

    count: str
    data: str
    read: Callable[[Path, str, int], Captioned]
    model: str | None = None


RUNS = {
    "clip": Run("images", "image_data", folder.load, "model"),
    "videoclip": Run("videos", "video_data", videos.load, "video_model"),
    "convirt": Run("radiographs", "medical_data", folder.load, "medical_model"),
    "clasp": Run("sequences", "protein_data", lambda path, caption, n: proteins.load(path, n)),
}


def panels(key: str, options: Options, left_out: list[str]) -> Iterator[Panel]:
    """One system: trained where weights can be had, and random.

    Args:
        key: of ``RUNS``.
        options: see ``Options``.
        left_out: receives a line for each panel that could not be made, with the reason.

    Raises:
        UserError: data of one's own that cannot be read.
    """
    system = SYSTEMS[key]
    try:
        captioned = data(key, options)
    except UserError as error:
        if own_data(key, options) is not None:
            raise
        left_out.append(f"{system.title}: {error}")
        return
    for weights in ("trained", "random"):
        try:
            pair = encoder(key, weights, captioned, options)
        except UserError as error:
            left_out.append(f"{system.title}, {weights} weights, run here: {error}")
            continue
        found = extract(pair, captioned, say=cli.say)
        source = {**found.source, "system": {"title": system.title, "note": system.note}}
        found = replace(found, source=source)
        yield Panel(system.title, weights, in_words(key, weights, captioned), found, (found.names[0], found.names[-1]))


def own_data(key: str, options: Options) -> Path | None:
    """Where one's own data of a system are; None where none are given."""
    own = getattr(options, RUNS[key].data)
    return options.coco if own is None and key == "clip" else own


def data(key: str, options: Options) -> Captioned:
    """The items and captions of a system: one's own, MSCOCO's in the paper preset, or generated ones.

    Raises:
        UserError: as the readers.
    """
    run, own = RUNS[key], own_data(key, options)
    n = getattr(options, run.count)
    if own is not None and getattr(options, run.data) is None:
        return coco.load(own, "val2017" if (own / "val2017").is_dir() else "train2017", options.caption, n)
    if own is not None:
        return run.read(own, options.caption, n)
    if key == "clip" and options.preset == "paper":
        return coco.load(None, "val2017", options.caption, n)
    return generated.GENERATED[key](n, options.seed)


def encoder(key: str, weights: str, captioned: Captioned, options: Options) -> EncoderPair:
    """The system's encoder; for generated scenes, of 32 pixels, the project's small CLIP.

    Raises:
        UserError: weights that cannot be had.
    """
    if key == "clip" and captioned.source.get("generated"):
        if weights == "random":
            return small_clip.random(options.seed, cli.resolve_device(options.device)).pair("random")
        return small_clip.load(device=cli.resolve_device(options.device)).pair("trained")
    model = getattr(options, RUNS[key].model) if RUNS[key].model else None
    if weights == "random" and key == "clip" and model != SYSTEMS[key].model:
        return open_clip_pair.load(model.split(":")[0], None, options.seed, options.device, options.precision)
    if weights == "random":
        return SYSTEMS[key].random(options.seed, options.device, options.precision)
    if model is None:
        raise UserError("no trained weights can be had; its published embeddings are its trained panel")
    if not options.fetch:
        raise UserError(NO_DOWNLOAD)
    return SYSTEMS[key].trained(options.device, options.precision, model)


def in_words(key: str, weights: str, captioned: Captioned) -> str:
    """Model and data in one short line."""
    system = SYSTEMS[key]
    small = key == "clip" and captioned.source.get("generated")
    model = "small CLIP" if small else (system.trained_with if weights == "trained" else system.architecture)
    data = captioned.source["dataset"].split(",")[0].split(" at ")[0]
    return f"{model.split(' (')[0].split(',')[0]}, {data}"
