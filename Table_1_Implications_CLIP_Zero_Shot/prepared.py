"""Tasks whose images and prompts, or captions, are embedded: declared, generated, and from files of one's own."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from util.corpora.captioned import Captioned, CaptionRule
from util.corpora.labelled import Labelled
from util.corpora.tasks import Task
from util.embeddings import Embeddings
from util.encoders.tower import EncoderPair
from util.errors import UserError
from util.extraction import MOST_SKIPPED, class_embeddings, embed_images, extract
from util.files import sha256
from util.zero_shot.metrics import as_indices

OWN = "your own embeddings"


RULES_IN_WORDS = {"all": "all captions", "first": "first caption", "last": "last caption"}

GENERATED = {
    "shape": ("shapes", "coarse-grained"),
    "colour_shape": ("coloured shapes", "coarse-grained"),
    "fine_grained": ("shapes on backgrounds", "fine-grained"),
    "digit": ("handwritten digits", "optical character recognition"),
    "retrieval": ("described scenes", "retrieval"),
}
"""Tasks that need no download: their titles and groups."""

SCENES, DESCRIPTIONS = 4000, 500
"""Pictures of a generated task: scenes of held-out combinations, and scenes of different descriptions."""

DATA = {
    "scene": "generated scenes of held-out combinations of attributes",
    "digit": "scikit-learn's handwritten digits, the scans that are held out",
    "retrieval": "generated scenes of different full descriptions",
}

BATCH = 250
"""Pictures that go through the small CLIP at a time."""


@dataclass(frozen=True)
class Prepared:
    """A task whose images and prompts are embedded, by one model.

    Attributes:
        key: its name on a command line.
        dataset: its name in tables and figures.
        metric: "top-1", "ROC-AUC" or "retrieval".
        group: "coarse-grained", "fine-grained", "optical character recognition", "retrieval", or what one calls it.
        model: the model's name.
        images: float32 (n, d), unit-norm rows.
        texts: float32, unit-norm rows: (C, d) classes, or (m, d) captions for retrieval.
        labels: int64: (n,) the class of each image, or (m,) the image of each caption.
        source: what it is made of, as json can hold it.
        captions: gap vector (d,) of a caption corpus by the same model; None where there is none.
        published: the name of the paper's row that it is, None for none.

    Raises:
        UserError: labels outside the range of the classes, or captions of images that are not there.
    """

    key: str
    dataset: str
    metric: str
    group: str
    model: str
    images: Float[np.ndarray, "n d"] = field(repr=False)
    texts: Float[np.ndarray, "m d"] = field(repr=False)
    labels: Int[np.ndarray, "l"] = field(repr=False)
    source: Mapping = field(repr=False)
    captions: Float[np.ndarray, "d"] | None = field(repr=False, default=None)
    published: str | None = None

    def __post_init__(self):
        of, items, each = (
            (self.texts, self.images, "image") if not self.is_retrieval else (self.images, self.texts, "text")
        )
        where = f"{self.source.get('path', self.dataset)}: labels"
        labels = as_indices(self.labels, where, len(items), each, len(of), "classes" if of is self.texts else "images")
        object.__setattr__(self, "labels", labels)

    @property
    def is_retrieval(self) -> bool:
        """Whether it is retrieval among images and captions, and not classification."""
        return self.metric == "retrieval"

    @property
    def chance(self) -> float:
        """The metric of guessing, in (0, 1]: every class, image or caption alike; 1/2 for ROC-AUC."""
        return 0.5 if self.metric == "ROC-AUC" else 1 / len(self.images if self.is_retrieval else self.texts)

    def with_captions(self, rule: CaptionRule) -> "Prepared":
        """Retrieval from "all" captions to one of each image, "first" or "last"; the rule joins the name."""
        order = np.argsort(self.labels, kind="stable")
        ends = np.flatnonzero(np.diff(self.labels[order], append=-1))
        starts = np.concatenate([[0], ends[:-1] + 1])
        rows = {"all": order, "first": order[starts], "last": order[ends]}[rule]
        source = {**self.source, "caption_rule": rule, "n_captions": len(rows)}
        name = f"{self.dataset}, {RULES_IN_WORDS[rule]}"
        return replace(self, dataset=name, texts=self.texts[rows], labels=self.labels[rows], source=source)


def own(path: Path) -> Prepared:
    """A task from a file of embeddings: images with ``labels`` and one text for each class, or pairs for retrieval.

    Args:
        path: .npz or .safetensors with ``labels`` (n,), whole numbers from 0, and the embedding of class c in row c
            of "text"; without labels, paired images and texts in any format that ``Embeddings.load`` reads.

    Raises:
        UserError: as ``Embeddings.load``; labels that are not whole numbers or outside the range of the classes;
            neither labels nor pairs.
    """
    given = Embeddings.load(path)
    images, texts = given.modalities[given.names[0]], given.modalities[given.names[-1]]
    source = {**given.source, "sha256": sha256(path), "generated": False}
    shared = {
        "key": Path(path).stem,
        "dataset": Path(path).stem,
        "group": OWN,
        "model": str(source.get("model", "not said")),
    }
    if given.labels is not None:
        return Prepared(**shared, metric="top-1", images=images, texts=texts, labels=given.labels, source=source)
    if given.pairs is None:
        raise UserError(
            f"{path}: needs labels (n,), the row of text that is each image's class, or pairs for retrieval"
        )
    first, last = given.pairs[:, 0], given.pairs[:, -1]
    kept, labels = np.unique(first, return_inverse=True)
    return Prepared(**shared, metric="retrieval", images=images[kept], texts=texts[last], labels=labels, source=source)


def of_labelled(task: Task, data: Labelled, pair: EncoderPair, cache: bool = True) -> Prepared:
    """A declared classification task with its images and the prompts of its classes embedded.

    Args:
        task: says what the classes are called and asked for.
        data: its images.
        pair: the encoders.
        cache: whether to keep the images' embeddings.

    Raises:
        UserError: as ``util.extraction.embed_images`` and ``class_embeddings``.
    """
    prompts = task.texts()
    texts = class_embeddings(pair, prompts)  # first: what is wrong with prompts shows before hours of images
    rows, kept, skipped = embed_images(pair, data.openers, data.ids, data.source, cache=cache)
    source = {**data.source, "n": len(kept), "skipped": skipped, "class_names": task.class_names, "prompts": prompts}
    source |= {"declared_by": dict(task.sources), "encoder": pair.describe()}
    shared = {"model": pair.name, "images": rows, "texts": texts, "labels": data.labels[kept], "source": source}
    return Prepared(task.key, task.title, task.metric, task.group, **shared, published=task.published)


def of_captioned(task: Task, data: Captioned, pair: EncoderPair, cache: bool = True) -> Prepared:
    """A declared retrieval task with its images and captions embedded; arguments and errors as ``of_labelled``."""
    found = extract(pair, data, cache=cache, most_skipped=MOST_SKIPPED)
    source = {**found.source["data"], "declared_by": dict(task.sources), "encoder": pair.describe()}
    images, texts = (found.modalities[name] for name in (data.modality, "text"))
    shared = {"images": images, "texts": texts, "labels": found.pairs[:, 0], "source": source}
    return Prepared(task.key, task.title, task.metric, task.group, pair.name, **shared, published=task.published)


def generated(names: Sequence[str], pair: EncoderPair, seed: int = 0, n: int | None = None) -> Iterator[Prepared]:
    """Tasks of ``GENERATED`` on pictures that the small CLIP was never trained on, one after the other.

    Args:
        names: keys of ``GENERATED``.
        pair: the small CLIP.
        seed: 0 gives the pictures that the small CLIP's own record was measured on, others further ones.
        n: take only the first n pictures of each.
    """
    from util.corpora.generated import pictures

    drawn, rows = {}, {}
    for name in names:
        kind = name if name == "retrieval" else pictures.TASKS[name].kind
        if kind not in drawn:
            drawn[kind] = _draw(kind, seed, n)
            rows[kind] = pair.encode_non_text(list(drawn[kind].images), BATCH)
        source = {**_about(kind, drawn[kind], seed), "encoder": pair.describe()}
        if name == "retrieval":
            texts, labels = pair.encode_texts(drawn[kind].captions), np.arange(len(drawn[kind]))
            metric, source["caption_rule"] = name, "one caption for each image"
        else:
            prompts = [[prompt] for prompt in pictures.TASKS[name].prompts]
            texts, labels = class_embeddings(pair, prompts), pictures.task_labels(name, drawn[kind])
            metric, source["prompts"] = "top-1", prompts
        title, group = GENERATED[name]
        yield Prepared(name, title, metric, group, pair.name, rows[kind], texts, labels, source)


def _draw(kind: str, seed: int, n: int | None):
    from util.corpora.generated import pictures
    from util.encoders.small_clip_evaluation import TEST_SEED

    if kind == "digit":
        return pictures.digits("held_out", seed=seed).take(slice(n))
    if kind == "retrieval":
        return pictures.distinct_scenes(DESCRIPTIONS if n is None else n, TEST_SEED + seed)
    return pictures.scenes(SCENES if n is None else n, TEST_SEED + seed, "held_out")


def _about(kind: str, drawn, seed: int) -> dict:
    content = hashlib.sha256(drawn.images.tobytes() + "\n".join(drawn.captions).encode())
    about = {"dataset": DATA[kind], "generated": kind != "digit", "split": "held_out" if kind != "retrieval" else "all"}
    return {**about, "seed": seed, "n": len(drawn), "split_sha256": content.hexdigest(), "skipped": []}
