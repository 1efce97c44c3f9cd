"""Gap, shift and cosines of rows: by hand, against definitions in float64, by properties, and refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from refusals import refuses
from util import geometry
from util.geometry import cosine_statistics, moments
from util.numerics import arrays

AXES = np.eye(3, dtype=np.float32)


def test_gap_of_two_opposite_points_by_hand():
    x, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[-1.0, 0.0], [0.0, 1.0]])
    assert geometry.gap_vector(x, y) == pytest.approx([1.0, 0.0])
    assert geometry.gap_distance(x, y) == pytest.approx(1.0)
    assert geometry.unit_gap_vector(x, y) == pytest.approx([1.0, 0.0])
    assert geometry.gap_distance(AXES[:2], AXES[2:]) == pytest.approx(np.sqrt(1.5)), "centroids are not normalised"


HALF = np.sqrt(0.5)


@pytest.mark.parametrize("side, at", [("both", (HALF, HALF)), ("first", (0.0, 1.0)), ("second", (1.0, 0.0))])
def test_a_positive_shift_closes_the_gap_by_hand(side, at):
    for moved in geometry.shift(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), np.sqrt(2.0), side=side):
        assert moved == pytest.approx(np.array([at]))


@pytest.mark.parametrize("amount", [-1.0, -0.25, 0.0, 0.3, 2.0])
@pytest.mark.parametrize("side", ["both", "first", "second"])
def test_shift_agrees_with_the_definition(rng, amount, side):
    x, y = reference.pairs(rng, 30, 16)
    direction = rng.normal(size=16)
    for given_direction in (None, direction):
        ours = geometry.shift(x, y, amount, given_direction, side)
        for got, expected in zip(ours, reference.shifted(x, y, amount, given_direction, side), strict=True):
            assert got == pytest.approx(expected, abs=1e-6)
            assert np.linalg.norm(got, axis=1) == pytest.approx(1, abs=1e-6)


SHIFTS = np.arange(-3, 3.1, 0.5)


def signed(x, y, sign_by, direction=None, side="both"):
    """Gap distances after shifting one by one, negative where the gap points against ``sign_by``."""
    gaps = [reference.gap(*reference.shifted(x, y, amount, direction, side)) for amount in SHIFTS]
    return pytest.approx([np.linalg.norm(gap) * np.sign(gap @ sign_by) for gap in gaps], abs=1e-9)


@pytest.mark.parametrize("side", ["both", "first", "second"])
def test_signed_gap_distances_agree_with_shifting_one_by_one(rng, side):
    x, y = reference.pairs(rng, 60, 12)
    found = geometry.signed_gap_distances(x, y, SHIFTS, side=side)
    assert found == signed(x, y, reference.gap(x, y), side=side)
    assert found.min() < 0 < found.max()


def test_signed_gap_distances_take_their_sign_from_the_vector_asked_for(rng):
    x, y = reference.pairs(rng, 60, 12)
    gap = reference.gap(x, y)
    away = geometry.unit_rows(rng.normal(size=(1, 12)) - 2 * gap)[0]  # a direction that points against the gap
    by_direction = geometry.signed_gap_distances(x, y, SHIFTS, away)
    by_gap = geometry.signed_gap_distances(x, y, SHIFTS, away, sign_by=5 * gap)
    assert by_direction == signed(x, y, away, away) and by_gap == signed(x, y, gap, away)
    assert by_direction[6] < 0 < by_gap[6]  # no shift


def test_cosines_by_hand():
    assert geometry.mean_cosine(AXES) == pytest.approx(0)
    assert geometry.mean_cosine(np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-1 / 3)
    assert geometry.mean_cosine(np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])) == pytest.approx(2 * np.sqrt(0.5) / 3)


def test_mean_cosine_of_nearly_equal_rows_keeps_its_digits(rng):
    x = 1 + 1e-4 * rng.normal(size=(5000, 64))
    assert 1 - geometry.mean_cosine(x) == pytest.approx(1 - reference.cosines(x).mean(), rel=1e-4)


@given(st.floats(1e-149, 1e149))
@settings(max_examples=30, deadline=None)
def test_cosines_ignore_scale(scale):
    x = np.random.default_rng(1).normal(size=(20, 6))
    assert geometry.mean_cosine(x * scale) == pytest.approx(geometry.mean_cosine(x), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_torch_in_torch_out_with_half_precision_summed_in_more(rng, dtype):
    x, y = (torch.from_numpy(part).to(dtype) for part in reference.pairs(rng, 5000, 32))
    exact = reference.gap(x.double().numpy(), y.double().numpy())
    gap = geometry.gap_vector(x, y)
    assert isinstance(gap, torch.Tensor)
    assert gap.dtype == (dtype if dtype == torch.float64 else torch.float32)
    assert gap.double().numpy() == pytest.approx(exact, abs=1e-7)
    assert geometry.gap_distance(x, y) == pytest.approx(np.linalg.norm(exact), abs=1e-12)
    assert geometry.mean_cosine(x) == pytest.approx(reference.cosines(x.double().numpy()).mean(), abs=1e-12)
    assert geometry.shift(x, y, 0.3)[0].dtype == gap.dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_numbers_of_the_cpu(rng):
    x, y = (torch.from_numpy(part) for part in reference.pairs(rng, 300, 32))
    a, b = x.cuda(), y.cuda()
    assert geometry.gap_vector(a, b).is_cuda
    assert geometry.gap_distance(a, b) == pytest.approx(geometry.gap_distance(x, y), abs=1e-9)
    assert geometry.mean_cosine(a) == pytest.approx(geometry.mean_cosine(x), abs=1e-12)
    assert geometry.shift(a, b, 0.4)[0].cpu().numpy() == pytest.approx(geometry.shift(x, y, 0.4)[0].numpy(), abs=1e-6)


def test_read_only_strided_and_nearly_unit_arrays_are_welcome_and_stay_as_they_were(rng):
    x, y = reference.pairs(rng, 20, 6, dtype=np.float64)
    x.flags.writeable = y.flags.writeable = False
    gap, wide = geometry.gap_distance(x, y), np.zeros((20, 12))
    wide[:, ::2] = x
    for same in (wide[:, ::2], x[::-1], x.astype(">f8")):
        assert geometry.gap_distance(same, y) == pytest.approx(gap)
    assert geometry.gap_distance(1.0009 * x, y) == pytest.approx(gap, abs=2e-3)
    for rows in (*geometry.shift(x, y, 0.0), geometry.unit_rows(x)):
        rows[:] = 0  # would be refused, were it the memory of x or y


GOOD = np.eye(4)


test_bad_input_is_refused_in_words = refuses(
    (lambda: geometry.gap_vector(GOOD, np.eye(5)), "one width"),
    (lambda: geometry.gap_vector(2 * GOOD, GOOD), "x must have unit-norm rows; row 0 has norm 2"),
    (lambda: geometry.gap_distance(GOOD, np.where(GOOD == 1, np.nan, 0)), "y holds a value that is not finite"),
    (lambda: geometry.gap_distance(GOOD[0], GOOD), "two axes"),
    (lambda: geometry.gap_distance(GOOD[:0], GOOD), "at least 1 rows"),
    (lambda: geometry.gap_distance(GOOD.astype(object), GOOD), "real numbers"),
    (lambda: geometry.gap_distance(GOOD.tolist(), GOOD), "not list"),
    (lambda: geometry.gap_distance(GOOD * 1j, GOOD), "real numbers"),
    (lambda: geometry.shift(GOOD, GOOD, 0.5), "the gap is zero"),
    (lambda: geometry.shift(GOOD, -GOOD, 0.5, np.zeros(4)), "direction is zero, so it gives no direction"),
    (lambda: geometry.shift(GOOD, -GOOD, 0.5, np.ones(3)), "direction has 3 numbers, these rows have 4 columns"),
    (lambda: geometry.shift(GOOD, -GOOD, np.nan), "amount must be"),
    (lambda: geometry.shift(GOOD, -GOOD, [0.1, 0.2]), "amount must be one number"),
    (lambda: geometry.shift(GOOD, -GOOD, 0.5, side="left"), "side must be"),
    (lambda: geometry.shift(GOOD, -GOOD, 2.0, direction=GOOD[0]), "to zero"),
    (lambda: geometry.mean_cosine(1e-160 * GOOD), "x: row 0 has a norm outside"),
    (lambda: geometry.gap_vector(1.005 * GOOD, GOOD), "row 0 has norm 1.005"),
    (lambda: geometry.unit_rows(np.array([[1.0, 0], [0, 0]])), "row 1 is zero"),
    (lambda: geometry.signed_gap_distances(GOOD, -GOOD, []), "shifts must be"),
    (lambda: geometry.signed_gap_distances(GOOD, -GOOD, [0], sign_by=[0, 0]), "sign_by has 2 numbers, these rows"),
)


def check_against_all_pairs(x, stats, tolerance=1e-6):
    exact = reference.cosines(x)
    span = exact.max() - exact.min()
    assert stats.n_pairs == len(exact) == stats.histogram.sum()
    assert [stats.mean, stats.std] == pytest.approx([exact.mean(), exact.std()], abs=tolerance)
    assert [stats.min, stats.max] == pytest.approx([exact.min(), exact.max()], abs=tolerance)
    quartiles = [stats.q25, stats.median, stats.q75]
    assert quartiles == pytest.approx(np.quantile(exact, [0.25, 0.5, 0.75]), abs=1e-3 * span + tolerance)
    if span > 0:
        assert stats.edges[[0, -1]] == pytest.approx([exact.min(), exact.max()], abs=tolerance)


def test_three_rows_by_hand():
    stats = cosine_statistics(np.array([[1.0, 0.0], [3.0, 3.0], [0.0, 2.0]]), bins=2)
    half = np.sqrt(0.5)
    assert [stats.min, stats.max, stats.mean] == pytest.approx([0, half, 2 * half / 3])
    assert stats.std == pytest.approx(np.std([0, half, half]))
    assert stats.histogram.tolist() == [1, 2]
    assert stats.edges == pytest.approx([0, half / 2, half])


@pytest.mark.parametrize("n, d", [(2, 1), (3, 5), (511, 8), (512, 4), (513, 8), (1025, 4), (2600, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_statistics_agree_with_all_pairs_across_tile_edges(rng, n, d, dtype):
    x = rng.normal(size=(n, d)).astype(dtype) + 0.5
    check_against_all_pairs(x, cosine_statistics(x, bins=50))


def test_histogram_is_that_of_numpy(rng):
    x = rng.normal(size=(700, 8))
    stats = cosine_statistics(x)
    counts, edges = np.histogram(reference.cosines(x), 100)
    assert stats.edges == pytest.approx(edges, abs=1e-12)
    assert np.abs(stats.histogram - counts).sum() <= 4  # a value on an edge may round to either side


def test_one_row_apart_from_all_others_by_hand():
    x = np.ones((1300, 4))
    x[1] = [1, -1, 1, -1]
    stats = cosine_statistics(x, bins=4)
    assert stats.histogram.tolist() == [1299, 0, 0, 1300 * 1299 // 2 - 1299]
    assert [stats.min, stats.q25, stats.max] == pytest.approx([0, 1, 1], abs=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1e-2, 1e-3, 1e-4])
def test_a_narrow_cone_keeps_its_digits(rng, width, dtype):
    x = (1 + width * rng.normal(size=(800, 64))).astype(dtype)
    stats, exact = cosine_statistics(x), reference.cosines(x)
    span = exact.max() - exact.min()
    check_against_all_pairs(x, stats, tolerance=1e-3 * span)
    assert stats.std == pytest.approx(exact.std(), rel=1e-6)
    assert [stats.min, stats.max] == pytest.approx([exact.min(), exact.max()], rel=0, abs=1e-5 * span)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_statistics_of_the_cpu(rng):
    x = torch.from_numpy(rng.normal(size=(3000, 32)).astype(np.float32))
    check_against_all_pairs(x.numpy(), cosine_statistics(x.cuda()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_more(rng, dtype):
    x = torch.from_numpy(reference.cone(rng, 900, 32)).to(dtype)
    check_against_all_pairs(x.double().numpy(), cosine_statistics(x), tolerance=1e-6)


def test_equal_rows_have_one_value():
    stats = cosine_statistics(np.ones((10, 4)), bins=5)
    assert [stats.min, stats.q25, stats.median, stats.max, stats.std] == pytest.approx([1, 1, 1, 1, 0], abs=1e-7)
    assert stats.histogram.sum() == 45 and (np.diff(stats.edges) > 0).all()


test_bad_input_is_refused = refuses(
    (lambda: cosine_statistics(np.eye(3)[:1]), "at least 2 rows"),
    (lambda: cosine_statistics(np.zeros((3, 3))), "row 0 is zero"),
    (lambda: cosine_statistics(np.eye(3), 0), "bins must be"),
    (lambda: cosine_statistics(np.eye(3), 2.5), "bins must be"),
)


X = np.array([[3.0, 4.0], [0.0, 2.0]])  # unit rows (0.6, 0.8), (0, 1)
Y = np.array([[1.0, 0.0], [0.6, 0.8]])


def test_a_case_by_hand():
    found = moments(X)
    assert found.total == pytest.approx([0.6, 1.8]) and found.centroid == pytest.approx([0.3, 0.9])
    assert (found.shortest, found.longest) == pytest.approx((2, 5))
    assert (found.mean_cosine, moments(Y).mean_cosine) == pytest.approx((0.8, 0.6))


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
    (lambda: moments(ONES * [[1], [1], [0], [1]], "y"), "y: row 2 is zero and has no direction"),
    (lambda: moments(ONES[:1]).mean_cosine, "needs two rows or more"),
    (lambda: moments(ONES[:0]), "needs at least 1 rows"),
)


@pytest.mark.parametrize("dtype", [np.int8, np.float32, ">f4", np.float16])
def test_a_mapped_file_of_any_dtype_is_converted_a_block_at_a_time(rng, tmp_path, monkeypatch, dtype):
    x = rng.integers(1, 99, (50, 4)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    asked = []
    whole = arrays.as_rows
    monkeypatch.setattr("util.numerics.arrays.as_rows", lambda x, name: asked.append(len(x)) or whole(x, name))
    monkeypatch.setattr("util.numerics.arrays.blocks.__defaults__", (8,))
    found = moments(np.load(tmp_path / "x.npy", mmap_mode="c"))
    assert found.mean_cosine == pytest.approx(reference.cosines(x).mean(), abs=1e-6)
    assert max(asked) == 8
