"""Models of open_clip that lie in a folder or a repository, made here with the files that the hub's have."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize
from transformers import BertConfig

from encoder_checks import COMMIT, agree, refused, rows_of_both
from tiny_open_clip import TINY
from tiny_transformers import STARK, bert_tokenizer
from util import UserError
from util.encoders import open_clip_origin
from util.encoders.named import Named

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")

CAPTIONS = ["a cat", "two dogs on a bench", "", "a very long caption " * 20]
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "shortest"}


def load(model, pretrained="own", seed=0):
    return Named("open_clip", str(model), pretrained).pair(seed if pretrained is None else None, "cpu")


def configure(folder, **parts):
    folder.mkdir(parents=True)
    about = {"model_cfg": {**TINY, **parts}, "preprocess_cfg": HALF}
    (folder / "open_clip_config.json").write_text(json.dumps(about))


@pytest.fixture
def folder(tmp_path):
    """A tiny CLIP with weights of seed 8."""
    path = tmp_path / "folder"
    configure(path)
    model = load(f"local-dir:{path}", None, seed=8).model
    save_file(model.state_dict(), path / "open_clip_model.safetensors")
    return path


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
    model = load(f"local-dir:{path}", None, seed=8).model
    save_file(model.state_dict(), path / "open_clip_model.safetensors")
    return path


def refusal(model, match, pretrained="own"):
    with refused(match):
        load(model, pretrained)


def test_a_folder_gives_its_own_weights_and_pixels_and_the_settings_do_not_say_where_it_lies(folder, photographs):
    pair, twin = load(f"local-dir:{folder}"), load(f"local-dir:{folder}", None, seed=8)
    rows = rows_of_both(pair, photographs, CAPTIONS)
    assert agree(rows, rows_of_both(twin, photographs, CAPTIONS), atol=0)
    other = load(f"local-dir:{folder}", None, seed=9)
    assert not np.allclose(other.encode_non_text(photographs), rows[0], atol=0.1)
    assert pair.settings["pixels"]["mean"] == [0.5, 0.5, 0.5]
    assert pair.name == "local-dir:folder own" and twin.name == "local-dir:folder random weights, seed 8"
    about, random = pair.describe(), twin.describe()
    assert json.loads(json.dumps(about)) == about and str(folder.parent) not in json.dumps(about)
    assert (about["model"], about["pretrained"], about["seed"]) == ("local-dir:folder", "own", None)
    assert len(about["checkpoint"]) == len(about["configuration"]) == 64
    assert (random["checkpoint"], random["seed"]) == (None, 8)
    save_file(other.model.state_dict(), folder / "open_clip_model.safetensors")
    assert load(f"local-dir:{folder}").settings["checkpoint"] != about["checkpoint"]


@torch.no_grad()
def test_a_text_tower_of_transformers_is_read_at_its_true_length(medical, photographs):
    pair = load(f"local-dir:{medical}")
    tokens = pair.text.prepare(CAPTIONS)
    assert tokens.shape == (4, 16)
    assert pair.text.lengths(tokens).tolist() == [6, 16, 2, 16]
    theirs = pair.model.encode_image(pair.non_text.prepare(photographs)), pair.model.encode_text(tokens)
    rows = rows_of_both(pair, photographs, CAPTIONS)
    assert agree(rows, [normalize(each, dim=1) for each in theirs], atol=2e-6)
    assert np.ptp(rows[1], axis=0).max() > 0.02
    seen = []
    handle = pair.model.text.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape)))
    pair.encode_texts([CAPTIONS[0], CAPTIONS[2]])
    handle.remove()
    assert seen == [(2, 6)]


def test_the_settings_tell_another_vocabulary(medical):
    before = load(f"local-dir:{medical}").settings["text_tower"]
    tokenizer = bert_tokenizer()
    for file in medical.glob("*token*"):
        file.unlink()
    words = {token: number for number, token in enumerate(sorted(tokenizer.get_vocab(), reverse=True))}
    type(tokenizer)(words, model_max_length=16).save_pretrained(medical)
    assert load(f"local-dir:{medical}").settings["text_tower"] != before
    assert len(before) == 64


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A function that writes names of code, and what else is given, into a file of json, and puts the code beside it.

    Gives the questions that were asked; each is answered with yes.
    """
    asked = []
    monkeypatch.setattr("builtins.input", lambda question="": asked.append(question) or "y")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))

    def put(file, **changes):
        (file.parent / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
        names = {"AutoConfig": "theirs.A", "AutoModel": "theirs.B", "AutoTokenizer": ["theirs.C", None]}
        file.write_text(json.dumps({**json.loads(file.read_text()), "auto_map": names, **changes}))
        return asked

    return put


@pytest.mark.parametrize("kind", ["theirs", "encoder-decoder"])
def test_code_of_a_text_tower_is_neither_run_nor_asked_about(medical, theirs, tmp_path, kind):
    asked = theirs(tmp_path / "bert" / "config.json", model_type=kind)
    words = "its text tower needs code that comes with it, which is not run; choose one that"
    for pretrained in ("own", None):
        refusal(f"local-dir:{medical}", f"medical: {words if kind == 'theirs' else ''}", pretrained)
    assert not asked
    assert not (tmp_path / "ran").exists()


def test_a_text_tower_that_transformers_has_itself_is_taken_from_there_which_stays_as_it_was(medical, theirs, tmp_path):
    from open_clip import hf_model
    from transformers import AutoConfig, dynamic_module_utils

    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    rows = load(f"local-dir:{medical}").encode_texts(CAPTIONS)
    asked = theirs(tmp_path / "bert" / "config.json", attn_implementation="someone/kernels")
    pair = load(f"local-dir:{medical}")
    assert np.array_equal(pair.encode_texts(CAPTIONS), rows)
    assert pair.model.text.transformer.config._attn_implementation == "sdpa"
    assert hf_model.AutoConfig is AutoConfig
    assert dynamic_module_utils.TIME_OUT_REMOTE_CODE == before > 0
    assert not asked and not (tmp_path / "ran").exists()


def test_a_configuration_cannot_say_that_code_of_its_tokenizer_may_run(medical, theirs, tmp_path):
    file = medical / "open_clip_config.json"
    about = json.loads(file.read_text())
    about["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"trust_remote_code": True}
    file.write_text(json.dumps(about))
    asked = theirs(medical / "tokenizer_config.json", tokenizer_class="theirs")
    try:
        load(f"local-dir:{medical}")
    except UserError as error:
        assert "\n" not in str(error)
    assert not asked and not (tmp_path / "ran").exists()


def test_a_repository_in_the_cache_is_found_without_a_network(folder, hub, photographs):
    snapshot = hub(folder)
    pair = load("hf-hub:org/name")
    assert np.array_equal(pair.encode_non_text(photographs), load(f"local-dir:{folder}").encode_non_text(photographs))
    assert (pair.settings["revision"], pair.settings["model"]) == (COMMIT, "hf-hub:org/name")
    (snapshot / "open_clip_model.safetensors").unlink()
    assert load("hf-hub:org/name", None).encode_texts(CAPTIONS).shape == (4, 24), "random weights need none"
    refusal("hf-hub:org/name", r"from https://huggingface.co/org/name \(no connection .*HF_HOME.*local-dir:FOLDER")


def test_the_tokenizer_of_a_repository_is_the_one_that_it_names(medical, hub):
    hub(medical)
    pair, twin = load("hf-hub:org/name"), load(f"local-dir:{medical}")
    assert np.array_equal(pair.encode_texts(CAPTIONS), twin.encode_texts(CAPTIONS))
    assert pair.settings["text_tower"] == twin.settings["text_tower"]


def test_only_what_is_read_is_asked_of_the_hub(folder, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    asked = []

    def hf_hub_download(name, file):
        asked.append((name, file))
        if file == "open_clip_model.safetensors":
            raise EntryNotFoundError(file)
        return str(folder / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    open_clip_origin.find("hf-hub:org/name", None)
    refusal("hf-hub:org/name", "hf-hub:org/name with weights 'own' could not be fetched")
    first, *others = "open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
    assert asked == [("org/name", name) for name in (first, first, *others)]


def test_pickled_weights_are_read_as_weights_only_and_after_safetensors(folder, photographs, tmp_path):
    rows = load(f"local-dir:{folder}").encode_non_text(photographs)
    pickled = folder / "open_clip_pytorch_model.bin"
    torch.save(load(f"local-dir:{folder}", None, seed=9).model.state_dict(), pickled)
    assert np.array_equal(load(f"local-dir:{folder}").encode_non_text(photographs), rows)
    (folder / "open_clip_model.safetensors").unlink()
    assert not np.allclose(load(f"local-dir:{folder}").encode_non_text(photographs), rows, atol=0.1)

    class Runs:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    pickled.write_bytes(pickle.dumps({"weight": Runs()}, protocol=2))
    refusal(f"local-dir:{folder}", "open_clip could not load it")
    torch.save({"weight": Runs()}, pickled)
    refusal(f"local-dir:{folder}", "open_clip could not load it")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", ["no weights", "cut off", "another model", "no configuration", "not json", "a list"])
def test_folders_that_are_no_model_are_refused(folder, damage):
    weights, configuration = folder / "open_clip_model.safetensors", folder / "open_clip_config.json"
    match = "open_clip could not load it"
    if damage == "no weights":
        weights.unlink()
        match = r"no weights in open_clip_model.safetensors or open_clip_pytorch_model.bin"
    elif damage == "cut off":
        weights.write_bytes(weights.read_bytes()[:-4])
    elif damage == "another model":
        save_file({"something": torch.zeros(3)}, weights)
    elif damage == "no configuration":
        configuration.unlink()
        match = r"there is no open_clip_config.json in that folder"
    else:
        configuration.write_text("[1" if damage == "not json" else "[1]")
        match = "not a configuration of open_clip: no model_cfg"
    refusal(f"local-dir:{folder}", match)
    refusal("local-dir:", "there is no open_clip_config.json")


def test_what_cannot_be_built_or_fetched_or_has_no_such_weights_is_one_line(tmp_path, caplog):
    configure(tmp_path / "odd", vision_cfg={**TINY["vision_cfg"], "width": "wide"})
    refusal(f"local-dir:{tmp_path / 'odd'}", "open_clip could not load it", None)
    for model in (f"local-dir:{tmp_path / 'odd'}", "hf-hub:org/name"):
        refusal(model, "its weights are 'own' or none .random., not 'openai'", "openai")
    for pretrained in ("own", None):
        missing = "no connection to http://127.0.0.1:9, and not whole in its cache.*HF_HOME"
        refusal("hf-hub:org/name", missing, pretrained)
    assert caplog.text == ""
