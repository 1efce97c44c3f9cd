import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from refusals import refuses
from util import geometry

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
    assert geometry.matched_cosine(AXES, AXES) == pytest.approx(1)
    assert geometry.matched_cosine(AXES, -AXES) == pytest.approx(-1)
    assert geometry.matched_cosine(AXES[:2], AXES[1:]) == pytest.approx(0)
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
    assert geometry.matched_cosine(x * scale, x) == pytest.approx(1)


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
    (lambda: geometry.matched_cosine(GOOD, 1e-160 * GOOD), "y: row 0 has a norm outside"),
    (lambda: geometry.gap_vector(1.005 * GOOD, GOOD), "row 0 has norm 1.005"),
    (lambda: geometry.unit_rows(np.array([[1.0, 0], [0, 0]])), "row 1 is zero"),
    (lambda: geometry.matched_cosine(GOOD, GOOD[:3]), "x has 4 rows and y 3"),
    (lambda: geometry.signed_gap_distances(GOOD, -GOOD, []), "shifts must be"),
    (lambda: geometry.signed_gap_distances(GOOD, -GOOD, [0], sign_by=[0, 0]), "sign_by has 2 numbers, these rows"),
)
