"""X-CLIP on models so small that they take no time: real code, random weights, no network."""

import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch.nn.functional import normalize

from encoder_checks import agree, rows_of_both
from systems import x_clip
from tiny_systems import FRAMES, SIDE, x_clip_config
from tiny_transformers import CONTEXT, clip_tokenizer
from util import UserError
from util.encoders import hugging_face

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")

CAPTIONS = ["a cat", "two dogs on a bench", "", "a very long caption " * 50, "cats"]


@pytest.fixture(scope="module")
def tiny():
    return x_clip.load(random=True, device="cpu", config=x_clip_config())


@pytest.fixture
def videos(photographs):
    """Five videos of three pictures."""
    return [photographs[start : start + FRAMES] for start in range(5)]


@pytest.fixture
def folder(tmp_path):
    """An X-CLIP as the hub has it: weights, CLIP's tokenizer, VideoMAE's frames."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = transformers.XCLIPModel(x_clip_config(57, CONTEXT))
    processor = transformers.VideoMAEImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    path = tmp_path / "copy"
    for part in (model, clip_tokenizer(), processor):
        part.save_pretrained(path)
    about = json.loads((path / "preprocessor_config.json").read_text())
    about["feature_extractor_type"] = about.pop("image_processor_type").replace("ImageProcessor", "FeatureExtractor")
    (path / "preprocessor_config.json").write_text(json.dumps(about))
    return path


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
    assert tiny.settings != x_clip.load(random=True, device="cpu", config=x_clip_config(context=70)).settings


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


def test_another_number_of_frames_and_a_picture_are_refused_in_words(tiny, videos):
    for count in (1, 2, 4):
        with pytest.raises(UserError, match=rf"a video of {count} frames was given to a model that takes 3; sample 3"):
            tiny.encode_non_text([videos[0], (videos[0] * 2)[:count]])
    with pytest.raises(UserError, match="Image, not a list of frames, was given to a model that takes 3"):
        tiny.encode_non_text(videos[0])


def test_frames_are_prepared_as_x_clips_own(tiny):
    white = [Image.new("RGB", (64, 48), "white")] * FRAMES
    expected = [(1 - mean) / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    assert np.allclose(tiny.non_text.prepare([white])[0, 0, :, 5, 5], expected, atol=1e-5)
    assert tiny.settings["pixels"]["size"] == {"shortest_edge": SIDE}
    grey = [frame.convert("L") for frame in white]
    assert torch.equal(tiny.non_text.prepare([grey]), tiny.non_text.prepare([white]))


def test_trained_weights_are_read_from_a_folder(folder, videos):
    pair, model = x_clip.load(str(folder), device="cpu"), transformers.XCLIPModel.from_pretrained(folder).eval()
    rows = rows_of_both(pair, videos, CAPTIONS)
    assert agree(rows, rows_by(model, pair, videos), 2e-6)
    assert (pair.non_text.modality, pair.non_text.frames, pair.non_text.weights) == ("video", FRAMES, "copy")
    assert pair.settings["tokenizer"]["reading"] == "true length, causal"
    assert pair.settings["pixels"]["image_mean"] == [0.5, 0.5, 0.5], "the folder's own"
    assert len(pair.settings["checkpoint"]) == len(pair.settings["configuration"]) == 64
    assert str(folder.parent) not in json.dumps(pair.describe())
    random = x_clip.load(str(folder), random=True, seed=2, device="cpu")
    assert not np.allclose(random.encode_non_text(videos), rows[0], atol=0.1)
    assert (random.settings["seed"], random.settings["checkpoint"]) == (2, None)


def test_other_kinds_of_model_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="has not both an image and a text tower"):
        hugging_face.load(str(folder), device="cpu")
    transformers.CLIPConfig().save_pretrained(tmp_path / "clip")
    with pytest.raises(UserError, match="kind, clip, has not both a video and a text tower, as xclip has"):
        x_clip.load(str(tmp_path / "clip"), random=True, device="cpu")
