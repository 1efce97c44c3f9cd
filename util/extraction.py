"""From items to embeddings, once: the result is kept under a key made of all its settings.

Images are encoded in parts of some 512, each kept as it is done (``util.parts``): a run that was killed goes on from
there, to the same bits. Videos and sequences, whose batches the tower makes, are one part.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from . import parts
from .corpora.captioned import WORDS, Captioned
from .embeddings import Embeddings
from .encoders.tower import EncoderPair
from .errors import UserError
from .files import cached_path

FORMAT = 2
"""Raise it when extraction itself changes, so that nothing made before is taken for the new.

Since 2, greyscale of more than 8 bits is scaled, not clipped.
"""

BATCH = {"image": 64}
"""How many items go through a tower at a time unless told otherwise; of other modalities the tower decides."""

MOST_SKIPPED = 0.01
"""The share of a task's images that may be unreadable: more of them, and the numbers are about other data."""

CANCELLED = 1e-6
"""Norm of a mean of unit rows below which float32 leaves no direction."""


def extract(
    encoder: EncoderPair,
    captioned: Captioned,
    batch_size: int | None = None,
    cache: bool = True,
    say: Callable[[str], None] = print,
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

    Raises:
        UserError: an encoder of another modality, no item that can be read, fewer than two, or more unreadable ones
            than ``most_skipped`` allows.
    """
    if encoder.non_text.modality != captioned.modality:
        raise UserError(
            f"{encoder.name} embeds {_words(encoder.non_text.modality)}, "
            f"but the data are {_words(captioned.modality)}; choose an encoder of the same modality"
        )
    if batch_size is None:
        batch_size = BATCH.get(captioned.modality)
    settings = _settings(encoder, captioned.source, batch_size)
    path, folder = cache_path(settings), parts_folder(settings) if cache else None
    if cache and (found := _cached(path, settings, say)):
        _refuse_many(found, captioned, most_skipped)
        parts.drop(folder)  # of a run that was killed between storing the whole and this
        return found
    embeddings, folder = _encode(encoder, captioned, batch_size, settings, folder, say, most_skipped)
    if folder is None:
        return embeddings
    try:
        embeddings.save(path)
    except UserError as error:
        say(f"[extraction] not kept for the next time: {error}")
        return embeddings
    parts.drop(folder)
    return _cached(path, settings, say) or embeddings  # read back: the first run gives what the next ones will


def embed_images(
    pair: EncoderPair,
    openers: Sequence[Callable[[], Any]],
    ids: Sequence[str],
    source: Mapping,
    batch_size: int | None = None,
    cache: bool = True,
    say: Callable[[str], None] = print,
    most_skipped: float = MOST_SKIPPED,
) -> tuple[Float[np.ndarray, "k d"], Int[np.ndarray, "k"], list[str]]:
    """Embeddings of images without captions, in parts that are kept in the cache as each is done.

    Args:
        pair: its image tower is used.
        openers: n functions without arguments, each of which gives an image or raises ``Unreadable``.
        ids: n names.
        source: what the images are, a hash of them included: with the encoder's settings and the batch size this is
            the key under which the parts are kept.
        batch_size: how many go through the tower at a time; None: 64.
        cache: whether to read and write the cache folder; one that cannot be written is named and done without.
        say: takes one line about skipped images or the cache.
        most_skipped: share of the images that may be unreadable.

    Returns:
        float32 rows (k, d), unit norm; int64 (k,), ascending, which of the n images each is of; and a line
        "id: reason" for each of the n - k images that could not be read.

    Raises:
        UserError: a tower of another modality, no images, or more unreadable ones than ``most_skipped`` of them,
            with their number and the first.
    """
    if pair.non_text.modality != "image":
        raise UserError(f"{pair.name} embeds {_words(pair.non_text.modality)}, not images; choose another encoder")
    if batch_size is None:
        batch_size = BATCH["image"]
    settings = _settings(pair, source, batch_size)
    work = _work(pair, openers, ids, "image", batch_size, most_skipped, "images")
    done, _ = parts.run(work, parts_folder(settings) if cache else None, say)
    skipped = work.named(done.skipped)
    if skipped:
        say(f"[extraction] {len(skipped)} of {len(ids)} images left out, first {skipped[0]}")
    return done.rows, done.kept, skipped


def class_embeddings(pair: EncoderPair, texts: Sequence[Sequence[str]]) -> Float[np.ndarray, "c d"]:
    """One embedding for each class, of one or several prompts: unit rows of the prompts, their mean, made unit again.

    Args:
        pair: its text tower is used; a prompt that occurs twice is encoded once.
        texts: for each of c classes its prompts, at least one.

    Returns:
        float32 (c, d), unit-norm rows.

    Raises:
        UserError: no classes, a class without prompts, or one whose prompts' embeddings cancel out.

    Source: the ensembles of CLIP (Radford et al. 2021, section 3.1.4).
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
        raise UserError(
            f"the prompts of class {int(norms.argmin())} cancel out; use others: {texts[int(norms.argmin())]}"
        )
    return (means / norms).astype(np.float32)


def _settings(encoder: EncoderPair, source: Mapping, batch_size: int | None) -> dict:
    settings = {"format": FORMAT, "encoder": encoder.describe(), "data": dict(source), "batch": batch_size}
    return json.loads(json.dumps(settings))


def cache_path(settings: dict) -> Path:
    """Where the embeddings of these settings are kept."""
    return cached_path("embeddings", settings, ".safetensors")


def parts_folder(settings: dict) -> Path:
    """Where the parts of an extraction of these settings are kept."""
    return cached_path("parts", settings)


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


def _refuse_many(found: Embeddings, captioned: Captioned, most_skipped: float | None) -> None:
    """Stops where more items were left out of stored embeddings than are accepted now."""
    named = found.source["data"]["skipped"][len(captioned.source.get("skipped", ())) :]
    parts.refuse_many(named, len(captioned), _words(captioned.modality), most_skipped, len(captioned))


def _encode(
    encoder: EncoderPair,
    captioned: Captioned,
    batch_size: int | None,
    settings: dict,
    folder: Path | None,
    say: Callable[[str], None],
    most_skipped: float | None,
) -> tuple[Embeddings, Path | None]:
    """The embeddings, and the folder of their parts where those could be kept."""
    words = _words(captioned.modality)
    work = _work(encoder, captioned.openers, captioned.ids, captioned.modality, batch_size, most_skipped, words)
    done, folder = parts.run(work, folder, say)
    kept = captioned.without(done.skipped)
    if done.skipped:
        first = work.named(done.skipped)[0]
        say(f"[extraction] {len(done.skipped)} of {len(captioned)} {words} left out with their captions, first {first}")
    texts = encoder.encode_texts(kept.captions, batch_size)
    pairs = np.stack([kept.item_of, np.arange(len(kept.captions))], axis=1)
    source = {"settings": settings, "data": dict(kept.source)}
    return Embeddings.of({captioned.modality: done.rows, "text": texts}, pairs, source=source), folder


def _work(encoder, openers, ids, modality: str, batch_size: int | None, most_skipped, words: str) -> parts.Work:
    whole_batches = modality in BATCH and batch_size is not None
    items = parts.part_items(batch_size) if whole_batches else None
    return parts.Work(openers, ids, lambda some: encoder.encode_non_text(some, batch_size), words, items, most_skipped)


def _words(modality: str) -> str:
    return WORDS.get(modality, modality)
