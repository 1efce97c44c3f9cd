"""Outcomes at every shift and the choice among them: by hand, by scikit-learn, by plain loops, and on noise."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from refusals import refuses
from util.numerics.statistics import bootstrap_counts, mcnemar, wilson_interval
from util.zero_shot import selection
from util.zero_shot.selection import Hits, Margins, best, cross_tested, halves, held_out, on_test

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
    without, with_shift = stats.rankdata(outcomes.items, axis=1)
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
    counts = np.concatenate(list(bootstrap_counts(sizes if alike else n, 25, [7, selection.BOOTSTRAP])))
    naive = [np.repeat(items, row, axis=0).mean(0) for row in counts]
    assert outcomes.resampled(25, 7) == pytest.approx(np.array(naive), abs=1e-12)


def test_resampled_areas_are_those_of_scikit_learn_on_the_same_counts(rng):
    outcomes = some_margins(rng, n=20)
    order = np.lexsort((*outcomes.items, outcomes.labels))
    same, negatives = outcomes.take(order), int((outcomes.labels == 0).sum())
    draws = [
        bootstrap_counts(size, 15, [7, selection.BOOTSTRAP, i]) for i, size in enumerate((negatives, 20 - negatives))
    ]
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
    once, thrice, apart = (selection.largest_gain_p_value(each, 0, 4000, 0) for each in added)
    assert thrice == pytest.approx(once, abs=0.03) and abs(stats.norm.isf(apart)) > 1.3 * abs(stats.norm.isf(once))
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


SHIFTS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
GAPS = 0.8 - SHIFTS


def middle(drawn):
    """The ends of the middle 95%."""
    return pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def noise(rng, n=60):
    """Shifts that change a third of the predictions and nothing else."""
    return Hits(np.where(rng.random((5, n)) < 0.3, rng.random((5, n)) < 0.6, rng.random(n) < 0.6))


def margins(rng, n=60, helps=0.0):
    """Margins of which the last shift's are better by ``helps``."""
    labels = np.arange(n) % 3 == 0
    noise = rng.normal(size=n) + 0.2 * rng.normal(size=(5, n))
    return Margins(noise + np.outer([1, 1, 1, 1, 1 + helps], labels), labels=labels)


def test_the_best_is_the_highest_then_the_smallest_shift_then_the_negative_one():
    for values, index in (([1, 5, 2, 3, 4], 1), ([5, 5, 4, 5, 5], 1), ([5, 4, 5, 5, 5], 2), ([5, 0, 0, 0, 5], 0)):
        assert best(np.array(values), SHIFTS) == index
    assert best(np.array([5, 0, 5]), SHIFTS[::-2]) == 2


def test_the_best_on_the_test_items_by_hand():
    """Four of ten right, seven with shift 0.5: four gained, one lost; the gap shrinks from 0.8 to 0.3."""
    hits = np.zeros((5, 10), bool)
    hits[:, :4] = True
    hits[3, 3:8] = [False, True, True, True, True]
    chosen = on_test(hits, SHIFTS, GAPS, resamples=50, permutations=4000)
    assert (chosen.default, chosen.modified, chosen.shift, chosen.shifts) == (0.4, 0.7, 0.5, (0.5,))
    assert chosen.gain == pytest.approx(0.3) and (chosen.direction, chosen.n, chosen.discordant) == ("down", 10, 5)
    assert (chosen.default_low, chosen.default_high) == pytest.approx(wilson_interval(4, 10))
    assert chosen.p_value == pytest.approx(6 / 32, abs=0.025)  # at least four heads of five


@pytest.mark.parametrize(
    "gaps, direction", [(GAPS, "down"), (-GAPS, "down"), (0.1 - SHIFTS, "up"), (GAPS[::-1], "up"), ([1] * 5, "none")]
)
def test_up_widens_the_gap_whatever_its_sign(gaps, direction):
    """Shift 0.5 is best; a gap of 0.1 becomes -0.4 by it, which is wider."""
    hits = np.repeat(SHIFTS == 0.5, 6).reshape(5, 6)
    assert on_test(hits, SHIFTS, gaps, 0, 20, 20).direction == direction


