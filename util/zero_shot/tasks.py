"""Tasks whose rows are embedded: images against prompts or captions, and your own ones from files.

Labels, prompts and pairs stand beside the vectors or by themselves. Rows of two files belong together by keys that both
have (ids, paths, names), else by their order, of equal counts. What is left out is said in ``notes`` of the source.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from .. import UserError
from ..embeddings import Embeddings, duos, open_sets
from ..geometry import unit_gap_vector
from ..numerics import items
from ..numerics.arrays import as_indices
from ..readers import TEXT, meaning, read, role

RETRIEVAL, TWO = "retrieval", "two classes"
"""Kinds of task beside the metrics of a declared one ("top-1", "ROC-AUC"): TWO is judged by both of those."""
ROWS = "rows"
"""The word of --pairs that pairs row i with row i."""
OF_ROWS = re.compile(r"(?i)[_. ]?ids?$")
"""What a column of row numbers may be called beside its modality: "image_id"."""


@dataclass(frozen=True)
class EmbeddedTask:
    """A task whose images and prompts are embedded, by one model.

    Attributes:
        dataset: its name in tables and figures. group: as ``util.corpora.tasks.Task`` has it.
        metric: "top-1", "ROC-AUC", or one of the kinds above.
        images, texts: unit-norm rows, float64, made so here: (n, d) of any modality, (C, d) classes or (m, d) captions.
        labels: (n,) the class of each image. Retrieval: pairs (p, 2) of row numbers, every row in one or more.
        source: what it is made of, as json can hold it.
        caption_gap: gap vector (d,) of a caption corpus by the same model; None where there is none.
        published: the name of the paper's row that it is, None for none.
        modalities: what its images and texts are called. classes: names of the classes, None where nobody said.
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

    @cached_property
    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Groups from 0 of images (n,) and texts (m,): joined by pairs, or copies of one image with the same labels."""
        if self.is_retrieval:
            return items.groups(self.labels, len(self.images), len(self.texts))
        copies = np.column_stack([items.items(self.images), self.labels])
        return np.unique(copies, axis=0, return_inverse=True)[1], np.arange(len(self.texts))

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


def tasks_of(
    paths: Sequence[str], columns, left_out: list[str], labels=None, label_column=None, prompts=None, pairs=None
) -> list[EmbeddedTask]:
    """The tasks in files: images with labels for classification, or with pairs for retrieval.

    ``columns`` are modality -> name of its array or column, or None. Of several sets ``left_out`` receives why those
    that are no task are left out. The rest are the options of ``modality-gap evaluate``.
    """
    sets = open_sets(paths, columns)
    if labels or prompts or pairs:
        if len(sets) > 1:
            raise UserError(f"--labels, --prompts and --pairs are of one set of embeddings, not of {len(sets)}")
        if pairs and (labels or prompts):
            raise UserError("--pairs are for retrieval, --labels and --prompts for classes: choose")
        ((name, one),) = sets.items()
        sets = {name: _with_pairs(one, pairs) if pairs else of_classes(one, labels, label_column, prompts)}
    else:
        labelled = {name: one for name, one in sets.items() if one.labels is not None and one.two()}
        sets = labelled | duos({name: one for name, one in sets.items() if name not in labelled})
    found = []
    for name, one in sets.items():
        source = {**one.source, **one.digest()}
        given = Embeddings.of(one.modalities, one.pairs, one.labels, source, one.beside, unit=False).remarked()
        try:
            task = of_own(name, given)
            if len(sets) > 1:
                unit_gap_vector(task.images, task.texts)  # a gap of zero gives nothing to shift along
            found.append(task)
        except UserError as error:
            if len(sets) == 1:
                raise
            left_out.append(f"{name}: {error}")
    if not found:
        raise UserError("; ".join(left_out))
    return found


def of_own(name: str, given: Embeddings) -> EmbeddedTask:
    """A task from embeddings: images with labels and one text for each class, or pairs for retrieval.

    With ``labels`` (n,), whole numbers from 0, row c of the texts is the embedding of class c. Without labels, images
    and texts are pairs. What is left out stands in the source's ``notes``.
    """
    images, texts = (given.modalities[each] for each in given.two())
    source = {**given.source, "notes": list(given.source.get("notes", ())), "generated": False}
    about = {"dataset": name, "group": "your own embeddings", "source": source, "modalities": given.names}
    about["model"] = str(source.get("model", "not said"))
    if given.labels is None:
        return _of_pairs(given, about)
    _check_classes(given, about)
    what = {"images": images, "texts": texts, "labels": given.labels, "classes": given.beside.get("classes")}
    task = _merged(EmbeddedTask(**about, **what, metric="top-1"))
    if len(task.texts) == 2:
        different = task.labels[np.unique(items.items(images))]
        if np.bincount(different, minlength=2).min() >= 4:  # two a half
            return replace(task, metric=TWO)
    return task


def _check_classes(given: Embeddings, about: dict) -> None:
    """Refuses texts that cannot be those of the classes, and labels that may count from 1; says unused classes."""
    (first, images), (last, texts) = given.modalities.items()
    labels, classes, path = given.labels, given.beside.get("classes"), given.source.get("path", about["dataset"])
    n, m = len(images), len(texts)
    if labels.ndim == 2:
        what = f"labels in {labels.shape[1]} columns give {(labels.sum(1) != 1).sum()} of {n} rows no class or several"
        raise UserError(f"{path}: {what}; give each row one class, or evaluate each class by itself")
    if labels.dtype.kind == "U":
        what = f"{path}: labels are names ('{labels[0]}', ...), and which {last} row each means is not said"
        how = "put classes, the names in the order of these rows, beside them, give --prompts a table with a column of"
        raise UserError(f"{what}; {how} names, or, for retrieval, evaluate --pairs rows")
    named = len(np.unique(labels))
    known = named if classes is None else len(classes)
    if known != m and (classes is not None or (known < m and (given.pairs is not None or m % n == 0))):
        how = "give one text for each class; for retrieval, modality-gap evaluate --pairs rows, or a file of pairs"
        raise UserError(f"{path}: {last} has {m} rows, for {n} {first} rows of {known} classes; {how}")
    doubtful = 2 * named > m and not given.source.get("labels_stated")
    if labels.min() == 1 and (labels.max() == m or doubtful):
        how = "take 1 away if yours count from 1, or give names with class names beside the texts"
        raise UserError(f"{path}: labels are 1 to {labels.max()} for {m} classes, never 0; they count from 0: {how}")
    if named < m:
        about["source"]["notes"].append(f"{path}: labels name {named} of {m} classes")


def _merged(task: EmbeddedTask) -> EmbeddedTask:
    """The task with classes of equal texts as one class, for no cosine tells them apart; it is said."""
    of, path, names = items.items(task.texts), task.source.get("path", task.dataset), None
    first, place = np.unique(of, return_inverse=True)
    if task.classes is not None:
        names = [" / ".join(dict.fromkeys(map(str, task.classes[of == row]))) for row in first]
        if twice := [name for name in names if names.count(name) > 1]:
            what = f"{path}: several texts are of the class '{twice[0]}', and labels are numbers, so which text a label"
            raise UserError(f"{what} means cannot be told; give labels as names, or one text for each class")
    if not (lost := len(of) - len(first)):
        return task
    said = f"{lost} of {len(of)} classes have the text of an earlier one, and are one class with it"
    task.source["notes"].append(f"{path}: {said}")
    return replace(task, texts=task.texts[first], labels=place[task.labels], classes=names)


def _of_pairs(given: Embeddings, about: dict) -> EmbeddedTask:
    """Retrieval among the rows that are paired; others are left out, and said."""
    path, names = given.source.get("path", about["dataset"]), given.names
    images, texts = given.modalities.values()
    if (pairs := given.pairs_between(names)) is None:
        what = f"{path}: {names[0]} has {len(images)} rows, {names[1]} {len(texts)}"
        raise UserError(f"{what}; give labels, the {names[1]} row of each {names[0]}'s class, or pairs")
    notes = about["source"]["notes"]
    for name, array, there in zip(names, (images, texts), pairs.T, strict=True):
        if lacking := len(array) - len(np.unique(there)):
            notes.append(f"{path}: {lacking} of {len(array)} {name} rows are in no pair, left out")
    own = items.matched(images, texts, pairs)
    if len(own.pairs) > len(own.second):
        notes.append(f"{path}: some {names[1]} rows belong to several {names[0]} rows; each of these counts")
    return EmbeddedTask(**about, metric=RETRIEVAL, images=images[own.first], texts=texts[own.second], labels=own.pairs)


def of_classes(one: Embeddings, labels: str | None, label_column: str | None, prompts: str | None) -> Embeddings:
    """The set with labels, its own or those of a file, and one text for each class."""
    (first, rows), *others = one.modalities.items()
    where, notes = one.source["path"], list(one.source.get("notes", ()))
    if role(first) == TEXT:
        raise UserError(f"{where}: holds {first} alone; labels and prompts are for rows of another modality")
    if prompts:
        notes += [f"{where}: {name} not used, for --prompts gives the classes" for name, _ in others]
        one = replace(one, modalities={first: rows})
    one = replace(one, source={**one.source, "notes": notes})
    if labels:
        one = _with_labels(one, labels, label_column)
    if one.labels is None and len(names := one.beside.get("classes", ())) == len(rows):
        beside = {kind: each for kind, each in one.beside.items() if kind != "classes"}
        one = replace(one, labels=names, beside=beside)  # a class name for each row
    if one.labels is None:
        raise UserError(f"{where}: no labels in it; --labels FILE gives the class of each {first}")
    return _with_prompts(one, prompts) if prompts else one


def _arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays of a file; of a .txt its lines."""
    if Path(path).suffix == ".txt" and Path(path).is_file():
        lines = np.char.strip(np.array(Path(path).read_text(encoding="utf-8").splitlines(), str))
        return {"labels": lines.astype(np.int64) if np.char.isdigit(lines).all() else lines}
    return read(path)[0]


