"""UMAP's class with the options that the project gives it. The package compiles for ten seconds in every process."""


class UMAP:
    """Rows at their first two columns."""

    def __init__(self, *, n_neighbors, metric, random_state, n_jobs, min_dist=0.1):
        assert n_neighbors > 1 and metric == "cosine" and min_dist > 0 and (random_state, n_jobs) == (0, 1)

    def fit_transform(self, x):
        return x[:, :2]
