import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from reference import PAPER_SHIFTS, PAPER_TEMPERATURES
from refusals import refuses
from util import contrastive, geometry
from util.contrastive import contrastive_loss, sweep


def collapsed_but_for_some(rng, n=120, d=24):
    """Rows and columns far below the largest cosine: most pairs agree fully, a few point away from everything."""
    x = reference.cone(rng, n, d, lean=20.0, dtype=np.float64)
    y = x.copy()
    x[::7], y[::11] = -x[::7], -y[::11]
    return x, y


def test_two_pairs_by_hand():
    x, y = np.eye(2), np.eye(2)
    assert contrastive_loss(x, y, 1.0) == pytest.approx(np.log(1 + np.exp(-1)))
    assert contrastive_loss(x, y, 0.5) == pytest.approx(np.log(1 + np.exp(-2)))
    assert contrastive_loss(x, y[::-1], 1.0) == pytest.approx(np.log(1 + np.e))


def test_directions_differ_by_hand():
    """Both texts equal the first image: every row has equal logits, the columns do not."""
    x, y = np.eye(2), np.array([[1.0, 0.0], [1.0, 0.0]])
    to_text, to_image = np.log(2), (np.log(1 + np.exp(-1)) + np.log(1 + np.e)) / 2
    assert contrastive_loss(x, y, 1.0, released=True, consecutive=True) == pytest.approx(to_text)
    assert contrastive_loss(x, y, 1.0, consecutive=True) == pytest.approx((to_text + to_image) / 2)


def waiting_batches(x, y, size):
    """The rule, one pair at a time: in order, and what stands in the batch waits for the next."""
    waiting, found = list(range(len(x))), []
    while True:
        batch = []
        for k in waiting:
            held = [np.array_equal(part[k], part[j]) for part in (x, y) for j in batch]
            if len(batch) < size and not any(held):
                batch.append(k)
        if len(batch) < size:
            return found
        found.append(batch)
        waiting = [k for k in waiting if k not in batch]


def captions(rng, images, each, d=16):
    """Pairs of images and ``each`` captions of their own, an image's captions one after the other."""
    x, _ = reference.pairs(rng, images, d)
    rows = np.repeat(np.arange(images), each)
    return x[rows], reference.unit(x[rows] + 0.4 * rng.normal(size=(len(rows), d)) - 0.3).astype(np.float32)


@pytest.mark.parametrize("order", ["one after the other", "mixed", "some texts too"])
@pytest.mark.filterwarnings("ignore:the loss is of")
def test_no_batch_holds_an_image_or_a_text_twice_and_the_loss_is_that_of_the_rule(rng, order):
    x, y = captions(rng, 20, 5)
    if order != "one after the other":
        mixed = rng.permutation(len(x))
        x, y = x[mixed], y[mixed]
    if order == "some texts too":
        y = y[np.where(rng.random(len(y)) < 0.3, 0, np.arange(len(y)))]
    batches = waiting_batches(x, y, 12)
    assert len(batches) > 1 and batches[0] != list(range(12))
    shifts, rows = [0.0, 0.4, -0.3], np.concatenate(batches)
    direction = reference.gap(x, y)
    exact = reference.sweep(x[rows], y[rows], shifts, (0.01, 0.1), 12, direction=direction)
    assert sweep(x, y, shifts, (0.01, 0.1), 12) == pytest.approx(exact, rel=1e-6)
    assert contrastive_loss(x, y, 0.1, 12) == pytest.approx(exact[0, 1], rel=1e-6)
    if order == "one after the other":
        assert contrastive_loss(x, y, 0.1) == pytest.approx(reference.loss(x[::5], y[::5], 0.1), rel=1e-6)
    assert contrastive_loss(x, y, 0.1, 12, consecutive=True) == pytest.approx(reference.loss(x, y, 0.1, 12), rel=1e-6)


def test_pairs_that_fill_no_batch_are_said(rng, recwarn):
    x, y = reference.pairs(rng, 60, 8)
    contrastive_loss(x, y, 0.1)
    contrastive_loss(x, y, 0.1, 50, consecutive=True)
    assert not recwarn.list
    for call in (lambda: contrastive_loss(x, y, 0.1, 50), lambda: sweep(x, y, [0.1], [0.1], 50)):
        with pytest.warns(UserWarning, match="the loss is of 50 of 60 pairs, in batches of 50"):
            call()
    with pytest.warns(UserWarning, match="of 20 of 100 pairs, in batches of 20"):
        contrastive_loss(*captions(rng, 20, 5), 0.1)


