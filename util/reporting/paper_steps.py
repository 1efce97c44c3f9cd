"""The scripts that make up the paper, and whether a step's record is already there.

A record is kept, and its step skipped, when it is whole (tables with the content it names, pictures to their ends), of
this schema, and made with the settings of the step's command line. Other code since then is said, and no reason.
"""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from PIL import Image

from .. import cli, records
from ..errors import UserError

FOLDERS = (
    "Figure_1_Modality_Gap",
    "Figure_2_Cone_Effect",
    "Figure_3_Contrastive_Learning",
    "Table_1_Implications_CLIP_Zero_Shot",
    "Table_2_Implications_CLIP_Fairness",
)
"""The paper's figures and tables, in its order."""


@dataclass(frozen=True)
class Step:
    """One script.

    Attributes:
        folder: the paper's figure or table, the folder that the script lies in.
        name: the script's name, and that of its record.
        options: words of its command line in the paper preset, beside those that every step gets.
        root: the checkout.
    """

    folder: str
    name: str
    options: tuple[str, ...] = ()
    root: Path = field(default=records.REPOSITORY, repr=False)

    @property
    def script(self) -> Path:
        return self.root / self.folder / f"{self.name}.py"

    @property
    def shown(self) -> str:
        return f"{self.folder}/{self.name}.py"


STEPS = (
    Step(FOLDERS[0], "modality_gap", ("--fetch",)),
    *(Step(FOLDERS[1], name) for name in ("cosine_similarity", "depth", "initializations", "theorems")),
    *(Step(FOLDERS[2], name) for name in ("loss_landscape", "simulation", "training")),
    Step(FOLDERS[3], "zero_shot"),
    Step(FOLDERS[4], "denigration"),
)
"""In the paper's order."""


@dataclass(frozen=True)
class Ready:
    """A step whose command line was read.

    Attributes:
        step: which one.
        arguments: the words after the script's name.
        parsed: the script's own settings object; None where ``problem`` is.
        problem: why the command line could not be read; "" where it could.
    """

    step: Step
    arguments: tuple[str, ...]
    parsed: object = field(repr=False, default=None)
    problem: str = ""

    @property
    def settings(self) -> dict:
        """Name -> value, as a record holds them, without the output folder."""
        return _compared(records.plain(self.parsed)) if self.parsed else {}


def choose(only: Sequence[str], steps: Sequence[Step] = STEPS) -> list[Step]:
    """The steps that are named; all of them where none is."""
    names = [step.name for step in steps]
    if unknown := [name for name in only if name not in names]:
        raise UserError(f"no step {', '.join(unknown)}; the steps are {', '.join(names)}")
    return [step for step in steps if not only or step.name in only]


def read(step: Step, output: Path, device: str, coco: Path | None, extra: Sequence[str] = ()) -> Ready:
    """Reads the command line of a step with the paper preset, and has the script ``check`` it where it can.

    Args:
        output: folder for all steps; the step writes into one of its own there.
        coco: a local MSCOCO folder, given to the scripts that take one.
        extra: further words of the command line.
    """
    words = ["--preset", "paper", *step.options, "--output", str(Path(output).resolve() / step.folder)]
    words += ["--device", device]
    try:
        module = load_script(step)
        if coco is not None and hasattr(module.PRESETS["paper"], "coco"):
            words += ["--coco", str(Path(coco).resolve())]
        words += extra
        parsed = cli.parse(module.PRESETS, module.__doc__ or "", words)
        if hasattr(module, "check"):
            module.check(parsed)
    except (Exception, SystemExit) as error:  # a script may be broken in any way
        refused = f"its command line was refused: {' '.join(words)}"
        return Ready(step, tuple(words), problem=refused if isinstance(error, SystemExit) else _said(error))
    return Ready(step, tuple(words), parsed)


def reason_to_run(ready: Ready, output: Path) -> str:
    """Why a step's record is not to be kept; "" where it is."""
    if ready.problem:
        return ready.problem
    folder, name = Path(output) / ready.step.folder, ready.step.name
    if not (folder / f"{name}.json").is_file():
        return "no record"
    try:
        record = records.load(folder, name)
        stored, pictures = _compared(record.about["settings"]), list(record.about["captions"])
    except (UserError, KeyError, TypeError, AttributeError) as error:
        return _said(error)
    if other := differences(stored, ready.settings):
        return f"other settings: {', '.join(other)}"
    lacking = [part for stem in pictures for part in _lacking(folder / stem)]
    return f"{', '.join(lacking)} missing or cut off" if lacking else ""


def _lacking(stem: Path) -> list[str]:
    """Names of the files of one picture that are not there to their ends; a table to read is one of HTML."""
    if stem.with_suffix(".html").is_file():
        return []
    picture, vector = stem.with_suffix(".png"), stem.with_suffix(".pdf")
    whole = vector.is_file() and vector.read_bytes()[-16:].rstrip().endswith(b"%%EOF")
    return [picture.name] * (not _is_whole_png(picture)) + [vector.name] * (not whole)


def _is_whole_png(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            picture.verify()  # the checksum of every part
    except Exception:  # PIL raises errors of many kinds for files that are cut or are no picture
        return False
    return True


def differences(stored: Mapping, wanted: Mapping) -> list[str]:
    """One entry for each setting that differs, "name old -> new"; one that only one of them has counts."""
    nothing = "(not there)"
    pairs = [(key, stored.get(key, nothing), wanted.get(key, nothing)) for key in {**wanted, **stored}]
    return [f"{key} {before} -> {after}" for key, before, after in pairs if before != after]


def load_script(step: Step) -> ModuleType:
    """The script as a module; its folder joins the path, for the modules beside it."""
    name, folder = f"_paper_{step.name}", str(step.script.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(name, step.script)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_words(seconds: float) -> str:
    """Seconds, minutes, hours or days, with as many digits as an estimate has."""
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} seconds"


def _compared(settings: Mapping) -> dict:
    return {key: value for key, value in settings.items() if key != "output"}


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
