"""Pairs moved apart on a sphere, their losses by closed forms and by the definition, and the best logit scale."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from mismatched_pairs import (
    Caps,
    Matches,
    Meridians,
    Moved,
    best_logit_scale,
    losses,
    mismatched,
    on_circle,
    random_points,
)
from util import UserError, contrastive

TEMPERATURES = (1.0, 0.1, 0.01)


def swap(n, i, j):
    text_of = np.arange(n)
    text_of[[i, j]] = j, i
    return Matches.of(text_of)


def test_the_texts_move_on_their_meridians_and_the_images_stay_on_the_equator():
    images, texts = Meridians([0.0, 90.0]).move([0.0, 90.0, -90.0, -30.0])
    assert images == pytest.approx(np.tile([[1.0, 0, 0], [0, 1.0, 0]], (4, 1, 1)), abs=1e-15)
    assert texts[0] == pytest.approx(images[0], abs=1e-15)
    assert texts[1] == pytest.approx(np.array([[0, 0, -1.0]] * 2), abs=1e-15)
    assert texts[2] == pytest.approx(np.array([[0, 0, 1.0]] * 2), abs=1e-15)
    assert texts[3] == pytest.approx(np.array([[np.sqrt(0.75), 0, 0.5], [0, np.sqrt(0.75), 0.5]]), abs=1e-15)


def test_two_caps_at_height_one_are_two_points_and_at_zero_one_circle():
    caps = Caps(on_circle([0.0, 180.0, 90.0]))
    images, texts = caps.move([0.0, 1.0, 0.6])
    assert images[0] == pytest.approx(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0]]), abs=1e-15)
    assert (texts[0] == images[0]).all()
    assert (images[1] == [0, 0, 1]).all() and (texts[1] == [0, 0, -1]).all()
    assert images[2, 0] == pytest.approx([0.8, 0, 0.6]) and texts[2, 0] == pytest.approx([0.8, 0, -0.6])


def test_the_gap_of_two_caps_is_twice_the_height_whatever_the_points(rng):
    z = np.linspace(-1, 1, 21)
    moved = Caps(random_points(7, 5, rng)).move(z)
    assert moved.gap_distances() == pytest.approx(2 * abs(z), abs=1e-12)


def test_the_gap_on_meridians_by_hand():
    gaps = Meridians([0.0, 90.0]).move([90.0, -90.0, 0.0, 60.0]).gap_distances()
    centroid = 0.5  # squared length of the centroid of two points at a right angle
    by_hand = np.sqrt([centroid + 1, centroid + 1, 0, 0.25 * centroid + 0.75])
    assert gaps == pytest.approx(by_hand, abs=1e-15)


@pytest.mark.parametrize("kind", ["meridians", "caps"])
def test_moving_apart_scales_all_cosines_alike_and_adds_one_number(kind, rng):
    pairs = Meridians(rng.uniform(0, 360, 6)) if kind == "meridians" else Caps(reference.cone(rng, 6, 4))
    positions = rng.uniform(0, 90, 5) if kind == "meridians" else rng.uniform(0, 1, 5)
    images, texts = pairs.move(positions)
    contrasts = np.cos(np.radians(positions)) if kind == "meridians" else 1 - positions**2
    for x, y, contrast, position in zip(images, texts, contrasts, positions, strict=True):
        assert np.linalg.norm(x, axis=1) == pytest.approx(1) and np.linalg.norm(y, axis=1) == pytest.approx(1)
        left = x @ y.T - contrast * pairs.cosines
        assert np.ptp(left) < 1e-6
        assert pairs.position(contrast) == pytest.approx(position, abs=1e-6)


def test_random_points_are_unit_rows_of_their_seed():
    x, again, other = (random_points(50, 3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.linalg.norm(x, axis=1) == pytest.approx(1)
    assert (x == again).all() and not (x == other).any()
    assert abs(random_points(5000, 3, np.random.default_rng(3)).mean(0)).max() < 0.05


def test_the_loss_of_two_pairs_is_a_closed_form():
    """Cosines a cos(delta) off the diagonal and a on it, a = cos(theta): each row is a logistic loss of the two."""
    theta, scale = np.array([0.0, 30.0, 90.0]), 1 / np.array([1.0, 0.05])
    moved = Meridians([0.0, 60.0]).move(theta)
    found = losses(moved, 1 / scale, [Matches.of([0, 1]), swap(2, 0, 1)])
    difference = np.cos(np.radians(theta))[:, None] * scale * (1 - 0.5)
    assert found[0] == pytest.approx(np.log1p(np.exp(-difference)), abs=1e-12)
    assert found[1] == pytest.approx(np.log1p(np.exp(difference)), abs=1e-12)


def test_the_ring_at_heights_zero_and_one():
    """Four points of a square: cosines 1, 0, -1, 0 at z = 0, all equal at z = 1."""
    moved = Caps(on_circle([0.0, 90.0, 180.0, 270.0])).move([0.0, 1.0, -1.0])
    right, wrong = losses(moved, [0.5], [Matches.of(range(4)), swap(4, 0, 1)])[..., 0]
    total = math.exp(2) + 2 + math.exp(-2)
    assert right == pytest.approx([math.log(total) - 2, math.log(4), math.log(4)], abs=1e-12)
    assert wrong == pytest.approx([math.log(total) - 1, math.log(4), math.log(4)], abs=1e-12)


def test_every_position_has_the_loss_of_the_definition(rng):
    moved = Caps(random_points(9, 4, rng)).move(np.linspace(-1, 1, 7))
    order = rng.permutation(9)
    cases = [mismatched(9, f, order) for f in (0, 0.25, 0.5)]
    found = losses(moved, TEMPERATURES, cases)
    for k, case in enumerate(cases):
        for p, (x, y) in enumerate(zip(*moved, strict=True)):
            for t, tau in enumerate(TEMPERATURES):
                rows = (x, y[case.text_of], tau)
                assert found[k, p, t] == pytest.approx(contrastive.contrastive_loss(*rows), rel=1e-9)


def test_labels_that_are_no_permutation_are_cross_entropies_of_their_own(rng):
    """As the released ring has them: both directions use the same labels."""
    x, y = (reference.unit(rng.normal(size=(3, 4))) for _ in range(2))
    labels = np.array([0, 2, 2])
    found = losses(Moved(x[None], y[None]), [0.2], [Matches(labels, labels)]).item()
    logits = x @ y.T / 0.2
    halves = [reference.log_sum_exp(z, 1).mean() - z[np.arange(3), labels].mean() for z in (logits, logits.T)]
    assert found == pytest.approx(np.mean(halves), rel=1e-12)


def test_losses_are_the_same_at_opposite_positions_and_after_a_rotation(rng):
    points, order = random_points(8, 3, rng), rng.permutation(8)
    matches = [mismatched(8, 0.5, order)]
    turned = points @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    z = np.linspace(0, 1, 6)
    one, other, rotated = (
        losses(Caps(p).move(at), TEMPERATURES, matches) for p, at in ((points, z), (points, -z), (turned, z))
    )
    assert other == pytest.approx(one, abs=1e-10) and rotated == pytest.approx(one, abs=1e-10)


@pytest.mark.parametrize("n, count", [(4, 2), (10, 3), (100, 20)])
def test_the_best_logit_scale_of_orthogonal_pairs_is_a_closed_form(n, count):
    """Matched 1, others 0: the loss f s + log(1 + (n - 1)exp(-s)) is lowest at s = log((n - 1)(1 - f)/f)."""
    case = mismatched(n, count / n, np.arange(n))
    by_hand = math.log((n - 1) * (n - count) / count)
    assert best_logit_scale(np.eye(n), case) == pytest.approx(by_hand, rel=1e-9)


def test_the_best_logit_scale_is_infinite_without_a_mismatch_and_zero_where_matches_are_worse_than_any():
    cosines = Meridians([0.0, 50.0, 100.0]).cosines
    assert best_logit_scale(cosines, Matches.of([0, 1, 2])) == math.inf
    assert best_logit_scale(cosines, swap(3, 0, 2)) == 0
    assert best_logit_scale(np.ones((3, 3)), Matches.of([0, 1, 2])) == math.inf


def test_a_grid_search_finds_the_best_logit_scale(rng):
    pairs = Caps(random_points(12, 3, rng))
    case = mismatched(12, 0.25, rng.permutation(12))
    best = best_logit_scale(pairs.cosines, case)
    scales = np.geomspace(best / 3, best * 3, 801)
    curve = losses(pairs.move([0.0]), 1 / scales, [case])[0, 0]
    assert scales[curve.argmin()] == pytest.approx(best, rel=0.002)


@given(n=st.integers(2, 60), fraction=st.floats(0, 0.5), seed=st.integers(0, 99))
def test_a_mismatch_is_a_derangement_of_so_many_pairs(n, fraction, seed):
    count = math.floor(fraction * n + 0.5)
    order = np.random.default_rng(seed).permutation(n)
    if fraction > 0 and count < 2:
        with pytest.raises(UserError, match="a mismatch takes two"):
            mismatched(n, fraction, order)
        return
    text_of, image_of = mismatched(n, fraction, order)
    assert set(np.flatnonzero(text_of != np.arange(n))) == set(order[:count])
    assert (image_of[text_of] == np.arange(n)).all()


@pytest.mark.parametrize(
    "n, fraction, said",
    [
        (10, 0.51, "from 0 to 0.5, not 0.51"),
        (10, -0.1, "from 0 to 0.5, not -0.1"),
        (10, math.nan, "from 0 to 0.5, not nan"),
        (10, 0.1, "is 1 of 10 pairs.*at least 0.2"),
    ],
)
def test_a_fraction_that_makes_no_sense_is_refused(n, fraction, said):
    with pytest.raises(UserError, match=said):
        mismatched(n, fraction, np.arange(n))
