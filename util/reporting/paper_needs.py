"""What each step of the paper downloads or reads: data sets, models, files and folders."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from .. import published
from ..files import CACHE_VARIABLE
from .paper_steps import Ready

HUB_CACHE = "the Hugging Face cache (HF_HOME)"
MODEL_MEGABYTES, RESNET_MEGABYTES, PUBLISHED_MEGABYTES = 600, 45, 11 / 8
"""Size of one CLIP checkpoint, of torchvision's ResNet-18 and of one published file, for when nobody can be asked."""
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
        for need in NEEDS[each.step.name](each.parsed) if each.parsed and each.step.name in NEEDS else ():
            key = (need.kind, need.id, need.choices)
            steps = found[key].steps if key in found else ()
            found[key] = replace(need, steps=(*steps, each.step.name) if each.step.name not in steps else steps)
    return list(found.values())


def _captions(settings: Any) -> Iterator[Need]:
    """MSCOCO val2017 with its captions: the hub's, or a local folder."""
    from ..corpora import coco

    if settings.coco is not None:
        yield Need("folder", str(settings.coco), choices=(("annotations/captions_val2017.json", "val2017/*.jpg"),))
        return
    files = ((f"data/{coco.HUB_SPLITS['val2017']}-*.parquet",),)
    place = f"{HUB_CACHE}, or COCO=DIR with annotations/captions_val2017.json and val2017/"
    yield Need("dataset", coco.HUB_DATASET, coco.HUB_REVISION, files, coco.HUB_COLUMNS, 800, place)


def _model(name: str, tag: str | None = None) -> Iterator[Need]:
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


def _figure_1(settings: Any) -> Iterator[Need]:
    place = f"the folder that {CACHE_VARIABLE} names"
    for name in published.files():
        yield Need("file", published.address(name), megabytes=PUBLISHED_MEGABYTES, place=place)
    yield from _captions(settings)
    yield from _model(settings.model)


def _figure_2a(settings: Any) -> Iterator[Need]:
    from torchvision.models import ResNet18_Weights

    yield from _captions(settings)
    yield from _model(settings.model, settings.pretrained)
    place = "torch's cache (TORCH_HOME)/hub/checkpoints"
    yield Need("file", ResNet18_Weights.IMAGENET1K_V1.url, megabytes=RESNET_MEGABYTES, place=place)
    for model in settings.models:
        yield from _model(model)


def _figure_3(settings: Any) -> Iterator[Need]:
    if not settings.embeddings:
        yield from _captions(settings)
        yield from _model(settings.model, settings.pretrained)


def _training(settings: Any) -> Iterator[Need]:
    """MSCOCO train2017, which only a local folder has."""
    splits = ("train2017", "val2017")
    inside = tuple(part for split in splits for part in (f"annotations/captions_{split}.json", f"{split}/*.jpg"))
    place = "COCO=DIR, unpacked from https://cocodataset.org/#download"
    yield Need("folder", str(settings.coco or "MSCOCO train2017"), choices=(inside,), place=place)
    yield from _model(settings.model, settings.pretrained)


def _table_1(settings: Any) -> Iterator[Need]:
    from ..corpora import coco, tasks

    if settings.embeddings:
        return
    yield from _captions(settings)
    yield from _model(settings.model)
    for task in tasks.read(settings.tasks_file).values():
        if (settings.tasks and task.key not in settings.tasks) or task.dataset == coco.HUB_DATASET:
            continue
        if (folder := tasks.folder_of(task, settings.data)) is not None:
            yield Need("folder", str(folder))
            continue
        names = ["all"] if task.split_column else task.split.split("+")
        files = tuple(task.files[name] for name in names if name in task.files) or ("*.parquet",)
        read = (task.image_column, task.label_column) if not task.is_retrieval else (
            task.image_column, task.caption_column, task.id_column, task.split_column,
        )  # fmt: skip
        columns = tuple(column for column in read if column)
        place = f'{HUB_CACHE}, or parquet files in {task.key}/ of --extra "zero_shot --data DIR"'
        yield Need("dataset", task.dataset, task.commit, (files,), columns, task.megabytes, place)


def _table_2(settings: Any) -> Iterator[Need]:
    if settings.embeddings is not None:
        return
    yield from _captions(settings)
    yield from _model(settings.model)
    if settings.data is not None:
        yield Need("folder", str(settings.data))
        return
    dataset, revision, columns = FAIRFACE
    files = ((f"{settings.padding}/validation-*.parquet",),)
    place = f'{HUB_CACHE}, or --extra "denigration --data DIR"'
    yield Need("dataset", dataset, revision, files, columns, FACES_MEGABYTES[settings.padding], place)


NEEDS: dict[str, Callable[[Any], Iterator[Need]]] = {
    "modality_gap": _figure_1,
    "cosine_similarity": _figure_2a,
    "initializations": _captions,
    "loss_landscape": _figure_3,
    "training": _training,
    "zero_shot": _table_1,
    "denigration": _table_2,
}
"""By the step's name; the others need nothing."""
