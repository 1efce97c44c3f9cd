"""The encoder pair, on open_clip models so small that they take no time: real code, random weights."""

import json
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tiny_open_clip import tiny_models  # noqa: F401  (registers the tiny models)
from util import UserError
from util.encoders import open_clip_origin, open_clip_pair


@pytest.fixture
def tiny():
    return open_clip_pair.load("tiny", device="cpu")


@pytest.fixture
def photographs(rng):
    return [Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)) for _ in range(7)]


CAPTIONS = ["a cat", "two dogs on a bench", "", "a very long caption " * 50]


def test_images_and_captions_become_float32_unit_rows(tiny, photographs):
    for rows, n in ((tiny.encode_non_text(iter(photographs)), 7), (tiny.encode_texts(CAPTIONS), 4)):
        assert (rows.dtype, rows.shape) == (np.float32, (n, tiny.dim))
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
        assert np.ptp(rows, axis=0).max() > 0.01


def test_rows_are_those_of_the_model_itself(tiny, photographs):
    with torch.no_grad():
        images = tiny.model.encode_image(tiny.non_text.prepare(photographs))
        texts = tiny.model.encode_text(open_clip.get_tokenizer("tiny")(CAPTIONS))
    for ours, theirs in ((tiny.encode_non_text(photographs), images), (tiny.encode_texts(CAPTIONS), texts)):
        assert np.allclose(ours, torch.nn.functional.normalize(theirs, dim=1), atol=1e-6)


def test_the_batch_size_changes_nothing_but_rounding(tiny, photographs):
    for size in (1, 3, 64):
        assert np.allclose(tiny.encode_non_text(photographs, size), tiny.encode_non_text(photographs), atol=1e-6)
        assert np.allclose(tiny.encode_texts(CAPTIONS, size), tiny.encode_texts(CAPTIONS), atol=1e-6)


def test_images_are_read_one_batch_at_a_time(tiny, photographs):
    taken, most = [], []

    def watched(images):
        most.append(len(taken))
        return tiny.non_text.prepare(images)

    images = (taken.append(image) or image for image in photographs)
    replace(tiny.non_text, prepare=watched).encode(images, 2)
    assert most == [2, 4, 6, 7]


def test_random_weights_depend_on_the_seed_alone_and_disturb_nothing(photographs):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = open_clip_pair.load("tiny", seed=3, device="cpu").encode_non_text(photographs)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(99)
    assert np.array_equal(open_clip_pair.load("tiny", seed=3, device="cpu").encode_non_text(photographs), first)
    other = open_clip_pair.load("tiny", seed=4, device="cpu").encode_non_text(photographs)
    assert not np.allclose(other, first, atol=0.1)


def test_the_description_says_all_that_matters_in_plain_values(tiny):
    about = tiny.describe()
    assert json.loads(json.dumps(about)) == about
    assert about["model"] == "tiny"
    assert about["pretrained"] is None
    assert about["seed"] == 0
    assert about["quick_gelu"] is False
    assert about["device"] == "cpu"
    assert about["dtype"] == "float32"
    assert about["dim"] == tiny.dim == 24
    assert about["pixels"]["mean"] == list(open_clip.OPENAI_DATASET_MEAN)
    about["model"] = "changed"
    assert tiny.describe()["model"] == "tiny"


def test_the_activation_is_the_one_that_the_weights_were_trained_with():
    def activation(name):
        return type(open_clip_pair.load(name, device="cpu").model.transformer.resblocks[0].mlp[1]).__name__

    assert (activation("tiny"), activation("tiny-quickgelu")) == ("GELU", "QuickGELU")
    config = open_clip.get_model_config("ViT-B-32")
    assert open_clip_pair._quick_gelu(config, "ViT-B-32", "openai")
    assert not open_clip_pair._quick_gelu(config, "ViT-B-32", "laion2b_s34b_b79k")
    network, *_ = open_clip_pair._build(open_clip_origin.find("tiny", None), None, 0, quick_gelu=True)
    assert type(network.transformer.resblocks[0].mlp[1]).__name__ == "QuickGELU"
    assert type(network.visual.transformer.resblocks[0].mlp[1]).__name__ == "QuickGELU"


def test_a_checkpoint_file_gives_its_own_weights(tiny, photographs, tmp_path):
    path = tmp_path / "weights.safetensors"
    trained = open_clip_pair.load("tiny", seed=8, device="cpu")
    save_file(trained.model.state_dict(), path)
    loaded = open_clip_pair.load("tiny", str(path), device="cpu")
    assert np.array_equal(loaded.encode_non_text(photographs), trained.encode_non_text(photographs))
    assert not np.allclose(loaded.encode_non_text(photographs), tiny.encode_non_text(photographs), atol=0.1)
    assert loaded.describe()["seed"] is None
    assert len(loaded.describe()["checkpoint"]) == 64


@pytest.mark.parametrize("damage", ["truncated", "other model"])
def test_a_checkpoint_that_does_not_fit_is_one_line(tmp_path, damage):
    path = tmp_path / "weights.safetensors"
    save_file({"something": torch.zeros(3)}, path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"weights.safetensors: does not hold weights of tiny") as caught:
        open_clip_pair.load("tiny", str(path), device="cpu")
    assert "\n" not in str(caught.value)


def test_unknown_models_and_tags_name_close_ones():
    with pytest.raises(UserError, match=r"unknown model: 'ViT-B-31'.*ViT-B-32"):
        open_clip_pair.load("ViT-B-31")
    with pytest.raises(UserError, match=r"tag for ViT-B-32: 'opena1'; close to it: openai"):
        open_clip_pair.load("ViT-B/32", "opena1")
    with pytest.raises(UserError, match="tag for tiny: 'openai'"):
        open_clip_pair.load("tiny", "openai")


def test_unknown_and_absent_devices_are_refused():
    with pytest.raises(UserError, match="unknown device 'tpu'; choose from auto, cpu, cuda"):
        open_clip_pair.load("tiny", device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="cuda"):
            open_clip_pair.load("tiny", device="cuda")


def test_nothing_to_encode_and_one_string_for_many_are_refused(tiny):
    with pytest.raises(UserError, match="no images"):
        tiny.encode_non_text([])
    with pytest.raises(UserError, match="no captions"):
        tiny.encode_texts([])
    with pytest.raises(UserError, match="captions must be given in a list, not as one string"):
        tiny.encode_texts("a cat")
    with pytest.raises(UserError, match="batch size"):
        tiny.encode_texts(["a cat"], 0)


def test_weights_that_cannot_be_fetched_are_one_line_soon(no_network, caplog):
    with pytest.raises(
        UserError, match=r"'openai' could not be loaded from .*vit_base_patch32_clip.*HF_HOME"
    ) as caught:
        open_clip_pair.load("ViT-B-32", "openai", device="cpu")
    assert "\n" not in str(caught.value)
    assert "no connection to http://127.0.0.1:9" in str(caught.value)
    assert caplog.text == ""
