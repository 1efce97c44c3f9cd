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
