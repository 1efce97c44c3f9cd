"""Section 4: what training does to the gap: the temperature it is run at, and the weights it starts from.

*temperature*: trained weights are fine-tuned at fixed temperatures and at a learned one; then the loss landscape of
every model is measured at every temperature, which tells where training took the gap from what a temperature holds.
*initialization*: random weights are trained as they are (original) and with the texts mapped onto the images by the
orthogonal Procrustes map fitted before the first step (amended; absorbed: the map inside the text projection).

    python Figure_3_Contrastive_Learning/training.py                                   (13 minutes beside other work)
    python Figure_3_Contrastive_Learning/training.py --steps 20 --seeds 2 --held-out 300   (about 2 minutes)
    python Figure_3_Contrastive_Learning/training.py --preset smoke
    python Figure_3_Contrastive_Learning/training.py --preset paper --coco DIR         (a GPU; hours)
    torchrun --nproc-per-node=2 Figure_3_Contrastive_Learning/training.py --preset paper --coco DIR

Finished runs are kept in the cache and stopped ones go on from their last checkpoint: the same command again takes up
both. Expect, of the embedded model: a gap that grows at every step down in temperature, from about 0.1 at 1 to 0.89 at
1/100; amended weights that start at a gap of 0.1 and end at 0.6 to 0.9, original ones that end at 1.0 to 1.4.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd

import trainable
import training_claims as training_claims
import training_figure as training_figure
import training_pairs
from trainable import SMALL, Trainable
from training_runs import Bench, Outcome, Run, perform
from util import cli, figures, files, records
from util.errors import UserError
from util.numerics.arrays import as_count
from util.training import TrainingSettings, batch_indices, distributed

NAME = "training"
PAPER_TEMPERATURES = (1.0, 1 / 10, 1 / 20, 1 / 30, 1 / 50, 1 / 100)
COLUMNS = (
    "experiment", "seed", "temperature", "initialization", "step", "gap_distance", "loss", "image_recall_at_1",
    "text_recall_at_1", "zero_shot_accuracy", "learned", "tau", "training_loss",
)  # fmt: skip
NUMBERS = {what: {"zero_shot_accuracy": float} for what in ("", "summary")} | {"landscape": {}}
"""Columns that hold nothing where the data have no classes."""
SCENE_CAPTIONS = {"temperature": "mixed", "initialization": "full"}
"""With full descriptions alone the small CLIP hardly errs, and its loss is low over a wide range of shifts. From random
weights, texts of mixed forms fill a wider cone than images do, and no orthogonal map brings centroids of unequal norms
together."""
FREE = {"output", "device", "seed", "seeds", "coco", "experiments", "learned", "learned_from", "initializations"}
FREE |= {"initialization_temperature", "checkpoints", "checkpoint_every", "fresh"}
"""Options that leave the paper's experiment what it is, or that it does not settle."""
draw = training_figure.draw


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "Figure_3_Contrastive_Learning"
    experiments: tuple[Literal["temperature", "initialization"], ...] = ("temperature", "initialization")
    temperatures: tuple[float, ...] = PAPER_TEMPERATURES
    """Values of tau to train at, and to measure every model's landscape at."""
    learned: bool = True
    """Also train with a learned temperature."""
    learned_from: float = 0.07
    """Where a learned temperature starts (CLIP: 0.07)."""
    start: Literal["trained", "original"] = "trained"
    """Weights that the temperature experiment starts from: trained ones, or random ones."""
    initializations: tuple[Literal["original", "amended", "absorbed"], ...] = ("original", "amended", "absorbed")
    """Random weights as they are; with the text map beside the model; with the map in the text projection."""
    initialization_temperature: float = 1 / 100
    """Fixed temperature of the initialization experiment (the paper does not say)."""
    corpus: Literal["scenes", "coco"] = "scenes"
    """Generated pictures, or MSCOCO train2017 from --coco."""
    model: str = SMALL
    """small: the project's own; otherwise a model by open_clip's name."""
    pretrained: str | None = None
    """Tag or checkpoint file of an open_clip model's trained weights."""
    coco: Path | None = None
    """MSCOCO folder: annotations/, train2017/, and val2017/ for the held-out pairs."""
    caption: Literal["first", "last"] = "last"
    """Which caption of a photograph (the released training code takes the last)."""
    pairs: int = 3000
    """Pairs to train on."""
    held_out: int = 500
    """Pairs to measure on."""
    seeds: int = 3
    """Runs of each kind: --seed, --seed + 1, ...: of the order of the data, and of random weights."""
    steps: int | None = 80
    """Steps of each run; None: as many as --epochs take."""
    epochs: int = 5
    """Epochs of each run where --steps is None."""
    evaluations: int = 5
    """Measurements on the way, evenly spaced; one at step 0 besides."""
    batch: int = 64
    """Pairs per step, of all processes together."""
    loss: str = "info_nce"
    """A loss of util.training.losses.LOSSES."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """adam: the weight decay is coupled L2, as released."""
    learning_rate: float = 5e-4
    """Constant, as released."""
    weight_decay: float = 0.0
    """Released, and of the paper preset: 0.2."""
    temperature_as_released: bool = False
    """A fixed temperature is only where it starts: the logit scale stays among the optimiser's parameters."""
    checkpoints: Path | None = None
    """Folder for checkpoints that stay; by default in the cache, removed when a run is finished."""
    checkpoint_every: int = 200
    """Steps between checkpoints; one more is written at the end of a run."""
    fresh: bool = False
    """Take up neither finished nor stopped runs: start anew."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(
        preset="paper",
        corpus="coco",
        model="ViT-B-16-quickgelu",
        pretrained="openai",
        pairs=50_000,
        held_out=5000,
        steps=None,
        learning_rate=1e-5,
        weight_decay=0.2,
        checkpoint_every=781,
    ),
    "smoke": Settings(
        preset="smoke", temperatures=(1.0, 1 / 100), learned=False, pairs=64, held_out=32, seeds=1, steps=4, batch=16,
        evaluations=2,
    ),
}  # fmt: skip


def plan(settings: Settings, steps: int) -> list[Run]:
    """Every run, in order.

    Raises:
        UserError: settings that make no sense, for instance a temperature of zero or below.
    """
    runs, seeds = [], range(settings.seed, settings.seed + settings.seeds)
    temperatures = dict.fromkeys(settings.temperatures)
    for seed in seeds if "temperature" in settings.experiments else ():
        for tau in temperatures:
            training = training_settings(settings, steps, seed, tau, settings.temperature_as_released)
            runs.append(Run("temperature", settings.start, training))
        if settings.learned:
            training = training_settings(settings, steps, seed, settings.learned_from, True)
            runs.append(Run("temperature", settings.start, training, learned=True))
    for seed in seeds if "initialization" in settings.experiments else ():
        tau, drifts = settings.initialization_temperature, settings.temperature_as_released
        training = training_settings(settings, steps, seed, tau, drifts)
        runs += [Run("initialization", name, training) for name in dict.fromkeys(settings.initializations)]
    return runs


def training_settings(settings: Settings, steps: int, seed: int, tau: float, learned: bool) -> TrainingSettings:
    """What ``util.training`` is given: the released optimiser, without a schedule and without clipping."""
    every = max(1, steps // settings.evaluations)
    return TrainingSettings(
        steps=steps,
        batch=settings.batch,
        seed=seed,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        gradient_clip=None,
        temperature=tau,
        first_temperature=tau,
        log_every=min(every, 10),
        validate_every=every,
        loss=settings.loss,
        optimizer=settings.optimizer,
        schedule="constant",
        learn_temperature=learned,
        clip_logit_scale=not settings.temperature_as_released,
    )


def check(settings: Settings) -> None:
    """
    Raises:
        UserError: options that make no sense, before anything is loaded or drawn.
    """
    for name, least in (("seeds", 1), ("evaluations", 1), ("epochs", 1), ("pairs", 2), ("held_out", 2)):
        as_count(getattr(settings, name), f"--{name.replace('_', '-')}", least)
    if not settings.experiments or not settings.temperatures or not settings.initializations:
        raise UserError("--experiments, --temperatures and --initializations need at least one value each")
    if settings.corpus == "coco" and settings.model == SMALL:
        raise UserError("the small CLIP reads only the words of generated scenes; give --model ViT-B-16-quickgelu")
    check_used(settings)
    for run in plan(settings, 1 if settings.steps is None else settings.steps):
        batch_indices(settings.pairs, run.training.batch, run.training.seed, 0)


def check_used(settings: Settings) -> None:
    """
    Raises:
        UserError: an option that the others leave without a use.
    """
    own = PRESETS[settings.preset]
    useless = {
        "--coco takes photographs, and --corpus is scenes": settings.coco and settings.corpus == "scenes",
        "--pretrained is of open_clip's models; the small CLIP has its own": settings.pretrained
        and settings.model == SMALL,
        "--epochs counts only with --steps None": settings.epochs != own.epochs and settings.steps is not None,
        "--learned-from has no use with --no-learned": settings.learned_from != own.learned_from
        and not settings.learned,
    }
    for why, found in useless.items():
        if found:
            raise UserError(f"{why}; leave it out")
    if settings.corpus == "coco" and settings.coco is None:
        raise UserError("--corpus coco needs --coco DIR, a folder with annotations/, train2017/ and val2017/")


def corpus_of(settings: Settings, model: Trainable, experiment: str) -> training_pairs.TrainingPairs:
    """The pairs that an experiment trains and measures on, as a model takes them.

    Raises:
        UserError: data that cannot be had, or fewer pairs than a batch.
    """
    if settings.corpus == "scenes":
        options = (settings.pairs, settings.held_out, settings.seed, SCENE_CAPTIONS[experiment])
        return training_pairs.scenes(model, *options)
    options = (settings.coco, settings.pairs, settings.held_out, settings.caption)
    corpus = training_pairs.photographs(model, *options)
    batch_indices(len(corpus.training), settings.batch, 0, 0)
    return corpus


def run_all(settings: Settings, device) -> tuple[list[Outcome], list[Mapping], list[str]]:
    """Every run's outcome, what the data are, and a line for each thing that could not be had."""
    load = partial(trainable.load, settings.model, settings.pretrained, device=device)
    say = cli.say if distributed.is_first() else lambda line: None
    temperatures, outcomes, data, left_out = tuple(dict.fromkeys(settings.temperatures)), [], [], []
    for experiment in dict.fromkeys(settings.experiments):
        corpus = corpus_of(settings, load(seed=settings.seed), experiment)
        steps = settings.steps or settings.epochs * (len(corpus.training) // settings.batch)
        runs = [run for run in plan(settings, steps) if run.experiment == experiment]
        try:
            load(seed=None if runs[0].initialization == "trained" else settings.seed)
        except UserError as error:
            if str(error).startswith("unknown"):  # a slip of the pen, and not a download that failed
                raise
            left_out.append(f"{experiment}: {error}")
            continue
        folder, every = settings.checkpoints, settings.checkpoint_every
        bench = Bench(load, corpus, temperatures, every, folder, settings.fresh, say)
        outcomes += [_told(perform(run, bench), run, say) for run in runs]
        data.append({"experiment": experiment, **corpus.about})
        left_out += [f"{experiment}: {line}" for line in corpus.left_out]
    if not data:
        raise UserError("; ".join(left_out))
    return outcomes, data, left_out


def _told(outcome: Outcome | None, run: Run, say) -> Outcome | None:
    if outcome:
        found = outcome.summary
        gaps = f"gap {found['gap_before']:.3f} -> {found['gap_after']:.3f}"
        say(f"[{NAME}] {run.name}: {gaps}, loss {found['loss']:.3f}")
    return outcome


def tables(outcomes: Sequence[Outcome]) -> dict[str, pd.DataFrame]:
    """``training.csv``, and its landscape and summary."""
    rows = {
        "": [row for outcome in outcomes for row in outcome.curve],
        "landscape": [row for outcome in outcomes for row in outcome.landscape],
        "summary": [outcome.summary for outcome in outcomes],
    }
    found = {what: pd.DataFrame(part).astype(NUMBERS[what]) for what, part in rows.items()}
    return found | {"": found[""][list(COLUMNS)]}


def main(settings: Settings) -> None:
    """Trains, measures, records, draws; of several processes only the first writes."""
    start, device = time.perf_counter(), cli.resolve_device(settings.device)
    check(settings)
    with distributed.group(device) as own:
        outcomes, data, left_out = run_all(settings, own)
        if distributed.is_first():
            write(settings, outcomes, data, left_out, device, start)


def write(settings: Settings, outcomes, data: Sequence[Mapping], left_out, device: str, start: float) -> None:
    """The record and the figure."""
    for line in left_out:
        cli.say(f"[{NAME}] left out: {line}")
    found, on = tables(outcomes), label(settings)
    found["numbers"], comparisons = training_claims.compare(found, on, is_the_papers(settings))
    with files.publishing(settings.output) as folder:
        record = records.save(
            folder,
            NAME,
            found,
            settings=settings,
            seconds=time.perf_counter() - start,
            device=device,
            dtype="float32 weights and embeddings, float64 sums",
            data=[{"name": on, **part} for part in data],
            comparisons=comparisons,
            left_out=left_out,
            results={"on": on, "generated": settings.corpus == "scenes", "training_seconds": total(found["summary"])},
            title="Section 4: temperature, initialization and the gap in training",
            captions={NAME: training_figure.CAPTION},
        )
        figures.use_style()
        figures.save(draw(record), folder, NAME)
    for row in comparisons:
        if row.agrees is not None:
            cli.say(f"[{NAME}] {row.quantity}: {row.ours} ({'yes' if row.agrees else 'NO'})")
    cli.say(f"[{NAME}] wrote {settings.output}/{NAME}.png, .pdf, .csv, .json in {time.perf_counter() - start:.1f} s")


def is_the_papers(settings: Settings) -> bool:
    """Whether model, data and training are those of the paper, so that numbers are expected to agree."""
    mine = asdict(settings)
    return all(mine[name] == value for name, value in asdict(PRESETS["paper"]).items() if name not in FREE)


def total(summary: pd.DataFrame) -> float:
    """Seconds of all training runs, those taken up included."""
    return float(summary["seconds"].sum())


def label(settings: Settings) -> str:
    """Model and data in words."""
    data = "generated scenes" if settings.corpus == "scenes" else "MSCOCO train2017"
    return f"{'small CLIP' if settings.model == SMALL else settings.model}, {data}"


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(PRESETS, __doc__)))
