"""CLASP, amino-acid sequences and texts: the architecture, with random weights; its trained panel is the published one.

Two transformers of one kind, one that reads text and one that reads a protein's residues; each puts a class token
before its input and is read there. Source: github.com/MicPie/clasp, whose released run has 768 dimensions and depth
12 (``notebooks/inference_introduction.ipynb``). As there, the layers are reversible, which with the same weights is
another function than a plain residual network: two streams begin equal, attention reads the second and adds to the
first, the feed-forward layer reads the first and adds to the second, and their sum is read.

Not as there: padding is masked and rotary positions are used in every layer. The released code makes both, and one
stored version of it does not hand them to its layers. A sequence that is too long is cut at its end, where the
released code takes a random window.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from util.cli import Device
from util.encoders.tower import EncoderPair, Precision, Tower, checked_device, resolve_precision, uniform_tokens

from . import byte_pairs
from .proteins import ALPHABET


@dataclass(frozen=True)
class Sizes:
    """CLASP's own unless said otherwise.

    Attributes:
        width: of the tokens, and of the embeddings.
        depth: layers of each transformer.
        heads, head_width: of attention.
        mlp: width of the feed-forward layer, in widths of a token.
        text, sequence: the longest text in byte pairs, the longest sequence in residues.
    """

    width: int = 768
    depth: int = 12
    heads: int = 8
    head_width: int = 64
    mlp: int = 4
    text: int = 1024
    sequence: int = 512


def sinusoids(length: int, width: int) -> Float[Tensor, "length width"]:
    """Sines, then cosines, of the position times width / 2 frequencies from 1 down to almost 1 / 10,000."""
    frequencies = 10_000.0 ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def rotated(x: Float[Tensor, "*b length width"], positions: Float[Tensor, "length width"]) -> Tensor:
    """Neighbouring dimensions turned, as pairs, by the angle of their position: norms stay (Su et al. 2021).

    Args:
        x: queries or keys of one head.
        positions: as ``sinusoids`` gives them for these places.
    """
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
    """A layer behind its normalisation, times a scale for each dimension that begins small (Touvron et al. 2021).

    Args:
        layer: what is scaled.
        width: dimensions.
        depth: which layer it is, from 1; deeper ones begin smaller.
    """

    def __init__(self, layer: nn.Module, width: int, depth: int):
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(width), layer
        self.scale = nn.Parameter(torch.full((width,), first_scale(depth)))

    def forward(self, x: Tensor, *given: Tensor) -> Tensor:
        return self.layer(self.norm(x), *given) * self.scale


def first_scale(depth: int) -> float:
    """What the scale of layer number ``depth``, counted from 1, begins at."""
    return 0.1 if depth <= 18 else 1e-5 if depth <= 24 else 1e-6


class Transformer(nn.Module):
    """Tokens (b, length) that end in ``byte_pairs.PADDING`` to the normalised output at the class token (b, width).

    Args:
        vocabulary: token numbers are below it.
        length: the longest input.
        sizes: of its layers.
    """

    def __init__(self, vocabulary: int, length: int, sizes: Sizes):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, sizes.width)
        self.class_token = nn.Parameter(torch.randn(sizes.width))
        self.attention = nn.ModuleList(Scaled(Attention(sizes), sizes.width, i + 1) for i in range(sizes.depth))
        self.feed_forward = nn.ModuleList(Scaled(FeedForward(sizes), sizes.width, i + 1) for i in range(sizes.depth))
        self.norm = nn.LayerNorm(sizes.width)
        self.register_buffer("absolute", sinusoids(length + 1, sizes.width), persistent=False)
        self.register_buffer("relative", sinusoids(length, sizes.head_width), persistent=False)

    def forward(self, tokens: Int[Tensor, "b length"]) -> Float[Tensor, "b width"]:
        tokens, real = byte_pairs.cut(tokens)
        x, real = self._embedded(tokens), functional.pad(real, (1, 0), value=True)
        first = second = x
        for attention, feed_forward in zip(self.attention, self.feed_forward, strict=True):
            first = first + attention(second, real, self.relative[: tokens.shape[1]])
            second = second + feed_forward(first)
        return self.norm(first[:, 0] + second[:, 0])

    def _embedded(self, tokens: Int[Tensor, "b length"]) -> Float[Tensor, "b one_more width"]:
        first = self.class_token.expand(len(tokens), 1, -1)
        x = torch.cat([first, self.tokens(tokens)], dim=1)
        return x + self.absolute[: x.shape[1]]


class Clasp(nn.Module):
    """Both transformers; they share the width of their outputs and nothing else."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.text = Transformer(byte_pairs.VOCABULARY, sizes.text, sizes)
        self.sequence = Transformer(len(ALPHABET), sizes.sequence, sizes)


def residues(sequences: Sequence[str], length: int) -> Int[Tensor, "n length"]:
    """Amino-acid letters as their places in ``ALPHABET``, a letter that is not there as the last; then padding."""
    place = {letter: i for i, letter in enumerate(ALPHABET)}
    rows = [[place.get(letter, len(ALPHABET) - 1) for letter in sequence[:length].upper()] for sequence in sequences]
    return byte_pairs.padded(rows, length)


def load(
    seed: int = 0, device: Device = "auto", precision: Precision = "float32", sizes: Sizes | None = None
) -> EncoderPair:
    """CLASP with random weights; needs no download.

    A sequence is a string of amino-acid letters. What is longer than 512 residues, or a text than 1024 byte pairs, is
    cut there.

    Args:
        seed: the same seed gives the same weights whatever was drawn before, and nothing else is disturbed.
        device: "auto" takes a GPU where there is one.
        precision: of weights and activations; "auto": bfloat16 where the hardware has it.
        sizes: smaller ones for tests; None: CLASP's.

    Raises:
        UserError: an unknown device or precision.
    """
    sizes, target = sizes or Sizes(), checked_device(device)
    dtype = resolve_precision(precision, target)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = Clasp(sizes).eval().requires_grad_(False)
    network.to(target, dtype)
    settings = {
        "encoder": f"CLASP's architecture, torch {torch.__version__.split('+')[0]}",
        "model": "CLASP",
        "pretrained": None,
        "seed": seed,
        "sizes": asdict(sizes),
        "dim": sizes.width,
        "alphabet": ALPHABET,
        "tokenizer": {**byte_pairs.ABOUT, "reading": "true length, masked"},
        "dtype": str(dtype).removeprefix("torch."),
        "device": target.type,
    }
    return EncoderPair(f"CLASP random weights, seed {seed}", *_towers(network, sizes, settings), settings, network)


def _towers(network: Clasp, sizes: Sizes, settings: dict) -> tuple[Tower, Tower]:
    """Of sequences and of text."""
    shared = {"name": "CLASP", "weights": "random", "width": sizes.width, "lengths": byte_pairs.lengths}
    shared["device"] = network.text.class_token.device
    sequence = Tower(
        modality="amino acid",
        prepare=lambda sequences: residues(sequences, sizes.sequence),
        forward=network.sequence,
        noise=uniform_tokens(len(ALPHABET), sizes.sequence),
        settings={**settings, "modality": "amino acid"},
        **shared,
    )
    text = Tower(
        modality="text",
        prepare=lambda texts: byte_pairs.tokens(texts, sizes.text, ends=False),
        forward=network.text,
        noise=uniform_tokens(byte_pairs.VOCABULARY, sizes.text),
        settings={**settings, "modality": "text"},
        **shared,
    )
    return sequence, text
