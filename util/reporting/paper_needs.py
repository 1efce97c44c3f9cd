"""What the steps download or need beside themselves, read from the modules that load it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UserError
from ..files import CACHE_VARIABLE
from .paper_steps import Ready

if TYPE_CHECKING:
    from ..corpora.tasks import Task

Kind = Literal["dataset", "model", "file", "folder"]
HUB_CACHE = "the Hugging Face cache (HF_HOME)"
COCO_LICENCE = "captions CC BY 4.0; photographs under the terms of Flickr"
FACES_SIZES = {"0.25": 63_000_000, "1.25": 237_000_000}
"""Bytes of FairFace's validation split, by padding."""
MODEL_SIZES = dict.fromkeys(
    ("timm/vit_base_patch32_clip_224.openai", "timm/vit_base_patch16_clip_224.openai"), 600_000_000
)
"""Bytes of the paper's models, about, by their repository."""


@dataclass(frozen=True)
class Resource:
    """One thing to be had.

    Attributes:
        kind: a data set or a model on the Hugging Face hub, a file by its address, or a local folder.
        id: repository, address or path.
        revision: commit of the repository; None: whatever is there.
        choices: for each of one or more alternatives, the preferred first, the names of the files that are fetched
            (shell patterns); a folder's: what it must hold.
        columns: columns that are read.
        split: of a data set, for the number of its rows.
        licence: where it is known.
        place: where to put a local copy.
        size: bytes of its files as declared here, for when nobody can be asked.
        problem: why it cannot be used, where that is known without asking; else "".
        steps: which steps use it.
    """

    kind: Kind
    id: str
    revision: str | None = None
    choices: tuple[tuple[str, ...], ...] = ((),)
    columns: tuple[str, ...] = ()
    split: str = ""
    licence: str = ""
    place: str = ""
    size: int | None = None
    problem: str = ""
    steps: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its id, of an address the last part."""
        return self.id.rsplit("/", 1)[-1] if self.kind == "file" else self.id


def declared(ready: Sequence[Ready]) -> list[Resource]:
    """Every resource of some steps, each once, with the steps that use it.

    A step whose command line could not be read declares nothing.

    Raises:
        UserError: a file that declares some of them is damaged.
    """
    found: dict[tuple, Resource] = {}
    for each in ready:
        for resource in NEEDS.get(each.step.name, _nothing)(each.parsed) if each.parsed is not None else ():
            key = (resource.kind, resource.id, resource.revision, resource.choices)
            steps = found[key].steps if key in found else ()
            found[key] = replace(resource, steps=tuple(dict.fromkeys((*steps, each.step.name))))
    return list(found.values())


def coco_val(folder: Path | None) -> Resource:
    """MSCOCO val2017 with its captions: the hub's, or a local folder."""
    from ..corpora import coco, tasks

    if folder is not None:
        inside = ("annotations/captions_val2017.json", "val2017/*.jpg")
        return Resource("folder", str(folder), choices=(inside,), split="val2017", licence=COCO_LICENCE)
    split = coco.HUB_SPLITS["val2017"]
    sizes = [megabytes(task) for task in tasks.read().values() if task.dataset == coco.HUB_DATASET]
    place = f"{HUB_CACHE}, or COCO=DIR with annotations/captions_val2017.json and val2017/"
    return Resource(
        "dataset", coco.HUB_DATASET, coco.HUB_REVISION, ((f"data/{split}-*.parquet",),), coco.HUB_COLUMNS, split,
        COCO_LICENCE, place, sizes[0],
    )  # fmt: skip


def megabytes(task: "Task") -> int | None:
    """Bytes of a task's files as it declares them."""
    return 1_000_000 * task.megabytes if task.megabytes else None


def coco_train(folder: Path | None) -> Resource:
    """MSCOCO train2017, which only a local folder has."""
    splits = ("train2017", "val2017")
    inside = tuple(part for split in splits for part in (f"annotations/captions_{split}.json", f"{split}/*.jpg"))
    place = "COCO=DIR, unpacked from https://cocodataset.org/#download"
    return Resource(
        "folder", str(folder or "MSCOCO train2017"), choices=(inside,), split="train2017", licence=COCO_LICENCE,
        place=place,
    )  # fmt: skip


def open_clip_model(model: str, tag: str | None) -> Iterator[Resource]:
    """Trained weights by open_clip's name; nothing for a checkpoint file or random weights."""
    import open_clip

    from ..encoders.open_clip_origin import CONFIGURATION, FOLDER, HUB, WEIGHTS, check, is_elsewhere

    if tag is None:
        return
    try:
        check(model if is_elsewhere(model) else model.replace("/", "-"), tag)
    except UserError as error:
        yield Resource("model", f"{model}:{tag}", problem=str(error))
        return
    if model.startswith(HUB):
        choices = tuple((CONFIGURATION, "*token*", "vocab*", weights) for weights in WEIGHTS)
        yield Resource(
            "model", model.removeprefix(HUB), None, choices, place=f"{HUB_CACHE}, or --extra with local-dir:"
        )
        return
    if model.startswith(FOLDER) or Path(tag).is_file():
        return
    config = open_clip.get_pretrained_cfg(model.replace("/", "-"), tag) or {}
    if "hf_hub" in config:
        place, (repository, file) = f"{HUB_CACHE}, or a checkpoint file for the tag", config["hf_hub"].rsplit("/", 1)
        choices = ((file,),) if file else tuple((weights,) for weights in WEIGHTS)
        yield Resource("model", repository, None, choices, place=place, size=MODEL_SIZES.get(repository))
    elif "url" in config:
        yield Resource("file", config["url"], place="a checkpoint file for the tag")


