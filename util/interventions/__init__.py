"""Interventions on the gap: fitted on some embeddings, applied to others, undone where that can be, kept in a file.

from util import interventions
calibration = interventions.Centring.fit(images, texts)
new_images, _ = calibration.transform(x=new_images)
interventions.save("centring.safetensors", calibration)
"""

from .calibration import KINDS, load, save
from .intervention import Effect, Intervention
from .linear import Ablation, Procrustes
from .moves import Centring, ReAlign, Shift

__all__ = [
    "KINDS",
    "Ablation",
    "Centring",
    "Effect",
    "Intervention",
    "Procrustes",
    "ReAlign",
    "Shift",
    "load",
    "save",
]
