"""What is measured on a sample of rows: separability, matched cosines beside unmatched ones, uniformity."""

import numpy as np
import pytest

import reference
from refusals import refuses
from util import samples
from util.samples import sample, scores, separability, uniformity


def test_modalities_on_two_sides_of_a_plane_are_separable(rng):
    x, y = reference.pairs(rng, 60, 8, gap=3.0)
    assert separability(x, y) == 1.0
    assert separability(np.eye(2) + 1, -np.eye(2) - 1) == 1.0, "two rows of each are enough"


@pytest.mark.parametrize(("n", "columns", "within"), [(400, 4, 0.08), (100, 400, 0.15)])
def test_mixed_modalities_are_not_even_with_columns_enough_to_fit_any_labels(n, columns, within):
    x, y = np.random.default_rng(3).normal(size=(2, n, columns))
    assert separability(x, y) == pytest.approx(0.5, abs=within)


def test_rows_centred_on_themselves_are_below_a_half_and_centred_by_others_are_not():
    """The means of rows held out and of rows fitted then lie on opposite sides of zero."""
    x, y = np.random.default_rng(0).normal(size=(2, 400, 64)) + np.eye(2, 64)[:, None] * 8
    assert separability(x, y) == 1
    assert separability(x - x.mean(0), y - y.mean(0)) < 0.35
    assert separability(x[::2] - x[1::2].mean(0), y[::2] - y[1::2].mean(0)) > 0.45


def test_by_hand_on_a_line():
    """One point of five is on the other side, so it is taken for the other modality in whatever fold it is held out."""
    x = np.array([[1.0, 0.01], [1.0, -0.02], [1.0, 0.03], [1.0, 0.0], [-1.0, 0.02]])
    y = np.array([[-1.0, 0.01], [-1.0, 0.02], [-1.0, -0.01], [-1.0, 0.0], [-1.0, 0.03]])
    assert separability(x, y) == pytest.approx(9 / 10)


def test_the_scale_of_rows_does_not_matter_and_the_seed_fixes_the_folds(rng):
    x, y = reference.pairs(rng, 50, 6, gap=0.2)
    scale = rng.uniform(0.1, 9, (50, 1))
    assert separability(x, y, seed=1) == separability(x * scale, y, seed=1)


WORDS = "separability needs as many rows of both, two at least"
test_unequal_or_too_few_rows_are_refused = refuses(
    (lambda: separability(np.eye(3), np.eye(3)[:2]), WORDS), (lambda: separability(np.eye(3)[:1], np.eye(3)[:1]), WORDS)
)


CAPTIONS, PROMPTS = [(i // 5, i) for i in range(100)], [(i, i % 3) for i in range(30)]  # five each, three for all


@pytest.mark.parametrize(("counts", "pairs", "kept"), [((20, 100), CAPTIONS, 12), ((30, 3), PROMPTS, 3)])
def test_a_sample_of_pairs_holds_pairs_and_no_row_twice(counts, pairs, kept):
    first, last, paired = sample(counts, np.array(pairs), 12, seed=0)
    assert paired and len(first) == len(set(first)) == len(set(last)) == kept
    assert set(zip(first, last, strict=True)) <= set(pairs) and np.array_equal(first, np.sort(first))


@pytest.mark.parametrize(("counts", "pairs"), [((50, 7), None), ((5, 8), np.array([[0, i] for i in range(8)]))])
def test_a_sample_without_pairs_or_of_pairs_that_all_share_one_row_has_as_many_of_both(counts, pairs):
    for rows, count in zip((found := sample(counts, pairs, 100, seed=0))[:2], counts, strict=True):
        assert len(rows) == len(set(rows)) == min(counts) and rows.max() < count and not found[2]


def test_a_sample_is_fixed_by_its_seed_and_uniform():
    rows = np.tile(np.arange(40)[:, None], 2)
    assert np.array_equal(sample((40, 40), rows, 10, 3)[0], sample((40, 40), rows, 10, 3)[0])
    counts = sum(np.bincount(sample((40, 40), rows, 10, seed)[0], minlength=40) for seed in range(400))
    assert counts.sum() == 4000 and counts.min() > 60 and counts.max() < 140


@pytest.mark.parametrize("spread", [1, 1e-3, 1e-5])
def test_narrow_cones_are_separated_as_well_as_wide_ones(rng, spread):
    """Two clouds ten spreads apart: how narrow the cone is that holds both does not matter."""
    rows = rng.normal(size=(200, 6)) * spread
    rows[:, 0] += 10
    rows[:100, 1] += 10 * spread
    assert separability(rows[:100], rows[100:]) == 1.0


def at(*degrees):
    return np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], axis=1)


def test_scores_and_uniformity_by_hand():
    """Matched: cos 60 and 1. Unmatched: 0 and cos 30, of which one half lies below cos 60, and both below 1."""
    found = scores(3 * at(0, 90), at(60, 90), np.array([[0, 0], [1, 1]]))
    half = np.sqrt(3) / 4
    assert found == pytest.approx((0.25, half, half, 0.5))
    assert [uniformity(2 * at(0, other)) for other in (0, 90, 180)] == pytest.approx([0, -4, -8])
    assert scores(at(0), at(60), np.array([[0, 0]])) == (0, None, None, None)


def test_scores_and_uniformity_are_those_of_all_cosines_and_a_copy_is_unmatched_with_no_partner(rng, monkeypatch):
    monkeypatch.setattr(samples, "BLOCK", 7)
    x, y = reference.pairs(rng, 40, 8, dtype=np.float64)
    pairs = np.array([*([i, i] for i in range(40)), [3, 5]])
    cosines, own = x @ y.T, np.eye(40, dtype=bool)
    own[3, 5] = True
    above = (cosines[own] > np.quantile(cosines[~own], 0.95)).mean()
    right = cosines[own].std(), cosines[~own].mean(), cosines[~own].std(), above
    assert scores(x, y, pairs) == pytest.approx(right, abs=1e-12) and 0.2 < above < 1
    twice, of = np.concatenate([x, x[:9]]), np.concatenate([np.arange(40), np.arange(9)])
    assert scores(twice, y[of], np.tile(np.arange(49)[:, None], 2)) == scores(x, y, pairs[:40])
    far = 2 - 2 * reference.cosines(x)
    assert uniformity(x) == pytest.approx(np.log(np.exp(-2 * far).mean()))


def test_pairs_among_rows_that_were_chosen():
    pairs = np.array([[4, 1], [2, 7], [4, 7], [0, 1]])
    assert samples.among(pairs, np.array([2, 4]), np.array([7, 1])).tolist() == [[1, 1], [0, 0], [1, 0]]
