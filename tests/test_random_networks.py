"""Random networks: networks against float64, common random numbers, hundreds of layers."""

import numpy as np
import pytest
import torch

import random_networks
import reference
from refusals import refuses

DIRECT = {
    "sigmoid": lambda h: 1 / (1 + np.exp(-h)),
    "relu": lambda h: h * (h > 0),
    "leaky_relu": lambda h: np.where(h > 0, h, 0.01 * h),
    "tanh": np.tanh,
    "none": lambda h: h,
}


pytestmark = pytest.mark.usefixtures("one_thread")


def forward(activation, bias, layers, width, batch, seed):
    """Mean cosine after every layer, in float64, over all pairs."""
    x = random_networks.draw_inputs(batch, width, seed).double().numpy()
    means = [reference.cosines(x).mean()]
    for layer in range(1, layers + 1):
        w, b = (part.double().numpy() for part in random_networks.draw_layer(width, seed, layer))
        x = DIRECT[activation](x @ w.T + b * bias)
        means.append(reference.cosines(x).mean())
    return np.array(means)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", list(random_networks.ACTIVATIONS))
def test_the_networks_are_the_float64_ones(name, bias):
    found = random_networks.mean_cosine_by_depth([name], (bias,), layers=6, width=40, batch=30, seed=5)[name, bias]
    assert found == pytest.approx(forward(name, bias, 6, 40, 30, 5), abs=2e-6)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "none"])
def test_rows_that_shrink_for_hundreds_of_layers_keep_their_cosines(name):
    """Rows of ReLU are 2**-160 of their size at the end, out of the range of float32; float64 holds them."""
    found = random_networks.mean_cosine_by_depth([name], (False,), layers=320, width=32, batch=12, seed=1)[name, False]
    assert found == pytest.approx(forward(name, False, 320, 32, 12, 1), abs=2e-4)


def test_one_seed_shares_its_draws_whatever_is_measured():
    options = {"width": 24, "batch": 20}
    everything, other = (random_networks.mean_cosine_by_depth(layers=4, seed=seed, **options) for seed in (3, 1))
    for name, bias in (("relu", True), ("tanh", False)):
        alone = random_networks.mean_cosine_by_depth([name], (bias,), layers=2, seed=3, **options)[name, bias]
        assert alone.tolist() == everything[name, bias][:3].tolist()
        assert not np.isclose(alone, other[name, bias][:3]).any()
    assert len({values[0] for values in everything.values()}) == 1


def test_weights_and_biases_have_variance_one_over_width():
    weights, bias = random_networks.draw_layer(400, 0, 1)
    assert weights.shape == (400, 400) and bias.shape == (400,) and weights.dtype == torch.float32
    assert float(weights.var()) * 400 == pytest.approx(1, abs=0.02)
    assert float(bias.var()) * 400 == pytest.approx(1, abs=0.3)
    assert float(random_networks.draw_inputs(300, 400, 0).std()) == pytest.approx(1, abs=0.02)
    streams = [random_networks.draw_layer(8, *key)[0][0, 0].item() for key in ((0, 1), (0, 2), (1, 1), (0, 1, 1))]
    assert len(set(streams)) == 4


def test_self_pairs_are_those_of_the_full_matrix(rng):
    x = reference.cone(rng, 50, 8)
    unit = reference.unit(x)
    ours = random_networks.with_self_pairs(reference.cosines(x).mean(), 50)
    assert ours == pytest.approx((unit @ unit.T).mean(), abs=1e-12)
    assert random_networks.with_self_pairs(np.array([0.0, 1.0]), 4).tolist() == [0.25, 1.0]


def small(**options):
    return random_networks.mean_cosine_by_depth(**{"layers": 2, "width": 16, "batch": 8, **options})


test_what_makes_no_sense_is_refused_in_one_line = refuses(
    (lambda: small(activations=()), "no activation given"),
    (lambda: small(layers=0), "layers must be"),
    (lambda: small(width=0), "width must be"),
    (lambda: small(batch=1), "batch must be"),
    (lambda: small(seed=-1), "seed must be"),
    (lambda: small(activations=["relu"], width=1, batch=20), r"\('relu', True\), layer 1: no direction"),
)
