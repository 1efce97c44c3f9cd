"""The audit: six faces counted by hand, many by loops and scipy's own tests, and what must not matter."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from util import UserError
from util.fairness.audit import Audit, Faces, audit, confusion, paired_change, true_classes
from util.fairness.declared import BADGES, Declared
from util.numerics import statistics

CONTRACT = "shift, signed_gap_distance, accuracy, race, n, crime_related, non_human, sum, ci_low, ci_high, p_value"

TINY = """
title = "t"
about = "a"
source = "s"
licence = "l"
caution = "c"
[classes]
template = "{race} {gender}"
axes = ["race", "gender"]
[attributes.race]
levels = ["A", "B", "C"]
[attributes.gender]
levels = ["f", "m"]
[attributes.age]
levels = ["young", "old"]
[harm]
template = "{word}!"
[harm.groups]
non_human = ["ape"]
crime_related = ["thief", "crook"]
"""
APE, THIEF, CROOK = 6, 7, 8


@pytest.fixture
def tiny(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    return Declared.read(tmp_path / "tiny.toml")


@pytest.fixture
def six():
    """Four faces of race A, two of B, none of C; every second a man."""
    return Faces(
        np.array([0, 0, 0, 0, 1, 1]),
        np.array([0, 1, 0, 1, 0, 1]),
        ("A", "B", "C"),
        ("f", "m"),
        np.array([0, 0, 0, 1, 1, 1]),
        ("young", "old"),
    )


SIX = np.array(
    [
        [0, 1, 0, 0, 2, 3],  # shift 1: nobody harmed, the fourth face's gender wrong
        [APE, THIEF, 0, 1, 2, THIEF],  # shift 0
        [APE, CROOK, THIEF, 1, APE, 3],  # shift -1: the third and fifth newly harmed, the sixth no longer
    ]
)
SHIFTS, GAPS = [1.0, 0.0, -1.0], [0.5, 1.5, 2.5]


def some_faces(rng, n, declared):
    sizes = [len(axis.levels) for axis in (declared.race, declared.gender)]
    race, gender = (rng.integers(0, size, n) for size in sizes)
    return Faces(race, gender, declared.race.levels, declared.gender.levels, rng.integers(0, 3, n), ("x", "y", "z"))


def some_predictions(rng, n, shifts, declared):
    """Drift from class to class, so that most faces keep theirs from shift to shift."""
    drawn = rng.integers(0, len(declared.prompts), (shifts, n))
    keep = rng.random((shifts, n)) < 0.8
    return np.where(keep, drawn[0], drawn)


def test_six_faces_by_hand(tiny, six):
    table = audit(SIX, six, tiny, SHIFTS, GAPS).by_race
    assert ", ".join(table.columns).startswith(CONTRACT)
    assert list(table["race"]) == ["A", "B", "C"] * 3 and list(table["n"]) == [4, 2, 0] * 3
    assert list(table["shift"]) == [1.0] * 3 + [0.0] * 3 + [-1.0] * 3
    assert list(table["signed_gap_distance"]) == [0.5] * 3 + [1.5] * 3 + [2.5] * 3
    there = table[table["race"] != "C"]
    assert list(there["crime_related"]) == [0, 0, 1 / 4, 1 / 2, 2 / 4, 0]
    assert list(there["non_human"]) == [0, 0, 1 / 4, 0, 1 / 4, 1 / 2]
    assert list(there["sum"]) == [0, 0, 2 / 4, 1 / 2, 3 / 4, 1 / 2]
    assert list(there["gained"]) == [0, 0, 0, 0, 1, 1] and list(there["lost"]) == [2, 1, 0, 0, 0, 1]
    assert list(there["net"]) == [-2, -1, 0, 0, 1, 0]
    assert list(there["change"]) == [-2 / 4, -1 / 2, 0, 0, 1 / 4, 0]
    assert list(there["p_value"]) == pytest.approx([0.5, 1, 1, 1, 1, 1])
    assert list(there["p_holm"]) == pytest.approx([1, 1, 1, 1, 1, 1])
    assert list(there["accuracy"]) == pytest.approx([5 / 6] * 2 + [3 / 6] * 2 + [2 / 6] * 2)
    assert list(there["own_accuracy"]) == [3 / 4, 1, 2 / 4, 1 / 2, 1 / 4, 1 / 2]


def test_a_group_without_faces_is_reported_as_empty_and_nothing_is_divided_by_zero(tiny, six):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = audit(SIX, six, tiny, SHIFTS, GAPS)
    empty = found.by_race[found.by_race["race"] == "C"]
    assert empty["empty"].all() and not found.by_race.loc[found.by_race["race"] != "C", "empty"].any()
    assert (empty[["n", "gained", "lost", "net"]] == 0).all(None)
    rates = "crime_related non_human sum ci_low ci_high p_value p_holm change change_low own_accuracy non_human_high"
    assert empty[rates.split()].isna().all(None)
    assert empty["accuracy"].notna().all()  # of all faces
    assert list(found.by_race_gender["empty"]) == [False, False, False, False, True, True] * 3


def test_an_empty_group_does_not_count_as_a_test_in_the_correction(tiny, six):
    many = six.take(np.repeat(np.arange(6), 5))
    table = audit(np.repeat(SIX, 5, axis=1), many, tiny, SHIFTS, GAPS).by_race.head(3)  # A loses 10, B loses 5
    assert list(table["p_value"])[:2] == pytest.approx([2 / 2**10, 2 / 2**5])
    assert list(table["p_holm"])[:2] == pytest.approx([2 * 2 / 2**10, 2 / 2**5])


def test_every_number_agrees_with_loops_and_with_scipys_tests(rng):
    declared = Declared.read()
    faces = some_faces(rng, 300, declared)
    predicted = some_predictions(rng, 300, 4, declared)
    found = audit(predicted, faces, declared, [0.5, 0.0, -0.5, -1.0], np.arange(4.0))
    names = [*(None for _ in declared.classes), *declared.harms]
    for row in found.by_race_gender.sample(20, random_state=1).itertuples():
        k = [0.5, 0.0, -0.5, -1.0].index(row.shift)
        here = [i for i in range(300) if (faces.races[faces.race[i]], faces.genders[faces.gender[i]]) == row[4:6]]
        harms, before = [names[predicted[k, i]] for i in here], [names[predicted[1, i]] for i in here]
        assert row.n == len(here) and row.sum == pytest.approx(sum(map(bool, harms)) / len(here))
        crimes = stats.binomtest(harms.count("crime_related"), len(here))
        assert row.crime_related == crimes.statistic
        low, high = crimes.proportion_ci(method="wilson")
        assert (row.crime_related_low, row.crime_related_high) == pytest.approx((low, high), abs=1e-12)
        gained = sum(bool(now) and not then for now, then in zip(harms, before, strict=True))
        lost = sum(bool(then) and not now for now, then in zip(harms, before, strict=True))
        assert (row.gained, row.lost) == (gained, lost)
        expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert row.p_value == pytest.approx(expected)
    for k, rows in found.by_race.groupby(found.by_race["shift"], sort=False):
        assert list(rows["p_holm"]) == pytest.approx(statistics.holm(rows["p_value"].to_numpy())), k


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=5))
def test_vector_forms_are_the_intervals_and_tests_of_util_statistics(pairs):
    first, second = np.array(pairs).T
    low, high = statistics.wilson_limits(first, first + second + 1)
    p_values = statistics.mcnemar_p_values(first, second)
    for i, (a, b) in enumerate(pairs):
        assert (low[i], high[i]) == pytest.approx(statistics.wilson_interval(a, a + b + 1), abs=1e-12)
        assert p_values[i] == pytest.approx(statistics.mcnemar(a, b), rel=1e-9)


def test_the_order_of_the_faces_does_not_matter(rng):
    declared = Declared.read()
    faces, predicted = some_faces(rng, 200, declared), some_predictions(rng, 200, 3, declared)
    order = rng.permutation(200)
    found, other = (
        audit(*part, declared, SHIFTS, GAPS) for part in ((predicted, faces), (predicted[:, order], faces.take(order)))
    )
    for name in ("by_race", "by_race_gender", "by_age", "overall"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(other, name))


def test_the_tables_by_race_and_gender_add_up_to_those_by_race_and_of_all(rng):
    declared = Declared.read()
    found = audit(some_predictions(rng, 500, 3, declared), some_faces(rng, 500, declared), declared, SHIFTS, GAPS)
    for name in ("crime_related", "non_human", "sum", "own_accuracy", "change"):
        fine, middle = found.by_race_gender, found.by_race
        added = (fine[name] * fine["n"]).groupby([fine["shift"], fine["race"]], sort=False).sum()
        assert added.to_numpy() == pytest.approx((middle[name] * middle["n"]).to_numpy())
    for table in (found.by_race, found.by_age):
        total = (table["sum"] * table["n"]).groupby(table["shift"], sort=False).sum()
        assert total.to_numpy() == pytest.approx(500 * found.overall["sum"].to_numpy())
    assert list(found.overall["own_accuracy"]) == list(found.overall["accuracy"])
    assert list(found.overall["n"]) == [500] * 3 and "race" not in found.overall


def test_faces_without_ages_have_no_table_by_age(tiny, six):
    unknown = Faces(six.race, six.gender, six.races, six.genders)
    found = audit(SIX, unknown, tiny, SHIFTS, GAPS)
    assert isinstance(found, Audit) and found.by_age is None
    aged = audit(SIX, six, tiny, SHIFTS, GAPS).by_age
    assert list(aged["age"]) == ["young", "old"] * 3 and list(aged["sum"])[2:] == pytest.approx(
        [2 / 3, 1 / 3, 1, 1 / 3]
    )


def test_confusion_matrices_by_hand(tiny, six):
    fine = confusion(SIX, six, tiny, SHIFTS, [-1.0])
    assert list(fine.columns) == ["shift", "true", "predicted", "count"] and len(fine) == 6 * 9
    found = {(row.true, row.predicted): row.count for row in fine[fine["count"] > 0].itertuples(index=False)}
    one = {("A f", "ape"), ("A m", "crook"), ("A f", "thief"), ("A m", "A m"), ("B f", "ape"), ("B m", "B m")}
    assert found == dict.fromkeys(one, 1)
    coarse = confusion(SIX, six, tiny, SHIFTS, [1.0, 0.0], by="race")
    assert len(coarse) == 2 * 3 * 6 and list(coarse["shift"].unique()) == [1.0, 0.0]
    found = {tuple(row)[:3]: row.count for row in coarse[coarse["count"] > 0].itertuples(index=False)}
    at_zero = {("A", "ape"): 1, ("A", "thief"): 1, ("A", "A"): 2, ("B", "B"): 1, ("B", "thief"): 1}
    assert found == {(1.0, "A", "A"): 4, (1.0, "B", "B"): 2} | {(0.0, *key): n for key, n in at_zero.items()}


def test_the_confusion_matrix_holds_the_accuracy_and_the_harm_of_the_audit(rng):
    declared = Declared.read()
    faces, predicted = some_faces(rng, 400, declared), some_predictions(rng, 400, 3, declared)
    table = confusion(predicted, faces, declared, SHIFTS, [0.0])
    overall = audit(predicted, faces, declared, SHIFTS, GAPS).overall.iloc[1]
    assert table["count"].sum() == 400
    assert table.loc[table["true"] == table["predicted"], "count"].sum() / 400 == overall["accuracy"]
    assert table.loc[table["predicted"].isin(declared.harm_words), "count"].sum() / 400 == overall["sum"]


def test_a_further_harm_group_gets_columns_after_those_of_the_contract(tmp_path):
    (tmp_path / "more.toml").write_text(TINY.replace("[harm.groups]", "[harm.groups]\nillness = ['ill']"))
    declared = Declared.read(tmp_path / "more.toml")
    faces = Faces(np.array([0, 0]), np.array([0, 1]), ("A", "B", "C"), ("f", "m"))
    table = audit(np.array([[6, 8]]), faces, declared, [0], [1]).by_race
    assert ", ".join(table.columns).startswith(CONTRACT)
    place = table.columns.get_loc("illness")
    assert list(table.columns[place - 1 : place + 3]) == ["non_human_high", "illness", "illness_low", "illness_high"]
    assert list(table.loc[0, ["crime_related", "non_human", "illness", "sum"]]) == [1 / 2, 0, 1 / 2, 1]
    assert list(table.loc[0, ["illness_low", "illness_high"]]) == pytest.approx(statistics.wilson_interval(1, 2))


def test_badges_are_audited_as_they_are_numbered(rng):
    declared = Declared.read(BADGES)
    faces = Faces(rng.integers(0, 7, 50), rng.integers(0, 2, 50), declared.race.levels, declared.gender.levels)
    table = audit(true_classes(faces)[None], faces, declared, [0], [1]).by_race
    assert list(table["race"]) == list(declared.race.levels) and (table["own_accuracy"] == 1).all()
    assert (table["sum"] == 0).all()


def test_the_paired_interval_by_hand_and_by_simulation(rng):
    """Of 100 faces 7 gained, 2 lost: (8 - 3)/102 -+ 1.96 sqrt((8/102 + 3/102 - (5/102)^2) / 102)."""
    change, low, high = paired_change(*map(np.array, (7, 2, 100)))
    half = stats.norm.ppf(0.975) * math.sqrt((11 / 102 - (5 / 102) ** 2) / 102)
    assert (change, low, high) == pytest.approx((0.05, 5 / 102 - half, 5 / 102 + half))
    gained, lost, _ = rng.multinomial(200, [0.04, 0.01, 0.95], 4000).T
    _, low, high = paired_change(gained, lost, np.full(4000, 200))
    assert 0.94 < ((low <= 0.03) & (high >= 0.03)).mean() < 0.98


def test_faces_are_made_of_labels_as_the_data_have_them():
    faces = Faces.of(Declared.read(), ["Latino_Hispanic", 2], [1, "Male"], ["3-9", 8])
    assert [faces.races[code] for code in faces.race] == ["Latino", "Black"]
    assert [faces.genders[code] for code in faces.gender] == ["Female", "Male"]
    assert [faces.ages[code] for code in faces.age] == ["3-9", "more than 70"] and len(faces) == 2
    assert Faces.of(Declared.read(), [0], [0]).age is None


@pytest.mark.parametrize(
    "made, said",
    [
        (lambda f: Faces(f.race[:3], f.gender, f.races, f.genders), "gender .* one for each of the 3 faces of race"),
        (lambda f: Faces(f.race, f.gender + 1, f.races, f.genders), "gender has numbers 1 to 2; its 2 levels count"),
        (lambda f: Faces(f.race - 1, f.gender, f.races, f.genders), "race has numbers -1 to 0"),
        (lambda f: Faces(f.race / 2, f.gender, f.races, f.genders), "race must be whole numbers"),
        (lambda f: Faces(f.race, f.gender, f.races, f.genders, f.age[:2], f.ages), "age .* each of the 6 faces"),
    ],
)
def test_faces_that_do_not_fit_together_are_refused(six, made, said):
    with pytest.raises(UserError, match=said):
        made(six)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"predicted": SIX.astype(float)}, "class numbers"),
        ({"predicted": SIX[:2]}, r"class numbers, of shape .* \(3, 6\)"),
        ({"predicted": SIX + 1}, "class outside 0 to 8"),
        ({"predicted": SIX - 1}, "class outside 0 to 8"),
        ({"shifts": [1.0, 0.5, -1.0]}, "must hold 0"),
        ({"shifts": [1.0, math.nan, 0.0]}, "finite"),
        ({"signed_gap_distances": [1.0]}, "3 shifts and 1 signed"),
        ({"declared": Declared.read()}, "levels are not the declared ones"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(tiny, six, change, said):
    given = {"predicted": SIX, "faces": six, "declared": tiny, "shifts": SHIFTS, "signed_gap_distances": GAPS}
    with pytest.raises(UserError, match=said):
        audit(**given | change)


def test_no_faces_at_all_are_refused(tiny):
    none = np.zeros(0, np.int64)
    with pytest.raises(UserError, match="no faces"):
        audit(np.zeros((1, 0), np.int64), Faces(none, none, ("A", "B", "C"), ("f", "m")), tiny, [0], [1])


def test_a_confusion_matrix_of_a_shift_that_is_not_there_or_of_other_groups_is_refused(tiny, six):
    with pytest.raises(UserError, match=r"-0.2 is not one of the shifts, which are 1, 0, -1"):
        confusion(SIX, six, tiny, SHIFTS, [-0.2])
    with pytest.raises(UserError, match="no confusion matrix by 'age'; choose from race, race x gender"):
        confusion(SIX, six, tiny, SHIFTS, [0.0], by="age")
