"""The Procrustes map: known answers, its optimum, and training with it beside the model or inside it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

import reference
import tiny
from refusals import refuses
from util.errors import UserError
from util.geometry import gap_distance
from util.numerics.procrustes import mapped, orthogonal_map
from util.training import TrainingSettings, train

PLAIN = TrainingSettings(
    steps=5, batch=16, optimizer="sgd", schedule="constant", learning_rate=0.5, temperature=0.1, log_every=1
)


def test_a_turned_copy_is_turned_back(rng):
    x, _ = reference.pairs(rng, 40, 6, dtype=np.float64)
    turn = ortho_group.rvs(6, random_state=rng)
    np.testing.assert_allclose(orthogonal_map(x, x @ turn), turn.T, atol=1e-12)


def test_the_map_is_of_the_kind_and_precision_of_the_images(rng):
    x, y = reference.pairs(rng, 40, 6)
    assert orthogonal_map(x, y).dtype == np.float32
    tensor = orthogonal_map(torch.from_numpy(x), torch.from_numpy(y))
    assert isinstance(tensor, torch.Tensor) and np.allclose(tensor.numpy(), orthogonal_map(x, y))
    assert mapped(x, None) is x


def test_training_with_a_map_starts_from_the_amended_gap():
    """The first entry of the log is measured on the turned texts."""
    pairs, model = tiny.pairs(), tiny.model()
    with torch.no_grad():
        x = model.encode_image(tiny.prepare(pairs.images), normalize=True)
        y = model.encode_text(pairs.tokens, normalize=True)
    turn = orthogonal_map(x, y)
    whole = replace(PLAIN, steps=1, batch=len(pairs))
    amended = train(tiny.model(), pairs, whole, tiny.prepare, text_map=turn.numpy())[0]
    original = train(model, pairs, whole, tiny.prepare)[0]
    assert amended["gap_distance"] == pytest.approx(gap_distance(x, mapped(y, turn)), rel=1e-4)
    assert original["gap_distance"] == pytest.approx(gap_distance(x, y), rel=1e-4)
    assert amended["gap_distance"] < 0.3 * original["gap_distance"]


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        (np.eye(8)[:7], "must be square"),
        (2 * np.eye(8), "must be orthogonal"),
        (np.full((8, 8), np.nan), "not finite"),
        (np.eye(7), "texts have 8 numbers"),
    ],
)
def test_what_is_not_an_orthogonal_map_of_the_texts_is_refused(turn, told):
    with pytest.raises(UserError, match=told):
        train(tiny.model(), tiny.pairs(), PLAIN, tiny.prepare, text_map=turn)


test_a_map_needs_pairs = refuses(
    (lambda: orthogonal_map(np.eye(3), np.eye(3)[:2]), "x has 3 rows and y 2"),
    (lambda: orthogonal_map(2 * np.eye(3), np.eye(3)), "unit-norm"),
)
