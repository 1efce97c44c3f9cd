"""What models of transformers and of open_clip share that lie in a folder or a repository: real code, tiny models."""

import json
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from encoder_checks import COMMIT, only_the_seed_decides, refused, rows_of_both, undisturbed
from tiny_open_clip import configure, put_weights
from tiny_transformers import MAKERS, clip_model
from util.encoders.named import Named

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")

CAPTIONS = ["a cat", "two dogs on a bench", "", "cats"]


class Stored(NamedTuple):
    """How options spell a folder and a repository, the files of a model, and two functions that write it."""

    folder: str
    hub: str
    files: tuple[str, ...]
    weights: str
    make: callable
    make_weights: callable

    def load(self, path, seed=None):
        return Named.parse(f"{self.folder}{path}").pair(seed, "cpu")


def of_transformers(folder):
    folder.mkdir()
    for part in MAKERS["clip"](folder):
        part.save_pretrained(folder)


def other_weights(folder):
    torch.manual_seed(9)
    save_file(clip_model(56).state_dict(), folder / "model.safetensors", metadata={"format": "pt"})


KINDS = {
    "transformers": Stored(
        "huggingface:",
        "huggingface:org/name",
        ("config.json", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"),
        "model.safetensors",
        of_transformers,
        other_weights,
    ),
    "open_clip": Stored(
        "open_clip:local-dir:",
        "open_clip:hf-hub:org/name",
        ("open_clip_config.json",),
        "open_clip_model.safetensors",
        lambda folder: (configure(folder), put_weights(folder, 8)),
        lambda folder: put_weights(folder, 9),
    ),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def folder(kind, tmp_path):
    """A tiny CLIP with weights."""
    kind.make(tmp_path / "folder")
    return tmp_path / "folder"


def test_random_weights_depend_on_the_seed_alone_and_need_none_that_are_trained(kind, folder, photographs):
    (folder / kind.weights).unlink()
    only_the_seed_decides(lambda seed: kind.load(folder, seed).non_text.encode(photographs))
    only_the_seed_decides(lambda seed: kind.load(folder, seed).text.encode(CAPTIONS))
    pair = kind.load(folder, 3)
    assert (pair.settings["seed"], pair.settings["pretrained"]) == (3, None)
    assert pair.name.endswith("folder random weights, seed 3") and set(pair.settings["files"]) == set(kind.files)


def test_the_settings_are_plain_name_no_place_and_tell_other_weights(kind, folder, photographs):
    with undisturbed():
        pair = kind.load(folder)
    for about in (pair.settings, dict(pair.non_text.settings), dict(pair.text.settings)):
        assert json.loads(json.dumps(about)) == about and str(folder.parent) not in json.dumps(about)
        assert about["model"].endswith("folder") and about["seed"] is None and about["dim"] == 24
        assert set(about["files"]) == {*kind.files, kind.weights}
    rows = rows_of_both(pair, photographs, CAPTIONS)
    kind.make_weights(folder)
    other = kind.load(folder)
    assert other.settings != pair.settings
    assert not np.allclose(rows[0], other.non_text.encode(photographs), atol=0.05)


def test_a_repository_in_the_cache_is_found_without_a_network(kind, folder, hub, photographs):
    snapshot = hub(folder)
    pair = Named.parse(kind.hub).pair(device="cpu")
    assert pair.settings["revision"] == COMMIT and pair.settings["model"].endswith("org/name")
    assert np.array_equal(pair.non_text.encode(photographs), kind.load(folder).non_text.encode(photographs))
    (snapshot / kind.weights).unlink()
    assert Named.parse(kind.hub).pair(0, "cpu").text.encode(CAPTIONS).shape == (4, 24), "random weights need none"
    with refused("org/name: (there are )?no weights in "):
        Named.parse(kind.hub).pair(device="cpu")


@pytest.mark.parametrize("seed", [None, 0])
def test_a_model_that_cannot_be_fetched_is_one_line_soon(kind, caplog, capfd, seed):
    missing = "org/name could not be fetched .no connection to http://127.0.0.1:9, and not whole in its cache.*HF_HOME"
    with refused(missing):
        Named.parse(kind.hub).pair(seed, "cpu")
    assert caplog.text == capfd.readouterr().err == ""


def test_only_what_is_read_is_asked_of_the_hub(kind, folder, hub, monkeypatch):
    import huggingface_hub

    snapshot, asked, own = hub(folder), set(), (*kind.files, "vocab.json", "spiece.model", kind.weights)
    others = {"pytorch_model.bin", "modeling.py", "onnx/config.json", "1.safetensors", "open_clip_pytorch_model.bin"}

    def snapshot_download(name, **patterns):
        asked.update(huggingface_hub.utils.filter_repo_objects([*own, *others], **patterns))
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    Named.parse(kind.hub).pair(0, "cpu")
    assert asked >= set(kind.files) and not asked & {*others, kind.weights}
    Named.parse(kind.hub).pair(None, "cpu")
    assert kind.weights in asked and not asked & others


@pytest.mark.parametrize("damage", ["none", "cut off", "another model"])
def test_weights_that_are_damaged_or_do_not_fit_are_refused(kind, folder, damage):
    file, match = folder / kind.weights, "could not load it|not there, or not of its shape"
    if damage == "none":
        file.unlink()
        match = f"no weights in {kind.weights}"
    elif damage == "cut off":
        file.write_bytes(file.read_bytes()[:-4])
    else:
        save_file({"something": torch.zeros(3)}, file, metadata={"format": "pt"})
    with refused(f"folder.*: .*({match})"):
        kind.load(folder)
