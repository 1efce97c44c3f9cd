"""The four systems of Figure 1, in the paper's order: inputs, and encoder pairs with random or trained weights.

A further system is one entry of ``SYSTEMS`` and a module beside this one that makes its encoder pair. Encoders are
imported when they are made: open_clip and transformers take seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from util.cli import Device
from util.corpora import folder
from util.corpora.captioned import Captioned
from util.corpora.generated.captioned_scenes import scenes
from util.encoders.tower import EncoderPair, Precision
from util.errors import UserError

from . import generated_inputs, proteins, videos


@dataclass(frozen=True, kw_only=True)
class System:
    """A multi-modal model, one modality beside text; ``util.published.SYSTEMS`` has its title and modality.

    Attributes:
        kind: both modalities in words, the column ``kind`` of the tables.
        random_name, trained_name: the networks that are run, in print.
        note: what stands in for what.
        count, data, model: names of the options for the number of items, your own data and the trained model.
        items, default: the number of generated items, and the trained model, unless an option says otherwise.
        read: (path, caption rule, n or None for all) to your own items with captions.
        generate: (n, seed) to n generated items, one caption each.
        load: (model, random, seed, device, precision) to the encoder pair.
    """

    kind: str
    random_name: str
    trained_name: str | None = None
    note: str
    count: str
    data: str
    model: str | None = None
    items: int
    read: Callable[[Path, str, int | None], Captioned]
    generate: Callable[[int, int], Captioned]
    load: Callable[[str | None, bool, int, Device, Precision], EncoderPair]
    default: str | None = None


def _image_text(model: str, random: bool, seed: int, device: Device, precision: Precision) -> EncoderPair:
    """Random weights are of the architecture with the activation that the tag's weights were trained with."""
    import open_clip

    from util.encoders import hugging_face, open_clip_pair
    from util.encoders.named import Named

    named = Named.parse(model)
    if named.kind == "huggingface":
        return hugging_face.load(named.name, random, seed, device, precision)
    if named.kind != "open_clip":
        raise UserError(f"{model}: Figure 1 takes models of open_clip (MODEL:TAG) and huggingface:NAME alone")
    if random:
        quick, trained = f"{named.name}-quickgelu", open_clip.get_pretrained_cfg(named.name, named.tag or "") or {}
        name = quick if trained.get("quick_gelu") and quick in open_clip.list_models() else named.name
        return open_clip_pair.load(name, None, seed, device, precision)
    if named.tag is None:
        raise UserError(f"{model}: say which trained weights, for instance {model}:openai")
    return open_clip_pair.load(named.name, named.tag, 0, device, precision)


def _x_clip(model: str, random: bool, seed: int, device: Device, precision: Precision) -> EncoderPair:
    from . import x_clip

    return x_clip.load(model, random, seed, device, precision)


def _convirt(model: str, random: bool, seed: int, device: Device, precision: Precision) -> EncoderPair:
    from . import convirt

    if random and model == SYSTEMS["convirt"].default:
        return convirt.load(seed, device, precision)
    return _image_text(model, random, seed, device, precision)


def _clasp(model: None, random: bool, seed: int, device: Device, precision: Precision) -> EncoderPair:
    from . import clasp

    if not random:
        raise UserError("no trained weights can be had; its published embeddings are its trained panel")
    return clasp.load(seed, device, precision)


SYSTEMS = {
    "clip": System(
        kind="image-text",
        random_name="CLIP ViT-B/16",
        trained_name="CLIP ViT-B/16",
        note="CLIP itself, with QuickGELU as OpenAI trained it",
        count="images",
        data="image_data",
        model="model",
        items=500,
        read=folder.load,
        generate=scenes,
        load=_image_text,
        default="ViT-B-16:openai",
    ),
    "videoclip": System(
        kind="video-text",
        random_name="X-CLIP base",
        trained_name="X-CLIP base",
        note="X-CLIP stands in the place of VideoCLIP, whose code base is no longer kept up; texts are embedded "
        "without its video-specific prompts",
        count="videos",
        data="video_data",
        model="video_model",
        items=12,
        read=videos.load,
        generate=generated_inputs.clips,
        load=_x_clip,
        default="microsoft/xclip-base-patch32",
    ),
    "convirt": System(
        kind="medical image-text",
        random_name="ConVIRT",
        trained_name="BiomedCLIP",
        note="random weights are of ConVIRT's architecture; BiomedCLIP stands in the place of its trained weights, "
        "which were not published in a form that can be had",
        count="radiographs",
        data="medical_data",
        model="medical_model",
        items=32,
        read=folder.load,
        generate=generated_inputs.noise_radiographs,
        load=_convirt,
        default="hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    ),
    "clasp": System(
        kind="protein-text",
        random_name="CLASP",
        note="random weights are of CLASP's architecture; the trained ones are known by its published embeddings",
        count="sequences",
        data="protein_data",
        items=24,
        read=lambda path, caption, n: proteins.load(path, n),
        generate=generated_inputs.random_sequences,
        load=_clasp,
    ),
}
