"""From items to embeddings, once: rows are cached in parts, in a folder that is named by all their settings.

A part holds the next about 512 images that can be read, wherever those are. So batches are those of one long run: one
that was killed goes on at the next part, to the same bits. Videos, sequences and captions are one part each.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save, save_file
from tqdm import tqdm

from . import UserError, reason
from .cli import say
from .corpora.captioned import WORDS, Captioned, Items, Readable
from .embeddings import Embeddings
from .encoders.tower import EncoderPair
from .files import cached_path, digest, replacing

FORMAT = 2
"""Raise it when extraction itself changes, so that nothing made before is taken for the new."""

BATCH = {"image": 64}
"""How many items go through a tower at a time unless told otherwise; of other modalities the tower decides."""

ITEMS = 512
"""About how many items a part holds; a whole number of batches."""

MOST_SKIPPED = 0.01
"""The share of a task's images that may be unreadable: more of them, and the numbers are about other data."""


def extract(
    encoder: EncoderPair,
    captioned: Captioned,
    batch_size: int | None = None,
    cache: bool = True,
    most_skipped: float | None = None,
) -> Embeddings:
    """Embeddings of items (under the name of their modality) and their captions ("text"), cached.

    An item that cannot be read is left out with its captions, and named in ``source["data"]["skipped"]``.

    Args:
        batch_size: how many go through a tower at a time; None: 64 photographs, of other items what the tower takes.
        cache: whether to keep rows in the cache folder, where it can be written; those of your own functions are not.
        most_skipped: share of the items that may be unreadable, for instance ``MOST_SKIPPED``; None: any but all.

    Returns:
        embeddings of n items and m texts, pairs (m, 2); n = m and paired row by row unless the caption rule is
        "all". ``source`` holds "settings" (all of them) and "data" (what was read in the end).
    """
    part, settings, store = _embedded(encoder, captioned, most_skipped, batch_size, cache)
    readable = captioned.without(part.skipped)
    captions, each = readable.captions, np.arange(len(readable.captions))

    def encoded() -> Part:
        rows = encoder.text.encode(captions, batch_size=settings["batch"])
        return Part(np.asarray(rows, np.float32), each, {}, len(captions))

    texts = store.part(digest(captions), 0, len(captions), encoded)
    pairs = np.stack([readable.item_of, each], axis=1)
    source = {"settings": settings, "data": dict(readable.source)}
    return Embeddings.of({captioned.modality: part.rows, "text": texts.rows}, pairs, source=source)


def embed_images(
    pair: EncoderPair, images: Items, most_skipped: float = MOST_SKIPPED, **options
) -> tuple[Float[np.ndarray, "k d"], Int[np.ndarray, "k"], list[str]]:
    """Embeddings of n images without captions by the image tower of a pair; ``options`` as of ``extract``.

    Returns:
        unit rows float32 (k, d); int64 (k,), ascending, which image each is of; "id: reason" of each unreadable one.
    """
    part, *_ = _embedded(pair, images, most_skipped, **options)
    return part.rows, part.item_of, images.named(part.skipped)


def class_embeddings(pair: EncoderPair, texts: Sequence[Sequence[str]]) -> Float[np.ndarray, "c d"]:
    """float32 unit rows (c, d), each the mean of the unit rows of a class's prompts, made unit again.

    ``texts`` are the prompts of each class, one or more. Source: CLIP's ensembles (Radford et al. 2021, section 3.1.4).
    """
    different = list(dict.fromkeys(prompt for prompts in texts for prompt in prompts))
    rows = np.asarray(pair.text.encode(different), np.float64)
    place = {prompt: row for row, prompt in enumerate(different)}
    means = np.stack([rows[[place[prompt] for prompt in prompts]].mean(0) for prompts in texts])
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    if not (norms >= 1e-6).all():  # below it float32 leaves a mean of unit rows no direction
        least = int(norms.argmin())
        raise UserError(f"the prompts of class {least} cancel out; use others: {texts[least]}")
    return (means / norms).astype(np.float32)


@dataclass(frozen=True)
class Part:
    """Rows of some of n items and, ascending, the number of the item that each belongs to.

    ``skipped`` are numbers of the items that could not be read, and why. ``end`` is the first that was not looked at.
    """

    rows: Float[np.ndarray, "k d"]
    item_of: Int[np.ndarray, "k"]
    skipped: Mapping[int, str]
    end: int

    def __post_init__(self):
        if len(self.rows) != len(self.item_of):
            raise UserError(f"{len(self.item_of)} items were read, but the encoder gave {len(self.rows)} rows")


