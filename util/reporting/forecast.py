"""``make paper DRY=1``: what a run at the paper's settings lacks, how much disk and how long it takes.

Sizes are asked of the Hugging Face hub. Without a network they are as declared here.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from .. import cli
from ..corpora import coco, tasks
from ..errors import reason
from ..files import cache_folder, reachable
from .runner import look, read
from .steps import Options, Step, in_words

CORES = 2
"""CPU cores that ``Step.cpu`` is for."""
CLIP_WEIGHTS = ("open_clip_model.safetensors",)
PHOTOGRAPHED = ("modality_gap", "cosine_similarity", "initializations", "loss_landscape", "zero_shot", "denigration")


@dataclass(frozen=True)
class Need:
    """One thing that steps read: a repository of the Hugging Face hub, or a local folder.

    ``megabytes`` is its size, for when nobody can be asked. ``files`` are shell patterns of what is read. ``revision``
    is a commit; None: the newest.
    """

    kind: Literal["dataset", "model", "folder"]
    id: str
    steps: tuple[str, ...]
    megabytes: float
    files: tuple[str, ...]
    revision: str | None = None


@dataclass(frozen=True)
class Found:
    """What is known of a need: why it cannot be used ("" where it can), its bytes, and those that are here."""

    problem: str = ""
    total: int = 0
    here: int = 0


def needs(photographs: Path | None) -> list[Need]:
    """Everything large that the steps of the paper need, each once: not ResNet-18 and the published embeddings."""
    from ..encoders.resnet import RECIPES
    from ..fairness import faces

    large, small = ("modality_gap", "training", "zero_shot"), ("cosine_similarity", "loss_landscape", "denigration")
    return [
        *_photographs(photographs),
        Need("model", "timm/vit_base_patch16_clip_224.openai", large, 600, CLIP_WEIGHTS),
        Need("model", "timm/vit_base_patch32_clip_224.openai", small, 600, CLIP_WEIGHTS),
        *(Need("model", f"timm/resnet50.{tag}", ("initializations",), 102, ("model.safetensors",)) for tag in RECIPES),
        *(_task(task) for task in tasks.read().values() if task.dataset != coco.HUB_DATASET),
        Need("dataset", faces.HUB_DATASET, ("denigration",), 63, (faces.HUB_FILES,), faces.HUB_REVISION),
    ]


def _photographs(folder: Path | None) -> tuple[Need, Need]:
    """MSCOCO's train2017 in a local folder, and val2017 there or on the hub."""
    place = str(folder or "MSCOCO train2017")
    train, val = ((f"annotations/captions_{split}.json", f"{split}/*.jpg") for split in ("train2017", "val2017"))
    training = Need("folder", place, ("training",), 19_300, (*train, *val))
    if folder:
        return training, Need("folder", place, PHOTOGRAPHED, 800, val)
    split = (f"data/{coco.HUB_SPLITS['val2017']}-*.parquet",)
    return training, Need("dataset", coco.HUB_DATASET, PHOTOGRAPHED, 800, split, coco.HUB_REVISION)


def _task(task: tasks.Task) -> Need:
    """A data set of Table 1."""
    files = tuple(task.files[name] for name in task.split.split("+") if name in task.files) or ("*.parquet",)
    return Need("dataset", task.dataset, ("zero_shot",), task.megabytes or 0, files, task.revision)


def describe(options: Options) -> None:
    """Prints what is missing, disk space and hours in three lines, then the tables behind them."""
    chosen = options.chosen()
    names = {step.name for step in chosen}
    found = {need: look_up(need) for need in needs(options.coco) if names & set(need.steps)}
    missing = {need: each for need, each in found.items() if each.problem}
    reasons = [(step, _reason(step, options)) for step in chosen]
    needed, free = disk(found, options.output)
    cli.say(f"[paper] missing: {f'{len(missing)} of {len(found)} downloads and folders' if missing else 'nothing'}")
    cli.say(f"[paper] disk: {size(needed)} needed, {size(free)} free{'' if needed <= free else ': too little'}")
    cli.say(f"[paper] time: {_hours([step for step, why in reasons if why])}")
    rows = [("found", "size", "here", "revision", "id")]
    for need, each in found.items():
        revision = (need.revision or "newest")[:12]
        rows.append(("NO" if each.problem else "yes", size(each.total), size(each.here), revision, need.id))
    _tell(rows)
    rows = [("step", f"{CORES} cores", "GPU", "runs because")]
    for step, why in reasons:
        rows.append((step.name, in_words(step.cpu), in_words(step.gpu), why or "does not: its record is kept"))
    _tell(rows)
    for need, each in missing.items():
        cli.say(f"- {need.id}: {each.problem}; used by {', '.join(need.steps)}")
    if missing:
        cli.say("Your own copies go to HF_HOME, or COCO=DIR for MSCOCO.")


