"""The published gains: counts by trying every number of hits, standard errors by hand and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

import published_gains
from published_gains import area_standard_error, correlation_needed, count_range
from util import UserError
from util.numerics.statistics import mcnemar


@pytest.fixture(scope="module")
def table():
    return published_gains.table()


def of(table, dataset):
    return table[table.dataset == dataset].iloc[0]


def test_every_published_row_is_there_with_its_published_values(table):
    rows = published_gains.published_rows()
    assert list(dict.fromkeys(table.dataset)) == [row["dataset"] for row in rows]
    for row in rows:
        found = of(table, row["dataset"])
        assert (found.metric, found.default, found.modified) == (row["metric"], row["default"], row["modified"])
        assert found.gain == pytest.approx(row["modified"] - row["default"])


@pytest.mark.parametrize("dataset", ["CIFAR10", "CIFAR100", "EuroSAT", "SVHN"])
def test_the_net_gain_is_what_rounding_allows(table, dataset):
    row = of(table, dataset)
    hits = np.arange(row.n + 1)
    before, after = (hits[np.abs(hits / row.n - value) <= 0.5e-4 + 1e-12] for value in (row.default, row.modified))
    assert (row.net_low, row.net_high) == (after[0] - before[-1], after[-1] - before[0])
    assert row.net_low <= row.net_items <= row.net_high
    assert count_range(row.default, row.n) == (before[0], before[-1])


def test_the_gain_on_svhn_is_18_images_and_significant_for_few_changes_only(table):
    """46 gained and 28 lost are significant at 0.05, 47 and 29 no more."""
    row = of(table, "SVHN")
    assert (row.net_items, row.n, row.most_discordant) == (18, 26_032, 74)
    assert mcnemar(46, 28) < 0.05 < mcnemar(47, 29)
    assert row.share == pytest.approx(74 / 26_032) and row.least_p == pytest.approx(2.0**-17)
    assert row.most_discordant_low < 74 < row.most_discordant_high < 100
    lost = (row.most_discordant_corrected - 18) // 2
    assert mcnemar(18 + lost, lost) < 0.05 / 39 < mcnemar(19 + lost, lost + 1)
    assert "at most 74 of 26032 predictions changed; as the best of 40 shifts (Bonferroni) only if at most " in row.note


def test_the_gain_on_eurosat_is_significant_however_many_changed(table):
    """At most every item right before can be lost, and no more than are wrong after."""
    row = of(table, "EuroSAT")
    lost = (row.most_possible - row.net_items) // 2
    assert lost <= 0.541 * 27_000 + 2 and lost <= (1 - 0.5645) * 27_000 + 2
    assert mcnemar(int(row.net_items + lost), int(lost)) < 0.05 / 39
    assert row.most_discordant_corrected >= row.most_possible and row.note.startswith("significant however many")


@pytest.mark.parametrize("dataset, net", [("CIFAR10", 68), ("CIFAR100", 79)])
def test_accuracies_of_10000_images_are_exact_and_their_limits_lie_between(table, dataset, net):
    row = of(table, dataset)
    assert row.net_low == row.net_items == row.net_high == net
    assert net < row.most_discordant_corrected < row.most_discordant < row.most_possible < row.n
    assert row.most_discordant == pytest.approx((net / stats.norm.ppf(0.975)) ** 2, rel=0.05)


def test_the_area_has_a_row_for_each_split_it_may_be_of(table):
    rows = table[table.metric == "ROC-AUC"]
    assert rows.n.tolist() == list(published_gains.MEMES.values())
    assert rows.net_items.isna().all() and rows.most_discordant.isna().all()
    assert (rows.correlation > 0.999).all() and (rows.correlation_corrected > rows.correlation).all()
    assert rows.correlation.is_monotonic_decreasing
    assert all("n is not published: an example" in note for note in rows.note)
    assert table[table.metric != "ROC-AUC"].correlation.isna().all()


def test_the_standard_error_is_that_by_hand_and_of_exponential_margins(rng):
    """Area 1/2, one item of each class: 1/4 in all, the variance of a coin; two of each: (1/4 + 2/12) / 4.

    4000 areas of 40 and 60 exponential margins, the positives' mean twice that of the negatives: area 2/3.
    """
    assert area_standard_error(0.5, 1, 1) == pytest.approx(0.5)
    assert area_standard_error(0.5, 2, 2) == pytest.approx(math.sqrt((1 / 4 + 2 / 12) / 4))
    positive, negative = 2 * rng.exponential(size=(4000, 40, 1)), rng.exponential(size=(4000, 1, 60))
    areas = (positive > negative).mean((1, 2))
    assert areas.mean() == pytest.approx(2 / 3, abs=0.005)
    assert areas.std() == pytest.approx(area_standard_error(2 / 3, 40, 60), rel=0.05)


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_at_the_correlation_needed_the_difference_is_z_standard_errors(alpha):
    r = correlation_needed(0.7, 0.74, 120, 80, alpha)
    s = [area_standard_error(area, 120, 80) for area in (0.7, 0.74)]
    z = 0.04 / math.sqrt(s[0] ** 2 + s[1] ** 2 - 2 * r * s[0] * s[1])
    assert 2 * stats.norm.sf(z) == pytest.approx(alpha)


def test_a_share_that_no_number_of_hits_gives_is_refused():
    with pytest.raises(UserError, match="no number of hits among 10 items"):
        count_range(0.4567, 10)
