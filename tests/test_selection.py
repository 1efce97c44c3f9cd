"""The chosen shift and what is said of it: by hand, by plain loops over the same resamples, and on noise."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

import util
from refusals import refuses
from util.geometry import unit_rows
from util.numerics.statistics import wilson_interval
from util.zero_shot.outcomes import Hits, Margins
from util.zero_shot.resampling import largest_gain_p_values
from util.zero_shot.selection import best, halves, held_out, on_test

SHIFTS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
GAPS = 0.8 - SHIFTS


def middle(drawn):
    """The ends of the middle 95%."""
    return pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def wilson(hits, n):
    return pytest.approx(wilson_interval(hits, n))


def noise(rng, n=60):
    """Shifts that change a third of the predictions and nothing else."""
    return Hits(np.where(rng.random((5, n)) < 0.3, rng.random((5, n)) < 0.6, rng.random(n) < 0.6))


def margins(rng, n=60, helps=0.0):
    """Margins of which the last shift's are better by ``helps``."""
    labels = np.arange(n) % 3 == 0
    return Margins(
        rng.normal(size=n) + 0.2 * rng.normal(size=(5, n)) + np.outer([1, 1, 1, 1, 1 + helps], labels), labels
    )


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
    assert (chosen.default_low, chosen.default_high) == wilson(4, 10)
    assert chosen.p_value == pytest.approx(6 / 32, abs=0.025)  # at least four heads of five
    assert chosen.p_value_scaled == pytest.approx(6 / 32, abs=0.025)


def test_the_example_of_on_test_runs(rng):
    starts = ("ranks", "gaps =", "best")
    lines = [line.strip() for line in on_test.__doc__.splitlines() if line.strip().startswith(starts)]
    images, texts = unit_rows(rng.normal(size=(40, 8)) + 1), unit_rows(rng.normal(size=(3, 8)))
    names = {"util": util, "images": images, "texts": texts, "labels": np.arange(40) % 3, "shifts": SHIFTS}
    examples = [doctest.Example(f"{line}\n", want="") for line in lines]
    example = doctest.DocTest(examples, names, "on_test", None, 0, None)
    assert doctest.DocTestRunner().run(example, clear_globs=False) == (0, 3)
    best = example.globs["best"]
    assert best.modified >= best.default and best.n == 40


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
    assert chosen.p_value == chosen.p_value_scaled == 1 and (chosen.gain_low, chosen.gain_high) == (0, 0)
    assert (chosen.ci_low, chosen.ci_high) == middle(Hits(hits).resampled(100, 0)[:, 2])


@pytest.mark.parametrize("make", [noise, margins])
def test_every_resample_chooses_its_own_shift(rng, make):
    outcomes = make(rng)
    chosen = on_test(outcomes, SHIFTS, GAPS, seed=3, resamples=200, permutations=50)
    drawn, index = outcomes.resampled(200, 3), best(outcomes.values(), SHIFTS)
    again = np.array([best(row, SHIFTS) for row in drawn])
    highest = drawn[np.arange(200), again]
    assert len(set(again.tolist())) > 1
    assert (chosen.default, chosen.modified) == tuple(outcomes.values()[[2, index]])
    assert (chosen.ci_low, chosen.ci_high) == middle(highest)
    assert (chosen.gain_low, chosen.gain_high) == middle(highest - drawn[:, 2])
    assert (chosen.p_value, chosen.p_value_scaled) == largest_gain_p_values(outcomes.contributions(2), index, 50, 3)
    if make is margins:
        assert (chosen.default_low, chosen.default_high) == middle(drawn[:, 2]) and chosen.discordant is None


@pytest.mark.parametrize("make", [noise, margins])
def test_the_order_of_the_items_changes_nothing_and_the_seed_alone_draws(rng, make):
    outcomes = make(rng)
    chosen = on_test(outcomes, SHIFTS, GAPS, 5, 100, 100)
    shuffled = outcomes.take(rng.permutation(outcomes.n))
    assert on_test(shuffled, SHIFTS, GAPS, 5, 100, 100) == chosen
    other = on_test(outcomes, SHIFTS, GAPS, 6, 100, 100)
    assert other.modified == chosen.modified and other.shift == chosen.shift
    assert (other.p_value, other.ci_low) != (chosen.p_value, chosen.ci_low)


def test_held_out_by_hand():
    """Shift 0.5 chosen on the first half, -1 on the second; tested: 3 gained and 1 lost, then 2 gained."""
    train = [np.repeat(amount == SHIFTS, 4).reshape(5, 4) for amount in (0.5, -1.0)]
    tests = np.zeros((2, 5, 6), bool)
    tests[0, 2, :2], tests[0, 3, 1:5], tests[1, 0, :2] = True, True, True
    parts = [(*both, GAPS) for both in zip(train, tests, strict=True)]
    found = held_out(parts, SHIFTS)
    assert (found.default, found.modified) == pytest.approx((2 / 12, 6 / 12)) and found.gain == pytest.approx(4 / 12)
    assert np.isnan(found.shift) and (found.shifts, found.direction) == ((0.5, -1.0), "mixed")
    assert (found.n, found.discordant, found.p_value_scaled) == (12, 6, None)
    assert found.p_value == pytest.approx(stats.binomtest(5, 6).pvalue)
    assert (found.ci_low, found.ci_high) == wilson(6, 12)
    assert (found.default_low, found.default_high) == wilson(2, 12)
    assert found.gain_low < 4 / 12 < found.gain_high
    alike = held_out(parts[:1] * 2, SHIFTS, 0)
    assert (alike.shift, alike.direction) == (0.5, "down")


