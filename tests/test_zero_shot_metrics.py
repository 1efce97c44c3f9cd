"""Metrics over the shifts: against scikit-learn, their edges, refusals."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, top_k_accuracy_score

from refusals import refuses
from util.zero_shot.metrics import best_order, per_class_recall, top_k

RANKS = np.array([[0, 1, 4, 9], [0, 0, 0, 5]])


@given(st.integers(2, 40), st.integers(2, 7), st.sampled_from([np.int32, np.int64, np.uint8]), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_metrics_agree_with_scikit_learn_for_any_kind_of_whole_number(n, classes, kind, seed):
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(3, n, classes)), rng.integers(0, classes, n).astype(kind)
    ranks = (scores > np.take_along_axis(scores, np.tile(labels, (3, 1))[..., None], 2)).sum(2).astype(kind)
    predicted = scores.argmax(2)
    assert top_k(ranks) == pytest.approx([accuracy_score(labels, row) for row in predicted])
    for k in range(1, classes) if classes > 2 else ():
        expected = [top_k_accuracy_score(labels, part, k=k, labels=np.arange(classes)) for part in scores]
        assert top_k(ranks, k) == pytest.approx(expected)
    recalls = per_class_recall(ranks < 1, labels, classes)
    assert (np.isnan(recalls) == ~np.isin(np.arange(classes), labels)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that predictions hold classes which the labels lack
        balanced = [balanced_accuracy_score(labels, row) for row in predicted]
    assert np.nanmean(recalls, axis=1) == pytest.approx(balanced)


def test_the_best_order_is_the_one_that_most_predictions_follow(rng):
    labels, order = rng.integers(5, size=200), rng.permutation(5)
    assert best_order(order[labels], labels, 5).tolist() == order.tolist()
    assert best_order(labels[:1], labels[:1], 5).tolist() == list(range(5))


test_bad_input_is_refused_in_one_line = refuses(
    (lambda: top_k(RANKS[0]), r"ranks must be whole numbers \(shifts, items\), not int64 of shape \(4,\)"),
    (lambda: top_k(RANKS / 2), "ranks must be whole numbers"),
    (lambda: top_k(RANKS, 0), "k must be a whole number of at least 1, not 0"),
)
