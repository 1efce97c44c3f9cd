"""X-CLIP from transformers, videos and texts, in the place of VideoCLIP, whose code base is no longer kept up.

Each tower embeds alone: X-CLIP's video-specific prompting, which makes the embedding of a text depend on the video
that it is compared with, is left out, so that every text has one embedding and a gap can be measured. Ni et al. 2022.
"""

import hashlib
from pathlib import Path

import torch
import transformers
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from torch import Tensor, nn
from transformers import AutoImageProcessor, VideoMAEImageProcessorPil, XCLIPConfig, XCLIPModel

from util.cli import Device
from util.encoders import hugging_face, repository
from util.encoders.open_clip_pair import IMAGENET_MEAN, IMAGENET_STD
from util.encoders.tower import EncoderPair, Precision, checked_device, normal_pixels, resolve_precision, uniform_tokens
from util.errors import UserError

from . import byte_pairs

NAME = "microsoft/xclip-base-patch32"

PROMPTING = "none: a text is embedded without the video that it is compared with"


def load(
    name: str = NAME,
    random: bool = False,
    seed: int = 0,
    device: Device = "auto",
    precision: Precision = "float32",
    revision: str | None = None,
    config: XCLIPConfig | None = None,
) -> EncoderPair:
    """An X-CLIP with trained or random weights; a video is a list of as many RGB PIL frames as its ``frames`` says.

    Random weights of ``NAME`` need no download: the architecture is the default of ``transformers.XCLIPConfig``, the
    tokenizer open_clip's bundled byte pairs, which are CLIP's, and frames are prepared as X-CLIP's own: short side to
    224 pixels, bilinear, centre crop, ImageNet's mean and standard deviation.

    Args:
        name: of a repository on the hub, or a folder; a folder of that name goes before the hub.
        random: the architecture alone, with weights from ``seed``; of another ``name``, its configuration and
            tokenizer are fetched.
        seed: of random weights: the same seed gives the same weights whatever was drawn before, and nothing else
            is disturbed.
        device: "auto" takes a GPU where there is one.
        precision: of weights and activations; "auto": bfloat16 where the hardware has it.
        revision: branch, tag or commit on the hub; None: its main branch, whose commit the settings say.
        config: architecture of random weights in place of that of ``NAME``, with CLIP's 49,408 tokens.

    Raises:
        UserError: as ``util.encoders.hugging_face.load``; a video of another number of frames.
    """
    if random and name == NAME and revision is None and not Path(name).is_dir():
        return _untrained(config or XCLIPConfig(), seed, device, precision)
    if config is not None:
        raise UserError(f"{name}: a configuration of one's own is for random weights of {NAME} alone")
    return hugging_face.assemble(VIDEO, name, random, seed, device, precision, revision)


def _untrained(config: XCLIPConfig, seed: int, device: Device, precision: Precision) -> EncoderPair:
    target = checked_device(device)
    dtype = resolve_precision(precision, target)
    with repository.quiet(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = XCLIPModel(config).eval().requires_grad_(False)
    size = config.vision_config.image_size
    pixels = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
    processor = VideoMAEImageProcessorPil(**pixels, image_mean=list(IMAGENET_MEAN), image_std=list(IMAGENET_STD))
    video, text = _parts(processor, network), _bundled_text_parts(network)
    origin = {
        "model": NAME,
        "pretrained": None,
        "revision": None,
        "checkpoint": None,
        "configuration": hashlib.sha256(config.to_json_string().encode()).hexdigest(),
        "seed": seed,
        "dim": config.projection_dim,
        "device": target.type,
    }
    return hugging_face.pair(network.to(target, dtype), VIDEO, video, text, origin)


def _video_parts(folder: Path, network: nn.Module) -> dict:
    return _parts(AutoImageProcessor.from_pretrained(folder, backend="pil", **repository.READ_ONLY), network)


def _parts(processor: transformers.BaseImageProcessor, network: nn.Module) -> dict:
    """``prepare``, ``forward``, ``noise`` and ``frames`` of the video tower, and ``about`` them for the settings."""
    count, side = network.config.vision_config.num_frames, network.config.vision_config.image_size

    def prepare(videos: list) -> Tensor:
        return torch.stack([_pixels(processor, frames, count) for frames in videos])

    def embed(pixels: Tensor) -> Tensor:
        return hugging_face.vectors(network.get_video_features(pixel_values=pixels.to(network.dtype)))

    about = {"pixels": hugging_face.described(processor), "frames": count, "prompting": PROMPTING}
    return {"prepare": prepare, "forward": embed, "noise": normal_pixels(side, count), "frames": count, "about": about}


def _pixels(processor: transformers.BaseImageProcessor, frames: list, count: int) -> Tensor:
    """One video as (frames, 3, height, width)."""
    found = len(frames) if isinstance(frames, list | tuple) else 0
    if found != count:
        what = f"a video of {found} frames" if found else f"{type(frames).__name__}, not a list of frames,"
        raise UserError(f"{what} was given to a model that takes {count}; sample {count} of each video")
    pixels = processor([frame.convert("RGB") for frame in frames], return_tensors="pt")["pixel_values"]
    return pixels.reshape(count, *pixels.shape[-3:])


def _bundled_text_parts(network: nn.Module) -> dict:
    """The parts of the text tower with open_clip's bundled byte pairs, whose end token has the largest number."""
    context, vocabulary = network.config.text_config.max_position_embeddings, network.config.text_config.vocab_size

    def lengths(tokens: Tensor) -> Tensor:
        return tokens.argmax(dim=1) + 1

    return {
        "prepare": SimpleTokenizer(context_length=context),
        "forward": hugging_face.text_forward(network, lengths, None),
        "noise": uniform_tokens(vocabulary, context),
        "lengths": lengths,
        "about": {"context_length": context, "tokenizer": {**byte_pairs.ABOUT, "reading": "true length, causal"}},
    }


VIDEO = hugging_face.NonText(
    modality="video",
    method="get_video_features",
    towers="a video and a text tower, as xclip has",
    one="a video",
    parts=_video_parts,
    blank=lambda network: [Image.new("RGB", (64, 64))] * network.config.vision_config.num_frames,
)
