"""The command line that all scripts share: presets, the common options, one-line errors."""

import io
import json
import os
import re
import sys
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeVar

os.environ.setdefault("MPLBACKEND", "Agg")

import tyro

from . import UserError, figures, records
from .files import REPOSITORY, is_remote, named_path, place, publishing
from .records import Measured, Record

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

Preset = Literal["embedded", "paper", "smoke"]
Device = Literal["auto", "cpu", "cuda"]
FileOut = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
Settings = TypeVar("Settings", bound="Common")
Measure, Draws = Callable[[Settings, str], Measured], Mapping[str, Callable[[Record], "Figure"]]

OUTPUTS_VARIABLE = "MODALITY_GAP_OUTPUTS"
OUTPUTS = Path(os.environ.get(OUTPUTS_VARIABLE) or REPOSITORY / "outputs")
"""Folder of all results; ``MODALITY_GAP_OUTPUTS`` names another."""
MOST_SEED = 2**31
"""numpy and scikit-learn take seeds of 32 bits; scripts that run several count up from the one given."""


@dataclass(frozen=True)
class Only:
    """Options, with blanks between, that only runs ``when`` it is so read: given to another they are refused.

    Settings and commands hold a tuple of these as ``ONLY``, beside those of the classes that they inherit from.
    """

    options: str
    to: str
    when: Callable


@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every script; a script's own settings inherit from it."""

    preset: Preset = "embedded"
    """embedded: no download, a CPU, minutes. paper: the paper's model, data and settings. smoke: seconds."""
    output: Path
    """Folder for the csv, json, png and pdf files; -o is the same option."""
    device: Device = "auto"
    """auto takes a GPU where there is one."""
    seed: int = 0
    """Seed of everything random."""
    width: Literal["column", "page"] = "page"
    """Pictures across one column of a paper, or across its page; no text is below 6 pt there."""

    def own(self) -> tuple:
        """Your own data and functions among the options, or None: results go to a folder that they name together."""
        models = (*getattr(self, "models", ()), getattr(self, "model", None))
        return tuple(each.split(":", 1)[1].rpartition(":")[0] for each in models if each and each.startswith("python:"))


@dataclass(frozen=True, kw_only=True)
class WithEmbeddings(Common):
    """Options of a script that takes your own embeddings."""

    embeddings: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Your own embeddings in place of all else, repeatable: a file or folder of any format, or files of one modality
    each (image=a.npy says which)."""
    columns: tuple[str, ...] = ()
    """Names of the arrays or columns in them, for instance --columns image=COLUMN text=COLUMN."""
    ONLY: ClassVar = (Only("columns", "--embeddings", lambda chosen: chosen.embeddings),)

    def own(self) -> tuple:
        return (*self.embeddings, *super().own())


def as_paths(given) -> tuple[str, ...]:
    """What EMBEDDINGS of a notebook names, a path or a list of paths, as settings hold it; of None nothing."""
    return tuple(map(str, [given] if isinstance(given, (str, Path)) else given or ()))


def named_columns(words: Sequence[str]) -> dict[str, str] | None:
    """The words of --columns, by modality; None where there are none."""
    pairs = [word.partition("=")[::2] for word in words]
    if not all(map(all, pairs)) or len({name for name, _ in pairs}) < len(pairs):
        raise UserError(f"--columns takes words like image=COLUMN, a modality once, not {' '.join(words)}")
    return dict(pairs) or None


def parse(presets: Mapping[Preset, Settings], description: str, arguments: Sequence[str] | None = None) -> Settings:
    """Reads words, by default those of this process, over the preset that they name; ``presets`` are of one class."""
    given = sys.argv[1:] if arguments is None else arguments
    words = [f"--output{word[2:]}" if word == "-o" or word.startswith("-o=") else word for word in given]
    named = re.findall(r"--preset[ =](\S+)", " ".join(words)) or ["embedded"]
    default = presets.get(named[-1], presets["embedded"])
    return in_one_line(tyro.cli, type(default), default=default, args=words, description=description)


def in_one_line(read: Callable, *what, args: Sequence[str], **options):
    """What tyro reads of a command line, ``checked``; of the box that it draws around an error, a UserError's line."""
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            return checked(read(*what, **options, args=args, config=(tyro.conf.OmitArgPrefixes,)), args)
    except SystemExit as end:
        if not end.code:  # after --help
            raise
    parts: list[list[str]] = [[]]  # the error, what may have been meant, where help is
    for row in re.sub(r"\x1b\[[\d;]*m", "", box.getvalue()).splitlines()[1:-1]:
        if not re.search(r"\w", row):
            parts.append([])
        elif not row[1:].startswith(" " * 9):  # as deep stands the help of an option
            parts[-1].append(row.strip("│| "))
    parts = [part for part in parts if part and not part[0].startswith(("For full help", "Argument help"))]
    said = [" ".join(part).rstrip(".") for part in parts]
    several = re.search(r"(--embeddings|--corpus)[ =]\S+ ([^-\s]\S*)", " ".join(args))
    if several and f"Unrecognized options: {several[2]}" in " ".join(said):
        said.append(f"repeat {several[1]} before each file")
    raise UserError("; ".join([*said, "see --help"]))


