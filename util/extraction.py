"""From photographs and captions to embeddings, once: the result is kept under a key made of all its settings."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from util.corpora.coco import CaptionedImages
from util.embeddings import Embeddings
from util.encoders.pair import EncoderPair
from util.errors import UserError
from util.files import cache_folder

FORMAT = 1
"""Raise it when extraction itself changes, so that nothing made before is taken for the new."""


def extract(
    encoder: EncoderPair,
    captioned: CaptionedImages,
    batch_size: int = 64,
    cache: bool = True,
    say: Callable[[str], None] = print,
) -> Embeddings:
    """Embeddings of photographs ("image") and their captions ("text"), from the cache where they are in it.

    A photograph that cannot be read is left out together with its captions, and counted and named in
    ``source["data"]["skipped"]``; no other pair moves.

    Args:
        encoder: what ``describe``, ``encode_images`` and ``encode_texts`` are asked of.
        captioned: the photographs, their captions and where both come from.
        batch_size: how many go through a tower at a time.
        cache: whether to read and write the cache folder; one that cannot be written is named and done without.
        say: takes one line about skipped photographs or the cache.

    Returns:
        embeddings of n images and m texts, pairs (m, 2); n = m and paired row by row unless the caption rule is
        "all". ``source`` holds "settings" (all of them) and "data" (what was read in the end).

    Raises:
        UserError: no photograph can be read, or fewer than two.
    """
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
    encoder: EncoderPair, captioned: CaptionedImages, batch_size: int, settings: dict, say: Callable[[str], None]
) -> Embeddings:
    skipped: dict[int, str] = {}
    try:
        images = encoder.encode_images(captioned.readable(skipped), batch_size)
    except UserError as error:
        if len(skipped) == len(captioned) > 0:
            raise UserError(f"none of the {len(captioned)} photographs can be read, first: {skipped[0]}") from error
        raise
    kept = captioned.without(skipped)
    if len(images) != len(kept):
        raise UserError(f"{len(kept)} photographs were read, but the encoder gave {len(images)} rows")
    if skipped:
        first = kept.source["skipped"][0]
        say(f"[extraction] {len(skipped)} of {len(captioned)} photographs left out with their captions, first {first}")
    texts = encoder.encode_texts(kept.captions, batch_size)
    pairs = np.stack([kept.image_of, np.arange(len(kept.captions))], axis=1)
    source = {"settings": settings, "data": dict(kept.source)}
    return Embeddings.of({"image": images, "text": texts}, pairs, source=source)
