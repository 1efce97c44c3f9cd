"""A task whose images and prompts, or captions, are embedded: what is held against what, and which way is right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, Shaped

from ..embeddings import Embeddings
from ..errors import UserError
from ..geometry import unit_gap_vector
from ..numerics import items
from ..numerics.arrays import as_indices

RETRIEVAL, SEVERAL, TWO = "retrieval", "several labels", "two classes"
"""Kinds of task beside the metrics of a declared one ("top-1", "ROC-AUC"): SEVERAL has several labels an image, and
TWO is judged by both of those."""


@dataclass(frozen=True)
class EmbeddedTask:
    """A task whose images and prompts are embedded, by one model.

    Attributes:
        dataset: its name in tables and figures.
        metric: "top-1", "ROC-AUC", or one of the kinds above.
        group: as ``util.corpora.tasks.Task`` has it.
        images: float32 (n, d), unit-norm rows, of any modality.
        texts: float32, unit-norm rows: (C, d) classes, or (m, d) captions for retrieval.
        labels: (n,) the class of each image, or bool (n, C) of several labels. Retrieval: (p, 2) row numbers of images
            and texts that belong together, every row in one or more.
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
    labels: Shaped[np.ndarray, "l *C"] = field(repr=False)
    source: Mapping = field(repr=False)
    caption_gap: Float[np.ndarray, "d"] | None = field(repr=False, default=None)
    published: str | None = None
    modalities: tuple[str, str] = ("image", "text")
    classes: Sequence[str] | None = None

    def __post_init__(self):
        where, (n, m) = f"{self.source.get('path', self.dataset)}: labels", (len(self.images), len(self.texts))
        if self.metric == SEVERAL and self.labels.shape != (n, m):
            raise UserError(f"{where} are {self.labels.shape}, for {n} rows and {m} classes")
        if self.metric not in (SEVERAL, RETRIEVAL):
            object.__setattr__(self, "labels", as_indices(self.labels, where, n, "image", m, "classes"))

    @property
    def is_retrieval(self) -> bool:
        """Whether images are held against captions, not classes."""
        return self.metric == RETRIEVAL

    @property
    def pairs(self) -> Int[np.ndarray, "p 2"]:
        """Row numbers of images and texts that belong together; not of several labels."""
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
        return {SEVERAL: ("LRAP",), TWO: ("top-1", "ROC-AUC")}.get(self.metric, (self.metric,))

    def chance(self, metric: str) -> float:
        """A headline metric of guessing, in (0, 1]: every class, image or caption alike; NaN for several labels."""
        if metric in ("ROC-AUC", "LRAP"):
            return 0.5 if metric == "ROC-AUC" else np.nan
        return 1 / len(self.images if self.is_retrieval else self.texts)


def of_own(name: str, given: Embeddings) -> EmbeddedTask:
    """A task from embeddings: images with labels and one text for each class, or pairs for retrieval.

    With ``labels`` (n,), whole numbers from 0, row c of the texts is the embedding of class c. Labels (n, C) are
    several a row. Without labels, images and texts are pairs. What is left out stands in the source's ``notes``.
    """
    images, texts = (given.modalities[each] for each in given.two())
    source = {**given.source, "notes": list(given.source.get("notes", ())), "generated": False}
    about = {"dataset": name, "group": "your own embeddings", "source": source, "modalities": given.names}
    about["model"] = str(source.get("model", "not said"))
    if given.labels is None:
        return _of_pairs(given, about)
    _check_classes(given, about)
    what = {"images": images, "texts": texts, "labels": given.labels, "classes": given.beside.get("classes")}
    task = _merged(EmbeddedTask(**about, **what, metric=SEVERAL if given.labels.ndim == 2 else "top-1"))
    if task.metric != SEVERAL and len(task.texts) == 2:
        different = task.labels[np.unique(items.items(images))]
        if np.bincount(different, minlength=2).min() >= 4:  # two a half
            return replace(task, metric=TWO)
    return task