def checked(settings, words: Sequence[str]):
    """The settings of a command line, unless a seed is out of range or an option that was given does nothing."""
    seed = getattr(settings, "seed", 0)
    if not 0 <= seed <= MOST_SEED:
        raise UserError(f"--seed must be a whole number from 0 to {MOST_SEED}, not {seed}")
    options = {re.split("[ =]", word)[0].removeprefix("--no-").lstrip("-") for word in words if word.startswith("--")}
    given = {option.replace("-", "_") for option in options}
    for only in [only for kind in type(settings).__mro__ for only in vars(kind).get("ONLY", ())]:
        if (useless := sorted(given & set(only.options.split()))) and not only.when(settings):
            named = " and ".join(f"--{name.replace('_', '-')}" for name in useless)
            applies = "only applies" if len(useless) == 1 else "only apply"
            raise UserError(f"{named} {applies} to {only.to}, and would do nothing here; leave it out")
    return settings


def run(work: Callable[[], None]) -> None:
    """Runs a command: a UserError becomes one line and exit code 2, Ctrl-C exit code 130, a closed pipe no word."""
    try:
        work()
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped: results that are whole stay, nothing half-written is left", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python says so once more at its end
        sys.exit(141)  # what a shell gives of a process that a closed pipe ended


def publish_run(
    name: str, settings: Settings, measure: Measure, draw: Draws, *, title: str, captions: Mapping, reuse: bool = False
) -> Record:
    """Measures, records, draws, and puts all files of a run into ``settings.output`` together.

    Args:
        name: the script's name, stem of its files.
        settings: your own data in them go to a folder of their own, without comparisons.
        draw: suffix of a picture ("" for ``<script>.png`` and ``.pdf``) -> what draws it from the record.
        title, captions: as in ``util.records.save``; ``words`` reads them.
        reuse: take the record that is already in the folder, where it is the same run's (``util.records.matching``).
    """
    settings = own_output(absolute(settings))
    for folder in (settings.output, OUTPUTS) if reuse else ():
        if kept := records.matching(folder, name, settings)[0]:
            say(f"[{name}] the record that is there is used: {records.plain(folder)}/{name}.json")
            return kept
    start, device = time.perf_counter(), resolve_device(settings.device)
    facts = {"settings": settings, "device": device, "title": title, "own": " + ".join(own_places(settings))}
    found = measure(settings, device)
    for line in found.left_out:
        say(f"[{name}] left out: {line.split('; ')[0]}")  # all of it in the record
    if facts["own"]:
        found = replace(found, comparisons=())
    facts["captions"] = {stem: said for stem, said in captions.items() if stem.removeprefix(name) not in found.undrawn}
    with publishing(settings.output) as folder:
        record = records.save(folder, name, found, seconds=time.perf_counter() - start, **facts)
        figures.use_style()
        for suffix in [suffix for suffix in draw if suffix not in found.undrawn]:
            figures.save(draw[suffix](record), folder, f"{name}{suffix}")
        written = {path.name for path in folder.iterdir()}
    for file in {f"{name}{suffix}{kind}" for suffix in draw for kind in records.ENDS} - written:
        (settings.output / file).unlink(missing_ok=True)  # of an older run, it would stand beside newer numbers
    for line in found.said:
        say(f"[{name}] {line}")
    ends = sorted(file.removeprefix(name) for file in written if Path(file).stem == name)
    files = f"{name}{', '.join(ends)}" + (f" and {more} more" if (more := len(written) - len(ends)) else "")
    say(f"[{name}] wrote {on_terminal(settings.output)}: {files}, in {time.perf_counter() - start:.1f} s")
    return records.load(settings.output, name)


