"""Two-dimensional views of embeddings, the same on every run."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA
from sklearn.utils.extmath import svd_flip
from threadpoolctl import threadpool_limits

from ..errors import UserError

TSNE_STEPS = 500
"""Half of scikit-learn's: of 1000 published rows they end at a divergence of 0.89, and twice the steps at 0.85."""


@dataclass(frozen=True)
class Projection:
    """Principal components of some rows, in float64: the mean that is subtracted, and orthonormal components.

    The largest variance comes first. scikit-learn fixes each sign: the largest entry in absolute value is positive.
    """

    mean: Float[np.ndarray, "d"]
    components: Float[np.ndarray, "k d"]
    explained_variance_ratio: Float[np.ndarray, "k"]

    def coordinates(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Coordinates (n, k) of rows (n, d) in float64."""
        return (np.asarray(x, dtype=np.float64) - self.mean) @ self.components.T

    def direction(self, vector: Float[np.ndarray, "d"]) -> Float[np.ndarray, "k"]:
        """Components (k,) of a direction, which no mean is subtracted from."""
        return self.components @ np.asarray(vector, dtype=np.float64)


def joint_pca(modalities: list[Float[np.ndarray, "n d"]], components: int = 6) -> Projection:
    """Principal components of several modalities (n_m, d) together, as Figure 3 (a) of the paper.

    Trap: with a gap, the first component is close to the gap vector, because the gap is the largest variance.
    """
    rows = np.concatenate([np.asarray(part, dtype=np.float64) for part in modalities])
    if not 1 <= components <= min(rows.shape):
        raise UserError(f"components must be from 1 to {min(rows.shape)}, not {components}")
    solver = "covariance_eigh" if len(rows) >= rows.shape[1] else "full"
    pca = PCA(n_components=components, svd_solver=solver).fit(rows)
    return Projection(pca.mean_, pca.components_, pca.explained_variance_ratio_)


def svd_coordinates(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 2"]:
    """Rows on the first two right singular vectors, nothing subtracted; signs as scikit-learn fixes them.

    Trap: without centring, the first axis is about the mean of all rows, and the gap mostly the second.
    """
    x = np.asarray(x, dtype=np.float64)
    if min(x.shape) < 2:
        raise UserError(f"two singular vectors need two rows and columns or more, not {x.shape}")
    u, values, vt = np.linalg.svd(x, full_matrices=False)
    u, vt = svd_flip(u, vt, u_based_decision=False)
    return u[:, :2] * values[:2]


def umap_coordinates(
    x: Float[np.ndarray, "n d"], seed: int = 0, neighbours: int = 15, min_dist: float = 0.1
) -> Float[np.ndarray, "n 2"]:
    """UMAP of rows under the cosine, float64 (n, 2), the same for the same seed on one machine.

    Args:
        x: float array (n, d), n at least 4.
        seed: of the layout; with a seed umap-learn runs on one thread.
        neighbours: size of a row's neighbourhood, cut to n - 1.
        min_dist: least distance of points in the picture.

    Trap: distances between far clusters and the sizes of clusters mean little, and another version, operating system
    or number of cores may give another picture. The first call in a process compiles for some ten seconds.
    """
    if len(x) < 4:
        raise UserError(f"UMAP needs at least 4 rows, not {len(x)}")
    import umap  # takes seconds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that a seed means one thread, and of small neighbourhoods
        sizes = {"n_neighbors": min(neighbours, len(x) - 1), "min_dist": min_dist}
        reducer = umap.UMAP(**sizes, metric="cosine", random_state=seed, n_jobs=1)
        return reducer.fit_transform(np.asarray(x, np.float32)).astype(np.float64)


def tsne_coordinates(x: Float[np.ndarray, "n d"], seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """t-SNE of rows, float64 (n, 2), begun at their principal components, the same for the same seed on one machine.

    Args:
        x: float array (n, d), n at least 4, d at least 2. Distances rank unit rows as their cosines do.
        seed: of the principal components, which scikit-learn estimates at random in wide arrays.

    It takes ``TSNE_STEPS`` steps at perplexity 30, or (n - 1)/3 where that is less.

    Trap: as with UMAP, distances between far clusters and the sizes of clusters mean little.
    """
    if len(x) < 4 or x.shape[1] < 2:
        raise UserError(f"t-SNE needs at least 4 rows and 2 columns, not {x.shape}")
    from sklearn.manifold import TSNE  # takes a second

    perplexity = min(30.0, (len(x) - 1) / 3)
    with threadpool_limits(1):  # sums over several threads differ in their last bits, and the picture with them
        layout = TSNE(perplexity=perplexity, init="pca", max_iter=TSNE_STEPS, random_state=seed)
        return layout.fit_transform(np.asarray(x, np.float32)).astype(np.float64)
