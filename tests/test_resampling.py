"""Permutation tests: against all exchanges there are, plain loops over the same coins, and simulated nulls."""

import itertools

import numpy as np
import pytest
from scipy import stats

from refusals import refuses
from util.numerics.statistics import mcnemar
from util.zero_shot.outcomes import Hits, Margins
from util.zero_shot.selection import largest_gain_p_value, paired_p_value


def p_value(contributions, permutations=2000, seed=0):
    return largest_gain_p_value(contributions, int(contributions.sum(0).argmax()), permutations, seed)


def all_exchanges(contributions):
    """The exact p-value: the share of all sign vectors whose largest scaled sum reaches that of none."""
    seen, every = contributions.sum(0), np.array(list(itertools.product((-1, 1), repeat=len(contributions))))
    spread = np.sqrt(np.square(contributions.astype(float)).sum(0))
    kept = spread > 0
    sums = every @ contributions[:, kept]
    return ((sums / spread[kept]).max(1) >= seen.max() / spread[seen.argmax()] - 1e-12).mean()


def test_by_hand_where_two_items_decide():
    """Gains +1 and +1 at one shift: one of four exchanges is as large; a third item that never changes is left out."""
    contributions = np.array([[0, 1], [0, 1], [0, 0]])
    assert p_value(contributions, 40_000) == pytest.approx(0.25, abs=0.011)
    assert p_value(np.zeros((3, 2), np.int64), 100) == 1
    assert p_value(-contributions, 100) == 1  # no shift gains: any exchange is as good as none
    sixty = np.repeat([[0, 1]], 60, axis=0)  # no exchange of a thousand reaches that, only the 1 that is added counts
    assert p_value(sixty, 999) == 1 / 1000


@pytest.mark.parametrize("kind", ["hits", "margins"])
def test_the_p_value_is_that_of_all_exchanges(rng, kind):
    labels = np.arange(11) % 2
    hits = rng.random((4, 11)) < np.array([[0.3], [0.6], [0.5], [0.8]])
    margins = rng.normal(size=(4, 11)) + np.outer(np.arange(4), labels) / 4
    outcomes = Hits(hits) if kind == "hits" else Margins(margins, labels=labels)
    exact = all_exchanges(outcomes.contributions(0))
    draws = 20_000
    assert 0.01 < exact < 0.99
    assert p_value(outcomes.contributions(0), draws) == pytest.approx(exact, abs=2.5 / draws**0.5)


def test_a_wild_shift_hides_no_sure_gain(rng):
    """A shift that changes every second prediction for the worse; another that changes twelve, all for the better."""
    hits = np.stack([rng.random(900) < 0.6] * 3)
    hits[1] = rng.random(900) < 0.4
    hits[2, np.flatnonzero(~hits[0])[:12]] = True
    assert p_value(Hits(hits).contributions(0), 999) < 0.01


def test_neither_the_order_nor_the_number_of_unchanged_items_matters(rng):
    contributions = Hits(rng.random((5, 60)) < 0.7).contributions(0)
    more = np.concatenate([rng.permutation(contributions), np.zeros((7, 5), np.int8)])
    assert p_value(more, 500, 9) == p_value(contributions, 500, 9)
    assert len({p_value(contributions, 500, seed) for seed in range(5)}) > 1


def test_noise_is_rarely_significant_and_the_uncorrected_test_of_the_best_shift_often_is(rng):
    """20 shifts that change nothing but noise, 200 times: at most as many small p-values as a binomial allows."""
    honest, naive = [], []
    for seed in range(200):
        steady = rng.random(80) < 0.6
        hits = np.where(rng.random((20, 80)) < 0.3, rng.random((20, 80)) < 0.6, steady)
        outcomes = Hits(hits)
        chosen = hits[outcomes.values().argmax()]
        honest.append(p_value(outcomes.contributions(0), 99, seed))
        naive.append(mcnemar(int((chosen & ~hits[0]).sum()), int((hits[0] & ~chosen).sum())))
    least, most = (stats.binom.ppf(0.9995, 200, level) for level in (0.1, 0.5))
    honest = np.array(honest)
    assert np.sum(honest <= 0.1) <= least < np.sum(np.array(naive) <= 0.1)
    assert stats.binom.ppf(0.0005, 200, 0.4) <= np.sum(honest <= 0.5) <= most


def test_p_values_of_areas_are_near_uniform_where_shifts_change_nothing(rng):
    labels, found = np.arange(30) % 3 == 0, []
    for seed in range(200):
        margins = rng.normal(size=30) + labels + rng.normal(size=(6, 30))
        found.append(p_value(Margins(margins, labels=labels).contributions(0), 99, seed))
    for level in (0.1, 0.3, 0.5, 0.8):
        low, high = stats.binom.ppf([0.0005, 0.9995], 200, level)
        assert low <= np.sum(np.array(found) <= level) <= high


def test_the_paired_test_of_groups_counts_all_signs(rng):
    differences = np.array([3, -1, 2, 0, 2, -3, 1, 5])
    every = np.array(list(itertools.product((-1, 1), repeat=8))) @ differences
    assert paired_p_value(differences) == pytest.approx((every >= 9).mean(), abs=1e-12)
    assert paired_p_value(rng.permutation(-differences)) == pytest.approx((every >= -9).mean(), abs=1e-12)
    assert paired_p_value(np.zeros(4, np.int64)) == 1


@pytest.mark.parametrize("gained, lost", [(0, 0), (1, 0), (9, 2), (40, 40), (700, 600)])
def test_the_paired_test_of_single_items_is_mcnemars(gained, lost):
    found = [paired_p_value(sign * np.repeat([1, -1, 0], [gained, lost, 5])) for sign in (1, -1)]
    assert min(1, 2 * min(found)) == pytest.approx(mcnemar(gained, lost), rel=1e-9)
    assert found[0] == pytest.approx(stats.binom.sf(gained - 1, gained + lost, 0.5), rel=1e-9)


test_what_cannot_be_tested_is_refused = refuses(
    (lambda: p_value(np.ones((3, 2), np.int64), 0), "permutations must be a whole number"),
)
