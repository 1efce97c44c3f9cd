"""The scripts that make up the paper, in its order, the options of a run of them, and what ``make paper DRY=1`` says.

Sizes are asked of the Hugging Face hub. Without a network they are as declared here.
"""

import importlib.util
import os
import shutil
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Literal, NamedTuple

import tyro
from tqdm import tqdm

from .. import UserError, cli, reason, records
from ..files import PACKAGE, REPOSITORY, cache_folder, reachable

CORES = 2
"""CPU cores that ``Step.cpu`` is for."""
NEED, STEP = "{:>7}  {:>7}  {:12}  {}", "{:17}  {:12}  {:12}  {}"
"""Lines of the two tables of a forecast."""


@dataclass(frozen=True)
class Step:
    """One script, by its name and its folder in the checkout ``root``; ``util/data/steps.toml`` has them all.

    Attributes:
        seconds: with the embedded preset, on two CPU cores.
        cpu, gpu: seconds with the paper preset, on two CPU cores and on one GPU. Passes of networks are counted, not
            timed: two cores are taken at 80 GFLOP a second, a GPU at 10 TFLOP a second.
        photographs: presets with which it takes MSCOCO's photographs, with blanks between.
    """

    folder: str
    name: str
    title: str
    seconds: float
    cpu: float
    gpu: float
    photographs: str = "paper"
    root: Path = field(default=REPOSITORY, repr=False)

    @property
    def script(self) -> Path:
        return self.root / self.folder / f"{self.name}.py"

    def load(self) -> ModuleType:
        """The script as a module; its folder joins the path, for the modules beside it."""
        if (folder := str(self.script.parent)) not in sys.path:
            sys.path.append(folder)
        spec = importlib.util.spec_from_file_location(f"_step_{self.name}", self.script)
        sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


_declared = tomllib.loads((PACKAGE / "data" / "steps.toml").read_text(encoding="utf-8"))
STEPS = tuple(Step(name=name, **facts) for name, facts in _declared.items())
FOLDERS = tuple(dict.fromkeys(step.folder for step in STEPS))
"""The paper's figures and tables."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Regenerate every figure and table, the notebooks and report.html into outputs/.

    The embedded preset takes about seven minutes on two cores. It trains a short version of section 4. Records of the
    same code and settings are kept. A step that fails is named at the end, with exit code 2, and the others go on.
    """

    preset: cli.Preset = "embedded"
    """embedded: no download, a CPU, minutes. paper: the paper's models and data. smoke: seconds."""
    output: cli.FileOut = cli.OUTPUTS
    """Folder for records, summary and report; one with records of another preset is refused."""
    coco: Path | None = None
    """A local MSCOCO folder (annotations/, val2017/; for training also train2017/)."""
    device: cli.Device = "auto"
    """auto takes a GPU where there is one."""
    only: tuple[str, ...] | None = None
    """Names of steps, for instance --only depth theorems; by default all of them."""
    again: bool = False
    """Run steps again whose records are there."""
    steps: tyro.conf.Suppress[tuple[Step, ...]] = STEPS
    ONLY: ClassVar = (
        cli.Only("coco", "steps that take photographs", lambda chosen: any(map(chosen.photographed, chosen.chosen()))),
    )

    def __call__(self) -> None:
        from . import runner

        runner.run(self)

    def photographed(self, step: Step) -> bool:
        """Whether a step takes MSCOCO's photographs with this preset."""
        return self.preset in step.photographs.split()

    def chosen(self) -> list[Step]:
        """The steps that are named; all of them where none is."""
        names = [step.name for step in self.steps]
        unknown = [name for name in self.only or () if name not in names]
        if unknown or self.only == ():
            raise UserError(f"no step {', '.join(unknown) or 'named'}; the steps are {', '.join(names)}")
        steps = [step for step in self.steps if self.only is None or step.name in self.only]
        if absent := [step.script for step in steps if not step.script.is_file()]:
            raise UserError(f"{absent[0]}: not here; run this in a checkout of the repository")
        return steps


