"""The training runs behind section 4: one run from its first weights to its loss landscape, measured on the way.

A finished run's numbers are cached under a key of everything they depend on, and taken up by the next run of the same
key. A run that was stopped starts anew, with the same numbers.
"""

import json
import math
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from landscape_minima import temperature_label
from training_pairs import Trainable, TrainingPairs, data_digest, digest_of
from util import contrastive, files, geometry, records
from util.encoders.small_clip import SHIFTS
from util.training import Pairs, TrainingSettings, train
from util.zero_shot import shifted

Rows = Float[np.ndarray, "n d"]

FORMAT = 5
"""Raise it when a run measures something else, so that nothing cached before is taken for the new."""


@dataclass(frozen=True)
class Run:
    """One training run, measured at the steps ``due`` besides 0; its seed is also that of random weights.

    First weights are trained ones, random ones, or random ones with the texts mapped onto the images throughout.
    """

    experiment: Literal["temperature", "initialization", "learning_rate"]
    initialization: Literal["trained", "original", "amended"]
    training: TrainingSettings
    due: tuple[int, ...]

    @property
    def name(self) -> str:
        """Text of the progress bar."""
        what = temperature_label(self.training.temperature)
        if self.experiment == "learning_rate":
            what = f"{self.training.learning_rate:g}, decay {self.training.weight_decay:g}"
        return f"{self.experiment} {what}, {self.initialization}, seed {self.training.seed}"

    @property
    def weights_seed(self) -> int | None:
        """Seed of random first weights; None for trained ones."""
        return None if self.initialization == "trained" else self.training.seed

    @property
    def columns(self) -> dict:
        """Columns of ``training.csv`` that tell its rows from those of other runs."""
        first = {"experiment": self.experiment, "seed": self.training.seed, "temperature": self.training.temperature}
        rates = {"learning_rate": self.training.learning_rate, "weight_decay": self.training.weight_decay}
        return {**first, "initialization": self.initialization, **rates}


def perform(run: Run, load: Callable[..., Trainable], corpus: TrainingPairs, temperatures: Sequence[float]) -> dict:
    """Trains one model and measures it on the way and at the end; or takes up the cached numbers of the same run.

    ``load(seed=...)`` gives a fresh model, trained for None, whose loss landscape is measured at all ``temperatures``.
    Rows of ``training.csv`` ("curve") and of its "landscape", and its "summary".
    """
    trainable, versions = load(seed=run.weights_seed), records.versions()
    depends_on = {
        "format": FORMAT,
        "run": asdict(run),
        "model": dict(trainable.about),
        "first_weights": digest_of(trainable.model.state_dict()),
        "corpus": dict(corpus.about),
        "content": [data_digest(part) for part in (corpus.training, corpus.held_out)],
        "measured": [list(temperatures), SHIFTS],
        "device": trainable.device.type,
        "versions": [versions[name] for name in ("torch", "open_clip_torch", "numpy")],
    }
    cached = files.cached_path("training", depends_on, ".json")
    with suppress(OSError, ValueError):  # not there, or not whole
        return json.loads(cached.read_text())
    found = _train(run, trainable, corpus, temperatures)
    with files.replacing(cached) as part:
        part.write_text(json.dumps(found, allow_nan=False) + "\n")
    return found


def _train(run: Run, trainable: Trainable, corpus: TrainingPairs, temperatures: Sequence[float]) -> dict:
    """One model from its first weights to its landscape, and its rows."""
    trainable.model.logit_scale.data.fill_(-math.log(run.training.temperature))
    text_map = None
    if run.initialization == "amended":
        text_map = geometry.orthogonal_map(*embeddings(trainable, corpus.training))
    meter = Meter(trainable, corpus, run.training.batch, text_map, {0, *run.due})
    first = {"step": 0, "training_gap": meter.training_gap(), **meter(0)}
    what = trainable.model, corpus.training, run.training, trainable.prepare, meter
    log = train(*what, text_map=text_map, description=run.name)
    due = [(entry["step"], entry["held_out"], entry.get("loss")) for entry in (first, *log) if "held_out" in entry]
    curve = [{**run.columns, "step": step, **found, "training_loss": loss} for step, found, loss in due]
    rows, before, last = embeddings(trainable, corpus.held_out, text_map), due[0][1], dict(due[-1][1])
    places = landscape(*rows, temperatures, meter.batch)
    summary = {
        **run.columns,
        "steps": run.training.steps,
        "gap_before": before["gap_distance"],
        "gap_after": last.pop("gap_distance"),
        "training_gap_before": first["training_gap"],
        "training_gap_after": meter.training_gap(),
        "chance_loss": math.log(meter.batch),
        "gap_at_minimum": landscape(*rows, [last["tau"]], meter.batch)[0]["gap_at_minimum"],
        **last,
        "seconds": log[-1]["seconds"],
    }
    places = [{**run.columns, "tau": last["tau"], **place} for place in places]
    return {"curve": curve, "landscape": places, "summary": summary}


