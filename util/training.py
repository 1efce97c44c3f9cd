"""Contrastive training of any open_clip model on captioned pictures.

Everything that happens at a step is a function of the settings and the step alone: which pairs (``batch_indices``), the
learning rate (``learning_rate_at``) and what a model draws. So the same settings give the same run.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from tqdm import tqdm

from . import UserError
from .geometry import as_text_map, mapped
from .numerics.arrays import Array, as_count


def info_nce(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], logit_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE: cross-entropy of the matched pair among the batch, both ways, averaged; nats, >= 0.

    Trap: it depends on the batch size. Paper: equation 1. Source: open_clip's ``ClipLoss``, the released ``ce_loss``.
    """
    from open_clip.loss import ClipLoss  # open_clip takes seconds to import

    return ClipLoss()(x, y, logit_scale)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"info_nce": info_nce}
"""Losses by name, of unit image rows (n, d), unit text rows, row i paired with row i, and 1/tau, to a scalar."""


@dataclass(frozen=True)
class Pairs:
    """A corpus in the form that training reads: uint8 images, and int64 tokens, row i the caption of image i."""

    images: UInt8[Tensor, "n 3 s s"]
    tokens: Int[Tensor, "n l"]

    def __post_init__(self):
        if len(self.images) != len(self.tokens):
            raise UserError(f"{len(self.images)} images do not pair with {len(self.tokens)} captions")

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class TrainingSettings:
    """All that a training run depends on, besides its data and its first weights.

    Args:
        batch: pairs in each step, at most the size of the corpus.
        seed: of the order of the data, and of randomness in a model in training mode.
        learning_rate: at every step, or at the top of the one-cycle schedule, after ``warmup_share`` of the steps.
        weight_decay: AdamW's, on matrices only; gains, biases and embeddings of position or class are spared. With
            "adam" and "sgd" it is added to the gradient (coupled L2), on all parameters.
        gradient_clip, temperature: largest norm of the gradient, None: any; tau > 0, its start if it is learned.
        log_every, validate_every: steps between entries of the log, and between calls of ``validate``.
        loss, optimizer: a name in ``LOSSES``; "sgd" is without momentum.
        learn_temperature: the logit scale is a parameter, and not clipped; else tau is fixed.

    Trap: the temperature that the released code calls fixed is only where it starts, and Adam decays it. As released:
    ``optimizer="adam", schedule="constant", learn_temperature=True, gradient_clip=None``.
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
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    learn_temperature: bool = False

    def __post_init__(self):
        for name in ("steps", "batch"):
            as_count(getattr(self, name), name)
        if not 0 < self.temperature < math.inf:
            raise UserError(f"temperature must be above 0 and finite, not {self.temperature}")
        for name in ("learning_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"{name} must be 0 or above and finite, not {getattr(self, name)}")
        if self.loss not in LOSSES:
            raise UserError(f"loss must be one of {', '.join(LOSSES)}, not {self.loss!r}")


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
    return np.random.default_rng([seed, epoch]).permutation(n)[place * batch : (place + 1) * batch]


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


def train(
    model: torch.nn.Module,
    pairs: Pairs,
    settings: TrainingSettings,
    prepare: Callable[[Tensor], Tensor],
    validate: Callable[[int], dict] | None = None,
    *,
    text_map: Float[Array, "d d"] | None = None,
    description: str = "",
) -> list[dict]:
    """Trains a model *in place*.

    Args:
        model: an open_clip CLIP, on its device. Its logit scale is set to 1/tau, and learned if the settings say so.
        prepare: uint8 pictures (b, 3, s, s) to the image tower's input.
        validate: given the steps done, every ``validate_every`` and at the end, in evaluation mode; joins the log.
        text_map: orthogonal (d, d), multiplied onto text rows throughout (``util.geometry.orthogonal_map``).

    Returns:
        The log, json-able. An entry has step (done), loss (nats, the mean since the last entry), gap_distance (of the
        last training batch), temperature, learning_rate, seconds, and the numbers of ``validate``.
    """
    take_step, log, losses, started = _stepper(model, pairs, settings, prepare, text_map), [], [], time.perf_counter()
    devices = [device for device in [next(model.parameters()).device] if device.type == "cuda"]
    bar = tqdm(range(settings.steps), desc=description or None, disable=None)
    model.train()
    with torch.random.fork_rng(devices):
        for step in bar:
            loss, entry = take_step(step)
            losses.append(loss)
            done, measured = step + 1, {}
            last = done == settings.steps
            if validate and (last or done % settings.validate_every == 0):
                model.eval()
                measured = dict(validate(done))
                model.train()
            if measured or last or done % settings.log_every == 0:
                entry |= measured | {"step": done, "loss": sum(losses) / len(losses)}
                bar.set_postfix(loss=f"{entry['loss']:.3f}", gap=f"{entry['gap_distance']:.3f}")
                log.append(entry | {"seconds": round(time.perf_counter() - started, 2)})
                losses.clear()
    model.eval()
    return log


def _stepper(model, pairs: Pairs, settings: TrainingSettings, prepare, text_map) -> Callable[[int], tuple[float, dict]]:
    """A function that takes one step: the loss in nats, and the gap, temperature and learning rate for the log."""
    parameter, optimizer = next(model.parameters()), optimizer_for(model, settings)
    device, turn = parameter.device, None if text_map is None else as_text_map(text_map, parameter)
    with torch.no_grad():
        model.logit_scale.fill_(-math.log(settings.temperature))

    def take_step(step: int) -> tuple[float, dict]:
        rows = torch.from_numpy(batch_indices(len(pairs), settings.batch, settings.seed, step))
        drawn = np.random.SeedSequence([settings.seed, step, 0]).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(drawn >> 1))  # what a model draws in training mode
        temperature, rate = math.exp(-model.logit_scale.item()), learning_rate_at(settings, step)
        x = model.encode_image(prepare(pairs.images[rows].to(device)), normalize=True)
        y = mapped(model.encode_text(pairs.tokens[rows].to(device), normalize=True), turn)
        scale = model.logit_scale if settings.learn_temperature else model.logit_scale.detach()
        value = LOSSES[settings.loss](x, y, scale.exp())
        gap = torch.linalg.vector_norm(x.detach().mean(0) - y.detach().mean(0)).item()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip or math.inf)
        loss, norm = value.item(), norm.item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            found = f"the loss is {loss}, the norm of its gradient {norm} at step {step}"
            raise UserError(f"{found}; training stopped with the weights from before that step")
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        return loss, {"gap_distance": gap, "temperature": temperature, "learning_rate": rate}

    return take_step
