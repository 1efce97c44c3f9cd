"""Variance explained by the seed: by hand, against all pairs, where the truth is known, and refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference
import seed_variance as variance
from refusals import refuses


def values(result):
    return [result.within_cosine, result.between_cosine, result.explained_by_seed, result.explained_by_item]


@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 4, 3), (3, 30, 2)])
def test_nearest_own_cone_is_counted_with_every_row_left_out_of_its_own_mean(rng, shape):
    h, hits = rng.normal(size=shape) + rng.normal(size=(shape[0], 1, shape[2])), 0
    unit = h / np.linalg.norm(h, axis=2, keepdims=True)
    for seed, item in np.ndindex(shape[:2]):
        means = [np.delete(unit[s], item, 0).sum(0) if s == seed else unit[s].sum(0) for s in range(shape[0])]
        cosines = [unit[seed, item] @ mean / np.linalg.norm(mean) for mean in means]
        hits += int(np.argmax(cosines)) == seed
    assert hits > 0 and variance.seed_variance(h).nearest_own_cone == pytest.approx(hits / np.prod(shape[:2]))
    assert variance.seed_variance(np.stack([h[0], h[0]])).nearest_own_cone < 0.5, "one cone"


def test_a_two_by_two_table_by_hand():
    """Seed means 1.5 and 4.5, item means 2 and 4, residuals 1/2: MS 9, 4, 1; components 4, 1.5, 1 of 6.5."""
    result = variance.seed_variance(np.array([[[1.0], [2.0]], [[3.0], [6.0]]]))
    assert values(result) == pytest.approx([1, 1, 4 / 6.5, 1.5 / 6.5])


@pytest.mark.parametrize("shape", [(2, 2, 1), (2, 7, 3), (6, 2, 5), (5, 9, 4), (3, 40, 64)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_closed_forms_are_the_definitions(rng, shape, dtype):
    h = (rng.normal(size=shape) + 2 * rng.normal(size=(shape[0], 1, shape[2])) + 3).astype(dtype)
    expected = reference.seed_variance(h)
    assert values(variance.seed_variance(h)) == pytest.approx(expected, abs=1e-9)
    assert values(variance.seed_variance(torch.from_numpy(h))) == pytest.approx(expected, abs=1e-9)
    assert variance.explained_fractions(h) == pytest.approx(expected[2:], abs=1e-9)


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.sampled_from([1e-160, 1.0, 1e150]))
def test_fractions_ignore_order_scale_rotation_and_a_shift_of_all_rows(seed, spread, scale):
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(4, 5, 3)) + spread * rng.normal(size=(4, 1, 3))
    turned = h @ np.linalg.qr(rng.normal(size=(3, 3)))[0] + rng.normal(size=3)
    moved = turned[rng.permutation(4)][:, rng.permutation(5)] * scale
    assert variance.explained_fractions(moved) == pytest.approx(variance.explained_fractions(h), abs=1e-6)


@pytest.mark.parametrize("by_seed, by_item", [(0.3, 0.2), (0.0, 0.0)])
def test_the_correction_is_right_where_the_shares_are_known(rng, by_seed, by_item):
    """The uncorrected variance of the seed means is too large by a fourth of the rest; nothing is clipped at zero."""
    ours, naive, rest = [], [], 1 - by_seed - by_item
    for _ in range(400):
        parts = ((by_seed, (6, 1, 20)), (by_item, (1, 4, 20)), (rest, (6, 4, 20)))
        h = sum(np.sqrt(share) * rng.normal(size=shape) for share, shape in parts)
        ours.append(variance.explained_fractions(h))
        naive.append(h.mean(1).var(0, ddof=1).sum() / h.reshape(24, 20).var(0, ddof=1).sum())
    error = 4 * np.std(ours, axis=0).max() / 20 + 0.005
    assert np.mean(ours, axis=0) == pytest.approx([by_seed, by_item], abs=error)
    assert np.mean(naive) > by_seed + 0.1 and (np.min(ours) < 0) == (by_seed == 0)


def test_leaving_out_a_seed_is_leaving_out_a_seed(rng):
    h = rng.normal(size=(5, 6, 4)) + rng.normal(size=(5, 1, 4)) + 10
    before = h.copy()
    expected = [variance.explained_fractions(np.delete(h, seed, axis=0))[0] for seed in range(5)]
    assert variance.seed_fractions_left_out(h) == pytest.approx(expected, abs=1e-10)
    variance.seed_variance(h)
    assert np.array_equal(h, before), "the input is left as it was"
    assert all(np.isfinite(variance.explained_fractions(ZERO))), "a zero row has no direction, and a variance"


H = np.random.default_rng(0).normal(size=(3, 4, 5))
FIRST = np.array([True, False, False]).reshape(3, 1, 1)
ZERO = H * (np.arange(12).reshape(3, 4, 1) < 11)

test_what_cannot_be_measured_is_refused = refuses(
    (lambda: variance.seed_variance(H[:1]), "at least 2 seeds"),
    (lambda: variance.seed_variance(H[:, :1]), "at least 2 rows"),
    (lambda: variance.seed_variance(H[0]), "seeds, items, width"),
    (lambda: variance.seed_variance(H.tolist()), "seeds, items, width"),
    (lambda: variance.seed_variance(np.where(FIRST, H, np.nan)), "of seed 1 holds a value that is not finite"),
    (lambda: variance.seed_variance(ZERO), "row 3 is zero"),
    (lambda: variance.seed_variance(np.ones_like(H)), "all alike"),
    (lambda: variance.seed_variance(H.astype(complex)), "real numbers"),
    (lambda: variance.explained_fractions(ZERO[:, :1]), "at least 2 rows"),
    (lambda: variance.seed_fractions_left_out(ZERO[:2]), "at least 3 seeds"),
)
