"""The scripts that make up the paper, and whether a step's record is already there.

A record is kept, and its step skipped, when it is whole (its tables hold what it says, its pictures and their pdf files
are there to their ends), of this schema, and its stored settings are those that the step's command line gives, name by
name: a setting that the script has gained or lost since makes the record one of older code. That it was made on top of
another commit is said, and is no reason to run it again.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Literal

from PIL import Image

from .. import cli, records
from ..errors import UserError
from ..files import replacing

FOLDERS = (
    "Figure_1_Modality_Gap",
    "Figure_2_Cone_Effect",
    "Figure_3_Contrastive_Learning",
    "Table_1_Implications_CLIP_Zero_Shot",
    "Table_2_Implications_CLIP_Fairness",
)
"""The paper's figures and tables, in its order."""

FREE = ("output",)
"""Settings that leave the result what it is."""

OUTCOMES = "steps.json"
"""File beside the records that says what became of each step when it was last run."""


@dataclass(frozen=True)
class Step:
    """One script with the paper preset.

    Attributes:
        folder: the paper's figure or table, the folder that the script lies in.
        name: the script's name, and that of its record.
        options: words of its command line beside those that every step gets.
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
class Outcome:
    """End of a step: kept (its record was there), made, or failed.

    One that is still "started" when it is read back was stopped with its run.
    """

    name: str
    folder: str
    end: Literal["started", "kept", "made", "failed"]
    reason: str = ""
    seconds: float = 0.0


def write_down(output: Path, outcome: Outcome) -> None:
    """Adds what became of a step to ``steps.json``."""
    known = {**_outcomes(output), outcome.name: asdict(outcome)}
    with replacing(output / OUTCOMES) as part:
        part.write_text(json.dumps(known, indent=1) + "\n")


def reasons(output: Path) -> dict[str, str]:
    """Step -> why it was not finished when it was last run; empty where nothing is known."""
    return {name: each["reason"] for name, each in _outcomes(output).items() if each["end"] in ("started", "failed")}


def _outcomes(output: Path) -> dict[str, Mapping]:
    try:
        known = json.loads((Path(output) / OUTCOMES).read_text())
        return {name: asdict(Outcome(**each)) for name, each in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):  # another file of this name
        return {}


@dataclass(frozen=True)
class Ready:
    """A step whose command line was read.

    Attributes:
        step: which one.
        arguments: the words after the script's name.
        settings: what they mean: name -> value, as a record holds them; empty where ``problem`` is.
        parsed: the script's own settings object; None where ``problem`` is.
        problem: why the command line could not be read; "" where it could.
    """

    step: Step
    arguments: tuple[str, ...]
    settings: Mapping = field(repr=False, default_factory=dict)
    parsed: object = field(repr=False, default=None)
    problem: str = ""


def choose(only: Sequence[str], steps: Sequence[Step] = STEPS) -> list[Step]:
    """The steps that are named; all of them where none is.

    Raises:
        UserError: a name that no step has.
    """
    names = [step.name for step in steps]
    if unknown := [name for name in only if name not in names]:
        raise UserError(f"no step {', '.join(unknown)}; the steps are {', '.join(names)}")
    return [step for step in steps if not only or step.name in only]


def read(step: Step, output: Path, device: str, coco: Path | None, extra: Sequence[str] = ()) -> Ready:
    """Reads the command line that a step would be run with; runs nothing of the script but its imports and its own
    ``check`` of the settings, where it has one.

    Args:
        output: folder for all steps; the step writes into one of its own there.
        device: "auto", "cpu" or "cuda".
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
        getattr(module, "check", _nothing)(parsed)
    except (Exception, SystemExit) as error:  # a script of another helper of the paper may be broken in any way
        reason = f"its command line was refused: {' '.join(words)}" if isinstance(error, SystemExit) else _said(error)
        return Ready(step, tuple(words), problem=reason)
    return Ready(step, tuple(words), _compared(records.plain(parsed)), parsed)


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
    files = [folder / f"{stem}{suffix}" for stem in pictures for suffix in WHOLE]
    lacking = [path.name for path in files if not WHOLE[path.suffix](path)]
    return f"{', '.join(lacking)} missing or cut off" if lacking else ""


def _is_whole_png(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            picture.verify()  # the checksum of every part
    except Exception:  # PIL raises errors of many kinds for files that are cut or are no picture
        return False
    return True


def _is_whole_pdf(path: Path) -> bool:
    return path.is_file() and path.read_bytes()[-16:].rstrip().endswith(b"%%EOF")


WHOLE = {".png": _is_whole_png, ".pdf": _is_whole_pdf}
"""By the end of a picture's name: whether the file is there to its end."""


def differences(stored: Mapping, wanted: Mapping) -> list[str]:
    """One entry for each setting that differs, "name old -> new"; one that only one of them has counts."""
    nothing = "(not there)"
    pairs = [(key, stored.get(key, nothing), wanted.get(key, nothing)) for key in {**wanted, **stored}]
    return [f"{key} {before} -> {after}" for key, before, after in pairs if before != after]


def since(record: records.Record, step: Step) -> str:
    """What has changed since a record was made; "" where nothing has, or nothing is known."""
    commit = record.about["commit"]
    if not commit["hash"]:
        return ""
    dirty = "" if commit["clean"] else ", with changes"
    paths = ["util", step.shown]
    words = ["git", "-C", str(step.root), "diff", "--name-only", commit["hash"], "--", *paths]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"made on top of commit {commit['hash'][:10]}{dirty}, which this checkout does not have"
    changed = done.stdout.split()
    if not changed and not dirty:
        return ""
    return f"made on top of commit {commit['hash'][:10]}{dirty}; {len(changed)} files of util or its own differ since"


def _compared(settings: Mapping) -> dict:
    return {key: value for key, value in settings.items() if key not in FREE}


def _nothing(settings: object) -> None:
    """What a script without options that exclude each other checks."""


def load_script(step: Step) -> ModuleType:
    """The script as a module; its folder joins the path, for the modules beside it."""
    name, folder = f"_paper_{step.name}", str(step.script.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(name, step.script)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
