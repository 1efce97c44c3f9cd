import numpy as np
import pytest
import torch

import reference
from refusals import refuses
from util.geometry import cosine_statistics


def check_against_all_pairs(x, stats, tolerance=1e-6):
    exact = reference.cosines(x)
    span = exact.max() - exact.min()
    assert stats.n_pairs == len(exact) == stats.histogram.sum()
    assert [stats.mean, stats.std] == pytest.approx([exact.mean(), exact.std()], abs=tolerance)
    assert [stats.min, stats.max] == pytest.approx([exact.min(), exact.max()], abs=tolerance)
    quartiles = [stats.q25, stats.median, stats.q75]
    assert quartiles == pytest.approx(np.quantile(exact, [0.25, 0.5, 0.75]), abs=1e-3 * span + tolerance)
    if span > 0:
        assert stats.edges[[0, -1]] == pytest.approx([exact.min(), exact.max()], abs=tolerance)


def test_three_rows_by_hand():
    stats = cosine_statistics(np.array([[1.0, 0.0], [3.0, 3.0], [0.0, 2.0]]), bins=2)
    half = np.sqrt(0.5)
    assert [stats.min, stats.max, stats.mean] == pytest.approx([0, half, 2 * half / 3])
    assert stats.std == pytest.approx(np.std([0, half, half]))
    assert stats.histogram.tolist() == [1, 2]
    assert stats.edges == pytest.approx([0, half / 2, half])


@pytest.mark.parametrize("n, d", [(2, 1), (3, 5), (511, 8), (512, 4), (513, 8), (1025, 4), (2600, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_statistics_agree_with_all_pairs_across_tile_edges(rng, n, d, dtype):
    x = rng.normal(size=(n, d)).astype(dtype) + 0.5
    check_against_all_pairs(x, cosine_statistics(x, bins=50))


def test_histogram_is_that_of_numpy(rng):
    x = rng.normal(size=(700, 8))
    stats = cosine_statistics(x)
    counts, edges = np.histogram(reference.cosines(x), 100)
    assert stats.edges == pytest.approx(edges, abs=1e-12)
    assert np.abs(stats.histogram - counts).sum() <= 4  # a value on an edge may round to either side


def test_one_row_apart_from_all_others_by_hand():
    x = np.ones((1300, 4))
    x[1] = [1, -1, 1, -1]
    stats = cosine_statistics(x, bins=4)
    assert stats.histogram.tolist() == [1299, 0, 0, 1300 * 1299 // 2 - 1299]
    assert [stats.min, stats.q25, stats.max] == pytest.approx([0, 1, 1], abs=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1e-2, 1e-3, 1e-4])
def test_a_narrow_cone_keeps_its_digits(rng, width, dtype):
    x = (1 + width * rng.normal(size=(800, 64))).astype(dtype)
    stats, exact = cosine_statistics(x), reference.cosines(x)
    span = exact.max() - exact.min()
    check_against_all_pairs(x, stats, tolerance=1e-3 * span)
    assert stats.std == pytest.approx(exact.std(), rel=1e-6)
    assert [stats.min, stats.max] == pytest.approx([exact.min(), exact.max()], rel=0, abs=1e-5 * span)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_numbers_of_the_cpu(rng):
    x = torch.from_numpy(rng.normal(size=(3000, 32)).astype(np.float32))
    check_against_all_pairs(x.numpy(), cosine_statistics(x.cuda()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_more(rng, dtype):
    x = torch.from_numpy(reference.cone(rng, 900, 32)).to(dtype)
    check_against_all_pairs(x.double().numpy(), cosine_statistics(x), tolerance=1e-6)


def test_equal_rows_have_one_value():
    stats = cosine_statistics(np.ones((10, 4)), bins=5)
    assert [stats.min, stats.q25, stats.median, stats.max, stats.std] == pytest.approx([1, 1, 1, 1, 0], abs=1e-7)
    assert stats.histogram.sum() == 45 and (np.diff(stats.edges) > 0).all()


test_bad_input_is_refused = refuses(
    (lambda: cosine_statistics(np.eye(3)[:1]), "at least 2 rows"),
    (lambda: cosine_statistics(np.zeros((3, 3))), "row 0 is zero"),
    (lambda: cosine_statistics(np.eye(3), 0), "bins must be"),
    (lambda: cosine_statistics(np.eye(3), 2.5), "bins must be"),
)
