"""Image-text models in the place of CLIP, as an option names them, with trained or random weights."""

from dataclasses import replace

from util.cli import Device
from util.encoders.named import Named
from util.encoders.tower import EncoderPair, Precision


def load(named: Named, random: bool, seed: int, device: Device, precision: Precision) -> EncoderPair:
    """Random weights are of the architecture with the activation that the tag's weights were trained with."""
    if random and named.kind == "open_clip":
        import open_clip

        quick, trained = f"{named.name}-quickgelu", open_clip.get_pretrained_cfg(named.name, named.tag or "") or {}
        if trained.get("quick_gelu") and quick in open_clip.list_models():
            named = replace(named, name=quick)
    return named.pair(seed if random else None, device, precision)
