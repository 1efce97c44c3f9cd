"""X-CLIP from transformers, videos and texts, in the place of VideoCLIP. Source: Ni et al. 2022.

Each tower embeds alone. The video-specific prompts, which make a text depend on the video that it is compared with, are
left out, so that every text has one embedding and a gap can be measured.
"""

from pathlib import Path

import torch
import transformers
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, BaseImageProcessor, VideoMAEImageProcessorPil, XCLIPConfig, XCLIPModel

from util.cli import Device
from util.encoders import hugging_face, hugging_face_files
from util.encoders.open_clip_pair import IMAGENET_MEAN, IMAGENET_STD
from util.encoders.tower import EncoderPair, Precision, normal_pixels
from util.errors import UserError
from util.files import digest

from . import untrained

NAME = "microsoft/xclip-base-patch32"


def load(
    name: str = NAME, random: bool = False, seed: int = 0, device: Device = "auto", precision: Precision = "float32",
    config: XCLIPConfig | None = None,
) -> EncoderPair:  # fmt: skip
    """An X-CLIP with trained or random weights; a video is a list of as many RGB PIL frames as its ``frames`` says.

    Arguments as ``util.encoders.hugging_face.load``. Random weights of ``NAME`` need no download: transformers has the
    architecture (``config`` takes its place) and open_clip the tokenizer.
    """
    if random and name == NAME and not Path(name).is_dir():
        return _untrained(config or XCLIPConfig(), seed, device, precision)
    return hugging_face.assemble(VIDEO, name, random, seed, device, precision)


def _untrained(config: XCLIPConfig, seed: int, device: Device, precision: Precision) -> EncoderPair:
    """Frames are prepared as the released X-CLIP's: short side to 224 pixels, bilinear, centre crop."""
    drawn = untrained.Drawn.of(lambda: XCLIPModel(config), seed, device, precision)
    network, size = drawn.network.to(drawn.device, drawn.dtype), config.vision_config.image_size
    pixels = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
    processor = VideoMAEImageProcessorPil(**pixels, image_mean=list(IMAGENET_MEAN), image_std=list(IMAGENET_STD))
    video = {"modality": "video", **_video(Path(), network, processor)}
    about = {"encoder": f"transformers {transformers.__version__}", "configuration": digest(config.to_json_string())}
    about |= video.pop("about")

    def encode_text(tokens: Tensor) -> Tensor:  # causal, read at the end token, which has the largest number
        return hugging_face.vectors(network.get_text_features(input_ids=untrained.cut(tokens)[0]))

    length = config.text_config.max_position_embeddings
    return drawn.pair(NAME, config.projection_dim, video, encode_text, length, ends=True, **about)


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


VIDEO = hugging_face.NonText(
    modality="video",
    method="get_video_features",
    towers="a video and a text tower, as xclip has",
    parts=_video,
    blank=lambda network: [Image.new("RGB", (64, 64))] * network.config.vision_config.num_frames,
)
