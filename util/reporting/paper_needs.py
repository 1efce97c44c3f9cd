"""Downloads of each step of the paper: data sets, models, files and folders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from .. import published
from ..files import CACHE_VARIABLE
from .paper_steps import Ready

HUB_CACHE = "the Hugging Face cache (HF_HOME)"
COCO_MEGABYTES, MODEL_MEGABYTES, RESNET_MEGABYTES, PUBLISHED_MEGABYTES = 800, 600, 45, 11 / 8
"""Sizes of MSCOCO val2017, a CLIP checkpoint, ResNet-18 and a published file, for when nobody can be asked."""
FAIRFACE = ("HuggingFaceM4/FairFace", "54d573cdb8b5af490ba8da9da2799628f6e5c496", ("image", "race", "gender", "age"))
"""Data set of Table 2 with its revision and the columns that are read; ``faces.py`` beside the script loads it."""
FACES_MEGABYTES = {"0.25": 63, "1.25": 237}
WEIGHTS = (("open_clip_model.safetensors",), ("open_clip_pytorch_model.bin",), ("*.safetensors",), ("*.bin",))


@dataclass(frozen=True)
class Need:
    """One thing that steps download or read.

    Attributes:
        kind: a data set or a model on the Hugging Face hub, a file by its address, or a local folder.
        id: repository, address or path.
        revision: commit of the repository; None: whatever is there.
        choices: alternatives, the preferred first, each the files that are read (shell patterns).
        columns: columns that are read.
        megabytes: size of its files, for when nobody can be asked.
        place: where to put a local copy.
        steps: which steps use it.
    """

    kind: Literal["dataset", "model", "file", "folder"]
    id: str
    revision: str | None = None
    choices: tuple[tuple[str, ...], ...] = (("*",),)
    columns: tuple[str, ...] = ()
    megabytes: float | None = None
    place: str = HUB_CACHE
    steps: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.id.rpartition("/")[2] if self.kind == "file" else self.id


def needs(ready: Sequence[Ready]) -> list[Need]:
    """Everything that some steps need, each once; a step whose command line was refused needs nothing."""
    found: dict[tuple, Need] = {}
    for each in ready:
        for need in _of(each.step.name, each.parsed) if each.parsed else ():
            key = (need.kind, need.id, need.choices)
            steps = found[key].steps if key in found else ()
            found[key] = replace(need, steps=tuple(dict.fromkeys((*steps, each.step.name))))
    return list(found.values())


def _of(name: str, settings: Any) -> Iterator[Need]:
    """Needs of one step: MSCOCO where it takes photographs, its model where it has one, and its own."""
    if name not in OWN or (name != "modality_gap" and getattr(settings, "embeddings", None)):
        return
    yield from _coco(settings.coco, ("train2017", "val2017") if name == "training" else ("val2017",))
    if name != "initializations":
        yield from _model(settings.model, getattr(settings, "pretrained", None))
    yield from OWN[name](settings)


def _coco(folder: Path | None, splits: Sequence[str]) -> Iterator[Need]:
    """MSCOCO with its captions, a local folder or, of val2017 alone, the hub's."""
    from ..corpora import coco

    if folder is None and "train2017" not in splits:
        files = ((f"data/{coco.HUB_SPLITS['val2017']}-*.parquet",),)
        place = f"{HUB_CACHE}, or COCO=DIR with annotations/captions_val2017.json and val2017/"
        yield Need("dataset", coco.HUB_DATASET, coco.HUB_REVISION, files, coco.HUB_COLUMNS, COCO_MEGABYTES, place)
        return
    inside = tuple(part for split in splits for part in (f"annotations/captions_{split}.json", f"{split}/*.jpg"))
    place = "COCO=DIR, unpacked from https://cocodataset.org/#download"
    yield Need("folder", str(folder or "MSCOCO train2017"), choices=(inside,), place=place)


def _model(name: str, tag: str | None) -> Iterator[Need]:
    """Trained weights by open_clip's name and tag, "MODEL:TAG", "hf-hub:ID" or "huggingface:ID"."""
    import open_clip

    name = name.removeprefix("open_clip:")
    for prefix in ("hf-hub:", "huggingface:"):
        if name.startswith(prefix) and not Path(name.removeprefix(prefix)).exists():
            yield Need("model", name.removeprefix(prefix), choices=WEIGHTS)
            return
    if tag is None:
        name, _, tag = name.rpartition(":")
    config = open_clip.get_pretrained_cfg(name.replace("/", "-"), tag) or {}
    place = f"{HUB_CACHE}, or a checkpoint file for the tag"
    if config.get("hf_hub"):
        yield Need("model", config["hf_hub"].rstrip("/"), None, WEIGHTS, megabytes=MODEL_MEGABYTES, place=place)
    elif config.get("url"):
        yield Need("file", config["url"], megabytes=MODEL_MEGABYTES, place=place)


def _published(settings: Any) -> Iterator[Need]:
    place = f"the folder that {CACHE_VARIABLE} names"
    for name in published.files():
        yield Need("file", published.address(name), megabytes=PUBLISHED_MEGABYTES, place=place)


def _resnet(settings: Any) -> Iterator[Need]:
    from torchvision.models import ResNet18_Weights

    place = "torch's cache (TORCH_HOME)/hub/checkpoints"
    yield Need("file", ResNet18_Weights.IMAGENET1K_V1.url, megabytes=RESNET_MEGABYTES, place=place)
    for model in settings.models:
        yield from _model(model, None)


def _tasks(settings: Any) -> Iterator[Need]:
    """Data sets of Table 1: the hub's, or local folders of the tasks' names."""
    from ..corpora import coco, tasks

    for task in tasks.read(settings.tasks_file).values():
        if (settings.tasks and task.key not in settings.tasks) or task.dataset == coco.HUB_DATASET:
            continue
        if (folder := tasks.folder_of(task, settings.data)) is not None:
            yield Need("folder", str(folder))
            continue
        names = ["all"] if task.split_column else task.split.split("+")
        files = tuple(task.files[name] for name in names if name in task.files) or ("*.parquet",)
        columns = (
            (task.caption_column, task.id_column, task.split_column) if task.is_retrieval else (task.label_column,)
        )
        columns = tuple(column for column in (task.image_column, *columns) if column)
        place = f'{HUB_CACHE}, or parquet files in {task.key}/ of --extra "zero_shot --data DIR"'
        yield Need("dataset", task.dataset, task.commit, (files,), columns, task.megabytes, place)


def _faces(settings: Any) -> Iterator[Need]:
    if settings.data is not None:
        yield Need("folder", str(settings.data))
        return
    dataset, revision, columns = FAIRFACE
    files = ((f"{settings.padding}/validation-*.parquet",),)
    place = f'{HUB_CACHE}, or --extra "denigration --data DIR"'
    yield Need("dataset", dataset, revision, files, columns, FACES_MEGABYTES[settings.padding], place)


def _nothing(settings: Any) -> Iterator[Need]:
    yield from ()


OWN = {
    "modality_gap": _published,
    "cosine_similarity": _resnet,
    "initializations": _nothing,
    "loss_landscape": _nothing,
    "training": _nothing,
    "zero_shot": _tasks,
    "denigration": _faces,
}
"""Needs of a step beside MSCOCO and its model; other steps need nothing."""
