"""The cone in random networks: mean cosine by depth, from generators of their own by seed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from . import geometry
from .errors import UserError
from .numerics.arrays import as_count

QUICK_GELU_SLOPE = 1.702
"""OpenAI's CLIP: x * sigmoid(1.702 x)."""

OFF_SCALE = 20
"""Rows carried without a bias are brought back near 1 once their size is a factor 2**20 away from it."""


@dataclass(frozen=True)
class Activation:
    """A non-linearity on the pre-activations of a layer.

    Attributes:
        function: (h, scale) -> phi(scale h) / scale, where h is the list of pre-activations (n, d) of all pieces.
        pieces: how many pre-activations it takes, each with a weight matrix and a bias of its own.
        rescalable: whether ``function`` is exact for any scale, without an overflow or underflow.
    """

    function: Callable[[Sequence[Tensor], float], Tensor]
    pieces: int = 1
    rescalable: bool = False


PAPER_ACTIVATIONS = ("sigmoid", "relu", "leaky_relu", "tanh", "none")
"""Those of Figure 2 (b)."""

ACTIVATIONS = {
    "sigmoid": Activation(lambda h, _: torch.sigmoid(h[0])),
    "relu": Activation(lambda h, _: torch.relu(h[0]), rescalable=True),
    "leaky_relu": Activation(lambda h, _: torch.nn.functional.leaky_relu(h[0]), rescalable=True),
    "tanh": Activation(lambda h, _: torch.tanh(h[0])),
    "none": Activation(lambda h, _: h[0], rescalable=True),
    "gelu": Activation(lambda h, scale: h[0] * torch.special.ndtr(h[0] * scale), rescalable=True),
    "quick_gelu": Activation(lambda h, scale: h[0] * torch.sigmoid(h[0] * (QUICK_GELU_SLOPE * scale)), rescalable=True),
    "elu": Activation(lambda h, _: torch.nn.functional.elu(h[0])),
    "maxout": Activation(lambda h, _: torch.maximum(h[0], h[1]), pieces=2, rescalable=True),
}
"""By name. Maxout is the larger of two linear pieces, each with its own weights and bias."""


def activation_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """The names given, each once. "all" stands for all nine, "paper" for the five of Figure 2 (b)."""
    groups = {"all": tuple(ACTIVATIONS), "paper": PAPER_ACTIVATIONS}
    given = [names] if isinstance(names, str) else names
    found = tuple(dict.fromkeys(name for entry in given for name in groups.get(entry, (entry,))))
    unknown = [name for name in found if name not in ACTIVATIONS]
    if unknown or not found:
        what = f"activation {unknown[0]!r} is unknown" if unknown else "no activation given"
        raise UserError(f"{what}; choose from {', '.join(ACTIVATIONS)}, or all")
    return found


def draw_inputs(batch: int, width: int, seed: int) -> Float[Tensor, "batch width"]:
    """The inputs of one seed: independent N(0, 1) entries, float32, on the CPU."""
    return torch.from_numpy(_generator(seed, 0, 0).standard_normal((batch, width), dtype=np.float32))


def draw_layer(width: int, seed: int, layer: int, piece: int = 0) -> tuple[Tensor, Tensor]:
    """Weights (width, width) and biases (width,) of one layer: independent N(0, 1/width) entries, float32, on the CPU.

    Each (seed, layer, piece) has a stream of its own, so a deeper run begins with the shallower one.
    """
    normals = _generator(seed, layer, piece).standard_normal((width + 1, width), dtype=np.float32)
    normals *= width**-0.5
    return torch.from_numpy(normals[:width]), torch.from_numpy(normals[width])


def _generator(seed: int, layer: int, piece: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(layer, piece)))


def mean_cosine_by_depth(
    activations: str | Sequence[str] = "paper",
    biases: Sequence[bool] = (True, False),
    *,
    layers: int = 25,
    width: int = 512,
    batch: int = 1024,
    seed: int = 0,
    device: str = "cpu",
) -> dict[tuple[str, bool], Float[np.ndarray, "depths"]]:
    """Mean cosine of random inputs after each layer of random networks, one for each activation and use of a bias.

    Args:
        activations: names in ``ACTIVATIONS``, "paper" or "all".
        biases: True for networks with biases, False for those without, or both.
        layers, width: number of layers L, each with fresh weights and biases N(0, 1/width); width of all.
        batch: number of inputs N(0, I), at least 2.
        seed: all networks of one seed share its inputs, weights and biases (common random numbers): their
            differences are those of the activation and of the bias, and are less noisy than the values.
        device: where the products run; the draws are the same on all.

    Returns:
        (activation, bias) -> float64 array (L + 1,): mean over all pairs of different inputs, first before any layer.

    Paper: Figure 2 (b), which includes self-pairs (``with_self_pairs``) and shows one seed. Without a bias, ReLU,
    GELU and quick GELU shrink the rows by up to one half in every layer. A cosine knows no scale, so the rows are
    then carried divided by a power of two, which costs no rounding, and the activation is told: phi(s h) / s. This is
    exact at any depth, in float32. With a bias its own variance keeps the rows in range.
    """
    names = activation_names(activations)
    for value, name, least in ((layers, "layers", 1), (width, "width", 1), (batch, "batch", 2), (seed, "seed", 0)):
        as_count(value, name, least)
    inputs = draw_inputs(batch, width, seed).to(device)
    start = geometry.mean_cosine(inputs)
    networks = [_Network(name, bool(bias), inputs, start) for name in names for bias in dict.fromkeys(biases)]
    pieces = max(ACTIVATIONS[name].pieces for name in names)
    for layer in range(1, layers + 1):
        drawn = [draw_layer(width, seed, layer, piece) for piece in range(pieces)]
        drawn = [(weights.to(device), bias.to(device)) for weights, bias in drawn]
        for network in networks:
            network.step(drawn)
    return {(network.name, network.bias): np.array(network.means) for network in networks}


class _Network:
    """The rows on their way through one network, divided by 2**exponent, and their mean cosine at each depth."""

    def __init__(self, name: str, bias: bool, inputs: Tensor, mean_cosine: float):
        self.name, self.bias, self.rows, self.exponent = name, bias, inputs, 0
        self.means = [mean_cosine]

    def step(self, drawn: Sequence[tuple[Tensor, Tensor]]) -> None:
        """One layer further."""
        activation = ACTIVATIONS[self.name]
        h = [
            torch.addmm(bias, self.rows, weights.T) if self.bias else self.rows @ weights.T
            for weights, bias in drawn[: activation.pieces]
        ]
        self.rows = activation.function(h, math.ldexp(1.0, self.exponent))
        try:
            self.means.append(geometry.mean_cosine(self.rows))
        except UserError as error:
            what = f"{self.name} {'with' if self.bias else 'without'} bias, layer {len(self.means)}"
            raise UserError(f"{what}: an output has no direction ({error}); choose a larger width") from error
        if activation.rescalable and not self.bias:
            self._rescale()

    def _rescale(self) -> None:
        size = math.frexp(float(self.rows[0].abs().amax()))[1]
        if abs(size) > OFF_SCALE:
            self.rows, self.exponent = self.rows * math.ldexp(1.0, -size), self.exponent + size


def with_self_pairs(mean_cosine, n: int):
    """The mean cosine over all pairs of n rows, self-pairs included, from that over different rows, number or array.

    Paper: Figure 2 (b) as released. Larger by (1 - mean)/n: 0.001 for 1024 unrelated rows.
    """
    return mean_cosine + (1 - mean_cosine) / n
