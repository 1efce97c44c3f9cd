"""The published gains and p-values: counts by trying every number of hits, the test by its formula."""

import numpy as np
import pytest
from scipy import stats

import published_gains
from util import published
from util.numerics.statistics import mcnemar


@pytest.fixture(scope="module")
def table():
    return published_gains.table()


def of(table, dataset):
    return table[table.dataset == dataset].iloc[0]


@pytest.mark.parametrize("dataset", ["CIFAR10", "CIFAR100", "EuroSAT", "SVHN"])
def test_the_net_gain_is_one_that_rounding_allows(table, dataset):
    """Every number of hits is tried."""
    row = of(table, dataset)
    (printed,) = (each for each in published_gains.published_rows() if each["dataset"] == dataset)
    assert (row.default, row.modified) == (printed["default"], printed["modified"]) and len(table) == 4
    hits = np.arange(row.n + 1)
    before, after = (hits[np.abs(hits / row.n - value) <= 0.5e-4 + 1e-12] for value in (row.default, row.modified))
    assert after[0] - before[-1] <= row.net_items <= after[-1] - before[0]
    if dataset != "EuroSAT":
        assert row.net_items < row.most_discordant_corrected < row.most_discordant < row.most_possible < row.n
        assert row.most_discordant == pytest.approx((row.net_items / stats.norm.ppf(0.975)) ** 2, rel=0.2)


def test_the_gain_on_svhn_is_18_images_and_significant_for_few_changes_only(table):
    """46 gained and 28 lost are significant at 0.05, 47 and 29 no more."""
    row = of(table, "SVHN")
    assert (row.net_items, row.n, row.most_discordant) == (18, 26_032, 74)
    assert mcnemar(46, 28) < 0.05 < mcnemar(47, 29)
    assert row.share == pytest.approx(74 / 26_032) and row.least_p == pytest.approx(2.0**-17)
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


def test_the_published_p_values_are_of_all_images_and_table_1s_are_another_matter():
    """By the statistic's formula: n (p2 - p1)^2 / (2 p (1 - p)), p the mean of both accuracies."""
    found = published_gains.chi_squared()
    mean = (found["default"] + found["modified"]) / 2
    expected = found["n"] * (found["modified"] - found["default"]) ** 2 / (2 * mean * (1 - mean))
    assert found["chi_squared"].to_numpy() == pytest.approx(expected.to_numpy())
    assert found["equal_at"].to_numpy() == pytest.approx((2 * mean * (1 - mean)).to_numpy())
    whole, split, table_1 = (found.iloc[start::3].reset_index(drop=True) for start in range(3))
    assert whole["n"].tolist() == [60_000, 60_000, 27_000]
    assert whole["n_of_published_p"].to_numpy() == pytest.approx(whole["n"].to_numpy(), rel=2e-5)
    assert (split["p_value"][:2] > 0.05).all() and (table_1["p_value"] < 0.05).tolist() == [False, False, True]
    assert (table_1["default"] != whole["default"]).all()
    net, changed = 78, round(0.5 * whole["equal_at"][0] * 10_000)  # half as many changed: the paired p is smaller
    assert mcnemar((changed + net) // 2, (changed - net) // 2) < split["p_value"][0]


@pytest.mark.parametrize("k", range(5))
def test_no_tolerance_is_wider_than_half_the_gain_that_it_judges(k):
    keys = [f"table_1.rows.{k}.{name}" for name in ("default", "modified", "gain")]
    numbers = published.numbers()
    assert {numbers[key].judged_by.tolerance <= numbers[keys[2]].value / 2 for key in keys} == {True}
    gain = numbers[keys[1]].value - numbers[keys[0]].value
    assert numbers[keys[2]].value == pytest.approx(gain, abs=1e-9)