def of_sets(given: Mapping[str, Embeddings], left_out: list[str]) -> list[EmbeddedTask]:
    """``of_own`` of each set; of several sets, those that are no task are left out, and ``left_out`` says why."""
    found = []
    for name, one in given.items():
        try:
            task = of_own(name, one)
            if len(given) > 1:
                unit_gap_vector(task.images, task.texts)  # a gap of zero gives nothing to shift along
            found.append(task)
        except UserError as error:
            if len(given) == 1:
                raise
            left_out.append(f"{name}: {error}")
    if not found:
        raise UserError("; ".join(left_out))
    return found


def _check_classes(given: Embeddings, about: dict) -> None:
    """Refuses texts that cannot be those of the classes, and labels that may count from 1; says unused classes."""
    (first, images), (last, texts) = given.modalities.items()
    labels, classes, path = given.labels, given.beside.get("classes"), given.source.get("path", about["dataset"])
    n, m = len(images), len(texts)
    if labels.dtype.kind == "U":
        raise UserError(
            f"{path}: labels are names ('{labels[0]}', ...), and which {last} row each means is not said; put classes, "
            "the names in the order of these rows, beside them, give --prompts a table with a column of names, or, "
            "for retrieval, evaluate --pairs rows"
        )
    named = labels.shape[1] if labels.ndim == 2 else len(np.unique(labels))
    known = named if classes is None else len(classes)
    if known != m and (classes is not None or (known < m and (given.pairs is not None or m % n == 0))):
        how = "give one text for each class; for retrieval, modality-gap evaluate --pairs rows, or a file of pairs"
        raise UserError(f"{path}: {last} has {m} rows, for {n} {first} rows of {known} classes; {how}")
    doubtful = 2 * named > m and not given.source.get("labels_stated")
    if labels.ndim == 1 and labels.min() == 1 and (labels.max() == m or doubtful):
        how = "take 1 away if yours count from 1, or give names with class names beside the texts"
        raise UserError(f"{path}: labels are 1 to {labels.max()} for {m} classes, never 0; they count from 0: {how}")
    if labels.ndim == 1 and named < m:
        about["source"]["notes"].append(f"{path}: labels name {named} of {m} classes")


def _merged(task: EmbeddedTask) -> EmbeddedTask:
    """The task with classes of equal texts as one class, for no cosine tells them apart; it is said."""
    of, path, names = items.items(task.texts), task.source.get("path", task.dataset), None
    first, place = np.unique(of, return_inverse=True)
    if task.classes is not None:
        names = [" / ".join(dict.fromkeys(map(str, task.classes[of == row]))) for row in first]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(
                f"{path}: several texts are of the class '{twice[0]}', and labels are numbers, so which text a label "
                "means cannot be told; give labels as names, or one text for each class"
            )
    if not (lost := len(of) - len(first)):
        return task
    if task.metric == SEVERAL:
        labels = np.stack([task.labels[:, place == each].any(1) for each in range(len(first))], 1)
    else:
        labels = place[task.labels]
    said = f"{lost} of {len(of)} classes have the text of an earlier one, and are one class with it"
    task.source["notes"].append(f"{path}: {said}")
    return replace(task, texts=task.texts[first], labels=labels, classes=names)


def _of_pairs(given: Embeddings, about: dict) -> EmbeddedTask:
    """Retrieval among the rows that are paired; others are left out, and said."""
    path, names = given.source.get("path", about["dataset"]), given.names
    images, texts = given.modalities.values()
    if (pairs := given.pairs_between(names)) is None:
        raise UserError(
            f"{path}: {names[0]} has {len(images)} rows, {names[1]} {len(texts)}; give labels, the {names[1]} row of "
            f"each {names[0]}'s class, or pairs"
        )
    notes = about["source"]["notes"]
    for name, array, there in zip(names, (images, texts), pairs.T, strict=True):
        if lacking := len(array) - len(np.unique(there)):
            notes.append(f"{path}: {lacking} of {len(array)} {name} rows are in no pair, left out")
    own = items.matched(images, texts, pairs)
    if len(own.pairs) > len(own.second):
        notes.append(f"{path}: some {names[1]} rows belong to several {names[0]} rows; each of these counts")
    return EmbeddedTask(**about, metric=RETRIEVAL, images=images[own.first], texts=texts[own.second], labels=own.pairs)
