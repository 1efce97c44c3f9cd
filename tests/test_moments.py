import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from refusals import refuses
from util import geometry
from util.numerics import arrays
from util.numerics.moments import moments, pair_moments

BY_ROW = np.array([[0, 0], [1, 1]])
X = np.array([[3.0, 4.0], [0.0, 2.0]])  # unit rows (0.6, 0.8), (0, 1)
Y = np.array([[1.0, 0.0], [0.6, 0.8]])


def test_a_case_by_hand():
    found = pair_moments(X, Y, BY_ROW)
    assert found.first.total == pytest.approx([0.6, 1.8])
    assert found.first.centroid == pytest.approx([0.3, 0.9])
    assert (found.first.shortest, found.first.longest) == pytest.approx((2, 5))
    assert found.first.mean_cosine == pytest.approx(0.8)
    assert found.last.mean_cosine == pytest.approx(0.6)
    assert found.gap_distance == pytest.approx(np.hypot(0.3 - 0.8, 0.9 - 0.4))
    assert found.matched_cosine == pytest.approx((0.6 + 0.8) / 2)
    # D(matched) = 0.15, D(within) = 0.1 and 0.2
    assert found.relative_gap == geometry.relative_gap(X, Y) == pytest.approx(0.15 / (0.15 + 0.15))
    assert geometry.relative_gap(X, X) == pytest.approx(0)


def test_pairs_of_any_order_and_rows_in_several_pairs(rng):
    x, y = reference.cone(rng, 5, 7), reference.cone(rng, 9, 7)
    pairs = np.array([[4, 0], [0, 8], [0, 1], [2, 2]])
    found = pair_moments(x, y, pairs)
    expected = [float(x[i].astype(float) @ y[j].astype(float)) for i, j in pairs]
    assert found.pairs == 4 and found.matched_cosine == pytest.approx(np.mean(expected), abs=1e-7)
    assert found.first.n == 5 and found.last.n == 9
    assert found.first.mean_cosine == pytest.approx(reference.cosines(x).mean(), abs=1e-7)


def test_more_rows_than_a_block_agree_with_float64(rng):
    x, y = reference.pairs(rng, 8192 + 777, 5)
    found = pair_moments(np.linspace(1, 3, len(x))[:, None] * x, y, np.tile(np.arange(len(x))[:, None], 2))
    assert (found.first.n, found.first.shortest, found.first.longest) == pytest.approx((len(x), 1, 3), rel=1e-6)
    assert found.gap_distance == pytest.approx(np.linalg.norm(reference.gap(x, y)), abs=1e-7)
    assert found.matched_cosine == pytest.approx((x.astype(float) * y).sum(1).mean(), abs=1e-7)


@pytest.mark.parametrize(
    "kind", [np.array, torch.tensor, lambda x: torch.tensor(x).half(), lambda x: x.astype(np.int32)]
)
def test_every_kind_of_array_is_taken_and_left_as_it_was(rng, kind):
    x = rng.integers(1, 9, (6, 4)).astype(np.float32)
    given = kind(x)
    assert moments(given).mean_cosine == pytest.approx(reference.cosines(x).mean(), abs=1e-6)
    assert np.array_equal(np.asarray(given, np.float32), x)


def with_value(value, row=8195):
    """Rows of ones but for one value, by default in a later block."""
    x = np.ones((row + 5, 3))
    x[row, 1] = value
    return x


ONES = np.ones((4, 3))

test_bad_rows_are_named_and_what_does_not_fit_is_refused = refuses(
    (lambda: moments(with_value(np.nan)), "x: row 8195 holds a value that is not finite"),
    (lambda: moments(with_value(1e200)), r"x: row 8195 has a norm outside \[1e-150, 1e150\]"),
    (lambda: pair_moments(with_value(np.nan, 7), ONES, [[2, 2], [7, 1]], ("image", "text")), "image: row 7 holds a"),
    (lambda: pair_moments(ONES, ONES * [[1], [1], [0], [1]], None), "y: row 2 is zero and has no direction"),
    (lambda: pair_moments(ONES, ONES[:, :2], None), "must be of one width"),
    (lambda: moments(ONES[:1]).mean_cosine, "needs two rows or more"),
    (lambda: moments(ONES[:0]), "needs at least 1 rows"),
    (lambda: geometry.relative_gap(ONES, ONES[:3]), "need pairs; x has 4 rows and y 3"),
)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
def test_the_relative_gap_stays_in_its_range_where_all_rows_are_one(seed, scale):
    row = np.random.default_rng(seed).normal(size=(1, 6))
    rows = row * scale * np.random.default_rng(seed + 1).uniform(0.1, 9, (12, 1))
    assert geometry.relative_gap(rows, rows[::-1]) is None
    apart = geometry.relative_gap(rows, -rows)
    assert apart == pytest.approx(1) and apart <= 1


@pytest.mark.parametrize("dtype", [np.int8, np.float32, ">f4", np.float16])
def test_a_mapped_file_of_any_dtype_is_converted_a_block_at_a_time(rng, tmp_path, monkeypatch, dtype):
    x = rng.integers(1, 99, (50, 4)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    asked = []
    monkeypatch.setattr(
        "util.numerics.moments.as_rows", lambda x, name: asked.append(len(x)) or arrays.as_rows(x, name)
    )
    monkeypatch.setattr("util.numerics.arrays.blocks.__defaults__", (8,))
    found = moments(np.load(tmp_path / "x.npy", mmap_mode="c"))
    assert found.mean_cosine == pytest.approx(reference.cosines(x).mean(), abs=1e-6)
    assert max(asked) == 8
