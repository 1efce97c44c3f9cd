"""What is measured on a sample of rows, its nulls, and differences of models: separability, neighbours, overlap."""

import sys

import numpy as np
import pytest
import scipy

import reference
from refusals import refuses
from scripts import REPOSITORY
from util import Embeddings
from util.measures import compare, measure, of_rows
from util.measures.of_rows import nearest, sample, uniformity

sys.path.append(str(REPOSITORY / "benchmarks"))
import intervals


def separability(x, y, **options):
    return of_rows.separability(x, y, **options).value


def test_modalities_on_two_sides_of_a_plane_are_separable(rng):
    x, y = reference.pairs(rng, 60, 8, gap=3.0)
    assert separability(x, y) == 1.0
    assert separability(np.eye(2) + 1, -np.eye(2) - 1) == 1.0, "two rows of each are enough"


@pytest.mark.parametrize(("n", "columns", "within"), [(400, 4, 0.08), (100, 400, 0.15)])
def test_mixed_modalities_are_not_even_with_columns_enough_to_fit_any_labels(n, columns, within):
    x, y = np.random.default_rng(3).normal(size=(2, n, columns))
    assert separability(x, y) == pytest.approx(0.5, abs=within)


def test_rows_centred_on_themselves_are_below_a_half_and_centred_by_others_are_not():
    """The means of rows held out and of rows fitted then lie on opposite sides of zero."""
    x, y = np.random.default_rng(0).normal(size=(2, 400, 64)) + np.eye(2, 64)[:, None] * 8
    assert separability(x, y) == 1
    assert separability(x - x.mean(0), y - y.mean(0)) < 0.35
    assert separability(x[::2] - x[1::2].mean(0), y[::2] - y[1::2].mean(0)) > 0.45


def test_by_hand_on_a_line():
    """One point of five is on the other side, so it is taken for the other modality in whatever fold it is held out."""
    x = np.array([[1.0, 0.01], [1.0, -0.02], [1.0, 0.03], [1.0, 0.0], [-1.0, 0.02]])
    y = np.array([[-1.0, 0.01], [-1.0, 0.02], [-1.0, -0.01], [-1.0, 0.0], [-1.0, 0.03]])
    assert separability(x, y) == pytest.approx(9 / 10)


def test_the_scale_of_rows_does_not_matter_and_the_seed_fixes_the_folds(rng):
    x, y = reference.pairs(rng, 50, 6, gap=0.2)
    scale = rng.uniform(0.1, 9, (50, 1))
    assert separability(x, y, seed=1) == separability(x * scale, y, seed=1)


WORDS = "separability needs as many rows of both, two at least"
test_unequal_or_too_few_rows_are_refused = refuses(
    (lambda: separability(np.eye(3), np.eye(3)[:2]), WORDS), (lambda: separability(np.eye(3)[:1], np.eye(3)[:1]), WORDS)
)


@pytest.mark.parametrize("spread", [1, 1e-3, 1e-5])
def test_narrow_cones_are_separated_as_well_as_wide_ones(rng, spread):
    """Two clouds ten spreads apart: how narrow the cone is that holds both does not matter."""
    rows = rng.normal(size=(200, 6)) * spread
    rows[:, 0] += 10
    rows[:100, 1] += 10 * spread
    assert separability(rows[:100], rows[100:]) == 1.0


CAPTIONS, PROMPTS = [(i // 5, i) for i in range(100)], [(i, i % 3) for i in range(30)]  # five each, three for all


def drawn(n, m, pairs, most, seed=0):
    """The sample of n and m rows whose directions are their numbers, and those numbers of its rows."""
    arrays = [np.stack([np.ones(k), 1.0 + np.arange(k)], axis=1) for k in (n, m)]
    found = sample(
        Embeddings.of({"image": arrays[0], "text": arrays[1]}, pairs, unit=False), ("image", "text"), most, seed
    )
    return found, *(np.rint(part[:, 1] / part[:, 0]).astype(int) - 1 for part in (found.x, found.y))


@pytest.mark.parametrize(("counts", "pairs", "single"), [((20, 100), CAPTIONS, 2), ((30, 3), PROMPTS, 3)])
def test_a_sample_holds_pairs_and_all_that_belongs_to_an_image(counts, pairs, single):
    found, first, last = drawn(*counts, np.array(pairs), 12)
    assert {(first[i], last[j]) for i, j in found.pairs} == {each for each in pairs if each[0] in first}
    assert len(first) <= 12 and len(last) <= 12 and len(found.single) == single
    assert all(len({*column}) == single for column in found.single.T)
    assert (found.groups[0][found.pairs[:, 0]] == found.groups[1][found.pairs[:, 1]]).all() or pairs is PROMPTS


def test_a_sample_without_pairs_has_as_many_of_both_and_is_fixed_by_its_seed_and_uniform():
    found, first, last = drawn(50, 7, np.empty((0, 2), int), 100)
    assert (len(first), len(last), len(found.single), len(found.pairs)) == (50, 7, 7, 0)
    assert np.array_equal(drawn(40, 40, None, 10, 3)[1], drawn(40, 40, None, 10, 3)[1])
    counts = sum(np.bincount(drawn(40, 40, None, 10, seed)[1], minlength=40) for seed in range(400))
    assert counts.sum() == 4000 and counts.min() > 60 and counts.max() < 140


def at(*degrees):
    return np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], axis=1)


