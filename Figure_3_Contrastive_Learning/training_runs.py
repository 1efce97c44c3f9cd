"""The training runs behind section 4: models, pairs, and one run from first weights to loss landscape, measured.

A finished run's numbers are cached under a key of everything they depend on, and taken up by the next run of the same
key. A run that was stopped starts anew, with the same numbers.
"""

import hashlib
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from landscapes import temperature_label
from util import UserError, contrastive, files, geometry, records
from util.corpora.captioned import Readable, from_coco
from util.encoders.named import SMALL_CLIP, Named
from util.encoders.small_clip import SHIFTS
from util.training import Pairs, TrainingSettings, train
from util.zero_shot import shifted

TRAINING_SEED, HELD_OUT_SEED = 20_001, 20_002
"""Seeds of the scenes, other than those that the small CLIP was trained, chosen and tested on."""
PHOTOGRAPHS_TASK = "cifar10"
"""Zero-shot task of models of photographs, as in the released code; a key of ``util/data/tasks.toml``."""
DIGITS = 300
"""Handwritten digits that models of generated scenes classify: of scans that the small CLIP has not seen."""
FORMS = {"mixed": "of mixed forms", "full": "its full description"}
BLOCK = 256
"""Pictures or captions embedded at a time."""
PICTURES = 64
"""Most pictures whose content tells one corpus from another of the same captions."""


@dataclass(frozen=True)
class Trainable:
    """An open_clip model whose weights may change, with its way to read pictures and captions.

    Attributes:
        model: has ``encode_image``, ``encode_text`` and ``logit_scale``; in evaluation mode, gradients allowed.
        prepare: uint8 pictures (b, 3, s, s) to the image tower's input, on the device they are on.
        tokenize: captions to int64 tokens (b, l).
        cut: an RGB picture of any size to one of (s, s) pixels, as ``prepare`` takes them.
        about: model, weights and pixels, as plain values.
    """

    model: torch.nn.Module
    prepare: Callable[[Tensor], Tensor]
    tokenize: Callable[[Sequence[str]], Tensor]
    cut: Callable[[Image.Image], Image.Image]
    about: Mapping[str, Any] = field(repr=False)

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return next(self.model.parameters()).device

    def pixels(self, picture: Image.Image) -> UInt8[np.ndarray, "3 s s"]:
        """A picture of any size, resized and cropped as the model's own preprocessing does, channels first."""
        return np.asarray(self.cut(picture).convert("RGB"), np.uint8).transpose(2, 0, 1)

    @torch.inference_mode()
    def encode(self, inputs: UInt8[Tensor, "n 3 s s"] | Int[Tensor, "n l"]) -> Float[np.ndarray, "n d"]:
        """Unit rows of pictures or of tokenized captions, float32."""
        seen = lambda part: self.model.encode_image(self.prepare(part))  # noqa: E731
        tower = seen if inputs.dtype == torch.uint8 else self.model.encode_text
        rows = [functional.normalize(tower(part.to(self.device)), dim=-1).cpu() for part in inputs.split(BLOCK)]
        return torch.cat(rows).float().numpy()


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """A hash of tensors' names, dtypes, shapes and contents."""
    return hashlib.sha256(save({name: value.contiguous() for name, value in tensors.items()})).hexdigest()


