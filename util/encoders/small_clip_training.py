"""Makes the shipped small CLIP again, from seeds alone: corpus, training, checkpoint, figures, record."""

import json
import math
import shutil
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save_file

from .. import files, records
from ..contrastive import contrastive_loss, sweep
from ..corpora.generated import pictures
from ..errors import UserError
from ..geometry import gap_distance, signed_gap_distances
from ..numerics.statistics import wilson_interval
from ..training import Pairs, TrainingSettings, train
from . import small_clip
from .small_clip import channels_first
from .tower import EncoderPair

COMMAND = "python -m util train-small-clip"
VALIDATION_SEED = 10_001
"""Seed of the fresh pictures whose loss chooses among the weights of a run; never that of training or test."""

SCENES = 4000
BADGES_PER_GROUP = 1000
DESCRIPTIONS = 500
BATCH = 50
"""Pairs per batch of the loss landscape, as in the paper."""
SHIFTS = tuple(round(-2.0 + 0.05 * i, 2) for i in range(81))
"""Two-sided shifts from -2 to 2 on a grid of 0.05; positive closes the gap."""
TEMPERATURES = (1 / 100, 1 / 50, 1 / 35, 1 / 20, 1 / 10, 1.0)


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
        if self.training.seed in (VALIDATION_SEED, pictures.TEST_SEED):
            raise UserError(f"seed {self.training.seed} is that of the validation or test pictures; choose another")


def train_small_clip(output: str | Path, seed: int = 0, settings: SmallClipSettings | None = None) -> dict:
    """Trains the small CLIP from scratch and writes checkpoint, record and ``small_clip.json`` into a folder, together.

    ``seed`` is of the corpus, the first weights and the order of the data; 0 and the default settings made the shipped
    checkpoint. The record given back has every measured figure ("figures").
    """
    settings = settings or SmallClipSettings()
    settings = replace(settings, training=replace(settings.training, seed=seed))
    with files.publishing(Path(output)) as folder, ExitStack() as after:
        after.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(settings.threads)
        started = time.perf_counter()
        clip = small_clip.random(seed)
        corpus = pictures.training_corpus(settings.pictures, seed)
        pairs = Pairs(channels_first(corpus.images), clip.text.prepare(corpus.captions))
        fresh, best = pictures.scenes(settings.validation_pictures, VALIDATION_SEED, "train"), {"loss": math.inf}

        def validate(step: int) -> dict:
            x, y = clip.non_text.encode(fresh.images), clip.text.encode(fresh.captions)
            loss = contrastive_loss(x, y, settings.training.temperature, batch=BATCH, consecutive=True)
            if loss < best["loss"]:
                weights = {name: value.detach().clone() for name, value in clip.model.state_dict().items()}
                best.update(loss=loss, step=step, weights=weights)
            return {"validation_loss": loss}

        log = train(clip.model, pairs, settings.training, small_clip.prepare, validate=validate)
        seconds = time.perf_counter() - started
        clip.model.load_state_dict(best["weights"])
        record = {
            "schema_version": records.SCHEMA_VERSION,
            "command": COMMAND,
            "settings": asdict(settings),
            "seeds": {"training": seed, "validation": VALIDATION_SEED, "test": pictures.TEST_SEED},
            "commit": records.commit(),
            "versions": records.versions(),
            "machine": records.machine("cpu", "float32"),
            "seconds": round(seconds, 1),
            "chosen_step": best["step"],
            "figures": evaluate(clip),
            "log": log,
        }
        save_file(best["weights"], folder / small_clip.CHECKPOINT.name)
        (folder / small_clip.RECORD.name).write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
        shutil.copyfile(small_clip.CONFIG, folder / small_clip.CONFIG.name)
    return record


def evaluate(clip: EncoderPair, seed: int = pictures.TEST_SEED) -> dict:
    """All figures of a small CLIP, json-able, on pictures and scans that it was never trained on.

    Scenes are of held-out combinations, digits of held-out scans, badges in equal numbers of each group and kind.
    ``seed`` is that of the pictures, and not one of training or validation.
    """
    held_out = pictures.scenes(SCENES, seed, "held_out")
    digits = pictures.digits("held_out")
    badges = pictures.badges(len(pictures.GROUPS) * BADGES_PER_GROUP, seed, group_weights=None)
    scene_rows, badge_rows = clip.non_text.encode(held_out.images), clip.non_text.encode(badges.images)
    tasks = {name: zero_shot(clip, name, held_out, scene_rows) for name in ("shape", "colour_shape", "fine_grained")}
    tasks["digit"] = zero_shot(clip, "digit", digits, clip.non_text.encode(digits.images))
    tasks["badge"] = zero_shot(clip, "badge", badges, badge_rows)
    return {
        "landscape": loss_minima(clip, pictures.scenes(SCENES, seed, "all")),
        "retrieval": {"image_recall_at_1": recall_at_1(clip, pictures.distinct_scenes(DESCRIPTIONS, seed))},
        "tasks": tasks,
        "harm": harm_rates(clip, badges, badge_rows),
    }


def loss_minima(clip: EncoderPair, scenes: pictures.Pictures) -> dict:
    """The gap of pairs, the signed gap distance of the lowest loss at each temperature, and the loss at 1/100."""
    x, y = clip.non_text.encode(scenes.images), clip.text.encode(scenes.captions)
    losses = sweep(x, y, SHIFTS, TEMPERATURES, batch=BATCH, consecutive=True)
    signed = signed_gap_distances(x, y, SHIFTS)
    lowest = {f"1/{1 / tau:.0f}": float(signed[losses[:, t].argmin()]) for t, tau in enumerate(TEMPERATURES)}
    loss = float(losses[SHIFTS.index(0), 0])
    return {"n_pairs": len(scenes), "gap_distance": gap_distance(x, y), "lowest_loss_at": lowest, "loss": loss}


def recall_at_1(clip: EncoderPair, described: pictures.Pictures) -> float:
    """Share of images, in [0, 1], whose own caption is the nearest of all; captions must differ from each other."""
    cosines = clip.non_text.encode(described.images) @ clip.text.encode(described.captions).T
    return float((cosines.argmax(1) == np.arange(len(described))).mean())


def zero_shot(clip: EncoderPair, task: str, some: pictures.Pictures, rows: Float[np.ndarray, "n d"]) -> dict:
    """Accuracy on a task of ``pictures.TASKS``, its 95% limits (Wilson) and chance; ``rows`` embed ``some``."""
    prompts = pictures.TASKS[task].prompts
    predicted = (rows @ clip.text.encode(prompts).T).argmax(1)
    hits = int((predicted == pictures.task_labels(task, some)).sum())
    low, high = wilson_interval(hits, len(some))
    accuracy = hits / len(some)
    return {"n": len(some), "accuracy": accuracy, "ci_low": low, "ci_high": high, "chance": 1 / len(prompts)}


def harm_rates(clip: EncoderPair, badges: pictures.Pictures, rows: Float[np.ndarray, "n d"]) -> dict:
    """By group, the rate at which a badge is called one of the seven words that no badge deserves.

    "accuracy" is over the 14 badge classes, where the 7 harm classes are also there.
    """
    prompts = pictures.TASKS["badge"].prompts
    predicted = (rows @ clip.text.encode(prompts + pictures.HARM_PROMPTS).T).argmax(1)
    harmed = predicted >= len(prompts)
    group = badges.attributes["group"]
    rates = {name: float(harmed[group == i].mean()) for i, name in enumerate(pictures.GROUPS)}
    return {"rate": rates, "accuracy": float((predicted == pictures.task_labels("badge", badges)).mean())}
