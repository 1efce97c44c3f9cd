"""Section 4: what training does to the gap: the temperature it is run at, and the weights it starts from.

*temperature*: trained weights are fine-tuned at fixed temperatures; then the loss landscape of every model is measured
at every temperature, which tells where training took the gap from what a temperature holds.
*initialization*: random weights are trained as they are (original) and with the texts mapped onto the images by the
orthogonal Procrustes map fitted before the first step (amended).
*learning_rate*: the original ones again, with other learning rates and weight decays (beyond the paper).

    python Figure_3_Contrastive_Learning/training.py                                   (one to two hours)
    python Figure_3_Contrastive_Learning/training.py --preset paper --coco DIR         (a GPU; hours)

The same command again takes up finished runs from the cache. Expect from the embedded model a gap
that grows at every step down in temperature, from about 0.1 at 1 to 0.89 at 1/100. Amended weights start at a gap of
0.1, pass 1 at once and come down to 0.48 as they learn. Original ones come down from 1.34 to 0.61.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

import training_claims
import training_runs
from training_claims import PAPER_TEMPERATURES, draw, draw_random
from training_runs import Run, perform
from util import UserError, cli
from util.encoders.named import SMALL_CLIP, ModelName, Named
from util.numerics.arrays import as_count
from util.records import Record, differences, plain
from util.reporting import comparisons as reporting
from util.training import TrainingSettings, batch_indices

NAME = "training"
DRAWS = {"": draw, "_random": draw_random}
COLUMNS = (
    "experiment", "seed", "temperature", "initialization", "step", "gap_distance", "loss", "image_recall_at_1",
    "text_recall_at_1", "zero_shot_accuracy", "tau", "training_loss", "zero_shot_gap_distance",
    "learning_rate", "weight_decay",
)  # fmt: skip
SCENE_CAPTIONS = {"temperature": "mixed", "initialization": "full", "learning_rate": "full"}
"""With full descriptions alone the small CLIP hardly errs, and its loss is low over a wide range of shifts. From random
weights, texts of mixed forms fill a wider cone than images do, and no orthogonal map brings centroids of unequal norms
together."""
FREE = {"output", "device", "width", "seed", "seeds", "coco", "data", "experiments", "evaluations"}
"""Options that leave the paper's experiment as it is, or that the paper does not settle."""
RANDOM_TAU = 1 / 100
"""Temperature from random weights, as the paper says."""
OPTIMISERS = ((1e-5, 0.0), (1e-5, 0.2))
"""Learning rates and weight decays of the experiment "learning_rate"; the last are the released ones."""
PAPERS = ("temperature", "initialization")
"""The paper's own experiments."""
SHORT = {"steps": 20, "random_steps": 40, "seeds": 2, "evaluations": 3, "held_out": 300, "experiments": PAPERS}
"""Settings of a run of about a minute, which `make figures` and the notebook take in the embedded preset."""


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "Figure_3_Contrastive_Learning"
    experiments: tuple[Literal["temperature", "initialization", "learning_rate"], ...] = (*PAPERS, "learning_rate")
    """learning_rate: the original random weights again, with each of OPTIMISERS; beyond the paper."""
    temperatures: tuple[float, ...] = PAPER_TEMPERATURES
    """Values of tau to train at, and to measure every model's landscape at."""
    model: ModelName = SMALL_CLIP
    """small-clip, or open_clip:MODEL:TAG (or a checkpoint file); no other kind can be trained."""
    coco: Path | None = None
    """MSCOCO folder in place of generated scenes: annotations/, train2017/, and val2017/ for the held-out pairs."""
    data: Path | None = None
    """With --coco: a folder whose subfolder cifar10 holds that data set; None: the hub."""
    pairs: int = 3000
    """Pairs to train on."""
    held_out: int = 500
    """Pairs to measure on."""
    seeds: int = 3
    """Runs of each kind: --seed, --seed + 1, ...: of the order of the data, and of random weights."""
    steps: int = 80
    """Steps of fine-tuning (the paper: 3905, five epochs of 50,000 pairs)."""
    random_steps: int = 600
    """Steps from random weights (the paper: 3905)."""
    evaluations: int = 12
    """Measurements on the way, in equal ratios of steps, besides those at step 0 and after every epoch."""
    batch: int = 64
    """Pairs per step."""
    loss: str = "info_nce"
    """A loss of util.training.LOSSES."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """adam: the weight decay is coupled L2, as released."""
    learning_rate: float = 5e-4
    """Constant, as released."""
    weight_decay: float = 0.0
    """Released, and of the paper preset: 0.2."""
    temperature_as_released: bool = False
    """A fixed temperature is only where it starts: the logit scale stays among the optimiser's parameters."""
    ONLY: ClassVar = (
        cli.Only("steps", "the experiment temperature", lambda c: "temperature" in c.experiments),
        cli.Only("random_steps", "other experiments than temperature", lambda c: {*c.experiments} - {"temperature"}),
        cli.Only("learning_rate weight_decay", "the experiments of the paper",
                 lambda c: {*c.experiments} & {*PAPERS}),
        cli.Only("data", "--coco", lambda c: c.coco),
    )  # fmt: skip


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(
        preset="paper", model="open_clip:ViT-B-16-quickgelu:openai", pairs=50_000, held_out=5000, steps=3905,
        random_steps=3905, evaluations=6, experiments=PAPERS, learning_rate=1e-5, weight_decay=0.2,
    ),
    "smoke": Settings(
        preset="smoke", temperatures=(1.0, 1 / 100), pairs=64, held_out=32, seeds=1, steps=4,
        random_steps=4, batch=16, evaluations=2,
    ),
}  # fmt: skip


