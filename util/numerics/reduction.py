"""Two-dimensional views of embeddings, the same on every run."""

import warnings

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA

from .. import UserError


def joint_pca(modalities: list[Float[np.ndarray, "n d"]], components: int = 6) -> PCA:
    """Principal components of several modalities (n_m, d) together, in float64, as Figure 3 (a) of the paper.

    The largest variance comes first. scikit-learn fixes each sign: the largest entry in absolute value is positive.
    Trap: with a gap, the first component is close to the gap vector, because the gap is the largest variance.
    """
    rows = np.concatenate([np.asarray(part, dtype=np.float64) for part in modalities])
    if not 1 <= components <= min(rows.shape):
        raise UserError(f"components must be from 1 to {min(rows.shape)}, not {components}")
    solver = "covariance_eigh" if len(rows) >= rows.shape[1] else "full"
    return PCA(n_components=components, svd_solver=solver).fit(rows)


def umap_coordinates(x: Float[np.ndarray, "n d"], seed: int = 0, **options) -> Float[np.ndarray, "n 2"]:
    """UMAP of at least 4 rows under the cosine, float64 (n, 2), the same for the same seed on one machine.

    ``options`` are those of ``umap.UMAP``, for instance n_neighbors and min_dist.

    Trap: distances between far clusters and the sizes of clusters mean little, and another version, operating system
    or number of cores may give another picture. The first call in a process compiles for some ten seconds.
    """
    if len(x) < 4:
        raise UserError(f"UMAP needs at least 4 rows, not {len(x)}")
    import umap  # takes seconds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that a seed means one thread, and of small neighbourhoods
        options = {"n_neighbors": min(15, len(x) - 1), "metric": "cosine"} | options
        reducer = umap.UMAP(random_state=seed, n_jobs=1, **options)
        return reducer.fit_transform(np.asarray(x, np.float32)).astype(np.float64)
