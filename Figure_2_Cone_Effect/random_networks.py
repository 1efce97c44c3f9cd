"""Random networks of Figure 2 (b): mean cosine by depth, of the paper's layers and of its released "no bias" ones.

The released experiment has the bias that PyTorch gives a linear layer, uniform on +-1/sqrt(width): a third of the
variance of Figure 2 (b). Only "linear", and the second layer of "linear+relu+linear", have none.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import leaky_relu, linear

from util import UserError, geometry
from util.numerics.arrays import as_count

Drawn = tuple[Tensor, Tensor]
"""Weights (width, width) and biases (width,) of one layer."""
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "leaky_relu": leaky_relu,
    "tanh": torch.tanh,
    "none": lambda h: h,
}
"""Those of Figure 2 (b), by name."""
RELEASED: dict[str, Callable[[Tensor, Drawn, Drawn], Tensor]] = {
    "linear+sigmoid": lambda x, one, _: torch.sigmoid(linear(x, *one)),
    "linear+relu": lambda x, one, _: torch.relu(linear(x, *one)),
    "linear+leaky_relu": lambda x, one, _: leaky_relu(linear(x, *one)),
    "linear+maxout": lambda x, one, two: torch.maximum(linear(x, *one), linear(x, *two)),
    "linear+tanh": lambda x, one, _: torch.tanh(linear(x, *one)),
    "linear": lambda x, one, _: linear(x, one[0]),
    "linear+bias": lambda x, one, _: linear(x, *one),
    "relu+linear": lambda x, one, _: linear(torch.relu(x), *one),
    "linear+relu+linear": lambda x, one, two: torch.relu(linear(torch.relu(linear(x, *one)), two[0])),
}
"""By the notebook's names: rows (n, width) and two draws -> rows. The last ends in a ReLU that its name omits."""


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
    return torch.from_numpy(_normals(seed, 0, 0, (batch, width)))


def draw_layer(width: int, seed: int, layer: int, piece: int = 0) -> Drawn:
    """Weights (width, width) and biases (width,) of one layer: independent N(0, 1/width) entries, float32, on the CPU.

    Each (seed, layer, piece) has a stream of its own, so a deeper run begins with the shallower one.
    """
    normals = width**-0.5 * _normals(seed, layer, piece, (width + 1, width))
    return torch.from_numpy(normals[:width]), torch.from_numpy(normals[width])


def _normals(seed: int, layer: int, piece: int, shape: tuple[int, int]) -> np.ndarray:
    stream = np.random.SeedSequence(seed, spawn_key=(layer, piece))
    return np.random.default_rng(stream).standard_normal(shape, dtype=np.float32)


def draw_released(width: int, seed: int, layer: int, piece: int) -> Drawn:
    """``draw_layer`` with PyTorch's biases: the same normals, carried to the uniform distribution."""
    weights, normal = draw_layer(width, seed, layer, piece)
    return weights, (2 * torch.special.ndtr(normal * width**0.5) - 1) * width**-0.5


def mean_cosine_by_depth(
    activations: Sequence[str] = tuple(ACTIVATIONS), biases: Sequence[bool] = (True, False), **options
) -> dict[tuple[str, bool], Float[np.ndarray, "depths"]]:
    """Mean cosine of random inputs after each layer of random networks, one for each activation and use of a bias.

    Options are the number of ``layers`` L, each with fresh weights and biases N(0, 1/width), the ``width`` of all,
    ``batch`` inputs N(0, I), at least 2, ``device`` and ``seed``. All networks of one seed share its inputs, weights
    and biases: their differences are less noisy than the values. (activation, bias) -> float64 array (L + 1,): the mean
    over all pairs of different inputs, first before any layer.

    Paper: Figure 2 (b), which includes self-pairs (``with_self_pairs``) and shows one seed. Without a bias, ReLU makes
    the rows shorter in every layer. A cosine knows no scale, so such rows are divided by a power of two, which costs
    no rounding. This is exact at any depth, in float32. With a bias its own variance keeps the rows in range.
    """
    networks = {
        (name, bias): partial(_through, activation=name, bias=bias)
        for name in activation_names(activations)
        for bias in dict.fromkeys(map(bool, biases))
    }
    return _by_depth(networks, lambda *key: [draw_layer(*key)], **options)


def released_by_depth(**options) -> dict[str, Float[np.ndarray, "depths"]]:
    """The same of each kind of ``RELEASED`` layer, on the inputs and weights of the same seed."""
    return _by_depth(RELEASED, lambda *key: [draw_released(*key, piece) for piece in (0, 1)], **options)


def _by_depth(
    networks: Mapping[Hashable, Callable[..., Tensor]],
    draw: Callable[[int, int, int], Sequence[Drawn]],
    *,
    layers: int = 25,
    width: int = 512,
    batch: int = 1024,
    seed: int = 0,
    device: str = "cpu",
) -> dict:
    for value, name, least in ((layers, "layers", 1), (width, "width", 1), (batch, "batch", 2), (seed, "seed", 0)):
        as_count(value, name, least)
    inputs = draw_inputs(batch, width, seed).to(device)
    rows, means = dict.fromkeys(networks, inputs), {key: [geometry.mean_cosine(inputs)] for key in networks}
    for layer in range(1, layers + 1):
        drawn = [tuple(part.to(device) for part in each) for each in draw(width, seed, layer)]
        for key, function in networks.items():
            rows[key] = function(rows[key], *drawn)
            try:
                means[key].append(geometry.mean_cosine(rows[key]))
            except UserError as error:
                raise UserError(f"{key}, layer {layer}: no direction ({error}); choose a larger width") from error
    return {key: np.array(values) for key, values in means.items()}


def _through(rows: Tensor, drawn: Drawn, activation: str, bias: bool) -> Tensor:
    """Rows after one layer, brought back near 1 where its scale is all that changes."""
    weights, biases = drawn
    h = torch.addmm(biases, rows, weights.T) if bias else rows @ weights.T
    rows = ACTIVATIONS[activation](h)
    if bias or activation in ("sigmoid", "tanh"):  # of the others twice the input gives twice the output
        return rows
    return rows * math.ldexp(1.0, -math.frexp(float(rows.abs().amax()))[1])


def with_self_pairs(mean_cosine, n: int):
    """The mean cosine over all pairs of n rows, self-pairs included, from that over different rows, number or array.

    Paper: Figure 2 (b) as released. Larger by (1 - mean)/n: 0.001 for 1024 unrelated rows.
    """
    return mean_cosine + (1 - mean_cosine) / n
