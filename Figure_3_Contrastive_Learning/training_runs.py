"""The training runs behind section 4: one run from its first weights to its loss landscape, measured on the way.

A finished run's numbers are cached under a key of everything they depend on, and taken up by the next run of the same
key. A run that was stopped goes on from its last checkpoint (``util.training.checkpoints``).
"""

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from training_measures import MEASURED, SHIFTS, Meter, Rows, embeddings, landscape
from training_pairs import Trainable, TrainingPairs
from util import figures, files, records
from util.numerics import procrustes
from util.training import TrainingSettings, distributed, train
from util.training.checkpoints import Checkpoints, data_digest, digest_of

Initialization = Literal["trained", "original", "amended", "absorbed"]
"""First weights: trained ones; random ones; random ones with the texts mapped onto the images, the map beside the model
throughout training, as released, or absorbed into the text projection."""

FORMAT = 2
"""Raise it when a run measures something else, so that nothing cached before is taken for the new."""


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        experiment: "temperature" or "initialization".
        initialization: its first weights.
        training: everything that happens at its steps; the seed is also that of random weights.
        learned: meant to learn its temperature; false where it only drifts, as released.
    """

    experiment: str
    initialization: Initialization
    training: TrainingSettings
    learned: bool = False

    @property
    def name(self) -> str:
        """Text of the progress bar, and the name of its checkpoints' folder."""
        tau = figures.temperature_label(self.training.temperature)
        learned = ", learned" if self.learned else ""
        return f"{self.experiment} {tau}{learned}, {self.initialization}, seed {self.training.seed}"

    @property
    def columns(self) -> dict:
        """Columns of ``training.csv`` that tell its rows from those of other runs."""
        return {
            "experiment": self.experiment,
            "seed": self.training.seed,
            "temperature": self.training.temperature,
            "initialization": self.initialization,
            "learned": self.learned,
        }


@dataclass(frozen=True)
class Outcome:
    """Numbers of a run, json-able: rows of ``training.csv`` and of the landscape, and one of the summary."""

    curve: Sequence[Mapping]
    landscape: Sequence[Mapping]
    summary: Mapping


@dataclass
class Bench:
    """All that the runs of an experiment share.

    Attributes:
        load: called with ``seed=``, of random weights or None for trained ones; gives a fresh model.
        corpus: pairs to train and to measure on.
        temperatures: at which every trained model's loss landscape is measured.
        checkpoint_every: steps between checkpoints.
        folder: for checkpoints that stay, in a folder of its own for every run; None: in the cache, until the run is
            finished.
        say: takes one line.
    """

    load: Callable[..., Trainable]
    corpus: TrainingPairs
    temperatures: Sequence[float]
    checkpoint_every: int
    folder: Path | None = None
    say: Callable[[str], None] = print
    _rows: tuple = field(default=(None, None), repr=False)

    def training_rows(self, trainable: Trainable, seed: int) -> tuple[Rows, Rows]:
        """Embeddings of all training pairs by a model of random weights; those of the last seed are held."""
        if self._rows[0] != seed:
            self._rows = seed, embeddings(trainable, self.corpus.training)
        return self._rows[1]


def perform(run: Run, bench: Bench) -> Outcome | None:
    """Trains one model and measures it on the way and at the end; or takes up the cached numbers of the same run.

    Returns:
        the outcome; None in all processes but the first.
    """
    trainable = bench.load(seed=None if run.initialization == "trained" else run.training.seed)
    identity = _identity(run, bench, trainable)
    cached = files.cached_path("training", identity, ".json")
    found = _read(cached) if bench.folder is None else None
    if distributed.agreed(int(found is not None), trainable.device, "the cached numbers of a run"):
        return found
    folder = cached.with_suffix("") if bench.folder is None else bench.folder / _file_name(run.name)
    outcome = _train(run, bench, trainable, Checkpoints(folder, bench.checkpoint_every, identity["about"], bench.say))
    if outcome and bench.folder is None:
        with files.replacing(cached) as part:
            part.write_text(json.dumps(asdict(outcome), allow_nan=False) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _train(run: Run, bench: Bench, trainable: Trainable, checkpoints: Checkpoints) -> Outcome | None:
    """One model from its first weights to its landscape."""
    with torch.no_grad():
        trainable.model.logit_scale.fill_(-math.log(run.training.temperature))
    text_map = None
    if run.initialization in ("amended", "absorbed"):
        text_map = procrustes.orthogonal_map(*bench.training_rows(trainable, run.training.seed))
    if run.initialization == "absorbed":
        trainable = replace(trainable, model=procrustes.absorbed(trainable.model, text_map).eval())
        text_map = None
    meter = Meter(trainable, bench.corpus, run.training.batch, text_map)
    first = {"step": 0, "training_gap": meter.training_gap(), **meter(0)} if distributed.is_first() else {}
    log = train(
        trainable.model,
        bench.corpus.training,
        run.training,
        trainable.prepare,
        validate=meter,
        text_map=None if text_map is None else torch.from_numpy(text_map),
        checkpoints=checkpoints,
        description=run.name,
    )
    if not distributed.is_first():
        return None
    return _outcome(run, bench, meter, [first, *(entry for entry in log if "held_out_gap" in entry)])


def _outcome(run: Run, bench: Bench, meter: Meter, log: Sequence[Mapping]) -> Outcome:
    """The rows of a finished run."""
    measured = [{column: entry[name] for name, column in MEASURED.items()} for entry in log]
    curve = []
    for entry, found in zip(log, measured, strict=True):
        trained = {"training_loss": entry.get("loss"), "training_gap": entry.get("gap_distance")}
        curve.append({**run.columns, "step": entry["step"], **found, **trained})
    rows, last = meter.rows(bench.corpus.held_out), measured[-1]
    places = landscape(*rows, bench.temperatures, meter.batch)
    summary = {
        **run.columns,
        "steps": run.training.steps,
        "gap_before": measured[0]["gap_distance"],
        "gap_after": last["gap_distance"],
        "training_gap_before": log[0]["training_gap"],
        "training_gap_after": meter.training_gap(),
        "chance_loss": math.log(meter.batch),
        "gap_at_minimum": landscape(*rows, [last["tau"]], meter.batch)[0]["gap_at_minimum"],
        **{name: value for name, value in last.items() if name != "gap_distance"},
        "seconds": log[-1].get("seconds", 0.0),
    }
    return Outcome(curve, [{**run.columns, "tau": last["tau"], **place} for place in places], summary)


def _identity(run: Run, bench: Bench, trainable: Trainable) -> dict:
    """Everything that an outcome depends on, json-able."""
    versions, wanted = records.versions(), ("torch", "open_clip_torch", "numpy")
    sides = {"training": bench.corpus.training, "held_out": bench.corpus.held_out}
    return {
        "run": asdict(run),
        "about": {
            "model": dict(trainable.about),
            "corpus": dict(bench.corpus.about),
            "initialization": run.initialization,
            "device": trainable.device.type,
            "first_weights": digest_of(trainable.model.state_dict()),
        },
        "measured": {"temperatures": list(bench.temperatures), "shifts": SHIFTS, "format": FORMAT},
        "versions": {name: versions[name] for name in wanted},
        "processes": distributed.size(),
        "content": {name: data_digest(pairs.images, pairs.tokens) for name, pairs in sides.items()},
    }


def _read(path: Path) -> Outcome | None:
    """The outcome of a finished run, if it is there and whole."""
    try:
        return Outcome(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.replace(", ", " "))
