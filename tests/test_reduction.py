import numpy as np
import pytest

import reference
from layouts import svd_coordinates, tsne_coordinates
from refusals import refuses
from util.numerics.reduction import joint_pca, umap_coordinates


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
