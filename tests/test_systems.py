"""The systems of Figure 1: every entry leads to the encoder pair that it says, and what cannot be had is one line."""

import socket

import open_clip
import pytest

from systems import clasp, convirt, x_clip
from systems.registry import SYSTEMS
from util import UserError, published
from util.encoders import open_clip_pair
from util.encoders.tower import NAMES


@pytest.fixture
def called(monkeypatch):
    """The loaders replaced by notes of how they were called."""
    calls = []
    for module in (open_clip_pair, convirt, x_clip, clasp):
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(module, "load", lambda *a, name=name, **k: calls.append((name, a, k)) or name)
    return calls


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    from huggingface_hub import constants

    connect = socket.socket.connect

    def refused(self, address):
        assert address[0] == "127.0.0.1", f"asked {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def test_they_are_those_that_were_published():
    assert list(SYSTEMS) == list(published.SYSTEMS)
    for key, system in SYSTEMS.items():
        assert (system.title, system.modality) == (published.SYSTEMS[key].title, published.SYSTEMS[key].modality)
        assert system.modality in NAMES and system.note and not system.note.endswith(".")


def test_random_weights_are_of_the_architecture_that_the_entry_names(called):
    assert [system.random(7, "cpu", "bfloat16") for system in SYSTEMS.values()] == [name for name, *_ in called]
    own = (7, "cpu", "bfloat16")
    assert called == [
        ("open_clip_pair", ("ViT-B-16-quickgelu", None, *own), {}),
        ("convirt", own, {}),
        ("x_clip", (), {"random": True, "seed": 7, "device": "cpu", "precision": "bfloat16"}),
        ("clasp", own, {}),
    ]
    assert open_clip.get_model_config("ViT-B-16-quickgelu")["quick_gelu"]


def test_trained_weights_are_the_default_models_or_another(called):
    for system in SYSTEMS.values():
        system.trained("cpu")
    assert called == [
        ("open_clip_pair", ("ViT-B-16", "openai", 0, "cpu", "float32"), {}),
        (
            "open_clip_pair",
            ("hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224", "own", 0, "cpu", "float32"),
            {},
        ),
        ("x_clip", ("microsoft/xclip-base-patch32",), {"device": "cpu", "precision": "float32"}),
    ]
    assert "openai" in open_clip.list_pretrained_tags_by_model("ViT-B-16")
    called.clear()
    SYSTEMS["clip"].trained(model="RN50:yfcc15m")
    SYSTEMS["convirt"].trained(model="local-dir:mine/medical")
    SYSTEMS["videoclip"].trained(model="mine/xclip")
    assert [arguments[:2] for _, arguments, _ in called] == [
        ("RN50", "yfcc15m"),
        ("local-dir:mine/medical", "own"),
        ("mine/xclip",),
    ]


def test_clasp_has_its_published_embeddings_alone():
    assert SYSTEMS["clasp"].trained() is None
    assert SYSTEMS["clasp"].trained_with is None
    with pytest.raises(UserError, match="CLASP: no trained model can be run, 'mine' neither"):
        SYSTEMS["clasp"].trained(model="mine")


def test_a_model_without_weights_is_refused():
    with pytest.raises(UserError, match="RN50: say which trained weights, for instance RN50:openai"):
        SYSTEMS["clip"].trained(model="RN50")


@pytest.mark.parametrize("key", ["clip", "convirt", "videoclip"])
def test_without_a_network_trained_weights_are_one_line(no_network, key):
    with pytest.raises(UserError, match=r"no connection to http://127.0.0.1:9.*HF_HOME") as caught:
        SYSTEMS[key].trained("cpu")
    assert "\n" not in str(caught.value)


def test_random_weights_at_full_size_need_no_network(no_network):
    pair = SYSTEMS["clasp"].random(seed=1, device="cpu")
    assert (pair.dim, pair.non_text.modality) == (768, "amino acid")
    assert pair.encode_non_text(["MKVLA"]).shape == pair.encode_texts(["binds iron"]).shape == (1, 768)
