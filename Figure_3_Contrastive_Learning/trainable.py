"""Models as training takes them: weights that may change, and how pictures and captions become their inputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from util.errors import UserError

SMALL = "small"
"""Name of the project's own small CLIP among open_clip's models."""

BLOCK = 256
"""Pictures or captions embedded at a time."""


@dataclass(frozen=True)
class Trainable:
    """An open_clip model with what it needs to read pictures and captions.

    Attributes:
        model: has ``encode_image``, ``encode_text`` and ``logit_scale``; in evaluation mode, gradients allowed.
        prepare: uint8 pictures (b, 3, s, s) to what the image tower wants, on the device they are on.
        tokenize: captions to int64 tokens (b, l).
        cut: an RGB picture of any size to one of (s, s) pixels, as ``prepare`` takes them.
        about: model, weights and pixels, as plain values.
    """

    model: torch.nn.Module
    prepare: Callable[[Tensor], Tensor]
    tokenize: Callable[[Sequence[str]], Tensor]
    cut: Callable[[Image.Image], Image.Image]
    about: Mapping[str, Any] = field(repr=False)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def pixels(self, picture: Image.Image) -> UInt8[np.ndarray, "3 s s"]:
        """A picture of any size, resized and cropped as the model's own preprocessing does, channels first."""
        return np.asarray(self.cut(picture).convert("RGB"), np.uint8).transpose(2, 0, 1)

    @torch.inference_mode()
    def encode_pictures(self, pictures: UInt8[Tensor, "n 3 s s"]) -> Float[np.ndarray, "n d"]:
        """Unit rows of pictures, float32."""
        return self._encode(pictures, lambda part: self.model.encode_image(self.prepare(part)))

    @torch.inference_mode()
    def encode_tokens(self, tokens: Int[Tensor, "n l"]) -> Float[np.ndarray, "n d"]:
        """Unit rows of tokenized captions, float32."""
        return self._encode(tokens, self.model.encode_text)

    def _encode(self, inputs: Tensor, tower: Callable[[Tensor], Tensor]) -> Float[np.ndarray, "n d"]:
        rows = [functional.normalize(tower(part.to(self.device)), dim=-1).cpu() for part in inputs.split(BLOCK)]
        return torch.cat(rows).float().numpy()


def load(model: str, pretrained: str | None, seed: int | None, device: str | torch.device) -> Trainable:
    """A model to train, in float32.

    Args:
        model: "small", or a model by open_clip's name for it.
        pretrained: tag or checkpoint file of trained weights; the small CLIP ships with its own.
        seed: of random weights; None for the trained ones.
        device: "cpu" or "cuda" or one of several GPUs.

    Raises:
        UserError: an unknown model, or weights that cannot be had.
    """
    if model == SMALL:
        return _small(seed, device)
    if seed is None and pretrained is None:
        raise UserError(f"{model}: fine-tuning needs trained weights; name them with --pretrained")
    return _open_clip(model, pretrained if seed is None else None, seed or 0, torch.device(device))


def _small(seed: int | None, device: str | torch.device) -> Trainable:
    from util.encoders import small_clip
    from util.files import sha256

    clip = small_clip.load(device=device) if seed is None else small_clip.random(seed, device)
    weights = f"util/data/{small_clip.CHECKPOINT.name}, sha256 {sha256(small_clip.CHECKPOINT)}"
    side = clip.model.visual.image_size[0]
    about = {"model": "small CLIP", "weights": weights if seed is None else f"random, seed {seed}"}
    return Trainable(clip.model, clip.prepare, clip.tokenizer, lambda picture: picture.resize((side, side)), about)


def _open_clip(model: str, pretrained: str | None, seed: int, device: torch.device) -> Trainable:
    """Through ``open_clip_pair``, whose towers only embed: the pixels stay whole numbers until the training step."""
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from torchvision import transforms

    from util.encoders import open_clip_pair

    pair = open_clip_pair.load(model, pretrained, seed, device.type)
    network = pair.model.requires_grad_(True).to(device)
    config = PreprocessCfg(**network.visual.preprocess_cfg)
    steps = image_transform_v2(config, is_train=False).transforms
    geometry = [step for step in steps if isinstance(step, transforms.Resize | transforms.CenterCrop)]
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (config.mean, config.std))
    return Trainable(
        model=network,
        prepare=lambda pictures: (pictures.float() / 255 - mean) / std,
        tokenize=pair.text.prepare,
        cut=transforms.Compose(geometry),
        about={**pair.settings, "weights": pair.name},
    )
