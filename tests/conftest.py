"""Fixtures: every test owns its generator; the cache folder of the user is never written to."""

import os
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


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
