"""Contrastive training: the loop and what it is made of."""

from .._lazy import attributes

__getattr__, __dir__ = attributes(
    __name__,
    Pairs="data",
    Trainable="data",
    TrainingSettings="settings",
    batch_indices="settings",
    learning_rate_at="settings",
    optimizer_for="settings",
    train="loop",
)
