"""The encoder pair of open_clip, on models so small that they take no time: real code, random weights."""

import itertools
import json
import pickle

import numpy as np
import open_clip
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch.nn.functional import normalize
from transformers import BertConfig

from encoder_checks import agree, refused, rows_of_both
from refusals import refuses
from tiny_open_clip import TINY, configure, put_weights, tiny_models  # noqa: F401  (registers the tiny models)
from tiny_transformers import STARK, bert_tokenizer
from util import UserError
from util.encoders import models
from util.encoders.named import Named

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")

CAPTIONS = ["a cat", "two dogs on a bench", "", "a very long caption " * 20]


@pytest.fixture(scope="module")
def tiny():
    return Named.parse("tiny").pair(0, "cpu")


def load(folder, seed=None):
    return Named.parse(f"local-dir:{folder}").pair(seed, "cpu")


@pytest.fixture
def folder(tmp_path):
    """A tiny CLIP with weights of seed 8."""
    configure(tmp_path / "folder")
    put_weights(tmp_path / "folder", 8)
    return tmp_path / "folder"


@pytest.fixture
def medical(tmp_path):
    """As BiomedCLIP's repository: a network of timm beside a BERT of transformers, which has a folder of its own."""
    path, bert = tmp_path / "medical", tmp_path / "bert"
    BertConfig(vocab_size=57, max_position_embeddings=16, pad_token_id=0, **STARK).save_pretrained(bert)
    vision = {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear"}
    text = {"hf_model_name": str(bert), "hf_tokenizer_name": str(path), "hf_proj_type": "mlp", "context_length": 16}
    text["hf_pooler_type"] = "cls_last_hidden_state_pooler"
    configure(path, vision_cfg={**vision, "image_size": 160}, text_cfg=text)
    bert_tokenizer().save_pretrained(path)
    put_weights(path, 8)
    return path


def test_pixels_are_normalised_as_asked_and_the_description_says_how(tiny, photographs):
    theirs = Named("open_clip", "tiny", None, "imagenet").pair(0, "cpu")
    torchvisions = torchvision.models.get_model_weights("resnet18")["IMAGENET1K_V1"].transforms()
    pixels, about = theirs.settings["pixels"], tiny.settings
    assert (about["device"], about["dtype"], about["quick_gelu"]) == ("cpu", "float32", False)
    assert about["pixels"]["mean"] == list(open_clip.OPENAI_DATASET_MEAN)
    assert (pixels["mean"], pixels["std"]) == (torchvisions.mean, torchvisions.std)
    assert not torch.allclose(tiny.non_text.prepare(photographs), theirs.non_text.prepare(photographs), atol=0.01)


def test_the_activation_is_the_one_that_the_weights_were_trained_with(tiny, monkeypatch):
    def activations(network):
        blocks = network.transformer.resblocks[0], network.visual.transformer.resblocks[0]
        return {type(block.mlp[1]).__name__ for block in blocks}

    assert activations(tiny.model) == {"GELU"}
    assert activations(Named.parse("tiny-quickgelu").pair(0, "cpu").model) == {"QuickGELU"}
    built, _ = models._open_clip_network(models._origin("tiny", None), 0, True, "own")
    assert activations(built) == {"QuickGELU"}
    asked = []
    monkeypatch.setattr(models, "_open_clip_network", lambda *a: asked.append(a[2]) or 1 / 0)
    for tag, seed in itertools.product(("openai", "laion2b_s34b_b79k"), (None, 0)):
        with refused("open_clip could not load it|could not be fetched"):
            Named.parse(f"ViT-B-32:{tag}").pair(seed, "cpu")
    assert asked == [True, True, False, False]


def test_a_checkpoint_file_gives_its_own_weights(tiny, photographs, tmp_path):
    path = tmp_path / "weights.safetensors"
    trained = Named.parse("tiny").pair(8, "cpu")
    save_file(trained.model.state_dict(), path)
    loaded = Named.parse(f"tiny:{path}").pair(None, "cpu")
    assert np.array_equal(loaded.non_text.encode(photographs), trained.non_text.encode(photographs))
    assert not np.allclose(loaded.non_text.encode(photographs), tiny.non_text.encode(photographs), atol=0.1)
    assert loaded.settings["seed"] is None and len(loaded.settings["files"]["weights.safetensors"]) == 64
    path.write_bytes(path.read_bytes()[:-4])
    with refused(r"tiny with weights '.*weights.safetensors': open_clip could not load it \("):
        Named.parse(f"tiny:{path}").pair(None, "cpu")


test_unknown_models_and_tags_name_those_that_there_are = refuses(
    (lambda: Named.parse("ViT-B-31").pair(0), "unknown model: 'ViT-B-31'.*ViT-B-32"),
    (lambda: Named.parse("ViT-B/32:opena1").pair(), "tag for ViT-B-32: 'opena1'; close to it: openai"),
    (lambda: Named.parse("tiny:openai").pair(), "tag for tiny: 'openai'"),
    (lambda: Named.parse("tiny").pair(0, "cpu").text.encode([]), "no captions"),
    (lambda: Named.parse("tiny").pair(0, "cpu").text.encode("a cat"), "in a list, not as one string"),
    (lambda: Named.parse("tiny").pair(0, "cpu").text.encode(["a cat"], 0), "batch size"),
)


@torch.no_grad()
def test_a_text_tower_of_transformers_reads_its_own_tokenizer(medical, photographs, hub):
    pair = load(medical)
    tokens = pair.text.prepare(CAPTIONS)
    assert tokens.shape == (4, 16) and (tokens != 0).sum(1).tolist() == [6, 16, 2, 16]
    theirs = pair.model.encode_image(pair.non_text.prepare(photographs)), pair.model.encode_text(tokens)
    rows = rows_of_both(pair, photographs, CAPTIONS)
    assert agree(rows, [normalize(each, dim=1) for each in theirs], atol=2e-6)
    assert np.ptp(rows[1], axis=0).max() > 0.02
    hub(medical)
    twin = Named.parse("hf-hub:org/name").pair(None, "cpu")
    assert np.array_equal(twin.text.encode(CAPTIONS), rows[1])
    assert pair.settings["text_tower"] == twin.settings["text_tower"]


def test_the_settings_tell_another_vocabulary(medical):
    before = load(medical).settings["text_tower"]
    tokenizer = bert_tokenizer()
    for file in medical.glob("*token*"):
        file.unlink()
    words = {token: number for number, token in enumerate(sorted(tokenizer.get_vocab(), reverse=True))}
    type(tokenizer)(words, model_max_length=16).save_pretrained(medical)
    assert load(medical).settings["text_tower"] != before
    assert len(before) == 64


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "theirs"}, "it needs code that comes with it, which is not run; choose another"),
        ({"model_type": "encoder-decoder"}, ""),
        ({"attn_implementation": "someone/kernels"}, "open_clip could not load it"),
    ],
)
def test_code_of_a_text_tower_is_neither_run_nor_asked_about(medical, theirs, tmp_path, changes, said):
    from transformers import dynamic_module_utils

    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    asked = theirs(tmp_path / "bert" / "config.json", **changes)
    for seed in (None, 0):
        with refused(f"medical.*: {said}"):
            load(medical, seed)
    assert not asked and not (tmp_path / "ran").exists()
    assert dynamic_module_utils.TIME_OUT_REMOTE_CODE == before > 0


