"""From items to embeddings, once: rows are cached in a folder that is named by all their settings.

Images are encoded in parts of about 512, each stored as it is done: a run that was killed goes on from there, to the
same bits. Videos and sequences, whose batches the tower makes, are one part, and so are captions.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .corpora.captioned import WORDS, Captioned
from .embeddings import Embeddings
from .encoders.tower import EncoderPair
from .errors import UserError
from .extraction_parts import Part, Work, run
from .files import cached_path, digest

FORMAT = 2
"""Raise it when extraction itself changes, so that nothing made before is taken for the new.

Since 2, greyscale of more than 8 bits is scaled, not clipped.
"""

BATCH = {"image": 64}
"""How many items go through a tower at a time unless told otherwise; of other modalities the tower decides."""

MOST_SKIPPED = 0.01
"""The share of a task's images that may be unreadable: more of them, and the numbers are about other data."""

Say = Callable[[str], None]
"""Takes one line for the terminal."""

CANCELLED = 1e-6
"""Norm of a mean of unit rows below which float32 leaves no direction."""


def extract(
    encoder: EncoderPair,
    captioned: Captioned,
    batch_size: int | None = None,
    cache: bool = True,
    say: Say = print,
    most_skipped: float | None = None,
) -> Embeddings:
    """Embeddings of items (under the name of their modality) and their captions ("text"), cached.

    An item that cannot be read is left out together with its captions, and counted and named in
    ``source["data"]["skipped"]``; no other pair moves.

    Args:
        encoder: what ``non_text.modality``, ``describe``, ``encode_non_text`` and ``encode_texts`` are asked of.
        batch_size: how many go through a tower at a time; None: 64 photographs, of other items what the tower takes.
        cache: whether to read and write the cache folder; one that cannot be written is named and done without. What
            functions of your own give is not kept.
        say: takes one line about skipped items or the cache.
        most_skipped: share of the items that may be unreadable, for instance ``MOST_SKIPPED``; None: any.

    Returns:
        embeddings of n items and m texts, pairs (m, 2); n = m and paired row by row unless the caption rule is
        "all". ``source`` holds "settings" (all of them) and "data" (what was read in the end).
    """
    part, settings, folder, _ = _embedded(encoder, captioned, batch_size, cache, say, most_skipped)
    readable = captioned.without(part.skipped)
    openers = [lambda text=text: text for text in readable.captions]
    encode = partial(encoder.encode_texts, batch_size=settings["batch"])
    captions = Work(openers, readable.captions, encode, WORDS["text"], None, None, say)
    texts, _ = run(captions, folder and folder / digest(readable.captions))
    pairs = np.stack([readable.item_of, np.arange(len(readable.captions))], axis=1)
    source = {"settings": settings, "data": dict(readable.source)}
    return Embeddings.of({captioned.modality: part.rows, "text": texts.rows}, pairs, source=source)


def embed_images(
    pair: EncoderPair,
    openers: Sequence[Callable[[], Any]],
    ids: Sequence[str],
    source: Mapping,
    batch_size: int | None = None,
    cache: bool = True,
    say: Say = print,
    most_skipped: float = MOST_SKIPPED,
) -> tuple[Float[np.ndarray, "k d"], Int[np.ndarray, "k"], list[str]]:
    """Embeddings of n images without captions, in parts that are cached as each is done.

    Args:
        pair: its image tower is used.
        openers, ids: as those of ``Captioned``.
        source: what the images are, a hash of them included; part of the key of the cache.
        batch_size, cache, say, most_skipped: as ``extract``.

    Returns:
        float32 rows (k, d), unit norm; int64 (k,), ascending, which of the n images each is of; and a line
        "id: reason" for each of the n - k images that could not be read.
    """
    images = Captioned("image", openers, ids, [], np.empty(0, np.int64), source)
    part, *_, skipped = _embedded(pair, images, batch_size, cache, say, most_skipped)
    return part.rows, part.item_of, skipped


def class_embeddings(pair: EncoderPair, texts: Sequence[Sequence[str]]) -> Float[np.ndarray, "c d"]:
    """float32 unit rows (c, d), each the mean of the unit rows of a class's prompts, made unit again.

    ``texts`` are the prompts of each of c classes; one that occurs twice is encoded once. Source: the ensembles of CLIP
    (Radford et al. 2021, section 3.1.4).
    """
    empty = [number for number, prompts in enumerate(texts) if not prompts]
    if not texts or empty:
        raise UserError(f"every class needs a prompt; class {empty[0]} has none" if empty else "there are no classes")
    different = list(dict.fromkeys(prompt for prompts in texts for prompt in prompts))
    rows = np.asarray(pair.encode_texts(different), np.float64)
    place = {prompt: row for row, prompt in enumerate(different)}
    means = np.stack([rows[[place[prompt] for prompt in prompts]].mean(0) for prompts in texts])
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    if (norms < CANCELLED).any():
        least = int(norms.argmin())
        raise UserError(f"the prompts of class {least} cancel out; use others: {texts[least]}")
    return (means / norms).astype(np.float32)


def _embedded(
    encoder: EncoderPair, items: Captioned, batch_size: int | None, cache: bool, say: Say, most_skipped: float | None
) -> tuple[Part, dict, Path | None, list[str]]:
    """The rows of items, all that they depend on, where they are kept, and a line for each that cannot be read."""
    words, takes = WORDS[items.modality], WORDS[encoder.non_text.modality]
    if words != takes:
        raise UserError(f"{encoder.name} embeds {takes}, but the data are {words}; choose an encoder of those")
    if batch_size is None:
        batch_size = BATCH.get(items.modality)
    about = {"format": FORMAT, "encoder": encoder.describe(), "data": dict(items.source), "batch": batch_size}
    settings = json.loads(json.dumps(about))
    whole_batches = batch_size if items.modality in BATCH else None
    encode = partial(encoder.encode_non_text, batch_size=batch_size)
    work = Work(items.openers, items.ids, encode, words, whole_batches, most_skipped, say)
    part, folder = run(work, cached_path("parts", settings) if cache and encoder.kept else None)
    if skipped := work.lines(part.skipped):
        say(f"[extraction] {len(skipped)} of {len(items)} {words} left out, first {skipped[0]}")
    return part, settings, folder, skipped
