"""The loss of mismatched pairs: closed forms, the definition at every position, the best logit scale, refusals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mismatch
import reference
import sphere
from util import UserError, contrastive

TEMPERATURES = (1.0, 0.1, 0.01)


def swap(n, i, j):
    text_of = np.arange(n)
    text_of[[i, j]] = j, i
    return mismatch.Matches.of(text_of)


def test_the_loss_of_two_pairs_is_a_closed_form():
    """Cosines a cos(delta) off the diagonal and a on it, a = cos(theta): each row is a logistic loss of the two."""
    theta, scale = np.array([0.0, 30.0, 90.0]), 1 / np.array([1.0, 0.05])
    moved = sphere.Meridians([0.0, 60.0]).move(theta)
    found = mismatch.losses(*moved, 1 / scale, [mismatch.Matches.of([0, 1]), swap(2, 0, 1)]).symmetric
    difference = np.cos(np.radians(theta))[:, None] * scale * (1 - 0.5)
    assert found[0] == pytest.approx(np.log1p(np.exp(-difference)), abs=1e-12)
    assert found[1] == pytest.approx(np.log1p(np.exp(difference)), abs=1e-12)


def test_the_ring_at_heights_zero_and_one():
    """Four points of a square: cosines 1, 0, -1, 0 at z = 0, all equal at z = 1."""
    moved = sphere.Caps(sphere.on_circle([0.0, 90.0, 180.0, 270.0])).move([0.0, 1.0, -1.0])
    right, wrong = mismatch.losses(*moved, [0.5], [mismatch.Matches.of(range(4)), swap(4, 0, 1)]).symmetric[..., 0]
    total = math.exp(2) + 2 + math.exp(-2)
    assert right == pytest.approx([math.log(total) - 2, math.log(4), math.log(4)], abs=1e-12)
    assert wrong == pytest.approx([math.log(total) - 1, math.log(4), math.log(4)], abs=1e-12)


def test_every_position_has_the_loss_of_the_definition(rng):
    moved = sphere.Caps(sphere.random_points(9, 4, rng)).move(np.linspace(-1, 1, 7))
    order = rng.permutation(9)
    cases = [mismatch.mismatched(9, f, order) for f in (0, 0.25, 0.5)]
    found = mismatch.losses(*moved, TEMPERATURES, cases)
    for k, case in enumerate(cases):
        for p, (x, y) in enumerate(zip(*moved, strict=True)):
            for t, tau in enumerate(TEMPERATURES):
                rows = (x, y[case.text_of], tau)
                assert found.symmetric[k, p, t] == pytest.approx(contrastive.contrastive_loss(*rows), rel=1e-9)
                released = contrastive.contrastive_loss(*rows, released=True)
                assert found.to_text[k, p, t] == pytest.approx(released, rel=1e-9)


def test_labels_that_are_no_permutation_are_cross_entropies_of_their_own(rng):
    """As the released ring has them: both directions use the same labels."""
    x, y = (reference.unit(rng.normal(size=(3, 4))) for _ in range(2))
    labels = np.array([0, 2, 2])
    found = mismatch.losses(x[None], y[None], [0.2], [mismatch.Matches(labels, labels)]).symmetric.item()
    logits = x @ y.T / 0.2
    halves = [reference.log_sum_exp(z, 1).mean() - z[np.arange(3), labels].mean() for z in (logits, logits.T)]
    assert found == pytest.approx(np.mean(halves), rel=1e-12)


def test_losses_are_the_same_at_opposite_positions_and_after_a_rotation(rng):
    points, order = sphere.random_points(8, 3, rng), rng.permutation(8)
    matches = [mismatch.mismatched(8, 0.5, order)]
    turned = points @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    z = np.linspace(0, 1, 6)
    one, other, rotated = (
        mismatch.losses(*sphere.Caps(p).move(at), TEMPERATURES, matches).symmetric
        for p, at in ((points, z), (points, -z), (turned, z))
    )
    assert other == pytest.approx(one, abs=1e-10) and rotated == pytest.approx(one, abs=1e-10)


def test_many_blocks_give_what_one_gives(rng, monkeypatch):
    moved = sphere.Caps(sphere.random_points(5, 3, rng)).move(np.linspace(-1, 1, 11))
    whole = mismatch.losses(*moved, TEMPERATURES, [swap(5, 1, 2)]).symmetric
    monkeypatch.setattr(mismatch, "ENTRIES", 60)
    assert (mismatch.losses(*moved, TEMPERATURES, [swap(5, 1, 2)]).symmetric == whole).all()


@pytest.mark.parametrize("n, count", [(4, 2), (10, 3), (100, 20)])
def test_the_best_logit_scale_of_orthogonal_pairs_is_a_closed_form(n, count):
    """Matched 1, others 0: the loss f s + log(1 + (n - 1)exp(-s)) is lowest at s = log((n - 1)(1 - f)/f)."""
    case = mismatch.mismatched(n, count / n, np.arange(n))
    by_hand = math.log((n - 1) * (n - count) / count)
    assert mismatch.best_logit_scale(np.eye(n), case) == pytest.approx(by_hand, rel=1e-9)


def test_the_best_logit_scale_is_infinite_without_a_mismatch_and_zero_where_matches_are_worse_than_any():
    cosines = sphere.Meridians([0.0, 50.0, 100.0]).cosines
    assert mismatch.best_logit_scale(cosines, mismatch.Matches.of([0, 1, 2])) == math.inf
    assert mismatch.best_logit_scale(cosines, swap(3, 0, 2)) == 0
    assert mismatch.best_logit_scale(np.ones((3, 3)), mismatch.Matches.of([0, 1, 2])) == math.inf


def test_a_grid_search_finds_the_best_logit_scale(rng):
    pairs = sphere.Caps(sphere.random_points(12, 3, rng))
    case = mismatch.mismatched(12, 0.25, rng.permutation(12))
    best = mismatch.best_logit_scale(pairs.cosines, case)
    scales = np.geomspace(best / 3, best * 3, 801)
    curve = mismatch.losses(*pairs.move([0.0]), 1 / scales, [case]).symmetric[0, 0]
    assert scales[curve.argmin()] == pytest.approx(best, rel=0.002)


@given(n=st.integers(2, 60), fraction=st.floats(0, 0.5), seed=st.integers(0, 99))
def test_a_mismatch_is_a_derangement_of_so_many_pairs(n, fraction, seed):
    count = math.floor(fraction * n + 0.5)
    order = np.random.default_rng(seed).permutation(n)
    if fraction > 0 and count < 2:
        with pytest.raises(UserError, match="a mismatch takes two"):
            mismatch.mismatched(n, fraction, order)
        return
    text_of, image_of = mismatch.mismatched(n, fraction, order)
    assert set(np.flatnonzero(text_of != np.arange(n))) == set(order[:count])
    assert (image_of[text_of] == np.arange(n)).all()


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: mismatch.mismatched(10, 0.51, np.arange(10)), "from 0 to 0.5, not 0.51"),
        (lambda: mismatch.mismatched(10, -0.1, np.arange(10)), "from 0 to 0.5, not -0.1"),
        (lambda: mismatch.mismatched(10, math.nan, np.arange(10)), "from 0 to 0.5, not nan"),
        (lambda: mismatch.mismatched(10, 0.1, np.arange(10)), "is 1 of 10 pairs.*at least 0.2"),
        (lambda: mismatch.mismatched(1, 0.0, np.arange(1)), "n must be a whole number of at least 2"),
        (lambda: mismatch.Matches.of([0, 0]), "must be a permutation of 0 to 1"),
        (lambda: mismatch.losses(np.eye(2)[None], np.eye(2)[None], [0.0], [swap(2, 0, 1)]), "above 0.*not 0"),
        (lambda: mismatch.losses(np.eye(2)[None], np.eye(2)[None], [-1.0], [swap(2, 0, 1)]), "above 0.*not -1"),
        (lambda: mismatch.losses(np.eye(2)[None], np.eye(2)[None], [1.0], [swap(3, 0, 1)]), "there are 2 pairs"),
        (lambda: mismatch.best_logit_scale(np.ones((2, 3)), swap(2, 0, 1)), "cosines must be square"),
    ],
)
def test_bad_input_is_refused(call, said):
    with pytest.raises(UserError, match=said):
        call()