def test_a_configuration_cannot_say_that_code_of_its_tokenizer_may_run(medical, theirs, tmp_path):
    file = medical / "open_clip_config.json"
    about = json.loads(file.read_text())
    about["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"trust_remote_code": True}
    file.write_text(json.dumps(about))
    asked = theirs(medical / "tokenizer_config.json", tokenizer_class="theirs")
    try:
        load(medical)
    except UserError as error:
        assert "\n" not in str(error)
    assert not asked and not (tmp_path / "ran").exists()


def test_pickled_weights_are_read_as_weights_only_and_after_safetensors(folder, photographs, tmp_path):
    rows = load(folder).non_text.encode(photographs)
    pickled = folder / "open_clip_pytorch_model.bin"
    torch.save(load(folder, 9).model.state_dict(), pickled)
    assert np.array_equal(load(folder).non_text.encode(photographs), rows)
    (folder / "open_clip_model.safetensors").unlink()
    assert not np.allclose(load(folder).non_text.encode(photographs), rows, atol=0.1)

    class Runs:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    for write in (lambda given: pickled.write_bytes(pickle.dumps(given, protocol=2)), lambda g: torch.save(g, pickled)):
        write({"weight": Runs()})
        with refused("open_clip could not load it"):
            load(folder)
    assert not (tmp_path / "ran").exists()


def test_folders_without_a_configuration_or_with_a_wrong_one_are_refused(folder, tmp_path):
    file = folder / "open_clip_config.json"
    for content in ("[1", "[1]", None):
        file.unlink() if content is None else file.write_text(content)
        with refused("no open_clip_config.json there with embed_dim, vision_cfg, text_cfg in model_cfg"):
            load(folder)
    configure(tmp_path / "odd", vision_cfg={**TINY["vision_cfg"], "width": "wide"})
    with refused("open_clip could not load it"):
        load(tmp_path / "odd", 0)
