"""The layers of the released "no bias" experiment of Figure 2 (b), which have PyTorch's biases.

Only "linear", and the second layer of "linear+relu+linear", have none. The others have the bias that PyTorch gives a
linear layer, uniform on +-1/sqrt(width): a third of the variance of Figure 2 (b).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, linear

import random_networks
from util import geometry

Drawn = tuple[Tensor, Tensor]
"""Weights (width, width) and biases (width,) of one layer."""

LAYERS: dict[str, Callable[[Tensor, Drawn, Drawn], Tensor]] = {
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


def draw(width: int, seed: int, layer: int, piece: int) -> Drawn:
    """``random_networks.draw_layer`` with PyTorch's biases: the same normals, carried to the uniform distribution."""
    weights, normal = random_networks.draw_layer(width, seed, layer, piece)
    return weights, (2 * torch.special.ndtr(normal * width**0.5) - 1) * width**-0.5


def mean_cosine_by_depth(*, layers: int, width: int, batch: int, seed: int, device: str) -> dict[str, list[float]]:
    """Mean cosine over pairs of different inputs after 0, 1, ... ``layers`` of each kind of layer.

    The inputs and weights are those of ``random_networks.mean_cosine_by_depth`` for the same seed.
    """
    inputs = random_networks.draw_inputs(batch, width, seed).to(device)
    rows, means = dict.fromkeys(LAYERS, inputs), {name: [geometry.mean_cosine(inputs)] for name in LAYERS}
    for layer in range(1, layers + 1):
        one, two = ([part.to(device) for part in draw(width, seed, layer, piece)] for piece in (0, 1))
        for name, function in LAYERS.items():
            rows[name] = function(rows[name], one, two)
            means[name].append(geometry.mean_cosine(rows[name]))
    return means
