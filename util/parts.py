"""Rows of many items, made part by part: each part is kept as it is done, so that a run that was killed resumes there.

A part holds the next so many items that can be read, wherever those are, so that batches are what one long run would
have made and the rows are the same to the bit.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from .corpora.captioned import Readable
from .errors import UserError
from .files import replacing

ITEMS = 512
"""About how many items a part holds; a whole number of batches."""


@dataclass(frozen=True)
class Part:
    """The rows of some of n items.

    Attributes:
        rows: float32 (k, d).
        kept: int64 (k,), ascending: the number of the item that each row belongs to.
        skipped: numbers of the items that could not be read, and why.
        end: the first item that was not looked at.
    """

    rows: Float[np.ndarray, "k d"]
    kept: Int[np.ndarray, "k"]
    skipped: dict[int, str]
    end: int


@dataclass(frozen=True)
class Work:
    """What is to be done to n items, how, and which of it is acceptable.

    Attributes:
        openers: n functions without arguments, each of which gives one item or raises ``Unreadable``.
        ids: n names.
        encode: an iterable of items to rows (k, d), one for each.
        words: what the items are called in messages, in the plural.
        items: readable items of a part; None: all are one part.
        most_skipped: share of the items that may be unreadable; None: any.
    """

    openers: Sequence[Callable[[], Any]]
    ids: Sequence[str]
    encode: Callable[[Iterator], np.ndarray]
    words: str
    items: int | None = None
    most_skipped: float | None = None

    def named(self, skipped: Mapping[int, str]) -> list[str]:
        """A line "name: reason" for each of these items, in their order."""
        return [f"{self.ids[row]}: {reason}" for row, reason in sorted(skipped.items())]


def part_items(batch_size: int) -> int:
    """How many items make a part of whole batches: about ``ITEMS``, at least one batch."""
    return batch_size * max(1, ITEMS // batch_size)


def run(work: Work, folder: Path | None, say: Callable[[str], None] = print) -> tuple[Part, Path | None]:
    """The rows of all items that can be read, as one part; parts found in the folder are not made again.

    Args:
        work: the items and what is done to them.
        folder: where the parts of exactly this work are kept; None: nowhere.
        say: takes a line about a part that is damaged, and one where the folder cannot be written.

    Returns:
        the rows, and the folder; None in its place where it could not be written.

    Raises:
        UserError: no items, none that can be read, more unreadable ones than are accepted, or as ``work.encode``.
    """
    total = len(work.openers)
    if not total:
        raise UserError(f"there are no {work.words} to encode")
    parts: list[Part] = []
    with tqdm(total=total, desc=f"{work.words}, in parts", leave=False, delay=2) as bar:
        while not parts or parts[-1].end < total:
            part, folder = _next(work, parts[-1].end if parts else 0, len(parts), folder, say)
            bar.update(part.end - (parts[-1].end if parts else 0))
            parts.append(part)
            skipped = work.named({row: reason for each in parts for row, reason in each.skipped.items()})
            refuse_many(skipped, total, work.words, work.most_skipped, part.end)
    return _joined(parts), folder


def drop(folder: Path) -> None:
    """Removes the parts of a folder, once what they make together is stored elsewhere."""
    shutil.rmtree(folder, ignore_errors=True)


def _next(work: Work, start: int, number: int, folder: Path | None, say) -> tuple[Part, Path | None]:
    """The part that begins at an item, and the folder if it can be written."""
    if folder is None:
        return _made(work, start), None
    path = folder / f"{number:06d}.safetensors"
    if part := _found(path, start, len(work.openers), say):
        return part, folder
    part = _made(work, start)
    try:
        _save(part, start, path)
    except UserError as error:
        say(f"[extraction] not kept for the next time: {error}")
        return part, None
    return part, folder


def _made(work: Work, start: int) -> Part:
    skipped: dict[int, str] = {}
    readable = Readable(work.openers[start:], skipped)
    taken: list[int] = []
    items = _counted(readable, skipped, taken, work.items)
    first = next(items, None)
    if first is None:
        rows = np.empty((0, 0), np.float32)
    else:
        rows = _encoded(work, _Sized(chain([first], items), _length(work, start)), start)
    if len(rows) != len(taken):
        raise UserError(f"{len(taken)} {work.words} were read, but the encoder gave {len(rows)} rows")
    end = start + len(taken) + len(skipped)
    kept = np.array(taken, np.int64) + start
    return Part(rows, kept, {start + row: reason for row, reason in skipped.items()}, end)


def _counted(readable: Readable, skipped: dict, taken: list[int], most: int | None) -> Iterator:
    """The next readable items, at most so many; ``taken`` receives the number of each."""
    for item in islice(readable, most):
        taken.append(len(taken) + len(skipped))
        yield item


@dataclass(frozen=True)
class _Sized:
    """An iterator that says, for a progress bar, how many items it has at most."""

    items: Iterator
    length: int

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator:
        return self.items


def _length(work: Work, start: int) -> int:
    left = len(work.openers) - start
    return left if work.items is None else min(left, work.items)


def _encoded(work: Work, items: _Sized, start: int) -> np.ndarray:
    try:
        return np.asarray(work.encode(items), np.float32)
    except UserError as error:
        raise UserError(
            f"{error} (counted from number {start} of the {work.words})" if start else str(error)
        ) from error


def refuse_many(named: Sequence[str], total: int, words: str, most_skipped: float | None, seen: int) -> None:
    """Stops where more items are unreadable than are accepted.

    Args:
        named: a line for each unreadable item, in their order.
        total: all items.
        words: what they are called.
        most_skipped: the share of them that may be unreadable; None: any but all.
        seen: how many were looked at.

    Raises:
        UserError: more than that, or all; says how many, and the first.
    """
    if not named:
        return
    if len(named) == total:
        raise UserError(f"none of the {total} {words} can be read, first {named[0]}")
    if most_skipped is not None and len(named) > most_skipped * total:
        so_far = f", of {seen} looked at," if seen < total else ""
        raise UserError(
            f"{len(named)} of {total} {words}{so_far} cannot be read, more than {most_skipped:.0%}: first {named[0]}; "
            "fetch them again, or leave them out of the data"
        )


def _joined(parts: Sequence[Part]) -> Part:
    rows = np.concatenate([part.rows for part in parts if len(part.rows)])
    skipped = {row: reason for part in parts for row, reason in part.skipped.items()}
    return Part(rows, np.concatenate([part.kept for part in parts]), skipped, parts[-1].end)


def _save(part: Part, start: int, path: Path) -> None:
    arrays = {"rows": np.ascontiguousarray(part.rows), "kept": part.kept}
    about = {"start": start, "end": part.end, "skipped": part.skipped, "sha256": _digest(arrays)}
    with replacing(path) as temporary:
        save_file(arrays, temporary, metadata={"part": json.dumps(about)})


def _found(path: Path, start: int, total: int, say) -> Part | None:
    """The part of a file, if it is whole and begins where it should."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()["part"])
            arrays = {name: file.get_tensor(name) for name in ("rows", "kept")}
        if about["sha256"] != _digest(arrays) or not start == about["start"] < about["end"] <= total:
            raise ValueError("its content is not what was stored")
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        say(f"[extraction] {path}: not a whole part, made again ({str(error).splitlines()[0]})")
        return None
    skipped = {int(row): reason for row, reason in about["skipped"].items()}
    return Part(arrays["rows"], arrays["kept"], skipped, about["end"])


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