def words(script: str) -> dict:
    """Title and captions of a script, from its table in captions.toml beside it, as ``publish_run`` takes them."""
    path = Path(script)
    captions = tomllib.loads((path.parent / "captions.toml").read_text(encoding="utf-8"))[path.stem]
    return {"title": captions.pop("title"), "captions": captions}


def main(presets: Mapping[Preset, Settings], work: Callable[[Settings], object], description: str) -> None:
    """Reads a script's command line and works."""
    run(lambda: work(parse(presets, description)))


def absolute(settings: Settings) -> Settings:
    """Settings whose paths mean the same in every working directory, as a record must hold them."""

    def whole(name: str, value):
        if isinstance(value, tuple):
            return tuple(whole(name, each) for each in value)
        if name in ("embeddings", "corpus") and not is_remote(path := named_path(value)[1]):
            return f"{str(value).removesuffix(path)}{Path(path).absolute()}"
        return value.absolute() if isinstance(value, Path) else value

    return replace(settings, **{each.name: whole(each.name, getattr(settings, each.name)) for each in fields(settings)})


def own_places(settings: Settings) -> list[str]:
    """Where your own data lie, each place once."""
    return list(dict.fromkeys(place(each) for each in settings.own() if each is not None))


def own_output(settings: Settings) -> Settings:
    """Settings whose results of your own data go to ``outputs/own/<name>/``, unless --output names a folder.

    Those of other presets go to ``<name>-smoke/`` and ``<name>-paper/``. The name joins the stems of ``settings.own()``
    by "+", of many long ones the first and how many more. A folder that holds results of other data is refused.
    """
    own = own_places(settings)
    if not own or Path(settings.output).resolve() != type(settings).output.resolve():
        return settings
    suffix = "" if settings.preset == "embedded" else f"-{settings.preset}"
    first, *others = [Path(each).stem for each in own]
    name, together = "+".join([first, *others]), " + ".join(own)
    if others and len(name) > 80:
        name = f"{first[:60]}+{len(others)}-more"
    folder, said = OUTPUTS / "own" / f"{name}{suffix}", f'"own_data": {json.dumps(together)}'
    if any(said not in path.read_text() for path in folder.glob("*.json")):  # a damaged one too
        raise UserError(f"{folder} holds results of other data than {together}; give --output FOLDER, or remove it")
    return replace(settings, output=folder)


def resolve_device(device: Device) -> str:
    """ "cpu" or "cuda" for an option; cuda where there is none is refused."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU here; use --device cpu")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def shift_grid(step: float) -> "np.ndarray":
    """Shifts of --shift-step: multiples of the step from -5 up to, but without, 5, with 0 among them exactly."""
    import numpy as np

    if not 0.001 <= step <= 5:
        raise UserError(f"--shift-step must be from 0.001 to 5, not {step}")
    return np.arange(-np.floor(5 / step + 1e-9), np.ceil(5 / step - 1e-9)) * step


def on_terminal(path: Path) -> str:
    """A path as the user's shell takes it: relative where it lies below the working directory, else absolute."""
    path = Path(path).absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def say(message: str) -> None:
    """One line of progress on the terminal."""
    print(message, flush=True)
