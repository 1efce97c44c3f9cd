"""Zero-shot metrics at every shift: ranks or predictions with the shifts as first axis, one number for each.

All are fractions, float64, and agree with scikit-learn's functions of the same purpose, which take one shift at a time.
The area under the ROC curve is the metric of ``util.zero_shot.outcomes.Margins``.
"""

import numpy as np
from jaxtyping import Float, Int

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


def mean_per_class_recall(
    predicted: Int[np.ndarray, "s n"], labels: Int[np.ndarray, "n"], n_classes: int
) -> Float[np.ndarray, "s"]:
    """Accuracy within each class, averaged over the classes that the labels have, as ``balanced_accuracy_score``.

    Classes count from 0. Returns float64 (s,) in [0, 1].
    """
    given, classes = _over_shifts(predicted, "predicted"), as_count(n_classes, "n_classes")
    true = as_indices(labels, "labels", given.shape[1], "item of predicted", classes, "classes")
    as_indices(given.ravel(), "predicted", given.size, "item of predicted", classes, "classes")
    counts = np.bincount(true, minlength=classes)
    hits = np.stack([np.bincount(true[row == true], minlength=classes) for row in given])
    return (hits[:, counts > 0] / counts[counts > 0]).mean(axis=1)


def _over_shifts(values, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 2 or not array.size or array.dtype.kind not in "iu":
        raise UserError(f"{name} must be whole numbers (shifts, items), not {array.dtype} of shape {array.shape}")
    return array
