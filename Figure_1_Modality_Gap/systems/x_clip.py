"""X-CLIP from transformers, videos and texts, in the place of VideoCLIP, with random weights. Source: Ni et al. 2022.

Each tower embeds alone. The video-specific prompts, which make a text depend on the video that it is compared with, are
left out, so that every text has one embedding and a gap can be measured.
"""

import transformers
from open_clip.constants import IMAGENET_MEAN, IMAGENET_STD
from torch import Tensor
from transformers import VideoMAEImageProcessorPil, XCLIPConfig, XCLIPModel

from util.encoders import models
from util.encoders.tower import EncoderPair
from util.files import digest

from . import untrained

NAME = "microsoft/xclip-base-patch32"


def load(config: XCLIPConfig | None = None, **how) -> EncoderPair:
    """X-CLIP with random weights, ``how`` as ``Drawn.of``; a video is a list of as many RGB frames as it takes.

    Frames are prepared as the released X-CLIP's: short side to 224 pixels, bilinear, centre crop.
    """
    config = config or XCLIPConfig()
    drawn = untrained.Drawn.of(lambda: XCLIPModel(config), **how)
    network, vision = drawn.network.to(drawn.device, drawn.dtype), config.vision_config
    size, count = vision.image_size, vision.num_frames
    pixels = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
    processor = VideoMAEImageProcessorPil(**pixels, image_mean=list(IMAGENET_MEAN), image_std=list(IMAGENET_STD))

    def prepare(videos: list) -> Tensor:
        frames = [frame.convert("RGB") for video in videos for frame in video]
        values = processor(frames, return_tensors="pt")["pixel_values"]
        return values.reshape(len(videos), count, *values.shape[-3:])

    def embed(pixels: Tensor) -> Tensor:
        return models.vectors(network.get_video_features(pixel_values=pixels.to(network.dtype)))

    def encode_text(tokens: Tensor) -> Tensor:  # causal, read at the end token, which has the largest number
        return models.vectors(network.get_text_features(input_ids=untrained.cut(tokens)[0]))

    video = {"modality": "video", "prepare": prepare, "forward": embed, "frames": count}
    about = {
        "encoder": f"transformers {transformers.__version__}",
        "configuration": digest(config.to_json_string()),
        "pixels": models.described(processor),
        "frames": count,
        "prompting": "none: a text is embedded without the video that it is compared with",
    }
    length = config.text_config.max_position_embeddings
    return drawn.pair(NAME, config.projection_dim, video, encode_text, length, ends=True, **about)