def _with_labels(one: Embeddings, path: str, column: str | None) -> Embeddings:
    """The set with labels of a file, without the rows that it has none for."""
    arrays, first = _arrays(path), one.names[0]
    if arrays and not any(each.ndim for each in arrays.values()):  # a label by each key
        arrays = {"ids": np.array([*arrays]), "labels": np.array([each.item() for each in arrays.values()])}
    one.source.pop("labels_stated", None)
    n, size = len(one.modalities[first]), max(len(each) for each in arrays.values() if each.ndim)
    named = meaning.keys_of({name: each for name, each in arrays.items() if name != column}, size)
    keys = {first: meaning.keys_of(one.beside, n), "labels": named}
    pairs, how, used = meaning.matched(keys, {first: n, "labels": size}, path)
    away = {name for name in named if meaning.key_kind(name) in ("ids", "paths") or name in used}
    values, classes = _label_values({name: each for name, each in arrays.items() if name not in away}, path, column)
    rows, order = (np.arange(n),) * 2 if pairs is None else meaning.one_label_each(pairs, values, path).T
    if pairs is None and len(values) != n:
        raise UserError(f"{path}: {len(values)} labels for {n} {first} rows, and ids not in both; mend one of them")
    if how:
        one.source["notes"].append(f"{path}: {how}")
    elif named or keys[first]:
        one.source["notes"].append(f"{path}: labels are taken in the order of the rows, for ids are not in both files")
    beside = {**one.beside, **({"classes": classes} if classes is not None else {})}
    modalities = {**one.modalities, first: one.modalities[first][rows]}
    labels, last = meaning.checked_labels(values[order], {first: len(rows)}, None, f"{path}: "), one.names[-1]
    named = {"classes": known} if len(known := one.beside.get("classes", ())) == len(modalities[last]) else {}
    if len(modalities) > 1 and (found := meaning.by_class(labels, classes, modalities[last], named, path)):
        labels, texts, names, notes = found
        modalities, beside = {**modalities, last: texts}, {**beside, "classes": names}
        one.source["notes"] += notes
    source = {**one.source, "files": [*one.source.get("files", [{"path": one.source["path"]}]), {"path": path}]}
    return replace(one, modalities=modalities, pairs=None, labels=labels, source=source, beside=beside)