@dataclass(frozen=True, kw_only=True)
class Paper(Figures):
    """Run every figure and table with the paper preset; the same command goes on where it was stopped.

    Whole records of the same settings are kept, also of other code. A step that fails is named at the end, exit code 2.
    """

    preset: tyro.conf.Suppress[cli.Preset] = "paper"
    output: cli.FileOut = cli.OUTPUTS / "paper"
    """Folder for records, summary and report; modality-gap report and notebooks take it by --outputs."""
    dry_run: bool = False
    """Run nothing: say what is missing, the disk space, and hours on this CPU and on a GPU."""

    def __call__(self) -> None:
        forecast(self) if self.dry_run else super().__call__()


def in_words(seconds: float) -> str:
    """Seconds, minutes, hours or days, with as many digits as an estimate has."""
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} seconds"


def read(step: Step, options: Figures) -> tuple:
    """The script of a step as a module, the words of its command line, and the settings that they give."""
    module, preset = step.load(), options.preset
    short = getattr(module, "SHORT", {}) if preset == "embedded" else {}  # a short version, where the script has one
    given = {**short, "output": Path(options.output).resolve() / step.folder, "device": options.device}
    if options.coco and options.photographed(step):
        given["coco"] = Path(options.coco).resolve()
    words = ["--preset", preset]
    for name, value in given.items():
        if value != getattr(module.PRESETS[preset], name):
            words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
    return module, words, cli.parse(module.PRESETS, module.__doc__ or "", words)


def look(step: Step, settings: cli.Common, options: Figures) -> tuple[records.Record | None, str]:
    """The record of a step that is kept, or None and why it is to be made."""
    if options.again:
        return None, "asked for again"
    paper = options.preset == "paper"  # what took days stays although code changed since
    return records.matching(settings.output, step.name, settings, any_code=paper)


class Need(NamedTuple):
    """One thing that steps read: a repository of the hub, or a local folder; its size for when nobody can be asked."""

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
    from ..corpora import tasks
    from ..encoders.models import RECIPES
    from ..fairness.audit import HUB_DATASET, HUB_FILES, HUB_REVISION

    large, small = ("modality_gap", "training", "zero_shot"), ("cosine_similarity", "loss_landscape", "denigration")
    place = str(photographs or "MSCOCO train2017")
    train, val = ((f"annotations/captions_{split}.json", f"{split}/*.jpg") for split in ("train2017", "val2017"))
    photographed = tuple(step.name for step in STEPS if "paper" in step.photographs and step.name != "training")
    clip = (("timm/vit_base_patch16_clip_224.openai", large), ("timm/vit_base_patch32_clip_224.openai", small))
    found = [
        Need("folder", place, ("training",), 19_300, (*train, *val)),
        *(Need("model", name, steps, 600, ("open_clip_model.safetensors",)) for name, steps in clip),
        *(Need("model", f"timm/resnet50.{tag}", ("initializations",), 102, ("model.safetensors",)) for tag in RECIPES),
    ]
    for task in tasks.read().values():
        files = tuple(task.files[name] for name in task.split.split("+") if name in task.files) or ("*.parquet",)
        steps = photographed if task.key == tasks.MSCOCO else ("zero_shot",)
        need = Need("dataset", task.dataset, steps, task.megabytes or 0, files, task.revision)
        found.append(Need("folder", place, steps, 800, val) if photographs and task.key == tasks.MSCOCO else need)
    return [*found, Need("dataset", HUB_DATASET, ("denigration",), 63, (HUB_FILES,), HUB_REVISION)]


def forecast(options: Figures) -> None:
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
    (needed, free), size = disk(found, options.output), partial(tqdm.format_sizeof, suffix="B")
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
    """Bytes needed, and bytes free where downloads and results go, the least of these places."""
    from huggingface_hub import constants

    # a data set takes its size twice: as files in the hub's cache, and as the table made of them in the project's own
    needed = sum(each.total * (1 + (need.kind == "dataset")) - each.here for need, each in found.items())
    places = [Path(place).resolve() for place in (constants.HF_HUB_CACHE, cache_folder(), output)]
    there = [next(parent for parent in (place, *place.parents) if parent.exists()) for place in places]
    return needed, min(shutil.disk_usage(place).free for place in there)
