"""Pairs moved apart on a sphere, their losses by closed forms and by the definition, and the best logit scale."""

import math

import numpy as np
import pytest
from mismatched_pairs import Caps, Meridians, best_logit_scale, losses, on_circle

import reference
from util import contrastive

TEMPERATURES = (1.0, 0.1, 0.01)


def cycle(n, count):
    """The text of each of n images, of which the first so many are mismatched in a cycle."""
    return np.r_[np.roll(np.arange(count), -1), np.arange(count, n)]


def points(rng, n, d):
    return reference.unit(rng.normal(size=(n, d)))


def test_the_texts_move_on_their_meridians_and_the_images_stay_on_the_equator():
    images, texts = Meridians(on_circle([0.0, 90.0])).move([0.0, 90.0, -90.0, -30.0])
    assert images == pytest.approx(np.tile([[1.0, 0, 0], [0, 1.0, 0]], (4, 1, 1)), abs=1e-15)
    assert texts[0] == pytest.approx(images[0], abs=1e-15)
    assert texts[1] == pytest.approx(np.array([[0, 0, -1.0]] * 2), abs=1e-15)
    assert texts[2] == pytest.approx(np.array([[0, 0, 1.0]] * 2), abs=1e-15)
    assert texts[3] == pytest.approx(np.array([[np.sqrt(0.75), 0, 0.5], [0, np.sqrt(0.75), 0.5]]), abs=1e-15)


def test_two_caps_at_height_one_are_two_points_and_at_zero_one_circle():
    images, texts = Caps(on_circle([0.0, 180.0, 90.0])).move([0.0, 1.0, 0.6])
    assert images[0] == pytest.approx(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0]]), abs=1e-15)
    assert (texts[0] == images[0]).all()
    assert (images[1] == [0, 0, 1]).all() and (texts[1] == [0, 0, -1]).all()
    assert images[2, 0] == pytest.approx([0.8, 0, 0.6]) and texts[2, 0] == pytest.approx([0.8, 0, -0.6])


def test_gap_distances_by_hand(rng):
    z = np.linspace(-1, 1, 21)
    assert Caps(points(rng, 7, 5)).gap_distances(z) == pytest.approx(2 * abs(z), abs=1e-12)
    gaps = Meridians(on_circle([0.0, 90.0])).gap_distances([90.0, -90.0, 0.0, 60.0])
    centroid = 0.5  # squared length of the centroid of two points at a right angle
    assert gaps == pytest.approx(np.sqrt([centroid + 1, centroid + 1, 0, 0.25 * centroid + 0.75]), abs=1e-15)


@pytest.mark.parametrize("kind", [Meridians, Caps])
def test_moving_apart_scales_all_cosines_alike_and_adds_one_number(kind, rng):
    pairs = kind(points(rng, 6, 4))
    positions = rng.uniform(0, 90 if kind is Meridians else 1, 5)
    contrasts = np.cos(np.radians(positions)) if kind is Meridians else 1 - positions**2
    assert pairs.contrasts(positions) == pytest.approx(contrasts, abs=1e-12)
    assert pairs.position(contrasts) == pytest.approx(positions, abs=1e-6)
    for x, y, contrast in zip(*pairs.move(positions), contrasts, strict=True):
        assert np.linalg.norm(x, axis=1) == pytest.approx(1) and np.linalg.norm(y, axis=1) == pytest.approx(1)
        assert np.ptp(x @ y.T - contrast * pairs.cosines) < 1e-12


def test_the_loss_of_two_pairs_is_a_closed_form():
    """Cosines a cos(delta) off the diagonal and a on it, a = cos(theta): each row is a logistic loss of the two."""
    theta, scale = np.array([0.0, 30.0, 90.0]), 1 / np.array([1.0, 0.05])
    found = losses(Meridians(on_circle([0.0, 60.0])), theta, 1 / scale, [[0, 1], [1, 0]])
    difference = np.cos(np.radians(theta))[:, None] * scale * (1 - 0.5)
    assert found[0] == pytest.approx(np.log1p(np.exp(-difference)), abs=1e-12)
    assert found[1] == pytest.approx(np.log1p(np.exp(difference)), abs=1e-12)


@pytest.mark.parametrize("kind", [Meridians, Caps])
def test_every_position_has_the_loss_of_the_definition_whatever_the_rotation(kind, rng):
    pairs = kind(points(rng, 9, 3))
    positions = np.linspace(-1, 1, 7) * (90 if kind is Meridians else 1)
    cases = [cycle(9, 0), cycle(9, 2), rng.permutation(9)]
    found = losses(pairs, positions, TEMPERATURES, cases)
    for p, (x, y) in enumerate(zip(*pairs.move(positions), strict=True)):
        for k, case in enumerate(cases):
            for t, tau in enumerate(TEMPERATURES):
                expected = contrastive.contrastive_loss(x, y[case], tau, consecutive=True)
                assert found[k, p, t] == pytest.approx(expected, rel=1e-9)
    turned = kind(pairs.points @ np.linalg.qr(rng.normal(size=(3, 3)))[0])
    assert losses(turned, -positions, TEMPERATURES, cases) == pytest.approx(found, abs=1e-10)


def test_the_best_logit_scale_is_a_closed_form_infinite_without_a_mismatch_or_zero_where_matches_are_worst():
    """Matched 1, others 0: the loss f s + log(1 + (n - 1)exp(-s)) is lowest at s = log((n - 1)(1 - f)/f)."""
    for n, count in ((4, 2), (10, 3), (100, 20)):
        by_hand = math.log((n - 1) * (n - count) / count)
        assert best_logit_scale(np.eye(n), cycle(n, count)) == pytest.approx(by_hand, rel=1e-9)
    cosines = Meridians(on_circle([0.0, 50.0, 100.0])).cosines
    assert best_logit_scale(cosines, [0, 1, 2]) == math.inf
    assert best_logit_scale(cosines, [2, 1, 0]) == 0
    assert best_logit_scale(np.ones((3, 3)), [0, 1, 2]) == math.inf