def short(settings: Settings) -> Settings:
    """The same with fewer steps in the embedded preset: what `make figures` and the notebook run."""
    return replace(settings, **SHORT) if settings.preset == "embedded" else settings


def plan(settings: Settings) -> list[Run]:
    """Every run, seed by seed."""
    runs, first = [], settings.seed
    for seed in range(first, first + settings.seeds):
        runs += [planned(settings, "temperature", "trained", seed, tau) for tau in dict.fromkeys(settings.temperatures)]
        runs += [planned(settings, "initialization", name, seed) for name in ("original", "amended")]
        others = [replace(settings, learning_rate=rate, weight_decay=decay) for rate, decay in OPTIMISERS]
        runs += [planned(other, "learning_rate", "original", seed) for other in others]
    return [run for run in runs if run.experiment in settings.experiments]


def planned(settings: Settings, experiment: str, initialization: str, seed: int, tau: float = RANDOM_TAU) -> Run:
    """One run with the released optimiser, without a schedule and without clipping."""
    steps = settings.steps if experiment == "temperature" else settings.random_steps
    names = ("batch", "learning_rate", "weight_decay", "loss", "optimizer")
    about = {name: getattr(settings, name) for name in names} | {"steps": steps, "seed": seed, "temperature": tau}
    about |= {"learn_temperature": settings.temperature_as_released, "gradient_clip": None, "schedule": "constant"}
    training = TrainingSettings(**about, log_every=10, validate_every=1)
    ratios = np.geomspace(1, steps, settings.evaluations).round().astype(int)
    due = sorted({*ratios.tolist(), *range(epoch(settings), steps + 1, epoch(settings)), steps})
    return Run(experiment, initialization, training, tuple(due))


