"""What happens at each step of a training run: a function of the settings and the step alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Int

from ..errors import UserError
from .losses import LOSSES

Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["one_cycle", "constant"]

RANGES: dict[str, tuple[tuple[str, ...], Callable[[float], bool]]] = {
    "be at least 1": (("steps", "batch", "log_every", "validate_every"), lambda value: value >= 1),
    "be above 0 and finite": (("temperature", "learning_rate", "gradient_clip"), lambda value: 0 < value < math.inf),
    "lie in [0, 1]": (("warmup_share",), lambda value: 0 <= value <= 1),
    "be 0 or above and finite": (("weight_decay",), lambda value: 0 <= value < math.inf),
}
"""What a setting must do, those that must, and whether a value does."""


@dataclass(frozen=True)
class TrainingSettings:
    """All that a training run depends on, besides its data and its first weights.

    Args:
        steps: optimiser steps.
        batch: pairs per step, at most the size of the corpus.
        seed: of the order of the data, and of randomness in a model in training mode.
        learning_rate: at the top of the one-cycle schedule, or at every step.
        warmup_share: share of the steps that climb to it in the one-cycle schedule, in [0, 1].
        weight_decay: AdamW's, on matrices only; gains, biases and embeddings of position or class are spared. With
            "adam" and "sgd" it is added to the gradient (coupled L2), on all parameters.
        betas, epsilon: AdamW's and Adam's.
        gradient_clip: largest norm of the gradient; None: any, as in the released code.
        temperature: tau > 0, 1/100 for CLIP; its start if it is learned.
        log_every, validate_every: steps between entries of the log, and between calls of ``validate``.
        loss: a name in ``util.training.losses.LOSSES``.
        optimizer: "adamw"; "adam", as in the released code; "sgd", without momentum.
        schedule: of the learning rate: "one_cycle", or "constant", as in the released code.
        learn_temperature: the logit scale is a parameter, and not clipped, as in the released code; else tau is fixed.

    Trap: the temperature that the released code calls fixed is only where it starts: the logit scale stays among
    Adam's parameters, weight decay included. As released: ``optimizer="adam", schedule="constant",
    learn_temperature=True, gradient_clip=None``.
    """

    steps: int
    batch: int = 256
    seed: int = 0
    learning_rate: float = 1.5e-3
    warmup_share: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-6
    gradient_clip: float | None = 1.0
    temperature: float = 0.01
    log_every: int = 25
    validate_every: int = 125
    loss: str = "info_nce"
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "one_cycle"
    learn_temperature: bool = False

    def __post_init__(self):
        for said, (names, fits) in RANGES.items():
            for name in names:
                value = getattr(self, name)
                if value is not None and not fits(value):
                    raise UserError(f"{name} must {said}, not {value}")
        choices = {"loss": tuple(LOSSES), "optimizer": get_args(Optimizer), "schedule": get_args(Schedule)}
        for name, valid in choices.items():
            if getattr(self, name) not in valid:
                raise UserError(f"{name} must be one of {', '.join(valid)}, not {getattr(self, name)!r}")


def learning_rate_at(settings: TrainingSettings, step: int) -> float:
    """One cycle: up half a cosine for ``warmup_share`` of the steps, down another to about 0. Or constant."""
    if settings.schedule == "constant":
        return settings.learning_rate
    warmup = settings.steps * settings.warmup_share
    if step < warmup:
        return settings.learning_rate * (1 - math.cos(math.pi * (step + 1) / (warmup + 1))) / 2
    return settings.learning_rate * (1 + math.cos(math.pi * (step - warmup) / (settings.steps - warmup))) / 2


def batch_indices(n: int, batch: int, seed: int, step: int) -> Int[np.ndarray, "batch"]:
    """The pairs of a step, a function of these four numbers alone: epochs are shuffled, an incomplete rest left out."""
    if batch > n:
        raise UserError(f"a batch of {batch} pairs is larger than the corpus of {n}; lower batch or raise the corpus")
    epoch, place = divmod(step, n // batch)
    return _epoch_order(n, seed, epoch)[place * batch : (place + 1) * batch]


@lru_cache(maxsize=2)
def _epoch_order(n: int, seed: int, epoch: int) -> Int[np.ndarray, "n"]:
    order = np.random.default_rng([seed, epoch]).permutation(n)
    order.setflags(write=False)
    return order


def optimizer_for(model: torch.nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimiser over every parameter, the logit scale only where it is learned; AdamW's decay spares vectors."""
    named = [(name, p) for name, p in model.named_parameters() if name != "logit_scale" or settings.learn_temperature]
    every = [p for _, p in named]
    adam = {"lr": settings.learning_rate, "betas": settings.betas, "eps": settings.epsilon}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(every, settings.learning_rate, weight_decay=settings.weight_decay)
    if settings.optimizer == "adam":
        return torch.optim.Adam(every, weight_decay=settings.weight_decay, **adam)
    spared = [p for name, p in named if p.ndim < 2 or "embedding" in name]
    decayed = [p for name, p in named if p.ndim >= 2 and "embedding" not in name]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, **adam)
