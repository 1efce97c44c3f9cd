"""How long the steps would take on this machine: what they compute, and how fast this machine is in a few seconds.

Networks are counted in operations of a forward pass, from the configuration that builds them; one of them, CLIP's
ViT-B/32 image tower with random weights, is run for a moment and gives operations a second. Decoding a photograph is
timed beside it. Whatever a step does besides is taken from the committed record of the embedded preset, where it is
the same work. A training step counts as three forward passes. Embeddings that are cached already are counted as if
they were not. It is an estimate: half or twice as long is within it.
"""

import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

from .. import cli
from .paper_steps import Ready

REFERENCE = "ViT-B-32-quickgelu"
BATCH = 32
SECONDS = 2.0
"""How long each of the two is timed."""
PHOTOGRAPH = (640, 480)
"""Pixels of the photograph that is decoded: MSCOCO's usual size."""
BACKWARD = 3
"""A training step in forward passes: the backward pass takes about twice as long."""


@dataclass(frozen=True)
class Speed:
    """What this machine does in a second.

    Attributes:
        device: where the network ran.
        images: images of the reference network.
        decoded: photographs decoded, resized and normalised, by one thread.
    """

    device: str
    images: float
    decoded: float

    @property
    def operations(self) -> float:
        """Operations of a network's forward pass."""
        return self.images * vision(REFERENCE)


@dataclass
class Work:
    """What a step computes.

    Attributes:
        operations: of networks' forward passes.
        pictures: photographs that are read from files.
        unknown: what could not be counted, in words.
    """

    operations: float = 0.0
    pictures: float = 0.0
    unknown: list[str] = field(default_factory=list)


