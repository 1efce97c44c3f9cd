"""Contrastive training of any open_clip model on captioned pictures held in memory.

Everything that happens at a step is a function of the settings and the step alone: which pairs (``batch_indices``),
the temperature (``temperature_at``) and the learning rate (``learning_rate_at``).
"""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from open_clip.loss import ClipLoss
from torch import Tensor
from tqdm import tqdm

from util.errors import UserError

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(image rows, text rows, logit scale = 1/tau) -> scalar loss; rows are unit-norm, row i pairs with row i."""


@dataclass(frozen=True)
class TrainingSettings:
    """What a training run depends on, besides its data and its first weights.

    Args:
        steps: optimiser steps.
        batch: pairs per step, at most the size of the corpus.
        seed: of the order of the data.
        learning_rate: at the top of the one-cycle schedule.
        warmup_share: share of the steps that climb to it, in [0, 1].
        weight_decay: AdamW's, on matrices only; gains, biases and embeddings of position or class are spared.
        betas, epsilon: AdamW's.
        gradient_clip: largest norm of the gradient.
        temperature: tau > 0 at the end, 1/100 for CLIP.
        first_temperature: tau at step 0, approached geometrically from here.
        fixed_share: share of the steps, the last ones, at ``temperature``; 1: all.
        log_every: steps between entries of the log.
        validate_every: steps between calls of ``validate``.
    """

    steps: int
    batch: int = 256
    seed: int = 0
    learning_rate: float = 1.5e-3
    warmup_share: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-6
    gradient_clip: float = 1.0
    temperature: float = 0.01
    first_temperature: float = 0.01
    fixed_share: float = 1.0
    log_every: int = 25
    validate_every: int = 125

    def __post_init__(self):
        for name in ("steps", "batch", "log_every", "validate_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("temperature", "first_temperature", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} must be above 0 and finite, not {getattr(self, name)}")
        for name in ("warmup_share", "fixed_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must lie in [0, 1], not {getattr(self, name)}")


@dataclass(frozen=True)
class Pairs:
    """A corpus in the form that training reads.

    Args:
        images: uint8 tensor (n, 3, s, s).
        tokens: int64 tensor (n, l); row i is the caption of image i.

    Raises:
        UserError: counts differ.
    """

    images: UInt8[Tensor, "n 3 s s"]
    tokens: Int[Tensor, "n l"]

    def __post_init__(self):
        if len(self.images) != len(self.tokens):
            raise UserError(f"{len(self.images)} images do not pair with {len(self.tokens)} captions")

    def __len__(self) -> int:
        return len(self.images)


def temperature_at(settings: TrainingSettings, step: int) -> float:
    """tau at a step: geometric from ``first_temperature`` to ``temperature``, then fixed for ``fixed_share``."""
    moving = settings.steps * (1 - settings.fixed_share)
    progress = min(1.0, step / moving) if moving > 0 else 1.0
    return settings.first_temperature ** (1 - progress) * settings.temperature**progress


def learning_rate_at(settings: TrainingSettings, step: int) -> float:
    """One cycle: up along half a cosine for ``warmup_share`` of the steps, down along another to about 0."""
    warmup = settings.steps * settings.warmup_share
    if step < warmup:
        return settings.learning_rate * (1 - math.cos(math.pi * (step + 1) / (warmup + 1))) / 2
    return settings.learning_rate * (1 + math.cos(math.pi * (step - warmup) / (settings.steps - warmup))) / 2


def batch_indices(n: int, batch: int, seed: int, step: int) -> Int[np.ndarray, "batch"]:
    """The pairs of a step, a function of these four numbers alone: epochs are shuffled, an incomplete rest left out.

    Raises:
        UserError: the batch is larger than the corpus.
    """
    if batch > n:
        raise UserError(f"a batch of {batch} pairs is larger than the corpus of {n}; lower batch or raise the corpus")
    epoch, place = divmod(step, n // batch)
    return _epoch_order(n, seed, epoch)[place * batch : (place + 1) * batch]


@lru_cache(maxsize=2)
def _epoch_order(n: int, seed: int, epoch: int) -> Int[np.ndarray, "n"]:
    order = np.random.default_rng([seed, epoch]).permutation(n)
    order.setflags(write=False)
    return order


def optimizer_for(model: torch.nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW over every parameter but the logit scale, which the temperature schedule sets."""
    named = [(name, p) for name, p in model.named_parameters() if name != "logit_scale"]
    spared = [p for name, p in named if p.ndim < 2 or "embedding" in name]
    decayed = [p for name, p in named if p.ndim >= 2 and "embedding" not in name]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.epsilon)


