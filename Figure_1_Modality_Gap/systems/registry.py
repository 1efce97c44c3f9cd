"""The systems of Figure 1 that can be run: which encoder pair each is with random weights and with trained ones.

A further system is one entry here, a module beside this one that makes its encoder pair, and a corpus in
``util.corpora`` that gives what its towers take.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from util.cli import Device
from util.encoders.tower import EncoderPair, Modality, Precision
from util.errors import UserError


@dataclass(frozen=True)
class System:
    """A multi-modal model: one modality beside text.

    Attributes:
        title: its name in print.
        modality: what the tower beside text takes.
        architecture: what the random weights are of.
        trained_with: the trained model in words; None where only published embeddings are to be had.
        note: what stands in the place of what, for captions and records.
        untrained: (seed, device, precision) to the pair with random weights.
        fetch: (model, device, precision) to the pair with trained weights; None: there are none.
        model: the default trained model, as ``fetch`` takes it.
    """

    title: str
    modality: Modality
    architecture: str
    trained_with: str | None
    note: str
    untrained: Callable[[int, Device, Precision], EncoderPair] = field(repr=False)
    fetch: Callable[[str, Device, Precision], EncoderPair] | None = field(repr=False, default=None)
    model: str | None = None

    def random(self, seed: int = 0, device: Device = "auto", precision: Precision = "float32") -> EncoderPair:
        """The architecture at full size with random weights; needs no download.

        Raises:
            UserError: an unknown device or precision.
        """
        return self.untrained(seed, device, precision)

    def trained(
        self, device: Device = "auto", precision: Precision = "float32", model: str | None = None
    ) -> EncoderPair | None:
        """The trained model, or None where there are only published embeddings.

        Args:
            device, precision: as ``util.encoders.open_clip_pair.load``.
            model: another one than the default. For CLIP and ConVIRT, open_clip's "MODEL:TAG", "MODEL:CHECKPOINT",
                "hf-hub:NAME" or "local-dir:FOLDER"; for VideoCLIP, the name or the folder of an X-CLIP.

        Raises:
            UserError: weights that cannot be had, or another model where there is none.
        """
        if self.fetch is None and model is None:
            return None
        if self.fetch is None:
            raise UserError(f"{self.title}: no trained model can be run, {model!r} neither; {self.note}")
        return self.fetch(model or self.model, device, precision)


def _clip(seed: int, device: Device, precision: Precision) -> EncoderPair:
    from util.encoders import open_clip_pair

    return open_clip_pair.load("ViT-B-16-quickgelu", None, seed, device, precision)


def _open_clip(model: str, device: Device, precision: Precision) -> EncoderPair:
    from util.encoders import open_clip_pair
    from util.encoders.named import Named

    named = Named.parse(f"open_clip:{model}")
    if named.tag is None:
        raise UserError(f"{model}: say which trained weights, for instance {model}:openai")
    return open_clip_pair.load(named.name, named.tag, 0, device, precision)


def _convirt(seed: int, device: Device, precision: Precision) -> EncoderPair:
    from . import convirt

    return convirt.load(seed, device, precision)


def _untrained_x_clip(seed: int, device: Device, precision: Precision) -> EncoderPair:
    from . import x_clip

    return x_clip.load(random=True, seed=seed, device=device, precision=precision)


def _x_clip(model: str, device: Device, precision: Precision) -> EncoderPair:
    from . import x_clip

    return x_clip.load(model, device=device, precision=precision)


def _clasp(seed: int, device: Device, precision: Precision) -> EncoderPair:
    from . import clasp

    return clasp.load(seed, device, precision)


SYSTEMS = {
    "clip": System(
        title="CLIP",
        modality="image",
        architecture="CLIP ViT-B/16",
        trained_with="CLIP ViT-B/16 (open_clip, weights openai)",
        note="CLIP itself, with QuickGELU as OpenAI trained it",
        untrained=_clip,
        fetch=_open_clip,
        model="ViT-B-16:openai",
    ),
    "convirt": System(
        title="ConVIRT",
        modality="image",
        architecture="ConVIRT (ResNet-50, BERT, two projection heads)",
        trained_with="BiomedCLIP (open_clip)",
        note="random weights are of ConVIRT's architecture; BiomedCLIP stands in the place of its trained weights, "
        "which were not published in a form that can be had",
        untrained=_convirt,
        fetch=_open_clip,
        model="hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    ),
    "videoclip": System(
        title="VideoCLIP",
        modality="video",
        architecture="X-CLIP base, patch 32, 8 frames",
        trained_with="X-CLIP base, patch 32 (transformers, Kinetics-400)",
        note="X-CLIP stands in the place of VideoCLIP, whose code base is no longer kept up; texts are embedded "
        "without its video-specific prompts",
        untrained=_untrained_x_clip,
        fetch=_x_clip,
        model="microsoft/xclip-base-patch32",
    ),
    "clasp": System(
        title="CLASP",
        modality="amino acid",
        architecture="CLASP (two transformers, 768 dimensions, depth 12)",
        trained_with=None,
        note="random weights are of CLASP's architecture; the trained ones are known by its published embeddings",
        untrained=_clasp,
    ),
}
"""By the keys of ``util.published.SYSTEMS``."""
