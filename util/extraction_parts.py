"""Rows of many items, encoded part by part, so that a run that was killed resumes at the next part.

A part holds the next so many items that can be read, wherever those are. Batches are therefore those of one long run,
and the rows are the same to the bit.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save, save_file
from tqdm import tqdm

from .corpora.captioned import Unreadable
from .errors import UserError
from .files import replacing

ITEMS = 512
"""About how many items a part holds; a whole number of batches."""


@dataclass(frozen=True)
class Part:
    """Rows of some of n items and, ascending, the number of the item that each belongs to.

    ``skipped`` are numbers of the items that could not be read, and why. ``end`` is the first that was not looked at.
    """

    rows: Float[np.ndarray, "k d"]
    item_of: Int[np.ndarray, "k"]
    skipped: dict[int, str]
    end: int


@dataclass(frozen=True)
class Work:
    """The items to encode, and how.

    Attributes:
        openers, ids: as those of ``Captioned``.
        encode: an iterable of items to rows (k, d), one for each.
        words: what the items are called in messages, in the plural.
        batch_size: a part is a whole number of such batches; None: all items are one part.
        most_skipped: share of the items that may be unreadable; None: any but all.
        say: takes a line about a part that is damaged, or a place that cannot be written.
    """

    openers: Sequence[Callable[[], Any]]
    ids: Sequence[str]
    encode: Callable[[Iterator], np.ndarray]
    words: str
    batch_size: int | None
    most_skipped: float | None
    say: Callable[[str], None]

    def lines(self, skipped: Mapping[int, str]) -> list[str]:
        """A line "name: reason" for each of these items, in their order."""
        return [f"{self.ids[number]}: {reason}" for number, reason in sorted(skipped.items())]

    def refuse_many(self, lines: Sequence[str], seen: int | None = None) -> None:
        """Stops where more items are unreadable, one line for each, than are accepted; ``seen`` were looked at."""
        total, most = len(self.ids), self.most_skipped
        if lines and len(lines) == total:
            raise UserError(f"none of the {total} {self.words} can be read, first {lines[0]}")
        if most is not None and len(lines) > most * total:
            so_far = f", of {seen} looked at," if seen not in (None, total) else ""
            raise UserError(
                f"{len(lines)} of {total} {self.words}{so_far} cannot be read, more than {most:.0%}: first {lines[0]}; "
                "fetch them again, or leave them out of the data"
            )


def run(work: Work, folder: Path | None) -> tuple[Part, Path | None]:
    """The rows of all items that can be read, as one part; parts found in the folder are not made again.

    ``folder`` is where the parts of exactly this work are stored; None: nowhere. It comes back if it could be written.
    """
    total, start = len(work.ids), 0
    if not total:
        raise UserError(f"there are no {work.words} to encode")
    parts: list[Part] = []
    skipped: dict[int, str] = {}
    with tqdm(total=total, desc=f"{work.words}, in parts", leave=False, delay=2, disable=None) as bar:
        while start < total:
            path = folder and folder / f"{len(parts):06d}.safetensors"
            part = path and _stored(path, start, total, work.say)
            if part is None:
                part = _encoded(work, start)
                folder = folder if path and _kept(part, start, path, work.say) else None
            parts.append(part)
            skipped |= part.skipped
            work.refuse_many(work.lines(skipped), part.end)
            bar.update(part.end - start)
            start = part.end
    rows = np.concatenate([part.rows for part in parts if len(part.rows)])
    return Part(rows, np.concatenate([part.item_of for part in parts]), skipped, total), folder


def _encoded(work: Work, start: int) -> Part:
    """The part that begins at an item."""
    most = None if work.batch_size is None else work.batch_size * max(1, ITEMS // work.batch_size)
    skipped: dict[int, str] = {}
    taken: list[int] = []

    def readable() -> Iterator:
        for number in range(start, len(work.ids)):
            if len(taken) == most:
                return
            try:
                item = work.openers[number]()
            except Unreadable as error:
                skipped[number] = str(error)
            else:
                taken.append(number)
                yield item

    items, rows = readable(), np.empty((0, 0), np.float32)
    try:
        if (first := next(items, None)) is not None:
            rows = np.asarray(work.encode(chain([first], items)), np.float32)
    except UserError as error:
        where = f" (counted from number {start} of the {work.words})" if start else ""
        raise UserError(f"{error}{where}") from error
    if len(rows) != len(taken):
        raise UserError(f"{len(taken)} {work.words} were read, but the encoder gave {len(rows)} rows")
    return Part(rows, np.array(taken, np.int64), skipped, start + len(taken) + len(skipped))


def _kept(part: Part, start: int, path: Path, say: Callable[[str], None]) -> bool:
    """Whether a part could be stored; says so where it could not."""
    arrays = {"rows": np.ascontiguousarray(part.rows), "item_of": part.item_of}
    about = {"start": start, "end": part.end, "skipped": part.skipped, "sha256": _digest(arrays)}
    try:
        with replacing(path) as temporary:
            save_file(arrays, temporary, metadata={"part": json.dumps(about)})
    except UserError as error:
        say(f"[extraction] not kept for the next time: {error}")
        return False
    return True


def _stored(path: Path, start: int, total: int, say: Callable[[str], None]) -> Part | None:
    """The part of a file, if it is whole and begins where it should."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()["part"])
            arrays = {name: file.get_tensor(name) for name in ("rows", "item_of")}
        if about["sha256"] != _digest(arrays) or not start == about["start"] < about["end"] <= total:
            raise ValueError("its content is not what was stored")
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        say(f"[extraction] {path}: not a whole part, made again ({str(error).splitlines()[0]})")
        return None
    return Part(**arrays, skipped={int(number): why for number, why in about["skipped"].items()}, end=about["end"])


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    return hashlib.sha256(save(arrays)).hexdigest()
