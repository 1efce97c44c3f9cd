"""Zero-shot metrics at every shift: ranks or predictions with the shifts as first axis, one number for each.

All are fractions, float64, and agree with scikit-learn's functions of the same purpose, which take one shift at a time.
The area under the ROC curve is the metric of ``util.zero_shot.outcomes.Margins``.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from ..errors import UserError
from ..numerics.arrays import as_count, as_indices


def top_k(ranks: Int[np.ndarray, "s n"], k: int = 1) -> Float[np.ndarray, "s"]:
    """Share of items whose true class is among the k highest: accuracy, or recall@k of retrieval.

    Args:
        ranks: whole numbers (s, n), how many classes come before the true one (``util.zero_shot.shifted.classify``),
            or how many other items before the matching one (``util.zero_shot.shifted.retrieve``).
        k: how many of the highest count.

    Returns:
        float64 (s,) in [0, 1].

    Paper: Table 1, accuracy. Trap: where the true class ties with others at the border, the order of the
    classes decides.
    """
    return (_over_shifts(ranks, "ranks") < as_count(k, "k")).mean(axis=1)


def per_class_recall(
    predicted: Int[np.ndarray, "s n"], labels: Int[np.ndarray, "n"], n_classes: int
) -> Float[np.ndarray, "s c"]:
    """Accuracy within each class. Classes count from 0; those that the labels lack have NaN."""
    given, classes = _over_shifts(predicted, "predicted"), as_count(n_classes, "n_classes")
    true = as_indices(labels, "labels", given.shape[1], "item of predicted", classes, "classes")
    as_indices(given.ravel(), "predicted", given.size, "item of predicted", classes, "classes")
    counts = np.bincount(true, minlength=classes)
    hits = np.stack([np.bincount(true[row == true], minlength=classes) for row in given])
    return np.where(counts > 0, hits / np.maximum(counts, 1), np.nan)


def mean_per_class_recall(
    predicted: Int[np.ndarray, "s n"], labels: Int[np.ndarray, "n"], n_classes: int
) -> Float[np.ndarray, "s"]:
    """``per_class_recall`` averaged over the classes that the labels have, as ``balanced_accuracy_score``."""
    return np.nanmean(per_class_recall(predicted, labels, n_classes), axis=1)


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

    As scikit-learn's ``average_precision_score``, but of equal scores the earlier rows count first. Classes that no
    item has are left out.
    """
    there = truth.any(0)
    return float(_average_precision(scores.T[there], truth.T[there]).mean())


def ranking_precision(scores: Float[np.ndarray, "n c"], truth: Bool[np.ndarray, "n c"]) -> Float[np.ndarray, "n"]:
    """Average precision of each item over its classes; 1 where it has none. Their mean is scikit-learn's LRAP
    (``label_ranking_average_precision_score``).
    """
    return np.where(truth.any(1), _average_precision(scores, truth), 1.0)


def _average_precision(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Of each row: the mean, over what is true, of the share of true ones among those that score as high."""
    hits = np.take_along_axis(truth, np.argsort(-scores, axis=1, kind="stable"), 1)
    precision = hits.cumsum(1) / np.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(1) / np.maximum(hits.sum(1), 1)


def _over_shifts(values, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 2 or not array.size or array.dtype.kind not in "iu":
        raise UserError(f"{name} must be whole numbers (shifts, items), not {array.dtype} of shape {array.shape}")
    return array