def epoch(settings: Settings) -> int:
    """Steps of an epoch, after which every run is measured; the incomplete last batch is left out."""
    return max(1, settings.pairs // settings.batch)


def check(settings: Settings) -> None:
    """Refuses options that make no sense, before anything is loaded or drawn."""
    for name, least in (("seeds", 1), ("evaluations", 1), ("pairs", 2), ("held_out", 2)):
        as_count(getattr(settings, name), f"--{name.replace('_', '-')}", least)
    if not settings.experiments or not settings.temperatures:
        raise UserError("--experiments and --temperatures need at least one value each")
    if settings.coco and settings.model == SMALL_CLIP:
        model = PRESETS["paper"].model
        raise UserError(f"the small CLIP reads only the words of generated scenes; give --model {model}")
    if settings.preset == "paper" and not settings.coco:
        raise UserError("--preset paper trains on MSCOCO train2017, which the hub lacks; give its folder: --coco DIR")
    for run in plan(settings):
        batch_indices(settings.pairs, run.training.batch, run.training.seed, 0)


def measure(settings: Settings, device: str) -> cli.Measured:
    """Trains, or takes up, every run."""
    check(settings)
    load = partial(training_runs.load, settings.model, device=device)
    outcomes, data, left_out, corpus = [], [], [], None
    for experiment in dict.fromkeys(settings.experiments):
        runs = [run for run in plan(settings) if run.experiment == experiment]
        try:
            trainable = load(seed=runs[0].weights_seed)
        except UserError as error:
            if str(error).startswith("unknown"):  # a slip of the pen, and not a download that failed
                raise
            left_out.append(f"{experiment}: {error}")
            continue
        counts = settings.pairs, settings.held_out
        if not settings.coco:
            corpus = training_runs.scenes(trainable, *counts, settings.seed, SCENE_CAPTIONS[experiment])
        elif corpus is None:
            corpus = training_runs.photographs(trainable, settings.coco, *counts)
            try:
                corpus = training_runs.with_task(corpus, trainable, settings.data)
            except UserError as error:
                left_out.append(f"zero-shot classification: {error}")
        for run in runs:
            outcomes.append(found := perform(run, load, corpus, tuple(dict.fromkeys(settings.temperatures))))
            gaps = "gap {gap_before:.3f} -> {gap_after:.3f}, loss {loss:.3f}".format(**found["summary"])
            cli.say(f"[{NAME}] {run.name}: {gaps}")
        data.append({"name": label(settings), "experiment": experiment, **corpus.about})
    if not data:
        raise UserError("; ".join(left_out))
    return measured(settings, outcomes, data, left_out)


def measured(settings: Settings, outcomes: Sequence[dict], data: Sequence[dict], left_out: list[str]) -> cli.Measured:
    """``training.csv`` with its landscape and summary, and the paper's numbers beside them."""
    number = {"zero_shot_accuracy": float, "zero_shot_gap_distance": float}  # None without a task
    curve, places = ([row for found in outcomes for row in found[what]] for what in ("curve", "landscape"))
    tables = {"": pd.DataFrame(curve, columns=COLUMNS).astype(number), "landscape": pd.DataFrame(places)}
    tables["summary"] = pd.DataFrame([found["summary"] for found in outcomes]).astype(number)
    comparisons = training_claims.compare(tables, label(settings), is_the_papers(settings), epoch(settings))
    claims = [comparison for comparison in comparisons if isinstance(comparison.published, str)]
    seconds = float(tables["summary"]["seconds"].sum())
    return cli.Measured(
        tables=tables,
        data=data,
        dtype="float32 weights and embeddings, float64 sums",
        comparisons=comparisons,
        left_out=left_out,
        results={"on": label(settings), "generated": settings.coco is None, "training_seconds": seconds},
        said=[f"{c.quantity}: {c.ours} ({reporting.verdict(plain(c))})" for c in claims],
    )


def is_the_papers(settings: Settings) -> bool:
    """Whether model, data and training are those of the paper, so that numbers are expected to agree."""
    return not differences(asdict(settings), asdict(PRESETS["paper"]), FREE)


def label(settings: Settings) -> str:
    """Model and data in words."""
    data = "MSCOCO train2017" if settings.coco else "generated scenes"
    return f"{Named.parse(settings.model).name}, {data}"


def run(settings: Settings, reuse: bool = False) -> Record:
    """Trains, measures, records and draws."""
    return cli.publish_run(NAME, settings, measure, DRAWS, **cli.words(__file__), reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
