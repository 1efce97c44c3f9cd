"""Contrastive training of any open_clip model on captioned pictures.

Everything that happens at a step is a function of the settings and the step alone: which pairs (``batch_indices``), the
learning rate (``learning_rate_at``) and what a model draws. So the same settings give the same run.
"""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from ..errors import UserError
from ..numerics.procrustes import as_text_map, mapped
from .data import Pairs, batches
from .losses import LOSSES
from .settings import TrainingSettings, learning_rate_at, optimizer_for


def train(
    model: torch.nn.Module,
    pairs: Pairs,
    settings: TrainingSettings,
    prepare: Callable[[Tensor], Tensor],
    validate: Callable[[int], dict] | None = None,
    progress: bool = True,
    *,
    text_map: Float[Tensor, "d d"] | None = None,
    description: str = "",
) -> list[dict]:
    """Trains a model *in place*.

    Args:
        model: an open_clip CLIP with ``encode_image``, ``encode_text`` and ``logit_scale``, on its device. Its logit
            scale is set to 1/tau and is not learned, unless the settings say so.
        prepare: uint8 pictures (b, 3, s, s) to the image tower's input.
        validate: called with the number of steps done every ``validate_every`` steps and at the end, the model in
            evaluation mode. Its numbers join the log.
        text_map: orthogonal (d, d), multiplied onto text rows throughout (``util.numerics.procrustes``).

    Returns:
        The log, json-able. An entry has step (done), loss (nats, the mean since the last entry), gap_distance (of the
        last training batch), temperature, learning_rate, seconds, and the numbers of ``validate``.
    """
    trainer, log, losses, started = _Trainer(model, settings, text_map), [], [], time.perf_counter()
    device = trainer.device
    coming = batches(pairs, settings, prepare, device)
    hidden = None if progress else True  # None: where there is no terminal
    bar = tqdm(coming, desc=description or None, total=settings.steps, disable=hidden)
    model.train()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for done, (images, tokens) in enumerate(bar, 1):
            loss, entry = trainer.step(done - 1, images, tokens)
            losses.append(loss)
            last, measured = done == settings.steps, {}
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


class _Trainer:
    """A model with its optimiser and the map onto its texts."""

    def __init__(self, model, settings: TrainingSettings, text_map):
        self.model, self.settings = model, settings
        parameter = next(model.parameters())
        self.device = parameter.device
        self.text_map = None if text_map is None else as_text_map(text_map, parameter)
        self.optimizer = optimizer_for(model, settings)
        with torch.no_grad():
            model.logit_scale.fill_(-math.log(settings.temperature))

    def step(self, step: int, images: Tensor, tokens: Tensor) -> tuple[float, dict]:
        """One optimiser step; returns the loss in nats, and the gap, temperature and learning rate for the log."""
        settings, model, rate = self.settings, self.model, learning_rate_at(self.settings, step)
        _seed(self.device, settings.seed, step)
        temperature = math.exp(-model.logit_scale.item())
        x = model.encode_image(images, normalize=True)
        y = mapped(model.encode_text(tokens, normalize=True), self.text_map)
        scale = model.logit_scale if settings.learn_temperature else model.logit_scale.detach()
        value = LOSSES[settings.loss](x, y, scale.exp())
        gap = torch.linalg.vector_norm(x.detach().mean(0) - y.detach().mean(0)).item()
        loss = _finite(value, "loss", step)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip or math.inf)
        _finite(norm, "norm of the gradient", step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return loss, {"gap_distance": gap, "temperature": temperature, "learning_rate": rate}


def _finite(value: Tensor, what: str, step: int) -> float:
    if not math.isfinite(number := value.item()):
        kept = "training stopped with the weights from before that step"
        raise UserError(f"the {what} is {number} at step {step}; {kept}")
    return number


def _seed(device: torch.device, seed: int, step: int) -> None:
    """Makes what a model draws in training mode a function of seed and step."""
    drawn = int(np.random.SeedSequence([seed, step, 0]).generate_state(1, np.uint64)[0] >> 1)
    torch.default_generator.manual_seed(drawn)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(drawn)