@dataclass
class Store:
    """A folder of parts; where it is None, or cannot be written, none is kept."""

    folder: Path | None

    def part(self, name: str, start: int, total: int, make: Callable[[], Part]) -> Part:
        """The stored part of a name if it is whole and begins where it should, or a new one, which is kept."""
        path = self.folder and self.folder / f"{name}.safetensors"
        if path and path.is_file():
            try:
                with safe_open(path, framework="numpy") as file:
                    about = json.loads(file.metadata()["part"])
                    arrays = {name: file.get_tensor(name) for name in ("rows", "item_of")}
                if about["sha256"] != _sha256(arrays) or not start == about["start"] < about["end"] <= total:
                    raise ValueError("its content is not what was stored")
                skipped = {int(number): why for number, why in about["skipped"].items()}
                return Part(**arrays, skipped=skipped, end=about["end"])
            except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
                say(f"[extraction] {path}: not a whole part, made again ({reason(error)})")
        part = make()
        arrays = {"rows": np.ascontiguousarray(part.rows), "item_of": part.item_of}
        about = {"start": start, "end": part.end, "skipped": part.skipped, "sha256": _sha256(arrays)}
        try:
            if path:
                with replacing(path) as temporary:
                    save_file(arrays, temporary, metadata={"part": json.dumps(about)})
        except UserError as error:
            say(f"[extraction] not kept for the next time: {error}")
            self.folder = None
        return part


def _sha256(arrays: Mapping[str, np.ndarray]) -> str:
    return hashlib.sha256(save(arrays)).hexdigest()


def _embedded(
    encoder: EncoderPair, items: Items, most_skipped: float | None, batch_size: int | None = None, cache: bool = True
) -> tuple[Part, dict, Store]:
    """The rows of all items that can be read, as one part, all that they depend on, and where they are kept."""
    modality = getattr(items, "modality", "image")  # items without captions are images
    words, takes, total = WORDS[modality], WORDS[encoder.non_text.modality], len(items)
    if words != takes:
        raise UserError(f"{encoder.name} embeds {takes}, but the data are {words}; choose an encoder of those")
    if not total:
        raise UserError(f"there are no {words} to encode")
    batch = batch_size or BATCH.get(modality)
    about = {"format": FORMAT, "encoder": dict(encoder.settings), "data": dict(items.source), "batch": batch}
    settings = json.loads(json.dumps(about))
    store = Store(cached_path("parts", settings) if cache and encoder.kept else None)
    most = batch * max(1, ITEMS // batch) if modality in BATCH else None
    encode = partial(encoder.non_text.encode, batch_size=batch)
    parts, skipped, start = [], {}, 0
    with tqdm(total=total, desc=f"{words}, in parts", leave=False, delay=2, disable=None) as bar:
        while start < total:
            make = partial(_encoded, encode, items.openers, start, most, words)
            part = store.part(f"{len(parts):06d}", start, total, make)
            parts.append(part)
            skipped |= part.skipped
            if len(skipped) == total:
                raise UserError(f"none of the {total} {words} can be read, first {items.named(skipped)[0]}")
            if most_skipped is not None and len(skipped) > most_skipped * total:
                what = f"{len(skipped)} of {total} {words} cannot be read, more than {most_skipped:.0%}"
                how = "fetch them again, or leave them out of the data"
                raise UserError(f"{what}: first {items.named(skipped)[0]}; {how}")
            bar.update(part.end - start)
            start = part.end
    if skipped:
        say(f"[extraction] {len(skipped)} of {total} {words} left out, first {items.named(skipped)[0]}")
    rows = np.concatenate([part.rows for part in parts if len(part.rows)])
    return Part(rows, np.concatenate([part.item_of for part in parts]), skipped, total), settings, store


def _encoded(
    encode: Callable[[Iterator], np.ndarray], openers: Sequence[Callable[[], Any]], start: int, most: int | None, words
) -> Part:
    """The part that begins at an item; ``most`` is how many it may hold."""
    skipped: dict[int, str] = {}
    taken, rows = count(), np.empty((0, 0), np.float32)
    items = (item for item, _ in zip(islice(Readable(openers[start:], skipped), most), taken, strict=False))
    try:
        if (first := next(items, None)) is not None:
            rows = np.asarray(encode(chain([first], items)), np.float32)
    except UserError as error:
        where = f" (counted from number {start} of the {words})" if start else ""
        raise UserError(f"{error}{where}") from error
    looked_at = range(next(taken) + len(skipped))
    item_of = start + np.array([row for row in looked_at if row not in skipped], np.int64)
    return Part(rows, item_of, {start + row: why for row, why in skipped.items()}, start + len(looked_at))