@pytest.mark.parametrize("batch, tile", [(40, 1024), (20, 1024), (40, 16)])
@pytest.mark.parametrize("scale, bias", [(112.67, -16.5), (10.0, -10.0), (500.0, 3.0)])
def test_the_sigmoid_loss_is_that_of_the_definition(rng, monkeypatch, batch, tile, scale, bias):
    monkeypatch.setattr(contrastive, "TILE", tile)
    x, y = reference.pairs(rng, 40, 8)
    exact = reference.sigmoid_loss(x, y, scale, bias, batch)
    assert contrastive_loss(x, y, 1 / scale, batch, bias=bias) == pytest.approx(exact, rel=1e-9)
    shifts = [0.0, 0.6]
    found = sweep(x, y, shifts, [1 / scale, 0.1], batch, bias=bias)
    moved = reference.shifted(x, y, 0.6)
    assert found[:, 0] == pytest.approx([exact, reference.sigmoid_loss(*moved, scale, bias, batch)], rel=1e-7)
    assert found[0, 1] == pytest.approx(reference.sigmoid_loss(x, y, 10.0, bias, batch), rel=1e-7)
    assert (sweep(x, y, shifts, [1 / scale], batch, True, bias=bias)[:, 0] == found[:, 0]).all()


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("batch", [None, 50, 1, 7])
@pytest.mark.filterwarnings("ignore:the loss is of")
def test_sweep_agrees_with_the_definition_at_every_shift_and_temperature_of_the_paper(rng, batch, released):
    x, y = reference.pairs(rng, 120, 32)
    ours = sweep(x, y, PAPER_SHIFTS, PAPER_TEMPERATURES, batch, released)
    exact = reference.sweep(x, y, PAPER_SHIFTS, PAPER_TEMPERATURES, batch, released)
    assert ours.shape == (40, 6)
    assert ours == pytest.approx(exact, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize(
    "batch, taus", [(None, (1 / 100, 1 / 300)), (40, (1 / 100, 1 / 300)), (40, (1 / 5000, 1 / 301))]
)
def test_sweep_holds_where_plain_float32_exponentials_vanish(rng, batch, taus):
    """Below 1/300 on the logarithmic path."""
    x, y = collapsed_but_for_some(rng)
    exact = reference.sweep(x, y, PAPER_SHIFTS[::2], taus, batch)
    assert exact.max() > 60
    assert sweep(x, y, PAPER_SHIFTS[::2], taus, batch) == pytest.approx(exact, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("batch", [None, 26])
@pytest.mark.parametrize(
    "largest, tile, rel", [(0.0, 1024, 1e-9), (0.0, 50, 1e-9), (contrastive.LARGEST_PLAIN_SCALE, 33, 1e-12)]
)
def test_tiles_and_the_logarithmic_path_change_nothing(rng, monkeypatch, largest, tile, rel, batch):
    """With no scale for plain exponentials the CPU runs what a GPU runs."""
    x, y = reference.pairs(rng, 130, 16)
    whole = sweep(x, y, PAPER_SHIFTS[::4], PAPER_TEMPERATURES, batch)
    monkeypatch.setattr(contrastive, "LARGEST_PLAIN_SCALE", largest)
    monkeypatch.setattr(contrastive, "TILE", tile)
    assert sweep(x, y, PAPER_SHIFTS[::4], PAPER_TEMPERATURES, batch) == pytest.approx(whole, rel=rel)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("batch", [None, 50])
def test_cuda_gives_the_numbers_of_the_cpu(rng, batch):
    x, y = (torch.from_numpy(part) for part in reference.pairs(rng, 500, 64))
    on_gpu = sweep(x.cuda(), y.cuda(), PAPER_SHIFTS, PAPER_TEMPERATURES, batch)
    assert on_gpu.is_cuda
    assert on_gpu.cpu().numpy() == pytest.approx(sweep(x, y, PAPER_SHIFTS, PAPER_TEMPERATURES, batch).numpy(), rel=1e-7)


@pytest.mark.parametrize("side", ["both", "first", "second"])
def test_sweep_follows_a_given_direction_and_side(rng, side):
    x, y = reference.pairs(rng, 60, 16)
    direction, shifts = rng.normal(size=16), np.array([-0.7, 0.0, 0.4])
    ours = sweep(x, y, shifts, [0.05, 0.013], direction=direction, side=side)
    assert ours == pytest.approx(reference.sweep(x, y, shifts, [0.05, 0.013], direction=direction, side=side), rel=1e-7)


def test_sweep_is_the_loss_of_shifted_embeddings_and_needs_no_gap_where_nothing_is_shifted(rng):
    x, y = reference.pairs(rng, 60, 16, dtype=np.float64)
    for amount in (-1.0, 0.0, 0.5):
        moved = geometry.shift(x, y, amount)
        assert sweep(x, y, [amount], [0.02], 20)[0, 0] == pytest.approx(contrastive_loss(*moved, 0.02, 20), rel=1e-9)
    assert sweep(GOOD, GOOD, [0.0], [1.0])[0, 0] == pytest.approx(contrastive_loss(GOOD, GOOD, 1.0))


@given(st.lists(st.one_of(st.integers(1, 300).map(float), st.floats(0.01, 300)), min_size=1, max_size=7))
@settings(max_examples=80, deadline=None)
def test_any_logit_scales_come_out_right(scales):
    """A scale is an exponential of its own or the sum of two that are there before it, repeated or not."""
    order, parts = contrastive._plan(tuple(scales))
    assert sorted(order) == list(range(len(scales)))
    for k, t in enumerate(order):
        if parts[t, 0] >= 0:
            assert {*parts[t]} <= {*order[:k]} and sum(scales[i] for i in parts[t]) == pytest.approx(scales[t])
    assert (contrastive._plan(tuple(1 / np.array(PAPER_TEMPERATURES)))[1] >= 0).all(1).sum() == 4


@pytest.mark.parametrize("noise", [1e-3, 1e-5, 1e-6])
def test_sweep_holds_where_a_shift_brings_rows_close_to_zero(rng, noise):
    """Modalities collapsed at opposite poles, shifted by 2: every row nearly vanishes before it is renormalised."""
    pole = reference.unit(rng.normal(size=(1, 16)))
    x, y = (reference.unit(side * pole + noise * rng.normal(size=(60, 16))) for side in (1, -1))
    assert sweep(x, y, [2.0], (0.01, 0.1), 20) == pytest.approx(reference.sweep(x, y, [2.0], (0.01, 0.1), 20), rel=1e-5)


def test_kind_and_precision_of_the_answer(rng):
    x, y = reference.pairs(rng, 40, 8)
    before = x.copy()
    assert isinstance(sweep(x, y, [0.1], [0.1]), np.ndarray) and (x == before).all()
    losses = sweep(torch.from_numpy(x), torch.from_numpy(y), torch.tensor([0.1]), [0.1])
    assert isinstance(losses, torch.Tensor) and losses.dtype == torch.float64
    half = [torch.from_numpy(part).bfloat16() for part in (x, y)]
    exact = reference.loss(*(part.double().numpy() for part in half), 0.05)
    assert contrastive_loss(*half, 0.05) == pytest.approx(exact, rel=1e-9)


GOOD = np.eye(4)


test_bad_input_is_refused_in_words = refuses(
    (lambda: contrastive_loss(GOOD, GOOD[:3], 0.1), "needs pairs; x has 4 rows and y 3"),
    (lambda: contrastive_loss(GOOD, 3 * GOOD, 0.1), "y must have unit-norm rows"),
    (lambda: contrastive_loss(GOOD, GOOD, 100), "at most 10, not 100: a logit scale. say --temperatures 0.01"),
    (lambda: sweep(GOOD, -GOOD, [0.1], [0.01, 30]), "a logit scale. say --temperatures 0.03333"),
    (lambda: contrastive_loss(GOOD, GOOD, 0.01, bias=[1, 2]), "bias must be one number, not 2"),
    (lambda: contrastive_loss(GOOD[[0, 0, 1]], GOOD[:3], 0.1, 3), "batch must be at most 2"),
    (lambda: contrastive_loss(GOOD, GOOD, 1e-310), "temperature must be above 0, at least 1e-09"),
    (lambda: contrastive_loss(GOOD, GOOD, [0.1, 0.2]), "one number"),
    (lambda: contrastive_loss(GOOD, GOOD, 0.1, batch=5), "at most the number of pairs, 4, not 5"),
    (lambda: contrastive_loss(GOOD, GOOD, 0.1, batch=0), "batch must be"),
    (lambda: sweep(GOOD, GOOD, [0.1], [0.1]), "the gap is zero"),
    (lambda: sweep(GOOD, -GOOD, [np.inf], [0.1]), "shifts must be"),
    (lambda: sweep(GOOD, -GOOD, [0.1], []), "temperatures must be"),
    (lambda: sweep(GOOD, -GOOD, [0.1], [0.1], side="texts"), "side must be"),
    (lambda: sweep(GOOD, -GOOD, [2.0], [0.1], direction=GOOD[0]), "to zero"),
)


def test_published_clip_shows_the_papers_minima(published_clip):
    """The default gap at 1/100, a smaller one at 1/50, near zero at 1: the paper's grid, batches of 50, symmetric."""
    x, y = published_clip
    lowest = PAPER_SHIFTS[sweep(x, y, PAPER_SHIFTS, PAPER_TEMPERATURES, 50).argmin(0)]
    assert lowest[0] == 0 < lowest[1]
    gaps = geometry.signed_gap_distances(x, y, lowest)
    assert 0 < gaps[1] < gaps[0] == pytest.approx(0.8514, abs=5e-4)
    assert abs(gaps[-1]) < 0.125  # half a step of the grid