def test_no_shift_is_chosen_where_none_is_better():
    hits = np.tile([True, False, True], (5, 1))
    chosen = on_test(hits, SHIFTS, GAPS, 0, resamples=100, permutations=100)
    assert (chosen.shift, chosen.direction, chosen.gain, chosen.discordant) == (0, "none", 0, 0)
    assert chosen.p_value == 1 and (chosen.gain_low, chosen.gain_high) == (0, 0)
    assert (chosen.ci_low, chosen.ci_high) == middle(Hits(hits).resampled(100, 0)[:, 2])


@pytest.mark.parametrize("make", [noise, margins])
def test_every_resample_chooses_its_own_shift_and_the_seed_alone_draws(rng, make):
    outcomes = make(rng, 150)
    chosen = on_test(outcomes, SHIFTS, GAPS, 3, 200, 50)
    drawn, index = outcomes.resampled(200, 3), best(outcomes.values(), SHIFTS)
    again = np.array([best(row, SHIFTS) for row in drawn])
    highest = drawn[np.arange(200), again]
    assert len(set(again.tolist())) > 1
    assert (chosen.default, chosen.modified) == tuple(outcomes.values()[[2, index]])
    assert (chosen.ci_low, chosen.ci_high) == middle(highest)
    assert (chosen.gain_low, chosen.gain_high) == middle(highest - drawn[:, 2])
    assert chosen.p_value == selection.largest_gain_p_value(outcomes.contributions(2), index, 50, 3)
    if make is margins:
        assert (chosen.default_low, chosen.default_high) == middle(drawn[:, 2]) and chosen.discordant is None
    assert on_test(outcomes.take(rng.permutation(outcomes.n)), SHIFTS, GAPS, 3, 200, 50) == chosen
    other = on_test(outcomes, SHIFTS, GAPS, 6, 200, 50)
    assert (other.modified, other.shift) == (chosen.modified, chosen.shift)
    assert (other.p_value, other.ci_low) != (chosen.p_value, chosen.ci_low)


def chosen_and_held_out(parts):
    """``held_out`` of parts (train, test); what all items together are does not matter for it."""
    first = on_test(parts[0][1], SHIFTS, GAPS, 0, 9, 9)
    return held_out(first, [cross_tested(*both, SHIFTS, GAPS) for both in parts])


def changes(gained, lost, same, groups=None):
    """Hits at SHIFTS, of which 0.5 gains and loses so many and the others nothing."""
    change = np.repeat([1, -1, 0], [gained, lost, same])
    return Hits(np.stack([change < 0] * 3 + [change > 0] + [change < 0]), groups)


def test_held_out_by_hand():
    """Shift 0.5 chosen on the first half, -1 on the second; tested: 3 gained and 1 lost, then 2 gained."""
    train = [np.repeat(amount == SHIFTS, 4).reshape(5, 4) for amount in (0.5, -1.0)]
    tests = np.zeros((2, 5, 6), bool)
    tests[0, 2, :2], tests[0, 3, 1:5], tests[1, 0, :2] = True, True, True
    one, other = (cross_tested(*both, SHIFTS, GAPS) for both in zip(train, tests, strict=True))
    assert (one.shift, one.gain, one.n, one.discordant) == (0.5, pytest.approx(2 / 6), 6, 4)
    assert (other.shift, other.gain, other.direction) == (-1.0, pytest.approx(2 / 6), "up")
    assert (one.p_value, other.p_value) == pytest.approx((5 / 16, 1 / 4))  # at least 3 heads of 4, 2 of 2
    assert (one.ci_low, one.ci_high) == pytest.approx(wilson_interval(4, 6, 0.975))
    found = held_out(on_test(tests.reshape(5, 12), SHIFTS, GAPS, 0, 9, 9), [one, other])
    assert found.gain == pytest.approx(4 / 12) and found.modified == pytest.approx(found.default + found.gain)
    assert (found.shifts, found.direction, found.n) == ((0.5, -1.0), "mixed", 12)
    assert (found.discordant, found.p_value) == (6, pytest.approx(5 / 16))
    assert found.gain_low == pytest.approx(np.mean([one.gain_low, other.gain_low]))
    three = held_out(on_test(tests[0], SHIFTS, GAPS, 0, 9, 9), [one, other, one])
    assert (three.shift, three.direction, three.p_value) == (0.5, "down", pytest.approx(5 / 16))


