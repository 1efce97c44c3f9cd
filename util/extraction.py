"""From items to embeddings, once: rows are cached in a folder that is named by all their settings.

Images are encoded in parts of about 512, each stored as it is done: a run that was killed goes on from there, to the
same bits. Videos and sequences, whose batches the tower makes, are one part, and so are captions.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .corpora.captioned import WORDS, Captioned
from .embeddings import Embeddings
from .encoders.tower import NAMES, EncoderPair
from .errors import UserError
from .extraction_parts import Work, run
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
        captioned: the items, their captions and where both come from.
        batch_size: how many go through a tower at a time; None: 64 photographs, of other items what the tower takes.
        cache: whether to read and write the cache folder; one that cannot be written is named and done without.
        say: takes one line about skipped items or the cache.
        most_skipped: share of the items that may be unreadable, for instance ``MOST_SKIPPED``; None: any.

    Returns:
        embeddings of n items and m texts, pairs (m, 2); n = m and paired row by row unless the caption rule is
        "all". ``source`` holds "settings" (all of them) and "data" (what was read in the end).
    """
    modality = captioned.modality
    if encoder.non_text.modality != modality:
        raise UserError(
            f"{encoder.name} embeds {WORDS[encoder.non_text.modality]}, "
            f"but the data are {WORDS[modality]}; choose an encoder of the same modality"
        )
    items, settings = _work(encoder, captioned, batch_size, WORDS[modality], most_skipped, say)
    part, folder = run(items, cached_path("parts", settings) if cache else None)
    if part.skipped:
        count = f"{len(part.skipped)} of {len(captioned)} {items.words}"
        say(f"[extraction] {count} left out with their captions, first {items.lines(part.skipped)[0]}")
    readable = captioned.without(part.skipped)
    openers = [lambda text=text: text for text in readable.captions]
    encode = partial(encoder.encode_texts, batch_size=settings["batch"])
    captions = Work(openers, readable.captions, encode, NAMES["text"], None, None, say)
    texts, _ = run(captions, folder and folder / digest(readable.captions))
    pairs = np.stack([readable.item_of, np.arange(len(readable.captions))], axis=1)
    source = {"settings": settings, "data": dict(readable.source)}
    return Embeddings.of({modality: part.rows, "text": texts.rows}, pairs, source=source)


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
    if pair.non_text.modality != "image":
        raise UserError(f"{pair.name} embeds {WORDS[pair.non_text.modality]}, not images; choose another encoder")
    images = Captioned("image", openers, ids, [], np.empty(0, np.int64), source)
    work, settings = _work(pair, images, batch_size, "images", most_skipped, say)
    part, _ = run(work, cached_path("parts", settings) if cache else None)
    skipped = work.lines(part.skipped)
    if skipped:
        say(f"[extraction] {len(skipped)} of {len(ids)} images left out, first {skipped[0]}")
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


def _work(
    encoder: EncoderPair, items: Captioned, batch_size: int | None, words: str, most_skipped: float | None, say: Say
) -> tuple[Work, dict]:
    """How the items are encoded, and everything that the result depends on."""
    if batch_size is None:
        batch_size = BATCH.get(items.modality)
    settings = {"format": FORMAT, "encoder": encoder.describe(), "data": dict(items.source), "batch": batch_size}
    whole_batches = batch_size if items.modality in BATCH else None
    encode = partial(encoder.encode_non_text, batch_size=batch_size)
    work = Work(items.openers, items.ids, encode, words, whole_batches, most_skipped, say)
    return work, json.loads(json.dumps(settings))
