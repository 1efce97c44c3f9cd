"""Tasks whose images and prompts, or captions, are embedded here: declared, generated and published ones."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from util import published
from util.corpora.captioned import Captioned, CaptionRule
from util.corpora.tasks import Labelled, Task
from util.encoders.tower import EncoderPair
from util.extraction import MOST_SKIPPED, class_embeddings, embed_images, extract
from util.zero_shot.tasks import EmbeddedTask

GENERATED = {
    "shape": ("shapes", "coarse-grained"),
    "colour_shape": ("coloured shapes", "coarse-grained"),
    "fine_grained": ("shapes on backgrounds", "fine-grained"),
    "digit": ("handwritten digits", "optical character recognition"),
    "retrieval": ("described scenes", "retrieval"),
}
"""Titles and groups of the tasks that need no download."""

SCENES, DESCRIPTIONS = 4000, 500
"""Pictures of a generated task: scenes of held-out combinations, and scenes of different descriptions."""

BATCH = 250
"""Pictures that go through the small CLIP at a time."""

PUBLISHED_CLIP = "MSCOCO, published CLIP"
"""Title of retrieval among the authors' embeddings of 500 photographs and captions."""


def of_declared(task: Task, data: Labelled | Captioned, pair: EncoderPair) -> EmbeddedTask:
    """A declared task with its images, and the prompts of its classes or its captions, embedded."""
    about = {"declared_by": dict(task.sources), "encoder": pair.settings}
    if task.is_retrieval:
        found = extract(pair, data, most_skipped=MOST_SKIPPED)
        images, texts = (found.modalities[name] for name in (data.modality, "text"))
        labels, source = found.pairs, {**found.source["data"], **about}
    else:
        prompts = task.texts()
        texts = class_embeddings(pair, prompts)  # first: what is wrong with prompts shows before hours of images
        images, rows, skipped = embed_images(pair, data)
        labels, source = data.labels[rows], {**data.source, "n": len(rows), "skipped": skipped}
        source |= {"class_names": list(task.class_names), "prompts": prompts, **about}
    embedded = images, texts, labels, source
    return EmbeddedTask(task.title, task.metric, task.group, pair.name, *embedded, published=task.published)


def of_generated(
    names: Sequence[str], pair: EncoderPair, seed: int = 0, n: int | None = None
) -> Iterator[EmbeddedTask]:
    """Tasks of ``GENERATED`` on pictures that the small CLIP was never trained on, one after the other.

    Seed 0 gives those that its own record was measured on, others further ones; n takes only the first n of each.
    """
    from util.corpora.generated import pictures

    drawn = {}
    for name in names:
        kind = name if name == "retrieval" else pictures.TASKS[name].kind
        if kind not in drawn:
            some, about = _draw(kind, seed, n)
            drawn[kind] = some, about, pair.non_text.encode(list(some.images), BATCH)
        some, about, rows = drawn[kind]
        content = hashlib.sha256(some.images.tobytes() + "\n".join(some.captions).encode())
        source = {**about, "seed": seed, "n": len(some), "split_sha256": content.hexdigest(), "skipped": []}
        source["encoder"] = pair.settings
        if name == "retrieval":
            texts, labels = pair.text.encode(some.captions), np.stack([np.arange(len(some))] * 2, axis=1)
            metric, source["caption_rule"] = name, "one caption for each image"
        else:
            prompts = [[prompt] for prompt in pictures.TASKS[name].prompts]
            texts, labels = class_embeddings(pair, prompts), pictures.task_labels(name, some)
            metric, source["prompts"] = "top-1", prompts
        title, group = GENERATED[name]
        yield EmbeddedTask(title, metric, group, pair.name, rows, texts, labels, source)


def _draw(kind: str, seed: int, n: int | None):
    """Pictures, and what they are."""
    from util.corpora.generated import pictures

    if kind == "digit":
        about = {"dataset": "scikit-learn's handwritten digits, the scans that are held out", "generated": False}
        return pictures.digits("held_out", seed=seed).take(slice(n)), {**about, "split": "held_out"}
    if kind == "retrieval":
        about = {"dataset": "generated scenes of different full descriptions", "generated": True, "split": "all"}
        return pictures.distinct_scenes(n or DESCRIPTIONS, pictures.TEST_SEED + seed), about
    about = {"dataset": "generated scenes of held-out combinations of attributes", "generated": True}
    return pictures.scenes(n or SCENES, pictures.TEST_SEED + seed, "held_out"), {**about, "split": "held_out"}


def of_published() -> EmbeddedTask:
    """Retrieval among the authors' 500 pairs; refused where the file is not in the cache."""
    found = published.load("clip", "trained")
    about = PUBLISHED_CLIP, "retrieval", "retrieval", found.source["model"]
    return EmbeddedTask(*about, *found.paired(), found.pairs_between(found.names), found.source)


def by_caption(task: EmbeddedTask, rules: Sequence[CaptionRule]) -> list[EmbeddedTask]:
    """Retrieval under each caption rule, where images have several captions of their own; any other task as it is.

    The rule joins the name: "all" captions, or the "first" or "last" one of each image.
    """
    if not (task.is_retrieval and len(task.labels) == len(task.texts) > len(task.images)):
        return [task]
    found, pairs = [], pd.DataFrame(task.labels, columns=["image", "text"]).sort_values(["image", "text"])
    for rule in rules:
        kept = pairs if rule == "all" else pairs.groupby("image", as_index=False).agg(rule)
        name = f"{task.dataset}, {rule} caption{'s' if rule == 'all' else ''}"
        labels = np.stack([kept["image"], np.arange(len(kept))], axis=1)
        source = {**task.source, "caption_rule": rule, "n_captions": len(kept)}
        found.append(replace(task, dataset=name, texts=task.texts[kept["text"]], labels=labels, source=source))
    return found
