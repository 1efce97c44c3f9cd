"""The training runs behind section 4: one run from its first weights to its loss landscape, measured on the way.

A finished run's numbers are cached under a key of everything they depend on, and taken up by the next run of the same
key. A run that was stopped starts anew, with the same numbers.
"""

import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Literal

from landscape_terms import temperature_label
from trainable import Trainable, data_digest, digest_of
from training_measures import SHIFTS, Meter, embeddings, landscape
from training_pairs import TrainingPairs
from util import files, records
from util.numerics import procrustes
from util.training import TrainingSettings, train

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
        return {
            "experiment": self.experiment,
            "seed": self.training.seed,
            "temperature": self.training.temperature,
            "initialization": self.initialization,
            "learning_rate": self.training.learning_rate,
            "weight_decay": self.training.weight_decay,
        }


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
        text_map = procrustes.orthogonal_map(*embeddings(trainable, corpus.training))
    meter = Meter(trainable, corpus, run.training.batch, text_map, {0, *run.due})
    first = {"step": 0, "training_gap": meter.training_gap(), **meter(0)}
    what = trainable.model, corpus.training, run.training, trainable.prepare, meter
    log = train(*what, text_map=text_map, description=run.name)
    due = [(entry["step"], entry["held_out"], entry.get("loss")) for entry in (first, *log) if "held_out" in entry]
    curve = [{**run.columns, "step": step, **found, "training_loss": loss} for step, found, loss in due]
    rows, before, last = meter.rows(corpus.held_out), due[0][1], dict(due[-1][1])
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
