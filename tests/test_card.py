"""Every measure of the card: by hand, against its definition, published; and what must not change a number."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import reference
from refusals import refuses
from util import Embeddings, geometry
from util.measures import CARD, measure, of_sums
from util.measures.card import COLUMNS
from util.measures.sums import Totals, sums


def totals(x, y):
    return sums(Embeddings.of({"a": np.float64(x), "b": np.float64(y)}, unit=False)).totals


def at(*degrees):
    return np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], axis=1)


PLANE = {
    "gap_distance": 1, "centroid_angle": 90, "gap_variance_share": 1 / 3, "relative_gap": 1 / 2, "gap_dimensions": 1,
    "raw_gap_distance": math.sqrt(8), "mean_cosine": 0, "cosine_std": 0, "effective_rank": 1, "isoscore": 0,
    "w2_uniformity": -1, "matched_cosine": 0, "matched_std": 0, "unmatched_cosine": 0, "unmatched_std": 1,
    "siglip_margin": 0, "siglip_bias": 0, "alignment": 2, "gap_orthogonality": 1 / 2, "shared_dimensions": 2,
    "principal_angle": 0, "forced_dimensions": 2, "chance_angle": 0, "cka": None,
}  # fmt: skip
SPACE = {
    "gap_distance": 2 / math.sqrt(3), "centroid_angle": 180, "gap_variance_share": 1 / 3, "relative_gap": 2 / 3,
    "gap_dimensions": 3, "mean_cosine": 0, "effective_rank": 2, "isoscore": 1 / 2, "w2_uniformity": -math.sqrt(2 / 3),
    "matched_cosine": -1, "unmatched_cosine": 0, "unmatched_std": 0, "siglip_margin": -1 / 2, "siglip_bias": -1 / 2,
    "alignment": 4, "gap_orthogonality": 0,
}  # fmt: skip
SIGNS = {"cka": -1 / 2, "gap_distance": 0, "centroid_angle": None, "gap_dimensions": None, "isoscore": None,
         "gap_orthogonality": None, "gap_variance_share": 0, "mean_cosine": -1 / 3}  # fmt: skip


@pytest.mark.parametrize(
    "found, right",
    [
        (totals([3, 1] * at(0, 90), [1, 5] * at(90, 180)), PLANE),
        (totals(np.eye(3), -np.eye(3)), SPACE),
        (totals([[1], [1], [-1], [-1]], [[1], [-1], [1], [-1]]), SIGNS),
    ],
)
def test_measures_of_sums_by_hand(found, right):
    for name, value in right.items():
        said = getattr(of_sums, name)(found, 0, 1)
        assert (
            said is None
            if value is None
            else said == pytest.approx(value, abs=1e-5 if name == "principal_angle" else 1e-8)
        ), name


def test_axes_shared_by_hand():
    """Two planes of space share a line, and must. Two lines of the plane at 60 degrees need not."""
    planes = totals(np.eye(3)[[0, 1, 0, 1]], np.eye(3)[[0, 2, 0, 2]])
    lines = totals(at(0, 0), at(60, 60))
    for found, right in ((planes, (1, 0, 1, 0)), (lines, (0, 60, 0, 0))):
        names = ("shared_dimensions", "principal_angle", "forced_dimensions", "chance_angle")
        assert [getattr(of_sums, name)(found, 0, 1) for name in names] == pytest.approx(right)


@pytest.fixture
def arrays(rng):
    x, y = reference.pairs(rng, 60, 8, gap=1.0, dtype=np.float64)
    return {"image": x, "text": y}


def test_numbers_agree_with_their_definitions(arrays):
    found, right = measure(arrays), reference.measures(*arrays.values())
    named = {"x": "image", "y": "text"}
    for key, value in right.items():
        name, *of = key.split()
        several = [named[each] for each in of]
        if several and CARD[name]["of"] == "both ways":
            several.append({"image": "text", "text": "image"}[several[0]])
        assert found[name, *several] == pytest.approx(value, abs=1e-9), key
    left = {row["measure"] for row in found.rows} - {key.split()[0] for key in right}
    assert left == {"raw_gap_distance", "separability"} and not found.notes
    assert list(found.rows[0]) == list(COLUMNS)
    assert found.counts == {"image": 60, "text": 60} and found.dim == 8
    assert (found.row("matched_cosine")["n"], found.row("gap_distance")["n"]) == (60, 120)
    few = measure(arrays, most=10)
    assert (few.row("separability")["n"], few.row("separability")["note"]) == (10, "of 10")
    assert few["cka"] == found["cka"], "of all rows"


def test_published_numbers(published_clip):
    """CLIP ViT-B/32 on MSCOCO val2017: from its mean cosines and gap follow angle and share; SigLIP's margins."""
    n = 5000
    lengths = [math.sqrt(((n - 1) * cosine + 1) / n) for cosine in (0.46789197, 0.50795621)]
    turn = math.acos((lengths[0] ** 2 + lengths[1] ** 2 - 0.8221026**2) / (2 * lengths[0] * lengths[1]))
    mean = np.array([[lengths[0], 0], [lengths[1] * math.cos(turn), lengths[1] * math.sin(turn)]])
    found = Totals(np.array([n, n]), n * mean, n * mean, np.array([n, n]), np.zeros((1, 4)))
    assert of_sums.centroid_angle(found, 0, 1) == pytest.approx(72.1, abs=0.05)
    assert of_sums.gap_variance_share(found, 0, 1) == pytest.approx(0.248, abs=5e-4)
    for matched, apart, margin, bias in ((0.1376, -0.0015, 0.0695, 0.0680), (0.0950, -0.0305, 0.0627, 0.0322)):
        ends = np.array([[1.0, 0.0], [0.0, 1.0]]) * [[1], [0]] + [[0, 0], [(apart * 6 + 3 * matched) / 9, 0]]
        found = Totals(np.array([3, 3]), 3 * ends, ends, np.ones(2), np.array([[3, 3 * matched, 1, 0]]))
        assert of_sums.siglip_margin(found, 0, 1) == pytest.approx(margin, abs=1e-4)
        assert of_sums.siglip_bias(found, 0, 1) == pytest.approx(bias, abs=1e-4)
    found = measure(*published_clip)
    assert found["gap_distance"] == pytest.approx(0.8514, abs=5e-5)
    assert 65 < found["centroid_angle"] < 80 and found["separability"] == 1 and found.row("cka")["p_value"] < 0.01


