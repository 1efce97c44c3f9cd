"""Contrastive training: the loop and what it is made of, and the experiments of section 4 on top of it."""

from util.training.data import Pairs, batches, pictures_on_disk
from util.training.loop import embed, train
from util.training.losses import Loss
from util.training.settings import (
    TrainingSettings,
    batch_indices,
    learning_rate_at,
    optimizer_for,
    temperature_at,
)

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
