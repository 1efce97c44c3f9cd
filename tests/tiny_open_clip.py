"""open_clip models so small that they take no time."""

import json

import open_clip
import pytest
from safetensors.torch import save_file

from util.encoders.named import Named

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "shortest"}


@pytest.fixture(scope="module", autouse=True)
def tiny_models(tmp_path_factory):
    """Lets open_clip know "tiny" and "tiny-quickgelu"."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "tiny.json").write_text(json.dumps(TINY))
    (folder / "tiny-quickgelu.json").write_text(json.dumps({**TINY, "quick_gelu": True}))
    open_clip.add_model_config(folder)
    yield
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder)
    for name in ("tiny", "tiny-quickgelu"):
        del open_clip.factory._MODEL_CONFIGS[name]


def with_weights(folder):
    """The name of "tiny" with a file of random weights in a folder."""
    save_file(Named.parse("tiny").pair(0, "cpu").model.state_dict(), folder / "weights.safetensors")
    return f"open_clip:tiny:{folder / 'weights.safetensors'}"


def configure(folder, **parts):
    """Makes a folder with the configuration of a tiny model, as on the hub."""
    folder.mkdir(parents=True)
    about = {"model_cfg": {**TINY, **parts}, "preprocess_cfg": HALF}
    (folder / "open_clip_config.json").write_text(json.dumps(about))


def put_weights(folder, seed):
    """Writes the random weights of a seed as the folder's own."""
    model = Named.parse(f"local-dir:{folder}").pair(seed, "cpu").model
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
