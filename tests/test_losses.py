"""The loss beside plain loops in float64, its gradient beside finite differences, and what it does not depend on."""

import math

import numpy as np
import pytest
import torch

from util.geometry import unit_rows
from util.training import info_nce

SCALE = torch.tensor(7.0, dtype=torch.float64)


def rows(rng, noise=0.5):
    x, y = (unit_rows(rng.normal(size=(6, 4))) for _ in range(2))
    return torch.from_numpy(x), torch.from_numpy(unit_rows(x + noise * y))


def entropies(x, y, scale):
    """-log of the share of the matched row among the rows of y, for each row of x."""
    sums = [sum(math.exp(scale * float(a @ b)) for b in y) for a in x]
    return [math.log(total) - scale * float(a @ b) for total, a, b in zip(sums, x, y, strict=True)]


@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_the_loss_is_what_plain_loops_in_float64_give(noise, rng):
    x, y = rows(rng, noise)
    found, scale = info_nce(x, y, SCALE), SCALE.item()
    expected = (np.mean(entropies(x, y, scale)) + np.mean(entropies(y, x, scale))) / 2
    assert found.ndim == 0 and found.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_its_gradient_is_that_of_finite_differences(rng):
    inputs = [part.requires_grad_() for part in (*rows(rng), SCALE.clone())]
    assert torch.autograd.gradcheck(info_nce, inputs, atol=1e-6, fast_mode=True)


def test_equal_rows_are_chance():
    same = torch.ones(5, 4) / 2
    assert info_nce(same, same, SCALE).item() == pytest.approx(math.log(5))
