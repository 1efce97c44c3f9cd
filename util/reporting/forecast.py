"""``make paper DRY=1``: what a run at the paper's settings lacks, how much disk and how long it takes.

No network is asked: sizes are as declared, or of the files that are here.
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
from ..files import cache_folder
from .runner import look, read
from .steps import STEPS, Options, Step, in_words

CORES = 2
"""CPU cores that ``Step.cpu`` is for."""
CLIP_WEIGHTS = ("open_clip_model.safetensors",)
PHOTOGRAPHED = tuple(step.name for step in STEPS if "paper" in step.photographs and step.name != "training")
NEED, STEP = "{:>7}  {:>7}  {:12}  {}", "{:17}  {:12}  {:12}  {}"
"""Lines of the two tables."""


class Need(NamedTuple):
    """One thing that steps read: a repository of the Hugging Face hub, or a local folder.

    ``megabytes`` is its size. ``files`` are shell patterns of what is read. ``revision`` is a commit; None: the newest.
    """

    kind: Literal["dataset", "model", "folder"]
    id: str
    steps: tuple[str, ...]
    megabytes: float
    files: tuple[str, ...]
    revision: str | None = None


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
    chosen = options.chosen()
    names = {step.name for step in chosen}
    found = {need: here(need) for need in needs(options.coco) if names & set(need.steps)}
    missing = [need for need, there in found.items() if not there]
    reasons = {step: _reason(step, options) for step in chosen}
    due = [step for step, why in reasons.items() if why]
    cpu, gpu = sum(step.cpu for step in due) * CORES / (os.cpu_count() or 1), sum(step.gpu for step in due)
    needed, free = disk(found, options.output)
    cli.say(f"[paper] missing: {f'{len(missing)} of {len(found)} downloads and folders' if missing else 'nothing'}")
    cli.say(f"[paper] disk: {size(needed)} needed, {size(free)} free{'' if needed <= free else ': too little'}")
    cli.say(f"[paper] time: {in_words(cpu)} on this CPU, {in_words(gpu)} on a GPU")
    cli.say(NEED.format("size", "here", "revision", "id"))
    for need, there in found.items():
        told = f"{need.id}: NO, takes {', '.join(need.files)}; used by {', '.join(need.steps)}"
        total = there or int(1e6 * need.megabytes)
        cli.say(NEED.format(size(total), size(there), (need.revision or "newest")[:12], need.id if there else told))
    if missing:
        cli.say("Your own copies go to HF_HOME, or COCO=DIR for MSCOCO.")
    cli.say(STEP.format("step", f"{CORES} cores", "GPU", "runs because"))
    for step, why in reasons.items():
        cli.say(STEP.format(step.name, in_words(step.cpu), in_words(step.gpu), why or "does not: its record is kept"))


def here(need: Need) -> int:
    """Bytes of a need in its folder, or in the hub's cache; 0 where a file of it is not there."""
    from huggingface_hub import snapshot_download

    folder = need.id
    if need.kind != "folder":
        try:
            folder = snapshot_download(need.id, repo_type=need.kind, revision=need.revision, local_files_only=True)
        except OSError:
            return 0
    found = [list(Path(folder).glob(pattern)) for pattern in need.files]
    return sum(path.stat().st_size for part in found for path in part) if all(found) else 0


def disk(found: Mapping[Need, int], output: Path) -> tuple[int, int]:
    """Bytes needed, and bytes free where downloads and results go, the least of these places.

    A data set takes its size twice: as files in the hub's cache, and as the table made of them in the project's own.
    """
    from huggingface_hub import constants

    needed = 0
    for need, there in found.items():
        needed += (there or int(1e6 * need.megabytes)) * (1 + (need.kind == "dataset")) - there
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
