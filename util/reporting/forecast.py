"""``make paper DRY=1``: what a run at the paper's settings lacks, how much disk and how long it takes.

Sizes are asked of the Hugging Face hub. Without a network they are as declared here.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from tqdm import tqdm

from .. import cli
from ..corpora import tasks
from ..errors import reason
from ..files import cache_folder, reachable
from .runner import look, read
from .steps import STEPS, Options, in_words

CORES = 2
"""CPU cores that ``Step.cpu`` is for."""
CLIP_WEIGHTS = ("open_clip_model.safetensors",)
PHOTOGRAPHED = tuple(step.name for step in STEPS if "paper" in step.photographs and step.name != "training")
NEED, STEP = "{:>7}  {:>7}  {:12}  {}", "{:17}  {:12}  {:12}  {}"
"""Lines of the two tables."""


class Need(NamedTuple):
    """One thing that steps read: a repository of the hub, or a local folder; its size for when nobody can be asked.

    ``files`` are shell patterns of what is read. ``revision`` is a commit; None: the newest.
    """

    kind: Literal["dataset", "model", "folder"]
    id: str
    steps: tuple[str, ...]
    megabytes: float
    files: tuple[str, ...]
    revision: str | None = None


class Found(NamedTuple):
    """What is known of a need: why it cannot be used ("" where it can), its bytes, and those that are here."""

    problem: str = ""
    total: int = 0
    here: int = 0


def needs(photographs: Path | None) -> list[Need]:
    """Everything large that the steps of the paper need, each once: not ResNet-18 and the published embeddings."""
    from ..encoders.resnet import RECIPES
    from ..fairness.declared import HUB_DATASET, HUB_FILES, HUB_REVISION

    large, small = ("modality_gap", "training", "zero_shot"), ("cosine_similarity", "loss_landscape", "denigration")
    place = str(photographs or "MSCOCO train2017")
    train, val = ((f"annotations/captions_{split}.json", f"{split}/*.jpg") for split in ("train2017", "val2017"))
    found = [
        Need("folder", place, ("training",), 19_300, (*train, *val)),
        Need("model", "timm/vit_base_patch16_clip_224.openai", large, 600, CLIP_WEIGHTS),
        Need("model", "timm/vit_base_patch32_clip_224.openai", small, 600, CLIP_WEIGHTS),
        *(Need("model", f"timm/resnet50.{tag}", ("initializations",), 102, ("model.safetensors",)) for tag in RECIPES),
    ]
    for task in tasks.read().values():
        files = tuple(task.files[name] for name in task.split.split("+") if name in task.files) or ("*.parquet",)
        steps = PHOTOGRAPHED if task.key == tasks.MSCOCO else ("zero_shot",)
        need = Need("dataset", task.dataset, steps, task.megabytes or 0, files, task.revision)
        found.append(Need("folder", place, steps, 800, val) if photographs and task.key == tasks.MSCOCO else need)
    return [*found, Need("dataset", HUB_DATASET, ("denigration",), 63, (HUB_FILES,), HUB_REVISION)]


def describe(options: Options) -> None:
    """Prints what is missing, disk space and hours in three lines, then the tables behind them."""
    from huggingface_hub import constants

    chosen = options.chosen()
    names, online = {step.name for step in chosen}, not constants.HF_HUB_OFFLINE and reachable(constants.ENDPOINT)
    found = {need: look_up(need, online) for need in needs(options.coco) if names & set(need.steps)}
    missing = sum(1 for each in found.values() if each.problem)
    reasons = {}  # why a step runs, "" where its record is kept
    for step in chosen:
        try:
            reasons[step] = look(step, read(step, options)[2], options)[1]
        except (Exception, SystemExit) as error:  # a script may be broken in any way
            reasons[step] = reason(error)
    due = [step for step, why in reasons.items() if why]
    cpu, gpu = sum(step.cpu for step in due) * CORES / (os.cpu_count() or 1), sum(step.gpu for step in due)
    needed, free = disk(found, options.output)
    cli.say(f"[paper] missing: {f'{missing} of {len(found)} downloads and folders' if missing else 'nothing'}")
    cli.say(f"[paper] disk: {size(needed)} needed, {size(free)} free{'' if needed <= free else ': too little'}")
    cli.say(f"[paper] time: {in_words(cpu)} on this CPU, {in_words(gpu)} on a GPU")
    cli.say(NEED.format("size", "here", "revision", "id"))
    for need, each in found.items():
        told = f"{need.id}: NO, {each.problem}; used by {', '.join(need.steps)}" if each.problem else need.id
        cli.say(NEED.format(size(each.total), size(each.here), (need.revision or "newest")[:12], told))
    if missing:
        cli.say("Your own copies go to HF_HOME, or COCO=DIR for MSCOCO.")
    cli.say(STEP.format("step", f"{CORES} cores", "GPU", "runs because"))
    for step, why in reasons.items():
        cli.say(STEP.format(step.name, in_words(step.cpu), in_words(step.gpu), why or "does not: its record is kept"))


def look_up(need: Need, online: bool) -> Found:
    """What the hub, or offline its cache or a local folder, says of one need; what it does not say is a problem."""
    from huggingface_hub import snapshot_download, utils

    utils.disable_progress_bars()
    declared, folder, of = int(1e6 * need.megabytes), need.id, {"repo_type": need.kind, "revision": need.revision}
    try:
        if need.kind != "folder" and online:
            files = snapshot_download(need.id, **of, allow_patterns=list(need.files), dry_run=True)
            sizes = [(file.file_size or 0, file.is_cached) for file in files]
            total, here = sum(size for size, _ in sizes), sum(size for size, cached in sizes if cached)
            return Found("" if files else f"has no files {', '.join(need.files)}", total or declared, here)
        if need.kind != "folder":
            folder = snapshot_download(need.id, **of, local_files_only=True)
    except Exception as error:  # the hub's client, requests and pyarrow raise errors of many kinds
        asked = f"could not be asked for: {reason(error)}"
        return Found(asked if online else "no connection to the hub, and it is not in its cache", declared)
    paths = {pattern: list(Path(folder).glob(pattern)) for pattern in need.files}
    if absent := [pattern for pattern in paths if not paths[pattern]]:
        return Found(f"not there: {', '.join(absent)}", declared)
    here = sum(path.stat().st_size for part in paths.values() for path in part)
    return Found(total=here, here=here)


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