def data_digest(pairs: Pairs) -> str:
    """A hash of all captions and of some pictures, evenly spaced."""
    return digest_of({"images": pairs.images[:: len(pairs) // PICTURES + 1], "tokens": pairs.tokens})


def load(model: str, seed: int | None, device: str | torch.device) -> Trainable:
    """A model to train, in float32: the small CLIP or one of open_clip's; trained weights where ``seed`` is None."""
    named = Named.parse(model)
    if named.kind == "open_clip":
        return _open_clip(named, seed, torch.device(device))
    if named.kind != SMALL_CLIP:
        raise UserError(f"unknown to training: {model}; it takes {SMALL_CLIP} and models of open_clip alone")
    from util.encoders import small_clip

    clip = small_clip.load(device=device) if seed is None else small_clip.random(seed, device)
    weights = f"util/data/{small_clip.CHECKPOINT.name}, sha256 {files.sha256(small_clip.CHECKPOINT)}"
    size = clip.model.visual.image_size
    about = {"model": "small CLIP", "weights": weights if seed is None else f"random, seed {seed}"}
    return Trainable(clip.model, small_clip.prepare, clip.text.prepare, lambda picture: picture.resize(size), about)


def _open_clip(named: Named, seed: int | None, device: torch.device) -> Trainable:
    """Through ``encoders.models``, whose towers only embed: the pixels stay whole numbers until the training step."""
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from torchvision import transforms

    pair = named.pair(seed, device.type)
    network = pair.model.requires_grad_(True).to(device)
    config = PreprocessCfg(**network.visual.preprocess_cfg)
    steps = image_transform_v2(config, is_train=False).transforms
    geometry = [step for step in steps if isinstance(step, transforms.Resize | transforms.CenterCrop)]
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (config.mean, config.std))
    return Trainable(
        model=network,
        prepare=lambda pictures: (pictures.float() / 255 - mean) / std,
        tokenize=pair.text.prepare,
        cut=transforms.Compose(geometry),
        about={**pair.settings, "weights": pair.name},
    )


@dataclass(frozen=True)
class Classification:
    """Pictures of other data than a model is trained on, one tokenized prompt a class, and each picture's class."""

    pictures: UInt8[Tensor, "n 3 s s"]
    prompts: Int[Tensor, "c l"]
    labels: Int[np.ndarray, "n"]


@dataclass(frozen=True)
class TrainingPairs:
    """Pairs to train on and held-out ones to measure on, with a zero-shot task where there is one.

    ``about``: source, counts and caption rule, as plain values.
    """

    training: Pairs
    held_out: Pairs
    about: Mapping = field(repr=False)
    task: Classification | None = None


def scenes(trainable: Trainable, n: int, held_out: int, seed: int, captions: Literal["mixed", "full"]) -> TrainingPairs:
    """Generated scenes; the held-out ones are other pictures, of all combinations of attributes.

    "mixed" captions have all forms, as the small CLIP was trained with, so one may fit several pictures. "full" ones
    name every attribute.
    """
    from util.corpora.generated import pictures

    parts = [pictures.scenes(n, TRAINING_SEED + seed, "train"), pictures.scenes(held_out, HELD_OUT_SEED + seed, "all")]
    digits, pairs = pictures.digits("held_out", DIGITS, HELD_OUT_SEED + seed), []
    for part in parts:
        rows = zip(*(part.attributes[name] for name in pictures.SCENE_ATTRIBUTES), strict=True)
        texts = [*map(pictures.describe, rows)] if captions == "full" else part.captions
        pairs.append(Pairs(_drawn(trainable, part.images), trainable.tokenize(texts)))
    prompts, labels = pictures.TASKS["digit"].prompts, pictures.task_labels("digit", digits)
    task = Classification(_drawn(trainable, digits.images), trainable.tokenize(prompts), labels)
    about = {
        "data": "generated scenes (util.corpora.generated.pictures)",
        "split": "train; held out: all combinations of attributes",
        "seeds": [TRAINING_SEED + seed, HELD_OUT_SEED + seed],
        "n": n,
        "held_out": held_out,
        "caption_rule": f"one caption for each picture, {FORMS[captions]}",
        "zero_shot": {"data": "generated handwritten digits", "n": DIGITS, "classes": len(prompts)},
    }
    return TrainingPairs(*pairs, about, task)


def _drawn(trainable: Trainable, images: UInt8[np.ndarray, "n h w 3"]) -> UInt8[Tensor, "n 3 s s"]:
    return torch.from_numpy(np.stack([trainable.pixels(Image.fromarray(image)) for image in images]))


def photographs(trainable: Trainable, folder: Path, n: int, held_out: int) -> TrainingPairs:
    """The first photographs of MSCOCO train2017 and of val2017, held out, each with its last caption, as released."""
    counts = {"val2017": held_out, "train2017": n}
    found = [from_coco(folder, split, "last", count) for split, count in counts.items()]
    (held, held_source), (train, source) = (_decoded(trainable, captioned) for captioned in found)
    return TrainingPairs(train, held, {"data": source, "n": len(train), "held_out": {"n": len(held), **held_source}})


def with_task(corpus: TrainingPairs, trainable: Trainable, data: Path | None) -> TrainingPairs:
    """The same with CIFAR-10's test split to classify: from the folder ``cifar10`` of ``data``, else from the hub."""
    from util.corpora import tasks

    task = tasks.read()[PHOTOGRAPHS_TASK]
    found = tasks.load(task, tasks.folder_of(task, data))
    rows = np.stack([trainable.pixels(opener()) for opener in tqdm(found.openers, desc=task.title, disable=None)])
    prompts = trainable.tokenize([prompt for (prompt,) in task.texts()])
    about = {**corpus.about, "zero_shot": dict(found.source)}
    return replace(corpus, about=about, task=Classification(torch.from_numpy(rows), prompts, found.labels))


def _decoded(trainable: Trainable, captioned) -> tuple[Pairs, Mapping]:
    """Photographs as pixels in memory, for they are shown many times; those that cannot be read are left out."""
    skipped: dict[int, str] = {}
    rows = np.empty((len(captioned), *trainable.pixels(Image.new("RGB", (1, 1))).shape), np.uint8)
    bar = tqdm(Readable(captioned.openers, skipped), desc=f"decoding {captioned.source['split']}", disable=None)
    for row, picture in enumerate(map(trainable.pixels, bar)):
        rows[row] = picture
    whole = captioned.without(skipped)
    if len(whole) < 2:
        raise UserError(f"{captioned.source['dataset']}: {len(whole)} photographs can be read; two are needed")
    return Pairs(torch.from_numpy(rows[: len(whole)]), trainable.tokenize(whole.captions)), whole.source


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
