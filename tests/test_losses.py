"""Every loss beside plain loops in float64, its gradient beside finite differences, and what sets it apart."""

import math

import numpy as np
import pytest
import torch

from util.errors import UserError
from util.geometry import unit_rows
from util.training.losses import LOSSES, alignment, cross_uniformity, info_nce, uniformity

SCALE = 7.0


def rows(rng, n=6, d=4):
    return unit_rows(rng.normal(size=(n, d))), unit_rows(rng.normal(size=(n, d)))


def entropies(x, y, scale):
    """-log of the share of the matched row among the rows of y, for each row of x."""
    sums = [sum(math.exp(scale * float(a @ b)) for b in y) for a in x]
    return [math.log(total) - scale * float(a @ b) for total, a, b in zip(sums, x, y, strict=True)]


def kernel_mean(x, y, chosen):
    pairs = [(i, j) for i in range(len(x)) for j in range(len(y)) if chosen(i, j)]
    return math.log(sum(math.exp(-2 * squared_distance(x[i], y[j])) for i, j in pairs) / len(pairs))


def squared_distance(a, b):
    return sum((a[k] - b[k]) ** 2 for k in range(len(a)))


def by_hand(name, x, y, scale):
    nce = (np.mean(entropies(x, y, scale)) + np.mean(entropies(y, x, scale))) / 2
    uniform = (kernel_mean(x, x, lambda i, j: i < j) + kernel_mean(y, y, lambda i, j: i < j)) / 2
    aligned = np.mean([squared_distance(x[i], y[i]) for i in range(len(x))])
    return {
        "info_nce": nce,
        "alignment_uniformity": aligned + uniform,
        "cua": nce + uniform + aligned,
        "cuaxu": nce + uniform + aligned + kernel_mean(x, y, lambda i, j: i != j),
    }[name]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_a_loss_is_what_plain_loops_in_float64_give(name, noise, rng):
    x, y = rows(rng)
    y = unit_rows(x + noise * y)
    found = LOSSES[name](torch.from_numpy(x), torch.from_numpy(y), torch.tensor(SCALE, dtype=torch.float64))
    assert found.ndim == 0 and found.item() == pytest.approx(by_hand(name, x, y, SCALE), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_is_that_of_finite_differences(name, rng):
    x, y = (torch.from_numpy(part) for part in rows(rng))
    inputs = [part.requires_grad_() for part in (x, unit_rows(x.detach() + 0.5 * y))]
    scale = torch.tensor(SCALE, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LOSSES[name], (*inputs, scale), atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_does_not_change_when_modalities_swap_or_pairs_are_permuted_together(name, rng):
    x, y = (torch.from_numpy(part) for part in rows(rng))
    loss, order = LOSSES[name], torch.from_numpy(rng.permutation(6))
    first = loss(x, y, torch.tensor(SCALE)).item()
    assert loss(y, x, torch.tensor(SCALE)).item() == pytest.approx(first)
    assert loss(x[order], y[order], torch.tensor(SCALE)).item() == pytest.approx(first)


@pytest.mark.parametrize("name", LOSSES)
def test_equal_rows_give_finite_gradients(name):
    """A batch often has one caption twice; distances of 0 must not become NaN."""
    x = torch.ones(4, 3, dtype=torch.float64).div(math.sqrt(3)).requires_grad_()
    y = x.detach().clone().requires_grad_()
    LOSSES[name](x, y, torch.tensor(SCALE)).backward()
    assert all(part.grad is None or torch.isfinite(part.grad).all() for part in (x, y))


def test_infonce_uniformity_and_alignment_reach_their_bounds():
    same = torch.ones(5, 4) / 2
    assert info_nce(same, same, torch.tensor(SCALE)).item() == pytest.approx(math.log(5))
    there, opposite = torch.tensor([[1.0, 0.0]] * 2), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert uniformity(there).item() == 0 and uniformity(opposite).item() == pytest.approx(-8)
    assert alignment(there, -there).item() == 4 and alignment(there, there).item() == 0
    assert cross_uniformity(opposite, opposite).item() == pytest.approx(-8), "matched pairs are left out"


@pytest.mark.parametrize("name", ["alignment_uniformity", "cua", "cuaxu"])
def test_uniformity_of_one_pair_is_refused(name):
    with pytest.raises(UserError, match="at least 2 rows, not 1"):
        LOSSES[name](torch.ones(1, 1), torch.ones(1, 1), torch.tensor(SCALE))
