"""The project's own small CLIP: open_clip's CLIP class, 32-pixel pictures, a vocabulary of a few dozen words.

``load()`` gives the shipped, trained pair of towers, ``random(seed)`` its twin with weights as open_clip draws them.
``train_small_clip`` makes the shipped one again, from seeds alone. The model card is ``util/data/README.md``.
"""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from .. import UserError, files, records
from ..cli import Device
from ..contrastive import contrastive_loss, sweep
from ..corpora.generated import pictures
from ..geometry import gap_distance, signed_gap_distances
from ..numerics.statistics import wilson_interval
from ..training import Pairs, TrainingSettings, train
from .models import text_fields
from .named import Named
from .tower import EncoderPair, Precision, computing, drawn

CONFIG, CHECKPOINT, RECORD = (
    files.PACKAGE / "data" / name for name in ("small_clip.json", "small_clip.safetensors", "small_clip_record.json")
)
NAME = "small CLIP"
PAD, START, FIRST_WORD = 0, 1, 2
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


class Tokenizer:
    """Whole words to numbers: 0 pads, 1 starts, then the words in order, and the largest number ends a caption.

    open_clip pools a text at the position of its largest token, hence the place of the end token. ``words`` are lower
    case, without repetition. ``context_length`` is that of a caption in tokens, start and end included.
    """

    def __init__(self, words: Sequence[str], context_length: int):
        self.words = tuple(words)
        self.context_length = context_length
        self.end = FIRST_WORD + len(self.words)
        self._number = {word: FIRST_WORD + i for i, word in enumerate(self.words)}

    def __call__(self, captions: Iterable[str]) -> Int[Tensor, "n length"]:
        """Captions as int64 tokens (n, length); words are split at white space and compared in lower case."""
        return torch.tensor([self._row(caption) for caption in captions], dtype=torch.int64)

    def _row(self, caption: str) -> list[int]:
        words = caption.lower().split()
        if unknown := [word for word in words if word not in self._number]:
            which = f"the word {unknown[0]!r} of {caption!r}"
            raise UserError(f"the small CLIP does not know {which}; it knows {', '.join(self.words)}")
        if len(words) > self.context_length - 2:
            raise UserError(f"a caption may have {self.context_length - 2} words; {caption!r} has {len(words)}")
        row = [START, *(self._number[word] for word in words), self.end]
        return row + [PAD] * (self.context_length - len(row))


def build(named: Named, seed: int | None, device: Device, precision: Precision) -> EncoderPair:
    """The pair of its name, always in float32."""
    target, _ = computing(device)
    return load(device=target) if seed is None else random(seed, target)


def channels_first(images: UInt8[np.ndarray, "n s s 3"]) -> UInt8[Tensor, "n 3 s s"]:
    """Pictures as torch has them, copied once into memory of that order."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def config() -> dict:
    """Architecture ("model", as open_clip's configuration files), "pixels" (mean, std) and "words"."""
    return json.loads(CONFIG.read_text(encoding="utf-8"))


def prepare(pixels: UInt8[Tensor, "n 3 s s"]) -> Float[Tensor, "n 3 s s"]:
    """uint8 pictures with channels first as the model wants them: float32, centred and scaled."""
    about = config()["pixels"]
    return (pixels.float() / 255 - about["mean"]) / about["std"]


def random(seed: int, device: str | torch.device = "cpu") -> EncoderPair:
    """The untrained twin: weights drawn by open_clip from ``seed``; torch's global generator stays as it was."""
    return _pair(_model(seed), seed, device)


def load(checkpoint: str | Path = CHECKPOINT, device: str | torch.device = "cpu") -> EncoderPair:
    """The trained small CLIP, from a safetensors file of its weights; by default the shipped one."""
    model = _model(seed=0)
    try:
        model.load_state_dict(load_file(checkpoint))
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {checkpoint}; `python -m util train-small-clip` makes it") from None
    except (SafetensorError, RuntimeError) as error:
        line = str(error).splitlines()[0]
        raise UserError(f"{checkpoint} does not hold the small CLIP's weights in safetensors: {line}") from None
    return _pair(model, None, device)


def _model(seed: int) -> nn.Module:
    from open_clip.model import CLIP

    return drawn(lambda: CLIP(**config()["model"]).eval(), seed)


def _pair(model: nn.Module, seed: int | None, device: str | torch.device) -> EncoderPair:
    """Its towers; pictures are uint8 arrays (32, 32, 3) or PIL pictures of that size in RGB."""
    import open_clip

    about, side = config(), model.visual.image_size[0]
    settings = {
        "encoder": f"open_clip {open_clip.__version__}",
        "model": NAME,
        "pretrained": NAME if seed is None else None,
        "configuration": files.digest(about),
        "weights_sha256": hashlib.sha256(save(model.state_dict())).hexdigest(),
        "seed": seed,
        "dim": about["model"]["embed_dim"],
    }

    def pixels(images: list) -> Tensor:
        arrays = [np.asarray(image) for image in images]
        if any((array.shape, array.dtype) != ((side, side, 3), np.uint8) for array in arrays):
            raise UserError(f"the small CLIP takes pictures of {side}x{side} pixels only, RGB in uint8; choose another")
        return prepare(channels_first(np.stack(arrays)))

    network = model.to(device)
    image = {"modality": "image", "prepare": pixels, "forward": network.encode_image}
    tokenizer = Tokenizer(about["words"], about["model"]["text_cfg"]["context_length"])
    return EncoderPair.of(network, settings, image, text_fields(network, tokenizer))


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
        clip = random(seed)
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

        log = train(clip.model, pairs, settings.training, prepare, validate=validate)
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
        save_file(best["weights"], folder / CHECKPOINT.name)
        (folder / RECORD.name).write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
        shutil.copyfile(CONFIG, folder / CONFIG.name)
    return record


def evaluate(clip: EncoderPair, seed: int = pictures.TEST_SEED) -> dict:
    """All figures of a small CLIP, json-able, on pictures and scans that it was never trained on.

    Scenes are of held-out combinations, digits of held-out scans, badges in equal numbers. ``seed`` is the pictures'.
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