def widths(found):
    """Of the interval of the metric, and of that of the gain."""
    return np.array([found.ci_high - found.ci_low, found.gain_high - found.gain_low])


def test_the_interval_of_a_half_is_near_that_of_a_mean_and_knows_of_groups():
    """300 items, 40 gained, 20 lost; or ten of each group of 30 alike, which is a tenth of the items."""
    found = cross_tested(*[changes(40, 20, 240)] * 2, SHIFTS, GAPS)
    half = 2.2414 * np.std(np.repeat([1, -1, 0], [40, 20, 240])) / 300**0.5
    assert (found.gain_low, found.gain_high) == pytest.approx((20 / 300 - half, 20 / 300 + half), abs=0.1 * half)
    grouped = cross_tested(*[changes(40, 20, 240, np.arange(300) // 10)] * 2, SHIFTS, GAPS)
    wider = widths(grouped) / widths(found)
    assert wider[1] == pytest.approx(10**0.5, rel=0.1) and wider[0] > 1.5 and grouped.gain == found.gain
    assert grouped.p_value == pytest.approx(stats.binomtest(4, 6, alternative="greater").pvalue)
    assert found.p_value == pytest.approx(stats.binomtest(40, 60, alternative="greater").pvalue)


def test_held_out_areas_are_tested_by_all_exchanges_and_bounded_by_bootstrap(rng):
    train, test = margins(rng, helps=3.0), margins(rng, 90, 0.1)
    found = cross_tested(train, test, SHIFTS, GAPS, 0, 400)
    areas = [roc_auc_score(test.labels, test.items[i]) for i in (2, 4)]
    assert found.gain == pytest.approx(areas[1] - areas[0]) and (found.shift, found.discordant) == (1.0, None)
    drawn = test.at([2, 4]).resampled(400, 0)
    for name, of in (("ci", drawn[:, 1]), ("gain", drawn[:, 1] - drawn[:, 0])):
        ends = getattr(found, f"{name}_low"), getattr(found, f"{name}_high")
        assert ends == pytest.approx(tuple(np.quantile(of, [0.0125, 0.9875])))
    exchanges = selection.largest_gain_p_value(test.at([2, 4]).contributions(0), 1, 40_000, 0)
    assert 0.001 < found.p_value < 0.3 and found.p_value == pytest.approx(exchanges, abs=0.01)
    four = Margins(np.repeat([[0, 1, 2, 3], [3, 2, 1, 0]], [4, 1], axis=0), labels=np.array([1, 1, 0, 0]))
    assert cross_tested(four, four, SHIFTS, GAPS).p_value == pytest.approx(1 / 16, abs=0.01)


def test_held_out_without_a_shift_gains_exactly_nothing(rng):
    steady = margins(rng)
    flat = Margins(np.tile(steady.items[2], (5, 1)), labels=steady.labels)
    found = chosen_and_held_out([(flat, margins(rng))] * 2)
    assert (found.gain, found.gain_low, found.gain_high, found.p_value) == (0, 0, 0, 1)
    assert (found.shift, found.direction) == (0, "none")


def combined(hits, splits=10):
    """The combined p-value of all items' hits (k, n) over so many splits, and what the first two halves chose."""
    rows = [halves(hits.shape[1], None, 0, split) for split in range(splits)]
    found = chosen_and_held_out([(hits[:, a], hits[:, b]) for both in rows for a, b in (both, both[::-1])])
    return found.p_value, found.shifts[0] == found.shifts[1] != 0


@pytest.mark.parametrize("competing", [1, 4])
def test_the_combined_p_value_keeps_its_size_also_where_both_halves_choose_the_same(rng, competing):
    """Shifts that change a third of 60 items at random, 150 times: no more small p-values than a binomial allows."""
    found = []
    for _ in range(150):
        hits = np.tile(rng.random(60) < 0.6, (5, 1))
        for k in [3, 0, 1, 4][:competing]:
            hits[k] = np.where(rng.random(60) < 0.3, rng.random(60) < 0.6, hits[2])
        found.append(combined(hits))
    p, same = np.array(found).T
    assert np.sum(p < 0.05) <= stats.binom.ppf(0.999, 150, 0.05)
    assert same.sum() > 5 and np.sum(p[same > 0] < 0.05) <= stats.binom.ppf(0.999, int(same.sum()), 0.05)


def test_a_gain_of_many_items_is_found_by_every_split():
    """A fifth of 300 items is gained and a twentieth lost, by the same shift."""
    p, same = combined(changes(60, 15, 225).items)
    assert p < 0.01 and same


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(0, 99))
def test_halves_are_even_in_every_stratum_and_hold_every_item_once(strata, seed):
    a, b = halves(len(strata), np.array(strata), seed)
    assert sorted([*a, *b]) == list(range(len(strata))) and abs(len(a) - len(b)) <= 1
    assert sorted(a) == list(a) and sorted(b) == list(b)
    for name in set(strata):
        assert abs(sum(strata[i] == name for i in a) - sum(strata[i] == name for i in b)) <= 1


def test_halves_are_random_and_the_same_for_the_same_seed():
    one, again, other = (halves(40, None, seed)[0].tolist() for seed in (1, 1, 2))
    assert one == again != other and other != list(range(0, 40, 2))
    often = np.zeros(10)
    for seed in range(400):
        often[halves(10, np.arange(10) % 2, seed)[0]] += 1
    assert (np.abs(often - 200) < 5 * 10).all()


def p_value(contributions, permutations=2000, seed=0):
    return selection.largest_gain_p_value(contributions, int(contributions.sum(0).argmax()), permutations, seed)


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


def test_the_paired_test_of_groups_counts_all_signs(rng):
    differences = np.array([3, -1, 2, 0, 2, -3, 1, 5])
    every = np.array(list(itertools.product((-1, 1), repeat=8))) @ differences
    assert selection.paired_p_value(differences) == pytest.approx((every >= 9).mean(), abs=1e-12)
    assert selection.paired_p_value(rng.permutation(-differences)) == pytest.approx((every >= -9).mean(), abs=1e-12)
    assert selection.paired_p_value(np.zeros(4, np.int64)) == 1


@pytest.mark.parametrize("gained, lost", [(0, 0), (1, 0), (9, 2), (40, 40), (700, 600)])
def test_the_paired_test_of_single_items_is_mcnemars(gained, lost):
    found = [selection.paired_p_value(sign * np.repeat([1, -1, 0], [gained, lost, 5])) for sign in (1, -1)]
    assert min(1, 2 * min(found)) == pytest.approx(mcnemar(gained, lost), rel=1e-9)
    assert found[0] == pytest.approx(stats.binom.sf(gained - 1, gained + lost, 0.5), rel=1e-9)


test_what_cannot_be_chosen_from_is_refused = refuses(
    (lambda: on_test(HITS, [np.nan, *SHIFTS[1:]], GAPS), "finite"),
    (lambda: on_test(HITS, SHIFTS[:3], GAPS, 0), "5 shifts have outcomes, but there are 3 amounts and 5 gaps"),
    (lambda: on_test(HITS, SHIFTS + 0.1, GAPS, 0), "exactly once; they hold it 0 times"),
    (lambda: held_out(on_test(HITS, SHIFTS, GAPS, 0, 9, 9), []), "needs tested halves"),
    (lambda: cross_tested(RANKED, RANKED.take(np.arange(3)), SHIFTS, GAPS), "needs two items of each label"),
    (lambda: halves(1, None, 0), "items to halve must be a whole number of at least 2"),
    (lambda: p_value(np.ones((3, 2), np.int64), 0), "permutations must be a whole number"),
)


HITS = Hits(np.eye(5, dtype=bool))
RANKED = Margins(np.eye(5), labels=np.array([0, 1, 0, 1, 0]))