def _label_values(arrays: Mapping[str, np.ndarray], path: str, column: str | None):
    """The labels (n,), or columns of 0 and 1 (n, C), in a file, and the names of the classes (C,) where it has them."""
    rest = {name: each[:] for name, each in arrays.items()}
    kinds = {meaning.KINDS.get(name.lower()): name for name in reversed(rest)}  # of a kind the first
    there = f"there are {', '.join(rest) or 'none'}"
    if column is not None and column not in rest:
        raise UserError(f"--label-column {column}: no such column in {path}; {there}")
    names = kinds.get("classes")
    name = column or kinds.get("labels") or names or (next(iter(rest)) if len(rest) == 1 else None)
    if name is not None:
        listed = names not in (None, name) and len({*rest[names].tolist()}) == len(rest[names])  # not one a row
        return rest[name], rest[names] if listed else None
    if not rest or not all(each.ndim == 1 and each.dtype.kind in "biuf" and each.max() <= 1 for each in rest.values()):
        raise UserError(f"{path}: which column holds the labels cannot be told; {there}; name it by --label-column")
    return np.stack([*rest.values()], 1), np.array([*rest])


def _with_prompts(one: Embeddings, path: str) -> Embeddings:
    """The labelled set with the embeddings of the classes as its texts."""
    arrays, first = _arrays(path), one.names[0]
    if {*arrays} == {"image", TEXT} and arrays[TEXT].ndim == 2 and Path(path).suffix == ".npy":
        arrays = {"": np.stack([arrays["image"], arrays[TEXT]])}  # two classes or templates of one modality
    rows = {name: each for name, each in arrays.items() if each.ndim > 1 and each.dtype.kind in "fiu"}
    chosen = [name for name in rows if role(name) == TEXT] if len(rows) > 1 else [*rows]
    if len(chosen) != 1:
        raise UserError(f"{path}: one array of prompts is needed; there are {', '.join(rows) or 'none'}")
    texts, labels, classes, said = rows[chosen[0]], one.labels, one.beside.get("classes"), []
    beside = {name: each[:] for name, each in arrays.items() if each.ndim == 1}
    if found := meaning.by_class(labels, classes, texts, beside, path):
        labels, texts, classes, said = found
    elif classes is None:
        classes = next((each for each in beside.values() if each.dtype.kind == "U"), None)
    beside = {} if classes is None else {"classes": classes}
    rows, notes = meaning.as_rows({first: one.modalities[first], TEXT: texts}, {"labels": labels, **beside}, path)
    files = [*(one.files if len(one.files) > 1 else [{"path": one.source["path"]}]), {"path": path}]
    source = {**one.source, "files": files, "notes": [*one.source["notes"], *said, *notes]}
    return Embeddings.of(rows, None, labels, source, beside, unit=False)