class Meter:
    """Measures a changing model on held-out pairs at the steps of ``due``; elsewhere it gives nothing.

    ``batch`` is of the loss, ``text_map`` goes onto all texts.
    """

    def __init__(self, trainable: Trainable, corpus: TrainingPairs, batch: int, text_map: Rows | None, due: Collection):
        self.trainable, self.corpus, self.text_map, self.due = trainable, corpus, text_map, due
        self.batch = min(batch, len(corpus.held_out))

    def __call__(self, step: int) -> dict:
        """Columns of ``training.csv``, as one entry "held_out" beside the numbers of the training batches.

        Those of the zero-shot task, of all pictures and one prompt a class, are None without one.
        """
        if step not in self.due:
            return {}
        x, y = embeddings(self.trainable, self.corpus.held_out, self.text_map)
        tau = math.exp(-self.trainable.model.logit_scale.item())
        found = {"gap_distance": geometry.gap_distance(x, y)}
        found["loss"] = contrastive.contrastive_loss(x, y, tau, self.batch, consecutive=True)
        found["image_recall_at_1"], found["text_recall_at_1"] = recall_at_1(x, y)
        found |= {"tau": tau, "zero_shot_accuracy": None, "zero_shot_gap_distance": None}
        if (task := self.corpus.task) is not None:
            x = self.trainable.encode(task.pictures)
            prompts = geometry.mapped(self.trainable.encode(task.prompts), self.text_map)
            found["zero_shot_accuracy"] = float((shifted.class_ranks(x, prompts, task.labels, [0.0]) == 0).mean())
            found["zero_shot_gap_distance"] = geometry.gap_distance(x, prompts)
        return {"held_out": found}

    def training_gap(self) -> float:
        """Gap distance of as many training pairs as are held out."""
        count, pairs = len(self.corpus.held_out), self.corpus.training
        some = Pairs(pairs.images[:count], pairs.tokens[:count])
        return geometry.gap_distance(*embeddings(self.trainable, some, self.text_map))


def embeddings(trainable: Trainable, pairs: Pairs, text_map: Rows | None = None) -> tuple[Rows, Rows]:
    """Unit rows of pictures and captions, the latter under the map."""
    return trainable.encode(pairs.images), geometry.mapped(trainable.encode(pairs.tokens), text_map)


def recall_at_1(x: Rows, y: Rows) -> tuple[float, float]:
    """Recall@1 of paired unit rows among all n, image to text (an image asks) and text to image.

    Trap: the released code names them by what is retrieved, so its "Image R@1" is the second.
    """
    image_ranks, text_ranks = shifted.retrieve(x, y, np.arange(len(x)), [0.0], once=False)
    return float((image_ranks == 0).mean()), float((text_ranks == 0).mean())


def landscape(x: Rows, y: Rows, temperatures: Sequence[float], batch: int) -> list[dict]:
    """The signed gap distance at the lowest loss of ``SHIFTS``, at each temperature, beside their own gap and loss."""
    losses = contrastive.sweep(x, y, SHIFTS, temperatures, batch, consecutive=True)
    distances, here = geometry.signed_gap_distances(x, y, SHIFTS), SHIFTS.index(0)
    return [
        {
            "evaluated_temperature": float(tau),
            "own_gap": float(distances[here]),
            "own_loss": float(curve[here]),
            "gap_at_minimum": float(distances[best := int(curve.argmin())]),
            "lowest_loss": float(curve[best]),
            "shift_at_minimum": SHIFTS[best],
        }
        for tau, curve in zip(temperatures, losses.T, strict=True)
    ]
