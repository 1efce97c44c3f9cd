"""A CLIP and a corpus so small that a training step takes milliseconds."""

import numpy as np
import torch
from open_clip.model import CLIP

from util.training import Pairs

VISION = {"image_size": 8, "patch_size": 4, "width": 16, "layers": 1, "head_width": 8}
TEXT = {"context_length": 5, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}


def model(seed: int = 0) -> CLIP:
    """open_clip's CLIP with 8-pixel pictures, five tokens and embeddings of width 8."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return CLIP(embed_dim=8, vision_cfg=VISION, text_cfg=TEXT).eval()


def pairs(n: int = 48, seed: int = 0) -> Pairs:
    """Random pictures, each captioned by four tokens that its first pixels decide, and an end."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    tokens = np.concatenate([images[:, 0, 0, :4] % 19, np.full((n, 1), 19)], axis=1)
    return Pairs(torch.from_numpy(images), torch.from_numpy(tokens.astype(np.int64)))


def prepare(pixels):
    """uint8 pictures to numbers about 0."""
    return pixels.float() / 128 - 1


def without_time(log: list[dict]) -> list[dict]:
    """A log without the seconds, which no two runs share."""
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in log]


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether all weights are the same bit for bit."""
    there = other.state_dict()
    return all(torch.equal(value, there[name]) for name, value in one.state_dict().items())
