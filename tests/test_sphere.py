"""Pairs on a sphere moved apart: positions by hand, gaps, the law that a gap rescales cosines, and refusals."""

import numpy as np
import pytest

import reference
import sphere
from util import UserError


def test_the_texts_move_on_their_meridians_and_the_images_stay_on_the_equator():
    images, texts = sphere.Meridians([0.0, 90.0]).move([0.0, 90.0, -90.0, -30.0])
    assert images == pytest.approx(np.tile([[1.0, 0, 0], [0, 1.0, 0]], (4, 1, 1)), abs=1e-15)
    assert texts[0] == pytest.approx(images[0], abs=1e-15)
    assert texts[1] == pytest.approx(np.array([[0, 0, -1.0]] * 2), abs=1e-15)
    assert texts[2] == pytest.approx(np.array([[0, 0, 1.0]] * 2), abs=1e-15)
    assert texts[3] == pytest.approx(np.array([[np.sqrt(0.75), 0, 0.5], [0, np.sqrt(0.75), 0.5]]), abs=1e-15)


def test_two_caps_at_height_one_are_two_points_and_at_zero_one_circle():
    caps = sphere.Caps(sphere.on_circle([0.0, 180.0, 90.0]))
    images, texts = caps.move([0.0, 1.0, 0.6])
    assert images[0] == pytest.approx(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0]]), abs=1e-15)
    assert (texts[0] == images[0]).all()
    assert (images[1] == [0, 0, 1]).all() and (texts[1] == [0, 0, -1]).all()
    assert images[2, 0] == pytest.approx([0.8, 0, 0.6]) and texts[2, 0] == pytest.approx([0.8, 0, -0.6])


def test_the_gap_of_two_caps_is_twice_the_height_whatever_the_points(rng):
    z = np.linspace(-1, 1, 21)
    moved = sphere.Caps(sphere.random_points(7, 5, rng)).move(z)
    assert moved.gap_distances() == pytest.approx(2 * abs(z), abs=1e-12)


def test_the_gap_on_meridians_by_hand():
    gaps = sphere.Meridians([0.0, 90.0]).move([90.0, -90.0, 0.0, 60.0]).gap_distances()
    centroid = 0.5  # squared length of the centroid of two points at a right angle
    by_hand = np.sqrt([centroid + 1, centroid + 1, 0, 0.25 * centroid + 0.75])
    assert gaps == pytest.approx(by_hand, abs=1e-15)


@pytest.mark.parametrize("kind", ["meridians", "caps"])
def test_moving_apart_scales_all_cosines_alike_and_adds_one_number(kind, rng):
    pairs = sphere.Meridians(rng.uniform(0, 360, 6)) if kind == "meridians" else sphere.Caps(reference.cone(rng, 6, 4))
    positions = rng.uniform(0, 90, 5) if kind == "meridians" else rng.uniform(0, 1, 5)
    images, texts = pairs.move(positions)
    contrasts = np.cos(np.radians(positions)) if kind == "meridians" else 1 - positions**2
    for x, y, contrast, position in zip(images, texts, contrasts, positions, strict=True):
        assert np.linalg.norm(x, axis=1) == pytest.approx(1) and np.linalg.norm(y, axis=1) == pytest.approx(1)
        left = x @ y.T - contrast * pairs.cosines
        assert np.ptp(left) < 1e-6
        assert pairs.position(contrast) == pytest.approx(position, abs=1e-6)


def test_random_points_are_unit_rows_of_their_seed():
    x, again, other = (sphere.random_points(50, 3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.linalg.norm(x, axis=1) == pytest.approx(1)
    assert (x == again).all() and not (x == other).any()
    assert abs(sphere.random_points(5000, 3, np.random.default_rng(3)).mean(0)).max() < 0.05


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: sphere.Meridians([0.0, 20.0]).move([0.0, -91.0]), "positions must be from -90 to 90, not -91"),
        (lambda: sphere.Meridians([0.0]).move([0.0]), "at least 2 pairs"),
        (lambda: sphere.Meridians([0.0, np.nan]).move([0.0]), "azimuths must be"),
        (lambda: sphere.Caps(np.eye(2)).move([1.01]), "positions must be from -1 to 1, not 1.01"),
        (lambda: sphere.Caps(2 * np.eye(2)).move([0.5]), "points must have unit-norm rows"),
        (lambda: sphere.Caps(np.ones((1, 1))).move([0.5]), "points needs at least 2 rows"),
        (lambda: sphere.random_points(1, 3, np.random.default_rng(0)), "n must be a whole number of at least 2"),
        (lambda: sphere.random_points(3, 1, np.random.default_rng(0)), "dim must be a whole number of at least 2"),
    ],
)
def test_bad_input_is_refused(call, said):
    with pytest.raises(UserError, match=said):
        call()
