"""Two towers that share a space, one of them of text: what extraction and the figures ask of an encoder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from .tower import Tower


@dataclass(frozen=True)
class EncoderPair:
    """The text tower of a model and the one beside it: of images, videos or amino-acid sequences.

    Attributes:
        name: model and weights in words.
        other: the tower beside text; its ``modality`` says what it takes.
        text: the text tower, embeddings of the same width.
        settings: all that the embeddings depend on, as plain values for records and cache keys.
        model: the whole model where there is one; the towers share its weights.
    """

    name: str
    other: Tower
    text: Tower
    settings: Mapping[str, Any]
    model: torch.nn.Module | None = field(repr=False, default=None)

    @property
    def dim(self) -> int:
        """The width d of both modalities."""
        return self.other.width

    def describe(self) -> dict:
        """What the embeddings depend on, as plain values."""
        return dict(self.settings)

    def encode_other(self, items: Iterable, batch_size: int | None = None) -> Float[np.ndarray, "n d"]:
        """Embeddings of what is not text, as ``Tower.encode``: PIL images, lists of frames or sequences."""
        return self.other.encode(items, batch_size)

    def encode_texts(self, captions: Sequence[str], batch_size: int | None = None) -> Float[np.ndarray, "m d"]:
        """Embeddings of captions, as ``Tower.encode``; what is longer than the context is cut there, as CLIP does."""
        return self.text.encode(captions, batch_size)
