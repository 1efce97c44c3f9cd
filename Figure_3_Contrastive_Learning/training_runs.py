"""The training runs behind section 4: which there are, one run from its first weights to its loss landscape.

A finished run's numbers are kept under a key of everything they depend on, and taken up where they are found again; one
that was stopped goes on from its last checkpoint (``util.training.checkpoints``).
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from trainable import Trainable
from training_measures import MEASURED, SHIFTS, Meter, Rows, embeddings, landscape
from training_pairs import TrainingPairs
from util import figures, files, geometry, records
from util.numerics import procrustes
from util.training import Pairs, TrainingSettings, distributed, train
from util.training.checkpoints import Checkpoints, data_digest, digest_of

Initialization = Literal["trained", "original", "amended", "absorbed"]
"""First weights: trained ones; random ones; random ones with the texts mapped onto the images, the map beside the model
throughout training, as released, or absorbed into the text projection."""

FORMAT = 2
"""Raise it when what a run measures changes, so that nothing kept before is taken for the new."""


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
        """What the progress bar says, and the name of its checkpoints' folder."""
        tau = figures.temperature_label(self.training.temperature)
        learned = ", learned" if self.learned else ""
        return f"{self.experiment} {tau}{learned}, {self.initialization}, seed {self.training.seed}"

    @property
    def columns(self) -> dict:
        """What tells its rows from those of other runs, as in ``training.csv``."""
        return {
            "experiment": self.experiment,
            "seed": self.training.seed,
            "temperature": self.training.temperature,
            "initialization": self.initialization,
            "learned": self.learned,
        }


@dataclass(frozen=True)
class Outcome:
    """What a run gave, json-able: rows of ``training.csv`` and of the landscape, and one of the summary."""

    curve: Sequence[Mapping]
    landscape: Sequence[Mapping]
    summary: Mapping


@dataclass
class Bench:
    """What all runs of a script share.

    Attributes:
        load: called with ``seed=``, of random weights or None for trained ones; gives a fresh model.
        corpus: pairs to train and to measure on.
        temperatures: at which every trained model's loss landscape is measured.
        checkpoint_every: steps between checkpoints.
        folder: for checkpoints in a folder of its own for every run, which stay; None: in the cache under the key of a
            run, removed once it is finished and its numbers are kept.
        fresh: take up nothing that an earlier run left.
        say: takes one line.
    """

    load: Callable[..., Trainable]
    corpus: TrainingPairs
    temperatures: Sequence[float]
    checkpoint_every: int
    folder: Path | None = None
    fresh: bool = False
    say: Callable[[str], None] = print
    _rows: tuple = field(default=(None, None), repr=False)

    def training_rows(self, trainable: Trainable, seed: int) -> tuple[Rows, Rows]:
        """Embeddings of all training pairs by a model of random weights; those of the last seed are kept."""
        if self._rows[0] != seed:
            self._rows = seed, embeddings(trainable, self.corpus.training)
        return self._rows[1]


