"""The cone in random networks: mean cosine by depth, from generators of their own by seed."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from util import geometry
from util.errors import UserError
from util.numerics.arrays import as_count

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "tanh": torch.tanh,
    "none": lambda h: h,
}
"""Those of Figure 2 (b), by name."""

KEEP_A_SCALE = ("relu", "leaky_relu", "none")
"""Twice the input gives twice the output."""


def activation_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names given, each once."""
    found = tuple(dict.fromkeys(names))
    unknown = [name for name in found if name not in ACTIVATIONS]
    if unknown or not found:
        what = f"activation {unknown[0]!r} is unknown" if unknown else "no activation given"
        raise UserError(f"{what}; choose from {', '.join(ACTIVATIONS)}")
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
    activations: Sequence[str] = tuple(ACTIVATIONS),
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
        activations: names in ``ACTIVATIONS``.
        biases: True for networks with biases, False for those without, or both.
        layers, width: number of layers L, each with fresh weights and biases N(0, 1/width); width of all.
        batch: number of inputs N(0, I), at least 2.
        seed: all networks of one seed share its inputs, weights and biases (common random numbers): their
            differences are those of the activation and of the bias, and are less noisy than the values.
        device: where the products run; the draws are the same on all.

    Returns:
        (activation, bias) -> float64 array (L + 1,): mean over all pairs of different inputs, first before any layer.

    Paper: Figure 2 (b), which includes self-pairs (``with_self_pairs``) and shows one seed. Without a bias, ReLU makes
    the rows shorter in every layer. A cosine knows no scale, so such rows are divided by a power of two, which costs
    no rounding. This is exact at any depth, in float32. With a bias its own variance keeps the rows in range.
    """
    names = activation_names(activations)
    for value, name, least in ((layers, "layers", 1), (width, "width", 1), (batch, "batch", 2), (seed, "seed", 0)):
        as_count(value, name, least)
    inputs = draw_inputs(batch, width, seed).to(device)
    networks = [(name, bool(bias)) for name in names for bias in dict.fromkeys(biases)]
    rows, means = dict.fromkeys(networks, inputs), {key: [geometry.mean_cosine(inputs)] for key in networks}
    for layer in range(1, layers + 1):
        drawn = [part.to(device) for part in draw_layer(width, seed, layer)]
        for key in networks:
            rows[key] = _through(rows[key], *drawn, *key)
            try:
                means[key].append(geometry.mean_cosine(rows[key]))
            except UserError as error:
                what = f"{key[0]} {'with' if key[1] else 'without'} bias, layer {layer}"
                raise UserError(f"{what}: an output has no direction ({error}); choose a larger width") from error
    return {key: np.array(values) for key, values in means.items()}


def _through(rows: Tensor, weights: Tensor, biases: Tensor, activation: str, bias: bool) -> Tensor:
    """Rows after one layer, brought back near 1 where its scale is all that changes."""
    h = torch.addmm(biases, rows, weights.T) if bias else rows @ weights.T
    rows = ACTIVATIONS[activation](h)
    if bias or activation not in KEEP_A_SCALE:
        return rows
    return rows * math.ldexp(1.0, -math.frexp(float(rows.abs().amax()))[1])


def with_self_pairs(mean_cosine, n: int):
    """The mean cosine over all pairs of n rows, self-pairs included, from that over different rows, number or array.

    Paper: Figure 2 (b) as released. Larger by (1 - mean)/n: 0.001 for 1024 unrelated rows.
    """
    return mean_cosine + (1 - mean_cosine) / n
