"""Contrastive training of any open_clip model on captioned pictures, in one process or in many under torchrun.

Everything that happens at a step is a function of the settings and the step alone: which pairs (``batch_indices``),
the temperature (``temperature_at``) and the learning rate (``learning_rate_at``). A run that was stopped therefore goes
on from its last checkpoint as if nothing had happened.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from ..errors import UserError
from ..numerics.procrustes import as_text_map, mapped
from . import checkpoints as stored
from . import distributed
from .checkpoints import Checkpoints, History
from .data import Pairs, batches
from .losses import LOSSES, Loss
from .settings import (
    LARGEST_LOGIT_SCALE,
    TrainingSettings,
    batch_indices,
    learning_rate_at,
    optimizer_for,
    temperature_at,
)


def train(
    model: torch.nn.Module,
    pairs: Pairs,
    settings: TrainingSettings,
    prepare: Callable[[Tensor], Tensor],
    loss: Loss | None = None,
    validate: Callable[[int], dict] | None = None,
    progress: bool = True,
    *,
    text_map: Float[Tensor, "d d"] | None = None,
    checkpoints: Checkpoints | None = None,
    description: str = "",
) -> list[dict]:
    """Trains a model *in place*.

    In a torch.distributed process group (``util.training.distributed.group``) each process takes its share of every
    batch. The loss is that of the whole batch, and only the first process validates, shows the bar and writes.

    Args:
        model: an open_clip CLIP with ``encode_image``, ``encode_text`` and ``logit_scale``, on its device. Its logit
            scale follows the temperature schedule and is not learned, unless the settings say so.
        pairs: the corpus.
        settings: all else.
        prepare: uint8 pictures (b, 3, s, s) to the image tower's input; runs beside the training step.
        loss: in place of the one that the settings name.
        validate: called with the number of steps done every ``validate_every`` steps and at the end, the model in
            evaluation mode. Its numbers join the log, and are in no checkpoint otherwise.
        progress: show a bar with loss and gap on the terminal.
        text_map: orthogonal (d, d), multiplied onto text rows throughout (``util.numerics.procrustes``). A resumed run
            goes on with the one in its checkpoint.
        checkpoints: where to write checkpoints. A run that finds its own there goes on from the last whole one.
        description: text in front of the bar.

    Returns:
        The log, json-able, empty in all processes but the first. An entry has step (done), loss (nats, the mean since
        the last entry), gap_distance (of the last training batch), temperature, learning_rate, seconds, and the
        numbers of ``validate``.
    """
    batch_indices(len(pairs), settings.batch, settings.seed, 0)
    distributed.share(settings.batch)
    trainer = _Trainer(model, settings, loss or LOSSES[settings.loss], text_map, checkpoints)
    identity = trainer.identity(pairs) if checkpoints else {}
    history = trainer.resume(identity)
    started = time.perf_counter() - history.seconds
    model.train()
    hidden = not (progress and distributed.is_first())
    coming = batches(pairs, settings, prepare, trainer.device, history.step)
    bar = tqdm(coming, desc=description or None, total=settings.steps, initial=history.step, disable=hidden or None)
    with torch.random.fork_rng([trainer.device] if trainer.device.type == "cuda" else []):
        for images, tokens in bar:
            entry = trainer.advance(history, images, tokens, validate)
            history.seconds = round(time.perf_counter() - started, 2)
            if entry:
                bar.set_postfix(loss=f"{entry['loss']:.3f}", gap=f"{entry['gap_distance']:.3f}")
                history.log.append(entry | {"seconds": history.seconds})
            trainer.save(history, identity)
    model.eval()
    return history.log if distributed.is_first() else []


def embed(model, images: Tensor, tokens: Tensor) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
    """Unit rows of both towers for prepared pictures and tokens."""
    return model.encode_image(images, normalize=True), model.encode_text(tokens, normalize=True)


class _Objective(torch.nn.Module):
    """The loss of the whole batch as one forward pass, which ``distributed.parallel`` can wrap."""

    def __init__(self, model: torch.nn.Module, loss: Loss, learn_temperature: bool, text_map):
        super().__init__()
        self.model, self.loss, self.learn_temperature = model, loss, learn_temperature
        parameter = next(model.parameters())
        self.register_buffer("text_map", None if text_map is None else as_text_map(text_map, parameter))

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and the gap distance of the batch; the texts are under the map."""
        x, y = embed(self.model, images, tokens)
        x, y = distributed.gather(x, mapped(y, self.text_map))
        scale = self.model.logit_scale if self.learn_temperature else self.model.logit_scale.detach()
        gap = torch.linalg.vector_norm(x.detach().mean(0) - y.detach().mean(0))
        return self.loss(x, y, scale.exp()), gap


