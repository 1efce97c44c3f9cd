"""Tasks whose images and prompts, or captions, are embedded: declared, generated, published, and your own files."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from util import Embeddings, UserError, published
from util.corpora.captioned import Captioned, CaptionRule
from util.corpora.labelled import Labelled
from util.corpora.tasks import Task
from util.encoders.tower import EncoderPair
from util.extraction import MOST_SKIPPED, class_embeddings, embed_images, extract
from util.numerics.arrays import as_indices

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


@dataclass(frozen=True)
class EmbeddedTask:
    """A task whose images and prompts are embedded, by one model.

    Attributes:
        dataset: its name in tables and figures.
        metric: "top-1", "ROC-AUC" or "retrieval".
        group: as ``util.corpora.tasks.Task`` has it.
        images: float32 (n, d), unit-norm rows.
        texts: float32, unit-norm rows: (C, d) classes, or (m, d) captions for retrieval.
        labels: int64: (n,) the class of each image, or (m,) the image of each caption.
        source: what it is made of, as json can hold it.
        caption_gap: gap vector (d,) of a caption corpus by the same model; None where there is none.
        published: the name of the paper's row that it is, None for none.
    """

    dataset: str
    metric: str
    group: str
    model: str
    images: Float[np.ndarray, "n d"] = field(repr=False)
    texts: Float[np.ndarray, "m d"] = field(repr=False)
    labels: Int[np.ndarray, "l"] = field(repr=False)
    source: Mapping = field(repr=False)
    caption_gap: Float[np.ndarray, "d"] | None = field(repr=False, default=None)
    published: str | None = None

    def __post_init__(self):
        where = f"{self.source.get('path', self.dataset)}: labels"
        images, texts = len(self.images), len(self.texts)
        of = (texts, "text", images, "images") if self.is_retrieval else (images, "image", texts, "classes")
        object.__setattr__(self, "labels", as_indices(self.labels, where, *of))

    @property
    def is_retrieval(self) -> bool:
        """Whether images are held against captions, not classes."""
        return self.metric == "retrieval"

    @property
    def chance(self) -> float:
        """The metric of guessing, in (0, 1]: every class, image or caption alike; 1/2 for ROC-AUC."""
        return 0.5 if self.metric == "ROC-AUC" else 1 / len(self.images if self.is_retrieval else self.texts)

    def by_caption(self, rules: Sequence[CaptionRule]) -> "list[EmbeddedTask]":
        """Retrieval under each caption rule, where images have several captions; any other task as it is."""
        several = self.is_retrieval and len(self.texts) > len(self.images)
        return [self.with_captions(rule) for rule in rules] if several else [self]

    def with_captions(self, rule: CaptionRule) -> "EmbeddedTask":
        """Retrieval from "all" captions to one of each image, "first" or "last"; the rule joins the name."""
        by_image = pd.Series(np.argsort(self.labels, kind="stable")).groupby(np.sort(self.labels))
        rows = (by_image.obj if rule == "all" else by_image.agg(rule)).to_numpy()
        source = {**self.source, "caption_rule": rule, "n_captions": len(rows)}
        name = f"{self.dataset}, {rule} caption{'s' if rule == 'all' else ''}"
        return replace(self, dataset=name, texts=self.texts[rows], labels=self.labels[rows], source=source)


def of_own(name: str, given: Embeddings) -> EmbeddedTask:
    """A task from embeddings: images with ``labels`` and one text for each class, or pairs for retrieval.

    With ``labels`` (n,), whole numbers from 0, row c of the texts is the embedding of class c. Without labels, images
    and texts are pairs.
    """
    images, texts = (given.modalities[each] for each in given.two())
    path, source = given.source.get("path", name), {**given.source, "generated": False}
    about = {"dataset": name, "group": "your own embeddings", "source": source}
    about["model"] = str(source.get("model", "not said"))
    if given.labels is not None:
        task = EmbeddedTask(**about, metric="top-1", images=images, texts=texts, labels=given.labels)
        named = int(task.labels.max()) + 1
        if len(texts) == len(images) and named < len(texts):
            counts = f"text has {len(texts)} rows, one for each image, while labels name {named} classes"
            raise UserError(f"{path}: {counts}; give one text for each class, or leave the labels out for retrieval")
        return task
    if (pairs := given.pairs_between(given.names)) is None:
        raise UserError(f"{path}: needs labels (n,), the text row of each image's class, or pairs for retrieval")
    rows, labels = np.unique(pairs[:, 0], return_inverse=True)
    texts = texts[pairs[:, 1]]
    return EmbeddedTask(**about, metric="retrieval", images=images[rows], texts=texts, labels=labels)


def of_declared(task: Task, data: Labelled | Captioned, pair: EncoderPair) -> EmbeddedTask:
    """A declared task with its images, and the prompts of its classes or its captions, embedded."""
    about = {"declared_by": dict(task.sources), "encoder": pair.describe()}
    if task.is_retrieval:
        found = extract(pair, data, most_skipped=MOST_SKIPPED)
        images, texts = (found.modalities[name] for name in (data.modality, "text"))
        labels, source = found.pairs[:, 0], {**found.source["data"], **about}
    else:
        prompts = task.texts()
        texts = class_embeddings(pair, prompts)  # first: what is wrong with prompts shows before hours of images
        images, rows, skipped = embed_images(pair, data.openers, data.ids, data.source)
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
            drawn[kind] = some, about, pair.encode_non_text(list(some.images), BATCH)
        some, about, rows = drawn[kind]
        content = hashlib.sha256(some.images.tobytes() + "\n".join(some.captions).encode())
        source = {**about, "seed": seed, "n": len(some), "split_sha256": content.hexdigest(), "skipped": []}
        source["encoder"] = pair.describe()
        if name == "retrieval":
            texts, labels = pair.encode_texts(some.captions), np.arange(len(some))
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
    found = published.load("clip", "trained", fetch=False)
    images, texts = found.paired()
    about = PUBLISHED_CLIP, "retrieval", "retrieval", found.source["model"]
    return EmbeddedTask(*about, images, texts, np.arange(len(images)), found.source)
