"""X-CLIP from transformers, videos and texts, in the place of VideoCLIP, whose code base is no longer kept up.

Each tower embeds alone. X-CLIP's video-specific prompting, which makes a text depend on the video that it is compared
with, is left out, so that every text has one embedding and a gap can be measured. Source: Ni et al. 2022.
"""

import hashlib
from pathlib import Path

import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, BaseImageProcessor, VideoMAEImageProcessorPil, XCLIPConfig, XCLIPModel

from util.cli import Device
from util.encoders import hugging_face, hugging_face_files
from util.encoders.open_clip_pair import IMAGENET_MEAN, IMAGENET_STD
from util.encoders.tower import EncoderPair, Precision, normal_pixels, uniform_tokens
from util.errors import UserError

from . import untrained

NAME = "microsoft/xclip-base-patch32"


def load(
    name: str = NAME,
    random: bool = False,
    seed: int = 0,
    device: Device = "auto",
    precision: Precision = "float32",
    config: XCLIPConfig | None = None,
) -> EncoderPair:
    """An X-CLIP with trained or random weights; a video is a list of as many RGB PIL frames as its ``frames`` says.

    Arguments as ``util.encoders.hugging_face.load``. Random weights of ``NAME`` need no download: transformers has the
    architecture and open_clip the tokenizer. ``config`` takes the place of its architecture.
    """
    if random and name == NAME and not Path(name).is_dir():
        return _untrained(config or XCLIPConfig(), seed, device, precision)
    if config is not None:
        raise UserError(f"{name}: a configuration of your own is for random weights of {NAME} alone")
    return hugging_face.assemble(VIDEO, name, random, seed, device, precision)


def _untrained(config: XCLIPConfig, seed: int, device: Device, precision: Precision) -> EncoderPair:
    """Frames are prepared as the released X-CLIP's: short side to 224 pixels, bilinear, centre crop."""
    network, target, dtype = untrained.seeded(lambda: XCLIPModel(config), seed, device, precision)
    size = config.vision_config.image_size
    pixels = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
    processor = VideoMAEImageProcessorPil(**pixels, image_mean=list(IMAGENET_MEAN), image_std=list(IMAGENET_STD))
    origin = {
        **dict.fromkeys(["pretrained", "revision", "checkpoint"]),
        "model": NAME,
        "configuration": hashlib.sha256(config.to_json_string().encode()).hexdigest(),
        "seed": seed,
        "dim": config.projection_dim,
        "device": target.type,
    }
    video, text = _video(Path(), network, processor), _bundled_text(network)
    return hugging_face.pair(network.to(target, dtype), VIDEO, video, text, origin)


def _video(folder: Path, network: XCLIPModel, processor: BaseImageProcessor | None = None) -> dict:
    """Fields of the video tower, and what its settings say of them; frames are prepared as ``folder`` says."""
    processor = processor or AutoImageProcessor.from_pretrained(folder, backend="pil", **hugging_face_files.READ_ONLY)
    count, side = network.config.vision_config.num_frames, network.config.vision_config.image_size

    def prepare(videos: list) -> Tensor:
        return torch.stack([_pixels(processor, frames, count) for frames in videos])

    def embed(pixels: Tensor) -> Tensor:
        return hugging_face.vectors(network.get_video_features(pixel_values=pixels.to(network.dtype)))

    prompting = "none: a text is embedded without the video that it is compared with"
    about = {"pixels": hugging_face.described(processor), "frames": count, "prompting": prompting}
    return {"prepare": prepare, "forward": embed, "noise": normal_pixels(side, count), "frames": count, "about": about}


def _pixels(processor: BaseImageProcessor, frames: list, count: int) -> Tensor:
    """One video as (frames, 3, height, width)."""
    found = len(frames) if isinstance(frames, list | tuple) else 0
    if found != count:
        what = f"a video of {found} frames" if found else f"{type(frames).__name__}, not a list of frames,"
        raise UserError(f"{what} was given to a model that takes {count}; sample {count} of each video")
    pixels = processor([frame.convert("RGB") for frame in frames], return_tensors="pt")["pixel_values"]
    return pixels.reshape(count, *pixels.shape[-3:])


def _bundled_text(network: XCLIPModel) -> dict:
    """Fields of the text tower with open_clip's bundled byte pairs, whose end token has the largest number."""
    context, vocabulary = network.config.text_config.max_position_embeddings, network.config.text_config.vocab_size

    def lengths(tokens: Tensor) -> Tensor:
        return tokens.argmax(dim=1) + 1

    return {
        "prepare": SimpleTokenizer(context_length=context),
        "forward": hugging_face.text_forward(network, lengths, None),
        "noise": uniform_tokens(vocabulary, context),
        "lengths": lengths,
        "about": {"context_length": context, "tokenizer": {**untrained.ABOUT, "reading": "true length, causal"}},
    }


VIDEO = hugging_face.NonText(
    modality="video",
    method="get_video_features",
    towers="a video and a text tower, as xclip has",
    parts=_video,
    blank=lambda network: [Image.new("RGB", (64, 64))] * network.config.vision_config.num_frames,
)
