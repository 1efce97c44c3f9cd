"""Models that training takes, and the pairs that they are trained and measured on."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from util import files
from util.errors import UserError
from util.training import Pairs

SMALL = "small"
"""Name of the project's own small CLIP among open_clip's models."""
BLOCK = 256
"""Pictures or captions embedded at a time."""
TRAINING_SEED, HELD_OUT_SEED = 20_001, 20_002
"""Seeds of the scenes, other than those that the small CLIP was trained, chosen and tested on."""
TASK = "colour_shape"
"""Zero-shot task of the scenes: 64 classes, "a red circle"."""
FORMS = {"mixed": "of mixed forms", "full": "its full description"}


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
    def encode_pictures(self, pictures: UInt8[Tensor, "n 3 s s"]) -> Float[np.ndarray, "n d"]:
        """Unit rows of pictures, float32."""
        return self._encode(pictures, lambda part: self.model.encode_image(self.prepare(part)))

    @torch.inference_mode()
    def encode_tokens(self, tokens: Int[Tensor, "n l"]) -> Float[np.ndarray, "n d"]:
        """Unit rows of tokenized captions, float32."""
        return self._encode(tokens, self.model.encode_text)

    def _encode(self, inputs: Tensor, tower: Callable[[Tensor], Tensor]) -> Float[np.ndarray, "n d"]:
        rows = [functional.normalize(tower(part.to(self.device)), dim=-1).cpu() for part in inputs.split(BLOCK)]
        return torch.cat(rows).float().numpy()


def load(model: str, pretrained: str | None, seed: int | None, device: str | torch.device) -> Trainable:
    """A model to train, in float32: "small" or one of open_clip's; trained weights where ``seed`` is None."""
    if model == SMALL:
        return _small(seed, device)
    if seed is None and pretrained is None:
        raise UserError(f"{model}: fine-tuning needs trained weights; name them with --pretrained")
    return _open_clip(model, pretrained if seed is None else None, seed or 0, torch.device(device))


def _small(seed: int | None, device: str | torch.device) -> Trainable:
    from util.encoders import small_clip

    clip = small_clip.load(device=device) if seed is None else small_clip.random(seed, device)
    weights = f"util/data/{small_clip.CHECKPOINT.name}, sha256 {files.sha256(small_clip.CHECKPOINT)}"
    side = clip.model.visual.image_size[0]
    about = {"model": "small CLIP", "weights": weights if seed is None else f"random, seed {seed}"}
    return Trainable(clip.model, clip.prepare, clip.tokenizer, lambda picture: picture.resize((side, side)), about)


def _open_clip(model: str, pretrained: str | None, seed: int, device: torch.device) -> Trainable:
    """Through ``open_clip_pair``, whose towers only embed: the pixels stay whole numbers until the training step."""
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from torchvision import transforms

    from util.encoders import open_clip_pair

    pair = open_clip_pair.load(model, pretrained, seed, device.type)
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
class TrainingPairs:
    """Pairs to train on and held-out ones to measure on, with a zero-shot task where the data have one.

    Attributes:
        about: source, counts and caption rule, as plain values.
        classes: the tokenized prompt of each class.
        labels: the class of each held-out picture.
    """

    training: Pairs
    held_out: Pairs
    about: Mapping = field(repr=False)
    classes: Int[Tensor, "c l"] | None = None
    labels: Int[np.ndarray, "m"] | None = None


def scenes(trainable: Trainable, n: int, held_out: int, seed: int, captions: Literal["mixed", "full"]) -> TrainingPairs:
    """Generated scenes; the held-out ones are other pictures, of all combinations of attributes.

    "mixed" captions have all forms, as the small CLIP was trained with, so one may fit several pictures. "full" ones
    name every attribute.
    """
    from util.corpora.generated import pictures

    parts = [pictures.scenes(n, TRAINING_SEED + seed, "train"), pictures.scenes(held_out, HELD_OUT_SEED + seed, "all")]
    labels = pictures.task_labels(TASK, parts[1])
    pairs = []
    for part in parts:
        texts = pictures.full_descriptions(part) if captions == "full" else part.captions
        rows = np.stack([trainable.pixels(Image.fromarray(image)) for image in part.images])
        pairs.append(Pairs(torch.from_numpy(rows), trainable.tokenize(texts)))
    prompts = pictures.TASKS[TASK].prompts
    about = {
        "data": "generated scenes (util.corpora.generated.pictures)",
        "split": "train; held out: all combinations of attributes",
        "seeds": [TRAINING_SEED + seed, HELD_OUT_SEED + seed],
        "n": n,
        "held_out": held_out,
        "caption_rule": f"one caption for each picture, {FORMS[captions]}",
        "zero_shot": f"{len(prompts)} classes of colour and shape",
    }
    return TrainingPairs(*pairs, about, trainable.tokenize(prompts), labels)


def photographs(trainable: Trainable, folder: Path, n: int, held_out: int) -> TrainingPairs:
    """The first photographs of MSCOCO train2017 and of val2017, held out, each with its last caption, as released."""
    from util.corpora import coco

    counts = {"val2017": held_out, "train2017": n}
    found = [coco.from_folder(folder, split, "last", count) for split, count in counts.items()]
    (held, held_source), (train, source) = (_decoded(trainable, captioned) for captioned in found)
    return TrainingPairs(train, held, {"data": source, "n": len(train), "held_out": {"n": len(held), **held_source}})


def _decoded(trainable: Trainable, captioned) -> tuple[Pairs, Mapping]:
    """Photographs as pixels in memory, for they are shown many times; those that cannot be read are left out."""
    skipped: dict[int, str] = {}
    shape = (len(captioned), *trainable.pixels(Image.new("RGB", (1, 1))).shape)
    try:
        rows = np.empty(shape, np.uint8)
    except MemoryError:
        what = f"{shape[0]} photographs take {math.prod(shape) / 1e9:,.1f} GB of memory in each process"
        raise UserError(f"{captioned.source['split']}: {what}, more than there is; lower --pairs") from None
    bar = tqdm(captioned.readable(skipped), desc=f"decoding {captioned.source['split']}", disable=None)
    for row, picture in enumerate(map(trainable.pixels, bar)):
        rows[row] = picture
    whole = captioned.without(skipped)
    if len(whole) < 2:
        raise UserError(f"{captioned.source['dataset']}: {len(whole)} photographs can be read; two are needed")
    return Pairs(torch.from_numpy(rows[: len(whole)]), trainable.tokenize(whole.captions)), whole.source
