"""Image-text models of open_clip (MODEL:TAG) and transformers (huggingface:NAME), with trained or random weights."""

import open_clip

from util.cli import Device
from util.encoders import hugging_face, open_clip_pair
from util.encoders.named import Named
from util.encoders.tower import EncoderPair, Precision
from util.errors import UserError


def load(model: str, random: bool, seed: int, device: Device, precision: Precision) -> EncoderPair:
    """Random weights are of the architecture with the activation that the tag's weights were trained with."""
    named = Named.parse(model)
    if named.kind == "huggingface":
        return hugging_face.load(named.name, random, seed, device, precision)
    if named.kind != "open_clip":
        raise UserError(f"{model}: Figure 1 takes models of open_clip (MODEL:TAG) and huggingface:NAME alone")
    if random:
        quick, trained = f"{named.name}-quickgelu", open_clip.get_pretrained_cfg(named.name, named.tag or "") or {}
        name = quick if trained.get("quick_gelu") and quick in open_clip.list_models() else named.name
        return open_clip_pair.load(name, None, seed, device, precision)
    if named.tag is None:
        raise UserError(f"{model}: say which trained weights, for instance {model}:openai")
    return open_clip_pair.load(named.name, named.tag, 0, device, precision)
