"""The checkpoint of a training run: one safetensors file, taken up only if it is whole.

It holds the tensors and, as metadata, how far the run is, all that it depends on and a hash of everything. A run that
is killed, or a disk that fills, leaves the one before it as it was.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
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

FORMAT = 3
"""Raise it when a checkpoint's contents change."""

METADATA = "checkpoint"
"""One metadata value alone, so that equal content has equal bytes."""

PICTURES = 64
"""Pictures, evenly spaced, whose content tells one corpus from another of the same captions."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoints:
    """Where to write the checkpoint, and how often.

    Args:
        folder: for this run alone; made where it is missing.
        every: steps from one to the next; it is written at the end too.
        say: takes one line about a resumed run or a damaged checkpoint.
    """

    folder: str | Path
    every: int
    say: Callable[[str], None] = field(default=print, compare=False)

    def __post_init__(self):
        as_count(self.every, "every")
        object.__setattr__(self, "folder", Path(self.folder))

    @property
    def path(self) -> Path:
        return self.folder / "last.safetensors"


@dataclass
class History:
    """How far a run is: steps done, its log, the losses since the last entry, and seconds spent."""

    step: int = 0
    log: list[dict] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


def save(checkpoints: Checkpoints, identity: Mapping, history: History, tensors: Tensors) -> None:
    """Writes the checkpoint in place of the one before."""
    path = checkpoints.path
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    record = json.dumps({"identity": dict(identity), **asdict(history)}, allow_nan=False)
    try:
        for name, value in tensors.items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise UserError(f"{path}: not written, for {name} holds a number that is not finite")
        with files.replacing(path) as part:
            told = json.dumps({"record": record, "sha256": _digest(record, tensors)})
            save_file(tensors, part, {METADATA: told})
    except (UserError, SafetensorError) as error:
        reason = str(error) if isinstance(error, UserError) else f"{path}: could not be written ({error})"
        raise UserError(f"{reason}; training stopped after step {history.step}{last_words(checkpoints)}") from error


def latest(checkpoints: Checkpoints, identity: Mapping) -> tuple[History, Tensors] | None:
    """The checkpoint of the same run; None where there is none, or a damaged one, which is named.

    Removes what a killed run left half written.
    """
    files.remove_left(checkpoints.folder)
    found = _read(checkpoints.path, checkpoints.say)
    if not found:
        return None
    record, tensors = found
    if changed := records.differences(record.pop("identity"), records.plain(identity)):
        what = f"this checkpoint is of a run with other settings ({', '.join(changed)})"
        raise UserError(f"{checkpoints.path}: {what}; give the same ones to go on with it, or another folder")
    return History(**record), tensors


def last_words(checkpoints: Checkpoints | None) -> str:
    """The end of an error's line: where the last good checkpoint is; nothing where none are written."""
    if checkpoints is None:
        return ""
    if found := _read(checkpoints.path, lambda line: None):
        return f"; the last good checkpoint, of step {found[0]['step']}, is {checkpoints.path}"
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


def _digest(record: str, tensors: Tensors) -> str:
    return files.digest([FORMAT, record, digest_of(tensors)])


def _read(path: Path, say: Callable[[str], None]) -> tuple[dict, Tensors] | None:
    """A checkpoint's record and tensors, proved whole; None where it is not there, or damaged, which is said."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get(METADATA, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        if about.get("sha256") != _digest(about.get("record", ""), tensors):
            raise ValueError("its content does not have its hash")
    except (SafetensorError, OSError, ValueError) as error:
        say(f"[checkpoint] {path} is damaged ({error}); starting anew")
        return None
    return json.loads(about["record"]), tensors
