"""Zero-shot at every shift: by hand, against shifting one by one, at the edges of blocks, ties, refusals."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from reference import PAPER_SHIFTS
from refusals import refuses
from util import UserError
from util.zero_shot import shifted
from util.zero_shot.shifted import classify, predict, retrieve, scores


def turned(*degrees):
    """Rows of the circle at these angles."""
    angles = np.radians(np.array(degrees, float))
    return np.stack([np.cos(angles), np.sin(angles)], 1)


@pytest.fixture(params=["whole", "in small blocks"])
def blocks(request, monkeypatch):
    """Blocks larger than the data, or such that every size below is cut, and not evenly."""
    if request.param == "in small blocks":
        for name, size in (("TILE", 150), ("GROUP", 11)):
            monkeypatch.setattr(shifted, name, size)


def test_a_shift_by_hand_turns_a_miss_into_a_hit():
    # Along (1, 0): the image at 90 degrees moves to (-1, 1) and so to 135 degrees, the classes stay.
    x, y, right = turned(90), turned(80, 125), np.array([3.0, 0.0])
    found = classify(x, y, [1], [0.0, 1.0, -1.0], right, "first")
    assert found.predicted.tolist() == [[0], [1], [0]]
    assert found.ranks.tolist() == [[1], [0], [1]] and found.predicted.dtype == found.ranks.dtype == np.int32
    # Two-sided, by 2: the image goes to 135 degrees again, and the class of 180 degrees to zero length.
    with pytest.raises(UserError, match="a shift moves row 1 to zero"):
        classify(x, turned(80, 180), [1], [2.0], right)


def test_retrieval_by_hand():
    x, y, items = turned(0, 50, 100), turned(5, 48, 20, 95, 60), [0, 1, 2, 2, 0]
    found = retrieve(x, y, items, [0.0])
    # Image 0: 5 (own) first. Image 1: 48 (own) first. Image 2: 95 (own) first, though its other text is the farthest.
    assert found.image_ranks.tolist() == [[0, 0, 0]]
    # 5: image 0. 48: image 1. 20: images 0 and 1 before 2. 95: image 2. 60: image 1 (10), 2 (40), before 0 (60).
    assert found.text_ranks.tolist() == [[0, 0, 2, 0, 2]]
    assert retrieve(x, y[[0, 1, 2]], [2, 0, 1], [0.0]).image_ranks.tolist() == [[2, 1, 2]]


@pytest.mark.parametrize("side", ["both", "first", "second"])
@pytest.mark.parametrize("given_direction", [False, True])
def test_classification_agrees_with_shifting_at_every_one_of_the_shifts(rng, blocks, side, given_direction):
    (x, _), (_, y) = reference.pairs(rng, 60, 12), reference.pairs(rng, 23, 12)
    labels, direction = rng.integers(0, 23, 60), rng.normal(size=12) if given_direction else None
    found = classify(x, y, labels, PAPER_SHIFTS, direction, side)
    assert (predict(x, y, PAPER_SHIFTS, direction, side) == found.predicted).all()
    for s, own in enumerate(scores(x, y, PAPER_SHIFTS, direction, side)):
        a, b = reference.shifted(x, y, PAPER_SHIFTS[s], direction, side)
        cosines = a @ b.T
        assert own == pytest.approx(cosines, abs=1e-12)
        assert found.predicted[s].tolist() == cosines.argmax(1).tolist()
        assert found.ranks[s].tolist() == (cosines > cosines[np.arange(60), labels][:, None]).sum(1).tolist()
    assert (found.predicted != found.predicted[0]).any() and (found.ranks != found.ranks[0]).any()


def test_of_identical_prompts_the_first_comes_first_at_every_shift(rng, blocks):
    (x, _), (_, some) = reference.pairs(rng, 200, 48), reference.pairs(rng, 30, 48)
    y, labels = some[np.tile(np.arange(30), 3)], rng.integers(0, 30, 200)  # classes 30 and 60 are those of 0 again
    direction = reference.gap(x, y)
    single = classify(x, some, labels, PAPER_SHIFTS, direction)
    for copy in range(3):
        found = classify(x, y, labels + 30 * copy, PAPER_SHIFTS, direction)
        assert (found.predicted == single.predicted).all() and (found.ranks == 3 * single.ranks + copy).all()


def test_of_identical_images_and_texts_the_first_comes_first(rng, blocks):
    once = reference.pairs(rng, 20, 48, noise=0.05)
    x, y = (part[np.tile(np.arange(20), 3)] for part in once)
    shifts, along, own = PAPER_SHIFTS[12:28], reference.gap(x, y), np.repeat([0, 1, 2], 20)
    for ranks in retrieve(x, y, np.arange(60), shifts, once=False):
        assert (ranks % 3 == own).all() and (ranks[8] == own).all()  # no shift: all are found
    as_one = retrieve(*once, np.arange(20), shifts, along)
    for ours, single in zip(retrieve(x, y, np.arange(60), shifts, along), as_one, strict=True):
        assert (ours == np.tile(single, 3)).all()


def many_to_many(rng, n, m, copies, d=12):
    """Images and texts in several pairs each, and ``copies`` of some images and texts with partners of their own."""
    x, y = reference.pairs(rng, max(n, m), d)
    x, y = x[[*range(n), *rng.integers(0, n, copies)]], y[[*range(m), *rng.integers(0, m, copies)]]
    first = np.concatenate([np.arange(len(x)), rng.integers(0, len(x), len(y))])
    second = np.concatenate([rng.integers(0, len(y), len(x)), np.arange(len(y))])
    return x, y, rng.permutation(np.stack([first, second], 1))


@pytest.mark.parametrize("copies, side", [(0, "both"), (0, "second"), (9, "both"), (9, "first")])
def test_every_partner_is_a_hit_and_a_copy_is_no_negative(rng, blocks, copies, side):
    """A loop in float64: what is not a partner of any row that equals this one, and nearer than the best partner."""
    x, y, pairs = many_to_many(rng, 35, 50, copies)
    direction, shifts = rng.normal(size=12) if copies else None, PAPER_SHIFTS[::5]
    found = retrieve(x, y, pairs, shifts, direction, side)
    names = [[row.tobytes() for row in part] for part in (x, y)]
    joined = {(names[0][i], names[1][j]) for i, j in pairs}
    own = np.array([[(a, b) in joined for b in names[1]] for a in names[0]])
    firsts = [np.array([name not in part[:k] for k, name in enumerate(part)]) for part in names]
    for s, amount in enumerate(shifts):
        a, b = reference.shifted(x, y, amount, direction, side)
        cosines = a @ b.T
        for mine, ours, negative, answering in (
            (cosines, found.image_ranks[s], ~own, firsts[1]),
            (cosines.T, found.text_ranks[s], ~own.T, firsts[0]),
        ):
            best = np.where(negative, -2, mine).max(1, keepdims=True)
            assert ours.tolist() == (negative & answering & (mine > best + 1e-9)).sum(1).tolist()
    assert 0 < (found.image_ranks == 0).mean() < 1 and 0 < (found.text_ranks == 0).mean() < 1


def test_a_text_of_the_image_that_ties_with_a_better_placed_one_is_counted_by_the_best_place():
    x, y = turned(0, 180), turned(10, -10, 10, 170)
    # Texts 0, 1, 2 are 10 degrees from image 0; 0 is another image's, so it comes before, whichever of 1, 2 is own.
    assert retrieve(x, y, [1, 0, 0, 1], [0.0], once=False).image_ranks.tolist() == [[1, 0]]
    assert retrieve(x, y, [0, 1, 1, 0], [0.0], once=False).image_ranks.tolist() == [[0, 2]]
    assert retrieve(x, y, [1, 0, 0, 1], [0.0], once=False).text_ranks.tolist() == [[1, 0, 0, 0]]


@given(st.integers(1, 25), st.integers(1, 25), st.integers(1, 9), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_retrieval_agrees_with_the_definitions_at_any_size(n, more, d, seed):
    rng = np.random.default_rng(seed)
    items = rng.permutation(np.concatenate([np.arange(n), rng.integers(0, n, more)]))
    x, y = (reference.unit(rng.normal(size=(size, d)) + 0.01) for size in (n, len(items)))
    direction, shifts = rng.normal(size=d) + 0.1, [0.0, 0.37]
    found = retrieve(x, y, items, shifts, direction, once=False)
    for s, amount in enumerate(shifts):
        a, b = reference.shifted(x, y, amount, direction)
        cosines = np.round(a @ b.T, 11)  # in one dimension all cosines are 1 or -1
        order_texts = [np.argsort(-row, kind="stable") for row in cosines]
        order_images = [np.argsort(-column, kind="stable") for column in cosines.T]
        first = [np.flatnonzero(items[order] == i)[0] for i, order in enumerate(order_texts)]
        assert found.image_ranks[s].tolist() == first
        own = [np.flatnonzero(order == items[j])[0] for j, order in enumerate(order_images)]
        assert found.text_ranks[s].tolist() == own


def test_tensors_lists_half_precision_and_read_only_arrays_are_taken_and_left_as_they_are(rng):
    x, y = reference.pairs(rng, 30, 16)
    y, labels = y[:5], np.arange(30) % 5
    expected, before = classify(x, y, labels, [0.0, 0.5]), y.copy()
    x.flags.writeable = False
    tensors = classify(torch.tensor(x), torch.tensor(y), torch.tensor(labels), torch.tensor([0.0, 0.5]))
    assert isinstance(tensors.ranks, np.ndarray) and (tensors.ranks == expected.ranks).all()
    assert (classify(x, y, labels.tolist(), [0.0, 0.5]).predicted == expected.predicted).all()
    assert (y == before).all()
    halves = torch.tensor(x).half(), torch.tensor(y).half()
    assert (predict(*halves, [0.5]) == predict(*(part.double().numpy() for part in halves), [0.5])).all()


def test_without_a_shift_a_zero_gap_is_no_hindrance_and_with_one_it_is(rng):
    x = reference.cone(rng, 9, 4)
    assert (classify(x, x, np.arange(9), [0.0]).ranks == 0).all()
    with pytest.raises(UserError, match="the gap is zero"):
        classify(x, x, np.arange(9), [0.0, 0.25])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensors_of_a_gpu_give_the_same_numbers(rng):
    x, y, items = many_to_many(rng, 300, 900, 20, 32)
    gpu = [torch.tensor(part).cuda() for part in (x, y)]
    for ours, cpu in zip(retrieve(*gpu, items, PAPER_SHIFTS), retrieve(x, y, items, PAPER_SHIFTS), strict=True):
        assert isinstance(ours, np.ndarray) and (ours == cpu).all()


X, Y = turned(0, 90, 180), turned(10, 100)


test_bad_input_is_refused_in_one_line = refuses(
    (partial(classify, X, Y, [0, 1], [0.0]), "labels must be 3 whole numbers in a row, one for each row of x"),
    (partial(classify, X, Y, [0, 2, -1], [0.0]), r"0 to 1 for 2 classes; 2 of 3 are not, the first is 2, at 1$"),
    (partial(classify, X, 2 * Y, [0, 1, 1], [0.0]), "y must have unit-norm rows"),
    (partial(classify, X, Y, [0, 1, 1], [1.0], [1.0, 2.0, 3.0]), "direction has 3 numbers, these rows have 2 columns"),
    (partial(predict, X, np.ones((2, 3)), [0.0]), "one width"),
    (partial(retrieve, X, Y, [0, 1], [0.0]), "every image needs a text: 1 of 3 have none, first row 2 of x"),
    (partial(retrieve, Y, X, [0, 1, 2], [0.0]), "item_of must be 0 to 1 for 2 rows of x; 1 of 3 are not"),
    (partial(retrieve, Y, X, [0, 1, 1], [1.0], Y[0], "first"), "a shift moves row 0 to zero"),
    (partial(retrieve, Y, X, [[0, 0], [1, 1]], [0.0]), "every text needs an image: 1 of 3 have none, first row 2 of y"),
    (partial(retrieve, Y, X, [[0, 3], [1, 1]], [0.0]), "y of item_of must be 0 to 2 for 3 rows of y; 1 of 2 are not"),
)
