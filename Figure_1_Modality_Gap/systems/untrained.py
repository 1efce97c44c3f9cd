"""Encoder pairs with random weights whose texts are CLIP's byte pairs, which open_clip bundles.

Captions become rows of token numbers that end in ``PADDING``, a number that no token has: CLIP's own padding, 0, is the
token of an exclamation mark too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Int
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn

from util.cli import Device
from util.encoders.tower import EncoderPair, Precision, computing, drawn

_tokenizer = cache(SimpleTokenizer)
VOCABULARY = 49408
PADDING = -1
TOKENIZER = "open_clip's SimpleTokenizer, true length, masked"


def tokens(captions: Sequence[str], length: int, ends: bool) -> Int[Tensor, "n length"]:
    """Captions as ``length`` numbers below ``VOCABULARY``, then ``PADDING``; what is longer is cut.

    With ``ends``, a start and an end token stand around every caption, the end token also where it is cut.
    """
    tokenizer = _tokenizer()
    rows = [tokenizer.encode(caption) for caption in captions]
    if ends:
        rows = [[tokenizer.sot_token_id, *row[: length - 2], tokenizer.eot_token_id] for row in rows]
    return padded(rows, length)


def padded(rows: Sequence[Sequence[int]], length: int) -> Int[Tensor, "n length"]:
    """Rows of token numbers, cut at ``length`` or filled up with ``PADDING``."""
    return torch.tensor([[*row[:length], *[PADDING] * (length - len(row))] for row in rows], dtype=torch.int64)


def lengths(tokens: Int[Tensor, "n length"]) -> Int[Tensor, " n"]:
    """How many tokens of each row matter; at least 1, the first of an empty row being padding."""
    return (tokens != PADDING).sum(dim=1).clamp(min=1)


def cut(tokens: Int[Tensor, "n length"]) -> tuple[Int[Tensor, "n longest"], Bool[Tensor, "n longest"]]:
    """The columns up to the longest row's end, padding as token 0, and which of them are no padding."""
    tokens = tokens[:, : int(lengths(tokens).max())]
    return tokens.clamp(min=0), tokens != PADDING


@dataclass(frozen=True)
class Drawn:
    """A network with random weights, in evaluation mode, on the CPU in float32; where and how it is to compute."""

    network: nn.Module
    seed: int
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(
        cls, make: Callable[[], nn.Module], seed: int = 0, device: Device = "auto", precision: Precision = "float32"
    ) -> "Drawn":
        """The same seed gives the same weights whatever was drawn before, and nothing else is disturbed."""
        target, dtype = computing(device, precision)
        return cls(drawn(make, seed).eval().requires_grad_(False), seed, target, dtype)

    def pair(self, name: str, dim: int, other: dict, embed: Callable, length: int, ends: bool, **about) -> EncoderPair:
        """Both towers, once the network is in its place and precision.

        ``other`` is fields of the tower beside text. ``embed`` takes what ``tokens`` gives for ``length`` and ``ends``.
        ``about`` is all else that the embeddings depend on.
        """
        settings = {"model": name, "pretrained": None, "seed": self.seed, "dim": dim, "tokenizer": TOKENIZER, **about}
        settings |= {"dtype": str(self.dtype).removeprefix("torch."), "device": self.device.type}
        text = {"modality": "text", "prepare": lambda texts: tokens(texts, length, ends), "lengths": lengths}
        return EncoderPair.of(self.network, settings, other, {**text, "forward": embed})
