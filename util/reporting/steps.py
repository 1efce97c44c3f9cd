"""The scripts that make up the paper, in its order, and the options of a run of them."""

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated

import tyro

from .. import cli, records
from ..errors import UserError

FOLDERS = (
    "Figure_1_Modality_Gap",
    "Figure_2_Cone_Effect",
    "Figure_3_Contrastive_Learning",
    "Table_1_Implications_CLIP_Zero_Shot",
    "Table_2_Implications_CLIP_Fairness",
)
"""The paper's figures and tables."""


@dataclass(frozen=True)
class Step:
    """One script.

    Attributes:
        folder: the paper's figure or table, the folder that the script lies in.
        name: the script's name, and that of its record.
        title: what it regenerates.
        seconds: with the embedded preset, on two CPU cores.
        cpu, gpu: seconds with the paper preset, on two CPU cores and on one GPU. Passes of networks are counted, not
            timed: two cores are taken at 80 GFLOP a second, a GPU at 10 TFLOP a second.
        root: the checkout.
    """

    folder: str
    name: str
    title: str
    seconds: float
    cpu: float
    gpu: float
    root: Path = field(default=records.REPOSITORY, repr=False)

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


STEPS = (
    Step(FOLDERS[0], "modality_gap", "Figure 1: the gap of four systems, trained and random", 60, 600, 90),
    Step(FOLDERS[1], "cosine_similarity", "Figure 2 (a): cosines of full-size networks", 70, 24_000, 400),
    Step(FOLDERS[1], "depth", "Figure 2 (b): mean cosine by depth", 25, 40, 30),
    Step(FOLDERS[1], "initializations", "Figure 2 (c): random initializations", 85, 63_000, 750),
    Step(FOLDERS[1], "theorems", "Theorems 1 and 2", 10, 20, 20),
    Step(FOLDERS[2], "loss_landscape", "Figure 3 (a-d): the loss landscape", 10, 1_000, 120),
    Step(FOLDERS[2], "simulation", "Figure 3 (e-g): mismatched pairs", 5, 5, 5),
    Step(FOLDERS[2], "training", "section 4: training", 70, 12_000_000, 96_000),
    Step(FOLDERS[3], "zero_shot", "Table 1: zero-shot classification and retrieval", 15, 38_000, 1_900),
    Step(FOLDERS[4], "denigration", "Table 2: denigration harms", 10, 2_400, 400),
)


FileOut = Annotated[Path, tyro.conf.arg(aliases=["-o"])]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``modality-gap figures`` and ``modality-gap paper``."""

    preset: cli.Preset = "embedded"
    """embedded: no download, a CPU, minutes. paper: the paper's models and data. smoke: seconds."""
    output: FileOut = cli.OUTPUTS
    """Folder for records, log, summary and report."""
    coco: Path | None = None
    """A local MSCOCO folder (annotations/, val2017/; for training also train2017/)."""
    device: cli.Device = "auto"
    """auto takes a GPU where there is one."""
    only: tuple[str, ...] | None = None
    """Names of steps, for instance --only depth theorems; by default all of them."""
    again: bool = False
    """Run steps again whose records are there."""
    steps: tyro.conf.Suppress[tuple[Step, ...]] = STEPS

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


def in_words(seconds: float) -> str:
    """Seconds, minutes, hours or days, with as many digits as an estimate has."""
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} seconds"


def said(error: BaseException) -> str:
    """One line of an error, or its kind where it says nothing."""
    return " ".join(str(error).split())[:300] or type(error).__name__
