"""The scripts that make up the paper, in its order, and the options of a run of them."""

import importlib.util
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import tyro

from .. import cli, records
from ..errors import UserError


@dataclass(frozen=True)
class Step:
    """One script.

    Attributes:
        folder: the paper's figure or table, the folder that the script lies in.
        name: the script's name, and that of its record.
        title: what it regenerates.
        seconds: with the embedded preset, on two CPU cores.
        photographs: presets with which it takes MSCOCO's photographs, with blanks between.
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
    photographs: str = "paper"
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


DECLARED = tomllib.loads((records.PACKAGE / "data" / "steps.toml").read_text(encoding="utf-8"))
STEPS = tuple(Step(name=name, **facts) for name, facts in DECLARED.items())
FOLDERS = tuple(dict.fromkeys(step.folder for step in STEPS))
"""The paper's figures and tables."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``modality-gap figures`` and ``modality-gap paper``."""

    preset: cli.Preset = "embedded"
    """embedded: no download, a CPU, minutes. paper: the paper's models and data. smoke: seconds."""
    output: cli.FileOut = cli.OUTPUTS
    """Folder for records, log, summary and report; one with records of another preset is refused."""
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


def in_words(seconds: float) -> str:
    """Seconds, minutes, hours or days, with as many digits as an estimate has."""
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} seconds"
