"""X-CLIP on models so small that they take no time: real code, random weights, no network."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from encoder_checks import agree, rows_of_both
from systems import x_clip
from tiny_systems import FRAMES, SIDE, x_clip_config

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")

CAPTIONS = ["a cat", "two dogs on a bench", "", "a very long caption " * 50, "cats"]


@pytest.fixture(scope="module")
def tiny():
    return x_clip.load(device="cpu", config=x_clip_config())


@pytest.fixture
def videos(photographs):
    """Five videos of three pictures."""
    return [photographs[start : start + FRAMES] for start in range(5)]


@torch.no_grad()
def rows_by(model, pair, videos):
    """Rows of both towers as transformers' own model gives them."""
    images = model.get_video_features(pair.non_text.prepare(videos))
    texts = model.get_text_features(pair.text.prepare(CAPTIONS).clamp(min=0))
    return [normalize(given.pooler_output, dim=1).numpy() for given in (images, texts)]


def test_rows_are_those_of_the_model_itself(tiny, videos):
    assert tiny.non_text.prepare(videos).shape == (5, FRAMES, 3, SIDE, SIDE)
    assert tiny.text.prepare(CAPTIONS).shape == (5, 77)
    rows = rows_of_both(tiny, videos, CAPTIONS)
    assert agree(rows, rows_by(tiny.model, tiny, videos), 2e-6)
    assert min(np.ptp(part, axis=0).max() for part in rows) > 0.02
    assert tiny.settings != x_clip.load(device="cpu", config=x_clip_config(context=70)).settings


def test_texts_are_embedded_without_the_prompts_of_a_video(tiny, videos):
    tokens, pixels = tiny.text.prepare(CAPTIONS).clamp(min=0), tiny.non_text.prepare(videos[:2])
    with torch.no_grad():
        prompted = tiny.model(input_ids=tokens, pixel_values=pixels)
    rows = tiny.encode_texts(CAPTIONS)
    assert prompted.text_embeds.shape == (2, 5, 24), "one row for each video and text"
    assert not np.allclose(prompted.text_embeds[0], rows, atol=1e-3)
    assert tiny.settings["prompting"].startswith("none")


def test_frames_and_their_order_matter(tiny, videos):
    rows = tiny.encode_non_text(videos)
    assert not np.allclose(tiny.encode_non_text([video[::-1] for video in videos]), rows, atol=1e-3)
    assert not np.allclose(tiny.encode_non_text([[*video[:2], video[0]] for video in videos]), rows, atol=1e-3)


def test_frames_are_prepared_as_x_clips_own(tiny):
    white = [Image.new("RGB", (64, 48), "white")] * FRAMES
    expected = [(1 - mean) / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    assert np.allclose(tiny.non_text.prepare([white])[0, 0, :, 5, 5], expected, atol=1e-5)
    assert tiny.settings["pixels"]["size"] == {"shortest_edge": SIDE}
    grey = [frame.convert("L") for frame in white]
    assert torch.equal(tiny.non_text.prepare([grey]), tiny.non_text.prepare([white]))
