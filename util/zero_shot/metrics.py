"""Zero-shot metrics beside top-k accuracy and recall@k, which are shares of ranks below k.

All are fractions, float64, and agree with scikit-learn's functions of the same purpose, which take one shift at a time.
The area under the ROC curve is the metric of ``util.zero_shot.outcomes.Margins``.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment


def per_class_recall(
    hits: Bool[np.ndarray, "s n"], labels: Int[np.ndarray, "n"], n_classes: int
) -> Float[np.ndarray, "s c"]:
    """Accuracy within each class, of hits at every shift. Classes count from 0; those that the labels lack have NaN."""
    counts = np.bincount(labels, minlength=n_classes)
    right = np.stack([np.bincount(labels[row], minlength=n_classes) for row in hits])
    return np.where(counts > 0, right / np.maximum(counts, 1), np.nan)


def best_order(predicted: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"], n_classes: int) -> Int[np.ndarray, "c"]:
    """The one-to-one renumbering of classes that makes most predictions right: new numbers by label.

    The best assignment of the confusion matrix, whose memory is ``n_classes`` squared. Of equal ones, one that leaves
    classes as they are.
    """
    confusion = np.zeros((n_classes, n_classes))
    np.add.at(confusion, (labels, predicted), 1)
    confusion[np.diag_indices(n_classes)] += 0.5 / n_classes
    return linear_sum_assignment(confusion, maximize=True)[1]


def mean_average_precision(scores: Float[np.ndarray, "n c"], truth: Bool[np.ndarray, "n c"]) -> float:
    """mAP of several labels an item: average precision of each class over the items, averaged over the classes.

    Classes that no item has are left out.
    """
    from sklearn.metrics import average_precision_score  # takes a second

    there = truth.any(0)
    return float(average_precision_score(truth[:, there], scores[:, there]))


def ranking_precision(scores: Float[np.ndarray, "n c"], truth: Bool[np.ndarray, "n c"]) -> Float[np.ndarray, "n"]:
    """Average precision of each item over its classes, 1 where it has none: the share of true ones among those that
    score as high, averaged over the true ones. Their mean is scikit-learn's LRAP
    (``label_ranking_average_precision_score``).
    """
    hits = np.take_along_axis(truth, np.argsort(-scores, axis=1, kind="stable"), 1)
    precision = hits.cumsum(1) / np.arange(1, hits.shape[1] + 1)
    return np.where(truth.any(1), (precision * hits).sum(1) / np.maximum(hits.sum(1), 1), 1.0)
