"""From captioned items to embeddings, once: the result is kept under a key made of all its settings."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from util.corpora.captioned import WORDS, Captioned
from util.embeddings import Embeddings
from util.encoders.pair import EncoderPair
from util.errors import UserError
from util.files import cache_folder

FORMAT = 2
"""Raise it when extraction itself changes, so that nothing made before is taken for the new.

Since 2, greyscale of more than 8 bits is scaled, not clipped.
"""

BATCH = {"image": 64}
"""How many items go through a tower at a time unless told otherwise; of other modalities the tower decides."""


def extract(
    encoder: EncoderPair,
    captioned: Captioned,
    batch_size: int | None = None,
    cache: bool = True,
    say: Callable[[str], None] = print,
) -> Embeddings:
    """Embeddings of items (under the name of their modality) and their captions ("text"), cached.

    An item that cannot be read is left out together with its captions, and counted and named in
    ``source["data"]["skipped"]``; no other pair moves.

    Args:
        encoder: what ``other.modality``, ``describe``, ``encode_other`` and ``encode_texts`` are asked of.
        captioned: the items, their captions and where both come from.
        batch_size: how many go through a tower at a time; None: 64 photographs, of other items what the tower takes.
        cache: whether to read and write the cache folder; one that cannot be written is named and done without.
        say: takes one line about skipped items or the cache.

    Returns:
        embeddings of n items and m texts, pairs (m, 2); n = m and paired row by row unless the caption rule is
        "all". ``source`` holds "settings" (all of them) and "data" (what was read in the end).

    Raises:
        UserError: an encoder of another modality, no item that can be read, or fewer than two.
    """
    if encoder.other.modality != captioned.modality:
        raise UserError(
            f"{encoder.name} embeds {_words(encoder.other.modality)}, but the data are {_words(captioned.modality)}; "
            "choose an encoder of the same modality"
        )
    if batch_size is None:
        batch_size = BATCH.get(captioned.modality)
    settings = {"format": FORMAT, "encoder": encoder.describe(), "data": dict(captioned.source), "batch": batch_size}
    settings = json.loads(json.dumps(settings))
    path = cache_path(settings)
    if cache and (found := _cached(path, settings, say)):
        return found
    embeddings = _encode(encoder, captioned, batch_size, settings, say)
    if not cache:
        return embeddings
    try:
        embeddings.save(path)
    except UserError as error:
        say(f"[extraction] not kept for the next time: {error}")
        return embeddings
    return _cached(path, settings, say) or embeddings  # read back: the first run gives what the next ones will


def cache_path(settings: dict) -> Path:
    """Where the embeddings of these settings are kept."""
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return cache_folder() / "embeddings" / f"{hashlib.sha256(canonical.encode()).hexdigest()}.safetensors"


def _cached(path: Path, settings: dict, say: Callable[[str], None]) -> Embeddings | None:
    """The embeddings in the cache, if they are whole and of exactly these settings."""
    if not path.is_file():
        return None
    try:
        found = Embeddings.load(path)
    except UserError as error:
        say(f"[extraction] not used, made again: {error}")
        return None
    return found if found.source.get("settings") == settings else None


def _encode(
    encoder: EncoderPair, captioned: Captioned, batch_size: int | None, settings: dict, say: Callable[[str], None]
) -> Embeddings:
    skipped, words = {}, _words(captioned.modality)
    try:
        items = encoder.encode_other(captioned.readable(skipped), batch_size)
    except UserError as error:
        if len(skipped) == len(captioned) > 0:
            raise UserError(f"none of the {len(captioned)} {words} can be read, first: {skipped[0]}") from error
        raise
    kept = captioned.without(skipped)
    if len(items) != len(kept):
        raise UserError(f"{len(kept)} {words} were read, but the encoder gave {len(items)} rows")
    if skipped:
        first = kept.source["skipped"][-len(skipped)]
        say(f"[extraction] {len(skipped)} of {len(captioned)} {words} left out with their captions, first {first}")
    texts = encoder.encode_texts(kept.captions, batch_size)
    pairs = np.stack([kept.item_of, np.arange(len(kept.captions))], axis=1)
    source = {"settings": settings, "data": dict(kept.source)}
    return Embeddings.of({captioned.modality: items, "text": texts}, pairs, source=source)


def _words(modality: str) -> str:
    return WORDS.get(modality, modality)
