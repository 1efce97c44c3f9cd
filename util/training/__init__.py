"""Contrastive training: the loop and what it is made of."""

from .._lazy import attributes

__getattr__, __dir__ = attributes(
    __name__,
    Loss="losses",
    Pairs="data",
    Trainable="data",
    TrainingSettings="settings",
    batch_indices="settings",
    learning_rate_at="settings",
    optimizer_for="settings",
    temperature_at="settings",
    train="loop",
)
