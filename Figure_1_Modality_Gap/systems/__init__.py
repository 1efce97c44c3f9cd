"""The four systems of Figure 1, in the paper's order: inputs, and encoder pairs with random or trained weights.

A further system is one entry of ``SYSTEMS`` and a module beside this one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from util.cli import Device
from util.corpora import folder
from util.corpora.captioned import Captioned
from util.corpora.generated.captioned_scenes import scenes
from util.encoders.tower import EncoderPair, Precision

from . import generated_inputs, proteins, videos


@dataclass(frozen=True, kw_only=True)
class System:
    """A multi-modal model, one modality beside text; ``util.published.SYSTEMS`` has its title and modality.

    Attributes:
        kind: both modalities in words, the column ``kind`` of the tables.
        module: module here whose ``load`` takes model, random, seed, device and precision.
        random_name, trained_name, note: the networks that are run, in print, and what stands in for what.
        option, default: the option that names a model, and what it names unless told otherwise.
        items: number of generated items unless told otherwise.
        read: (path, caption rule, n or None for all) to your own items with captions.
        generate: (n, seed) to n generated items, one caption each.
    """

    kind: str
    module: str
    random_name: str
    trained_name: str | None = None
    note: str
    option: str | None = None
    default: str | None = None
    items: int
    read: Callable[[Path, str, int | None], Captioned]
    generate: Callable[[int, int], Captioned]

    def load(self, model: str | None, random: bool, seed: int, device: Device, precision: Precision) -> EncoderPair:
        """The encoder pair; its module is imported only now, for open_clip and transformers take seconds."""
        how = {"seed": seed, "device": device, "precision": precision}
        return import_module(f".{self.module}", __package__).load(model, random, **how)


SYSTEMS = {
    "clip": System(
        kind="image-text",
        module="image_text",
        random_name="CLIP ViT-B/16",
        trained_name="CLIP ViT-B/16",
        note="CLIP itself, with QuickGELU as OpenAI trained it",
        option="model",
        default="ViT-B-16:openai",
        items=500,
        read=folder.load,
        generate=scenes,
    ),
    "videoclip": System(
        kind="video-text",
        module="x_clip",
        random_name="X-CLIP base",
        trained_name="X-CLIP base",
        note="X-CLIP stands in the place of VideoCLIP, whose code base is no longer kept up; texts are embedded "
        "without its video-specific prompts",
        option="video_model",
        default="microsoft/xclip-base-patch32",
        items=12,
        read=videos.load,
        generate=generated_inputs.clips,
    ),
    "convirt": System(
        kind="medical image-text",
        module="convirt",
        random_name="ConVIRT",
        trained_name="BiomedCLIP",
        note="random weights are of ConVIRT's architecture; BiomedCLIP stands in the place of its trained weights, "
        "which were not published in a form that can be had",
        option="medical_model",
        default="hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        items=32,
        read=folder.load,
        generate=generated_inputs.noise_radiographs,
    ),
    "clasp": System(
        kind="protein-text",
        module="clasp",
        random_name="CLASP",
        note="random weights are of CLASP's architecture; the trained ones are known by its published embeddings",
        items=24,
        read=lambda path, caption, n: proteins.load(path, n),
        generate=generated_inputs.random_sequences,
    ),
}
