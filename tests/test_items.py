"""Equal rows are one item: by a loop over rows, whatever kind of array holds them."""

import numpy as np
import pytest
import torch

import reference
from util.numerics.items import batches, copies, items, matched


def first_equal(rows):
    return [next(j for j in range(k + 1) if (rows[j] == rows[k]).all()) for k in range(len(rows))]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_items_are_the_first_equal_row(rng, dtype):
    rows = (10 * rng.normal(size=(300, 3))).astype(dtype)[rng.integers(0, 300, 600)]
    rows[7], rows[500] = 0, -np.zeros(3)
    expected = first_equal(rows)
    assert len(set(expected)) < 300 and expected[500] == 7
    for given in (rows, np.asfortranarray(rows), torch.tensor(rows)):
        assert items(given).tolist() == expected
    tensor = torch.tensor(rows).bfloat16()
    assert items(tensor).tolist() == first_equal(tensor.double().numpy())


def test_a_copy_has_the_partners_of_all_its_copies(rng):
    x, y = reference.pairs(rng, 5, 4)
    x, y = x[[0, 1, 0, 2, 3]], y[[0, 1, 2, 2, 4]]
    found = matched(x, y, np.array([[0, 0], [2, 1], [1, 2], [3, 3], [1, 3]]))
    assert found.first.tolist() == [0, 1, 3] and found.second.tolist() == [0, 1, 2]
    assert found.pairs.tolist() == [[0, 0], [0, 1], [1, 2], [2, 2]]
    first, second = found.groups
    assert first[1] == first[2] == second[2] != first[0] and first[0] == second[0] == second[1]
    assert found.items[0].tolist() == [0, 1, 0, 3, 4]
    assert copies({"image": x, "text": y}) == {"image": 1, "text": 1}


def test_batches_without_equal_rows_are_of_neighbours(rng):
    x, y = reference.pairs(rng, 11, 4)
    assert batches(x, y, 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]] and batches(x, y).tolist() == [list(range(11))]
    assert copies({"image": x}) == {"image": 0}


def test_a_pair_that_has_to_wait_comes_first_in_the_next_batch(rng):
    x, y = reference.pairs(rng, 6, 4)
    x, y = x[[0, 0, 1, 2, 0, 3]], y[[0, 1, 2, 3, 4, 3]]
    assert batches(x, y, 2).tolist() == [[0, 2], [1, 3], [4, 5]]
    assert batches(x, y, 3).tolist() == [[0, 2, 3]] and batches(x, y).tolist() == [[0, 2, 3]]
