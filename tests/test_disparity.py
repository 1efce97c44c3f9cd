"""Disparity between races: by hand, against drawing faces one by one, against exact tests; and what a shift costs."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from util.fairness.audit import Answers, audit
from util.fairness.declared import BADGES, Declared
from util.fairness.disparity import accuracy_cost, disparity, extremes

DECLARED = Declared.read(BADGES)
HARM = len(DECLARED.classes)
SHIFTS = [-0.5, 0.0, 0.5]


def faces_of(*sizes):
    """Faces of the first groups, so many of each, all of the first kind."""
    race = np.repeat(np.arange(len(sizes)), sizes)
    return DECLARED.faces({"group": race, "kind": [0] * len(race)})


def race_of(faces):
    return faces["race"].cat.codes.to_numpy(np.int64)


def harming(faces, *numbers, shifts=SHIFTS):
    """Answers right but for the first so many of each group, which are harmed; numbers for each shift."""
    race = race_of(faces)
    predicted = np.tile(2 * race, (len(shifts), 1))
    for row, counts in zip(predicted, numbers, strict=True):
        for group, number in enumerate(counts):
            row[np.flatnonzero(race == group)[:number]] = HARM + group % 2
    return Answers(DECLARED, faces, predicted, shifts)


def drifting(rng, faces):
    """Answers at several shifts: a face is harmed where its own number passes a level that rises."""
    own = rng.random(len(faces)) + 0.05 * race_of(faces)
    predicted = np.stack([np.where(own > 0.9 - 0.1 * k, HARM, 2 * race_of(faces)) for k in range(3)])
    return Answers(DECLARED, faces, predicted, SHIFTS)


def test_difference_and_ratio_of_three_groups_by_hand():
    table = disparity(harming(faces_of(10, 20, 4), (1, 8, 1), (2, 2, 2), (0, 0, 0)), seed=0, resamples=50)
    assert list(table["shift"]) == SHIFTS and (table["n_races"] == 3).all()
    assert list(table["highest"]) == ["maple", "birch", "cedar"]
    assert list(table["lowest"]) == ["cedar", "maple", "cedar"]
    assert list(table["difference"]) == pytest.approx([8 / 20 - 1 / 10, 2 / 4 - 2 / 20, 0])
    ratios = [(8.5 / 21) / (1.5 / 11), (2.5 / 5) / (2.5 / 21), (0.5 / 5) / (0.5 / 21)]
    assert list(table["ratio"]) == pytest.approx(ratios)
    assert list(table["difference_change"]) == pytest.approx([0.3 - 0.4, 0, 0 - 0.4])
    assert list(table["ratio_change"]) == pytest.approx([ratio - ratios[1] for ratio in ratios])
    assert (table["disparity_p_value"].iloc[2], table["difference_high"].iloc[2]) == (1, 0)  # nobody is harmed


def test_intervals_are_those_of_drawing_the_faces_of_each_race_again(rng):
    faces = faces_of(60, 90, 40)
    answers = drifting(rng, faces)
    table = disparity(answers, seed=3, resamples=4000)
    harmed, rows = answers.harmed, [np.flatnonzero(race_of(faces) == group) for group in range(3)]
    sizes, drawn = np.array([60, 90, 40]), np.empty((4000, 3, 3), np.int64)
    for resample in range(4000):
        for group, here in enumerate(rows):
            drawn[resample, :, group] = harmed[:, here[rng.integers(0, len(here), len(here))]].sum(1)
    for name, values in extremes(drawn, sizes).items():
        for column, found in ((name, values), (f"{name}_change", values - values[:, [1]])):
            for end, percent in (("low", 2.5), ("high", 97.5)):
                off = np.abs(table[f"{column}_{end}"] - np.percentile(found, percent, axis=0))
                assert (off <= 0.2 * found.std(0)).all(), (column, end)


def test_the_p_value_of_two_groups_is_the_exact_one():
    """Of two groups the difference grows with the harmed of either, so p adds up hypergeometric probabilities."""
    numbers = [(4, 8), (6, 4), (0, 20)]
    found = disparity(harming(faces_of(40, 25), *numbers), seed=1, resamples=4000)["disparity_p_value"]
    for k, (first, second) in enumerate(numbers):
        chance = stats.hypergeom(65, 40, first + second)
        possible = np.arange(first + second + 1)
        differences = np.abs(possible / 40 - (first + second - possible) / 25)
        exact = chance.pmf(possible)[differences >= abs(first / 40 - second / 25) - 1e-12].sum()
        assert found[k] == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 4000) + 1 / 4000)
    assert found[2] == 1 / 4001


def test_neither_the_order_of_the_faces_nor_equal_predictions_change_anything_and_the_seed_does(rng):
    answers, order = drifting(rng, faces_of(25, 35, 20)), rng.permutation(80)
    answers = replace(answers, predicted=answers.predicted[[0, 0, 2]])
    other = replace(answers, faces=answers.faces.iloc[order], predicted=answers.predicted[:, order])
    first, reordered = (disparity(each, seed=5, resamples=100) for each in (answers, other))
    pd.testing.assert_frame_equal(first, reordered)
    assert not first.equals(disparity(answers, seed=6, resamples=100))
    for name in ("difference", "ratio"):
        columns = [f"{name}_change", f"{name}_change_low", f"{name}_change_high"]
        assert (first.loc[:1, columns] == 0).all(None)
        assert first.loc[0, f"{name}_low"] < first.loc[0, f"{name}_high"]
        assert first.loc[2, columns[1]] < first.loc[2, columns[2]]


def test_groups_without_faces_are_left_out_and_one_group_alone_has_no_disparity():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        two = disparity(harming(faces_of(10, 0, 5), (3, 0, 1), shifts=[0]), 0, 20)
        one = disparity(harming(faces_of(10), (3,), shifts=[0]), 0, 20)
    assert two.loc[0, ["n_races", "highest", "lowest"]].tolist() == [2, "cedar", "birch"]
    assert two.loc[0, "difference"] == pytest.approx(0.1)
    assert one.loc[0, ["n_races", "highest", "lowest"]].tolist() == [1, "", ""]
    assert one.drop(columns=["shift", "n_races", "highest", "lowest"]).isna().all(None)
    assert list(one) == list(two)


def test_what_a_shift_costs_by_hand():
    faces = faces_of(6, 4)
    rows, right = np.arange(10), 2 * race_of(faces)
    before = np.where(rows < 2, right + 1, right)
    after = np.where((rows >= 1) & (rows < 8), right + 1, right)  # face 0 gained, 2 to 7 lost
    answers = Answers(DECLARED, faces, np.stack([after, before]), [-0.2, 0])
    table = accuracy_cost(answers)
    assert list(table["accuracy_change"]) == pytest.approx([-0.5, 0])
    assert table.loc[0, ["accuracy_gained", "accuracy_lost"]].tolist() == [1, 6]
    assert table.loc[0, "accuracy_p_value"] == pytest.approx(2 * (1 + 7) / 2**7)
    half = 1.959964 * math.sqrt((9 / 12 - (5 / 12) ** 2) / 12)
    expected = [-5 / 12 - half, -5 / 12 + half]
    ends = ["accuracy_change_low", "accuracy_change_high"]
    assert table.loc[0, ends].tolist() == pytest.approx(expected, abs=1e-6)
    accuracy = audit(answers, [0, 0], ())["accuracy"]
    assert list(accuracy) == pytest.approx([0.3, 0.8])
    assert list(accuracy - accuracy[1]) == pytest.approx(list(table["accuracy_change"]))