def measure(device: str) -> Speed:
    """Times the reference network with random weights, and the decoding of a photograph; a few seconds.

    Raises:
        UserError: no such device.
    """
    from ..encoders import open_clip_pair

    tower = open_clip_pair.load(REFERENCE, None, device=cli.resolve_device(device)).other
    picture = io.BytesIO()
    noise = torch.rand(3, *(side // 16 for side in PHOTOGRAPH[::-1])).mul(255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(noise).resize(PHOTOGRAPH, Image.Resampling.BICUBIC).save(picture, "JPEG", quality=90)
    pixels = tower.prepare([Image.open(picture)]).repeat(BATCH, 1, 1, 1).to(tower.device)

    def forward() -> None:
        with torch.inference_mode():
            tower.forward(pixels).float().sum().item()  # waits for the device

    images = BATCH * _each_second(forward)
    return Speed(tower.device.type, images, _each_second(lambda: tower.prepare([Image.open(picture)])))


def _each_second(work: Callable[[], None]) -> float:
    work()
    times, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        work()
        times += 1
    return times / (time.perf_counter() - start)


def transformer(layers: int, width: int, tokens: int) -> float:
    """Operations of a transformer's forward pass on one input: a token takes 24 w^2 in a layer, and 4 w for each token.

    A multiplication and an addition are two operations. Norms, activations and the embedding, a few percent, are left
    out.
    """
    return layers * tokens * (24.0 * width**2 + 4.0 * tokens * width)


def vision(model: str) -> float:
    """Operations of an open_clip image tower on one image.

    Raises:
        KeyError: no transformer on patches, or an unknown model.
    """
    part = _config(model)["vision_cfg"]
    tokens = (part["image_size"] // part["patch_size"]) ** 2 + 1
    return transformer(part["layers"], part["width"], tokens)


def text(model: str) -> float:
    """Operations of an open_clip text tower on a text as long as its context: more than a short one takes."""
    part = _config(model)["text_cfg"]
    return transformer(part["layers"], part["width"], part["context_length"])


def _config(model: str) -> Mapping[str, Any]:
    import open_clip

    return open_clip.get_model_config(model.replace("/", "-")) or {}


def residual(name: str = "resnet18") -> float:
    """Operations of a torchvision network on one image, by torchvision's own count of multiply-adds."""
    from torchvision.models import get_model_weights

    return 2e9 * get_model_weights(name)["IMAGENET1K_V1"].meta["_ops"]


def work(ready: Ready, rows: Mapping[str, int | None]) -> Work:
    """What a step computes.

    Args:
        ready: its settings.
        rows: of data sets, by their id, how many rows their split has, where that is known.
    """
    if ready.parsed is None:
        return Work(unknown=["its command line could not be read"])
    if ready.step.name not in WORK:
        return Work()
    try:
        return WORK[ready.step.name](ready.parsed, rows)
    except (KeyError, AttributeError, TypeError) as error:
        return Work(unknown=[f"its networks or settings are others than those that can be counted ({error})"])


def _figure_1(settings: Any, rows: Mapping) -> Work:
    n = settings.images or 500
    each = vision(_name(settings.model)) + text(_name(settings.model))
    return Work(2.0 * n * each, 2.0 * n)


def _cones(settings: Any, rows: Mapping) -> Work:
    """Random encoders on real inputs and on noise; those with trained weights once."""
    each_image, each_text = vision(settings.model) + residual(), text(settings.model)
    images, texts = (
        real + noise for real, noise in zip((settings.images, settings.captions), settings.noise, strict=True)
    )
    once = settings.images * each_image + settings.captions * each_text if hasattr(settings, "pretrained") else 0.0
    return Work(settings.seeds * (images * each_image + texts * each_text) + once, 2.0 * settings.images)


def _figure_3(settings: Any, rows: Mapping) -> Work:
    n = _coco_rows(rows)
    return Work(n * (vision(settings.model) + text(settings.model)), n)


def _training(settings: Any, rows: Mapping) -> Work:
    kinds = [
        (len(set(settings.temperatures)) + settings.learned) * ("temperature" in settings.experiments),
        len(set(settings.initializations)) * ("initialization" in settings.experiments),
    ]
    steps = settings.steps or settings.epochs * (settings.pairs // settings.batch)
    passes = BACKWARD * steps * settings.batch + (settings.evaluations + 1) * settings.held_out
    each = vision(settings.model) + text(settings.model)
    return Work(settings.seeds * sum(kinds) * passes * each, settings.pairs + settings.held_out)


def _table_1(settings: Any, rows: Mapping) -> Work:
    """Every data set's images once, and MSCOCO's captions; prompts are few."""
    from ..corpora import coco, tasks

    name, known, found = _name(settings.model), tasks.read(settings.tasks_file), Work()
    for key in settings.tasks or known:
        n = settings.n or known[key].items or rows.get(known[key].dataset)
        if n is None:
            found.unknown.append(f"{key}: its rows are not known")
        else:
            found.pictures += n
    n = _coco_rows(rows)
    if coco.HUB_DATASET not in {known[key].dataset for key in settings.tasks or known}:
        found.pictures += n
    found.operations = found.pictures * vision(name) + 5 * n * text(name)
    return found


def _table_2(settings: Any, rows: Mapping) -> Work:
    from audited_data import PAPER_FACES

    name, n = _name(settings.model), _coco_rows(rows)
    images = n + (settings.faces or PAPER_FACES)
    return Work(images * vision(name) + n * text(name), images)


def _coco_rows(rows: Mapping[str, int | None]) -> int:
    """Of MSCOCO val2017, where it was resolved, else as many as the paper took."""
    from .. import published
    from ..corpora import coco

    return rows.get(coco.HUB_DATASET) or published.values()["figure_2c"]["n_inputs"]


def _name(model: str) -> str:
    return model.removeprefix("open_clip:").partition(":")[0]


WORK: dict[str, Callable[[Any, Mapping], Work]] = {
    "modality_gap": _figure_1,
    "cosine_similarity": _cones,
    "initializations": _cones,
    "loss_landscape": _figure_3,
    "training": _training,
    "zero_shot": _table_1,
    "denigration": _table_2,
}
"""By the step's name; the others run no network."""


def seconds(found: Work, speed: Speed, ready: Ready) -> float:
    """Networks, photographs, and the rest as the committed record of the embedded preset has it."""
    return found.operations / speed.operations + found.pictures / speed.decoded + rest(ready)


def rest(ready: Ready) -> float:
    """Seconds of the committed record of a step; 0 where there is none, and for training, which is all networks."""
    if ready.step.name == "training":
        return 0.0
    try:
        kept = json.loads((ready.step.script.parent / "results" / f"{ready.step.name}.json").read_text())
        return float(kept["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def in_words(amount: float) -> str:
    """Seconds, minutes, hours or days, with as many digits as an estimate has."""
    for size, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if amount >= size:
            return f"{amount / size:.1f} {unit}"
    return f"{amount:.0f} seconds"