def perform(run: Run, bench: Bench) -> Outcome | None:
    """Trains one model and measures it on the way and at the end; or takes up what was kept of the same run.

    Returns:
        the outcome; None in all processes but the first.

    Raises:
        UserError: as ``util.training.train``.
    """
    trainable = bench.load(seed=None if run.initialization == "trained" else run.training.seed)
    identity = _identity(run, bench, trainable)
    kept = _kept_path(identity)
    reuse = bench.folder is None and not bench.fresh
    found = _kept(kept) if reuse else None
    if distributed.agreed(int(found is not None), trainable.device, "what is kept of a run"):
        return found
    folder = kept.with_suffix("") if bench.folder is None else bench.folder / _file_name(run.name)
    if bench.fresh and distributed.is_first():
        shutil.rmtree(folder, ignore_errors=True)
    outcome = _train(run, bench, trainable, Checkpoints(folder, bench.checkpoint_every, identity["about"], bench.say))
    if outcome and bench.folder is None:
        with files.replacing(kept) as part:
            part.write_text(json.dumps(asdict(outcome), allow_nan=False) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _train(run: Run, bench: Bench, trainable: Trainable, checkpoints: Checkpoints) -> Outcome | None:
    """One model from its first weights to its landscape."""
    with torch.no_grad():
        trainable.model.logit_scale.fill_(-math.log(run.training.temperature))
    text_map = _text_map(run, bench, trainable)
    if run.initialization == "absorbed":
        trainable = replace(trainable, model=procrustes.absorbed(trainable.model, text_map).eval())
        text_map = None
    meter = Meter(trainable, bench.corpus, run.training.batch, text_map)
    first = {"step": 0, "training_gap": _training_gap(bench, meter), **meter(0)} if distributed.is_first() else {}
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


def _text_map(run: Run, bench: Bench, trainable: Trainable) -> Float[np.ndarray, "d d"] | None:
    """The Procrustes map of all training pairs at initialization, as released."""
    if run.initialization not in ("amended", "absorbed"):
        return None
    return procrustes.orthogonal_map(*bench.training_rows(trainable, run.training.seed))


def _training_gap(bench: Bench, meter: Meter) -> float:
    """Gap distance of as many training pairs as are held out."""
    count, pairs = len(bench.corpus.held_out.pairs), bench.corpus.training
    x, y = embeddings(meter.trainable, Pairs(pairs.images[:count], pairs.tokens[:count]))
    return geometry.gap_distance(x, procrustes.mapped(y, meter.text_map))


def _outcome(run: Run, bench: Bench, meter: Meter, log: Sequence[Mapping]) -> Outcome:
    """The rows of a finished run."""
    names = {"held_out_gap": "gap_distance", "held_out_loss": "loss"}
    measured = [{names.get(name, name): entry[name] for name in MEASURED} for entry in log]
    trained = [{"training_loss": entry.get("loss"), "training_gap": entry.get("gap_distance")} for entry in log]
    curve = [
        {**run.columns, "step": entry["step"], **found, **other}
        for entry, found, other in zip(log, measured, trained, strict=True)
    ]
    rows, last = meter.rows(), measured[-1]
    places = landscape(*rows, bench.temperatures, meter.batch)
    summary = {
        **run.columns,
        "steps": run.training.steps,
        "gap_before": measured[0]["gap_distance"],
        "gap_after": last["gap_distance"],
        "training_gap_before": log[0]["training_gap"],
        "training_gap_after": _training_gap(bench, meter),
        "chance_loss": math.log(meter.batch),
        "gap_at_minimum": landscape(*rows, [last["tau"]], meter.batch)[0]["gap_at_minimum"],
        **{name: value for name, value in last.items() if name != "gap_distance"},
        "seconds": log[-1].get("seconds", 0.0),
    }
    return Outcome(curve, [{**run.columns, "tau": last["tau"], **place} for place in places], summary)


def _identity(run: Run, bench: Bench, trainable: Trainable) -> dict:
    """Everything that an outcome depends on, json-able."""
    about = {"model": dict(trainable.about), "corpus": dict(bench.corpus.about), "initialization": run.initialization}
    about["device"] = trainable.device.type
    measured = {"temperatures": list(bench.temperatures), "shifts": SHIFTS, "format": FORMAT}
    versions = {
        name: found for name, found in records.versions().items() if name in ("torch", "open_clip_torch", "numpy")
    }
    about["first_weights"] = digest_of(trainable.model.state_dict())
    sides = {"training": bench.corpus.training, "held_out": bench.corpus.held_out.pairs}
    content = {name: data_digest(pairs.images, pairs.tokens) for name, pairs in sides.items()}
    processes = {"processes": distributed.size(), "content": content}
    return {"run": asdict(run), "about": about, "measured": measured, "versions": versions, **processes}


def _kept_path(identity: Mapping) -> Path:
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return files.cache_folder() / "training" / f"{hashlib.sha256(canonical.encode()).hexdigest()}.json"


def _kept(path: Path) -> Outcome | None:
    """The outcome of a finished run, if it is there and whole."""
    try:
        return Outcome(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.replace(", ", " "))
