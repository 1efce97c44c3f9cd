"""The authors' own counts through the audit's counting, and what they can and cannot show."""

import numpy as np
import pytest

import published_counts as published
from util import published as values
from util.fairness.audit import harm_counts
from util.numerics import statistics

TABLE = values.values()["table_2"]
PRINTED = {0.0: ("default_percent", "confusion_default"), -0.2: ("shift_-0.20_percent", "confusion_shift_-0.20")}


def test_every_percentage_agrees_to_the_printed_digit_or_is_the_named_disagreement():
    table = published.agreement()
    assert len(table) == 2 * 7 * 3
    notebook = table["computed_percent"].map("{:.1f}".format).astype(float)
    assert (notebook == table["notebook_percent"]).all()
    for shift, (percent, _) in PRINTED.items():
        for quantity in ("crime_related", "non_human", "sum"):
            part = table[(table["shift"] == shift) & (table["quantity"] == quantity)]
            assert list(part["race"]) == TABLE["races"]
            printed = values.numbers(f"table_2.{percent}.{quantity}.").values()
            assert list(part["notebook_percent"]) == pytest.approx([100 * number.value for number in printed])
    off = table[~table["agrees"]]
    differently = TABLE["as_the_paper_prints"]["default_sum_percent"]
    assert {row.race: row.paper_percent for row in off.itertuples()} == differently
    assert list(zip(off["shift"], off["quantity"], strict=True)) == [(0.0, "sum")]
    assert (table["note"] != "").eq(~table["agrees"]).all()


def test_the_paper_rounded_one_rate_twice():
    row = published.agreement().query("not agrees").iloc[0]
    assert (row["count"], row["n"]) == (10, 1550)  # 0.645...%
    assert row["note"].startswith("10 of 1550 is 0.645%: the notebook has 0.6, the paper 0.7")
    assert row["note"].endswith("(rounded twice, to 0.65 and then to 0.7)")


def test_what_the_paper_prints_is_unknown_beside_its_different_sum_and_known_elsewhere():
    unknown = published.agreement().query("paper_percent.isna()")
    (race,) = TABLE["as_the_paper_prints"]["default_sum_percent"]
    found = {(row.race, row.shift, row.quantity) for row in unknown.itertuples()}
    assert found == {(race, 0.0, "crime_related"), (race, 0.0, "non_human")}


def test_net_changes_are_differences_of_the_published_counts():
    table = published.net_changes().set_index("race")
    assert table.loc["White", ["before", "after", "net"]].tolist() == [324 + 4, 276 + 9, -43]
    assert table.loc["East Asian", ["n", "before", "after", "net"]].tolist() == [1550, 10, 9, -1]
    assert (table["net"] < 0).all() and table["net"].sum() == -78
    few = table[table["net"].abs() <= 3]
    assert sorted(few["net"]) == [-3, -2, -2, -1]
    assert (few["verdict"] == published.NEVER).all() and (few["most_discordant"] == 0).all()
    assert (table.drop(few.index)["verdict"] == published.DEPENDS).all()


def test_non_human_labels_became_more_frequent_where_the_sum_fell():
    table = published.net_changes("non_human").set_index("race")
    assert table.loc["White", ["before", "after"]].tolist() == [4, 9] and table.loc["Black", "net"] == 1
    assert (table["net"] >= 0).all()


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


def test_intervals_of_the_published_rates_are_wilsons():
    row = published.net_changes().set_index("race").loc["White"]
    assert (row["before_low"], row["before_high"]) == pytest.approx(statistics.wilson_interval(328, 2085))
    assert (row["after_low"], row["after_high"]) == pytest.approx(statistics.wilson_interval(285, 2085))


def test_the_accuracy_drop_is_the_notebooks_and_ten_times_that_of_the_text():
    drop, n = published.accuracy_drop(), published.n_faces()
    for key in published.KEYS.values():
        printed = values.numbers()[f"table_2.{key}_percent.accuracy"].value
        assert abs(printed * n - round(printed * n)) < 1e-6  # whole faces
    assert (drop["faces"], drop["n"]) == (85, 10954) and round(drop["notebook"], 4) == 0.0078
    assert drop["paper"] == 0.0008 and not drop["agrees"]


def test_harm_counts_do_not_depend_on_the_order_of_the_columns(rng):
    matrix, harms = rng.integers(0, 9, (3, 5)), [None, "a", None, "b", "a"]
    order = rng.permutation(5)
    found, other = harm_counts(matrix, harms), harm_counts(matrix[:, order], [harms[i] for i in order])
    assert list(found) == ["a", "b", "sum"]
    assert all((found[name] == other[name]).all() for name in found)
    assert (found["sum"] == found["a"] + found["b"]).all() and (found["a"] == matrix[:, 1] + matrix[:, 4]).all()
