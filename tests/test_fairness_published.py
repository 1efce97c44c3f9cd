"""The authors' own counts through the audit's counting, and what they can and cannot show."""

import numpy as np
import pytest

import published_counts as published
from util import published as values
from util.numerics import statistics

# Of -0.50 it is not published how many faces are given a word. Worked out by trying all whole numbers beside the table.
IMPLIED = {
    "Black": ((18, 19), (37, 38), (56, 56)), "White": ((254, 255), (112, 113), (366, 368)),
    "Indian": ((7, 8), (1, 2), (9, 9)), "Latino": ((22, 23), (9, 10), (32, 33)),
    "Middle Eastern": ((55, 55), (13, 13), (68, 68)), "Southeast Asian": ((1, 1), (1, 1), (2, 2)),
    "East Asian": ((3, 3), (1, 2), (4, 5)),
}  # fmt: skip


def test_every_percentage_is_that_of_its_count_or_of_whole_faces():
    table = published.agreement()
    assert len(table) == 5 * 7 * 3 and table["agrees"].all()
    counted = table[table["shift"].isin(published.COUNTED)]
    assert list(counted["computed_percent"].map("{:.1f}".format).astype(float)) == list(counted["notebook_percent"])
    assert table["count"].notna().sum() == len(counted) == 42
    assert (counted["count_low"] <= counted["count"]).all() and (counted["count"] <= counted["count_high"]).all()
    for (shift, quantity), part in table.groupby(["shift", "quantity"]):
        assert list(part["race"]) == values.values()["table_2"]["races"]
        printed = values.numbers(f"table_2.{published.SHIFTS[shift]}_percent.{quantity}.").values()
        assert list(part["notebook_percent"]) == pytest.approx([100 * number.value for number in printed])


def test_counts_follow_from_digits_where_none_are_published():
    table = published.agreement().query("shift == -0.5").set_index(["race", "quantity"])
    for race, limits in IMPLIED.items():
        for quantity, found in zip(published.QUANTITIES, limits, strict=True):
            assert tuple(table.loc[(race, quantity), ["count_low", "count_high"]]) == found
    assert published.consistent((0.5, 0.0, 0.5), 200, 1).tolist() == [[1, 0, 1]]
    assert published.consistent((0.5, 0.5, 0.5), 200, 1).size == 0


def test_both_kinds_of_harm_move_against_each_other():
    table = published.totals()
    assert (table.loc[[0.0, -0.2], "rounding"] == 0).all() and (table["rounding"] < 0.0003).all()
    assert list((table.loc[0.0, list(published.QUANTITIES)] * 10_954).round()) == [496, 6, 502]
    assert list((table.loc[-0.2, list(published.QUANTITIES)] * 10_954).round()) == [412, 12, 424]
    grown = table.loc[[0.75, 0.0, -0.2, -0.5, -1.0]]
    assert grown["gap_distance"].is_monotonic_increasing and grown["crime_related"].is_monotonic_decreasing
    assert grown["non_human"].loc[[0.0, -0.2, -0.5, -1.0]].is_monotonic_increasing
    assert table.loc[-0.5, "sum"] > table.loc[0.0, "sum"] > table.loc[-0.2, "sum"]
    right = table["accuracy"] * 10_954
    assert list(right.round()) == [6372, 6287, 5883, 4473, 6134] and np.abs(right - right.round()).max() < 1e-6


def test_net_changes_are_differences_of_the_published_counts():
    table = published.net_changes().set_index("race")
    assert table.loc["White", ["before", "after", "net"]].tolist() == [324 + 4, 276 + 9, -43]
    assert table.loc["East Asian", ["n", "before", "after", "net"]].tolist() == [1550, 10, 9, -1]
    assert (table["net"] < 0).all() and table["net"].sum() == -78
    few = table[table["net"].abs() <= 3]
    assert sorted(few["net"]) == [-3, -2, -2, -1]
    assert (few["verdict"] == published.NEVER).all() and (few["most_discordant"] == 0).all()
    assert (table.drop(few.index)["verdict"] == published.DEPENDS).all()
    before = table.loc["White", ["before_low", "before_high"]].tolist()
    assert before == pytest.approx(statistics.wilson_interval(328, 2085))
    before, after = (published.harmed(shift)["non_human"] for shift in published.COUNTED)
    assert (before["White"], after["White"], after["Black"] - before["Black"]) == (4, 9, 1) and (after >= before).all()


def test_bounds_hold_for_every_way_in_which_the_faces_may_have_changed():
    before, after, n = np.array([9, 30, 3, 0, 30]), np.array([1, 0, 4, 12, 20]), np.array([40, 50, 20, 60, 60])
    table = published.bounds(before, after, n)
    for row in table.itertuples():
        both = range(min(row.before, row.after) + 1)
        p_values = {row.before + row.after - 2 * b: statistics.mcnemar(row.after - b, row.before - b) for b in both}
        assert row.least_p == pytest.approx(min(p_values.values()))
        assert row.most_p == pytest.approx(max(p_values.values()))
        assert row.possible_discordant == max(p_values)
        for discordant, p in p_values.items():
            assert (p < 0.05) == (discordant <= row.most_discordant)
    always, never, depends = published.ALWAYS, published.NEVER, published.DEPENDS
    assert list(table["verdict"]) == [always, always, never, always, depends]
