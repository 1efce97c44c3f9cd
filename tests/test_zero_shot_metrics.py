"""Metrics over the shifts: by hand, against scikit-learn, their edges, refusals."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, top_k_accuracy_score

from refusals import refuses
from util.zero_shot.metrics import per_class_recall, top_k

RANKS = np.array([[0, 1, 4, 9], [0, 0, 0, 5]])


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8])
def test_metrics_by_hand_for_any_kind_of_whole_number(kind):
    """Class 0: one of one, then one of one. Class 1: none, then 2 of 3. Classes 2 and 3 have no item."""
    found = [top_k(RANKS.astype(kind), k).tolist() for k in (1, 2, 5, 10)]
    assert found == [[0.25, 0.75], [0.5, 0.75], [0.75, 0.75], [1.0, 1.0]]
    recalls = per_class_recall(RANKS < 1, np.array([0, 1, 1, 1], kind), 4)
    assert recalls == pytest.approx(np.array([[1, 0, np.nan, np.nan], [1, 2 / 3, np.nan, np.nan]]), nan_ok=True)
    assert top_k(RANKS.astype(kind)).dtype == recalls.dtype == np.float64


@given(st.integers(2, 40), st.integers(2, 7), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_metrics_agree_with_scikit_learn(n, classes, seed):
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(3, n, classes)), rng.integers(0, classes, n)
    ranks = (scores > np.take_along_axis(scores, np.tile(labels, (3, 1))[..., None], 2)).sum(2)
    predicted = scores.argmax(2)
    assert top_k(ranks) == pytest.approx([accuracy_score(labels, row) for row in predicted])
    for k in range(1, classes) if classes > 2 else ():
        expected = [top_k_accuracy_score(labels, part, k=k, labels=np.arange(classes)) for part in scores]
        assert top_k(ranks, k) == pytest.approx(expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that predictions hold classes which the labels lack
        balanced = [balanced_accuracy_score(labels, row) for row in predicted]
    assert np.nanmean(per_class_recall(ranks < 1, labels, classes), axis=1) == pytest.approx(balanced)


test_bad_input_is_refused_in_one_line = refuses(
    (lambda: top_k(RANKS[0]), r"ranks must be whole numbers \(shifts, items\), not int64 of shape \(4,\)"),
    (lambda: top_k(RANKS / 2), "ranks must be whole numbers"),
    (lambda: top_k(RANKS, 0), "k must be a whole number of at least 1, not 0"),
)
