"""Zero-shot metrics at every shift: ranks, predictions or margins with the shifts as first axis, one number for each.

All are fractions, float64, and agree with scikit-learn's functions of the same purpose, which take one shift at a time.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from ..errors import UserError
from ..numerics.arrays import as_count


def top_k(ranks: Int[np.ndarray, "s n"], k: int = 1) -> Float[np.ndarray, "s"]:
    """Share of items whose true class is among the k highest.

    Args:
        ranks: whole numbers (s, n), how many classes come before the true one (``util.zero_shot.shifted.classify``).
        k: how many of the highest count; 1 is accuracy.

    Returns:
        float64 (s,) in [0, 1].

    Paper: Table 1, accuracy. Trap: where the true class ties with others at the border, the order of the
    classes decides.
    """
    return (_over_shifts(ranks, "ranks", "iu") < as_count(k, "k")).mean(axis=1)


def recall_at(ranks: Int[np.ndarray, "s n"], k: int) -> Float[np.ndarray, "s"]:
    """Recall@k of retrieval: ``top_k`` of the ranks of ``util.zero_shot.shifted.retrieve``; k of 1, 5, 10 is usual."""
    return top_k(ranks, k)


def mean_per_class_recall(
    predicted: Int[np.ndarray, "s n"], labels: Int[np.ndarray, "n"], n_classes: int
) -> Float[np.ndarray, "s"]:
    """Accuracy within each class, averaged over the classes that the labels have.

    Args:
        predicted: whole numbers (s, n) in 0 to n_classes - 1.
        labels: whole numbers (n,), likewise. Classes that no item has are left out of the mean, as in scikit-learn's
            ``balanced_accuracy_score``.
        n_classes: how many classes there are.

    Returns:
        float64 (s,) in [0, 1].
    """
    given, classes = _over_shifts(predicted, "predicted", "iu"), as_count(n_classes, "n_classes")
    true = as_indices(labels, "labels", given.shape[1], "item of predicted", classes, "classes")
    as_indices(given.ravel(), "predicted", given.size, "item of predicted", classes, "classes")
    counts = np.bincount(true, minlength=classes)
    hits = np.stack([np.bincount(true[row == true], minlength=classes) for row in given])
    return (hits[:, counts > 0] / counts[counts > 0]).mean(axis=1)


def roc_auc(margins: Float[np.ndarray, "s n"], labels: Int[np.ndarray, "n"]) -> Float[np.ndarray, "s"]:
    """Probability that an item of class 1 has a higher margin than one of class 0; equal margins count half.

    Args:
        margins: float array (s, n), higher for class 1 (``util.zero_shot.shifted.binary_margins``).
        labels: whole numbers (n,), 0 or 1, both of them present.

    Returns:
        float64 (s,) in [0, 1]; 1/2 is chance.

    Paper: Table 1, Hateful Memes. The area under the ROC curve is the Mann-Whitney statistic over n1 n0.
    """
    given = _over_shifts(margins, "margins", "f")
    true = as_indices(labels, "labels", given.shape[1], "item of margins", 2, "classes")
    positives = int(true.sum())
    if not 0 < positives < len(true):
        raise UserError(f"ROC-AUC needs items of both classes; all {len(true)} labels are {true[0]}")
    if not np.isfinite(given).all():
        raise UserError("margins hold a value that is not finite; remove or mend that item")
    sums = rankdata(given, axis=1)[:, true == 1].sum(axis=1)
    return (sums - positives * (positives + 1) / 2) / (positives * (len(true) - positives))


def as_indices(values, name: str, n: int, each: str, limit: int, what: str) -> Int[np.ndarray, "n"]:
    """n whole numbers in 0 to limit - 1, as int64.

    Args:
        values: array, tensor or list of integers.
        name: what to call them in an error.
        n: how many there must be.
        each: what there must be one for, in the singular.
        limit: how many ``what`` there are.
        what: what the numbers point at, in the plural.
    """
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if array.ndim != 1 or array.dtype.kind not in "iub":
        shape = f"{array.dtype} of shape {array.shape}"
        raise UserError(f"{name} must be whole numbers in a row, one for each {each}, not {shape}")
    if len(array) != n:
        raise UserError(f"{name} must be one whole number for each {each}, {n}, not {len(array)}")
    outside = np.flatnonzero((array < 0) | (array >= limit))
    if len(outside):
        first = f"the first is {array[outside[0]]}, at {outside[0]}"
        raise UserError(f"{name} must be 0 to {limit - 1} for {limit} {what}; {len(outside)} of {n} are not, {first}")
    return array.astype(np.int64)


def _over_shifts(values, name: str, kinds: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 2 or not array.size or array.dtype.kind not in kinds:
        kind = "numbers" if kinds == "f" else "whole numbers"
        raise UserError(f"{name} must be {kind} (shifts, items), not {array.dtype} of shape {array.shape}")
    return array
