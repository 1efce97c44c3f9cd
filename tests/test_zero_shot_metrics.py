"""Metrics over the shifts, against scikit-learn."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from util.zero_shot.metrics import best_order, per_class_recall


@given(st.integers(2, 40), st.integers(2, 7), st.sampled_from([np.int32, np.int64, np.uint8]), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_recall_agrees_with_scikit_learn_for_any_kind_of_whole_number(n, classes, kind, seed):
    rng = np.random.default_rng(seed)
    predicted, labels = (rng.integers(0, classes, size).astype(kind) for size in ((3, n), n))
    recalls = per_class_recall(predicted == labels, labels, classes)
    assert (np.isnan(recalls) == ~np.isin(np.arange(classes), labels)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that predictions hold classes which the labels lack
        balanced = [balanced_accuracy_score(labels, row) for row in predicted]
    assert np.nanmean(recalls, axis=1) == pytest.approx(balanced)


def test_the_best_order_is_the_one_that_most_predictions_follow(rng):
    labels, order = rng.integers(5, size=200), rng.permutation(5)
    assert best_order(order[labels], labels, 5).tolist() == order.tolist()
    assert best_order(labels[:1], labels[:1], 5).tolist() == list(range(5))
