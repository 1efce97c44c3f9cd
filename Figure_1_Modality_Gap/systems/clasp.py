"""CLASP, amino-acid sequences and texts: the architecture, with random weights.

Two transformers of one kind, each read at a class token before its input. Source: github.com/MicPie/clasp; the
released run has 768 dimensions and depth 12. As there, layers are reversible: two streams begin equal, attention adds
to the first, the feed-forward layer to the second, and their sum is read. Not as there: padding is masked, rotary
positions are used in every layer, and a sequence that is too long is cut at its end, not at random.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from util.encoders.tower import EncoderPair

from . import untrained

ALPHABET = "ACDEFGHIKLMNOPQRSTUVWYX"
"""The 23 symbols by number: the 22 amino acids that proteins are made of (O pyrrolysine, U selenocysteine) in
alphabetical order, and X, any of them. Source: MicPie/clasp, clasp/utils.py at 03f551f."""


@dataclass(frozen=True)
class Sizes:
    """Width, depth and heads of both transformers, MLP in widths, longest text and sequence; tests take less."""

    width: int = 768
    depth: int = 12
    heads: int = 8
    head_width: int = 64
    mlp: int = 4
    text: int = 1024
    sequence: int = 512


RELEASED = Sizes()


def residues(sequences: Sequence[str]) -> list[list[int]]:
    """Amino-acid letters as their places in ``ALPHABET``, a letter that is not there as the last."""
    place = {letter: i for i, letter in enumerate(ALPHABET)}
    return [[place.get(letter, len(ALPHABET) - 1) for letter in sequence.upper()] for sequence in sequences]


def sinusoids(length: int, width: int) -> Float[Tensor, "length width"]:
    """Sines, then cosines, of the position times width / 2 frequencies from 1 down to almost 1 / 10,000."""
    frequencies = 10_000.0 ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def rotated(x: Float[Tensor, "*b length width"], positions: Float[Tensor, "length width"]) -> Tensor:
    """Neighbouring dimensions turned, as pairs, by the angle of their position: norms stay (Su et al. 2021)."""
    sine, cosine = (part.repeat_interleave(2, dim=1) for part in positions.chunk(2, dim=1))
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return x * cosine + torch.stack([-odd, even], dim=-1).flatten(-2) * sine


class Attention(nn.Module):
    """Self-attention between all tokens that are no padding; the class token alone is not rotated."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.heads, inner = sizes.heads, sizes.heads * sizes.head_width
        self.queries_keys_values = nn.Linear(sizes.width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, sizes.width)

    def forward(self, x: Tensor, real: Tensor, positions: Tensor) -> Tensor:
        parts = self.queries_keys_values(x).unflatten(-1, (3 * self.heads, -1)).transpose(1, 2).chunk(3, dim=1)
        queries, keys = (torch.cat([part[:, :, :1], rotated(part[:, :, 1:], positions)], 2) for part in parts[:2])
        mixed = functional.scaled_dot_product_attention(queries, keys, parts[2], attn_mask=real[:, None, None])
        return self.out(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Linear, one half times the GELU of the other (GEGLU, Shazeer 2020), linear."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.inner = nn.Linear(sizes.width, 2 * sizes.mlp * sizes.width)
        self.out = nn.Linear(sizes.mlp * sizes.width, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.inner(x).chunk(2, dim=-1)
        return self.out(value * functional.gelu(gate))


class Scaled(nn.Module):
    """A layer behind its normalisation, times a scale that begins small (Touvron 2021, of depths up to 18)."""

    def __init__(self, layer: nn.Module, width: int):
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(width), layer
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor, *given: Tensor) -> Tensor:
        return self.layer(self.norm(x), *given) * self.scale


class Transformer(nn.Module):
    """Tokens (b, length) that end in ``untrained.PADDING`` to the normalised output at the class token (b, width)."""

    def __init__(self, vocabulary: int, length: int, sizes: Sizes):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, sizes.width)
        self.class_token = nn.Parameter(torch.randn(sizes.width))
        self.attention = nn.ModuleList(Scaled(Attention(sizes), sizes.width) for _ in range(sizes.depth))
        self.feed_forward = nn.ModuleList(Scaled(FeedForward(sizes), sizes.width) for _ in range(sizes.depth))
        self.norm = nn.LayerNorm(sizes.width)
        self.register_buffer("absolute", sinusoids(length + 1, sizes.width), persistent=False)
        self.register_buffer("relative", sinusoids(length, sizes.head_width), persistent=False)

    def forward(self, tokens: Int[Tensor, "b length"]) -> Float[Tensor, "b width"]:
        tokens, real = untrained.cut(tokens)
        x = torch.cat([self.class_token.expand(len(tokens), 1, -1), self.tokens(tokens)], dim=1)
        first = second = x + self.absolute[: x.shape[1]]
        real = functional.pad(real, (1, 0), value=True)
        for attention, feed_forward in zip(self.attention, self.feed_forward, strict=True):
            first = first + attention(second, real, self.relative[: tokens.shape[1]])
            second = second + feed_forward(first)
        return self.norm(first[:, 0] + second[:, 0])


class Clasp(nn.Module):
    """Both transformers; they share the width of their outputs and nothing else."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.text = Transformer(untrained.VOCABULARY, sizes.text, sizes)
        self.sequence = Transformer(len(ALPHABET), sizes.sequence, sizes)


def load(sizes: Sizes = RELEASED, **how) -> EncoderPair:
    """CLASP with random weights, ``how`` as ``Drawn.of``; beyond 512 residues or 1024 byte pairs an input is cut."""
    drawn = untrained.Drawn.of(lambda: Clasp(sizes), **how)
    network = drawn.network.to(drawn.device, drawn.dtype)
    prepare = lambda sequences: untrained.padded(residues(sequences), sizes.sequence)  # noqa: E731
    sequence = {"modality": "amino acid", "prepare": prepare, "forward": network.sequence, "lengths": untrained.lengths}
    about = {"encoder": f"torch {torch.__version__.split('+')[0]}", "sizes": asdict(sizes), "alphabet": ALPHABET}
    return drawn.pair("CLASP", sizes.width, sequence, network.text, sizes.text, ends=False, **about)
