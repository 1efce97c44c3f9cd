"""Numbers of arrays: items, reductions, intervals and tests, by hand, against scipy's own and by simulation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import reference
from gap_figure import svd_coordinates, tsne_coordinates
from refusals import refuses
from util.numerics import statistics
from util.numerics.items import batches, copies, items, matched
from util.numerics.reduction import joint_pca, umap_coordinates


def test_the_prediction_interval_of_two_values_by_hand():
    """Mean 1, s = sqrt(2), t(0.975, 1) = 12.7062: half width 12.7062 sqrt(2) sqrt(1.5)."""
    low, high = statistics.prediction_interval([0.0, 2.0])
    assert (low, high) == pytest.approx((1 - 12.7062 * math.sqrt(3), 1 + 12.7062 * math.sqrt(3)), rel=1e-5)
    assert statistics.prediction_interval([3.0, 3.0, 3.0]) == (3.0, 3.0)


def test_the_jackknife_of_a_mean_is_students_interval(rng):
    x = rng.normal(size=9)
    left_out = (x.sum() - x) / 8
    expected = stats.t.interval(0.95, 8, loc=x.mean(), scale=x.std(ddof=1) / 3)
    assert statistics.jackknife_interval(x.mean(), left_out) == pytest.approx(expected)


@given(st.integers(1, 10**5), st.floats(0, 1), st.sampled_from([0.8, 0.95]))
def test_wilson_limits_are_where_the_score_test_just_rejects(n, fraction, level):
    """Both limits p solve (hits/n - p)^2 = z^2 p (1 - p) / n."""
    hits, z = round(fraction * n), stats.norm.ppf((1 + level) / 2)
    for limit in statistics.wilson_interval(hits, n, level):
        assert (hits / n - limit) ** 2 == pytest.approx(z**2 * limit * (1 - limit) / n, abs=1e-12)
    assert statistics.wilson_interval(0, n)[0] == 0 and statistics.wilson_interval(n, n)[1] == 1


def test_arrays_give_what_their_entries_give():
    """A share of nobody has no interval, a NaN is no test. Holm: times 3, 2, 1, never falling, at most 1."""
    hits, n = np.array([[3, 0], [7, 0]]), np.array([9, 0])
    low, high = statistics.wilson_interval(hits, n)
    assert (low[1, 0], high[1, 0]) == statistics.wilson_interval(7, 9)
    assert low.shape == high.shape == (2, 2) and np.isnan(low[:, 1]).all() and np.isnan(high[:, 1]).all()
    found = statistics.mcnemar(hits, 2 + 0 * hits)
    assert found.shape == (2, 2) and found[1, 0] == statistics.mcnemar(7, 2)
    rows = statistics.holm(np.array([[0.01, 0.04, 0.03], [0.2, math.nan, 0.5], [0.5, 0.9, math.nan]]))
    assert rows == pytest.approx(np.array([[0.03, 0.06, 0.06], [0.4, math.nan, 0.5], [1, 1, math.nan]]), nan_ok=True)


def test_mcnemar_is_a_coin_for_every_item_that_changed():
    """5 gained, 1 lost: 2 (1 + 6) / 64."""
    assert statistics.mcnemar(5, 1) == statistics.mcnemar(1, 5) == pytest.approx(14 / 64)
    assert statistics.mcnemar(0, 0) == statistics.mcnemar(3, 3) == 1
    assert statistics.mcnemar(18, 0) == pytest.approx(2 / 2**18)


@pytest.mark.parametrize(
    "net, n, alpha",
    [(18, 200, 0.05), (7, 61, 0.05), (9, 9, 0.01), (20, 300, 0.001), (0, 50, 0.05), (5, 50, 0.05), (6, 50, 0.05)],
)
def test_the_most_discordant_items_are_found_as_by_trying_all(net, n, alpha):
    """Five gains are never significant: 2/32 is above 0.05. Six are: 2/64 is below."""
    tried = [m for m in range(net, n + 1, 2) if statistics.mcnemar((m + net) // 2, (m - net) // 2) < alpha]
    assert statistics.most_discordant(net, n, alpha) == max(tried, default=0)
    assert bool(tried) == (net > 5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p_values, alpha):
    rejected, left = set(), len(p_values)
    for i in sorted(range(len(p_values)), key=p_values.__getitem__):
        if p_values[i] * left > alpha:
            break
        rejected, left = rejected | {i}, left - 1
    assert {i for i, p in enumerate(statistics.holm(p_values)) if p <= alpha} == rejected


def test_the_combined_p_value_by_hand_and_at_its_worst():
    """Of 4 the third, of 3 the largest. In one case of twenty 8 of 10 are small together: that is the level."""
    assert statistics.combined_p_value([0.9, 0.03, 0.1, 0.2]) == pytest.approx(0.2 * 4 / 3)
    assert statistics.combined_p_value([0.3, 0.01, 0.2]) == 0.3 and statistics.combined_p_value([0.01, 0.5]) == 0.5
    assert statistics.combined_p_value([0.9, 0.02, 0.1, 0.2], share=0.5) == pytest.approx(0.2)
    p = np.full((1000, 10), 0.5)
    for case in range(50):
        p[case, np.arange(10) // 2 != case // 10] = 0.04
    assert (np.mean(p <= 0.04, axis=0) <= 0.04).all()
    assert np.mean([statistics.combined_p_value(row) <= 0.05 + 1e-12 for row in p]) == 0.05


@pytest.mark.parametrize("sizes", [7, np.array([4, 0, 2, 1])])
def test_every_resample_draws_as_many_items_as_there_are(sizes, monkeypatch):
    monkeypatch.setattr(statistics, "COUNTS_PER_BLOCK", 30)
    blocks = list(statistics.bootstrap_counts(sizes, 41, 3))
    counts = np.concatenate(blocks)
    assert len(blocks) > 5 and counts.shape == (41, np.size(sizes) if np.ndim(sizes) else 7)
    assert (counts.sum(1) == 7).all() and counts.min() >= 0 and len(np.unique(counts, axis=0)) > 10
    again = np.concatenate(list(statistics.bootstrap_counts(sizes, 41, 3)))
    other = np.concatenate(list(statistics.bootstrap_counts(sizes, 41, 4)))
    assert (counts == again).all() and (counts != other).any()


def test_groups_of_alike_items_are_drawn_as_often_as_their_items():
    """Means n p and variances n p (1 - p), from items and from groups, within five standard errors."""
    sizes, draws = np.array([1, 3, 0, 8]), 20_000
    by_item, by_group = (np.concatenate(list(statistics.bootstrap_counts(what, draws, 0))) for what in (12, sizes))
    p = sizes[[0, 1, 3]] / 12
    variance = 12 * p * (1 - p)
    for counts in (np.add.reduceat(by_item, [0, 1, 4], axis=1), by_group[:, [0, 1, 3]]):
        assert (np.abs(counts.mean(0) - 12 * p) < 5 * np.sqrt(variance / draws)).all()
        assert counts.var(0) == pytest.approx(variance, rel=0.08)
    assert not by_group[:, 2].any()


test_what_makes_no_sense_is_refused = refuses(
    (lambda: statistics.prediction_interval([1.0]), "at least two"),
    (lambda: statistics.prediction_interval([1.0, math.nan]), "finite"),
    (lambda: statistics.prediction_interval([1.0, 2.0], confidence=1), "between 0 and 1"),
    (lambda: statistics.jackknife_interval(1.0, [1.0]), "at least two"),
    (lambda: statistics.wilson_interval(3, 2), "hits <= n"),
    (lambda: statistics.wilson_interval(1.5, 2), "hits must be whole numbers"),
    (lambda: statistics.wilson_interval(1, 2, 95), "level must be between 0 and 1"),
    (lambda: statistics.mcnemar(-1, 2), "gained must be whole numbers of at least 0"),
    (lambda: statistics.most_discordant(5, 4), "net gain of 5 items needs at least as many; there are 4"),
    (lambda: statistics.holm([0.1, 1.1]), "one or more numbers in"),
    (lambda: statistics.combined_p_value([0.1, math.nan]), "one or more numbers in"),
    (lambda: statistics.combined_p_value([0.1], 1), "share must be between 0 and 1"),
    (lambda: next(statistics.bootstrap_counts(0, 5, 0)), "at least one item"),
    (lambda: next(statistics.bootstrap_counts(3, 0, 0)), "resamples must be a whole number of at least 1"),
)


def first_equal(rows):
    return [next(j for j in range(k + 1) if (rows[j] == rows[k]).all()) for k in range(len(rows))]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_items_are_the_first_equal_row(rng, dtype):
    rows = (10 * rng.normal(size=(300, 3))).astype(dtype)[rng.integers(0, 300, 600)]
    rows[7], rows[500] = 0, -np.zeros(3)
    expected = first_equal(rows)
    assert len(set(expected)) < 300 and expected[500] == 7
    for same in (rows, np.asfortranarray(rows), torch.tensor(rows)):
        assert items(same).tolist() == expected
    tensor = torch.tensor(rows).bfloat16()
    assert items(tensor).tolist() == first_equal(tensor.double().numpy())


def test_a_copy_has_the_partners_of_all_its_copies(rng):
    x, y = reference.pairs(rng, 5, 4)
    x, y = x[[0, 1, 0, 2, 3]], y[[0, 1, 2, 2, 4]]
    found = matched(x, y, np.array([[0, 0], [2, 1], [1, 2], [3, 3], [1, 3]]))
    assert found.first.tolist() == [0, 1, 3] and found.second.tolist() == [0, 1, 2]
    assert found.pairs.tolist() == [[0, 0], [0, 1], [1, 2], [2, 2]]
    first, second = found.groups
    assert first[1] == first[2] == second[2] != first[0] and first[0] == second[0] == second[1]
    assert found.items[0].tolist() == [0, 1, 0, 3, 4]
    assert copies({"image": x, "text": y}) == {"image": 1, "text": 1}


def test_batches_without_equal_rows_are_of_neighbours(rng):
    x, y = reference.pairs(rng, 11, 4)
    assert batches(x, y, 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]] and batches(x, y).tolist() == [list(range(11))]
    assert copies({"image": x}) == {"image": 0}


def test_a_pair_that_has_to_wait_comes_first_in_the_next_batch(rng):
    x, y = reference.pairs(rng, 6, 4)
    x, y = x[[0, 0, 1, 2, 0, 3]], y[[0, 1, 2, 3, 4, 3]]
    assert batches(x, y, 2).tolist() == [[0, 2], [1, 3], [4, 5]]
    assert batches(x, y, 3).tolist() == [[0, 2, 3]] and batches(x, y).tolist() == [[0, 2, 3]]


@pytest.mark.parametrize("n", [100, 4])
def test_pca_agrees_with_the_singular_values_and_its_signs_are_fixed(rng, n):
    x, y = reference.pairs(rng, n, 12)
    pca = joint_pca([x, y], components=3)
    rows = np.concatenate([x, y]).astype(np.float64)
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
    assert pca.explained_variance_ratio_ == pytest.approx(values[:3] / values.sum(), rel=1e-6)
    assert pca.components_ @ pca.components_.T == pytest.approx(np.eye(3), abs=1e-9)
    assert (pca.components_[np.arange(3), np.abs(pca.components_).argmax(1)] > 0).all()


def test_singular_vectors_subtract_nothing(rng):
    rows = rng.normal(size=(30, 5)) + 9
    found = svd_coordinates(rows)
    _, _, vt = np.linalg.svd(rows)
    assert np.abs(found) == pytest.approx(np.abs(rows @ vt[:2].T))
    assert np.abs(found[:, 0]).min() > 15  # the mean is still there
    assert np.array_equal(found, svd_coordinates(rows.copy()))


@pytest.mark.parametrize("n", [2, 60])
def test_tsne_keeps_two_clouds_apart_and_is_fixed_by_its_seed(n):
    rows = np.random.default_rng(n).normal(size=(2 * n, 9)) + 20 * np.repeat([[0], [1]], n, 0)
    found = tsne_coordinates(rows, seed=1)
    first, last = found[:n], found[n:]
    between = np.linalg.norm(first[:, None] - last, axis=2)
    assert found.shape == (2 * n, 2) and np.array_equal(found, tsne_coordinates(rows, seed=1))
    assert n == 2 or between.min() > np.median(np.linalg.norm(first[:, None] - first, axis=2))


test_too_many_components_are_refused = refuses(
    (lambda: joint_pca([np.eye(3), np.eye(3)], components=4), "components must be from 1 to 3"),
    (lambda: umap_coordinates(np.eye(3)), "at least 4 rows"),
    (lambda: svd_coordinates(np.ones((5, 1))), "two rows and columns or more"),
    (lambda: tsne_coordinates(np.eye(3)), r"t-SNE needs at least 4 rows and 2 columns, not \(3, 3\)"),
)