def _with_pairs(one: Embeddings, path: str) -> Embeddings:
    """The set with the pairs of a file, or of its rows (by ids, where these pair them), for retrieval."""
    names = one.two()
    n, m = (len(each) for each in one.modalities.values())
    if path == ROWS:
        if (found := one.pairs_between(names)) is None:
            raise UserError(f"--pairs rows: {names[0]} has {n} rows, {names[1]} {m}; give a file of pairs")
    else:
        arrays = {name: each[:] for name, each in _arrays(path).items()}
        has_ids = any(meaning.key_kind(name) in ("ids", "paths") for name in one.beside)  # row numbers are no ids
        meant = {role(name if has_ids else OF_ROWS.sub("", name)): each for name, each in arrays.items()}
        by_role = [meant.get(role(name)) for name in names]
        if len(arrays) == 1:
            (found,) = arrays.values()
            found = np.stack([found, np.arange(m)], 1) if found.ndim == 1 and len(found) == m else found
            meaning.one_order(found, names, names[::-1], [n, m], path)
        elif any(each is None or each.ndim > 1 for each in by_role):
            raise UserError(f"{path}: pairs are columns {names[0]} and {names[1]} of row numbers, or one array")
        else:
            found = np.stack(by_role, 1)
    return replace(one, labels=None, pairs=meaning.checked_pairs(found, [n, m], f"{path}: "))