def look_up(need: Need) -> Found:
    """What is known of one need; whatever a server says or does not say becomes its problem."""
    declared = int(1e6 * need.megabytes)
    try:
        return _local(Path(need.id), need, declared) if need.kind == "folder" else _repository(need, declared)
    except Exception as error:  # the hub's client, requests and pyarrow raise errors of many kinds
        return Found(f"could not be asked for: {reason(error)}", declared)


def _local(folder: Path, need: Need, declared: int) -> Found:
    """Files of a local folder."""
    paths = {pattern: list(folder.glob(pattern)) for pattern in need.files}
    if absent := [pattern for pattern in paths if not paths[pattern]]:
        return Found(f"not there: {', '.join(absent)}", declared)
    here = sum(path.stat().st_size for part in paths.values() for path in part)
    return Found(total=here, here=here)


def _repository(need: Need, declared: int) -> Found:
    """A repository of the hub: sizes of the files that would be fetched; without a network, what its cache holds."""
    from huggingface_hub import constants, snapshot_download, utils

    repository = {"repo_id": need.id, "repo_type": need.kind, "revision": need.revision}
    if constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT):
        try:
            folder = Path(snapshot_download(**repository, local_files_only=True))
        except OSError:
            return Found("no connection to the hub, and it is not in its cache", declared)
        return _local(folder, need, declared)
    utils.disable_progress_bars()
    files = snapshot_download(**repository, allow_patterns=list(need.files), dry_run=True)
    total = sum(file.file_size or 0 for file in files)
    here = sum(file.file_size or 0 for file in files if file.is_cached)
    return Found("" if files else f"has no files {', '.join(need.files)}", total or declared, here)


@cache
def _answers(address: str) -> bool:
    """Whether a server answers; asked once."""
    return reachable(address)


def disk(found: Mapping[Need, Found], output: Path) -> tuple[int, int]:
    """Bytes needed, and bytes free where downloads and results go, the least of these places.

    A data set takes its size twice: as files in the hub's cache, and as the table made of them in the project's own.
    """
    from huggingface_hub import constants

    needed = sum(each.total * (1 + (need.kind == "dataset")) - each.here for need, each in found.items())
    places = [Path(place).resolve() for place in (constants.HF_HUB_CACHE, cache_folder(), output)]
    there = [next(parent for parent in (place, *place.parents) if parent.exists()) for place in places]
    return needed, min(shutil.disk_usage(place).free for place in there)


def size(amount: int) -> str:
    """Bytes in words."""
    return f"{tqdm.format_sizeof(amount)}B"


def _reason(step: Step, options: Options) -> str:
    """Why a step runs; "" where its record is kept."""
    try:
        return look(step, read(step, options)[2], options)[1]
    except (Exception, SystemExit) as error:  # a script may be broken in any way
        return reason(error)


def _hours(due: Sequence[Step]) -> str:
    """Time of some steps on this CPU and on a GPU; training apart, which outweighs the others."""
    told, share = [], CORES / (os.cpu_count() or 1)
    for label, apart in (("", False), ("training ", True)):
        if steps := [step for step in due if (step.name == "training") == apart]:
            cpu, gpu = sum(step.cpu for step in steps) * share, sum(step.gpu for step in steps)
            told.append(f"{label}{in_words(cpu)} on this CPU, {in_words(gpu)} on a GPU")
    return "; ".join(told) or "nothing is to be run"


def _tell(rows: Sequence[Sequence[str]]) -> None:
    """Prints a table, flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cli.say("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
