"""Checkpoints of a training run: one safetensors file each, found again only if it is whole.

``step-00000100.safetensors`` holds the tensors and, as metadata, how far the run is, all that it depends on and a hash
of everything. A file appears complete or not at all. So a run that is killed, or a disk that fills, leaves the
checkpoint before it.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .. import files, records
from ..errors import UserError
from ..numerics.arrays import as_count

FORMAT = 2
"""Raise it when a checkpoint's contents change."""

KEPT = 2
"""Checkpoints that stay: the last one and the one before it."""

PICTURES = 64
"""Pictures, evenly spaced, whose content tells one corpus from another of the same captions."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often to write checkpoints.

    Args:
        folder: for this run alone; made where it is missing.
        every: steps between checkpoints; one more is written at the end.
        say: takes one line about a resumed run or a damaged checkpoint.
    """

    folder: str | Path
    every: int
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
    """Writes a checkpoint, removes all but the last two, and returns its path."""
    path = checkpoints.folder / f"step-{history.step:08d}.safetensors"
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    record = json.dumps({"identity": dict(identity), **asdict(history)}, allow_nan=False)
    try:
        for name, value in tensors.items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise UserError(f"{path}: not written, for {name} holds a number that is not finite")
        with files.replacing(path) as part:
            save_file(tensors, part, {"record": record, "sha256": _digest(record, tensors)})
    except (UserError, SafetensorError) as error:
        reason = str(error) if isinstance(error, UserError) else f"{path}: could not be written ({error})"
        raise UserError(f"{reason}; training stopped after step {history.step}{last_words(checkpoints)}") from error
    past = [other for other in _paths(checkpoints.folder) if other <= path]
    for other in set(_paths(checkpoints.folder)) - set(past[-KEPT:]):  # later ones are left by a damaged future
        other.unlink(missing_ok=True)
    return path


def latest(checkpoints: Checkpoints, identity: Mapping) -> tuple[History, Tensors] | None:
    """The last whole checkpoint of the same run; damaged ones are named and passed over. None: there is none.

    Removes what a killed run left half written.
    """
    for part in checkpoints.folder.glob(".step-*"):
        part.unlink(missing_ok=True)
    for path, record, tensors in _whole(checkpoints.folder, checkpoints.say):
        if found := records.differences(record.pop("identity"), records.plain(identity)):
            what = f"this checkpoint is of a run with other settings ({', '.join(found)})"
            raise UserError(f"{path}: {what}; give the same ones to go on with it, or another folder to start anew")
        return History(**record), tensors
    return None


def last_words(checkpoints: Checkpoints | None) -> str:
    """The end of an error's line: where the last good checkpoint is; nothing where none are written."""
    if checkpoints is None:
        return ""
    for path, *_ in _whole(checkpoints.folder, lambda line: None):
        return f"; the last good checkpoint is {path}"
    return "; no checkpoint was written before"


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """A hash of tensors' names, dtypes, shapes and contents."""
    found = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        value = value.detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(memoryview(value.reshape(-1).view(torch.uint8).numpy()))
    return found.hexdigest()


def data_digest(images: Tensor, tokens: Tensor) -> str:
    """A hash of all captions and of 64 pictures."""
    some = torch.from_numpy(np.linspace(0, len(images) - 1, min(PICTURES, len(images))).astype(np.int64))
    return digest_of({"images": images[some], "count": torch.tensor(len(images)), "tokens": tokens})


def _paths(folder: Path) -> list[Path]:
    return sorted(Path(folder).glob("step-????????.safetensors"))


def _whole(folder: Path, say: Callable[[str], None]) -> Iterator[tuple[Path, dict, Tensors]]:
    """Whole checkpoints with their contents, the last one first; damaged ones are named and passed over."""
    for path in reversed(_paths(folder)):
        try:
            found = _read(path)
        except UserError as error:
            say(f"[checkpoint] {error}; taking the one before it")
        else:
            yield path, *found


def _digest(record: str, tensors: Tensors) -> str:
    return files.digest([FORMAT, record, digest_of(tensors)])


def _read(path: Path) -> tuple[dict, Tensors]:
    """A checkpoint's record and tensors, proved whole."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error})") from None
    if about.get("sha256") != _digest(about.get("record", ""), tensors):
        raise UserError(f"{path} is damaged (its content does not have its hash)")
    return json.loads(about["record"]), tensors
