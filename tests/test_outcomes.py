"""Outcomes at every shift: metrics by hand and by scikit-learn, contributions and resamples by plain loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_auc_score

from refusals import refuses
from util.numerics.statistics import bootstrap_counts, wilson_interval
from util.zero_shot.selection import BOOTSTRAP, Hits, Margins, largest_gain_p_value

LABELS = np.array([0, 1, 1, 0, 1])


def some_margins(rng, k=4, n=40):
    """Margins with ties, and both labels."""
    labels = rng.permutation(np.arange(n) % 3 == 0).astype(int)
    return Margins(np.round(rng.normal(size=(k, n)) + labels, 1), labels=labels)


def similar_hits(rng, k, n):
    """Hits that neighbouring shifts share, so that many items are alike."""
    return Hits(rng.normal(size=n) + 0.1 * np.arange(k)[:, None] > 0.2)


def test_the_value_of_hits_is_their_share_and_contributions_add_up_to_the_gains(rng):
    outcomes = Hits(np.array([[1, 0, 1, 1], [0, 0, 0, 1]], bool))
    assert outcomes.n == 4 and outcomes.values().tolist() == [0.75, 0.25]
    assert Hits(torch.tensor(outcomes.items), [0, 0, 1, 1]).contributions(0).tolist() == [[0, -1], [0, -1]]
    several = similar_hits(rng, 5, 30)
    assert set(np.unique(several.contributions(2))) <= {-1, 0, 1}
    assert several.contributions(2).sum(0) / 30 == pytest.approx(several.values() - several.values()[2], abs=1e-15)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 6), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_the_area_is_scikit_learns_with_ties_too(zeros, ones, levels, seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1], [zeros, ones]))
    margins = rng.integers(0, levels, size=(3, zeros + ones)).astype(float)
    assert Margins(margins, labels=labels).values() == pytest.approx([roc_auc_score(labels, row) for row in margins])
    assert Margins(-margins, labels=labels).values() == pytest.approx(1 - Margins(margins, labels=labels).values())


def test_exchanging_ranks_changes_the_area_by_the_signed_contributions(rng):
    """Every one of the 2^6 ways to exchange the ranks of six items, both areas computed anew by scikit-learn."""
    labels = np.array([0, 1, 1, 0, 0, 1])
    outcomes = Margins(np.round(rng.normal(size=(2, 6)), 1), labels=labels)
    without, with_shift = rankdata(outcomes.items, axis=1)
    added = outcomes.contributions(0)[:, 1]
    for bits in range(1 << 6):
        signs = 1 - 2 * (bits >> np.arange(6) & 1)
        areas = [roc_auc_score(labels, np.where(signs == s, with_shift, without)) for s in (1, -1)]
        assert areas[0] - areas[1] == pytest.approx((signs @ added) / (4 * 3 * 3), abs=1e-12)


@pytest.mark.parametrize("k, n", [(3, 60), (9, 12)])
def test_resampled_shares_are_those_of_a_plain_loop_over_the_same_counts(rng, k, n):
    outcomes = similar_hits(rng, k, n) if k == 3 else Hits(rng.random((k, n)) < 0.5)
    patterns, sizes = np.unique(outcomes.items.T, axis=0, return_counts=True)
    alike = 4 * len(sizes) <= n
    assert alike == (k == 3)  # both ways of drawing are tried
    items = patterns if alike else np.repeat(patterns, sizes, axis=0)
    counts = np.concatenate(list(bootstrap_counts(sizes if alike else n, 25, [7, BOOTSTRAP])))
    naive = [np.repeat(items, row, axis=0).mean(0) for row in counts]
    assert outcomes.resampled(25, 7) == pytest.approx(np.array(naive), abs=1e-12)


def test_resampled_areas_are_those_of_scikit_learn_on_the_same_counts(rng):
    outcomes = some_margins(rng, n=20)
    order = np.lexsort((*outcomes.items, outcomes.labels))
    same, negatives = outcomes.take(order), int((outcomes.labels == 0).sum())
    draws = [bootstrap_counts(size, 15, [7, BOOTSTRAP, i]) for i, size in enumerate((negatives, 20 - negatives))]
    counts = np.concatenate([np.concatenate(list(draw)) for draw in draws], axis=1)
    naive = [
        [roc_auc_score(np.repeat(same.labels, row), np.repeat(margins, row)) for margins in same.items]
        for row in counts
    ]
    assert outcomes.resampled(15, 7) == pytest.approx(np.array(naive), abs=1e-12)


@pytest.mark.parametrize("kind", ["hits", "margins"])
def test_copies_in_a_group_make_no_gain_surer(rng, kind):
    """Every item three times: p-values and intervals stay; without groups they shrink."""
    plain = similar_hits(rng, 4, 40) if kind == "hits" else some_margins(rng)
    tripled = plain.take(np.tile(np.arange(40), 3))
    grouped = replace(tripled, groups=np.tile(np.arange(40), 3))
    spread, alone, apart = (each.resampled(2000, 5).std(0) for each in (plain, grouped, tripled))
    assert alone == pytest.approx(spread, rel=0.15) and (apart < 0.7 * spread).all()
    added = [each.contributions(0)[:, [2]] for each in (plain, grouped, tripled)]
    once, thrice, apart = (largest_gain_p_value(each, 0, 4000, 0) for each in added)
    assert thrice == pytest.approx(once, abs=0.03) and abs(norm.isf(apart)) > 1.3 * abs(norm.isf(once))
    if kind == "hits":  # items of a group are drawn together: nothing changes but the counts, in any order
        mixed = grouped.take(rng.permutation(120))
        assert (mixed.contributions(1) == 3 * plain.contributions(1)).all() and (mixed.values() == plain.values()).all()
        assert (mixed.resampled(30, 5) == plain.resampled(30, 5)).all()
        assert (mixed.limits(30, 5) == plain.limits(30, 5)).all()  # Wilson's of both


def test_groups_of_unequal_size_weigh_by_their_items():
    """Two hits in a group of three, none in a group of one: a resample is 2/3, 1/2 or 0."""
    outcomes = Hits(np.array([[1, 0, 1, 0]], bool), np.array([5, 2, 5, 5]))
    drawn = outcomes.resampled(200, 0)[:, 0]
    assert set(np.round(drawn, 12)) == {0.0, 0.5, round(2 / 3, 12)}
    assert outcomes.take(np.array([1, 3])).groups.tolist() == [2, 5]
    assert outcomes.at([0]).contributions(0).shape == (2, 1)
    all_right = replace(outcomes, items=np.ones((1, 4), bool))
    assert (all_right.limits(20, 0)[:, 0] == wilson_interval(2, 2)).all()


test_what_are_no_outcomes_is_refused = refuses(
    (lambda: Hits(np.ones((2, 3))), "bool array"),
    (lambda: Hits(np.ones((2, 3), bool), np.arange(2)), "each of 3 items"),
    (lambda: Hits(np.ones((2, 3), bool), np.ones(3)), "groups must be one whole number"),
    (lambda: Margins(np.ones((2, 5)), labels=LABELS + 1), "a label of 0 or 1"),
    (lambda: Margins(np.ones((2, 5)), labels=np.ones(5)), "all 5 have label 1"),
    (lambda: Margins(np.ones((2, 5)), labels=LABELS).take(np.array([0, 3])), "items of both labels"),
)
