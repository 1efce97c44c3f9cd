"""The encoder pair, on open_clip models so small that they take no time: real code, random weights."""

import json
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from encoder_checks import only_the_seed_decides, refused
from refusals import refuses
from tiny_open_clip import tiny_models  # noqa: F401  (registers the tiny models)
from util import UserError
from util.encoders import open_clip_origin, open_clip_pair
from util.encoders.named import Named


@pytest.fixture(scope="module")
def tiny():
    return Named.parse("tiny").pair(0, "cpu")


def test_images_are_read_one_batch_at_a_time(tiny, photographs):
    taken, most = [], []

    def watched(images):
        most.append(len(taken))
        return tiny.non_text.prepare(images)

    images = (taken.append(image) or image for image in photographs)
    replace(tiny.non_text, prepare=watched).encode(images, 2)
    assert most == [2, 4, 6, 7]


def test_random_weights_depend_on_the_seed_alone_and_disturb_nothing(photographs):
    only_the_seed_decides(lambda seed: Named.parse("tiny").pair(seed, "cpu").encode_non_text(photographs))


def test_the_description_says_all_that_matters_in_plain_values(tiny):
    about = tiny.describe()
    assert json.loads(json.dumps(about)) == about
    assert (about["model"], about["pretrained"], about["seed"]) == ("tiny", None, 0)
    assert (about["device"], about["dtype"], about["dim"]) == ("cpu", "float32", 24)
    assert about["quick_gelu"] is False
    assert about["pixels"]["mean"] == list(open_clip.OPENAI_DATASET_MEAN)
    about["model"] = "changed"
    assert tiny.describe()["model"] == "tiny"


def test_pixels_are_normalised_as_asked(tiny, photographs):
    theirs = Named("open_clip", "tiny", None, "imagenet").pair(0, "cpu")
    torchvisions = torchvision.models.get_model_weights("resnet18")["IMAGENET1K_V1"].transforms()
    assert (theirs.settings["pixels"]["mean"], theirs.settings["pixels"]["std"]) == (
        torchvisions.mean,
        torchvisions.std,
    )
    assert not torch.allclose(tiny.non_text.prepare(photographs), theirs.non_text.prepare(photographs), atol=0.01)


def test_the_activation_is_the_one_that_the_weights_were_trained_with(tiny):
    def activations(network):
        blocks = network.transformer.resblocks[0], network.visual.transformer.resblocks[0]
        return {type(block.mlp[1]).__name__ for block in blocks}

    assert activations(tiny.model) == {"GELU"}
    assert activations(Named.parse("tiny-quickgelu").pair(0, "cpu").model) == {"QuickGELU"}
    config = open_clip.get_model_config("ViT-B-32")
    assert open_clip_pair._quick_gelu(config, "ViT-B-32", "openai")
    assert not open_clip_pair._quick_gelu(config, "ViT-B-32", "laion2b_s34b_b79k")
    network, *_ = open_clip_pair._build(open_clip_origin.find("tiny", None), None, 0, True, "own")
    assert activations(network) == {"QuickGELU"}


def test_a_checkpoint_file_gives_its_own_weights(tiny, photographs, tmp_path):
    path = tmp_path / "weights.safetensors"
    trained = Named.parse("tiny").pair(8, "cpu")
    save_file(trained.model.state_dict(), path)
    loaded = Named.parse(f"tiny:{path}").pair(None, "cpu")
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
    with refused(r"tiny: open_clip could not load it with weights '.*weights.safetensors' \("):
        Named.parse(f"tiny:{path}").pair(None, "cpu")


test_unknown_models_tags_and_devices_name_those_that_there_are = refuses(
    (lambda: Named.parse("ViT-B-31").pair(0), "unknown model: 'ViT-B-31'.*ViT-B-32"),
    (lambda: Named.parse("ViT-B/32:opena1").pair(), "tag for ViT-B-32: 'opena1'; close to it: openai"),
    (lambda: Named.parse("tiny:openai").pair(), "tag for tiny: 'openai'"),
    (lambda: Named.parse("tiny").pair(0, "tpu"), "unknown device 'tpu'; choose from auto, cpu, cuda"),
)


def test_nothing_to_encode_and_one_string_for_many_are_refused(tiny):
    with pytest.raises(UserError, match="no captions"):
        tiny.encode_texts([])
    with pytest.raises(UserError, match="captions must be given in a list, not as one string"):
        tiny.encode_texts("a cat")
    with pytest.raises(UserError, match="batch size"):
        tiny.encode_texts(["a cat"], 0)


def test_weights_that_cannot_be_fetched_are_one_line_soon(no_network, caplog):
    page = "from https://huggingface.co/.*vit_base_patch32_clip"
    with refused(rf"'openai' could not be fetched {page}.*no connection to http://127.0.0.1:9.*HF_HOME"):
        Named.parse("ViT-B-32:openai").pair(None, "cpu")
    assert caplog.text == ""
