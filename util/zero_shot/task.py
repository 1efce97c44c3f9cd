"""A task whose images and prompts, or captions, are embedded: what is held against what, and which way is right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from ..numerics import items
from ..numerics.arrays import as_indices

RETRIEVAL, TWO = "retrieval", "two classes"
"""Kinds of task beside the metrics of a declared one ("top-1", "ROC-AUC"): TWO is judged by both of those."""


@dataclass(frozen=True)
class EmbeddedTask:
    """A task whose images and prompts are embedded, by one model.

    Attributes:
        dataset: its name in tables and figures.
        metric: "top-1", "ROC-AUC", or one of the kinds above.
        group: as ``util.corpora.tasks.Task`` has it.
        images: float64 (n, d), made so here, unit-norm rows, of any modality.
        texts: float64, unit-norm rows: (C, d) classes, or (m, d) captions for retrieval.
        labels: (n,) the class of each image. Retrieval: (p, 2) row numbers of images and texts that belong together,
            every row in one or more.
        source: what it is made of, as json can hold it.
        caption_gap: gap vector (d,) of a caption corpus by the same model; None where there is none.
        published: the name of the paper's row that it is, None for none.
        modalities: what its images and texts are called.
        classes: names of the classes (C,), None where nobody said.
    """

    dataset: str
    metric: str
    group: str
    model: str
    images: Float[np.ndarray, "n d"] = field(repr=False)
    texts: Float[np.ndarray, "m d"] = field(repr=False)
    labels: Int[np.ndarray, "l *_"] = field(repr=False)
    source: Mapping = field(repr=False)
    caption_gap: Float[np.ndarray, "d"] | None = field(repr=False, default=None)
    published: str | None = None
    modalities: tuple[str, str] = ("image", "text")
    classes: Sequence[str] | None = None

    def __post_init__(self):
        for name in ("images", "texts"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        if not self.is_retrieval:
            where, counts = f"{self.source.get('path', self.dataset)}: labels", (len(self.images), len(self.texts))
            object.__setattr__(self, "labels", as_indices(self.labels, where, counts[0], "image", counts[1], "classes"))

    @property
    def is_retrieval(self) -> bool:
        """Whether images are held against captions, not classes."""
        return self.metric == RETRIEVAL

    @property
    def pairs(self) -> Int[np.ndarray, "p 2"]:
        """Row numbers of images and texts that belong together."""
        return self.labels if self.is_retrieval else np.stack([np.arange(len(self.labels)), self.labels], axis=1)

    @cached_property
    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Groups from 0 of images (n,) and of texts (m,) that depend on each other: those that pairs join, or copies of
        one image with the same labels."""
        if self.is_retrieval:
            return items.groups(self.labels, len(self.images), len(self.texts))
        copies = np.column_stack([items.items(self.images), self.labels])
        return np.unique(copies, axis=0, return_inverse=True)[1], np.arange(len(self.texts))

    def class_name(self, number: int) -> str:
        """The name of a class, or its number."""
        return str(number if self.classes is None else self.classes[number])

    @property
    def ways(self) -> tuple[str, str]:
        """The two directions of retrieval by the names of the modalities: "image-to-text", "text-to-image"."""
        first, last = self.modalities
        return f"{first}-to-{last}", f"{last}-to-{first}"

    @property
    def headlines(self) -> tuple[str, ...]:
        """The metrics that a shift is chosen by."""
        if self.is_retrieval:
            return tuple(f"{way} recall@1" for way in self.ways)
        return ("top-1", "ROC-AUC") if self.metric == TWO else (self.metric,)

    def chance(self, metric: str) -> float:
        """A headline metric of guessing, in (0, 1]: every class, image or caption alike."""
        return 0.5 if metric == "ROC-AUC" else 1 / len(self.images if self.is_retrieval else self.texts)