class _Trainer:
    """A model with its optimiser: all that changes from step to step, besides the history."""

    def __init__(self, model, settings: TrainingSettings, loss: Loss, text_map, checkpoints: Checkpoints | None):
        self.model, self.settings = model, settings
        quiet = checkpoints is None or distributed.is_first()
        self.checkpoints = checkpoints if quiet else replace(checkpoints, say=lambda line: None)
        self.device = next(model.parameters()).device
        self.objective = _Objective(model, loss, settings.learn_temperature, text_map)
        self.forward = distributed.parallel(self.objective)
        self.optimizer = optimizer_for(model, settings)

    def identity(self, pairs: Pairs) -> dict:
        """All that the run's numbers depend on, compared before a checkpoint is taken up."""
        loss, text_map = self.objective.loss, self.objective.text_map
        return {
            "settings": asdict(self.settings),
            "about": dict(self.checkpoints.about),
            "loss": getattr(loss, "__qualname__", type(loss).__qualname__),
            "first_weights": stored.digest_of(self.model.state_dict()),
            "data": stored.data_digest(pairs.images, pairs.tokens),
            "text_map": None if text_map is None else list(text_map.shape),
            "processes": distributed.size(),
        }

    def resume(self, identity: dict) -> History:
        """Takes up the last checkpoint of the same run, if there is one; else sets the first temperature."""
        if self.checkpoints and distributed.is_first():
            stored.clean(self.checkpoints.folder)
        found = stored.latest(self.checkpoints, identity) if self.checkpoints else None
        step = distributed.agreed(found[0].step if found else 0, self.device, "the checkpoint to go on from")
        if not found:
            self._set_temperature(0)
            return History()
        history, tensors = found
        self._restore(tensors)
        if distributed.is_first():
            self.checkpoints.say(f"[checkpoint] going on from step {step} in {self.checkpoints.folder}")
        return history

    def advance(self, history: History, images, tokens, validate) -> dict:
        """One step; the entry of the log that is due after it, or an empty mapping."""
        step = history.step
        value, gap, temperature = self._step(step, images, tokens)
        history.step += 1
        history.losses.append(value)
        entry = self._validated(history.step, validate)
        if entry or history.step % self.settings.log_every == 0 or history.step == self.settings.steps:
            entry |= {
                "step": history.step,
                "loss": sum(history.losses) / len(history.losses),
                "gap_distance": gap,
                "temperature": temperature,
                "learning_rate": learning_rate_at(self.settings, step),
            }
            history.losses.clear()
        return entry

    def save(self, history: History, identity: dict) -> None:
        """Writes a checkpoint where one is due."""
        if not self.checkpoints or not distributed.is_first():
            return
        if history.step % self.checkpoints.every == 0 or history.step == self.settings.steps:
            stored.save(self.checkpoints, identity, history, self._tensors())

    def _step(self, step: int, images, tokens) -> tuple[float, float, float]:
        """One optimiser step; returns the loss in nats, the gap distance of its batch and its temperature."""
        settings, model = self.settings, self.model
        _seed(self.device, settings.seed, step)
        if not settings.learn_temperature:
            self._set_temperature(step)
        temperature = (
            math.exp(-model.logit_scale.item()) if settings.learn_temperature else temperature_at(settings, step)
        )
        value, gap = self.forward(images, tokens)
        number = value.item()
        self._refuse_infinite(number, "loss", step)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip or math.inf)
        self._refuse_infinite(norm.item(), "norm of the gradient", step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(settings, step)
        self.optimizer.step()
        if settings.learn_temperature and settings.clip_logit_scale:
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(LARGEST_LOGIT_SCALE))
        return number, gap.item(), temperature

    def _set_temperature(self, step: int) -> None:
        with torch.no_grad():
            self.model.logit_scale.fill_(-math.log(temperature_at(self.settings, step)))

    def _refuse_infinite(self, number: float, what: str, step: int) -> None:
        if not math.isfinite(number):
            kept = "training stopped with the weights from before that step"
            raise UserError(f"the {what} is {number} at step {step}; {kept}{stored.last_words(self.checkpoints)}")

    def _validated(self, done: int, validate) -> dict:
        due = done % self.settings.validate_every == 0 or done == self.settings.steps
        if validate is None or not due or not distributed.is_first():
            return {}
        self.model.eval()
        found = validate(done)
        self.model.train()
        return dict(found)

    def _tensors(self) -> stored.Tensors:
        """Weights, the text map and moments, by name."""
        tensors = self.objective.state_dict()
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items() if value is not None}
        return tensors

    def _restore(self, tensors: stored.Tensors) -> None:
        moments = {name: value for name, value in tensors.items() if name.startswith("optimizer.")}
        self.objective.load_state_dict({name: value for name, value in tensors.items() if name not in moments})
        state: dict[int, dict] = {}
        for name, value in moments.items():
            _, number, moment = name.split(".")
            state.setdefault(int(number), {})[moment] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})


def _seed(device: torch.device, seed: int, step: int) -> None:
    """Makes what a model draws in training mode a function of seed, step and process."""
    drawn = int(np.random.SeedSequence([seed, step, distributed.rank()]).generate_state(1, np.uint64)[0] >> 1)
    torch.default_generator.manual_seed(drawn)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(drawn)
