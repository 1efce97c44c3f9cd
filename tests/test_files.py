"""Places in the cache are named by all settings, in one way for every cache."""

import pytest

from util.files import cache_folder, cached_path


def test_a_cached_path_depends_on_every_setting_and_on_the_kind_but_not_on_the_order_of_keys():
    settings = {"seed": 1, "model": {"name": "a", "layers": (1, 2)}}
    path = cached_path("embeddings", settings, ".npy")
    assert path == cached_path("embeddings", {"model": {"layers": [1, 2], "name": "a"}, "seed": 1}, ".npy")
    assert path.parent == cache_folder() / "embeddings"
    others = [
        cached_path("embeddings", {**settings, "seed": 2}, ".npy"),
        cached_path("embeddings", {**settings, "seed": "1"}, ".npy"),
        cached_path("training", settings, ".npy"),
    ]
    assert len({path, *others}) == 4


def test_settings_that_json_cannot_hold_are_no_key():
    with pytest.raises(TypeError):
        cached_path("embeddings", {"path": object()})