def test_overlap_neighbours_and_uniformity_by_hand():
    """Matched: cos 60 and 1. Unmatched: 0 and cos 30, of which one half lies below cos 60, and both below 1."""
    found = measure(3 * at(0, 90), at(60, 90))
    assert found["matched_above_unmatched"] == 1 / 2
    assert found["score_overlap", "y", "x"] == 1 / 2, "cos 30 is above cos 60"
    assert found["score_overlap", "x", "y"] == 0
    assert [uniformity(at(0, other)).value for other in (0, 90, 180)] == pytest.approx([0, -4, -8])
    three = measure(at(0, 10, 100), at(0, 10, 100))
    assert three["mutual_knn"] == 1 and three["hubness_skewness", "x", "y"] == 0, "each is nearest to itself"


@pytest.mark.parametrize("itself", [True, False])
def test_neighbours_in_bands_and_blocks_are_those_of_a_full_sort(rng, monkeypatch, itself):
    monkeypatch.setattr(of_rows, "BAND", 4)
    monkeypatch.setattr(of_rows, "BLOCK", 7)
    x = reference.unit(rng.normal(size=(97, 5)))
    cosines = x @ x.T - 9 * itself * np.eye(97)
    assert np.array_equal(np.sort(nearest(x, x, 5, itself)), np.sort(np.argsort(-cosines, axis=1)[:, :5]))


def test_nulls_are_of_chance(rng):
    """The p-values of modalities that share nothing are uniform, and the null of neighbours has mean k/(n-1)."""
    p_values = {"cka": [], "mutual_knn": []}
    for seed in range(60):
        x, y = rng.normal(size=(2, 40, 4))
        found = measure(x, y, only=[*p_values], seed=seed)
        for name, values in p_values.items():
            values.append(found.row(name)["p_value"])
    for name, values in p_values.items():
        assert (np.array(values) <= 0.05).sum() <= scipy.stats.binom.ppf(0.999, 60, 0.05), name
        assert scipy.stats.kstest(values, "uniform").pvalue > 0.001, name
    one, other = (nearest(part, part, 10, itself=True) for part in rng.normal(size=(2, 300, 6)))
    shares = [of_rows._common(one[p], p[other]) for p in (rng.permutation(300) for _ in range(20))]
    assert np.mean(shares) == pytest.approx(10 / 299, abs=0.002)
    related = measure(x, x + 0.1 * y, only=[*p_values])
    assert all(related.row(name)["p_value"] == 1 / 201 < related.row(name)["null"] < related[name] for name in p_values)


def test_differences_of_models_on_the_same_items_are_narrower(rng):
    items = rng.normal(size=(300, 6)) + 1
    cards = {
        name: measure(items + noise * rng.normal(size=(300, 6)) - 1, items)
        for name, noise in zip("ab", (0.1, 0.3), strict=True)
    }
    tables = [compare(cards, same).query("model == 'b'").set_index(["measure", "first"]) for same in (False, True)]
    widths = [table["high"] - table["low"] for table in tables]
    assert (tables[0]["difference"].dropna() == tables[1]["difference"].dropna()).all()
    assert (widths[1] < widths[0])[["gap_distance", "mean_cosine", "matched_cosine", "cka"]].all()
    assert {*tables[1]["interval"]} == {"paired", ""} and tables[0]["interval"].value_counts()["unpaired"] > 20
    row = tables[1].loc[("gap_distance", "x")]
    assert row["difference"] == cards["b"]["gap_distance"] - cards["a"]["gap_distance"]
    assert row["low"] < row["difference"] < row["high"]


POPULATION = {"gap_distance": 0.4860, "effective_rank of image": 5.4711, "mean_cosine of text": 0.2449, "cka": 0.4362,
              "matched_above_unmatched": 0.3425, "separability": 0.7287, "gap_distance, paired difference": 0.0268,
              "cka, paired difference": 0.1496}  # fmt: skip
"""Of 500,000 pairs of ``benchmarks/intervals.py``, or the mean of 700 draws."""


def test_intervals_cover_the_population_and_are_hardly_wider_than_they_must_be():
    only = {key.split(",")[0].split()[0] for key in POPULATION}
    runs = [intervals.numbers([0, 2, run], only=tuple(only)) for run in range(40)]
    for key, true in POPULATION.items():
        values, low, high = np.array([run[key] for run in runs], float).T
        assert ((low <= true) & (true <= high)).sum() >= scipy.stats.binom.ppf(0.001, 40, 0.95), key
        assert 0.75 < (high - low).mean() / (2 * 1.96 * values.std()) < 1.5, key


FEW, MORE = (measure({"image": np.eye(4)[:n], "text": np.eye(4)[:n] + 1}, only=["gap_distance"]) for n in (3, 4))
OTHER = measure(np.eye(4), np.eye(4) + 1, only=["gap_distance"])
test_cards_that_compare_to_nothing_are_refused = refuses(
    (lambda: compare({"a": FEW}), "compare takes two sets of embeddings or more"),
    (lambda: compare({"a": FEW, "b": OTHER}), "b holds x, y and a image, text; name them alike"),
    (lambda: compare({"a": FEW, "b": MORE}, same_items=True), "other numbers of rows than a; leave --same-items out"),
)


@pytest.mark.parametrize(("share", "width"), [(0, 0.01), (1e-3, 0.01), (0.02, 1e-9), (1, 0)])
def test_shares_near_an_end_have_intervals_of_no_more_trials_than_pairs(share, width):
    found = of_rows.of_share(of_rows.Found(share, 200, share - width / 2, share + width / 2, left=([], [])))
    assert found.low <= share <= found.high and found.high - found.low > 0.015
