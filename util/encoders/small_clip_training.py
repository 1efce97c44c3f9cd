"""Makes the shipped small CLIP again, from seeds alone: corpus, training, checkpoint, record."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from .. import files, records
from ..contrastive import contrastive_loss
from ..corpora.generated import pictures
from ..errors import UserError
from ..training import Pairs, TrainingSettings, train
from . import small_clip, small_clip_evaluation
from .small_clip import channels_first
from .small_clip_evaluation import TEST_SEED
from .tower import EncoderPair

COMMAND = "python -m util train-small-clip"
VALIDATION_SEED = 10_001
"""Seed of the fresh pictures whose loss chooses among the weights of a run; never that of training or test."""


@dataclass(frozen=True)
class SmallClipSettings:
    """All that the shipped checkpoint depends on, besides the architecture in ``small_clip.json``.

    Fresh validation scenes choose among the weights by their loss. Another number of CPU threads changes the last bits,
    and so the path. The seed of ``training`` is also that of the corpus and of the first weights.
    """

    pictures: int = 60_000
    validation_pictures: int = 2_000
    threads: int = 2
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(steps=850, validate_every=50))

    def __post_init__(self):
        if self.training.seed in (VALIDATION_SEED, TEST_SEED):
            raise UserError(f"seed {self.training.seed} is that of the validation or test pictures; choose another")


def train_small_clip(
    output: str | Path, seed: int = 0, settings: SmallClipSettings | None = None, progress: bool = True
) -> dict:
    """Trains the small CLIP from scratch and writes checkpoint, record and ``small_clip.json`` into a folder, together.

    ``seed`` is of the corpus, the first weights and the order of the data; 0 and the default settings made the shipped
    checkpoint. The record given back has every measured figure ("figures").
    """
    settings = settings or SmallClipSettings()
    settings = replace(settings, training=replace(settings.training, seed=seed))
    with files.publishing(Path(output)) as folder, _threads(settings.threads):
        started = time.perf_counter()
        clip = small_clip.random(seed)
        corpus = pictures.training_corpus(settings.pictures, seed)
        pairs = Pairs(channels_first(corpus.images), clip.text.prepare(corpus.captions))
        best = LowestLoss(clip, settings)
        log = train(clip.model, pairs, settings.training, small_clip.prepare, validate=best, progress=progress)
        seconds = time.perf_counter() - started
        clip.model.load_state_dict(best.weights)
        record = _record(settings, log, best.step, small_clip_evaluation.evaluate(clip), seconds)
        checkpoint = folder / small_clip.CHECKPOINT.name
        save_file(best.weights, checkpoint)
        checkpoint.chmod(0o644)  # save_file lets nobody else read it
        (folder / small_clip.RECORD.name).write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
        shutil.copyfile(small_clip.CONFIG, folder / small_clip.CONFIG.name)
    return record


class LowestLoss:
    """Called after some steps: measures the loss on fresh scenes and keeps a copy of the best weights."""

    def __init__(self, clip: EncoderPair, settings: SmallClipSettings):
        self.clip = clip
        self.fresh = pictures.scenes(settings.validation_pictures, VALIDATION_SEED, "train")
        self.temperature = settings.training.temperature
        self.loss, self.step, self.weights = float("inf"), 0, None

    def __call__(self, step: int) -> dict:
        x, y = self.clip.encode_non_text(self.fresh.images), self.clip.encode_texts(self.fresh.captions)
        loss = contrastive_loss(x, y, self.temperature, batch=small_clip_evaluation.BATCH, consecutive=True)
        if loss < self.loss:
            self.loss, self.step = loss, step
            self.weights = {name: value.detach().clone() for name, value in self.clip.model.state_dict().items()}
        return {"validation_loss": loss}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Runs a block with ``count`` CPU threads in torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _record(settings: SmallClipSettings, log: list[dict], chosen: int, figures: dict, seconds: float) -> dict:
    return {
        "schema_version": records.SCHEMA_VERSION,
        "command": COMMAND,
        "settings": asdict(settings),
        "seeds": {"training": settings.training.seed, "validation": VALIDATION_SEED, "test": TEST_SEED},
        "commit": records.commit(),
        "versions": records.versions(),
        "machine": records.machine("cpu", "float32"),
        "seconds": round(seconds, 1),
        "chosen_step": chosen,
        "figures": figures,
        "log": log,
    }
