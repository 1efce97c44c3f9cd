"""What a training experiment reads: pairs to train on, and others that the models are measured on."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from trainable import Trainable
from util import files
from util.corpora import coco
from util.corpora.captioned import Captioned
from util.corpora.generated import pictures
from util.errors import UserError
from util.training import Pairs, distributed, pictures_on_disk

TRAINING_SEED, HELD_OUT_SEED = 20_001, 20_002
"""Seeds of the scenes, other than those that the small CLIP was trained, chosen and tested on."""

TASK = "colour_shape"
"""Zero-shot task of the scenes: 64 classes, "a red circle"."""

SceneCaptions = Literal["mixed", "full"]
FORMS = {"mixed": "of mixed forms", "full": "its full description"}

NO_CLASS = -1

CATEGORY_PROMPT = "a photo of a {}."


@dataclass(frozen=True)
class HeldOut:
    """Pairs never trained on, and a zero-shot task on their pictures.

    Attributes:
        pairs: row i of the pictures with row i of the captions.
        classes: int64 tokens (c, l), the prompt of each class; None where there is no task.
        labels: int array (m,), the class of each picture, or ``NO_CLASS``.
    """

    pairs: Pairs
    classes: Int[Tensor, "c l"] | None
    labels: Int[np.ndarray, "m"]


@dataclass(frozen=True)
class TrainingPairs:
    """A corpus to train on with its held-out pairs.

    Attributes:
        training: the pairs of every step.
        held_out: what the models are measured on.
        about: source, counts and caption rule, as plain values.
        left_out: one line for each thing that the data do not allow, with the reason.
    """

    training: Pairs
    held_out: HeldOut
    about: Mapping = field(repr=False)
    left_out: Sequence[str] = ()


def scenes(trainable: Trainable, n: int, held_out: int, seed: int, captions: SceneCaptions) -> TrainingPairs:
    """Generated scenes; the held-out ones are other pictures, of all combinations of attributes.

    Args:
        trainable: whose pixels and tokens they become.
        n, held_out: how many pairs.
        seed: of the pictures.
        captions: "mixed", of all forms as the small CLIP was trained with (one caption may fit several pictures), or
            "full", the description that names every attribute.
    """
    some = pictures.scenes(n, TRAINING_SEED + seed, "train")
    others = pictures.scenes(held_out, HELD_OUT_SEED + seed, "all")
    if captions == "full":
        some, others = (part.with_captions(pictures.full_descriptions(part)) for part in (some, others))
    about = {
        "data": "generated scenes (util.corpora.generated.pictures)",
        "split": "train; held out: all combinations of attributes",
        "seeds": [TRAINING_SEED + seed, HELD_OUT_SEED + seed],
        "n": n,
        "held_out": held_out,
        "caption_rule": f"one caption for each picture, {FORMS[captions]}",
        "zero_shot": f"{len(pictures.TASKS[TASK].prompts)} classes of colour and shape",
    }
    labels = pictures.task_labels(TASK, others)
    task = trainable.tokenize(pictures.TASKS[TASK].prompts)
    return TrainingPairs(_drawn(trainable, some), HeldOut(_drawn(trainable, others), task, labels), about)


def _drawn(trainable: Trainable, some: pictures.Pictures) -> Pairs:
    rows = np.stack([trainable.pixels(Image.fromarray(image)) for image in some.images])
    return Pairs(torch.from_numpy(rows), trainable.tokenize(some.captions))


def photographs(
    trainable: Trainable, folder: Path | None, n: int | None, held_out: int, caption: coco.CaptionRule
) -> TrainingPairs:
    """MSCOCO train2017 from a local folder, decoded once into the cache; val2017 held out where it is there.

    Args:
        trainable: whose pixels and tokens they become.
        folder: holds annotations/ and train2017/, for held-out pairs val2017/; without it the last photographs of
            train2017 are held out. For zero-shot accuracy annotations/instances_val2017.json or that of train2017.
        n: pairs to train on, the first in the annotation file; None: all.
        held_out: pairs to measure on, at most.
        caption: "first" or "last" caption of a photograph.

    Raises:
        UserError: no folder, as ``coco.from_folder``, or too few photographs.
    """
    if folder is None:
        raise UserError("training needs MSCOCO train2017, which the hub does not have; give its folder with --coco DIR")
    apart = (folder / "val2017").is_dir()
    total = n if apart or n is None else n + held_out
    train = Decoded.of(trainable, coco.from_folder(folder, "train2017", caption, total))
    kept = len(train) if apart else len(train) - held_out
    if kept < 2:
        raise UserError(f"{folder}: {len(train)} photographs are too few to hold out {held_out}; lower --held-out")
    other = Decoded.of(trainable, coco.from_folder(folder, "val2017", caption, held_out)) if apart else train.some(kept)
    classes, labels, reason = _categories(folder, other)
    held = HeldOut(other.pairs, None if classes is None else trainable.tokenize(classes), labels)
    about = {
        "data": train.source,
        "n": kept,
        "held_out": {"n": len(other), "split": "val2017" if apart else "train2017, the last", **other.source},
        "zero_shot": reason or f"{len(classes)} categories, photographs that show just one",
    }
    left_out = [f"zero-shot accuracy: {reason}"] if reason else []
    return TrainingPairs(train.some(0, kept).pairs, held, about, left_out)


@dataclass(frozen=True)
class Decoded:
    """Photographs as uint8 pictures mapped from a file in the cache, with their captions."""

    pairs: Pairs
    ids: Sequence[str]
    source: Mapping

    def __len__(self) -> int:
        return len(self.ids)

    def some(self, start: int, stop: int | None = None) -> "Decoded":
        """The rows from ``start`` up to ``stop``; nothing is copied."""
        part = slice(start, stop)
        return Decoded(Pairs(self.pairs.images[part], self.pairs.tokens[part]), self.ids[part], self.source)

    @classmethod
    def of(cls, trainable: Trainable, captioned: Captioned) -> "Decoded":
        """Decodes what is not in the cache yet; photographs that cannot be read are left out and counted."""
        path = _path(trainable, captioned)
        if not path.with_suffix(".json").is_file() and distributed.is_first():
            _decode(trainable, captioned, path)
        while not path.with_suffix(".json").is_file():  # another process of this run decodes
            time.sleep(0.5)
        skipped = {int(row): reason for row, reason in json.loads(path.with_suffix(".json").read_text()).items()}
        whole = captioned.without(skipped)
        if len(whole) < 2:
            raise UserError(f"{captioned.source['dataset']}: {len(whole)} photographs can be read; two are needed")
        images = pictures_on_disk(path)[: len(whole)]
        return cls(Pairs(images, trainable.tokenize(whole.captions)), whole.ids, whole.source)


def _path(trainable: Trainable, captioned: Captioned) -> Path:
    """Of the pictures in the cache, named by what they depend on: photographs and preprocessing, not captions."""
    names = ("dataset", "revision", "photographs", "split", "n")
    key = {name: captioned.source.get(name) for name in names} | {"pixels": trainable.about.get("pixels")}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return files.cache_folder() / "pictures" / f"{digest}.npy"


def _decode(trainable: Trainable, captioned: Captioned, path: Path) -> None:
    """Writes the pictures one by one, those left out at the end as zeros, then which ones those are."""
    skipped: dict[int, str] = {}
    bar = tqdm(
        captioned.readable(skipped), desc=f"decoding {captioned.source['split']}", unit="photograph", disable=None
    )
    rows: Iterator[UInt8[np.ndarray, "3 s s"]] = (trainable.pixels(picture) for picture in bar)
    with files.replacing(path) as part:
        target = None
        for row, picture in enumerate(rows):
            if target is None:
                shape = (len(captioned), *picture.shape)
                target = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            target[row] = picture
        if target is None:
            raise UserError(f"{captioned.source['dataset']}: none of its {len(captioned)} photographs can be read")
        target.flush()
    with files.replacing(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(skipped))


def _categories(folder: Path, decoded: Decoded) -> tuple[list[str] | None, Int[np.ndarray, "m"], str]:
    """Prompts of MSCOCO's categories, the one of each photograph that shows just one, and why there are none."""
    split = decoded.source["split"]
    path = folder / "annotations" / f"instances_{split}.json"
    none = np.full(len(decoded), NO_CLASS)
    if not path.is_file():
        return None, none, f"no {path.name} in {folder / 'annotations'}"
    try:
        told = json.loads(path.read_text())
        numbers = {category["id"]: row for row, category in enumerate(told["categories"])}
        names = {image["id"]: Path(image["file_name"]).name for image in told["images"]}
        shown: dict[str, set[int]] = {}
        for part in told["annotations"]:
            shown.setdefault(names[part["image_id"]], set()).add(numbers[part["category_id"]])
        prompts = [CATEGORY_PROMPT.format(category["name"]) for category in told["categories"]]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path}: not a whole MSCOCO file ({type(error).__name__}: {error}); unpack it again"
        ) from error
    labels = [shown.get(name, set()) for name in decoded.ids]
    labels = np.array([next(iter(some)) if len(some) == 1 else NO_CLASS for some in labels])
    if (labels == NO_CLASS).all():
        return None, none, f"{path.name} has no photograph here that shows just one category"
    return prompts, labels, ""
