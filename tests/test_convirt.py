"""ConVIRT's architecture: pooling and heads by hand, both towers against torchvision and transformers by themselves."""

import numpy as np
import pytest
import torch
import torchvision
from torch.nn.functional import normalize

from systems import convirt, untrained
from tiny_systems import CONVIRT as TINY

pytestmark = pytest.mark.usefixtures("one_thread")

REPORTS = ["no pleural effusion", "heart size is normal", "", "clear " * 50, "clear lungs"]


@pytest.fixture(scope="module")
def tiny():
    """With BERT's usual weights every text has almost the same embedding: its tokens are made larger here."""
    pair = convirt.load(device="cpu", sizes=TINY)
    pair.model.text.embeddings.word_embeddings.weight.mul_(30)
    return pair


def test_the_largest_value_of_each_dimension_is_taken_and_padding_never():
    outputs = torch.tensor([[[1.0, 5.0], [3.0, 2.0], [9.0, 9.0]], [[-1.0, -5.0], [7.0, 7.0], [8.0, 8.0]]])
    real = torch.tensor([[True, True, False], [True, False, False]])
    assert convirt.largest(outputs, real).tolist() == [[3.0, 5.0], [-1.0, -5.0]]


def test_a_head_is_linear_relu_linear():
    head = convirt.head(2, 1)
    weights = ([[1.0, 0.0], [0.0, 1.0]], [0.0, -3.0], [[2.0, 10.0]], [0.5])
    for parameter, value in zip(head.parameters(), weights, strict=True):
        parameter.data = torch.tensor(value)
    assert head(torch.tensor([[1.0, 2.0], [-1.0, 4.0]])).tolist() == [[2.5], [10.5]]


@torch.no_grad()
def test_texts_are_bert_then_the_maximum_then_the_head(tiny):
    rows = []
    for report in REPORTS:
        tokens = untrained.tokens([report], TINY.context, ends=True)
        outputs = tiny.model.text(input_ids=tokens[tokens >= 0][None]).last_hidden_state
        rows.append(tiny.model.text_head(outputs.max(dim=1).values))
    texts = tiny.encode_texts(REPORTS)
    assert (texts.dtype, texts.shape) == (np.float32, (5, TINY.dim))
    assert np.allclose(texts, normalize(torch.cat(rows)), atol=2e-6)
    assert np.ptp(texts, axis=0).max() > 0.02


@torch.no_grad()
def test_images_are_the_pooled_activations_then_the_head(tiny, photographs):
    transform = torchvision.models.get_model_weights("resnet18")["IMAGENET1K_V1"].transforms()
    pooled = tiny.model.image(torch.stack([transform(picture) for picture in photographs[:3]]))
    assert pooled.shape == (3, 512)
    rows = tiny.encode_non_text(photographs[:3])
    assert np.allclose(rows, normalize(tiny.model.image_head(pooled)), atol=2e-6) and rows.shape == (3, TINY.dim)


def test_reports_that_are_too_long_keep_their_end_token(tiny):
    tokens = tiny.text.prepare(REPORTS)
    assert tokens.shape == (5, 16)
    assert int(tokens[3, -1]) == 49407 and tiny.text.lengths(tokens).tolist() == [7, 6, 2, 16, 4]
