"""Checkpoints of a training run: tensors in safetensors, everything else in json, each found again only if whole.

A checkpoint is two files, ``step-00000100.safetensors`` and ``step-00000100.json``. The json is written last and holds
the hash of both, so a run that is killed, or a disk that fills, at any moment leaves the checkpoint before it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .. import files
from ..errors import UserError
from ..numerics.arrays import as_count

FORMAT = 1
"""Raise it when a checkpoint's contents change."""

KEPT = 2
"""Checkpoints that stay: the last one and the one before it."""

PICTURES = 64
"""Pictures, evenly spaced, whose content tells one corpus from another of the same captions."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often to write checkpoints, and all else that the run depends on.

    Args:
        folder: for this run alone; made where it is missing. Several processes must see the same one.
        every: steps between checkpoints; one more is written at the end.
        about: json-able: model, corpus, preprocessing; compared when a run is resumed.
        say: takes one line about a resumed run or a damaged checkpoint.
    """

    folder: str | Path
    every: int
    about: Mapping = field(default_factory=dict)
    say: Callable[[str], None] = field(default=print, compare=False)

    def __post_init__(self):
        as_count(self.every, "every")
        object.__setattr__(self, "folder", Path(self.folder))


@dataclass
class History:
    """How far a run is: steps done, its log, the losses since the last entry, and seconds spent."""

    step: int = 0
    log: list[dict] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


def save(checkpoints: Checkpoints, identity: Mapping, history: History, tensors: Tensors) -> Path:
    """Writes a checkpoint, removes all but the last two, and returns the path of its json."""
    path = checkpoints.folder / f"step-{history.step:08d}.json"
    try:
        _refuse_infinite(path, tensors)
        with files.replacing(path.with_suffix(".safetensors")) as part:
            save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, part)
        record = {
            "format": FORMAT,
            "tensors_sha256": files.sha256(path.with_suffix(".safetensors")),
            "identity": dict(identity),
            **asdict(history),
        }
        record["sha256"] = _digest(record)
        with files.replacing(path) as part:
            part.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    except (UserError, SafetensorError, OSError) as error:
        unsaved = path.with_suffix(".safetensors") if isinstance(error, SafetensorError) else path
        reason = str(error) if isinstance(error, UserError) else f"{unsaved}: could not be written ({error})"
        raise UserError(f"{reason}; training stopped after step {history.step}{last_words(checkpoints)}") from error
    _prune(checkpoints.folder, history.step)
    return path


def latest(checkpoints: Checkpoints, identity: Mapping) -> tuple[History, Tensors] | None:
    """The last whole checkpoint of the same run; damaged ones are named and passed over. None: there is none."""
    for path in reversed(_paths(checkpoints.folder)):
        try:
            record = _read(path)
        except UserError as error:
            checkpoints.say(f"[checkpoint] {error}; taking the one before it")
            continue
        if found := differences(record["identity"], json.loads(json.dumps(identity))):
            raise UserError(
                f"{path}: this checkpoint is of a run with other settings ({'; '.join(found)}); give the same ones to"
                " go on with it, or another folder to start anew"
            )
        try:
            tensors = load_file(path.with_suffix(".safetensors"))
        except (SafetensorError, OSError) as error:
            checkpoints.say(f"[checkpoint] {path}: its tensors cannot be read ({error}); taking the one before it")
            continue
        return History(*(record[name] for name in ("step", "log", "losses", "seconds"))), tensors
    return None


def last_words(checkpoints: Checkpoints | None) -> str:
    """The end of an error's line: where the last good checkpoint is; nothing where none are written."""
    if checkpoints is None:
        return ""
    for path in reversed(_paths(checkpoints.folder)):
        try:
            _read(path)
        except UserError:
            continue
        return f"; the last good checkpoint is {path}"
    return "; no checkpoint was written before"


def differences(there: Mapping, here: Mapping, under: str = "") -> list[str]:
    """One line for each value of two nested json mappings that differs: "settings.batch: 64 there, 32 asked for"."""
    found = []
    for name in dict.fromkeys([*there, *here]):
        a, b = there.get(name), here.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{under}{name}.")
        elif a != b or (name in there) != (name in here):
            found.append(f"{under}{name}: {_short(a)} there, {_short(b)} asked for")
    return found


def _short(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:18]}...{text[-18:]}"


def clean(folder: Path) -> None:
    """Removes what a killed run left half written."""
    for part in Path(folder).glob(".step-*"):
        part.unlink(missing_ok=True)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """A hash of tensors' names, dtypes, shapes and contents."""
    found = hashlib.sha256()
    for name, value in tensors.items():
        value = value.detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(memoryview(value.reshape(-1).view(torch.uint8).numpy()))
    return found.hexdigest()


def data_digest(images: Tensor, tokens: Tensor) -> str:
    """A hash of all captions and of 64 pictures; a corpus on disk is not read through for it."""
    some = torch.from_numpy(np.linspace(0, len(images) - 1, min(PICTURES, len(images))).astype(np.int64))
    return digest_of({"images": images[some], "count": torch.tensor(len(images)), "tokens": tokens})


def _paths(folder: Path) -> list[Path]:
    return sorted(Path(folder).glob("step-????????.json"))


def _digest(record: Mapping) -> str:
    rest = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _read(path: Path) -> dict:
    """A checkpoint's json, after both its files proved whole."""
    try:
        record = json.loads(path.read_text())
        if not isinstance(record, dict) or record.get("sha256") != _digest(record):
            raise UserError(f"{path} is damaged (its content does not have its hash)")
        if record["format"] != FORMAT:
            raise UserError(f"{path} is of format {record['format']}, not {FORMAT}")
        tensors = path.with_suffix(".safetensors")
        if files.sha256(tensors) != record["tensors_sha256"]:
            raise UserError(f"{tensors} is damaged (its content does not have its hash)")
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error})") from None
    return record


def _refuse_infinite(path: Path, tensors: Tensors) -> None:
    for name, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"{path}: not written, for {name} holds a number that is not finite")


def _prune(folder: Path, step: int) -> None:
    """Keeps the last two checkpoints up to ``step``; later ones are what a damaged future left behind."""
    past = [path.stem for path in _paths(folder) if path.stem <= f"step-{step:08d}"]
    for path in sorted(folder.glob("step-????????.*")):  # the json first, so that what is left of a removal is none
        if path.stem not in past[-KEPT:]:
            path.unlink(missing_ok=True)