def train(
    model: torch.nn.Module,
    pairs: Pairs,
    settings: TrainingSettings,
    prepare: Callable[[Tensor], Tensor],
    loss: Loss | None = None,
    validate: Callable[[int], dict] | None = None,
    progress: bool = True,
) -> list[dict]:
    """Trains a model *in place*.

    Args:
        model: an open_clip CLIP with ``encode_image``, ``encode_text`` and ``logit_scale``, on its device. Its
            logit scale is set to that of the temperature schedule and not learned.
        pairs: the corpus.
        settings: all else.
        prepare: uint8 pictures (b, 3, s, s) to what the image tower wants; runs beside the training step.
        loss: by default open_clip's ``ClipLoss``, symmetric InfoNCE.
        validate: called with the number of steps done every ``validate_every`` steps and at the end, the model in
            evaluation mode; what it returns joins the log.
        progress: show a bar with loss and gap on the terminal.

    Returns:
        The log, json-able: entries with step (done), loss (nats, the mean since the last entry), gap_distance
        (of the last training batch), temperature, learning_rate, seconds, and what ``validate`` returned.

    Raises:
        UserError: the batch is larger than the corpus; or the loss is not finite, naming the step. The model
            then holds the weights from before that step.
    """
    loss = loss or ClipLoss()
    optimizer = optimizer_for(model, settings)
    started, log, losses = time.perf_counter(), [], []
    model.train()
    bar = tqdm(_batches(pairs, settings, prepare, _device(model)), total=settings.steps, disable=not progress)
    for step, (images, tokens) in enumerate(bar):
        value, gap = _step(model, optimizer, settings, loss, step, images, tokens)
        losses.append(value)
        entry = {} if validate is None else _validated(model, settings, step + 1, validate)
        if entry or (step + 1) % settings.log_every == 0 or step + 1 == settings.steps:
            entry |= _entry(settings, step, losses, gap) | {"seconds": round(time.perf_counter() - started, 2)}
            log.append(entry)
            losses.clear()
            bar.set_postfix(loss=f"{entry['loss']:.3f}", gap=f"{gap:.3f}")
    model.eval()
    return log


def _device(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device


def _entry(settings: TrainingSettings, step: int, losses: list[float], gap: float) -> dict:
    return {
        "step": step + 1,
        "loss": sum(losses) / len(losses),
        "gap_distance": gap,
        "temperature": temperature_at(settings, step),
        "learning_rate": learning_rate_at(settings, step),
    }


def _step(model, optimizer, settings, loss: Loss, step: int, images, tokens) -> tuple[float, float]:
    """One optimiser step; returns the loss in nats and the gap distance of its batch."""
    with torch.no_grad():
        model.logit_scale.fill_(-math.log(temperature_at(settings, step)))
    image_rows, text_rows = embed(model, images, tokens)
    value = loss(image_rows, text_rows, model.logit_scale.detach().exp())
    number = value.item()
    if not math.isfinite(number):
        raise UserError(f"the loss is {number} at step {step}; training stopped with the weights from before that step")
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate_at(settings, step)
    optimizer.step()
    gap = torch.linalg.vector_norm(image_rows.detach().mean(0) - text_rows.detach().mean(0))
    return number, gap.item()


def embed(model, images: Tensor, tokens: Tensor) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
    """Unit rows of both towers for prepared pictures and tokens."""
    return model.encode_image(images, normalize=True), model.encode_text(tokens, normalize=True)


def _validated(model, settings: TrainingSettings, done: int, validate) -> dict:
    if done % settings.validate_every and done != settings.steps:
        return {}
    model.eval()
    found = validate(done)
    model.train()
    return dict(found)


def _batches(pairs: Pairs, settings: TrainingSettings, prepare, device) -> Iterator[tuple[Tensor, Tensor]]:
    """The prepared batch of every step in order; the next one is made while the last one is trained on."""

    def make(step: int) -> tuple[Tensor, Tensor]:
        index = torch.from_numpy(batch_indices(len(pairs), settings.batch, settings.seed, step).copy())
        return prepare(pairs.images[index].to(device)), pairs.tokens[index].to(device)

    with ThreadPoolExecutor(max_workers=1) as worker:
        coming = worker.submit(make, 0)
        for step in range(settings.steps):
            ready = coming.result()
            if step + 1 < settings.steps:
                coming = worker.submit(make, step + 1)
            yield ready
