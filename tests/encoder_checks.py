"""What the tests of every encoder ask of it."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from util import UserError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def refused(match):
    """The block is a UserError of one line that a terminal can hold."""
    with pytest.raises(UserError, match=match) as caught:
        yield
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@contextmanager
def undisturbed():
    """The block leaves torch's own generator as it was."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


def only_the_seed_decides(rows):
    """``rows(seed)`` are those of the seed, and torch's own generator stays as it was."""
    with undisturbed():
        first = rows(3)
    assert np.array_equal(rows(3), first)
    assert not np.allclose(rows(4), first, atol=1e-3)


def rows_of_both(pair, images, captions, batch_size=None):
    """Rows of both towers, as float32 unit rows of the width that the settings say."""
    found = pair.non_text.encode(iter(images), batch_size), pair.text.encode(captions, batch_size)
    for rows, count in zip(found, (len(images), len(captions)), strict=True):
        assert (rows.dtype, rows.shape) == (np.float32, (count, pair.settings["dim"]))
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    return found


def agree(one, other, atol=1e-6):
    """Whether the rows of both towers are the same, rounding aside."""
    return all(np.allclose(a, b, atol=atol) for a, b in zip(one, other, strict=True))