def _named(text: str) -> Iterator[Resource]:
    """ "MODEL:TAG" of open_clip, or "huggingface:NAME"."""
    from ..encoders.named import Named

    kind = text.partition(":")[0]
    named = Named.parse(text if kind in ("huggingface", "python", "torchvision", "open_clip") else f"open_clip:{text}")
    if named.kind == "open_clip":
        yield from open_clip_model(named.name, named.tag)
    elif named.kind == "huggingface" and not Path(named.name).exists():
        yield transformers_model(named.name)


def transformers_model(name: str) -> Resource:
    """A model of transformers' own layout: configuration, tokenizer, preprocessing and one file of weights."""
    shared = ("*config.json", "*token*", "vocab*", "merges.txt")
    choices = ((*shared, "model.safetensors"), (*shared, "pytorch_model.bin"))
    return Resource("model", name, None, choices, place=f"{HUB_CACHE}, or a folder by option")


def _figure_1(settings: Any) -> Iterator[Resource]:
    from .. import published

    if settings.fetch:
        licence = "MIT, of the authors' repository"
        for name in published.files():
            place = f"the folder that {CACHE_VARIABLE} names"
            yield Resource("file", published.address(name), licence=licence, place=place)
    if "clip" in settings.systems and settings.image_data is None:
        yield coco_val(settings.coco)
    if "clip" in settings.systems:
        yield from _named(settings.model)
    if "videoclip" in settings.systems and settings.video_data is not None and not Path(settings.video_model).exists():
        yield transformers_model(settings.video_model)
    if "convirt" in settings.systems and settings.medical_data is not None:
        yield from open_clip_model(settings.medical_model, "own")


def _figure_2a(settings: Any) -> Iterator[Resource]:
    from torchvision.models import get_model_weights

    from ..encoders import resnet

    yield coco_val(settings.coco)
    yield from open_clip_model(settings.model, settings.pretrained)
    url = get_model_weights("resnet18")[resnet.PRETRAINED].url
    yield Resource(
        "file", url, licence="BSD-3-Clause, of torchvision", place="torch's cache (TORCH_HOME)/hub/checkpoints"
    )
    for model in settings.models:
        yield from _named(model)


def _figure_2c(settings: Any) -> Iterator[Resource]:
    yield coco_val(settings.coco)


def _figure_3(settings: Any) -> Iterator[Resource]:
    if not settings.embeddings:
        yield coco_val(settings.coco)
        yield from open_clip_model(settings.model, settings.pretrained)


def _training(settings: Any) -> Iterator[Resource]:
    yield coco_train(settings.coco)
    yield from open_clip_model(settings.model, settings.pretrained)


def _table_1(settings: Any) -> Iterator[Resource]:
    from ..corpora import tasks

    if settings.embeddings:
        return
    yield coco_val(settings.coco)
    yield from _named(settings.model)
    known = tasks.read(settings.tasks_file)
    for key in settings.tasks or known:
        if key in known:
            yield of_task(known[key], settings.data, settings.coco)


def _table_2(settings: Any) -> Iterator[Resource]:
    import faces

    if settings.embeddings is not None:
        return
    yield coco_val(settings.coco)
    yield from _named(settings.model)
    if settings.data is not None:
        yield Resource("folder", str(settings.data), choices=(("*",),), problem=_unusable(settings))
        return
    place = f'{HUB_CACHE}, or --extra "denigration --data DIR" ({faces.ORIGIN})'
    yield Resource(
        "dataset", faces.HUB_DATASET, faces.HUB_REVISION, ((faces.HUB_FILES[settings.padding],),),
        ("image", *faces.HUB_LABELS), "validation", faces.LICENCE, place, FACES_SIZES[settings.padding],
    )  # fmt: skip


def _unusable(settings: Any) -> str:
    """Why a folder of faces cannot be used: its table and the names of its pictures are read; "" where it can."""
    import faces

    from ..fairness.declared import FAIRFACE, Declared

    try:
        faces.load(settings.data, Declared.read(settings.audit or FAIRFACE), n=1)
    except UserError as error:
        return str(error)
    return ""


def of_task(task: "Task", data: Path | None, coco_folder: Path | None = None) -> Resource:
    """A data set of Table 1: the hub's, or a local folder of the task's name."""
    from ..corpora import coco, tasks

    if (folder := tasks.folder_of(task, data)) is not None:
        return Resource("folder", str(folder), choices=(("*",),), split=task.split)
    if task.dataset == coco.HUB_DATASET:
        return coco_val(coco_folder)
    names = ["all"] if task.split_column else task.split.split("+")
    files = tuple(task.files[name] for name in names if name in task.files) or ("*.parquet",)
    read = (task.caption_column, task.id_column, task.split_column) if task.is_retrieval else (task.label_column,)
    columns = (task.image_column, *(column for column in read if column))
    place = f'{HUB_CACHE}, or its parquet files in {task.key}/ of --extra "zero_shot --data DIR"'
    licence = task.sources.get("licence", "")
    return Resource(
        "dataset", task.dataset, task.commit, (files,), columns, task.split, licence, place, megabytes(task)
    )


def _nothing(settings: Any) -> Iterator[Resource]:
    yield from ()


NEEDS: dict[str, Callable[[Any], Iterator[Resource]]] = {
    "modality_gap": _figure_1,
    "cosine_similarity": _figure_2a,
    "initializations": _figure_2c,
    "loss_landscape": _figure_3,
    "training": _training,
    "zero_shot": _table_1,
    "denigration": _table_2,
}
"""By the step's name; the others need nothing."""
