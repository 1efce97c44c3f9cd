"""Two of the views of Figure 1, the same on every run: singular vectors and t-SNE."""

import numpy as np
from jaxtyping import Float
from sklearn.utils.extmath import svd_flip
from threadpoolctl import threadpool_limits

from util.errors import UserError

TSNE_STEPS = 500
"""Half of scikit-learn's: of 1000 published rows they end at a divergence of 0.89, and twice the steps at 0.85."""


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