def test_the_gains_interval_of_held_out_hits_is_that_of_a_paired_bootstrap():
    """300 items, 40 gained, 20 lost: normal limits of a mean of -1, 0 and 1 within the noise of quantiles."""
    change = np.repeat([1, -1, 0], [40, 20, 240])
    hits = np.stack([change < 0, change > 0])
    found = held_out([(hits, hits, [1.0, 0.5])], [0.0, 0.5], 1, resamples=4000)
    half = 1.96 * change.std() / 300**0.5
    assert (found.gain_low, found.gain_high) == pytest.approx((20 / 300 - half, 20 / 300 + half), abs=0.006)


def test_groups_are_tested_together():
    """Five texts of each of six images change together: what counts is 5 of 6 images, not 25 of 30 texts."""
    change = np.repeat([1, 1, 1, 1, 1, -1], 5)
    hits = np.stack([change < 0, change > 0])
    grouped, gaps = Hits(hits, np.repeat(np.arange(6), 5)), [1.0, 0.5]
    alone, together = (held_out([(each, each, gaps)], [0.0, 0.5]) for each in (hits, grouped))
    assert alone.p_value == pytest.approx(stats.binomtest(25, 30).pvalue)
    assert together.p_value == pytest.approx(14 / 64) and together.gain == alone.gain
    assert together.ci_high - together.ci_low > 1.5 * (alone.ci_high - alone.ci_low)
    joined = held_out([(grouped, grouped, gaps)] * 2, [0.0, 0.5])
    assert joined.p_value == pytest.approx(stats.binomtest(10, 12).pvalue)  # the halves' images are not each other's


def test_held_out_areas_are_means_over_the_halves_weighted_by_their_pairs(rng):
    train, tests = margins(rng, helps=3.0), [margins(rng, 30, 1.0), margins(rng, 60, 1.0)]
    found = held_out([(train, test, GAPS) for test in tests], SHIFTS, 0, resamples=400)
    areas = [[roc_auc_score(test.labels, test.margins[i]) for i in (2, 4)] for test in tests]
    expected = np.average(areas, axis=0, weights=[10 * 20, 20 * 40])
    assert (found.default, found.modified) == pytest.approx(tuple(expected)) and found.shifts == (1.0, 1.0)
    assert (found.n, found.discordant, found.direction) == (90, None, "down")
    drawn = np.average(
        [test.at([2, 4]).resampled(400, 0, i) for i, test in enumerate(tests)], axis=0, weights=[200, 800]
    )
    gains = drawn[:, 1] - drawn[:, 0]
    assert (found.gain_low, found.gain_high) == middle(gains)
    assert found.p_value == pytest.approx(2 * (1 + min((gains <= 0).sum(), (gains >= 0).sum())) / 401)
    assert found.p_value < 0.05 and found.gain_low > 0


def test_held_out_without_a_shift_gains_exactly_nothing(rng):
    steady = margins(rng)
    flat = Margins(np.tile(steady.margins[2], (5, 1)), steady.labels)
    found = held_out([(flat, margins(rng), GAPS)] * 2, SHIFTS, 0, resamples=50)
    assert (found.gain, found.gain_low, found.gain_high, found.p_value) == (0, 0, 0, 1)
    assert (found.shift, found.direction) == (0, "none")


def test_choosing_on_the_test_items_gains_on_noise_and_holding_out_does_not(rng):
    """Mean gain of 60 draws of 120 items: well above 0 where chosen and tested on the same, else within its error."""
    chosen, tested = [], []
    for seed in range(60):
        outcomes = noise(rng, 120)
        parts = [outcomes.take(rows) for rows in halves(120, None, seed)]
        chosen.append(on_test(outcomes, SHIFTS, GAPS, seed, 1, 1).gain)
        tested.append(held_out([(*parts, GAPS), (*parts[::-1], GAPS)], SHIFTS, seed, 1).gain)
    error = np.std(tested) / 60**0.5
    assert np.mean(chosen) > 5 * error and abs(np.mean(tested)) < 3.5 * error


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


test_what_cannot_be_chosen_from_is_refused = refuses(
    (lambda: on_test(np.ones((5, 3)), SHIFTS, GAPS), "hits must be a bool array"),
    (lambda: on_test(HITS, [np.nan, *SHIFTS[1:]], GAPS), "finite"),
    (lambda: on_test(HITS, SHIFTS[:3], GAPS, 0), "5 shifts have outcomes, but there are 3 amounts and 5 gaps"),
    (lambda: on_test(HITS, SHIFTS, GAPS[:3], 0), "5 amounts and 3 gaps"),
    (lambda: on_test(HITS, SHIFTS + 0.1, GAPS, 0), "exactly once; they hold it 0 times"),
    (lambda: on_test(HITS, SHIFTS * 0, GAPS, 0), "they hold it 5 times"),
    (lambda: on_test(HITS, SHIFTS, GAPS, -1), "seed must be a whole number of at least 0"),
    (lambda: on_test(HITS, SHIFTS, GAPS, 0, resamples=0), "resamples must be"),
    (lambda: on_test(HITS, SHIFTS, GAPS, 0, permutations=0), "permutations must be"),
    (lambda: held_out([], SHIFTS, 0), "needs halves"),
    (lambda: held_out([(HITS, RANKED, GAPS)], SHIFTS, 0), "all hits or all margins"),
    (lambda: held_out([(HITS, HITS.at([0, 2]), GAPS)], SHIFTS, 0), "2 shifts have outcomes"),
    (lambda: halves(1, None, 0), "n must be a whole number of at least 2"),
    (lambda: halves(3, np.zeros(2), 0), "one stratum for each of 3 items"),
)


HITS = Hits(np.eye(5, dtype=bool))
RANKED = Margins(np.eye(5), np.array([0, 1, 0, 1, 0]))
