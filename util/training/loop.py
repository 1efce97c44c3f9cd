"""Contrastive training of any open_clip model on captioned pictures.

Everything that happens at a step is a function of the settings and the step alone: which pairs (``batch_indices``),
the temperature (``temperature_at``) and the learning rate (``learning_rate_at``). A run that was stopped therefore goes
on from its last checkpoint as if nothing had happened.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from ..errors import UserError
from ..numerics.procrustes import as_text_map, mapped
from . import checkpoints as stored
from .checkpoints import Checkpoints, History
from .data import Pairs, batches
from .losses import LOSSES
from .settings import LARGEST_LOGIT_SCALE, TrainingSettings, learning_rate_at, optimizer_for, temperature_at


def train(
    model: torch.nn.Module,
    pairs: Pairs,
    settings: TrainingSettings,
    prepare: Callable[[Tensor], Tensor],
    validate: Callable[[int], dict] | None = None,
    progress: bool = True,
    *,
    text_map: Float[Tensor, "d d"] | None = None,
    checkpoints: Checkpoints | None = None,
    description: str = "",
) -> list[dict]:
    """Trains a model *in place*.

    Args:
        model: an open_clip CLIP with ``encode_image``, ``encode_text`` and ``logit_scale``, on its device. Its logit
            scale follows the temperature schedule and is not learned, unless the settings say so.
        prepare: uint8 pictures (b, 3, s, s) to the image tower's input.
        validate: called with the number of steps done every ``validate_every`` steps and at the end, the model in
            evaluation mode. Its numbers join the log, and are in no checkpoint otherwise.
        text_map: orthogonal (d, d), multiplied onto text rows throughout (``util.numerics.procrustes``). A resumed run
            goes on with the one in its checkpoint.
        checkpoints: where to write checkpoints. A run that finds its own there goes on from it.

    Returns:
        The log, json-able. An entry has step (done), loss (nats, the mean since the last entry), gap_distance (of the
        last training batch), temperature, learning_rate, seconds, and the numbers of ``validate``.
    """
    trainer = _Trainer(model, settings, text_map, checkpoints)
    identity = trainer.identity(pairs) if checkpoints else {}
    history = trainer.resume(identity)
    started = time.perf_counter() - history.seconds
    model.train()
    coming = batches(pairs, settings, prepare, trainer.device, history.step)
    hidden = None if progress else True  # None: where there is no terminal
    bar = tqdm(coming, desc=description or None, total=settings.steps, initial=history.step, disable=hidden)
    with torch.random.fork_rng([trainer.device] if trainer.device.type == "cuda" else []):
        for images, tokens in bar:
            entry = trainer.advance(history, images, tokens, validate)
            history.seconds = round(time.perf_counter() - started, 2)
            if entry:
                bar.set_postfix(loss=f"{entry['loss']:.3f}", gap=f"{entry['gap_distance']:.3f}")
                history.log.append(entry | {"seconds": history.seconds})
            trainer.save(history, identity)
    model.eval()
    return history.log


class _Trainer:
    """A model with its optimiser: all that changes from step to step, besides the history."""

    def __init__(self, model, settings: TrainingSettings, text_map, checkpoints: Checkpoints | None):
        self.model, self.settings, self.checkpoints = model, settings, checkpoints
        parameter = next(model.parameters())
        self.device = parameter.device
        self.text_map = None if text_map is None else as_text_map(text_map, parameter)
        self.optimizer = optimizer_for(model, settings)

    def identity(self, pairs: Pairs) -> dict:
        """All that the run's numbers depend on, compared before a checkpoint is taken up."""
        return {
            **asdict(self.settings),
            "first_weights": stored.digest_of(self.model.state_dict()),
            "data": stored.data_digest(pairs.images, pairs.tokens),
            "text_map": None if self.text_map is None else list(self.text_map.shape),
        }

    def resume(self, identity: dict) -> History:
        """Takes up the last checkpoint of the same run, if there is one; else sets the first temperature."""
        found = stored.latest(self.checkpoints, identity) if self.checkpoints else None
        if not found:
            self._set_temperature(0)
            return History()
        history, tensors = found
        self._restore(tensors)
        self.checkpoints.say(f"[checkpoint] going on from step {history.step} in {self.checkpoints.folder}")
        return history

    def advance(self, history: History, images: Tensor, tokens: Tensor, validate) -> dict:
        """One step; the entry of the log that is due after it, or an empty mapping."""
        loss, entry = self._step(history.step, images, tokens)
        history.step += 1
        history.losses.append(loss)
        last = history.step == self.settings.steps
        measured = {}
        if validate and (last or history.step % self.settings.validate_every == 0):
            self.model.eval()
            measured = dict(validate(history.step))
            self.model.train()
        if not (measured or last or history.step % self.settings.log_every == 0):
            return {}
        entry |= measured | {"step": history.step, "loss": sum(history.losses) / len(history.losses)}
        history.losses.clear()
        return entry

    def save(self, history: History, identity: dict) -> None:
        """Writes a checkpoint where one is due: weights, the text map and moments, by name."""
        if not self.checkpoints:
            return
        if history.step % self.checkpoints.every and history.step != self.settings.steps:
            return
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.text_map is not None:
            tensors["text_map"] = self.text_map
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items() if value is not None}
        stored.save(self.checkpoints, identity, history, tensors)

    def _restore(self, tensors: stored.Tensors) -> None:
        weights, state = {}, {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "model":
                weights[rest] = value
            elif kind == "optimizer":
                number, moment = rest.split(".")
                state.setdefault(int(number), {})[moment] = value
        self.model.load_state_dict(weights)
        if self.text_map is not None:
            self.text_map = tensors["text_map"].to(self.text_map)
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})

    def _step(self, step: int, images: Tensor, tokens: Tensor) -> tuple[float, dict]:
        """One optimiser step; returns the loss in nats, and the gap, temperature and learning rate for the log."""
        settings, model, rate = self.settings, self.model, learning_rate_at(self.settings, step)
        _seed(self.device, settings.seed, step)
        temperature = math.exp(-model.logit_scale.item())
        if not settings.learn_temperature:
            temperature = self._set_temperature(step)
        x = model.encode_image(images, normalize=True)
        y = mapped(model.encode_text(tokens, normalize=True), self.text_map)
        scale = model.logit_scale if settings.learn_temperature else model.logit_scale.detach()
        value = LOSSES[settings.loss](x, y, scale.exp())
        gap = torch.linalg.vector_norm(x.detach().mean(0) - y.detach().mean(0)).item()
        loss = self._finite(value, "loss", step)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip or math.inf)
        self._finite(norm, "norm of the gradient", step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        if settings.learn_temperature and settings.clip_logit_scale:
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(LARGEST_LOGIT_SCALE))
        return loss, {"gap_distance": gap, "temperature": temperature, "learning_rate": rate}

    def _set_temperature(self, step: int) -> float:
        temperature = temperature_at(self.settings, step)
        with torch.no_grad():
            self.model.logit_scale.fill_(-math.log(temperature))
        return temperature

    def _finite(self, value: Tensor, what: str, step: int) -> float:
        if not math.isfinite(number := value.item()):
            kept = "training stopped with the weights from before that step"
            raise UserError(f"the {what} is {number} at step {step}; {kept}{stored.last_words(self.checkpoints)}")
        return number


def _seed(device: torch.device, seed: int, step: int) -> None:
    """Makes what a model draws in training mode a function of seed and step."""
    drawn = int(np.random.SeedSequence([seed, step, 0]).generate_state(1, np.uint64)[0] >> 1)
    torch.default_generator.manual_seed(drawn)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(drawn)
