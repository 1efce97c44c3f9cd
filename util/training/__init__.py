"""Contrastive training: the loop and what it is made of, and the experiments of section 4 on top of it."""

from .data import Pairs, batches, pictures_on_disk
from .loop import embed, train
from .losses import Loss
from .settings import TrainingSettings, batch_indices, learning_rate_at, optimizer_for, temperature_at

__all__ = [
    "Loss",
    "Pairs",
    "TrainingSettings",
    "batch_indices",
    "batches",
    "embed",
    "learning_rate_at",
    "optimizer_for",
    "pictures_on_disk",
    "temperature_at",
    "train",
]