UNCHANGED = {name for name in CARD if name not in ("raw_gap_distance", "separability")}
MOST = settings(max_examples=6, deadline=None, derandomize=True, phases=[Phase.generate])


def numbers(found, names=UNCHANGED):
    return {(row["measure"], row["first"]): row["value"] for row in found.rows if row["measure"] in names}


@MOST
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(4, 40),
    d=st.integers(2, 7),
    exponents=st.tuples(*[st.integers(-30, 30)] * 2),
    dtype=st.sampled_from(["float16", "float32", "float64", "int8"]),
)
def test_dtypes_and_scales_of_rows_change_nothing(seed, n, d, exponents, dtype):
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(1, 100, (n, d)) * rng.choice([-1, 1], (n, d)) for _ in range(2))
    scales = 2.0 ** np.round(np.log2(10.0) * rng.integers(min(exponents), max(exponents) + 1, (2, n, 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other = measure(x.astype(dtype), y.astype(dtype)), measure(x * scales[0], y * scales[1])
    assert numbers(one) == pytest.approx(numbers(other), abs=1e-5)


@MOST
@given(seed=st.integers(0, 10_000), n=st.integers(6, 50), d=st.integers(2, 7))
def test_a_rotation_and_another_order_of_rows_change_no_number(seed, n, d):
    rng = np.random.default_rng(seed)
    x, y = reference.pairs(rng, n, d, dtype=np.float64)
    turn, order = np.linalg.qr(rng.normal(size=(d, d)))[0], rng.permutation(n)
    found = measure(x, y)
    turned = measure(x @ turn, y @ turn)
    but = UNCHANGED - {"gap_dimensions"} | {"raw_gap_distance", "separability"}
    assert numbers(turned, but) == pytest.approx(numbers(found, but), abs=1e-5)
    assert numbers(measure(x[order], y[order])) == pytest.approx(numbers(found), abs=1e-5)


ONE = np.ones((5, 3))
LINE = np.array([[1.0], [2], [-3], [4]])
CASES = {
    "all rows equal": ({"image": ONE, "text": ONE}, None),
    "opposite centroids": ({"image": ONE, "text": -ONE}, None),
    "centroids at zero": ({"image": np.eye(2)[[0, 1, 0, 1]] * [[1], [1], [-1], [-1]], "text": at(1, 2, 3, 5)}, None),
    "one column": ({"image": LINE, "text": -LINE}, None),
    "one row": ({"image": ONE[:1], "text": -ONE[:1]}, None),
    "two rows": ({"image": at(0, 80), "text": at(40, 200)}, None),
    "three rows": ({"image": at(0, 80, 100), "text": at(40, 200, 10)}, None),
    "one modality": ({"image": at(*range(0, 90, 3))}, None),
    "two of three rows": ({"image": at(0, 80, 100), "text": at(40, 200)}, None),
    "three modalities": ({"image": at(*range(9)), "audio": at(*range(5)), "text": at(*range(20, 29))}, None),
    "five captions": ({"image": at(*range(6)), "text": at(*range(30, 60))}, [(i // 5, i) for i in range(30)]),
    "one image": ({"image": at(3, 9), "text": at(*range(30, 40))}, [(0, i) for i in range(10)]),
    "copies": ({"image": at(*range(9))[[0, 0, *range(2, 9)]], "text": at(*range(20, 29))}, None),
    "no pair": ({"image": at(*range(9)), "text": at(*range(20, 29))}, np.empty((0, 2), int)),
}


@pytest.mark.parametrize("case", CASES)
def test_degenerate_embeddings_have_numbers_or_a_reason(case):
    arrays, pairs = CASES[case]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure(Embeddings.of(arrays, pairs, unit=False))
        assert str(found) and found.to_frame().shape == (len(found.rows), len(COLUMNS))
    for row in found.rows:
        if row["value"] is None:
            assert row["note"] and row["low"] is row["null"] is None, row
        least, most = CARD[row["measure"]]["range"]
        for value in (row[key] for key in ("value", "low", "high")):
            assert value is None or (math.isfinite(value) and least - 1e-9 <= value <= most + 1e-9), row
        assert row["p_value"] is None or 0 < row["p_value"] <= 1


test_what_makes_no_sense_is_refused = refuses(
    (lambda: measure(np.eye(4), most=0), "rows must be a whole number of at least 2"),
    (lambda: measure(np.full((4, 3), np.nan)), "x: row 0 holds a value that is not finite; remove"),
    (lambda: measure(np.eye(3), np.zeros((3, 3))), "y: row 0 is zero and has no direction"),
    (lambda: measure(np.eye(3), np.eye(4)), "width"),
    (lambda: measure(ONE, only=["gap"]), "no measure gap; choose gap_distance"),
    (lambda: measure(ONE)["mean_cosine", "text"], "mean_cosine of text: 0 rows"),
    (lambda: measure(ONE, ONE)["mean_cosine"], "mean_cosine: 2 rows of this card"),
    (lambda: measure(ONE)["median"], "median: 0 rows of this card"),
    (lambda: measure(), "measure takes embeddings, paths, arrays"),
)


def test_the_card_is_of_paths_arrays_names_and_tensors_alike(arrays, tmp_path):
    arrays = {name: rows.astype(np.float32) for name, rows in arrays.items()}
    path, expected = Embeddings.of(arrays).save(tmp_path / "mine.npz"), measure(arrays)
    tensors = {name: torch.from_numpy(rows) for name, rows in arrays.items()}
    right = expected.to_frame().drop(columns="file")
    for given_so in ([path], [tensors], [Embeddings.load(path)]):
        pd.testing.assert_frame_equal(measure(*given_so).to_frame().drop(columns="file"), right, atol=1e-6)
    assert measure(*arrays.values())["mean_cosine", "y"] == expected["mean_cosine", "text"]
    scaled = {"image": 5 * arrays["image"], "text": arrays["text"] / 10}
    save_file(scaled, tmp_path / "scaled.safetensors")
    found = measure(tmp_path / "scaled.safetensors")
    assert found.norms["image"] == pytest.approx((5, 5)) and "rows are made unit-norm here" in found.notes[0]
    assert "gap distance" in str(expected) and "<table" in expected._repr_html_() and "-0.0000" not in str(expected)
    same = np.random.default_rng(1).normal(size=(60, 8))  # their matched cosine is above 1 by a rounding
    assert measure(same, same)["alignment"] >= 0


def test_several_captions_of_an_image_count_each_row_once(rng):
    x, y = reference.cone(rng, 6, 5, dtype=np.float64), reference.cone(rng, 18, 5, dtype=np.float64)
    found = measure(Embeddings.of({"image": x, "text": y}, [(i // 3, i) for i in range(18)], unit=False))
    assert found.row("matched_cosine")["n"] == 18 and found.counts["image"] == 6
    assert found.row("cka")["n"] == found.row("separability")["n"] == 6
    assert found["mean_cosine", "image"] == pytest.approx(geometry.mean_cosine(x), abs=1e-9)
    assert found["matched_cosine"] == pytest.approx((np.repeat(x, 3, 0) * y).sum(1).mean(), abs=1e-9)
    apart = (x @ y.T)[np.repeat(np.eye(6), 3, 1) == 0]
    assert (found["unmatched_cosine"], found["unmatched_std"]) == pytest.approx((apart.mean(), apart.std()), abs=1e-9)


def test_copies_are_one_item_where_they_would_be_negatives(rng):
    x, y = reference.pairs(rng, 30, 5, dtype=np.float64)
    of, names = [*range(30), 3, 3, 7], ("unmatched_cosine", "unmatched_std", "siglip_margin", "uniformity")
    found, right = measure(x[of], y[of]), measure(x, y)
    assert numbers(found, names) == pytest.approx(numbers(right, names), abs=1e-9)
    assert found.row("unmatched_cosine")["note"] == "of 30 pairs of different items"
    assert found["matched_cosine"] != pytest.approx(right["matched_cosine"], abs=1e-6)


def test_a_matrix_of_three_modalities_is_of_each_two(rng):
    three = dict(zip(("image", "audio", "text"), reference.cone(rng, 60, 4).reshape(3, 20, 4), strict=True))
    found = measure(three)
    table, ways = found.matrix("gap_distance"), found.matrix("hubness_skewness")
    assert table.loc["text", "image"] == table.loc["image", "text"] == found["gap_distance", "image", "text"]
    assert ways.loc["text", "image"] == found["hubness_skewness", "text", "image"] != ways.loc["image", "text"]
    alone = measure({name: three[name] for name in ("image", "text")})
    assert {key: value for key, value in numbers(alone).items() if key[0] != "mutual_knn"} == pytest.approx(
        {
            key: found[key[0], *sorted({row["first"], row["last"]}, key=lambda n: n != key[1])]
            if len({row["first"], row["last"]}) > 1
            else found[key]
            for row in alone.rows
            if (key := (row["measure"], row["first"])) in numbers(alone) and key[0] != "mutual_knn"
        }
    )


def test_intervals_of_rows_in_order_of_their_class_are_those_of_rows_in_any_order(rng):
    x, y = (np.repeat(rng.normal(size=(20, 8)), 40, 0) + rng.normal(size=(800, 8)) * each for each in (0.2, 0.3))
    order = rng.permutation(800)
    lines = [measure(x[of], y[of], only=["effective_rank", "cosine_std", "cka"]).rows for of in (..., order)]
    for one, other in zip(*lines, strict=True):
        assert one["low"] < one["value"] < one["high"] and one["value"] == pytest.approx(other["value"])
        assert 0.4 < (one["high"] - one["low"]) / (other["high"] - other["low"]) < 2.5, one["measure"]


@pytest.mark.parametrize("width", [1, 1e-2, 1e-3, 1e-5])
def test_of_narrow_cones_numbers_are_right_or_there_are_none(rng, width):
    shared = rng.normal(size=(300, 16))
    x, y = shared + 0.5, rng.normal(size=16) + width * (shared + rng.normal(size=shared.shape))
    found = measure(x, y, only=["cka", "cosine_std"])
    if width < 1e-4:
        assert found["cka"] is found["cosine_std", "y"] is None and "too narrow" in found.row("cka")["note"]
        return
    a, b = (part - part.mean(0) for part in map(reference.unit, (x, y)))
    right = reference.hsic(a, b) / (reference.hsic(a, a) * reference.hsic(b, b)) ** 0.5
    assert found["cka"] == pytest.approx(right, rel=1e-4)
    cosines = (b @ b.T + (d := b @ reference.unit(y).mean(0)) + d[:, None])[np.triu_indices(300, 1)]
    assert found["cosine_std", "y"] == pytest.approx(cosines.std(), rel=1e-3)


@pytest.mark.parametrize(("d", "k", "m"), [(16, 3, 2), (64, 20, 20), (64, 5, 40)])
def test_random_axes_come_as_near_as_chance_says_in_one_of_twenty(rng, d, k, m):
    turned = [np.linalg.svd(np.linalg.qr(rng.normal(size=(d, k)))[0][:m])[1][0] for _ in range(300)]
    totals = Totals(*np.ones((5, 2)), known={("_axes", 0): np.ones((1, k)), ("_axes", 1): np.ones((1, m))})
    object.__setattr__(totals, "total", np.ones((2, d)))
    assert of_sums.chance_angle(totals, 0, 1) == pytest.approx(
        np.degrees(np.arccos(np.quantile(turned, 0.95))), abs=1.5
    )
