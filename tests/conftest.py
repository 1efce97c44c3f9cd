"""Fixtures: every test owns its generator; the cache folder of the user is never written to."""

import json
import os
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import smoke_runs
from util import records

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def rng(request):
    """A generator of the test's own, the same on every run and in any order."""
    return np.random.default_rng(sum(map(ord, request.node.name)))


@pytest.fixture
def published_clip():
    """The published CLIP embeddings (2, 500, 512), where MODALITY_GAP_DATA names a folder that has them."""
    path = Path(os.environ.get("MODALITY_GAP_DATA", "nowhere")) / "features_clip.npy"
    if not path.is_file():
        pytest.skip("MODALITY_GAP_DATA names no folder with features_clip.npy")
    return np.load(path, allow_pickle=False)


@pytest.fixture(scope="module")
def one_thread():
    """Small networks only wait for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, in which nothing lies yet."""
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def own_modules(tmp_path, monkeypatch):
    """Modules of the test's own folder are forgotten after it, and so is the folder."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name, each in sys.modules.items() if str(tmp_path) in str(vars(each).get("__file__"))]:
        del sys.modules[name]


@pytest.fixture
def committed(monkeypatch):
    """Records made as if nothing waited for a commit."""
    monkeypatch.setattr(records, "commit", lambda: {"hash": COMMIT, "clean": True})


@pytest.fixture
def undrawn():
    with smoke_runs.undrawn():
        yield


@pytest.fixture(scope="module")
def smoke(request, tmp_path_factory):
    """The record of the smoke preset of the ``script`` that the tests of this module name."""
    return smoke_runs.record(request.module.script, tmp_path_factory)


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Nothing but this machine may be asked; the Hugging Face hub is a port of it where nobody answers."""
    from huggingface_hub import constants

    connect = socket.socket.connect

    def refused(self, address):
        assert address[0] == "127.0.0.1", f"asked {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def hub(tmp_path):
    """A function that puts a folder into the cache of ``no_network`` as the repository org/name."""

    def put(folder):
        stored = tmp_path / "hub" / "models--org--name"
        shutil.copytree(folder, stored / "snapshots" / COMMIT)
        (stored / "refs").mkdir()
        (stored / "refs" / "main").write_text(COMMIT)
        return stored / "snapshots" / COMMIT

    return put


@pytest.fixture
def photographs(rng):
    """Seven pictures of noise."""
    return [Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)) for _ in range(7)]


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
        names["AutoImageProcessor"] = "theirs.D"
        file.write_text(json.dumps({**json.loads(file.read_text()), "auto_map": names, **changes}))
        return asked

    return put
