"""Models whose weights may change, how they read pictures and captions, and hashes of what a run began with."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from util.training import Pairs

BLOCK = 256
"""Pictures or captions embedded at a time."""
PICTURES = 64
"""Pictures, evenly spaced, whose content tells one corpus from another of the same captions."""


@dataclass(frozen=True)
class Trainable:
    """An open_clip model whose weights may change, with its way to read pictures and captions.

    Attributes:
        model: has ``encode_image``, ``encode_text`` and ``logit_scale``; in evaluation mode, gradients allowed.
        prepare: uint8 pictures (b, 3, s, s) to the image tower's input, on the device they are on.
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
        """Device of the model."""
        return next(self.model.parameters()).device

    def pixels(self, picture: Image.Image) -> UInt8[np.ndarray, "3 s s"]:
        """A picture of any size, resized and cropped as the model's own preprocessing does, channels first."""
        return np.asarray(self.cut(picture).convert("RGB"), np.uint8).transpose(2, 0, 1)

    def encode_pictures(self, pictures: UInt8[Tensor, "n 3 s s"]) -> Float[np.ndarray, "n d"]:
        """Unit rows of pictures, float32."""
        return self._encode(pictures, lambda part: self.model.encode_image(self.prepare(part)))

    def encode_tokens(self, tokens: Int[Tensor, "n l"]) -> Float[np.ndarray, "n d"]:
        """Unit rows of tokenized captions, float32."""
        return self._encode(tokens, self.model.encode_text)

    @torch.inference_mode()
    def _encode(self, inputs: Tensor, tower: Callable[[Tensor], Tensor]) -> Float[np.ndarray, "n d"]:
        rows = [functional.normalize(tower(part.to(self.device)), dim=-1).cpu() for part in inputs.split(BLOCK)]
        return torch.cat(rows).float().numpy()


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """A hash of tensors' names, dtypes, shapes and contents."""
    return hashlib.sha256(save({name: value.contiguous() for name, value in tensors.items()})).hexdigest()


def data_digest(pairs: Pairs) -> str:
    """A hash of all captions and of 64 pictures."""
    some = torch.from_numpy(np.linspace(0, len(pairs) - 1, min(PICTURES, len(pairs))).astype(np.int64))
    count = torch.tensor(len(pairs))
    return digest_of({"images": pairs.images[some], "count": count, "tokens": pairs.tokens})
