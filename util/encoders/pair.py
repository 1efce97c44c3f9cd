"""Two towers that share a space: what extraction and the figures ask of an encoder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from util.encoders.tower import Tower


@dataclass(frozen=True)
class EncoderPair:
    """An image tower and a text tower of one model.

    Attributes:
        name: model and weights in words.
        image, text: the towers, embeddings of one width.
        settings: all that the embeddings depend on, as plain values for records and cache keys.
        model: the whole model where there is one; the towers share its weights.
    """

    name: str
    image: Tower
    text: Tower
    settings: Mapping[str, Any]
    model: torch.nn.Module | None = field(repr=False, default=None)

    @property
    def dim(self) -> int:
        """The width d of both modalities."""
        return self.image.width

    def describe(self) -> dict:
        """What the embeddings depend on, as plain values."""
        return dict(self.settings)

    def encode_images(self, images: Iterable, batch_size: int | None = None) -> Float[np.ndarray, "n d"]:
        """Embeddings of photographs, as ``Tower.encode``."""
        return self.image.encode(images, batch_size)

    def encode_texts(self, captions: Sequence[str], batch_size: int | None = None) -> Float[np.ndarray, "m d"]:
        """Embeddings of captions, as ``Tower.encode``; what is longer than the context is cut there, as CLIP does."""
        return self.text.encode(captions, batch_size)
