import numpy as np
import pytest
import torch

import reference
from refusals import refuses
from util.numerics import arrays
from util.numerics.moments import moments

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
    monkeypatch.setattr(
        "util.numerics.moments.as_rows", lambda x, name: asked.append(len(x)) or arrays.as_rows(x, name)
    )
    monkeypatch.setattr("util.numerics.arrays.blocks.__defaults__", (8,))
    found = moments(np.load(tmp_path / "x.npy", mmap_mode="c"))
    assert found.mean_cosine == pytest.approx(reference.cosines(x).mean(), abs=1e-6)
    assert max(asked) == 8
