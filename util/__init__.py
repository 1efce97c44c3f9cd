"""Measure, explain and shift the modality gap of any embeddings.

import util
embeddings = util.Embeddings.load("mine.npz")
images, texts = embeddings.paired()
util.geometry.gap_distance(images, texts)
util.contrastive.sweep(images, texts, shifts=[0, 0.25], temperatures=[0.01])
"""

from . import contrastive, geometry
from .embeddings import Embeddings
from .errors import UserError

__all__ = ["Embeddings", "UserError", "contrastive", "geometry"]
